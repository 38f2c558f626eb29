"""Pages show what the read side holds, and say so when it holds nothing."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta

import pytest
from dash import no_update
from plotly.utils import PlotlyJSONEncoder

from dashboard import live, routing, shell
from dashboard.pages import alert, alerts, model, overview
from dashboard.theme import Scheme
from monitor.queries import AlertFilter

TICK = live.Tick(Scheme.LIGHT, "http://127.0.0.1:8050")


def text(component) -> str:
    """A component as JSON, to search it."""
    return json.dumps(component, cls=PlotlyJSONEncoder, ensure_ascii=False)


def test_the_overview_of_an_empty_system_tells_how_to_send_the_first_event(empty, now):
    shown = text(overview.render(empty, TICK, now))
    assert "Waiting for the first event" in shown
    assert "curl -X POST http://127.0.0.1:8050/api/v1/events" in shown


def test_the_overview_counts_and_lists(rich, now):
    parts = overview.render(rich, TICK, now)
    assert "26.2M" in text(parts["overview-tiles"])
    assert "2 critical" in text(parts["overview-tiles"])
    assert "key-7731" in text(parts["overview-incidents"])
    assert "48,225 behind" in text(parts["overview-pipeline"])


def test_an_overview_without_alerts_says_all_good(rich, now):
    rich.alert_rows = []
    assert "All good" in text(overview.render(rich, TICK, now)["overview-incidents"])


def test_incidents_are_ordered_by_urgency(rich):
    unresolved = [row for row in rich.alert_rows if row.status != "resolved"]
    assert [row.id for row in overview.by_urgency(unresolved)] == [
        "b2e4theft",
        "a1f3c5d7e9drift",
        "f6quality",
        "g7performance",
        "e5pipeline",
        "d4hostile",
        "c3ood",
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((None, None, None, None, None), AlertFilter(status=("open", "acknowledged"))),
        (
            ("all", ["critical", "bogus"], ["drift", "x"], ["m"], "  s "),
            AlertFilter(("m",), ("drift",), (), ("critical",), "s"),
        ),
        (("all", [], [], [], "", "none"), AlertFilter(verdict=("none",))),
        (("all", [], [], [], "", "guilty"), AlertFilter()),
        (("nonsense", [], [], [], "y" * 999), AlertFilter(status=("open", "acknowledged"), search="y" * 200)),
    ],
)
def test_filters_ignore_words_that_are_none_of_theirs(values, expected):
    assert alerts.read_filter(*values) == expected


def test_the_inbox_lists_what_the_filter_says(rich):
    parts = alerts.render(rich, TICK, AlertFilter(kind=("extraction",)))
    assert [row["id"] for row in parts["alerts-grid"]] == ["b2e4theft"]
    assert parts["alerts-count"] == "1 alert, 1 unresolved"


def test_the_inbox_lists_what_nobody_has_judged(rich):
    parts = alerts.render(rich, TICK, AlertFilter(verdict=("none",)))
    listed = {row["id"] for row in parts["alerts-grid"]}
    assert "old00" in listed
    assert not listed & {"old01", "old02", "g7performance"}


def test_the_inbox_tells_nothing_matches_from_all_good_and_from_nothing_yet(rich, empty):
    assert "Nothing matches" in text(alerts.render(rich, TICK, AlertFilter(search="zzz"))["alerts-empty"])
    unresolved = AlertFilter(status=("open", "acknowledged"))
    assert "Waiting for the first event" in text(alerts.render(empty, TICK, unresolved)["alerts-empty"])
    rich.alert_rows = []
    assert "All good" in text(alerts.render(rich, TICK, unresolved)["alerts-empty"])


def test_the_inbox_says_when_it_shows_only_a_part(rich):
    row = rich.alert_rows[0]
    rich.alert_rows = [dataclasses.replace(row, id=f"a{i}") for i in range(alerts.MAX_ROWS + 1)]
    parts = alerts.render(rich, TICK, AlertFilter())
    assert len(parts["alerts-grid"]) == alerts.MAX_ROWS
    assert "newest 1,000" in parts["alerts-count"]


def test_the_address_sets_the_filters():
    route = routing.match(
        "/alerts", "?status=all&severity=critical,info&kind=drift&model=a&model=b&q=income&verdict=none"
    )
    shown = text(alerts.layout(route))
    assert '"value": "income"' in shown
    assert '"value": ["critical", "info"]' in shown
    assert '"value": ["a", "b"]' in shown
    assert '"value": "none"' in shown.replace('{"value": "none"', "")


@pytest.mark.parametrize(
    ("alert_id", "sections"),
    [
        ("a1f3c5d7e9drift", ("What moved", "income", "58 %")),
        ("c3ood", ("How strange the inputs are", "Who sends them", "The strangest events")),
        (
            "c3ood",
            (
                "812 of them are strange one by one",
                "at most 10",
                "region=(new)",
                "logits (12",
                "* from a model of the tail",
            ),
        ),
        ("c3ood", ("contrast is 8.4 sd above the reference", "8.4 sd above", "brightness missing", "tail")),
        (
            "a1f3c5d7e9drift",
            ("Where it comes from", "batch-backfill", "explains 83 %", "region=north", "158 billion : 1"),
        ),
        ("a1f3c5d7e9drift", ("3 of 23 columns confirmed", "0.86 sd", "0.27", "251 million : 1", "at most one in ten")),
        ("f6quality", ("What the checks found", "Missing values", "18.4 %", "48.2 ms", "integer")),
        (
            "g7performance",
            ("How well the model does", "0.776 – 0.828", "1,204", "What labels were predicted as", "93.2 %"),
        ),
        ("b2e4theft", ("What speaks against an honest client", "AML.T0024.002", "A load test", "This client beside")),
    ],
)
def test_an_alert_shows_what_is_behind_it(rich, now, alert_id, sections):
    shown = text(alert.render(rich, TICK, "incident", alert_id, now))
    assert all(section in shown for section in sections)


def test_values_of_strange_events_are_shown_only_where_they_are_kept(rich, now):
    assert "brightness = 91.5" not in text(alert.render(rich, TICK, "incident", "c3ood", now))
    rich.values = {"evt-0f3a9": {"brightness": 91.5, "note": "<script>"}}
    shown = text(alert.render(rich, TICK, "incident", "c3ood", now))
    assert "brightness = 91.5" in shown


def test_an_alert_shows_its_history_and_deliveries(rich, now):
    parts = alert.render(rich, TICK, "incident", "a1f3c5d7e9drift", now)
    assert "evidence passed ten times" in text(parts["alert-history"])
    deliveries = text(parts["alert-deliveries"])
    assert all(word in deliveries for word in ("Delivered", "after 3 attempts", "Given up", "429"))


def test_an_alert_has_only_the_actions_that_make_sense(rich, now):
    every = {"acknowledge", "resolve", "false-alarm", "real", "unmark"}

    def offered(alert_id):
        parts = alert.render(rich, TICK, "incident", alert_id, now)
        marks = {"false-alarm", "real", "unmark"} if parts["alert-marks"] else set()
        return set() if parts["alert-actions"] else {name for name in every - marks if not parts[f"alert-{name}"]}

    assert offered("b2e4theft") == {"acknowledge", "resolve", "false-alarm", "real"}
    assert offered("c3ood") == {"resolve", "false-alarm", "real"}
    assert offered("e5pipeline") == {"acknowledge", "resolve"}
    assert offered("g7performance") == {"acknowledge", "resolve", "false-alarm", "unmark"}
    assert offered("old00") == {"false-alarm", "real"}
    assert offered("old01") == {"real", "unmark"}
    assert offered("no-such-alert") == set()


def test_an_alert_shows_what_a_person_says_it_was(rich, now):
    parts = alert.render(rich, TICK, "incident", "old01", now)
    assert all(said in text(parts["alert-head"]) for said in ("False alarm", "Marked a false alarm by ", "Ines Okafor"))
    assert "Marked false alarm" in text(parts["alert-history"])
    assert "Marked" not in text(alert.render(rich, TICK, "incident", "old00", now)["alert-head"])


def test_the_inbox_says_under_the_state_what_an_alert_was(rich):
    rows = {row["id"]: row["under"] for row in alerts.render(rich, TICK, AlertFilter())["alerts-grid"]}
    assert (rows["old00"], rows["old01"], rows["old02"]) == ("", "false alarm", "real")
    assert rows["c3ood"] == "by Ines Okafor"


def test_evidence_is_that_of_the_alert_s_own_subject(rich, now):
    row = rich.alert("b2e4theft")
    readings = rich.readings(row.model, row.version, now - timedelta(days=1), now)
    own = alert.of_alert(readings, row)
    assert own
    assert {(item.detector, item.subject_id) for item in own} == {("extraction", "key-7731")}


def test_an_alert_that_is_a_fact_has_no_evidence_chart(rich, now):
    parts = alert.render(rich, TICK, "incident", "e5pipeline", now)
    assert parts["alert-chart-box"]
    assert "certain" in text(parts["alert-why"])


def test_an_unknown_alert_says_so(rich, now):
    assert "No such alert" in text(alert.render(rich, TICK, "incident", "no-such-alert", now))


def test_a_model_shows_budget_evidence_and_reference(rich, now):
    params = {"model": "churn", "version": "3"}
    parts = model.render(rich, TICK, "all", params, now)
    assert "1 a week" in text(parts["model-tiles"])
    assert "Model theft" in text(parts["model-budget"])
    assert "6 columns" in text(parts["model-reference"])
    assert "the reference holds no embeddings" in text(parts["model-reference"])
    assert "income has moved a little" in text(parts["model-warnings"])
    traces = {trace.name for trace in parts["model-evidence-figure"].data}
    assert traces == {"drift", "ood", "extraction", "performance", "quality"}


def test_a_model_shows_its_ledger(rich, now):
    parts = model.render(rich, TICK, "all", {"model": "churn", "version": "3"}, now)
    shown = text(parts["model-budget"])
    assert all(label in shown for label in ("Allowed", "Marked false", "False per week", "Not judged", "Data quality"))
    assert "More than allowed, but chance alone can do that" in shown
    assert "2 false, 1 real" in text(parts["model-tiles"])
    rich.budget_rows.clear()
    parts = model.render(rich, TICK, "all", {"model": "churn", "version": "3"}, now)
    assert parts["model-budget"] is None


def test_a_model_without_a_reference_says_how_to_fit_one(rich, now):
    parts = model.render(rich, TICK, "all", {"model": "fraud-embeddings", "version": None}, now)
    assert "vedette reference fit --model fraud-embeddings" in text(parts["model-reference"])


def test_a_hostile_model_name_cannot_leave_the_shell_command(rich, now, fakes):
    rich.model_rows = [dataclasses.replace(rich.model_rows[4], model="x'; rm -rf /; '", reference_id=None)]
    shown = text(model.render(rich, TICK, "all", {"model": "x'; rm -rf /; '", "version": None}, now)["model-reference"])
    assert """--model 'x'\\"'\\"'; rm -rf /; '\\"'\\"''""" in shown


def test_without_a_version_the_one_with_the_latest_event_is_shown(rich, now):
    parts = model.render(rich, TICK, "all", {"model": "credit-risk", "version": None}, now)
    assert parts["model-version.value"] == "2026.03"


def test_an_unknown_model_says_so(rich, now):
    parts = model.render(rich, TICK, "all", {"model": "nope", "version": None}, now)
    assert "No such model" in text(parts["model-head"])


def test_every_part_of_every_page_is_rendered_in_every_state(rich, empty, now, fakes):
    cases = [
        ({"overview-tiles", "overview-incidents", "overview-models", "overview-pipeline"},
         [overview.render(source, TICK, now) for source in (rich, empty)]),
        ({component for component, _ in alert._PARTS},
         [alert.render(rich, TICK, chosen, row.id, now) for row in rich.alert_rows[:5] for chosen in alert.RANGES]
         + [alert.render(empty, TICK, "incident", "x", now)]),
        ({component if component != "model-version" else f"{component}.{prop}" for component, prop in model._PARTS},
         [model.render(rich, TICK, "1h", {"model": row.model, "version": row.version}, now) for row in rich.model_rows]
         + [model.render(rich, TICK, "1h", {"model": row.model, "version": "?"}, now) for row in rich.model_rows]),
    ]  # fmt: skip
    for names, renders in cases:
        for parts in renders:
            missing = {name for name in names if name not in parts and f"{name}.value" not in parts}
            assert not missing
            assert text(parts)


def test_unchanged_parts_are_not_sent_again():
    page = live.Live("p", (("a", "children"), ("b", "children")), lambda _tick, b: {"a": "same", "b": b})
    first = live._answer(page, TICK, {}, ["one"])
    assert first[:2] == ("same", "one")
    second = live._answer(page, TICK, first[-1], ["two"])
    assert second[:2] == (no_update, "two")


def test_an_absent_database_leaves_the_page_and_says_so(rich):
    rich.away = True
    page = live.Live("p", (("a", "children"),), lambda _tick: {"a": rich.overview()})
    part, notice, seen = live._answer(page, TICK, {}, [])
    assert (part, seen) == (no_update, no_update)
    assert "db.internal:5432 does not answer" in text(notice)


def test_a_fault_of_ours_shows_no_inner_detail(caplog):
    page = live.Live("p", (("a", "children"),), lambda _tick: {"a": 1 / 0})
    notice = text(live._answer(page, TICK, {}, [])[1])
    assert "division" not in notice
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("data", [None, 3, {}, {"scheme": "pink", "origin": None}])
def test_an_odd_tick_falls_back_to_defaults(data):
    assert live.read_tick(data).scheme is Scheme.LIGHT


def test_actions_are_carried_out_with_name_and_note(rich):
    assert shell.act(rich, {"action": "acknowledge", "ids": ["b2e4theft"]}, " Ines ", " on it ") is None
    assert shell.act(rich, {"action": "resolve", "ids": ["b2e4theft"]}, "Ines", "") is None
    assert rich.acts == [("acknowledged", "b2e4theft", "Ines", "on it"), ("resolved", "b2e4theft", "Ines", "")]


def test_a_false_alarm_is_marked_and_resolved_in_one_go(rich):
    assert shell.act(rich, {"action": "false_alarm", "ids": ["b2e4theft", "old00"]}, "Ines", "a load test") is None
    assert rich.acts == [
        ("marked_false_alarm", "b2e4theft", "Ines", "a load test"),
        ("resolved", "b2e4theft", "Ines", ""),
        ("marked_false_alarm", "old00", "Ines", "a load test"),
    ]


def test_a_verdict_is_given_and_taken_back(rich):
    for action in ("real", "unmark"):
        assert shell.act(rich, {"action": action, "ids": ["b2e4theft"]}, "Ines", "") is None
    assert [act[0] for act in rich.acts] == ["marked_real", "unmarked"]
    assert rich.alert("b2e4theft").status == "open"


@pytest.mark.parametrize("action", ["", "delete", None, 3])
def test_an_action_that_is_not_known_is_refused(rich, action):
    assert "reload" in shell.act(rich, {"action": action, "ids": ["b2e4theft"]}, "Ines", "")
    assert rich.acts == []


def test_an_action_needs_a_name(rich):
    assert "Say who you are" in shell.act(rich, {"action": "acknowledge", "ids": ["b2e4theft"]}, "  ", "")
    assert rich.acts == []


def test_a_refused_or_lost_action_says_why(rich):
    assert "not open" in shell.act(rich, {"action": "resolve", "ids": ["old00", "b2e4theft"]}, "Ines", "")
    assert [act[1] for act in rich.acts] == ["b2e4theft"]
    rich.away = True
    assert shell.act(rich, {"action": "resolve", "ids": ["c3ood"]}, "Ines", "").startswith("Not saved, try again")
