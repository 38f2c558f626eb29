from __future__ import annotations

import pytest

from monitor.errors import DeadLetterReason, InvalidRecord
from monitor.formats.instants import epoch_seconds

NEW_YEAR = 1_767_225_600


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2026-01-01T00:00:00Z", NEW_YEAR),
        ("2026-01-01t00:00:00z", NEW_YEAR),
        ("2026-01-01 00:00:00", NEW_YEAR),
        ("2026-01-01", NEW_YEAR),
        ("2026-01-01T01:00:00+01:00", NEW_YEAR),
        ("2025-12-31T19:00:00.250-05:00", NEW_YEAR + 0.25),
        ("2026-01-01T00:00:00.123456789Z", NEW_YEAR + 0.123456),
        ("1969-12-31T23:59:59Z", -1),
        (NEW_YEAR, NEW_YEAR),
        (NEW_YEAR + 0.5, NEW_YEAR + 0.5),
        (NEW_YEAR * 1e3 + 500, NEW_YEAR + 0.5),
        (NEW_YEAR * 1e6, NEW_YEAR),
        (NEW_YEAR * 1e9, NEW_YEAR),
        (0, 0),
        (-86_400, -86_400),
    ],
)
def test_an_instant_is_read_from_text_or_a_number_of_any_unit(value: float | str, seconds: float) -> None:
    assert epoch_seconds(value) == pytest.approx(seconds, abs=1e-6)


NO_INSTANTS: list[float | str] = [
    "",
    "now",
    "1767225600",
    "20260101",
    "2026-13-01",
    "2026-01-01T25:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-12:00",
    float("nan"),
    float("inf"),
    -float("inf"),
    8e9,
    -3e9,
    1e300,
]


@pytest.mark.parametrize("value", NO_INSTANTS)
def test_what_is_no_instant_is_refused_with_what_was_expected(value: float | str) -> None:
    with pytest.raises(InvalidRecord, match=r"^timestamp: expected RFC 3339 text or a number") as caught:
        epoch_seconds(value)
    assert caught.value.reason is DeadLetterReason.BAD_TIMESTAMP
