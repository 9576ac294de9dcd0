"""The peer of the frame store: pandas' own to_parquet and read_parquet, snappy, one file on the local disk."""

import time
from pathlib import Path

import pandas as pd
from answering import answer_questions
from samples import mixed_frame

_FRAME = mixed_frame()


def round_trip(path: str) -> dict[str, float]:
    """Write the frame to `path`, read it back; gives seconds for each and the file's size in MB."""
    file = Path(path)
    began = time.perf_counter()
    _FRAME.to_parquet(file, compression="snappy")
    written = time.perf_counter()
    rows = len(pd.read_parquet(file))
    read = time.perf_counter()
    if rows != len(_FRAME):
        raise SystemExit(f"{file} holds {rows} rows")
    return {"put_s": written - began, "get_s": read - written, "mb": file.stat().st_size / 1e6}


if __name__ == "__main__":
    answer_questions({"round_trip": round_trip})
