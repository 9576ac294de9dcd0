"""With no mesh configured: attach to the user's own, or start one. The one module of the SDK that reaches the mesh."""

from __future__ import annotations

from omegamesh.config import Config


def embedded(config: Config) -> Config:
    """Give `config` completed with the address and credentials of the embedded mesh.

    Raises:
        ModuleNotFoundError: only the thin SDK is installed, so there is nothing to start.
    """
    try:
        from omega_mesh.attach import attach_or_start
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "No mesh is configured, and the embedded mesh is not installed. Set OMEGA_URL, OMEGA_USERID and "
            'OMEGA_APIKEY, or install it: pip install "omegamesh[local]"'
        ) from error
    credentials, _ = attach_or_start()
    return Config(credentials.url, credentials.userid, credentials.apikey, bucket=config.bucket)
