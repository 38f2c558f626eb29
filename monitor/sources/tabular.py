"""CSV and Parquet as logs: each row becomes a native event, each column goes where its name says.

``model``, ``version``, ``event_id``, ``client_id``, ``timestamp``, ``prediction``, ``label``, ``latency_ms`` and
``sampling_rate`` are themselves; ``embedding``, ``logits``, ``probabilities``, ``features`` and ``segments`` hold
arrays or objects (in CSV as JSON); ``probability_cat`` is the probability of ``cat``, ``segment_country`` the segment
``country``; every other column is a feature, with or without ``feature_`` or ``features.`` in front.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from pyarrow import parquet

from monitor.errors import PermanentError
from monitor.sources.logs import Rows, open_plain

_TEXTS = frozenset({"model", "version", "event_id", "client_id"})
_SCALARS = _TEXTS | {"timestamp", "prediction", "label", "latency_ms", "sampling_rate"}
_VECTORS = frozenset({"embedding", "logits", "probabilities", "features", "segments"})
_PREFIXES = {
    "feature_": "features",
    "features.": "features",
    "probability_": "probabilities",
    "probabilities.": "probabilities",
    "segment_": "segments",
    "segments.": "segments",
}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.IGNORECASE)
_ABSENT = frozenset({"", "na", "n/a", "nan", "null"})
_BOOLS = {"true": True, "false": False}
_INFINITE = {True: msgspec.Raw(b"1e999"), False: msgspec.Raw(b"-1e999")}
_LONGEST_HEADER = 1 << 20
_ROWS_PER_READ = 1_024


@dataclass(frozen=True, slots=True)
class Place:
    """Where a column goes: into ``section`` under ``name``, or to the top of the event where ``section`` is empty."""

    section: str
    name: str


def place(column: str) -> Place:
    """Where the column of that name goes.

    >>> place("label"), place("probability_cat"), place("age")
    (Place(section='', name='label'), Place(section='probabilities', name='cat'), Place(section='features', name='age'))
    """
    if column in _SCALARS or column in _VECTORS:
        return Place("", column)
    for prefix, section in _PREFIXES.items():
        if column.startswith(prefix) and len(column) > len(prefix):
            return Place(section, column[len(prefix) :])
    return Place("features", column)


class EventWriter:
    """Writes the cells of a row, in the order of ``columns``, as one native event."""

    def __init__(self, columns: Sequence[str], default_model: str) -> None:
        self._default_model = default_model
        self._alone: list[tuple[int, str]] = []
        self._sections: dict[str, list[tuple[int, str]]] = {}
        for i, column in enumerate(columns):
            target = place(column)
            held = self._sections.setdefault(target.section, []) if target.section else self._alone
            held.append((i, target.name))

    def write(self, cells: Sequence[Any]) -> bytes:
        event = {name: cells[i] for i, name in self._alone if cells[i] is not None}
        for section, columns in self._sections.items():
            named = {name: cells[i] for i, name in columns}
            event[section] = {**_named(event[section], section), **named} if section in event else named
        if self._default_model and not event.get("model"):
            event["model"] = self._default_model
        return msgspec.json.encode(event)


def _named(value: Any, section: str) -> dict[str, Any]:
    """An array beside single columns of the same section joins them under its positions."""
    if isinstance(value, list):
        return {f"f{i}" if section == "features" else str(i): item for i, item in enumerate(value)}
    return value if isinstance(value, dict) else {}


@dataclass(frozen=True)
class CsvLog:
    """CSV or TSV with a header line: one row per line of data; text that reads as a number is one."""

    path: Path
    default_model: str

    def rows(self, start: int) -> Rows:
        with self._lines() as lines:
            header = next(lines, [])
            writer, readers = EventWriter(header, self.default_model), [_reader(column) for column in header]
            for number, cells in enumerate(lines):
                if number < start or not cells:
                    continue
                if len(cells) > len(header):
                    yield number, ",".join(cells).encode()
                    continue
                cells += [""] * (len(header) - len(cells))
                yield number, writer.write([read(text) for read, text in zip(readers, cells, strict=True)])

    def count(self) -> int:
        with self._lines() as lines:
            return max(0, sum(1 for _ in lines) - 1)

    @contextmanager
    def _lines(self) -> Iterator[Iterator[list[str]]]:
        with io.TextIOWrapper(open_plain(self.path), encoding="utf-8-sig", newline="") as text:
            first = text.readline(_LONGEST_HEADER)
            text.seek(0)
            reader = csv.reader(text, delimiter=max(",;\t", key=first.count))
            try:
                yield reader
            except csv.Error as error:
                raise PermanentError(f"{self.path}: line {reader.line_num}: {error}; mend the line") from error


def _reader(column: str) -> Callable[[str], Any]:
    """How a column's text is read, by where it goes."""
    if column in _TEXTS or place(column).section == "segments":
        return _text
    return _document if column in _VECTORS else _value


def _text(cell: str) -> str | None:
    return cell or None


def _document(cell: str) -> Any:
    try:
        return json.loads(cell) if cell.strip() else None
    except (ValueError, RecursionError):
        return cell


def _value(cell: str) -> Any:
    word = cell.strip()
    if _NUMBER.fullmatch(word):
        return plain(float(word))
    word = word.lower()
    return None if word in _ABSENT else _BOOLS.get(word, cell)


@dataclass(frozen=True)
class ParquetLog:
    """Parquet: one row per row; about a thousand are in memory at a time, and skipped row groups are not read."""

    path: Path
    default_model: str

    def rows(self, start: int) -> Rows:
        with self._file() as file:
            number = 0
            for group in range(file.num_row_groups):
                end = number + file.metadata.row_group(group).num_rows
                if end > start:
                    for i, value in enumerate(self._values(file, group), start=number):
                        if i >= start:
                            yield i, value
                number = end

    def count(self) -> int:
        with self._file() as file:
            return int(file.metadata.num_rows)

    @contextmanager
    def _file(self) -> Iterator[Any]:
        try:
            with parquet.ParquetFile(self.path) as file:
                yield file
        except pa.ArrowException as error:
            raise PermanentError(f"{self.path}: not readable as Parquet ({error}); write it again") from error

    def _values(self, file: Any, group: int) -> Iterator[bytes]:
        for batch in file.iter_batches(_ROWS_PER_READ, row_groups=[group], use_threads=False):
            writer = EventWriter(batch.schema.names, self.default_model)
            for cells in zip(*map(_cells, batch.columns), strict=True):
                yield writer.write(cells)


def _cells(column: Any) -> list[Any]:
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    cells = column.to_pylist(maps_as_pydicts="lossy")
    return cells if _is_plain(column) else list(map(plain, cells))


def _is_plain(column: Any) -> bool:
    if pa.types.is_floating(column.type):
        return bool(np.isfinite(column.to_numpy(zero_copy_only=False)).all())
    return bool(pa.types.is_integer(column.type) or pa.types.is_string(column.type))


def plain(value: Any) -> Any:
    """A cell as JSON can hold it; an infinite number becomes a number too large for a double, which reads as one."""
    if isinstance(value, float):
        return _INFINITE[value > 0] if math.isinf(value) else value
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, list):
        return value if _all_finite(value) else [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, date | time_of_day):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return plain(float(value))
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _all_finite(values: list[Any]) -> bool:
    try:
        return math.isfinite(sum(values))
    except TypeError:
        return False
