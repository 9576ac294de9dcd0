"""`Omega`: one user's view of one bucket of one mesh; ``om`` itself is the default one."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from omegamesh.config import Config, load_config, shown_bucket

if TYPE_CHECKING:
    from omegakinds.registry import KindRegistry
    from omegamesh.http import MeshClient
    from omegamesh.runtime.runtime import Runtime
    from omegamesh.stores.datasets import Datasets
    from omegamesh.stores.models import Models
    from omegamesh.transfer import HttpBlobs


class Omega:
    """The API of one bucket: ``datasets``, ``models``, ``runtime``. Nothing connects before it is used."""

    def __init__(self, config: Config, client: MeshClient | None = None) -> None:
        self._config = config
        self._given_client = client

    def __repr__(self) -> str:
        return f"<Omega {self._config.url or 'embedded'} bucket={shown_bucket(self._config.bucket)}>"

    def __getitem__(self, bucket: str | None) -> Omega:
        """Give the same mesh, seen from another bucket; None and ``default`` are the default bucket."""
        client = self.client.in_bucket(bucket)
        return Omega(client.config, client)

    @cached_property
    def client(self) -> MeshClient:
        """Connect, starting or attaching to the embedded mesh when none is configured."""
        if self._given_client is not None:
            return self._given_client
        from omegamesh.http import MeshClient

        if self._config.url is None:
            from omegamesh.autostart import embedded

            config, find_again = embedded(self._config)
            return MeshClient(config, find_again=find_again)
        return MeshClient(self._config)

    @property
    def bucket(self) -> str:
        """Give the bucket's name as users see it."""
        return shown_bucket(self._config.bucket)

    @cached_property
    def kinds(self) -> KindRegistry:
        """Give the kinds of objects that can be stored; ``om.kinds.register(kind)`` adds one for this process."""
        from omegakinds.registry import KindRegistry

        return KindRegistry()

    @cached_property
    def datasets(self) -> Datasets:
        """Give the store of frames, series, arrays, Python data and files."""
        from omegamesh.stores.datasets import Datasets

        return Datasets(self.client, self.kinds)

    @cached_property
    def models(self) -> Models:
        """Give the store of models."""
        from omegamesh.stores.models import Models

        return Models(self.client, self.kinds)

    @cached_property
    def runtime(self) -> Runtime:
        """Give the way to run models on workers, or here."""
        from omegamesh.runtime.runtime import Runtime

        return Runtime(self)

    @cached_property
    def blobs(self) -> HttpBlobs:
        """Give the bucket's blobs, as kinds read and write them."""
        from omegamesh.transfer import HttpBlobs

        return HttpBlobs(self.client)

    @property
    def buckets(self) -> list[str]:
        """Give the names of the buckets that you may see and that hold something."""
        return [shown_bucket(bucket) for bucket in self.client.call("GET", "/api/v1/buckets")["items"]]

    def close(self) -> None:
        """Close the connections; an embedded mesh goes on for the life of the process."""
        self.client.close()


def setup(
    userid: str | None = None,
    apikey: str | None = None,
    api_url: str | None = None,
    bucket: str | None = None,
    token: str | None = None,
    config_file: Path | None = None,
) -> Omega:
    """Give the API of a mesh.

    Arguments win over ``OMEGA_URL``, ``OMEGA_USERID``, ``OMEGA_APIKEY`` and ``OMEGA_BUCKET``, those over
    ``~/.omegaml/config.yml``; with none of them it is the embedded mesh.

    Raises ValueError when a URL is configured without a way to log in.
    """
    return Omega(load_config(file=config_file, url=api_url, userid=userid, apikey=apikey, token=token, bucket=bucket))
