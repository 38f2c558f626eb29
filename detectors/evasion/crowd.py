"""Crowd: how often the class flips at steps of other clients right now, so that a restless model accuses nobody.

A bounded table of the clients that walked most recently. The median over clients is read from it, without the client in
question, and clients under alarm never enter it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import IntArray
from detectors.evasion.tally import COUNTS

MOST = 64
MEMORY = 200
"""Steps of one client that are remembered; older ones fade."""
ENOUGH_STEPS = 8
ENOUGH_CLIENTS = 5
_FLIPS, _LABELLED = COUNTS.index("tight_flips"), COUNTS.index("tight_labelled")


@dataclass(frozen=True, slots=True, eq=False)
class Crowd:
    """keys (k,) and counts (k, 2) of flips at short steps and of such steps, last active client last; k <= ``MOST``."""

    keys: IntArray
    counts: IntArray

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]] | None) -> Self:
        if not arrays:
            return cls(np.empty(0, dtype=np.int64), np.empty((0, 2), dtype=np.int64))
        return cls(arrays["keys"], arrays["counts"])

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {"keys": self.keys, "counts": self.counts}

    def met(self, clients: Mapping[str, IntArray]) -> Crowd:
        """The table after a pane in which each of ``clients`` added its counts."""
        table = dict(zip(self.keys.tolist(), self.counts, strict=True))
        for client, added in clients.items():
            if added[_LABELLED]:
                counts = table.pop(_key(client), np.zeros(2, dtype=np.int64)) + added[[_FLIPS, _LABELLED]]
                table[_key(client)] = counts if counts[1] <= MEMORY else counts * MEMORY // counts[1]
        kept = list(table.items())[-MOST:]
        return Crowd(
            np.array([k for k, _ in kept], dtype=np.int64),
            np.array([c for _, c in kept], dtype=np.int64).reshape(len(kept), 2),
        )

    def without(self, clients: Iterable[str]) -> Crowd:
        """The table without these clients."""
        kept = ~np.isin(self.keys, [_key(client) for client in clients])
        return Crowd(self.keys[kept], self.counts[kept])

    def flip_rate(self, client: str) -> float:
        """Median flip rate of the other clients; 0 where too few of them walk."""
        others = self.counts[(self.keys != _key(client)) & (self.counts[:, 1] >= ENOUGH_STEPS)]
        return float(np.median(others[:, 0] / others[:, 1])) if len(others) >= ENOUGH_CLIENTS else 0.0


def _key(client: str) -> int:
    digest = hashlib.blake2b(client.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
