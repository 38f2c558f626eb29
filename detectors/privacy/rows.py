"""Rows: a query, or a row of training data, as keyed hashes; equal rows have equal hashes, and nothing else is kept.

*Canonical form.* Each feature that is there counts with its name, in any order. Numbers are rounded to six significant
digits; numbers written as text, and booleans (1 and 0), are numbers; other text is trimmed, white space is made one
blank and case is folded. The form is mixed to 64 bits and hashed with BLAKE2b under a key, so that whoever has the
hashes but not the key cannot try out rows.

*Near hits.* The numbers of a row, in standard deviations of the training data, are projected on secret random
directions and cut into cells, ``TABLES`` times over; what is not a number has to be equal. Rows within a fortieth of
the usual distance of two rows share a cell of some table four times in five, rows at the usual distance nearly never.

Source: Datar et al., "Locality-sensitive hashing scheme based on p-stable distributions" (2004).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import EventBatch, FloatArray, ObjectArray
from detectors.roles import parse_number
from detectors.schema import as_numbers, raw_column

Hashes = NDArray[np.uint64]
TABLES: Final = 3
PROJECTIONS: Final = 10
CELL: Final = 0.25
"""Width of a cell, in units of the usual distance of two rows."""
DIGITS: Final = 6
FEWEST_NUMBERS: Final = 3
MAX_COLUMNS: Final = 2_000
_MOSTLY: Final = 0.9
_FAR: Final = 8.0
_TINY: Final = 1e-300


@dataclass(frozen=True, slots=True, eq=False)
class RowCode:
    """Which features make a row, and how its numbers are scaled; holds no row and no key.

    Attributes:
        view: ``features``, or ``embedding`` where the training data has no features.
        columns: names of the features, sorted; numeric: those that count as numbers in near hits.
        centre, scale: (p,) mean and standard deviation of the numeric ones.
    """

    view: str
    columns: tuple[str, ...]
    numeric: tuple[str, ...]
    centre: FloatArray
    scale: FloatArray

    @classmethod
    def fit(cls, batch: EventBatch, leave_out: Iterable[str] = ()) -> Self:
        """The code for the rows of a batch of training data.

        Raises:
            ValueError: the batch has neither features nor embeddings, or too many of them.
        """
        view = "features" if batch.feature_names else "embedding"
        columns = tuple(sorted(set(_names(batch, view)) - set(leave_out)))
        if not columns or len(columns) > MAX_COLUMNS:
            raise ValueError(f"training rows need 1 to {MAX_COLUMNS} features or embedding values, got {len(columns)}")
        numbers = {name: _numbers(batch, view, name) for name in columns}
        numeric = tuple(n for n, v in numbers.items() if np.isfinite(v).mean() >= _MOSTLY and np.nanstd(_finite(v)) > 0)
        if len(numeric) < FEWEST_NUMBERS:
            numeric = ()
        kept = [_finite(numbers[name]) for name in numeric]
        centre = np.array([float(np.nanmean(v)) for v in kept])
        return cls(view, columns, numeric, centre, np.array([float(np.nanstd(v)) for v in kept]))

    def hash(self, batch: EventBatch, key: bytes) -> tuple[Hashes, Hashes, NDArray[np.bool_]]:
        """(n,) exact and (n, TABLES) near hashes (no columns without numbers), and (n,) whether a row was there at all.

        Cost: about a microsecond per row and hash, and some vector operations per column.
        """
        n = len(batch)
        numeric, others = np.zeros(n, dtype=np.uint64), np.zeros(n, dtype=np.uint64)
        present = np.zeros(n, dtype=bool)
        scaled = np.zeros((n, len(self.numeric)))
        at = {name: i for i, name in enumerate(self.numeric)}
        for name in self.columns:
            mixed, there = _mixed(_values(batch, self.view, name), n, _word(name))
            present |= there
            if name in at:
                numeric += mixed
                i = at[name]
                values = _numbers(batch, self.view, name)
                z = np.where(np.isfinite(values), (values - self.centre[i]) / self.scale[i], 0.0)
                scaled[:, i] = np.clip(z, -_FAR, _FAR)
            else:
                others += mixed
        exact = _keyed(mix(numeric + others)[:, None], key, b"exact")
        if not self.numeric:
            return exact, np.empty((n, 0), dtype=np.uint64), present
        return exact, self._near(scaled, others, key), present

    def _near(self, scaled: FloatArray, others: Hashes, key: bytes) -> Hashes:
        seed = int.from_bytes(hashlib.blake2b(b"directions", key=key, digest_size=16).digest(), "little")
        rng = np.random.default_rng(seed)
        p = scaled.shape[1]
        directions = rng.standard_normal((p, TABLES * PROJECTIONS)) / np.sqrt(2.0 * p)
        cells = np.floor(scaled @ directions / CELL + rng.uniform(size=TABLES * PROJECTIONS)).astype(np.int64)
        tables = [
            _keyed(
                np.column_stack([cells[:, t * PROJECTIONS : (t + 1) * PROJECTIONS].view(np.uint64), others]),
                key,
                b"near%d" % t,
            )
            for t in range(TABLES)
        ]
        return np.stack(tables, axis=1)

    def to_facts(self) -> dict[str, Any]:
        return {"view": self.view, "columns": list(self.columns), "numeric": list(self.numeric)}

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {"centre": self.centre, "scale": self.scale}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> Self:
        centre, scale = arrays["centre"].astype(np.float64), arrays["scale"].astype(np.float64)
        return cls(str(facts["view"]), tuple(facts["columns"]), tuple(facts["numeric"]), centre, scale)


def mix(values: Hashes) -> Hashes:
    """SplitMix64's finaliser: every output bit depends on every input bit."""
    out = values + np.uint64(0x9E3779B97F4A7C15)
    out = (out ^ (out >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    out = (out ^ (out >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(out ^ (out >> np.uint64(31)))


def key_check(key: bytes) -> str:
    """What tells two keys apart without telling anything of them."""
    return hashlib.blake2b(b"check", key=key, digest_size=8).hexdigest()


def canonical_numbers(values: FloatArray) -> Hashes:
    """(n,) codes of numbers rounded to six significant digits; 0 and -0 are one, as are all infinities of a sign."""
    finite = np.where(np.isfinite(values) & (np.abs(values) > _TINY), values, 0.0)
    size = np.abs(finite)
    safe = np.where(size > 0, size, 1.0)
    exponent = np.floor(np.log10(safe))
    mantissa = np.rint(finite / 10.0**exponent * 10.0 ** (DIGITS - 1))
    over = np.abs(mantissa) >= 10.0**DIGITS
    mantissa, exponent = np.where(over, mantissa / 10.0, mantissa), exponent + over
    code = mantissa.astype(np.int64) * 4_096 + np.where(size > 0, exponent, 0.0).astype(np.int64)
    code = np.where(np.isinf(values), np.where(values > 0, 1 << 62, -(1 << 62)), code)
    return np.asarray(code.view(np.uint64))


def canonical_text(text: str) -> str:
    """Trimmed, single blanks, case folded.

    >>> canonical_text("  New   York ")
    'new york'
    """
    return " ".join(text.split()).casefold()


def _names(batch: EventBatch, view: str) -> tuple[str, ...]:
    if view == "features":
        return batch.feature_names
    return () if batch.embedding is None else tuple(map(str, range(batch.embedding.shape[1])))


def _values(batch: EventBatch, view: str, name: str) -> FloatArray | ObjectArray | None:
    if view == "features":
        return raw_column(batch, name)
    if batch.embedding is None or int(name) >= batch.embedding.shape[1]:
        return None
    return np.asarray(batch.embedding[:, int(name)])


def _numbers(batch: EventBatch, view: str, name: str) -> FloatArray:
    """(n,) float64, NaN where missing, infinite where no number."""
    values = _values(batch, view, name)
    if values is None:
        return np.full(len(batch), np.nan)
    if values.dtype == object:
        return as_numbers(np.asarray(values, dtype=object))
    return np.asarray(values, dtype=np.float64)


def _finite(values: FloatArray) -> FloatArray:
    return values[np.isfinite(values)] if np.isfinite(values).any() else np.zeros(1)


def _mixed(values: FloatArray | ObjectArray | None, n: int, word: np.uint64) -> tuple[Hashes, NDArray[np.bool_]]:
    """(n,) each value mixed with its column, 0 where missing; and where there is one."""
    if values is None:
        return np.zeros(n, dtype=np.uint64), np.zeros(n, dtype=bool)
    if values.dtype != object:
        there = ~np.isnan(values.astype(np.float64))
        return np.where(there, mix(canonical_numbers(values.astype(np.float64)) ^ word), np.uint64(0)), there
    listed = values.tolist()
    codes = {value: _code(value) for value in dict.fromkeys(v for v in listed if v is not None)}
    there = np.array([v is not None and v == v for v in listed], dtype=bool)
    raw = np.array([0 if v is None else codes[v] for v in listed], dtype=np.uint64)
    return np.where(there, mix(raw ^ word), np.uint64(0)), there


def _code(value: object) -> int:
    """True and 1.0 are one key of a dictionary, and one number here."""
    if isinstance(value, str):
        number = parse_number(value)
        if not np.isfinite(number):
            return _digest(canonical_text(value))
        value = number
    return int(canonical_numbers(np.array([float(value)]))[0])  # type: ignore[arg-type]


def _word(name: str) -> np.uint64:
    return np.uint64(_digest("column " + name))


def _digest(text: str) -> int:
    raw = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little")


def _keyed(words: Hashes, key: bytes, purpose: bytes) -> Hashes:
    """(n,) BLAKE2b of each row of (n, k) words under the key."""
    start = hashlib.blake2b(key=key, person=purpose, digest_size=8)
    raw = np.ascontiguousarray(words, dtype="<u8").tobytes()
    width = 8 * words.shape[1]
    out = bytearray()
    for at in range(0, len(raw), width):
        hashed = start.copy()
        hashed.update(raw[at : at + width])
        out += hashed.digest()
    return np.frombuffer(bytes(out), dtype="<u8").astype(np.uint64)
