"""The figures that blobstore adds to those that every service has."""

from __future__ import annotations

from omegakit.metrics import Metrics


class BlobstoreMetrics:
    """Counters of bytes, damage, skipped work and sweeps, in the service's registry."""

    def __init__(self, metrics: Metrics) -> None:
        self.bytes_in = metrics.counter("omega_blob_bytes_in", "Bytes of uploads that were stored.")
        self.bytes_out = metrics.counter("omega_blob_bytes_out", "Bytes sent, of blobs and of rows.")
        self.corrupted = metrics.counter("omega_blob_corrupted", "Reads that found a damaged blob.")
        self.parts_read = metrics.counter("omega_frame_parts_read", "Parts of frames that filters had to open.")
        self.parts_skipped = metrics.counter("omega_frame_parts_skipped", "Parts that statistics ruled out.")
        self.swept = metrics.counter("omega_swept", "What sweeps removed.", ("what",))
