"""Destinations from settings: all faults at once, none of them quoting a secret."""

import pytest
from pydantic import SecretStr

from monitor.config import SlackSettings, WebhookSettings
from monitor.delivery.destinations import build_destinations
from monitor.delivery.slack import Slack
from monitor.delivery.webhook import Webhook
from monitor.errors import SettingsError

SLACK_URL = "https://hooks.slack.com/services/T000/B000/abcdefgh0123"


def test_each_setting_becomes_its_kind_of_destination() -> None:
    built = build_destinations(
        [
            WebhookSettings(type="webhook", name="hook", url="https://hooks.example/x"),
            SlackSettings(type="slack", name="chat", url=SecretStr(SLACK_URL)),
        ],
        None,
    )
    assert isinstance(built["hook"], Webhook)
    assert isinstance(built["chat"], Slack)


def test_every_fault_is_reported_and_no_secret_with_it() -> None:
    with pytest.raises(SettingsError) as raised:
        build_destinations(
            [
                WebhookSettings(type="webhook", name="plain", url="http://hooks.example/x"),
                WebhookSettings(
                    type="webhook", name="key", url="https://hooks.example", secret=SecretStr("whsec_hush")
                ),
                SlackSettings(type="slack", name="chat", url=SecretStr(SLACK_URL.replace("https", "gopher"))),
            ],
            None,
        )
    faults = raised.value.faults
    assert [fault.split(":")[0] for fault in faults] == [
        "destinations.plain.url",
        "destinations.key.secret",
        "destinations.chat.url",
    ]
    assert "hush" not in str(raised.value)
    assert "abcdefgh0123" not in str(raised.value)


def test_http_and_private_addresses_need_to_be_allowed_by_name() -> None:
    settings = WebhookSettings(type="webhook", name="lab", url="http://10.0.0.5/x", allow_http=True)
    assert list(build_destinations([settings], None)) == ["lab"]
