"""The alarm budget of a model version as an account: what it allows, what was spent, and by which detector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import html

from dashboard import routing, words
from dashboard.components import badges, panels
from monitor.queries import BudgetRow, DetectorLedgerRow, LedgerRow

LEAST_WATCHED_S = 86_400.0
"""Less than a day of watched traffic says nothing about a week."""
TOO_LITTLE_WATCHED = "too little was watched to tell a rate"


def panel(budget: BudgetRow) -> Any:
    """Both periods side by side, what they come to in words, and the parts of the detectors."""
    week, month = budget.last_week, budget.last_4_weeks
    head = ("", "Last week", "Last 4 weeks")
    account = panels.table(head, _account(week, month), "Alarm budget, allowed and spent", (1, 2))
    aside = f"{words.number(budget.alarms_per_week)} false {_alarms(budget.alarms_per_week)} a week"
    return panels.panel(
        "Alarm budget",
        [account, _spent(month), _said(budget), _waiting(budget), _detectors(month)],
        aside,
        "ledger",
    )


def standing(row: LedgerRow, alarms_per_week: float) -> str:
    """What a period's account comes to, in one sentence."""
    low, high = row.false_alarms_per_week_low, row.false_alarms_per_week_high
    if low is None or high is None:
        return "No traffic was judged against a reference in these four weeks, so nothing was allowed or spent."
    if row.watched_s < LEAST_WATCHED_S:
        return f"Only {words.duration(row.watched_s)} of traffic were watched: too little to tell a rate."
    limits = f"between {_rough(low)} and {_rough(high)} a week"
    if low > alarms_per_week:
        return f"Over budget, and not by chance: the true rate is {limits} (95 %)."
    if row.false_alarms > row.allowed:
        return f"More than allowed, but chance alone can do that: the true rate is {limits} (95 %)."
    return f"Within budget. The true rate is {limits} (95 %)."


def spent_share(row: LedgerRow) -> float:
    """How much of what is allowed is spent: 1 is all of it; full where anything is spent and nothing was allowed."""
    if row.allowed <= 0:
        return 1.0 if row.false_alarms else 0.0
    return row.false_alarms / row.allowed


def _account(week: LedgerRow, month: LedgerRow) -> list[tuple[Any, Any, Any]]:
    return [
        ("Watched", words.duration(week.watched_s), words.duration(month.watched_s)),
        ("Allowed", words.number(week.allowed), words.number(month.allowed)),
        (html.Strong("Marked false"), _strong(week.false_alarms), _strong(month.false_alarms)),
        ("False per week", _rate(week), _rate(month)),
        ("Marked real", words.count(week.real), words.count(month.real)),
        ("Not judged", words.count(week.unmarked), words.count(month.unmarked)),
    ]


def _strong(number: int) -> html.Strong:
    return html.Strong(words.count(number))


def _rate(row: LedgerRow) -> Any:
    rate, low, high = row.false_alarms_per_week, row.false_alarms_per_week_low, row.false_alarms_per_week_high
    if rate is None or low is None or high is None or row.watched_s < LEAST_WATCHED_S:
        return html.Span("–", title=TOO_LITTLE_WATCHED)
    limits = f"{_rough(low)} – {_rough(high)}"
    shown = [html.Div(_rough(rate)), html.Div(limits, className="dim small")]
    return html.Div(shown, title="the rate that was seen, and the limits that hold the true one 95 % of the time")


def _spent(month: LedgerRow) -> html.Div:
    share = spent_share(month)
    said = f"{words.count(month.false_alarms)} of {words.number(month.allowed)} spent"
    line = html.Div([html.Span("Budget of 4 weeks", className="dim"), html.Strong(said)], className="spent")
    return html.Div([line, panels.meter(share, _tone(month))])


def _rough(value: float) -> str:
    """Two figures: a handful of alarms tells no more."""
    return words.number(float(f"{value:.2g}"))


def _said(budget: BudgetRow) -> html.P:
    return html.P(standing(budget.last_4_weeks, budget.alarms_per_week))


def _waiting(budget: BudgetRow) -> Any:
    """Alerts nobody has judged: until then the account may flatter."""
    month = budget.last_4_weeks
    if not month.unmarked:
        return None
    where = routing.alerts_path(status="all", model=budget.model, verdict="none")
    link = panels.link(words.plural(month.unmarked, "alert"), where)
    rest = (
        f" of these four weeks {'is' if month.unmarked == 1 else 'are'} not judged yet. Say on each one's page "
        f"whether it was right. If none was, {words.count(month.false_alarms + month.unmarked)} are spent."
    )
    return html.P([link, rest], className="dim")


def _detectors(month: LedgerRow) -> Any:
    if not month.detectors:
        return None
    rows = [_detector(row) for row in month.detectors]
    head = ("Detector", "Share", "Alerts", "False")
    said = html.H3("By detector, last 4 weeks")
    return html.Div([said, panels.table(head, rows, "Alarm budget by detector", (1, 2, 3))], className="by-detector")


def _detector(row: DetectorLedgerRow) -> Sequence[Any]:
    shared = row.share > 0
    gone = "raised alerts, and has no share of the budget now"
    return (
        html.Span(badges.detector_words(row.detector), title="" if shared else gone),
        html.Span(words.percent(row.share), title=f"{words.number(row.allowed)} allowed") if shared else "–",
        words.count(row.alerts),
        html.Strong(words.count(row.false_alarms)) if row.false_alarms else "0",
    )


def _alarms(rate: float) -> str:
    return "alarm" if rate == 1 else "alarms"


def _tone(row: LedgerRow) -> str:
    return "warning" if row.false_alarms > row.allowed else "current"
