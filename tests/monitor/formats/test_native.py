"""Native events: whatever is valid becomes the same columns however it was cut; whatever is not is named."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.batch import EventBatch
from monitor.errors import DeadLetterReason as Reason
from monitor.formats.base import Decoded
from monitor.formats.event import MAX_NAME_CHARS
from monitor.formats.native import NativeDecoder
from monitor.formats.tray import MAX_ROW_REJECTIONS
from monitor.sources.base import Partition, Record

PARTITION = Partition("memory", "logs", 3)
LOGGED_AT = 1_767_225_600.0
WHOLE_RECORD = -1


def _record(value: bytes | None, offset: int = 0, timestamp: float | None = LOGGED_AT) -> Record:
    return Record(PARTITION, offset, value, timestamp=timestamp)


def _decode(*records: bytes | None, timestamp: float | None = LOGGED_AT) -> Decoded:
    return NativeDecoder(100_000).decode([_record(value, i, timestamp) for i, value in enumerate(records)])


def _batch(*events: Any) -> EventBatch:
    decoded = _decode(*(json.dumps({"model": "m", **event}).encode() for event in events))
    assert not decoded.rejections, decoded.rejections
    (batch,) = decoded.batches
    return batch


def _same(left: EventBatch, right: EventBatch) -> bool:
    return repr(_plain(left)) == repr(_plain(right))


def _plain(batch: EventBatch) -> dict[str, Any]:
    """Every column but the ids, which tell where an event was, as nested lists."""
    out: dict[str, Any] = {}
    for name in EventBatch.__dataclass_fields__:
        value = getattr(batch, name)
        if name == "event_id":
            continue
        if isinstance(value, dict):
            value = {key: column.tolist() for key, column in value.items()}
        out[name] = value.tolist() if isinstance(value, np.ndarray) else value
    return out


numbers = st.floats(allow_nan=False) | st.integers(-(2**60), 2**60)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
names = st.sampled_from(["a", "b", "ü", "f0", "1"])
vectors = st.lists(numbers | st.none(), max_size=4)
events = st.fixed_dictionaries(
    {"model": st.sampled_from(["m", "n"])},
    optional={
        "version": st.sampled_from(["1", 1, "", None]),
        "event_id": texts,
        "client_id": texts | st.integers(),
        "timestamp": st.sampled_from([LOGGED_AT, LOGGED_AT * 1e3, "2026-01-01T00:00:00Z", "2025-12-31 23:00:00", None]),
        "features": st.dictionaries(names, numbers | texts | st.booleans() | st.none(), max_size=4) | vectors,
        "embedding": vectors,
        "logits": vectors,
        "probabilities": st.dictionaries(names, numbers, max_size=3) | vectors,
        "prediction": numbers | texts | st.booleans(),
        "label": numbers | texts | st.none(),
        "latency_ms": numbers,
        "segments": st.dictionaries(names, texts | st.booleans(), max_size=2),
        "sampling_rate": st.sampled_from([1, 0.5, None]),
        "something_else": st.just([{"nested": None}]),
    },
)


def _cut(written: Sequence[bytes], sizes: Sequence[int], layout: str) -> list[Record]:
    """The events in records of the given sizes; the last record takes what is left."""
    records, start = [], 0
    for size in [*sizes, len(written)]:
        part = written[start : start + size]
        start += size
        if part:
            value = b"[" + b", ".join(part) + b"]" if layout == "array" else b"\n".join(part) + b"\n"
            records.append(_record(value, len(records)))
    return records


@given(
    st.lists(events, min_size=1, max_size=8),
    st.lists(st.integers(1, 4), max_size=6),
    st.sampled_from(["array", "ndjson"]),
)
def test_columns_do_not_depend_on_how_events_are_cut_into_records(
    log: list[dict[str, Any]], sizes: list[int], layout: str
) -> None:
    written = [json.dumps(event).encode() for event in log]
    one_each = _decode(*written)
    cut = NativeDecoder(100_000).decode(_cut(written, sizes, layout))
    assert [r.reason for r in cut.rejections] == [r.reason for r in one_each.rejections]
    assert len(cut.batches) == len(one_each.batches)
    assert all(_same(a, b) for a, b in zip(cut.batches, one_each.batches, strict=True))


@given(st.lists(events, min_size=1, max_size=8))
def test_the_careful_reading_gives_the_same_columns_as_the_fast_one(log: list[dict[str, Any]]) -> None:
    """A NaN in a key nobody reads sends a record to the careful reading without changing its meaning."""
    fast = _decode(*(json.dumps(event).encode() for event in log))
    careful = _decode(*(json.dumps({**event, "unread": math.nan}).encode() for event in log))
    assert [(r.reason, r.message) for r in fast.rejections] == [(r.reason, r.message) for r in careful.rejections]
    assert all(_same(a, b) for a, b in zip(fast.batches, careful.batches, strict=True))


@given(st.lists(events, min_size=1, max_size=8))
def test_every_event_is_in_a_batch_or_rejected(log: list[dict[str, Any]]) -> None:
    decoded = _decode(*(json.dumps(event).encode() for event in log))
    assert sum(map(len, decoded.batches)) + len(decoded.rejections) == len(log)
    assert {r.reason for r in decoded.rejections} <= {Reason.NOTHING_TO_MONITOR}


@given(st.lists(st.binary(max_size=60) | st.sampled_from([b'{"model":"m","label":1}', b"[", b"\n"]), max_size=6))
def test_no_bytes_whatever_raise(values: list[bytes]) -> None:
    decoded = _decode(*values, b"".join(values), b"\n".join(values))
    assert all(rejection.message for rejection in decoded.rejections)


def test_every_field_becomes_its_column() -> None:
    batch = _batch(
        {
            "version": 3,
            "event_id": "e",
            "client_id": 12,
            "timestamp": "2026-01-01T00:00:00.5+00:00",
            "features": {"age": 41, "plan": "pro", "new": True},
            "embedding": [1, 2],
            "logits": [0.5, -0.5],
            "probabilities": {"cat": 0.75, "dog": 0.25},
            "prediction": "cat",
            "label": 1,
            "latency_ms": 3,
            "segments": {"country": "de", "beta": True, "tier": 2, "none": None},
            "sampling_rate": 0.1,
        }
    )
    assert repr(_plain(batch)) == repr(
        {
            "model": "m",
            "version": "3",
            "timestamp": [LOGGED_AT + 0.5],
            "client_id": ["12"],
            "numeric_names": ("age",),
            "numeric": [[41.0]],
            "mixed": {"plan": ["pro"], "new": [True]},
            "embedding": [[1.0, 2.0]],
            "logits": [[0.5, -0.5]],
            "probabilities": [[0.75, 0.25]],
            "classes": ("cat", "dog"),
            "prediction": ["cat"],
            "label": [1.0],
            "latency_ms": [3.0],
            "segments": {"country": ["de"], "beta": ["true"], "tier": ["2"], "none": [None]},
            "sampling_rate": [0.1],
            "annotations": {},
        }
    )
    assert batch.event_id.tolist() == ["e"]


def test_a_label_alone_is_an_event_and_other_columns_are_absent() -> None:
    batch = _batch({"event_id": "e", "label": "fraud"})
    assert batch.label is not None
    assert batch.label.tolist() == ["fraud"]
    absent = [batch.client_id, batch.embedding, batch.logits, batch.probabilities, batch.prediction, batch.latency_ms]
    assert absent == [None] * 6
    assert batch.feature_names == ()
    assert batch.numeric.shape == (1, 0)


def test_what_some_events_lack_is_missing_in_their_rows() -> None:
    batch = _batch(
        {"features": {"a": 1, "b": "x"}, "embedding": [1, 2, 3], "probabilities": {"cat": 1}, "client_id": "c"},
        {"features": {"b": "y", "c": None}, "embedding": [4], "probabilities": {"dog": 0.5, "cat": 0.5}},
        {"prediction": True, "latency_ms": 2, "segments": {"s": "t"}, "sampling_rate": 0.5},
    )
    assert repr(_plain(batch)) == repr(
        {
            "model": "m",
            "version": "",
            "timestamp": [LOGGED_AT] * 3,
            "client_id": ["c", "", ""],
            "numeric_names": ("a", "c"),
            "numeric": [[1.0, math.nan], [math.nan, math.nan], [math.nan, math.nan]],
            "mixed": {"b": ["x", "y", None]},
            "embedding": [[1.0, 2.0, 3.0], [4.0, math.nan, math.nan], [math.nan] * 3],
            "logits": None,
            "probabilities": [[1.0, math.nan], [0.5, 0.5], [math.nan, math.nan]],
            "classes": ("cat", "dog"),
            "prediction": [None, None, "true"],
            "label": None,
            "latency_ms": [math.nan, math.nan, 2.0],
            "segments": {"s": [None, None, "t"]},
            "sampling_rate": [1.0, 1.0, 0.5],
            "annotations": {},
        }
    )


def test_one_column_may_hold_numbers_and_categories() -> None:
    batch = _batch({"features": {"a": 1}}, {"features": {"a": "x"}}, {"features": {"a": False}})
    assert batch.mixed["a"].tolist() == [1.0, "x", False]


def test_features_in_any_order_go_to_their_columns() -> None:
    batch = _batch({"features": {"a": 1, "b": 2}}, {"features": {"b": 4, "a": 3}})
    assert (batch.numeric_names, batch.numeric.tolist()) == (("a", "b"), [[1, 2], [3, 4]])


def test_features_in_an_array_are_named_by_position() -> None:
    batch = _batch({"features": [1, None, 3]}, {"features": {"f1": 5, "x": 6}})
    assert batch.numeric_names == ("f0", "f1", "f2", "x")
    assert repr(batch.numeric.tolist()) == "[[1.0, nan, 3.0, nan], [nan, 5.0, nan, 6.0]]"


def test_classes_are_positions_where_they_have_no_name() -> None:
    assert _batch({"probabilities": [0.25, 0.75]}).classes == ("0", "1")
    assert _batch({"logits": [1, 2, 3]}).classes == ("0", "1", "2")
    assert _batch({"probabilities": {"cat": 1}}, {"probabilities": [0.5]}).classes == ("cat", "0")


def test_each_model_version_gets_one_batch_in_the_order_first_seen() -> None:
    stream = [("b", "2", 0), ("a", "", 1), ("b", "1", 2), ("b", "2", 3), ("a", None, 4)]
    lines = [json.dumps({"model": m, "version": v, "label": i}).encode() for m, v, i in stream]
    batches = _decode(lines[0], b"\n".join(lines[1:])).batches
    assert [(b.model, b.version) for b in batches] == [("b", "2"), ("a", ""), ("b", "1")]
    assert [b.label.tolist() for b in batches if b.label is not None] == [[0, 3], [1, 4], [2]]


def test_ids_say_where_an_event_was_unless_it_has_one() -> None:
    lines = b'{"model":"m","label":1}\n\n{"model":"m","label":1,"event_id":""}\n{"model":"m","label":1,"event_id":7}\n'
    (batch,) = _decode(b'{"model":"m","label":1}', lines).batches
    assert batch.event_id.tolist() == ["logs-3-0-0", "logs-3-1-0", "logs-3-1-1", "7"]


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ('{"a": NaN}', [math.nan]),
        ('{"a": Infinity}', [math.inf]),
        ('{"a": -1e999}', [-math.inf]),
        ('{"a": 1e-999}', [0.0]),
        ('{"a": ' + "9" * 5_000 + "}", [math.inf]),
        ('{"a": ' + "9" * 30 + "}", [1e30]),
    ],
)
def test_numbers_json_cannot_hold_are_read_as_missing_or_infinite(text: str, column: list[float]) -> None:
    (batch,) = _decode(f'{{"model":"m","features":{text}}}'.encode()).batches
    assert repr(batch.numeric[:, 0].tolist()) == repr(column)


def test_identities_of_any_size_are_text() -> None:
    for number in ("18446744073709551616", "1.5", "-3", "1e2"):
        (batch,) = _decode(f'{{"model":"m","label":1,"client_id":{number}}}'.encode()).batches
        assert batch.client_id is not None
        assert batch.client_id.tolist() == [number if number != "1e2" else "100"]


def test_text_that_a_database_cannot_hold_is_replaced() -> None:
    value = rb'{"model":"m\u0000","client_id":"\ud800","features":{"a\u0000":"\udfff"},"segments":{"s":"\u0000"}}'
    (batch,) = _decode(value).batches
    assert batch.model == "m\ufffd"
    assert batch.client_id is not None
    assert (batch.client_id[0], batch.mixed["a\ufffd"][0], batch.segments["s"][0]) == ("\ufffd",) * 3


def test_a_byte_order_mark_and_white_space_around_an_event_do_not_matter() -> None:
    for value in (b'\xef\xbb\xbf{"model":"m","label":1}', b' \r\n{\n "model": "m",\n "label": 1\n}\n\n'):
        decoded = _decode(value)
        assert ([len(b) for b in decoded.batches], list(decoded.rejections)) == ([1], [])


@pytest.mark.parametrize(
    ("value", "reason", "message"),
    [
        (None, Reason.UNDECODABLE, "empty"),
        (b"", Reason.UNDECODABLE, "empty"),
        (b" \n ", Reason.UNDECODABLE, "empty"),
        (b"x" * 100_001, Reason.OVERSIZED, "100001 bytes: expected at most 100000"),
        (b"hello", Reason.UNDECODABLE, "not JSON: Expecting value"),
        (b'{"model": "m"', Reason.UNDECODABLE, "not JSON: Expecting ','"),
        (b'{\n "model": "m",\n "features": {\n', Reason.UNDECODABLE, "not JSON: Expecting property name"),
        (b'{"model":"\xff"}', Reason.UNDECODABLE, "not UTF-8 at byte 10"),
        (b'{"model":"m","x":' + b"[" * 50_000, Reason.UNDECODABLE, "nested too deeply"),
    ],
)
def test_an_unreadable_record_is_rejected_whole(value: bytes | None, reason: Reason, message: str) -> None:
    decoded = _decode(value, b'{"model":"m","label":1}')
    (rejection,) = decoded.rejections
    assert (rejection.row, rejection.reason, rejection.record.offset) == (WHOLE_RECORD, reason, 0)
    assert message in rejection.message
    assert len(decoded.batches[0]) == 1


BAD_EVENTS: list[tuple[str, Reason, str]] = [
    ("7", Reason.WRONG_TYPE, "event: expected a JSON object, got a number (7)"),
    ('"x"', Reason.WRONG_TYPE, "event: expected a JSON object, got a string of 1 characters"),
    ("null", Reason.WRONG_TYPE, "event: expected a JSON object, got null"),
    ('{"label":1}', Reason.MISSING_FIELD, "model: expected the name of the model, got none"),
    ('{"model":"","label":1}', Reason.MISSING_FIELD, "model: expected the name of the model, got none"),
    ('{"model":null,"label":1}', Reason.MISSING_FIELD, "model: expected the name of the model, got none"),
    ('{"model":5,"label":1}', Reason.WRONG_TYPE, "model: expected a string, got a number (5)"),
    (f'{{"model":"{"m" * 257}"}}', Reason.WRONG_TYPE, "model: expected at most 256 characters, got a string of 257"),
    ('{"model":"m","version":[1],"label":1}', Reason.WRONG_TYPE, "version: expected a string, got an array"),
    ('{"model":"m","client_id":true,"label":1}', Reason.WRONG_TYPE, "client_id: expected a string, got a bool (True)"),
    ('{"model":"m","event_id":{},"label":1}', Reason.WRONG_TYPE, "event_id: expected a string, got an object"),
    ('{"model":"m"}', Reason.NOTHING_TO_MONITOR, "event: expected at least one of features, embedding"),
    ('{"model":"m","latency_ms":5,"features":{}}', Reason.NOTHING_TO_MONITOR, "event: expected at least one of"),
    ('{"model":"m","embedding":[],"label":null}', Reason.NOTHING_TO_MONITOR, "event: expected at least one of"),
    ('{"model":"m","features":"a"}', Reason.WRONG_TYPE, "features: expected an object, or an array of numbers, got"),
    ('{"model":"m","features":["a"]}', Reason.WRONG_TYPE, "features[0]: expected a number, got a string"),
    ('{"model":"m","features":[1,true]}', Reason.WRONG_TYPE, "features[1]: expected a number, got a bool (True)"),
    (
        '{"model":"m","features":{"age":[1]}}',
        Reason.WRONG_TYPE,
        "features.age: expected a number, string, bool or null",
    ),
    ('{"model":"m","features":{"age":{}}}', Reason.WRONG_TYPE, "features.age: expected a number, string, bool or null"),
    ('{"model":"m","embedding":"a"}', Reason.WRONG_TYPE, "embedding: expected an array of numbers, got a string"),
    ('{"model":"m","embedding":[[1]]}', Reason.WRONG_TYPE, "embedding[0]: expected a number, got an array"),
    ('{"model":"m","logits":{"a":1}}', Reason.WRONG_TYPE, "logits: expected an array of numbers, got an object"),
    ('{"model":"m","probabilities":[0.5,"a"]}', Reason.WRONG_TYPE, "probabilities[1]: expected a number, got a string"),
    ('{"model":"m","probabilities":{"cat":"a"}}', Reason.WRONG_TYPE, "probabilities.cat: expected a number, got a"),
    ('{"model":"m","probabilities":1}', Reason.WRONG_TYPE, "probabilities: expected an array of numbers, or an object"),
    (
        '{"model":"m","prediction":[1]}',
        Reason.WRONG_TYPE,
        "prediction: expected a string, number or bool, got an array",
    ),
    ('{"model":"m","label":{}}', Reason.WRONG_TYPE, "label: expected a string, number or bool, got an object"),
    ('{"model":"m","label":1,"latency_ms":"5"}', Reason.WRONG_TYPE, "latency_ms: expected a number, got a string"),
    ('{"model":"m","label":1,"segments":["a"]}', Reason.WRONG_TYPE, "segments: expected an object of strings, got an"),
    ('{"model":"m","label":1,"segments":{"s":[]}}', Reason.WRONG_TYPE, "segments.s: expected a string, got an array"),
    ('{"model":"m","label":1,"sampling_rate":0}', Reason.WRONG_TYPE, "sampling_rate: expected a number above 0 and up"),
    ('{"model":"m","label":1,"sampling_rate":1.5}', Reason.WRONG_TYPE, "sampling_rate: expected a number above 0 and"),
    ('{"model":"m","label":1,"sampling_rate":NaN}', Reason.WRONG_TYPE, "sampling_rate: expected a number above 0 and"),
    ('{"model":"m","label":1,"sampling_rate":"1"}', Reason.WRONG_TYPE, "sampling_rate: expected a number above 0 and"),
    ('{"model":"m","label":1,"timestamp":"yesterday"}', Reason.BAD_TIMESTAMP, "got 'yesterday'"),
    ('{"model":"m","label":1,"timestamp":""}', Reason.BAD_TIMESTAMP, "got ''"),
    ('{"model":"m","label":1,"timestamp":NaN}', Reason.BAD_TIMESTAMP, "got nan"),
    ('{"model":"m","label":1,"timestamp":1e999}', Reason.BAD_TIMESTAMP, "got inf"),
    ('{"model":"m","label":1,"timestamp":1e30}', Reason.BAD_TIMESTAMP, "between 1900 and 2200, got 1e+30"),
    ('{"model":"m","label":1,"timestamp":true}', Reason.BAD_TIMESTAMP, "timestamp: expected RFC 3339 text or a number"),
    ('{"model":"m","label":1,"timestamp":[1]}', Reason.BAD_TIMESTAMP, "timestamp: expected RFC 3339 text or a number"),
    ('{"model":"m","label":1,"timestamp":"2026-01-01T01:00:00Z"}', Reason.BAD_TIMESTAMP, "at most 600 s after the rec"),
]


@pytest.mark.parametrize(("event", "reason", "message"), BAD_EVENTS, ids=[event[:60] for event, _, _ in BAD_EVENTS])
@pytest.mark.parametrize("layout", ["alone", "ndjson", "array"])
def test_a_bad_event_is_rejected_alone_with_its_reason(event: str, reason: Reason, message: str, layout: str) -> None:
    good = '{"model":"m","label":1}'
    records = {
        "alone": [good, event, good],
        "ndjson": [f"{good}\n{event}\n{good}"],
        "array": [f"[{good},{event},{good}]"],
    }
    decoded = _decode(*(text.encode() for text in records[layout]))
    (rejection,) = decoded.rejections
    assert rejection.reason is reason
    assert message in rejection.message
    assert (rejection.record.offset, rejection.row) == ((1, -1) if layout == "alone" else (0, 1))
    (batch,) = decoded.batches
    assert batch.event_id.tolist() == (
        ["logs-3-0-0", "logs-3-2-0"] if layout == "alone" else ["logs-3-0-0", "logs-3-0-2"]
    )


def test_a_broken_line_is_rejected_alone() -> None:
    decoded = _decode(b'{"model":"m","label":1}\n{"model":"m","lab\n{"model":"m","label":3}')
    (rejection,) = decoded.rejections
    assert (rejection.row, rejection.reason) == (1, Reason.UNDECODABLE)
    assert rejection.message.startswith("not JSON: Unterminated string")
    assert [batch.label.tolist() for batch in decoded.batches if batch.label is not None] == [[1.0, 3.0]]


def test_a_message_is_short_and_storable_whatever_the_name() -> None:
    for name in ("x" * MAX_NAME_CHARS, r"\u0000\ud800"):
        (rejection,) = _decode(f'{{"model":"m","features":{{"{name}":[1]}}}}'.encode()).rejections
        assert len(rejection.message) < 300
        assert "\x00" not in rejection.message
        rejection.message.encode()


@pytest.mark.parametrize("row", ["1", '{"model":"m"}', '{"model":"m","label":1,"timestamp":-1e30}'])
def test_a_record_of_junk_makes_a_bounded_number_of_rejections(row: str) -> None:
    n = MAX_ROW_REJECTIONS + 50
    decoded = _decode(f"[{','.join([row] * n)}]".encode(), row.encode())
    assert len(decoded.rejections) == MAX_ROW_REJECTIONS + 2
    shared, after = decoded.rejections[-2:]
    assert (shared.row, shared.record.offset) == (WHOLE_RECORD, 0)
    assert shared.message.startswith("50 more rows of this record were rejected")
    assert (after.row, after.record.offset) == (-1, 1)


@pytest.mark.slow
def test_names_of_their_own_in_every_event_do_not_cost_the_square_of_memory() -> None:
    """4,000 events of 50 names each would be 800 million cells as one batch."""
    lines = [json.dumps({"model": "m", "features": {f"{i}-{j}": j for j in range(50)}}).encode() for i in range(4_000)]
    decoded = NativeDecoder(1 << 20).decode([_record(line, i) for i, line in enumerate(lines)])
    assert sum(map(len, decoded.batches)) == 4_000
    assert sum(batch.numeric.size for batch in decoded.batches) < 30_000_000
    assert [i for batch in decoded.batches for i in batch.event_id] == [f"logs-3-{i}-0" for i in range(4_000)]


def test_one_long_vector_does_not_widen_all_others() -> None:
    log = [{"model": "m", "embedding": [1.0] * (20_000 if i == 500 else 4)} for i in range(1_000)]
    batches = NativeDecoder(1 << 20).decode([_record(json.dumps(e).encode(), i) for i, e in enumerate(log)]).batches
    assert sum(map(len, batches)) == 1_000
    assert sum(b.embedding.size for b in batches if b.embedding is not None) < 2_000_000


class TestTimeWithoutRecordTime:
    """A file's records have no time of their own."""

    @staticmethod
    def _times(decoder: NativeDecoder, *values: bytes, first: int = 0) -> list[float]:
        records = [_record(value, first + i, None) for i, value in enumerate(values)]
        return [float(t) for batch in decoder.decode(records).batches for t in batch.timestamp]

    def test_an_event_takes_the_time_of_the_one_before_it(self) -> None:
        timed, untimed = b'{"model":"m","label":1,"timestamp":1767225600}', b'{"model":"m","label":1}'
        decoder = NativeDecoder(1_000)
        assert self._times(decoder, timed, untimed) == [LOGGED_AT, LOGGED_AT]
        assert self._times(decoder, untimed, first=2) == [LOGGED_AT]

    def test_without_any_time_a_line_is_a_second_wherever_reading_starts(self) -> None:
        event = b'{"model":"m","label":1}'
        assert self._times(NativeDecoder(1_000), event, event, event) == [0.0, 1.0, 2.0]
        assert self._times(NativeDecoder(1_000), event, first=2) == [2.0]

    def test_partitions_have_times_of_their_own(self) -> None:
        decoder = NativeDecoder(1_000)
        self._times(decoder, b'{"model":"m","label":1,"timestamp":1767225600}')
        other = Record(Partition("memory", "logs", 4), 5, b'{"model":"m","label":1}')
        assert decoder.decode([other]).batches[0].timestamp.tolist() == [5.0]

    def test_no_time_is_too_far_ahead(self) -> None:
        assert self._times(NativeDecoder(1_000), b'{"model":"m","label":1,"timestamp":"2199-01-01"}')[0] > LOGGED_AT


def test_how_far_ahead_an_event_may_be_is_settable() -> None:
    value = b'{"model":"m","label":1,"timestamp":1767225700}'
    assert len(NativeDecoder(1_000, max_future_s=100).decode([_record(value)]).batches) == 1
    (rejection,) = NativeDecoder(1_000, max_future_s=99).decode([_record(value)]).rejections
    assert rejection.reason is Reason.BAD_TIMESTAMP
