"""Slack messages: inside Slack's limits whatever comes, and without markup of strangers."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from detectors.base import Subject, SubjectType
from monitor.alerting import book
from monitor.alerting.incident import Change
from monitor.config import SlackSettings
from monitor.delivery.base import DeliveryOutcome, Notification
from monitor.delivery.destinations import build_destination
from monitor.delivery.receiver import Answer, WebhookReceiver
from monitor.delivery.slack import escape, message

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LINK = "https://vedette.example/alerts/abc"


def texts(value: Any) -> list[str]:
    """Every text of a message, wherever it is."""
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in texts(item) if key not in ("type",)]
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    return [value] if isinstance(value, str) else []


def test_a_message_says_who_what_why_and_where(change: Change) -> None:
    sent = message(Notification("d1", change), LINK)
    header, reason, facts, link = sent["blocks"]
    assert header["text"]["text"] == "🔴 Client acme-7 may be stealing fraud-scorer"
    assert reason["text"]["text"] == "acme-7 asks where classes meet, é"
    fields = dict(field["text"].split("\n", 1) for field in facts["fields"])
    assert fields["Model"] == "fraud-scorer 3"
    assert fields["Effect"] == "3 queries a minute"
    assert fields["Evidence"] == "10^8.7, alarm at 10^4.8"
    assert fields["Since"] == "2026-01-02T00:00:00Z"
    assert link["elements"][0]["text"] == f"<{LINK}|Open in Vedette>"
    assert sent["text"].startswith("🔴 Client acme-7 may be stealing fraud-scorer: acme-7 asks")


def test_without_a_public_address_there_is_no_link(change: Change) -> None:
    assert [block["type"] for block in message(Notification("d1", change), None)["blocks"]] == [
        "header",
        "section",
        "section",
    ]


def test_a_resolve_looks_resolved_and_says_by_whom(change: Change) -> None:
    closed = book.resolve(change.incident, "ann", "known partner")
    sent = message(Notification("d1", closed), None)
    assert sent["blocks"][0]["text"]["text"].startswith("✅")
    assert sent["blocks"][1]["text"]["text"] == "Resolved by ann: known partner"


@pytest.mark.parametrize("hostile", ["<!channel>", "<https://evil.example|click>", "<@U123>", "a & b <c> \x00"])
def test_nothing_from_outside_is_markup(hostile: str, change: Change) -> None:
    subject = Subject(SubjectType.CLIENT, hostile)
    incident = replace(change.incident, subject=subject, title=hostile, model=hostile, effect_unit=hostile)
    detail = {**change.transition.detail, "reason": hostile}
    spoiled = Change(incident, replace(change.transition, detail=detail))
    sent = message(Notification("d1", spoiled), LINK)
    link = sent["blocks"].pop()
    for text in texts(sent):
        assert "<" not in text
        assert ">" not in text
    assert link["elements"][0]["text"].count("<") == 1
    assert {element["type"] for element in _elements(sent)} == {"plain_text"}
    assert sent["mrkdwn"] is False


def test_limits_hold_for_the_longest_of_everything(change: Change) -> None:
    long = "&" * 50_000
    incident = replace(
        change.incident,
        title=long,
        model=long,
        version=long,
        subject=Subject(SubjectType.CLIENT, long),
        effect_unit=long,
    )
    detail = {**change.transition.detail, "reason": long, "onset": long}
    sent = message(Notification("d1", Change(incident, replace(change.transition, detail=detail))), LINK + "x" * 9_000)
    header, reason, facts, link = sent["blocks"]
    assert len(header["text"]["text"]) <= 150
    assert len(reason["text"]["text"]) <= 3_000
    assert len(facts["fields"]) <= 10
    assert all(len(field["text"]) <= 2_000 for field in facts["fields"])
    assert len(link["elements"][0]["text"]) <= 3_100
    assert len(json.dumps(sent, ensure_ascii=False)) <= 12_000


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=80), st.integers(1, 60))
def test_escaped_text_is_short_enough_and_cut_between_characters(text: str, longest: int) -> None:
    escaped = escape(text, longest)
    assert len(escaped) <= longest
    plain = escaped.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    whole = text.replace("\x00", "")
    assert plain == whole or (plain.endswith("…") and whole.startswith(plain[:-1]))


def test_slack_hears_the_message_and_its_refusals_are_understood(receiver: WebhookReceiver, change: Change) -> None:
    settings = SlackSettings(
        type="slack", name="oncall", url=SecretStr(receiver.url), allow_http=True, allow_private_addresses=True
    )
    slack = build_destination(settings, "https://vedette.example")
    receiver.answer_next(
        Answer(200, {}, b"ok"),
        Answer(429, {"Retry-After": "30"}, b"rate_limited"),
        Answer(404, {}, b"no_service"),
        Answer(503),
    )
    receipts = [slack.send(Notification("d1", change), NOW) for _ in range(4)]
    assert [receipt.outcome for receipt in receipts] == [
        DeliveryOutcome.DELIVERED,
        DeliveryOutcome.RETRY,
        DeliveryOutcome.PERMANENT,
        DeliveryOutcome.RETRY,
    ]
    assert receipts[1].retry_after_s == 30
    assert receipts[2].answer == "no_service"
    posted = json.loads(receiver.posted[0].body)
    assert posted["blocks"][-1]["elements"][0]["text"].startswith("<https://vedette.example/alerts/")


def _elements(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        own = [value] if isinstance(value.get("text"), str) and "type" in value else []
        return own + [found for item in value.values() for found in _elements(item)]
    return [found for item in value for found in _elements(item)] if isinstance(value, list) else []
