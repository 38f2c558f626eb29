"""Stable hashes: the same event gives the same 64 bits in every process, batch and order of columns."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from detectors.batch import EventBatch, FloatArray, ObjectArray

Hashes = NDArray[np.uint64]
_TEXT = np.uint64(0x9E3779B97F4A7C15)
_BOOL = np.uint64(0xC2B2AE3D27D4EB4F)


def mix(values: Hashes) -> Hashes:
    """SplitMix64's finaliser: a bijection of 64-bit integers whose every output bit depends on every input bit."""
    out = values + np.uint64(0x9E3779B97F4A7C15)
    out = (out ^ (out >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    out = (out ^ (out >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(out ^ (out >> np.uint64(31)))


def text_hashes(values: Iterable[str], n: int) -> Hashes:
    """(n,) hashes of texts."""
    crc = zlib.crc32
    return mix(np.fromiter((crc(v.encode("utf-8", "surrogatepass")) for v in values), dtype=np.uint64, count=n) ^ _TEXT)


def row_hashes(batch: EventBatch) -> Hashes:
    """(n,) hashes of what each event logs: client, features and embedding; not its id, time or answer."""
    n = len(batch)
    sums = np.zeros(n, dtype=np.uint64)
    if batch.numeric_names:
        names = text_hashes(batch.numeric_names, len(batch.numeric_names))
        sums += _matrix_sums(batch.numeric, names)
    for name, column in batch.mixed.items():
        sums += _mixed_hashes(name, column)
    if batch.embedding is not None:
        places = mix(np.arange(batch.embedding.shape[1], dtype=np.uint64) ^ _BOOL)
        sums += _matrix_sums(batch.embedding, places)
    if batch.client_id is not None:
        sums += np.uint64(3) * text_hashes(batch.client_id, n)
    return mix(sums)


def _matrix_sums(values: FloatArray, names: Hashes) -> Hashes:
    """(n,) sums over columns of (n, p) numbers, each mixed with its column's hash; NaN adds nothing."""
    sums = np.zeros(len(values), dtype=np.uint64)
    for j, name in enumerate(names):
        sums += _number_hashes(values[:, j], name)
    return sums


def _number_hashes(values: FloatArray, name: np.uint64) -> Hashes:
    bits = np.ascontiguousarray(values + 0.0, dtype=np.float64).view(np.uint64)
    return np.where(np.isnan(values), np.uint64(0), mix(bits ^ name))


def _mixed_hashes(name: str, column: ObjectArray) -> Hashes:
    seed = text_hashes([name], 1)[0]
    known: dict[tuple[type, object], np.uint64] = {}
    out = np.zeros(len(column), dtype=np.uint64)
    for i, value in enumerate(column):
        if value is None:
            continue
        key = (type(value), value)
        if key not in known:
            known[key] = _value_hash(value, seed)
        out[i] = known[key]
    return out


def _value_hash(value: object, seed: np.uint64) -> np.uint64:
    if isinstance(value, bool | np.bool_):
        return np.uint64(mix(np.array([int(value)], dtype=np.uint64) ^ seed ^ _BOOL)[0])
    if isinstance(value, int | float | np.number):
        return np.uint64(_number_hashes(np.array([float(value)]), seed)[0])
    return np.uint64(mix(text_hashes([str(value)], 1) ^ seed)[0])
