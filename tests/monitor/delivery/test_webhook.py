"""The webhook on the wire, read by somebody else's implementation of Standard Webhooks."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook as Reader
from standardwebhooks.webhooks import WebhookVerificationError

from monitor.alerting.incident import Change
from monitor.alerting.public import transition_line
from monitor.config import WebhookSettings
from monitor.delivery.base import DeliveryOutcome, Destination, Notification
from monitor.delivery.destinations import build_destination
from monitor.delivery.receiver import WebhookReceiver
from monitor.delivery.webhook import key_of

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def webhook(receiver: WebhookReceiver, secret: str | None = SECRET, public_url: str | None = None) -> Destination:
    settings = WebhookSettings(
        type="webhook",
        name="hook",
        url=receiver.url,
        secret=SecretStr(secret) if secret else None,
        allow_http=True,
        allow_private_addresses=True,
    )
    return build_destination(settings, public_url)


def now() -> datetime:
    """The independent reader compares with the wall clock."""
    return datetime.now(UTC)


def test_an_independent_reader_verifies_the_signature(receiver: WebhookReceiver, change: Change) -> None:
    receipt = webhook(receiver).send(Notification("msg1", change), now())
    assert (receipt.outcome, receipt.status_code) == (DeliveryOutcome.DELIVERED, 204)
    (posted,) = receiver.posted
    verified = Reader(SECRET).verify(posted.body, dict(posted.headers))
    assert verified["alert_id"] == change.incident.id


@pytest.mark.parametrize("spoiled", ["body", "webhook-id", "webhook-timestamp", "secret"])
def test_whatever_is_changed_breaks_the_signature(spoiled: str, receiver: WebhookReceiver, change: Change) -> None:
    webhook(receiver).send(Notification("msg1", change), now())
    (posted,) = receiver.posted
    headers, body, secret = dict(posted.headers), posted.body, SECRET
    if spoiled == "body":
        body = body.replace(b"critical", b"info")
    elif spoiled == "secret":
        secret = "whsec_" + base64.b64encode(b"another secret of 32 bytes......").decode()
    else:
        headers[spoiled] = str(int(posted.headers["webhook-timestamp"]) + 1)
    with pytest.raises(WebhookVerificationError):
        Reader(secret).verify(body, headers)


def test_the_body_is_the_public_line_with_title_summary_and_link(receiver: WebhookReceiver, change: Change) -> None:
    webhook(receiver, public_url="https://vedette.example/").send(Notification("msg1", change), now())
    (posted,) = receiver.posted
    assert posted.headers["content-type"] == "application/json"
    assert json.loads(posted.body) == {
        **transition_line(change),
        "title": "Client acme-7 may be stealing fraud-scorer",
        "summary": "acme-7 asks where classes meet, é",
        "link": f"https://vedette.example/alerts/{change.incident.id}",
    }


def test_a_body_stays_under_20_kb_and_says_what_it_left_out(receiver: WebhookReceiver, change: Change) -> None:
    bins = {name: [f"{name} é {i}" * 10 for i in range(24)] for name in ("labels", "reference", "current")}
    columns = [{"name": f"c{i}", **bins} for i in range(8)]
    evidence = {**change.transition.detail, "detail": {"n_events": 9, "columns": columns}}
    long = Change(change.incident, replace(change.transition, detail=evidence))
    webhook(receiver).send(Notification("msg1", long), now())
    (posted,) = receiver.posted
    assert len(posted.body) <= 20_000
    shown = json.loads(posted.body)["evidence"]["detail"]
    assert shown == {"n_events": 9, "columns": [{"name": f"c{i}"} for i in range(8)], "truncated": True}


def test_a_repeat_has_the_same_id_and_body_and_its_own_timestamp(receiver: WebhookReceiver, change: Change) -> None:
    hook, first = webhook(receiver), now()
    hook.send(Notification("msg1", change), first)
    hook.send(Notification("msg1", change), first + timedelta(seconds=90))
    one, two = receiver.posted
    assert one.headers["webhook-id"] == two.headers["webhook-id"] == "msg1"
    assert one.body == two.body
    assert int(two.headers["webhook-timestamp"]) - int(one.headers["webhook-timestamp"]) == 90
    Reader(SECRET).verify(two.body, dict(two.headers))


def test_without_a_secret_nothing_is_signed(receiver: WebhookReceiver, change: Change) -> None:
    webhook(receiver, secret=None).send(Notification("msg1", change), now())
    (posted,) = receiver.posted
    assert "webhook-signature" not in posted.headers
    assert posted.headers["webhook-id"] == "msg1"


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_not base64",
        base64.b64encode(bytes(32)).decode(),
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
    ],
)
def test_a_key_is_24_to_64_bytes_behind_the_prefix(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_ and the base64") as raised:
        key_of(secret)
    assert secret.removeprefix("whsec_") == "" or secret.removeprefix("whsec_") not in str(raised.value)
