"""The object kinds: plugins that turn Python objects into blobs and back, and that run the verbs of models.

The SDK uses them in the user's process, the worker in its child. Heavy frameworks (pandas, numpy, pyarrow,
scikit-learn) load only when an object of their kind is touched.
"""

from omegakinds.base import BlobSink, BlobSource, Dumped, EncodedPart, FrameKind, Kind, ModelKind, Outcome, Stored
from omegakinds.registry import KindRegistry

__all__ = [
    "BlobSink",
    "BlobSource",
    "Dumped",
    "EncodedPart",
    "FrameKind",
    "Kind",
    "KindRegistry",
    "ModelKind",
    "Outcome",
    "Stored",
]
