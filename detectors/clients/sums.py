"""Sums: the rows of events, added up by client."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

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


def sums_by_client(
    batch: EventBatch, starts: IntArray, rows: Callable[[EventBatch], IntArray]
) -> list[dict[str, IntArray]]:
    """Per slice: client key → the sum of its ``rows`` (n, width); events without a client are left out."""
    slices: list[dict[str, IntArray]] = [{} for _ in starts]
    client, names = numbered(batch)
    known = client >= 0
    if not known.any():
        return slices
    position = (np.searchsorted(starts, np.arange(len(batch)), side="right") - 1)[known]
    keys = [client_key(name) for name in names]
    group = position * len(keys) + client[known]
    order = np.argsort(group, kind="stable")
    first = np.flatnonzero(np.diff(group[order], prepend=-1))
    values = rows(batch.take(known))[order]
    for code, sums in zip(group[order][first].tolist(), np.add.reduceat(values, first, axis=0), strict=True):
        slices[code // len(keys)][keys[code % len(keys)]] = sums
    return slices


def client_number(client: str) -> int:
    """A 64-bit stand-in for a client."""
    digest = hashlib.blake2b(client.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
