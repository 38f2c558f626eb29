"""Log files as rows with a number: opening, gzip, NDJSON, and JSON documents that are streamed value by value."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import re
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

from monitor.errors import PermanentError

MAX_ROW_BYTES = 64 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK_BYTES = 1 << 18
_BOM = codecs.BOM_UTF8
_SEPARATORS = re.compile(r"[\s,]*")
_SCANNER = json.JSONDecoder(parse_int=str, parse_float=str)

Row = tuple[int, bytes]
Rows = Generator[Row, None, None]


class Log(Protocol):
    """Rows of one file, numbered from 0 without regard to what is in them."""

    def rows(self, start: int) -> Rows:
        """Number and native JSON of each row from ``start`` on; a row may lack (a blank line), its number is kept."""
        ...

    def count(self) -> int:
        """The number after the last row; reads the file where it does not say so itself."""
        ...


def open_plain(path: Path) -> BinaryIO:
    """The file's bytes, decompressed if it is gzip, whatever its name."""
    file = path.open("rb")
    if file.peek(2)[:2] != _GZIP_MAGIC:
        return file
    file.close()
    return io.BufferedReader(gzip.open(path, "rb"), _CHUNK_BYTES)


@contextmanager
def named_faults(path: Path) -> Iterator[None]:
    """Faults of reading a file, as a PermanentError that names it."""
    try:
        yield
    except FileNotFoundError:
        raise PermanentError(f"{path}: no such file; check the path") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise PermanentError(f"{path}: damaged or cut-off gzip ({error}); copy or compress it again") from error
    except UnicodeDecodeError as error:
        raise PermanentError(f"{path}: not UTF-8 ({error.reason}); save it as UTF-8") from error
    except OSError as error:
        raise PermanentError(f"{path}: {error.strerror or error}; check the file and its permissions") from error


class ModelFiller:
    """Names the model in events that do not: written in front, where the event's own name still wins."""

    def __init__(self, default_model: str) -> None:
        self._prefix = b'{"model":' + msgspec.json.encode(default_model) if default_model else b""

    def fill(self, value: bytes) -> bytes:
        if not self._prefix or not value.startswith(b"{"):
            return value
        rest = value[1:]
        return self._prefix + (rest if rest.lstrip().startswith(b"}") else b"," + rest)


@dataclass(frozen=True)
class LineLog:
    """NDJSON: one row per line. A line above ``MAX_ROW_BYTES`` is cut just above it, for the decoder to reject."""

    path: Path
    filler: ModelFiller

    def rows(self, start: int) -> Rows:
        with open_plain(self.path) as stream:
            for number, line in enumerate(_lines(stream)):
                if number >= start and (value := line.strip()):
                    yield number, self.filler.fill(value.removeprefix(_BOM))

    def count(self) -> int:
        lines, last = 0, b"\n"
        with open_plain(self.path) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                lines += chunk.count(b"\n")
                last = chunk[-1:]
        return lines + (last != b"\n")


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    while line := stream.readline(MAX_ROW_BYTES + 1):
        yield line
        while len(line) > MAX_ROW_BYTES and not line.endswith(b"\n"):
            line = stream.readline(MAX_ROW_BYTES + 1) or b"\n"


@dataclass(frozen=True)
class DocumentLog:
    """JSON arrays of events, or events over several lines: one row per event, read in bounded memory."""

    path: Path
    filler: ModelFiller

    def rows(self, start: int) -> Rows:
        with open_plain(self.path) as stream:
            for number, value in enumerate(_Values(stream, self.path)):
                if number >= start:
                    yield number, self.filler.fill(value)

    def count(self) -> int:
        with open_plain(self.path) as stream:
            return sum(1 for _ in _Values(stream, self.path))


class _Values:
    """JSON values one after another, those of an array each by itself."""

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self._stream = stream
        self._path = path
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self._text = ""
        self._at = 0
        self._ended = False

    def __iter__(self) -> Iterator[bytes]:
        number, in_array = 0, False
        while self._find():
            if self._text[self._at] == ("]" if in_array else "["):
                in_array = not in_array
                self._at += 1
                continue
            yield self._value(number).encode(errors="surrogateescape")
            number += 1
        if in_array:
            raise PermanentError(f"{self._path}: the JSON array is cut off after event {number}; write it again")

    def _find(self) -> bool:
        """Whether there is more than white space and commas."""
        while True:
            found = _SEPARATORS.match(self._text, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._text):
                return True
            if not self._more():
                return False

    def _value(self, number: int) -> str:
        while True:
            try:
                _, end = _SCANNER.raw_decode(self._text, self._at)
                if end < len(self._text) or not self._more():
                    value, self._at = self._text[self._at : end], end
                    return value
            except json.JSONDecodeError as error:
                if not self._more():
                    raise PermanentError(f"{self._path}: not JSON at event {number} ({error.msg}); mend it") from error
            except RecursionError:
                raise PermanentError(f"{self._path}: nested too deeply at event {number}; mend it") from None

    def _more(self) -> bool:
        if self._ended:
            return False
        kept = self._text[self._at :]
        if len(kept) > MAX_ROW_BYTES:
            raise PermanentError(f"{self._path}: no event ends within {MAX_ROW_BYTES >> 20} MiB; write one per line")
        chunk = self._stream.read(max(_CHUNK_BYTES, len(kept)))
        self._ended = not chunk
        self._text, self._at = kept + self._decoder.decode(chunk, final=self._ended), 0
        return True
