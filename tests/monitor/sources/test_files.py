from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from monitor.errors import DeadLetterReason, PermanentError
from monitor.formats.native import NativeDecoder
from monitor.sources import logs
from monitor.sources.files import FileSource
from tests.monitor.sources.contract import Fill, FiniteContract, PartitionedContract, SourceContract, values

Write = Callable[[Path, Sequence[bytes]], Path]


def _ndjson(folder: Path, rows: Sequence[bytes]) -> Path:
    path = folder / "log.ndjson"
    path.write_bytes(b"".join(row + b"\n" for row in rows))
    return path


def _gzipped(folder: Path, rows: Sequence[bytes]) -> Path:
    path = folder / "log.jsonl"  # told by its first bytes, not by its name
    path.write_bytes(gzip.compress(b"\n".join(rows)))
    return path


def _array(folder: Path, rows: Sequence[bytes]) -> Path:
    path = folder / "log.json"
    path.write_bytes(b"[\n" + b",\n".join(rows) + b"]\n")
    return path


def _pretty(folder: Path, rows: Sequence[bytes]) -> Path:
    path = folder / "log.json.gz"
    path.write_bytes(gzip.compress("\n".join(json.dumps(json.loads(row), indent=2) for row in rows).encode()))
    return path


def _csv(folder: Path, rows: Sequence[bytes]) -> Path:
    path = folder / "log.csv"
    path.write_text("model,label\n" + "".join(f"m,{json.loads(row)['label']}\n" for row in rows))
    return path


def _parquet(folder: Path, rows: Sequence[bytes]) -> Path:
    path = folder / "log.parquet"
    parquet.write_table(pa.Table.from_pylist([json.loads(row) for row in rows]), path, row_group_size=4)
    return path


@pytest.fixture(params=[_ndjson, _gzipped, _array, _pretty, _csv, _parquet], ids=lambda write: write.__name__[1:])
def fill(request: pytest.FixtureRequest, tmp_path: Path) -> Fill:
    def make(*contents: Sequence[bytes]) -> FileSource:
        paths = []
        for number, rows in enumerate(contents):
            (tmp_path / str(number)).mkdir()
            paths.append(request.param(tmp_path / str(number), rows))
        return FileSource(paths)

    return make


class TestFileSource(SourceContract, PartitionedContract, FiniteContract):
    """Files of every kind keep the contracts of a finite source."""


def _all(*paths: Path, **options: Any) -> list[tuple[int, bytes | None]]:
    source = FileSource(paths, **options)
    for partition in source.assignment().assigned:
        source.seek(partition, 0)
    found = []
    while not source.exhausted():
        found += [(r.offset, r.value) for records in source.poll(0.0, 100).values() for r in records]
    return found


def _events(path: Path, **options: Any) -> list[Any]:
    return [json.loads(value or b"") for _, value in _all(path, **options)]


def test_a_line_is_delivered_byte_for_byte_under_its_line_number(tmp_path: Path) -> None:
    path = tmp_path / "log.ndjson"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\n  not json \xff\n{"b":2}')
    assert _all(path) == [(0, b'{"a": 1}'), (2, b"not json \xff"), (3, b'{"b":2}')]
    source = FileSource([path])
    assert source.bounds(source.assignment().assigned[0]).high == 4


@pytest.mark.parametrize("suffix", [".ndjson", ".json", ".csv", ".gz"])
def test_an_empty_file_is_a_log_without_records(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"log{suffix}"
    path.write_bytes(gzip.compress(b"") if suffix == ".gz" else b"")
    assert _all(path) == []


def test_files_are_read_one_after_the_other(tmp_path: Path) -> None:
    first, second = tmp_path / "z.ndjson", tmp_path / "a.ndjson"
    first.write_bytes(b"\n".join(values(250)))
    second.write_bytes(b"\n".join(values(10, first=250)))
    assert [json.loads(value or b"")["label"] for _, value in _all(first, second)] == list(range(260))


def test_progress_on_one_file_is_never_taken_for_another(tmp_path: Path) -> None:
    paths = [_ndjson(tmp_path, values(1)), _csv(tmp_path, values(1))]
    partitions = [FileSource([path]).assignment().assigned[0] for path in paths]
    assert partitions[0] != partitions[1]
    assert partitions[0] == FileSource(paths[:1]).assignment().assigned[0]
    assert [p.number for p in FileSource(paths).assignment().assigned] == [0, 1]


@pytest.mark.parametrize(
    ("line", "model"),
    [
        (b'{"label":1}', "given"),
        (b'{"model":"own","label":1}', "own"),
        (b'{"label":1,"features":{"model":"bmw"},"model":"own"}', "own"),
        (b'{"label":1,"features":{"model":"bmw"}}', "given"),
        (b"{ }", None),
    ],
)
@pytest.mark.parametrize("write", [_ndjson, _array])
def test_the_default_model_goes_to_events_that_name_none(
    tmp_path: Path, write: Write, line: bytes, model: str | None
) -> None:
    source = FileSource([write(tmp_path, [line])], default_model="given")
    (partition,) = source.assignment().assigned
    source.seek(partition, 0)
    decoded = NativeDecoder(1_000).decode(source.poll(0.0, 10)[partition])
    assert [batch.model for batch in decoded.batches] == ([model] if model else [])
    assert [r.reason for r in decoded.rejections] == ([] if model else [DeadLetterReason.NOTHING_TO_MONITOR])


def test_a_line_without_end_costs_bounded_memory_and_the_next_is_read(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(logs, "MAX_ROW_BYTES", 1_000)
    path = tmp_path / "log.ndjson"
    path.write_bytes(b'{"a":"' + b"x" * 10_000 + b'"}\n{"b":1}\n')
    found = _all(path)
    assert [(offset, len(value or b"")) for offset, value in found] == [(0, 1_001), (1, 7)]


def test_an_array_is_streamed_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    row = json.dumps({"model": "m", "features": {"text": "x" * 1_000}})
    path.write_text("[" + ",".join([row] * 20_000) + "]")
    source = FileSource([path])
    (partition,) = source.assignment().assigned
    source.seek(partition, 0)
    tracemalloc.start()
    n = 0
    while records := source.poll(0.0, 100).get(partition):
        n += len(records)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n == 20_000
    assert peak < 5_000_000 < path.stat().st_size


def test_arrays_one_per_line_are_events_one_after_another(tmp_path: Path) -> None:
    path = tmp_path / "log.ndjson"
    path.write_bytes(b'[{"a":1},{"a":[2]}]\n[]\n[{"a":"]"}]\n')
    assert _all(path) == [(0, b'{"a":1}'), (1, b'{"a":[2]}'), (2, b'{"a":"]"}')]


def test_numbers_at_the_edge_of_a_chunk_are_whole(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(logs, "_CHUNK_BYTES", 3)
    path = tmp_path / "log.json"
    path.write_bytes('[12345, "äöü", {"a": NaN}, 7]'.encode())
    assert [value for _, value in _all(path)] == [b"12345", '"äöü"'.encode(), b'{"a": NaN}', b"7"]


def test_csv_columns_go_where_their_names_say(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(
        "\ufefftimestamp,event_id,client_id,age,feature_plan,features.new,probability_cat,segment_zip,embedding,label,inf\n"
        '2026-01-01T00:00:00Z,007,12,41,"pro, yearly",true,0.25,01234,"[0.5, 1]",dog,-inf\n'
        "1767225600,,,NA,,FALSE,,,,1,1e5\n"
    )
    first, second = _all(path, default_model="m")
    assert json.loads(first[1] or b"", parse_constant=str) == {
        "model": "m",
        "timestamp": "2026-01-01T00:00:00Z",
        "event_id": "007",
        "client_id": "12",
        "features": {"age": 41.0, "plan": "pro, yearly", "new": True, "inf": float("-inf")},
        "probabilities": {"cat": 0.25},
        "segments": {"zip": "01234"},
        "embedding": [0.5, 1],
        "label": "dog",
    }
    assert json.loads(second[1] or b"") == {
        "model": "m",
        "timestamp": 1767225600.0,
        "features": {"age": None, "plan": None, "new": False, "inf": 100000.0},
        "probabilities": {"cat": None},
        "segments": {"zip": None},
        "label": 1.0,
    }


@pytest.mark.parametrize(("name", "text"), [("log.tsv", "a\tb\n1\tx,y\n"), ("log.csv", "a;b\n1;x,y\n")])
def test_other_delimiters_are_seen_in_the_header(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert _events(tmp_path / name) == [{"features": {"a": 1.0, "b": "x,y"}}]


def test_csv_rows_of_the_wrong_length_are_kept_for_the_decoder(tmp_path: Path) -> None:
    """A short row lacks its last values; a long one cannot be read and is not guessed at."""
    path = tmp_path / "log.csv"
    path.write_text('a,b\n1\n\n1,2,3\n"1\n2",3\n')
    assert _all(path) == [
        (0, b'{"features":{"a":1.0,"b":null}}'),
        (2, b"1,2,3"),
        (3, b'{"features":{"a":"1\\n2","b":3.0}}'),
    ]


def test_parquet_columns_of_any_type_become_native_fields(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    table = pa.table(
        {
            "model": ["m", None],
            "timestamp": pa.array([1_767_225_600_000_000_123, None], pa.timestamp("ns", tz="UTC")),
            "client_id": [7, 8],
            "embedding": [[0.5, 1.5], None],
            "probabilities": pa.array([[("cat", 0.5)], []], pa.map_(pa.string(), pa.float64())),
            "features": [{"a": 1.0, "b": "x"}, {"a": float("inf"), "b": None}],
            "feature_c": [Decimal("1.25"), None],
            "d": pa.array(["u", "v"]).dictionary_encode(),
            "segment_country": ["de", None],
            "prediction": [1, 2],
            "latency_ms": [1.5, float("nan")],
        }
    )
    parquet.write_table(table, path)
    first, second = _events(path, default_model="given")
    assert first == {
        "model": "m",
        "timestamp": datetime.fromisoformat("2026-01-01T00:00:00+00:00").isoformat(),
        "client_id": 7,
        "embedding": [0.5, 1.5],
        "probabilities": {"cat": 0.5},
        "features": {"a": 1.0, "b": "x", "c": 1.25, "d": "u"},
        "segments": {"country": "de"},
        "prediction": 1,
        "latency_ms": 1.5,
    }
    assert second["model"] == "given"
    assert second["features"] == {"a": float("inf"), "b": None, "c": None, "d": "v"}
    assert second["latency_ms"] is None


def test_an_array_of_features_joins_single_columns_under_its_positions(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    parquet.write_table(pa.table({"features": [[1.0, 2.0]], "age": [41]}), path)
    assert _events(path) == [{"features": {"f0": 1.0, "f1": 2.0, "age": 41}}]


def test_seeking_in_parquet_reads_from_the_right_row(tmp_path: Path) -> None:
    path = _parquet(tmp_path, values(5_000))
    source = FileSource([path])
    (partition,) = source.assignment().assigned
    source.seek(partition, 4_321)
    records = source.poll(0.0, 10_000)[partition]
    assert [record.offset for record in records] == list(range(4_321, 5_000))
    assert json.loads(records[0].value or b"")["label"] == 4_321


def _missing(path: Path) -> None: ...


def _folder(path: Path) -> None:
    path.mkdir()


def _content(value: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(value) and None


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("log.ndjson", _missing, "no such file; check the path"),
        ("log.ndjson", _folder, "Is a directory; check the file"),
        ("log.ndjson", _content(gzip.compress(b"{}" * 1_000)[:-10]), "cut-off gzip"),
        ("log.gz", _content(b"\x1f\x8bnonsense"), "damaged or cut-off gzip"),
        ("log.json", _content(b'[{"a":1},{"a":'), "not JSON at event 1"),
        ("log.json", _content(b'[{"a":1}'), "cut off after event 1"),
        ("log.json", _content(b'[{"a":' + b"[" * 100_000), "nested too deeply at event 0"),
        ("log.csv", _content(b"a,b\n1,\xff\n"), "not UTF-8"),
        ("log.csv", _content(b"a,b\n1," + b"x" * 200_000 + b"\n"), "line 2: field larger than field limit"),
        ("log.parquet", _content(b"PAR1 but not really"), "not readable as Parquet"),
        ("log.gz", _content(gzip.compress(b"PAR1")), "Parquet inside gzip; decompress it first"),
        ("log.txt", _content(b"hello"), "neither NDJSON, JSON, CSV"),
    ],
)
def test_an_unreadable_file_is_named_with_the_cause(
    tmp_path: Path, name: str, make: Callable[[Path], None], message: str
) -> None:
    path = tmp_path / name
    make(path)
    with pytest.raises(PermanentError, match=message) as caught:
        _all(path)
    assert str(caught.value).startswith(str(path))


def test_a_damaged_file_is_never_taken_as_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "log.ndjson"
    path.write_bytes(gzip.compress(b"\n".join(values(20_000)))[:-10])
    source = FileSource([path])
    (partition,) = source.assignment().assigned
    source.seek(partition, 0)
    with pytest.raises(PermanentError, match="cut-off gzip"):
        source.poll(0.0, 100_000)
    assert not source.poll(0.0, 100_000)
    assert not source.exhausted()


def test_closing_in_the_middle_lets_go_of_the_file(tmp_path: Path) -> None:
    source = FileSource([_ndjson(tmp_path, values(10))])
    (partition,) = source.assignment().assigned
    source.seek(partition, 0)
    source.poll(0.0, 3)
    source.close()
    assert not source.poll(0.0, 3)
    assert not source.exhausted()
