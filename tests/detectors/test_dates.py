"""Dates: what is read as one, and what of it can be compared over time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.dates import DAY_S, looks_like_date, read_dates

NOON = 1_750_000_000.0 // DAY_S * DAY_S + DAY_S / 2


def objects(*values: object) -> np.ndarray:
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1970-01-02", DAY_S),
        ("1970-01-01T00:01", 60.0),
        ("1970-01-01 00:00:01.5", 1.5),
        ("1970-01-01T00:00:01,25Z", 1.25),
        ("1970-01-01T00:00:00 UTC", 0.0),
        ("1970-01-01T02:00:00+02:00", 0.0),
        ("1969-12-31T19:30:00-0430", 0.0),
        ("  2000-02-29  ", 951_782_400.0),
        (951_782_400, 951_782_400.0),
        (951_782_400_500.0, 951_782_400.5),
        (951_782_400_000_000.0, 951_782_400.0),
        (951_782_400_000_000_000.0, 951_782_400.0),
        (None, np.nan),
        (float("nan"), np.nan),
        ("2001-02-29", np.inf),
        ("2001-13-01", np.inf),
        ("2001-01-01T25:00:00", np.inf),
        ("20010101", np.inf),
        ("01/02/2001", np.inf),
        ("yesterday", np.inf),
        ("", np.inf),
        (True, np.inf),
        (float("-inf"), np.inf),
    ],
)
def test_a_date_is_read_as_seconds_since_the_epoch(value: object, seconds: float) -> None:
    np.testing.assert_array_equal(read_dates(objects(value)).seconds, [seconds])


@given(st.datetimes())
def test_every_iso_date_is_read_exactly(moment) -> None:
    expected = np.datetime64(moment, "us").astype(np.int64) / 1e6
    assert looks_like_date(moment.isoformat())
    assert read_dates(objects(moment.isoformat(), moment.isoformat(" ") + "Z")).seconds.tolist() == [expected] * 2


def test_a_bad_date_does_not_spoil_its_neighbours() -> None:
    read = read_dates(objects("1970-01-02", "1970-02-31", "1970-01-03", "1970-01-02"))
    assert read.seconds.tolist() == [DAY_S, np.inf, 2 * DAY_S, DAY_S]


def test_the_age_of_a_moment_is_exact_and_that_of_a_day_is_whole() -> None:
    dates = read_dates(np.array([NOON - 3_600.0, NOON - DAY_S / 2, NOON + 3 * DAY_S, np.nan, np.inf]))
    age = dates.age_days(np.full(5, NOON))
    np.testing.assert_allclose(age, [1 / 24, 0.0, -3.0, np.nan, np.inf])
    later = dates.age_days(np.full(5, NOON + 6 * 3_600.0))
    assert later[1] == 0.0, "a day is as old in the evening as at noon"
    assert dates.whole_days(np.full(5, NOON))[:3].tolist() == [0.0, 0.0, -3.0]


def test_ages_stand_still_while_events_and_dates_move_on_together() -> None:
    rng = np.random.default_rng(0)
    lag = rng.exponential(5 * DAY_S, size=500)
    ages = [read_dates(start - lag).age_days(np.full(500, start)) for start in (NOON, NOON + 400.25 * DAY_S)]
    np.testing.assert_allclose(ages[0], ages[1], atol=1e-6)


def test_weekdays_are_those_of_the_calendar() -> None:
    read = read_dates(objects("2024-02-29", "2024-03-03T23:59:59Z", "1969-12-31", None, "never")).weekdays()
    assert read.tolist() == ["Thursday", "Sunday", "Wednesday", None, np.inf]
