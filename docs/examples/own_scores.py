"""Scores of your own beside Vedette's: a detector of scikit-learn, one of river, and a plain function.

Try it, from the root of the repository, on the log that this file writes when it is run::

    python docs/examples/own_scores.py
    vedette score live.ndjson --reference reference.ndjson --output scores.jsonl --explain \
        --own-score forest=docs/examples/own_scores.py:forest \
        --own-score trees=docs/examples/own_scores.py:trees \
        --own-score ratio=docs/examples/own_scores.py:ratio

In service they are named in the settings (``[[scores]]``), and must be there when the reference is fitted. The
detectors here are taught on rows made up on the spot; yours come from a file that you trust, and were taught on other
rows than the reference.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from river.anomaly import HalfSpaceTrees
from sklearn.ensemble import IsolationForest

from detectors.batch import EventBatch
from detectors.ood.adapters import Strange, from_decision_function, from_river

COLUMNS = ("amount", "hour")


def _rows(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.lognormal(3.0, 0.5, n), rng.integers(8, 20, n)])


def _taught_trees() -> HalfSpaceTrees:
    trees = HalfSpaceTrees(n_trees=10, window_size=100, limits={"amount": (0, 200), "hour": (0, 24)}, seed=1)
    for row in _rows(500, seed=11):
        trees.learn_one(dict(zip(COLUMNS, row.tolist(), strict=True)))
    return trees


forest = from_decision_function(IsolationForest(random_state=1).fit(_rows(500, seed=10)), COLUMNS, Strange.LOW)
trees = from_river(_taught_trees(), COLUMNS)


def ratio(batch: EventBatch) -> np.ndarray:
    """Amounts that are large for the hour: any function of the event batch will do, higher = stranger."""
    amount, hour = (batch.numeric[:, batch.numeric_names.index(name)] for name in COLUMNS)
    return amount / np.maximum(hour, 1.0)


def write_logs(folder: Path) -> None:
    """An ordinary log to learn from, and one whose last tenth is strange."""
    live = _rows(500, seed=3)
    live[450:] = [900.0, 3.0]
    for name, rows in (("reference", _rows(1_000, seed=2)), ("live", live)):
        events = [
            {"model": "payments", "timestamp": 1.75e9 + i, "features": dict(zip(COLUMNS, row.tolist(), strict=True))}
            for i, row in enumerate(rows)
        ]
        (folder / f"{name}.ndjson").write_text("".join(json.dumps(event) + "\n" for event in events))


if __name__ == "__main__":
    write_logs(Path.cwd())
