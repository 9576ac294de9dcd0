"""Answering batches of predictions in a child: load the revision once, then one vectorised call a batch."""

from __future__ import annotations

from omega_worker.child.failures import failure_of
from omega_worker.child.models import ModelCache
from omega_worker.messages import AnswerBatch, BatchEnded
from omegakinds.base import ModelKind, Servable
from omegakinds.registry import KindRegistry
from omegamesh.client import Omega
from omegamesh.config import Config
from omegamesh.http import MeshClient
from omegaproto.errors import ObjectNotFound, UnknownAction
from omegaproto.messages import Message
from omegaproto.objects import Metadata
from omegaproto.predictions import PredictBatch

_MIB = 1024 * 1024


class PredictRunner:
    """Answers batches from models that it keeps."""

    def __init__(self, gateway_url: str, cache_mb: int) -> None:
        self._client = MeshClient(Config(url=gateway_url, token="none-yet"))  # noqa: S106 - replaced by each batch's own
        self._kinds = KindRegistry()
        self._models: ModelCache[Servable] = ModelCache(cache_mb * _MIB)

    def use_token(self, token: str) -> None:
        """Speak with a new token from now on."""
        self._client.use_token(token)

    def run(self, message: Message) -> Message:
        """Answer a batch: each request for itself, or all with the error that none of them caused."""
        assert isinstance(message, AnswerBatch)  # noqa: S101 - narrows the type; supervisors send nothing else here
        batch = message.batch
        try:
            model = self._model(batch, trusted=message.trusted)
            return BatchEnded(items=tuple(model.answer(batch.action, batch.bodies)))
        except Exception as error:
            return BatchEnded(error=failure_of(error)[0])

    def _model(self, batch: PredictBatch, *, trusted: bool) -> Servable:
        key = (batch.bucket, batch.name, batch.revision_id)
        found = self._models.get(key)
        if found is None:
            found, size = self._load(batch, trusted=trusted)
            self._models.put(key, found, size)
        return found

    def _load(self, batch: PredictBatch, *, trusted: bool) -> tuple[Servable, int]:
        self.use_token(batch.access_token)
        om = Omega(self._client.config.in_bucket(batch.bucket), self._client.in_bucket(batch.bucket))
        metadata = om.models.metadata(batch.name, version=batch.revision_id)
        if metadata is None:
            raise ObjectNotFound(
                f"There is no model {batch.name!r} in bucket {om.bucket!r}.", action="It may have been dropped."
            )
        kind = self._kind(metadata)
        # Blobs are read through the SDK, which refuses bytes whose sha256 is not the one of the revision.
        model = kind.load(metadata.revision, om.blobs, trusted=trusted)
        return kind.servable(model), sum(blob.length for blob in metadata.revision.blobs)

    def _kind(self, metadata: Metadata) -> ModelKind:
        kind = self._kinds.by_name(metadata.kind)
        if not isinstance(kind, ModelKind):
            raise UnknownAction(f"{metadata.name!r} is {metadata.kind}, which cannot be run.", action="Name a model.")
        return kind
