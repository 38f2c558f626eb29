from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from detectors.base import Kind, Level, Reading, Subject, SubjectType
from monitor.alerting import book
from monitor.alerting.book import BookPolicy
from monitor.alerting.incident import Change, PaneRef
from monitor.delivery.receiver import WebhookReceiver
from monitor.storage.engine import create_engine


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """An engine on a migrated, empty database of the test's own."""
    engine = create_engine(database_url, role="test")
    yield engine
    engine.dispose()


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as running:
        yield running


@pytest.fixture
def change() -> Change:
    """A thief has been found."""
    reading = Reading(
        detector="clients",
        kind=Kind.EXTRACTION,
        subject=Subject(SubjectType.CLIENT, "acme-7", ("acme-7",)),
        level=Level.ALARM,
        log_evidence=20.0,
        log_threshold=11.0,
        effect=3.0,
        effect_unit="queries a minute",
        minimum_effect=1.0,
        since=1_767_312_000.0,
        reason="acme-7 asks where classes meet, é",
        detail={"queries": 1_200},
    )
    pane = PaneRef("fraud-scorer", "3", 1_767_312_050, 10)
    outcome = book.apply(None, reading, pane, BookPolicy(), datetime(2026, 1, 2, tzinfo=UTC))
    assert outcome.incident is not None
    return Change(outcome.incident, outcome.transitions[0])
