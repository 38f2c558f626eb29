"""Accounts: a bounded table of the clients active of late, so that many small ones can be looked at together.

Each row holds what an account did in about its last sixty queries (sums that fade by the account's own queries), so
that an account with a long honest past cannot dilute what it does today. Clients with an alarm of their own do not
enter. Where there are more accounts than rows, those seen last stay.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray, IntArray
from detectors.extraction.layout import COUNTS, Sums, row_at, unpack

MAX_ACCOUNTS = 2_000
MEMORY = 60.0
LOOK_S = 3_600.0
LOOK_QUERIES = 500.0
_FRESH = COUNTS.index("fresh")
_SEPARATOR = "\n"


@dataclass(frozen=True, slots=True, eq=False)
class Accounts:
    """names (k,), faded sums (k, width), and event times of first and last query (k,); k <= ``MAX_ACCOUNTS``.

    ``looked_at`` is when groups were last looked for, ``since`` how many queries were added after that.
    """

    names: tuple[str, ...]
    sums: FloatArray
    first_at: FloatArray
    seen_at: FloatArray
    looked_at: float
    since: float

    @classmethod
    def empty(cls, width: int) -> Self:
        return cls((), np.empty((0, width)), np.empty(0), np.empty(0), -np.inf, 0.0)

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]] | None, width: int) -> Self:
        """The stored table; an empty one where there is none, or one of another reference."""
        if not arrays or "sums" not in arrays or arrays["sums"].shape[1:] != (width,):
            return cls.empty(width)
        names = unpack_text(arrays["names"])
        looked_at, since = arrays["clock"].tolist()
        first_at, seen_at = arrays["times"]
        return cls(names, arrays["sums"].astype(np.float64), first_at, seen_at, looked_at, since)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {
            "names": pack_text(self.names),
            "sums": self.sums.astype(np.float32),
            "times": np.stack([self.first_at, self.seen_at]),
            "clock": np.array([self.looked_at, self.since]),
        }

    def __len__(self) -> int:
        return len(self.names)

    def met(self, clients: Mapping[str, IntArray], first_at: Mapping[str, float], n_labels: int, at: float) -> Accounts:
        """The table after a pane in which each of ``clients`` (without an alarm) added its sums."""
        place = {name: i for i, name in enumerate(self.names)}
        new = sorted(client for client in clients if client not in place)
        names = [*self.names, *new]
        sums = np.concatenate([self.sums, np.zeros((len(new), self.sums.shape[1]))])
        first = np.concatenate([self.first_at, [first_at[client] for client in new]])
        seen = np.concatenate([self.seen_at, np.full(len(new), at)])
        place |= {name: i for i, name in enumerate(new, start=len(self.names))}
        for client, added in clients.items():
            i, n = place[client], float(added[0])
            fade = float(np.exp(-n / MEMORY)) if sums[i, 0] + n > MEMORY else 1.0
            sums[i] = sums[i] * fade + unpack(added, n_labels).vector * min(1.0, MEMORY / max(n, 1.0))
            seen[i] = max(seen[i], at)
        since = self.since + float(sum(added[_FRESH] for added in clients.values()))
        looked_at = at if self.looked_at == -np.inf else self.looked_at
        met = Accounts(tuple(names), sums, first, seen, looked_at, since)
        return (
            met
            if len(names) <= MAX_ACCOUNTS
            else met.take(np.sort(np.lexsort((np.array(names), -seen))[:MAX_ACCOUNTS]))
        )

    def take(self, index: IntArray) -> Accounts:
        """The rows at ``index``."""
        names = tuple(self.names[i] for i in index.tolist())
        return replace(
            self, names=names, sums=self.sums[index], first_at=self.first_at[index], seen_at=self.seen_at[index]
        )

    def without(self, clients: Collection[str]) -> Accounts:
        """The table without these clients."""
        gone = set(clients)
        return self.take(np.array([i for i, name in enumerate(self.names) if name not in gone], dtype=np.int64))

    def is_due(self, at: float) -> bool:
        """Whether an hour has passed since groups were last looked for, or half of what the table holds is new."""
        return bool(len(self)) and (
            at - self.looked_at >= LOOK_S or self.since >= max(LOOK_QUERIES, 0.5 * float(self.fresh.sum()))
        )

    def looked(self, at: float) -> Accounts:
        """The table after a look."""
        return replace(self, looked_at=at, since=0.0)

    @property
    def fresh(self) -> FloatArray:
        """(k,) fresh queries that each row holds."""
        return self.sums[:, _FRESH]

    def means(self, n_classes: int) -> FloatArray:
        """(k, d) mean channel row of each account."""
        return np.asarray(self.sums[:, row_at(n_classes) :] / np.maximum(self.fresh, 1.0)[:, None])

    def together(self, index: IntArray, n_classes: int) -> Sums:
        """All of these accounts as if they were one client."""
        return Sums(self.sums[index].sum(axis=0), n_classes)


def pack_text(texts: Collection[str]) -> NDArray[np.uint8]:
    """Printable texts as bytes; client keys never hold a line break."""
    return np.frombuffer(_SEPARATOR.join(texts).encode(), dtype=np.uint8)


def unpack_text(data: NDArray[np.uint8]) -> tuple[str, ...]:
    """Inverse of ``pack_text``."""
    return tuple(data.tobytes().decode().split(_SEPARATOR)) if data.size else ()
