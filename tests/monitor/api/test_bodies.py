"""Posted bodies into events."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.api.bodies import JSON, MalformedBody, TooManyEvents, WrongMediaType, examine, split_body
from monitor.errors import DeadLetterReason, Refused

leaves = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    leaves | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def split(body: bytes, media_type: str = JSON, max_events: int = 1_000) -> list[bytes]:
    return split_body(body, media_type, "identity", max_events)


@given(st.lists(st.dictionaries(st.text(max_size=5), values, max_size=4), max_size=5))
def test_an_array_and_lines_of_the_same_events_split_alike(events: list[object]) -> None:
    encoded = [msgspec.json.encode(event) for event in events]
    assert split(msgspec.json.encode(events)) == encoded
    if encoded:
        assert split(b"\n".join(encoded), "application/x-ndjson") == encoded


@given(st.binary(max_size=200), st.sampled_from([JSON, "application/x-ndjson"]))
def test_any_body_is_split_or_refused(body: bytes, media_type: str) -> None:
    try:
        found = split(body, media_type)
    except Refused:
        return
    examined = examine(found, 1e9, 1 << 20)
    assert len(examined.good) + len(examined.rejected) == len(found)


@pytest.mark.parametrize(
    ("body", "media_type", "refusal"),
    [
        (b"{}", "", WrongMediaType),
        (b"{}", "text/plain", WrongMediaType),
        (b"", JSON, MalformedBody),
        (b"[1,]", JSON, MalformedBody),
        (b'{"a": 1} x', JSON, MalformedBody),
        (b"[" * 100_000, JSON, MalformedBody),
        (b"[1, 2, 3, 4]", JSON, TooManyEvents),
        (b"1\n2\n3\n4", "application/x-ndjson", TooManyEvents),
    ],
)
def test_what_cannot_be_split_is_refused(body: bytes, media_type: str, refusal: type[Refused]) -> None:
    with pytest.raises(refusal):
        split(body, media_type, max_events=3)


def test_an_event_without_a_time_gets_that_of_its_arrival() -> None:
    examined = examine(
        [b'{"model": "m", "prediction": 1}', b'{"model": "m", "prediction": 1, "timestamp": "?"}'], 1e9, 99
    )
    assert len(examined.good) == 1
    assert [(row.row, row.reason) for row in examined.rejected] == [(1, DeadLetterReason.BAD_TIMESTAMP)]
