"""Peers: what the other clients of the model look like right now, so that drift of the whole model accuses nobody.

A bounded table of the most recently active clients, each with sums that fade by its own queries (about the last forty).
Only robust figures are read from it (medians, trimmed means), the client in question left out, and clients
with an open alarm never enter it: a suspect must not teach its judges.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray, IntArray
from detectors.clients.sums import client_number
from detectors.extraction.heads import Spread
from detectors.extraction.layout import COUNTS, Sums, row_at, unpack
from detectors.extraction.wagers import WAGERS

MAX_PEERS = 128
MEMORY = 40.0
MIN_SEEN = 8.0
ENOUGH_FOR_RATES = 4
ENOUGH_FOR_CENTRE = 12
ENOUGH_QUERIES = 8.0
_FRESH = COUNTS.index("fresh")


@dataclass(frozen=True, slots=True, eq=False)
class Peers:
    """keys (k,), faded sums (k, width), and when each was last active (k,); k <= ``MAX_PEERS``.

    ``running`` (width,) is the sum over all clients without an alarm since the model was first judged, no client
    counting more in a pane than the median one: a loud thief must not hide a second one. A client keeps what it was
    when its window began and adds its own part, so the difference to today is its peers over exactly that window.
    """

    keys: IntArray
    sums: FloatArray
    seen_at: FloatArray
    running: IntArray

    @classmethod
    def empty(cls, width: int) -> Self:
        zero = np.zeros(width, dtype=np.int64)
        return cls(np.empty(0, dtype=np.int64), np.empty((0, width)), np.empty(0), zero)

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]] | None, width: int) -> Self:
        if not arrays or arrays["sums"].shape[1:] != (width,):
            return cls.empty(width)
        return cls(arrays["keys"], arrays["sums"].astype(np.float64), arrays["seen_at"], arrays["running"])

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        sums = self.sums.astype(np.float32)
        return {"keys": self.keys, "sums": sums, "seen_at": self.seen_at, "running": self.running}

    def met(self, clients: Mapping[str, IntArray], n_labels: int, at: float) -> Peers:
        """The table after a pane in which each of ``clients`` (without an alarm) added its sums."""
        table = {int(k): (s, t) for k, s, t in zip(self.keys, self.sums, self.seen_at, strict=True)}
        running = self.running + sum(capped(clients).values(), np.zeros_like(self.running))
        for client, added in clients.items():
            new, n = unpack(added, n_labels).vector, float(added[0])
            old, seen_at = table.get(client_number(client), (np.zeros_like(new), at))
            faded = old * np.exp(-n / MEMORY) + new * min(1.0, MEMORY / max(n, 1.0))
            table[client_number(client)] = (faded, max(at, seen_at))
        kept = sorted(table.items(), key=lambda item: (-item[1][1], item[0]))[:MAX_PEERS]
        return Peers(
            np.array([k for k, _ in kept], dtype=np.int64),
            np.array([s for _, (s, _) in kept]).reshape(len(kept), len(running)),
            np.array([t for _, (_, t) in kept]),
            running,
        )

    def without(self, clients: Iterable[str]) -> Peers:
        """The table without these clients."""
        gone = [client_number(client) for client in clients]
        kept = ~np.isin(self.keys, gone)
        return Peers(self.keys[kept], self.sums[kept], self.seen_at[kept], self.running)

    def of(self, client: str, n_classes: int) -> Company:
        """The other clients of ``client`` that have been seen enough."""
        kept = (self.keys != client_number(client)) & (self.sums[:, _FRESH] >= MIN_SEEN)
        return Company(self.sums[kept], n_classes)


def capped(clients: Mapping[str, IntArray]) -> dict[str, IntArray]:
    """The sums of each client of a pane, scaled down to the median number of events where they are more."""
    if not clients:
        return {}
    limit = float(np.median([added[0] for added in clients.values()]))
    return {c: np.rint(added * min(1.0, limit / added[0])).astype(np.int64) for c, added in clients.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Company:
    """The peers of one client: each as it was of late, and all together over exactly the client's window."""

    members: FloatArray
    n_classes: int
    together: Sums | None = None

    def during(self, together: Sums) -> Company:
        """The same peers beside another window."""
        return Company(self.members, self.n_classes, together)

    @property
    def is_thin(self) -> bool:
        """Whether too little is known of peers to tell a thief from a drift of everybody."""
        together = 0.0 if self.together is None else self.together.count("fresh")
        return len(self.members) < ENOUGH_FOR_RATES and together < ENOUGH_QUERIES

    def rate(self, parts: tuple[str, ...], whole: str) -> float:
        """Rate among the peers: of the same window, or the trimmed mean of late if that is higher; 0 if unknown."""
        found = [0.0]
        if self.together is not None and self.together.count(whole) >= ENOUGH_QUERIES:
            found.append(float(_rates(self.together.vector[None], parts, whole)[0]))
        if len(self.members) >= ENOUGH_FOR_RATES:
            rates = np.sort(_rates(self.members, parts, whole))
            cut = len(rates) // 4
            found.append(float(rates[cut : len(rates) - cut].mean()))
        return max(found)

    def won(self) -> FloatArray:
        """(6,) nats a query that each of ``WAGERS`` won among the peers, as ``rate`` has it; 0 if unknown."""
        at = slice(len(COUNTS) + self.n_classes, row_at(self.n_classes))
        found = np.zeros(len(WAGERS))
        if self.together is not None and self.together.count("fresh") >= ENOUGH_QUERIES:
            found = np.maximum(found, self.together.won / self.together.count("fresh"))
        if len(self.members) >= ENOUGH_FOR_RATES:
            rates = np.sort(self.members[:, at] / np.maximum(self.members[:, [_FRESH]], 1.0), axis=0)
            cut = len(rates) // 4
            found = np.maximum(found, rates[cut : len(rates) - cut].mean(axis=0))
        return found

    def drift(self, spread: Spread) -> FloatArray | None:
        """(d,) how far the peers have moved from the reference; None where too little is known of them."""
        if self.together is not None and self.together.count("fresh") >= ENOUGH_QUERIES:
            return np.asarray(self.together.mean - spread.centre)
        if len(self.members) < ENOUGH_FOR_CENTRE:
            return None
        k = len(self.members)
        middle = np.mean(np.sort(self._means(), axis=0)[k // 4 : k - k // 4], axis=0)
        return np.asarray((middle - spread.centre) * k / (k + 4.0))

    def inflation(self, spread: Spread, n: float, drift: FloatArray | None) -> float:
        """Median T² of the peers of late over the median of honest clients, at the precision of n queries; >= 1."""
        if len(self.members) < ENOUGH_FOR_RATES:
            return 1.0
        y = (self._means() - spread.centre) @ spread.axes
        size = 1.5 * self.members[:, _FRESH]
        variance = spread.between + 1.0 / max(n, 1.0)
        if drift is not None:
            way = drift @ spread.axes
            length = max(float(np.sum(way * way / variance)), 1e-12)
            y = y - np.outer(np.clip(y @ (way / variance) / length, 0.0, 1.5), way)
        noise = np.maximum(1.0 / size - 1.0 / max(n, 1.0), 0.0)[:, None] / variance
        ratios = (np.sum(y * y / variance, axis=1) - noise.sum(axis=1)) / spread.median(n)
        return max(1.0, float(np.median(ratios)))

    def _means(self) -> FloatArray:
        return np.asarray(self.members[:, row_at(self.n_classes) :] / np.maximum(self.members[:, [_FRESH]], 1.0))


def _rates(rows: FloatArray, parts: tuple[str, ...], whole: str) -> FloatArray:
    hits = rows[:, [COUNTS.index(part) for part in parts]].sum(axis=1)
    return np.asarray(hits / np.maximum(rows[:, COUNTS.index(whole)], 1.0))
