"""`import omegamesh as om`: quick, and the same API however often and in whatever order its names are used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

MESH = {"OMEGA_URL": "http://127.0.0.1:1", "OMEGA_USERID": "ann", "OMEGA_APIKEY": "omk_1_x"}


def in_new_process(code: str, folder: Path, **environment: str) -> list[str]:
    """Run code in a new interpreter without configuration; gives the lines that it printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OMEGA_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**kept, "HOME": str(folder), "XDG_DATA_HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_import_loads_no_framework_and_no_client(tmp_path: Path) -> None:
    code = (
        "import sys, omegamesh\n"
        "print({'pandas', 'numpy', 'pydantic', 'httpx2', 'omega_mesh', 'yaml', 'typer'} & set(sys.modules) or 'thin')"
    )
    assert in_new_process(code, tmp_path) == ["thin"]


def test_each_name_stays_what_it_is_when_submodules_of_that_name_are_imported(tmp_path: Path) -> None:
    code = (
        "import omegamesh as om, omegamesh.runtime.runtime, omegamesh.client\n"
        "for _ in range(2):\n"
        "    print(type(om.runtime).__name__, type(om.client).__name__, type(om.datasets).__name__, om.bucket)\n"
        "print(om.runtime is om.runtime, om['red'].bucket, om[None].bucket, om.Omega.__name__, 'datasets' in dir(om))"
    )
    first, second, others = in_new_process(code, tmp_path, **MESH)
    assert first == second == "Runtime MeshClient Datasets default"
    assert others == "True red default Omega True"


def test_setup_chooses_the_mesh_of_the_module(tmp_path: Path) -> None:
    code = (
        "import omegamesh as om\n"
        "made = om.setup(api_url='http://x', userid='ann', apikey='k', bucket='red')\n"
        "print(om.bucket, made, made.datasets is om.datasets)"
    )
    assert in_new_process(code, tmp_path, **MESH) == ["red <Omega http://x bucket=red> True"]


def test_code_that_says_omegaml_runs_unchanged(tmp_path: Path) -> None:
    code = (
        "import omegamesh\nomegamesh.install_as_omegaml()\n"
        "import omegaml as om\nfrom omegaml import Omega\n"
        "print(om is omegamesh, Omega is om.Omega, type(om.models).__name__)"
    )
    assert in_new_process(code, tmp_path, **MESH) == ["True True Models"]


def test_a_name_that_is_not_there(tmp_path: Path) -> None:
    code = "import omegamesh as om\ntry: om.nope\nexcept AttributeError as error: print(error)"
    assert in_new_process(code, tmp_path) == ["module 'omegamesh' has no attribute 'nope'"]


def test_without_the_services_it_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['structlog'] = None\n"
        "import omegamesh as om\ntry: om.datasets\nexcept ModuleNotFoundError as error: print(error)"
    )
    (line,) = in_new_process(code, tmp_path)
    assert line.startswith("No mesh is configured, and the embedded one is not installed. Set OMEGA_URL")
    assert line.endswith('pip install "omegamesh[local]" (structlog is missing).')
