"""The DocStore port: documents with guarded writes. Its adapters are `sqlite` and `mongodb`."""

from omegakit.docs.connect import open_docs
from omegakit.docs.port import Collection, Cond, Doc, DocStore, Index, Page, Update

__all__ = ["Collection", "Cond", "Doc", "DocStore", "Index", "Page", "Update", "open_docs"]
