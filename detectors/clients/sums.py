"""Sums: the rows of events, added up by client."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np

from detectors.batch import EventBatch, IntArray
from detectors.keys import client_key


def numbered(batch: EventBatch) -> tuple[IntArray, list[str]]:
    """(n,) number of each event's client in order of first appearance, -1 where none is named, and the clients."""
    number: dict[str, int] = {}
    if batch.client_id is None:
        return np.full(len(batch), -1, dtype=np.int64), []
    named = batch.client_id.tolist()
    return np.array([number.setdefault(c, len(number)) if c else -1 for c in named], dtype=np.int64), list(number)


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """The events of a batch whose client is known, and the runs of one slice and client in them.

    Attributes:
        batch: these events (m). position, client: (m,) slice and client of each. keys: the clients' keys.
        order: (m,) that brings the events of a run together. first: where each run starts in that order.
    """

    batch: EventBatch
    position: IntArray
    client: IntArray
    keys: list[str]
    order: IntArray
    first: IntArray

    @classmethod
    def of(cls, batch: EventBatch, starts: IntArray) -> Self | None:
        """The runs of a batch cut into slices at ``starts``; None where no event names a client."""
        client, names = numbered(batch)
        known = client >= 0
        if not known.any():
            return None
        position = (np.searchsorted(starts, np.arange(len(batch)), side="right") - 1)[known]
        run = position * len(names) + client[known]
        order = np.argsort(run, kind="stable")
        first = np.flatnonzero(np.diff(run[order], prepend=-1))
        return cls(batch.take(known), position, client[known], [client_key(name) for name in names], order, first)

    def places(self) -> list[tuple[int, str]]:
        """Slice and client key of each run."""
        at = self.order[self.first]
        return [(i, self.keys[c]) for i, c in zip(self.position[at].tolist(), self.client[at].tolist(), strict=True)]

    def sums(self, rows: IntArray) -> IntArray:
        """(runs, width) sums of (m, width) rows."""
        return np.add.reduceat(rows[self.order], self.first, axis=0)


def sums_by_client(
    batch: EventBatch, starts: IntArray, rows: Callable[[EventBatch], IntArray]
) -> list[dict[str, IntArray]]:
    """Per slice: client key → the sum of its ``rows`` (n, width); events without a client are left out."""
    slices: list[dict[str, IntArray]] = [{} for _ in starts]
    runs = Runs.of(batch, starts)
    if runs is not None:
        for (i, key), sums in zip(runs.places(), runs.sums(rows(runs.batch)), strict=True):
            slices[i][key] = sums
    return slices


def client_number(client: str) -> int:
    """A 64-bit stand-in for a client."""
    digest = hashlib.blake2b(client.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
