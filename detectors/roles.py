"""The role of a feature, as the reference shows it: number, boolean, category, date, free text or identifier.

What is left out is what no test over time can use: values that are nearly all new (keys, hashes, names) and counters,
which only ever grow. When in doubt a column is kept, since a key that is drawn evenly never drifts. The rules:

* A number stays a number: years, prices, whole amounts, codes that repeat. It is an identifier only when its values are
  nearly all distinct whole numbers *and* grow with time, lie denser than distinct draws could, are spread evenly over
  a thousand million or more, or the column's name says so; or when it is a clock or counter that never falls.
* Numbers written as text are numbers when they are written with decimals ("12.50") and vary; whole numbers as text are
  codes (postcodes, phone numbers, article numbers): a category where they repeat, an identifier where they do not.
* Text is free text when most values are new and run over several words; a category however many values it has, as long
  as they come back.
* Numbers are dates when they lie between the year 2000 and two years after their own events, and either the column's
  name says so or all lie within a year or so of their events.
* A constant column keeps its role: it may start to vary.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from detectors.batch import FloatArray, ObjectArray
from detectors.dates import DAY_S, looks_like_date, read_dates


class Role(StrEnum):
    NUMERIC = "numeric"
    BOOLEAN = "boolean"
    CATEGORICAL = "categorical"
    DATE = "date"
    """ISO text or seconds (ms, µs, ns) since the epoch."""
    TEXT = "text"
    """Free text: prose that hardly ever repeats."""
    IDENTIFIER = "identifier"
    """Nearly every value is new, or only ever grows: left out of every test."""


@dataclass(frozen=True, slots=True)
class Column:
    """A feature and its role; ``why`` finishes "left out because it …" for an identifier, and is a remark otherwise."""

    name: str
    role: Role
    why: str = ""


_ENOUGH = 100
_ENOUGH_NUMBERS = 200
_MOSTLY = 0.95
_NEARLY_ALL = 0.98
_FEW_DATES = 20
_YEAR_2000_S = 946_684_800.0
_NUMBER = re.compile(r"[+-]?(?:0|[1-9]\d*)(\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_PLAIN = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_KEY = re.compile(
    r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|(?:[0-9a-fA-F]{2}){8,}|[0-9A-HJKMNP-TV-Z]{26}", re.ASCII
)
_PHONE = re.compile(r"\+?[\d\s().\-/]{6,24}", re.ASCII)
_NAME_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_KEY_NAMES = frozenset(
    {"id", "ids", "uid", "uuid", "guid", "hash", "key", "token", "serial", "phone", "msisdn", "iban"}
)
_TIME_NAMES = frozenset(
    {
        "date",
        "time",
        "timestamp",
        "ts",
        "datetime",
        "epoch",
        "at",
        "on",
        "since",
        "created",
        "updated",
        "birthday",
        "dob",
    }
)


def numeric_column(name: str, values: FloatArray, timestamp: FloatArray) -> Column:
    """The column of (n,) numbers, NaN where missing, logged by events at (n,) ``timestamp``."""
    finite = np.isfinite(values)
    present, when = values[finite], timestamp[finite]
    if present.size and _is_epoch(name, present, when):
        return Column(name, Role.DATE, "time since 1970")
    if present.size < _ENOUGH_NUMBERS:
        return Column(name, Role.NUMERIC)
    why = _key_reason(name, present, when)
    return Column(name, Role.IDENTIFIER if why else Role.NUMERIC, why)


def mixed_column(name: str, values: ObjectArray, timestamp: FloatArray) -> Column:
    """The column of (n,) str, bool, number or None, logged by events at (n,) ``timestamp``."""
    kinds = np.array([_kind(value) for value in values.tolist()])
    n = int(np.count_nonzero(kinds != "-"))
    if n and np.count_nonzero(kinds == "n") >= 0.9 * n:
        numbers = np.array([value if k == "n" else np.nan for value, k in zip(values, kinds, strict=True)], dtype=float)
        return numeric_column(name, numbers, timestamp)
    if n and np.count_nonzero(kinds == "b") >= 0.9 * n:
        return Column(name, Role.BOOLEAN)
    texts = [str(value) for value in values[kinds != "-"].tolist()]
    return _text_column(name, texts, timestamp[kinds != "-"])


def parse_number(text: str) -> float:
    """The number that a text plainly writes, +inf when it does not.

    >>> parse_number(" 12.50 "), parse_number("1e3"), parse_number("1_000"), parse_number("nan")
    (12.5, 1000.0, inf, inf)
    """
    stripped = text.strip()
    return float(stripped) if _PLAIN.fullmatch(stripped) else np.inf


def _kind(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool | np.bool_):
        return "b"
    return "n" if isinstance(value, int | float | np.number) else "t"


def _name_parts(name: str) -> list[str]:
    return [part.lower() for part in _NAME_PART.findall(name)]


def _named_as_key(name: str) -> bool:
    return not _KEY_NAMES.isdisjoint(_name_parts(name)[-1:])


def _named_as_time(name: str) -> bool:
    parts = _name_parts(name)
    return bool(parts) and (parts[-1] in _TIME_NAMES or parts[0] in _TIME_NAMES)


def _is_epoch(name: str, present: FloatArray, when: FloatArray) -> bool:
    seconds = read_dates(present).seconds
    if np.mean((seconds >= _YEAR_2000_S) & (seconds <= when + 730 * DAY_S)) < _NEARLY_ALL:
        return False
    if _are_fixed(np.unique(present).size, seconds, when):
        return False
    near = np.quantile(np.abs(seconds - when), 0.98) <= 400 * DAY_S
    return bool(_named_as_time(name) or (near and present.size >= _ENOUGH))


def _are_fixed(n_distinct: int, seconds: FloatArray, when: FloatArray) -> bool:
    """A few dates away from their events are names, not moments: their age grows with every day that passes."""
    age = np.abs(seconds - when)[np.isfinite(seconds)]
    return n_distinct <= _FEW_DATES and not (age.size and np.median(age) <= 2.0 * DAY_S)


def _key_reason(name: str, present: FloatArray, when: FloatArray) -> str:
    """Why these numbers are keys or a counter; "" when they are a measurement."""
    distinct = np.unique(present)
    share = distinct.size / present.size
    whole = bool(np.all(distinct == np.floor(distinct)))
    if whole and share > 0.5 and _named_as_key(name):
        return f"has {share:.0%} distinct values and its name says that it is a key"
    if share <= _NEARLY_ALL:
        return ""
    steps = np.diff(present[np.argsort(when, kind="stable")])
    never_falls = max(np.mean(steps > 0), np.mean(steps < 0)) >= (0.99 if whole else 0.999)
    if never_falls or (whole and abs(_rank_correlation(present, when)) >= 0.995):
        return "counts on from event to event"
    span = float(distinct[-1] - distinct[0])
    if whole and span < 10 * present.size:
        return "never repeats a value, though draws from so small a range would"
    even = np.abs((distinct - distinct[0]) / max(span, 1.0) - np.linspace(0, 1, distinct.size)).max()
    if whole and span >= 1e9 and even < 0.1:
        return "holds whole numbers spread evenly over a huge range, as random keys are"
    return ""


def _rank_correlation(present: FloatArray, when: FloatArray) -> float:
    by_time = present[np.argsort(when, kind="stable")]
    ranks = np.argsort(np.argsort(by_time, kind="stable"), kind="stable")
    return float(np.corrcoef(ranks, np.arange(len(ranks)))[0, 1])


def _text_column(name: str, texts: Sequence[str], when: FloatArray) -> Column:
    distinct = list(dict.fromkeys(texts))
    if not distinct:
        return Column(name, Role.CATEGORICAL)
    if _share(looks_like_date, distinct) >= _MOSTLY:
        return _date_column(name, texts, len(distinct), when)
    if _are_measurements(distinct):
        return Column(name, Role.NUMERIC, "numbers written as text")
    if _is_prose(distinct, len(texts)):
        return Column(name, Role.TEXT)
    why = _text_key_reason(name, distinct, len(texts))
    return Column(name, Role.IDENTIFIER if why else Role.CATEGORICAL, why)


def _date_column(name: str, texts: Sequence[str], n_distinct: int, when: FloatArray) -> Column:
    if _are_fixed(n_distinct, read_dates(np.array(texts, dtype=object)).seconds, when):
        return Column(name, Role.CATEGORICAL, "a few fixed dates")
    return Column(name, Role.DATE, "dates as text")


def _are_measurements(distinct: Sequence[str]) -> bool:
    found = [_NUMBER.fullmatch(text.strip()) for text in distinct]
    decimals = sum(match is not None and match[1] is not None for match in found)
    return (
        len(distinct) > 20
        and sum(match is not None for match in found) >= _MOSTLY * len(distinct)
        and decimals >= 0.1 * len(distinct)
    )


def _is_prose(distinct: Sequence[str], n: int) -> bool:
    share = len(distinct) / n
    if n < 50 or share <= 0.2 or _share(_is_phone, distinct) >= _MOSTLY:
        return False
    words = float(np.mean([len(text.split()) for text in distinct]))
    size = float(np.mean([len(text) for text in distinct]))
    unspaced = share > 0.5 and size >= 10 and _share(_is_unspaced_script, distinct) >= 0.5
    return unspaced or (share > 0.5 and words >= 2.5) or (words >= 5 and size >= 40)


def _text_key_reason(name: str, distinct: Sequence[str], n: int) -> str:
    share = len(distinct) / n
    if n < _ENOUGH or share <= 0.5:
        return ""
    if share > 0.9:
        return f"has {share:.0%} distinct values"
    if _share(_is_key, distinct) >= _MOSTLY:
        return f"has {share:.0%} distinct values and they look like keys or hashes"
    if _named_as_key(name) and _share(_has_no_space, distinct) >= _MOSTLY:
        return f"has {share:.0%} distinct values and its name says that it is a key"
    return ""


def _share(test: Callable[[str], bool], texts: Sequence[str]) -> float:
    return float(np.mean([test(text) for text in texts]))


def _is_phone(text: str) -> bool:
    return _PHONE.fullmatch(text) is not None


def _is_key(text: str) -> bool:
    return _KEY.fullmatch(text) is not None


def _has_no_space(text: str) -> bool:
    return len(text.split()) <= 1


def _is_unspaced_script(text: str) -> bool:
    """Written without spaces, as Chinese, Japanese and Thai are."""
    return 2 * sum(ord(letter) >= 0x0E00 for letter in text) > len(text)
