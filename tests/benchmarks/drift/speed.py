"""CPU time of the two halves at 200 numeric features, beside other detectors on the same rows in the same run.

evidently and nannyml are no dependencies of Vedette: name an interpreter that has one in ``EVIDENTLY_PYTHON`` or
``NANNYML_PYTHON`` and it runs there as a process of its own, timing only its own work on the same rows.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from river import drift as river_drift

from detectors.budget import DEFAULT_TOLERANCE
from detectors.drift.marginals import MarginalDrift
from tests.benchmarks.drift.figures import Section
from tests.benchmarks.drift.watched import Fitted, Pace, Rows, events, panes

FEATURES, MICRO_BATCH, N = 200, 2_000, 5_000
PACE = Pace(per_pane=MICRO_BATCH)
FASTEST_SKETCH, SLOWEST_JUDGE_MS = 30e6, 2.0
_COLUMNS = {"evidently": 10, "nannyml": FEATURES}
"""How many of the columns each gets: its time is proportional to them."""
_SCRIPTS = {
    "evidently": """
import sys, time, numpy, pandas
from evidently import Report
from evidently.presets import DataDriftPreset
rows = numpy.load(sys.argv[1])
known, live = (pandas.DataFrame(rows[k], columns=[f"x{i}" for i in range(rows[k].shape[1])]) for k in ("known", "live"))
at = time.process_time()
Report([DataDriftPreset()]).run(live, known)
print(live.size / (time.process_time() - at))
""",
    "nannyml": """
import sys, time, numpy, pandas, nannyml
rows = numpy.load(sys.argv[1])
names = [f"x{i}" for i in range(rows["known"].shape[1])]
known, live = (pandas.DataFrame(rows[k], columns=names) for k in ("known", "live"))
calculator = nannyml.UnivariateDriftCalculator(column_names=names, chunk_size=len(live)).fit(known)
at = time.process_time()
calculator.calculate(live)
print(live.size / (time.process_time() - at))
""",
}


def section(quick: bool, seed: int) -> Section:
    rng = np.random.default_rng(seed)
    known, live = rng.normal(size=(N, FEATURES)), rng.normal(size=(MICRO_BATCH, FEATURES))
    fitted = Fitted.on(MarginalDrift, Rows.of_numbers(known), PACE)
    detector = fitted.built(10_000.0, DEFAULT_TOLERANCE)
    out = Section()
    batch, whole = events(Rows.of_numbers(live), PACE.times(0, MICRO_BATCH)), np.array([0])
    columns_a_second = live.size / _cpu_s(lambda: detector.sketch(batch, whole), 10 if quick else 60)
    out.figures["column-events a CPU second, digitise and count, 200 features, 2,000 rows"] = columns_a_second
    out.at_least("column-events a CPU second, digitise and count", columns_a_second, FASTEST_SKETCH)
    (pane,) = panes(detector, Rows.of_numbers(live), PACE)
    evidence = dict(detector.judge({}, pane).evidence)
    judge_ms = 1e3 * _cpu_s(lambda: detector.judge(evidence, pane), 20 if quick else 200)
    out.figures["CPU ms to judge a pane, 200 columns"] = judge_ms
    out.at_most("CPU ms to judge a pane, 200 columns", judge_ms, SLOWEST_JUDGE_MS)
    makers: dict[str, Callable[[], object]] = {
        "river ADWIN": river_drift.ADWIN,
        "river PageHinkley": river_drift.PageHinkley,
        "river KSWIN": lambda: river_drift.KSWIN(seed=seed),
    }
    for name, make in makers.items():
        columns = live[:, :1] if name.endswith("KSWIN") else live[:, :20]
        out.figures[f"column-events a CPU second, {name}"] = _river_speed(make, columns[: 400 if quick else None])
    for name, columns in _COLUMNS.items():
        speed = _elsewhere(name, known[:, :columns], live[:, :columns])
        out.figures[f"column-events a CPU second, {name}, {columns} columns"] = speed
    return out


def _cpu_s(call: Callable[[], object], repeats: int) -> float:
    """CPU seconds of the fastest call: what a busy neighbour takes from the caches is not the call's own cost."""
    call()
    taken = []
    for _ in range(repeats):
        at = time.process_time()
        call()
        taken.append(time.process_time() - at)
    return float(min(taken))


def _river_speed(make: Callable[[], object], rows: np.ndarray) -> float:
    detectors = [make() for _ in range(rows.shape[1])]
    columns = rows.T.tolist()
    at = time.process_time()
    for detector, column in zip(detectors, columns, strict=True):
        for value in column:
            detector.update(value)
    return rows.size / (time.process_time() - at)


def _elsewhere(name: str, known: np.ndarray, live: np.ndarray) -> float | str:
    interpreter = os.environ.get(f"{name.upper()}_PYTHON")
    if not interpreter:
        return f"not installed; name an interpreter that has it in {name.upper()}_PYTHON"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npz"
        np.savez(path, known=known, live=live)
        command = [interpreter, "-W", "ignore", "-c", _SCRIPTS[name], str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=folder)
    if done.returncode:
        return f"failed: {done.stderr.strip().splitlines()[-1]}"
    return float(done.stdout.strip().splitlines()[-1])
