"""One API, ``om.*``, to store data and models, run them anywhere and serve them over HTTP::

    import omegamesh as om

    om.datasets.put(df, "sales")
    om.models.put(LogisticRegression(), "m")
    om.runtime.model("m").fit("sales[^y]", "sales[y]").get()

Nothing is imported or connected before the first attribute is used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omegamesh.client import Omega as Omega
    from omegamesh.runtime.runtime import Runtime
    from omegamesh.stores.datasets import Datasets
    from omegamesh.stores.models import Models

    datasets: Datasets
    models: Models
    runtime: Runtime
    buckets: list[str]
    bucket: str

__version__ = "0.1.0"
version = __version__
__all__ = ["Omega", "bucket", "buckets", "datasets", "install_as_omegaml", "models", "runtime", "setup", "version"]

_INSTANCE = {"datasets", "models", "runtime", "buckets", "bucket", "client", "blobs", "close"}


class _OmModule(ModuleType):
    """The module with an instance behind it: ``om.datasets``, ``om["bucket"]``."""

    _om: Omega | None = None

    def __getattr__(self, name: str) -> Any:
        if name == "Omega":
            return import_module("omegamesh.client").Omega
        if name in _INSTANCE:
            return getattr(self._instance(), name)
        raise AttributeError(f"module 'omegamesh' has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        # Importing the subpackage `runtime` sets it here, and would hide the API's own `runtime`.
        if name not in _INSTANCE:
            super().__setattr__(name, value)

    def __getitem__(self, bucket: str | None) -> Omega:
        return self._instance()[bucket]

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})

    def _instance(self) -> Omega:
        if self._om is None:
            self._om = import_module("omegamesh.client").setup()
        assert self._om is not None  # noqa: S101 - made on the line above
        return self._om


def setup(**given: Any) -> Omega:
    """Choose the mesh that ``om.*`` talks to from now on, and give its API; see :func:`omegamesh.client.setup`."""
    module: Any = sys.modules[__name__]
    made: Omega = import_module("omegamesh.client").setup(**given)
    module._om = made
    return made


def install_as_omegaml() -> None:
    """Have ``import omegaml`` in this process give this package, so that existing code runs unchanged."""
    sys.modules["omegaml"] = sys.modules[__name__]


sys.modules[__name__].__class__ = _OmModule
