"""The ledger says in words what its numbers come to, and no more than they bear."""

from __future__ import annotations

import dataclasses
import json

import pytest
from plotly.utils import PlotlyJSONEncoder

from dashboard.components import ledger


def text(component) -> str:
    return json.dumps(component, cls=PlotlyJSONEncoder, ensure_ascii=False)


@pytest.fixture
def budget(rich):
    return rich.budget("churn", "3")


def account(budget, **month):
    return dataclasses.replace(budget, last_4_weeks=dataclasses.replace(budget.last_4_weeks, **month))


@pytest.mark.parametrize(
    ("false", "low", "high", "said"),
    [
        (2, 0.07, 2.1, "Within budget. The true rate is between 0.07 and 2.1 a week (95 %)."),
        (4, 0.3, 3.0, "More than allowed, but chance alone can do that"),
        (21, 3.8, 9.4, "Over budget, and not by chance"),
        (0, None, None, "nothing was allowed or spent"),
    ],
)
def test_what_is_said_depends_on_what_the_interval_bears(budget, false, low, high, said):
    row = account(
        budget, false_alarms=false, allowed=3.4, false_alarms_per_week_low=low, false_alarms_per_week_high=high
    ).last_4_weeks
    assert said in ledger.standing(row, 1.0)


@pytest.mark.parametrize(("false", "allowed", "share"), [(1, 4.0, 0.25), (8, 4.0, 2.0), (0, 0.0, 0.0), (1, 0.0, 1.0)])
def test_the_part_spent_is_of_what_is_allowed(budget, false, allowed, share):
    assert ledger.spent_share(account(budget, false_alarms=false, allowed=allowed).last_4_weeks) == share


def test_an_hour_says_nothing_about_a_week(budget):
    early = account(budget, watched_s=3_600.0, allowed=0.006, false_alarms=1, false_alarms_per_week_low=4.2)
    assert ledger.standing(early.last_4_weeks, 1.0).startswith("Only 1 h of traffic were watched")
    shown = text(ledger.panel(early))
    assert "1 of 0.006 spent" in shown
    assert ledger.TOO_LITTLE_WATCHED in shown


def test_alerts_that_nobody_judged_are_named_with_what_they_could_come_to(budget):
    shown = text(ledger.panel(account(budget, unmarked=1, false_alarms=2)))
    assert "1 alert" in shown
    assert "is not judged yet" in shown
    assert "If none was, 3 are spent" in shown
    assert "judged yet" not in text(ledger.panel(account(budget, unmarked=0)))


def test_each_detector_has_its_share_its_alerts_and_its_false_ones(budget):
    shown = text(ledger.panel(budget))
    for words in ("Drift", "Model theft", "Out of distribution", "Performance", "Data quality", "40 %", "5 %"):
        assert words in shown
    assert "has no share of the budget now" in shown


def test_a_model_that_nothing_watches_has_an_empty_account(budget):
    nothing = {
        "watched_s": 0.0,
        "allowed": 0.0,
        "alerts": 0,
        "false_alarms": 0,
        "real": 0,
        "unmarked": 0,
        "false_alarms_per_week": None,
        "false_alarms_per_week_low": None,
        "false_alarms_per_week_high": None,
        "detectors": (),
    }
    shown = text(ledger.panel(account(budget, **nothing)))
    assert "No traffic was judged" in shown
    assert "By detector" not in shown


def test_a_hostile_detector_s_name_is_cleaned(budget, fakes):
    line = dataclasses.replace(budget.last_4_weeks.detectors[0], detector=f"a\x00{fakes.BACKWARDS}{fakes.LONG}")
    shown = text(ledger.panel(account(budget, detectors=[line])))
    assert fakes.LONG not in shown
    assert "\\u0000" not in shown
