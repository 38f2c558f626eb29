"""Peers: what the other clients of the model look like right now, so that drift of the whole model accuses nobody.

A bounded table of the most recently active clients, each with sums that fade by its own queries (about the last forty).
Only robust figures are read from it (medians, trimmed means), the client in question left out, and clients
with an open alarm never enter it: a suspect must not teach its judges.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray, IntArray
from detectors.extraction.heads import Spread
from detectors.extraction.layout import COUNTS, Sums

MAX_PEERS = 128
MEMORY = 40.0
MIN_SEEN = 8.0
ENOUGH_FOR_RATES = 4
ENOUGH_FOR_CENTRE = 12


@dataclass(frozen=True, slots=True, eq=False)
class Peers:
    """keys (k,), faded sums (k, width), and when each was last active (k,); k <= ``MAX_PEERS``."""

    keys: IntArray
    sums: FloatArray
    seen_at: FloatArray

    @classmethod
    def empty(cls, width: int) -> Self:
        return cls(np.empty(0, dtype=np.int64), np.empty((0, width)), np.empty(0))

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]] | None, width: int) -> Self:
        if not arrays or arrays["sums"].shape[1:] != (width,):
            return cls.empty(width)
        return cls(arrays["keys"], arrays["sums"].astype(np.float64), arrays["seen_at"])

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {"keys": self.keys, "sums": self.sums.astype(np.float32), "seen_at": self.seen_at}

    def met(self, clients: Iterable[tuple[str, FloatArray]], at: float, width: int) -> Peers:
        """The table after a pane in which each of ``clients`` added its float64 sums."""
        table = {int(k): (s, t) for k, s, t in zip(self.keys, self.sums, self.seen_at, strict=True)}
        for client, added in clients:
            n = added[0]
            old = table.get(key_of(client), (np.zeros(width), at))[0]
            new = old * np.exp(-n / MEMORY) + added * min(1.0, MEMORY / max(n, 1.0))
            table[key_of(client)] = (new, max(at, table.get(key_of(client), (new, at))[1]))
        kept = sorted(table.items(), key=lambda item: (-item[1][1], item[0]))[:MAX_PEERS]
        if not kept:
            return Peers.empty(width)
        return Peers(
            np.array([k for k, _ in kept], dtype=np.int64),
            np.array([s for _, (s, _) in kept]),
            np.array([t for _, (_, t) in kept]),
        )

    def without(self, clients: Iterable[str]) -> Peers:
        """The table without these clients."""
        gone = [key_of(client) for client in clients]
        kept = ~np.isin(self.keys, gone)
        return Peers(self.keys[kept], self.sums[kept], self.seen_at[kept])

    def of(self, client: str, n_classes: int) -> Company:
        """The other clients of ``client`` that have been seen enough."""
        fresh = COUNTS.index("fresh")
        kept = (self.keys != key_of(client)) & (self.sums[:, fresh] >= MIN_SEEN)
        return Company([Sums(row, n_classes) for row in self.sums[kept]])


@dataclass(frozen=True, slots=True, eq=False)
class Company:
    """The concurrent peers of one client."""

    members: list[Sums]

    def rate(self, parts: tuple[str, ...], whole: str) -> float:
        """Mean rate of peers with the top and bottom quarter cut off; 0 where too few are there."""
        if len(self.members) < ENOUGH_FOR_RATES:
            return 0.0
        rates = np.sort([sum(m.count(p) for p in parts) / max(1.0, m.count(whole)) for m in self.members])
        cut = len(rates) // 4
        return float(rates[cut : len(rates) - cut].mean())

    def drift(self, spread: Spread) -> FloatArray | None:
        """(d,) how far the middle of the peers has moved from the reference; None where too few are there."""
        if len(self.members) < ENOUGH_FOR_CENTRE:
            return None
        k = len(self.members)
        middle = np.mean(np.sort([m.mean for m in self.members], axis=0)[k // 4 : k - k // 4], axis=0)
        return np.asarray((middle - spread.centre) * k / (k + 4.0))

    def inflation(self, spread: Spread, n: float, centre: FloatArray) -> float:
        """Median T² of the peers over the median of honest clients, at the precision of n queries; at least 1."""
        if len(self.members) < ENOUGH_FOR_RATES:
            return 1.0
        y = (np.array([m.mean for m in self.members]) - centre) @ spread.axes
        size = np.array([1.5 * m.count("fresh") for m in self.members])
        variance = spread.between + 1.0 / max(n, 1.0)
        noise = np.maximum(1.0 / size - 1.0 / max(n, 1.0), 0.0)[:, None] / variance
        ratios = (np.sum(y * y / variance, axis=1) - noise.sum(axis=1)) / spread.median(n)
        return max(1.0, float(np.median(ratios)))


def key_of(client: str) -> int:
    """A 64-bit stand-in for a client id."""
    digest = hashlib.blake2b(client.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def closest_centre(mean: FloatArray, n: float, spread: Spread, drift: FloatArray | None) -> FloatArray:
    """The point on the way from the reference to the peers of today that lies nearest to a client's mean row."""
    if drift is None:
        return spread.centre
    way = drift @ spread.axes
    weight = 1.0 / (spread.between + 1.0 / max(n, 1.0))
    along = float(np.sum(weight * way * ((mean - spread.centre) @ spread.axes)))
    share = np.clip(along / max(float(np.sum(weight * way * way)), 1e-12), 0.0, 1.25)
    return np.asarray(spread.centre + share * drift)
