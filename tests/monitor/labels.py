"""A seeded classifier's log whose labels come alone, later, under the ids of its answers."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

START = 1_700_000_000.0
MODEL = "lender"
EVENTS_PER_S = 1.0


def log(
    n: int,
    seed: int,
    *,
    delay_s: float = 3_600.0,
    worse_from: int | None = None,
    first: int = 0,
    labelled: float = 1.0,
    version: str | None = "1",
) -> list[bytes]:
    """Answers and, ``delay_s`` after each, its label, in the order of their times.

    From answer ``worse_from`` on a sixth more of the labels are the other class, with the same inputs: nothing but
    labels can show it. ``version`` is what label records state.
    """
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, 4))
    chance = 1 / (1 + np.exp(-3.0 * values.sum(axis=1)))
    truth = rng.random(n) < chance
    flipped = rng.random(n) < 1 / 6
    if worse_from is not None:
        truth[worse_from:] ^= flipped[worse_from:]
    told = rng.random(n) < labelled
    timed: list[tuple[float, int, dict[str, object]]] = []
    for i in range(n):
        at = START + (first + i) / EVENTS_PER_S
        p = round(float(chance[i]), 4)
        answer = {
            "model": MODEL,
            "version": "1",
            "event_id": f"e{first + i}",
            "timestamp": at,
            "features": {f"x{j}": round(float(v), 4) for j, v in enumerate(values[i])},
            "probabilities": {"bad": round(1 - p, 4), "good": p},
            "prediction": "good" if p > 0.5 else "bad",
        }
        timed.append((at, i, answer))
        if told[i]:
            label = {
                "model": MODEL,
                "event_id": f"e{first + i}",
                "timestamp": at + delay_s,
                "label": "good" if truth[i] else "bad",
            }
            timed.append((at + delay_s, n + i, label if version is None else {**label, "version": version}))
    return [json.dumps(event).encode() for *_, event in sorted(timed, key=lambda item: item[:2])]


def only_labels(lines: Sequence[bytes]) -> list[bytes]:
    return [line for line in lines if b'"label"' in line]


def only_answers(lines: Sequence[bytes]) -> list[bytes]:
    return [line for line in lines if b'"label"' not in line]
