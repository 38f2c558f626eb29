"""Numbers, times and names read as people write them."""

from __future__ import annotations

import doctest
from datetime import UTC, datetime, timedelta

import pytest

from dashboard import routing, security, session, words
from dashboard.components import accessibility

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)


@pytest.mark.parametrize("module", [words, routing, session, security, accessibility])
def test_examples_in_docstrings_hold(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a\u202eb", "a\ufffdb"),
        ("a\x00b\x1bc", "a\ufffdb\ufffdc"),
        ("two\nlines\tin one", "two lines in one"),
        ("zero\u200bwidth", "zero\ufffdwidth"),
        ("straße 你好", "straße 你好"),
    ],
)
def test_names_lose_what_could_disguise_them(raw, shown):
    assert words.clean(raw) == shown


def test_a_long_name_is_cut_with_an_ellipsis():
    shown = words.clean("x" * 1_000_000, 50)
    assert len(shown) == 50
    assert shown.endswith("…")


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (timedelta(seconds=-30), "just now"),
        (timedelta(seconds=59), "59 s ago"),
        (timedelta(days=3, hours=2), "3 d 2 h ago"),
    ],
)
def test_ages_are_in_two_units_and_never_ahead(before, said):
    assert words.ago(NOW - before, NOW) == said


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_a_dash(value):
    assert words.number(value) == "–"
    assert words.percent(value) == "–"


@pytest.mark.parametrize(
    ("path", "search", "page", "item"),
    [
        ("/", "", "overview", ""),
        ("/alerts", "?status=open", "alerts", ""),
        ("/alerts/a%20b", "", "alert", "a b"),
        ("/models/a%2F..%2Fb", "?version=", "model", "a/../b"),
        ("/models/caf%C3%A9", "", "model", "café"),
    ],
)
def test_addresses_lead_to_their_pages(path, search, page, item):
    route = routing.match(path, search)
    assert route is not None
    assert (route.page, route.item) == (page, item)


@pytest.mark.parametrize("path", ["/nope", "/models", "/models/", "/alert/1", "/admin.php"])
def test_other_addresses_lead_nowhere(path):
    assert routing.match(path) is None


@pytest.mark.parametrize("name", ["a/b", "..", "<script>", "x?y=1#z", "ü %"])
def test_a_model_path_leads_back_to_the_model(name):
    path, _, search = routing.model_path(name, name).partition("?")
    route = routing.match(path, search)
    assert route is not None
    assert (route.item, route.one("version")) == (name, name)
