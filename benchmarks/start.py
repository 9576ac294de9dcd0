"""How soon something answers: the import, an embedded mesh from nothing, a model from its put to its first answer."""

import subprocess
import sys
from tempfile import TemporaryDirectory

import ours
from load import LoadFailed
from processes import HERE, Probe, environment
from stats import Goal, Section, figure, median

_MODEL_MS, _COLD_S, _IMPORT_MS = 150.0, 2.0, 150.0


def measure(client: Probe, *, rounds: int) -> Section:
    """Give the table and the goals; `client` puts models into a mesh of separate processes."""
    client.ask("first_answer", name="warm-up")
    model, cold, imported = [], [], []
    for number in range(rounds):
        model.append(client.ask("first_answer", name=f"first-{number}")["ms"])
        cold.append(_cold_start("answer"))
        imported.append(_cold_start("import") * 1e3)
    return section(model_ms=median(model), cold_s=median(cold), import_ms=median(imported))


def section(*, model_ms: float, cold_s: float, import_ms: float) -> Section:
    """Give the section for the three medians."""
    rows = [
        ["put of a model to its first REST answer, ms", figure(model_ms)],
        ["embedded mesh, cold start to first answer after import, s", figure(cold_s)],
        ["import omegamesh, ms", figure(import_ms)],
    ]
    goals = [
        Goal("put of a model to its first REST answer", model_ms, _MODEL_MS, "ms", at_most=True),
        Goal("embedded mesh, cold start to first answer", cold_s, _COLD_S, "s", at_most=True),
        Goal("import omegamesh", import_ms, _IMPORT_MS, "ms", at_most=True),
    ]
    return Section("Start", ["what", "median"], rows, goals)


def _cold_start(what: str) -> float:
    with TemporaryDirectory(prefix="omega-bench-home-") as home:
        ran = subprocess.run(
            [sys.executable, str(HERE / "cold_start.py"), what],
            env=environment(ours.embedded(home)),
            capture_output=True,
            text=True,
            check=False,
        )
    if ran.returncode:
        raise LoadFailed(f"cold_start.py {what} ended with status {ran.returncode}:\n{ran.stderr[-2000:]}")
    lines = [line for line in ran.stdout.splitlines() if line.startswith("seconds ")]
    return float(lines[-1].removeprefix("seconds "))
