"""Log files as a source: NDJSON, JSON, CSV and Parquet, the first three also as gzip.

One file is one partition and a row's number is its offset. Files are read one after the other in the order given, so
logs that were cut by day are read as they happened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from monitor.errors import PermanentError
from monitor.sources.base import Assignment, Bounds, Partition, Record
from monitor.sources.logs import DocumentLog, LineLog, Log, ModelFiller, Rows, named_faults, open_plain
from monitor.sources.tabular import CsvLog, ParquetLog

_MAX_POLL_BYTES = 64 << 20
_SNIFFED_BYTES = 1 << 16
_CSV = frozenset({".csv", ".tsv"})
_JSON = frozenset({".json", ".ndjson", ".jsonl"})


class FileSource:
    """Finite source over files. A record's value is one native event as JSON; it has no time of its own.

    Args:
        paths: in the order to read them.
        topic: name the partitions go by; event ids that the log lacks start with it.
        default_model: model of events that name none.

    Raises:
        PermanentError: here or from any method; a file cannot be read, with its name and what to do.
    """

    def __init__(self, paths: Sequence[Path], topic: str = "files", default_model: str = "") -> None:
        self._paths = [Path(path) for path in paths]
        self._logs = {
            _partition(topic, number, path): _log(path, default_model) for number, path in enumerate(self._paths)
        }
        self._path_of = dict(zip(self._logs, self._paths, strict=True))
        self._counts: dict[Partition, int] = {}
        self._open: dict[Partition, Rows] = {}
        self._finished: set[Partition] = set()
        self._announced = False

    def assignment(self) -> Assignment:
        if self._announced:
            return Assignment()
        self._announced = True
        return Assignment(assigned=tuple(self._logs))

    def bounds(self, partition: Partition) -> Bounds:
        """From 0 to the number of rows, which is found by reading the file once."""
        if partition not in self._counts:
            with named_faults(self._path_of[partition]):
                self._counts[partition] = self._logs[partition].count()
        return Bounds(0, self._counts[partition])

    def seek(self, partition: Partition, offset: int) -> None:
        self._leave(partition)
        self._finished.discard(partition)
        self._open[partition] = self._logs[partition].rows(offset)

    def poll(self, timeout_s: float, max_records: int) -> Mapping[Partition, Sequence[Record]]:
        """Records of the first file that is not finished; never waits."""
        for partition in self._logs:
            if partition in self._open and (records := self._take(partition, max_records)):
                return {partition: records}
        return {}

    def mirror(self, offsets: Mapping[Partition, int]) -> None:
        """Nothing else reads a file's progress."""

    def close(self) -> None:
        for partition in list(self._open):
            self._leave(partition)

    def exhausted(self) -> bool:
        return self._announced and len(self._finished) == len(self._logs)

    def _take(self, partition: Partition, most: int) -> Sequence[Record]:
        rows, size = self._open.pop(partition), 0
        records: list[Record] = []
        with named_faults(self._path_of[partition]):
            while len(records) < most and size < _MAX_POLL_BYTES:
                row = next(rows, None)
                if row is None:
                    self._finished.add(partition)
                    return records
                records.append(Record(partition, *row))
                size += len(row[1])
        self._open[partition] = rows
        return records

    def _leave(self, partition: Partition) -> None:
        rows = self._open.pop(partition, None)
        if rows is not None:
            rows.close()


def _partition(topic: str, number: int, path: Path) -> Partition:
    """Files are told apart by where they are, so that progress on one is never taken for progress on another."""
    identity = hashlib.sha256(str(path.resolve()).encode(errors="surrogateescape")).hexdigest()
    return Partition("files", topic, number, topic_id=identity[:16])


def _log(path: Path, default_model: str) -> Log:
    with named_faults(path), open_plain(path) as stream:
        head = stream.read(_SNIFFED_BYTES)
    is_gzip = _begins(path, b"\x1f\x8b")
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    suffix = suffixes[-1] if suffixes else ""
    if head.startswith(b"PAR1"):
        if is_gzip:
            raise PermanentError(f"{path}: Parquet inside gzip; decompress it first")
        return ParquetLog(path, default_model)
    if suffix in _CSV:
        return CsvLog(path, default_model)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    first = text.split(b"\n", 1)[0].strip()
    if first.startswith(b"[") or first == b"{" or (suffix == ".json" and first and not first.endswith(b"}")):
        return DocumentLog(path, ModelFiller(default_model))
    if text.startswith(b"{") or suffix in _JSON or not text:
        return LineLog(path, ModelFiller(default_model))
    raise PermanentError(f"{path}: neither NDJSON, JSON, CSV (.csv, .tsv) nor Parquet; convert it to one of them")


def _begins(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic
