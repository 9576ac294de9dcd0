"""The five services by name."""

from __future__ import annotations

import pytest

from omega_mesh.catalog import NAMES, entry
from omegakit.settings import ServiceSettings
from omegaproto.errors import BadRequest


@pytest.mark.parametrize("name", NAMES)
def test_each_service_is_made_from_its_own_settings(name: str) -> None:
    found = entry(name)
    assert found.name == name
    assert found.create.__module__ == f"omega_{name}.app"
    assert issubclass(found.settings, ServiceSettings)
    assert found.settings.__module__ == f"omega_{name}.settings"


@pytest.mark.parametrize("name", ["", "nope", "Gateway", "mesh"])
def test_a_service_that_is_not_there_names_those_that_are(name: str) -> None:
    with pytest.raises(BadRequest, match=f"no service '{name}'.*metadata, blobstore, scheduler, worker, gateway"):
        entry(name)
