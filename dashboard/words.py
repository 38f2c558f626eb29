"""Numbers, times and names as people read them; pure functions.

Everything that came from outside passes ``clean`` before it is shown: control and direction-changing characters could
make a name look like another one.
"""

from __future__ import annotations

import itertools
import math
import unicodedata
from datetime import UTC, datetime

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def clean(text: object, limit: int = 200) -> str:
    """One line of at most ``limit`` characters without control, format or direction-changing characters."""
    raw = str(text)[: limit * 4]
    flat = "".join(" " if char.isspace() else char for char in raw)
    shown = "".join("�" if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co"} else char for char in flat)
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def count(number: int) -> str:
    """With thousands separators.

    >>> count(12345)
    '12,345'
    """
    return f"{number:,}"


def compact(number: float) -> str:
    """Three significant figures with a unit letter.

    >>> compact(950), compact(12_345), compact(3_456_789)
    ('950', '12.3k', '3.46M')
    """
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size * 0.9995:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


def plural(number: int, noun: str) -> str:
    """A count and its noun.

    >>> plural(1, "alert"), plural(2_000, "alert")
    ('1 alert', '2,000 alerts')
    """
    return f"{count(number)} {noun}" if number == 1 else f"{count(number)} {noun}s"


def duration(seconds: float) -> str:
    """A span in at most two units.

    >>> duration(42), duration(60), duration(3_900), duration(200_000)
    ('42 s', '1 min', '1 h 5 min', '2 d 7 h')
    """
    whole = max(0, round(seconds))
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    for (name, size), (next_name, next_size) in itertools.pairwise(units):
        if whole >= size:
            rest = whole % size // next_size
            minor = f" {rest} {next_name}" if rest and size > 60 else ""
            return f"{whole // size} {name}{minor}"
    return f"{whole} s"


def ago(at: datetime, now: datetime) -> str:
    """How long before ``now``; a time ahead of ``now`` reads "just now".

    >>> ago(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 2, tzinfo=UTC))
    '2 h ago'
    """
    seconds = (now - at).total_seconds()
    return "just now" if seconds < 5 else f"{duration(seconds)} ago"


def instant(at: datetime) -> str:
    """A point in time, to the second, in UTC.

    >>> instant(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    '2 Jan 2026, 03:04:05 UTC'
    """
    utc = at.astimezone(UTC)
    return f"{utc.day} {utc:%b %Y, %H:%M:%S} UTC"


def power_of_ten(exponent: float) -> str:
    """10 to the ``exponent``: in figures up to a million, in words up to a thousand trillion, then as a power.

    >>> power_of_ten(0), power_of_ten(3.5), power_of_ten(7.55), power_of_ten(18)
    ('1', '3,160', '35.5 million', '10¹⁸')
    """
    if exponent >= 15:
        return f"10{str(round(exponent)).translate(_SUPERSCRIPT)}"
    value = 10**exponent
    for size, name in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if value >= size * 0.9995:
            return f"{value / size:.3g} {name}"
    return f"{value:.2g}" if value < 10 else f"{float(f'{value:.3g}'):,.0f}"


def odds(log_evidence: float) -> str:
    """Evidence (natural log) as odds against "nothing is wrong".

    >>> odds(0.0), odds(11.5), odds(float("-inf")), odds(float("inf"))
    ('1 : 1', '98,700 : 1', 'none', 'certain')
    """
    if log_evidence > 1e5:
        return "certain"
    if math.isnan(log_evidence) or log_evidence < -20:
        return "none"
    return f"{power_of_ten(log_evidence / math.log(10))} : 1"


def number(value: float) -> str:
    """A measured value to three significant figures.

    >>> number(0.123456), number(1234.5), number(0), number(2e-9)
    ('0.123', '1,230', '0', '2 × 10⁻⁹')
    """
    if not math.isfinite(value):
        return "–"
    if value == 0 or 1e-4 <= abs(value) < 1_000:
        return f"{value:.3g}"
    if 1_000 <= abs(value) < 1e6:
        return f"{float(f'{value:.3g}'):,.0f}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g} × 10{str(int(exponent)).translate(_SUPERSCRIPT)}"


def percent(share: float) -> str:
    """A share of one as a percentage.

    >>> percent(0.1234), percent(0.0004), percent(1)
    ('12.3 %', '<0.1 %', '100 %')
    """
    if not math.isfinite(share):
        return "–"
    if 0 < share < 0.001:
        return "<0.1 %"
    return f"{share * 100:.3g} %"
