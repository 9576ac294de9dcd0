"""Put and get of a frame of 1,000,000 x 10 mixed columns: our stores beside a parquet file of pandas' own."""

import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from processes import HERE, Probe
from stats import Goal, Section, figure, median

PARQUET, EMBEDDED, MONGODB = "parquet file (pandas, snappy)", "omega mesh, embedded", "omega mesh, MongoDB"
_PUT_BOUND, _GET_BOUND = 2.5, 2.0
_TIMES = 3
"""Seconds of a transfer move more from round to round than the other figures: it gets so many times the rounds."""


@dataclass(frozen=True)
class Figures:
    """One store's medians over the rounds, in seconds."""

    put_s: float
    get_s: float


def parquet_file() -> Probe:
    """Give the probe that writes and reads the file."""
    return Probe([sys.executable, str(HERE / "peers" / "parquet_file.py")])


def measure(probes: dict[str, Probe], *, rounds: int) -> Section:
    """Give the table and the goals. A probe answers `round_trip`; one round more than counts warms them up."""
    taken: dict[str, list[Figures]] = {name: [] for name in probes}
    with TemporaryDirectory(prefix="omega-bench-frames-") as folder:
        for number in range(rounds * _TIMES + 1):
            for name, probe in probes.items():
                seconds = probe.ask("round_trip", path=str(Path(folder) / "frame.parquet"))
                if number:
                    taken[name].append(Figures(seconds["put_s"], seconds["get_s"]))
    return section({name: _median(figures) for name, figures in taken.items()})


def section(figures: dict[str, Figures]) -> Section:
    """Give the section for the stores' medians, each of ours held against the file."""
    file = figures[PARQUET]
    shown = Section("DataFrame of 1,000,000 x 10", ["store", "put s", "get s", "put ratio", "get ratio"])
    for name, taken in figures.items():
        put, get = taken.put_s / file.put_s, taken.get_s / file.get_s
        shown.rows.append([name, *map(figure, (taken.put_s, taken.get_s, put, get))])
        if name != PARQUET:
            shown.goals.append(Goal(f"{name}: put over the file's", put, _PUT_BOUND, at_most=True))
            shown.goals.append(Goal(f"{name}: get over the file's", get, _GET_BOUND, at_most=True))
    return shown


def _median(rounds: list[Figures]) -> Figures:
    return Figures(median([taken.put_s for taken in rounds]), median([taken.get_s for taken in rounds]))
