"""Hashes: which rows a model was trained on, as sorted keyed hashes, and how a stream is looked up in them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.arrays import pack_arrays, unpack_arrays
from detectors.batch import EventBatch
from detectors.privacy.rows import TABLES, Hashes, RowCode, key_check

TRAINING_HIT: Final = "training_hit"
"""Annotation: 2.0 where the query is a training row, 1.0 where it is near one, else 0.0; NaN where it holds no row."""
QUERY_CELL: Final = "training_query_cell"
"""Annotation: which of ``N_QUERY_CELLS`` a hit falls into, by its own hash."""
RECORD_CELL: Final = "training_record_cell"
"""Annotation: which of ``N_RECORD_CELLS`` a hit falls into, by what it is near."""
N_QUERY_CELLS: Final = 256
N_RECORD_CELLS: Final = 16
MAX_ROWS: Final = 1_000_000
FORMAT: Final = 1
_MAGIC: Final = b"vedette training hashes\n"


@dataclass(frozen=True, slots=True, eq=False)
class TrainingHashes:
    """Sorted, distinct 64-bit hashes: exact (k,), and of each near table.

    Attributes:
        model: name of the model whose key was used. check: see ``key_check``. n_rows: rows that were hashed.
    """

    model: str
    check: str
    code: RowCode
    exact: Hashes
    near: tuple[Hashes, ...]
    n_rows: int

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        tables = {f"near{t}": table for t, table in enumerate(self.near)}
        return {"exact": self.exact, **tables, **self.code.to_arrays()}

    def to_facts(self) -> dict[str, Any]:
        return {"model": self.model, "check": self.check, "n_rows": self.n_rows, "code": self.code.to_facts()}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> Self:
        near = tuple(arrays[f"near{t}"].astype(np.uint64) for t in range(TABLES) if f"near{t}" in arrays)
        code = RowCode.load(arrays, facts["code"])
        model, check = str(facts["model"]), str(facts["check"])
        return cls(model, check, code, arrays["exact"].astype(np.uint64), near, int(facts["n_rows"]))

    def to_bytes(self) -> bytes:
        """The file format: no row, no key."""
        payload = {"format": FORMAT, "facts": self.to_facts(), "arrays": pack_arrays(self.to_arrays())}
        return _MAGIC + zlib.compress(msgspec.msgpack.encode(payload), level=1)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Inverse of ``to_bytes``.

        Raises:
            ValueError: not a file of hashes, or one of another version of Vedette.
        """
        try:
            payload = msgspec.msgpack.decode(zlib.decompress(data.removeprefix(_MAGIC)))
            if not data.startswith(_MAGIC) or payload["format"] != FORMAT:
                raise ValueError("of another version")
            return cls.load(unpack_arrays(payload["arrays"]), payload["facts"])
        except (zlib.error, msgspec.DecodeError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                "not a file of training hashes of this version of Vedette: make it with "
                "`vedette reference hash-training`"
            ) from error


class HashSet:
    """Collects the hashes of training rows, batch by batch; of more than ``MAX_ROWS``, an even sample by hash."""

    def __init__(self, code: RowCode, key: bytes) -> None:
        self._code = code
        self._key = key
        self._exact = np.empty(0, dtype=np.uint64)
        self._near = np.empty((0, TABLES if code.numeric else 0), dtype=np.uint64)
        self._n_rows = 0

    def add(self, batch: EventBatch) -> None:
        exact, near, present = self._code.hash(batch, self._key)
        self._n_rows += int(present.sum())
        joined = np.concatenate([self._exact, exact[present]])
        self._exact, first = np.unique(joined, return_index=True)
        self._near = np.concatenate([self._near, near[present]])[first]
        self._exact, self._near = self._exact[:MAX_ROWS], self._near[:MAX_ROWS]

    def hashes(self, model: str) -> TrainingHashes:
        tables = tuple(np.unique(self._near[:, t]) for t in range(self._near.shape[1]))
        return TrainingHashes(model, key_check(self._key), self._code, self._exact, tables, self._n_rows)


class TrainingRows:
    """Says of each event whether it is, or is near, a training row; without the key it says nothing."""

    def __init__(self, hashes: TrainingHashes, key: bytes | None) -> None:
        self._hashes = hashes
        self._key = key

    def annotate(self, batch: EventBatch) -> EventBatch:
        """The batch with ``training_hit`` and the two cells."""
        if self._key is None or not len(batch):
            return batch
        exact, near, present = self._hashes.code.hash(batch, self._key)
        hit = _among(exact, self._hashes.exact)
        close = np.zeros(len(batch), dtype=bool)
        record = (exact % np.uint64(N_RECORD_CELLS)).astype(np.float64)
        for t, table in enumerate(self._hashes.near):
            found = _among(near[:, t], table)
            record[found & ~close] = (near[found & ~close, t] % np.uint64(N_RECORD_CELLS)).astype(np.float64)
            close |= found
        code = np.where(hit, 2.0, close.astype(np.float64))
        cell = ((exact >> np.uint64(32)) % np.uint64(N_QUERY_CELLS)).astype(np.float64)
        columns = {TRAINING_HIT: code, QUERY_CELL: cell, RECORD_CELL: record}
        return batch.annotate(**{name: np.where(present, values, np.nan) for name, values in columns.items()})


def _among(values: Hashes, table: Hashes) -> NDArray[np.bool_]:
    """(n,) whether each value is in the sorted table."""
    if not len(table):
        return np.zeros(len(values), dtype=bool)
    at = np.minimum(np.searchsorted(table, values), len(table) - 1)
    return np.asarray(table[at] == values)
