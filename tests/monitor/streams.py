"""A small seeded model log: honest clients, and a drift from a known event on."""

from __future__ import annotations

import json

import numpy as np

START = 1_700_000_000.0
EVENTS_PER_S = 20.0
MODEL = "scorer"


def events(n: int, seed: int, drift_from: int | None = None, first: int = 0) -> list[bytes]:
    """Native events in time order; from event ``drift_from`` on the first feature is shifted by 1.5 sd."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, 5))
    if drift_from is not None:
        values[drift_from:, 0] += 1.5
    clients = rng.integers(0, 40, size=n)
    return [
        json.dumps(
            {
                "model": MODEL,
                "version": "1",
                "event_id": f"e{first + i}",
                "client_id": f"c{clients[i]}",
                "timestamp": START + (first + i) / EVENTS_PER_S,
                "features": {f"x{j}": round(float(v), 4) for j, v in enumerate(values[i])},
                "prediction": "yes" if values[i].sum() > 0 else "no",
            }
        ).encode()
        for i in range(n)
    ]
