"""Metrics and logs of the service."""

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from monitor.errors import DeadLetterReason, TransientError
from monitor.queries import OverviewRow
from monitor.telemetry import Metrics, configure_logging, redact_text

SECRETS = ("hunter2", "T000/B000/XXXX", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "abc.def")
TELLING = (
    "postgresql://vedette:hunter2@db/x failed; posted to https://hooks.slack.com/services/T000/B000/XXXX "
    "signed with whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw as Authorization: Bearer abc.def"
)


def overview() -> OverviewRow:
    return OverviewRow({"critical": 2}, 1, 10, 1, 0, deliveries_owed=3, deliveries_dead=0, last_commit_at=None)


class TestMetrics:
    def test_two_in_one_process_do_not_meet(self) -> None:
        first, second = Metrics(), Metrics()
        first.events.inc(3)
        assert first.registry.get_sample_value("vedette_events_total") == 3
        assert second.registry.get_sample_value("vedette_events_total") == 0

    def test_every_name_has_the_prefix_and_every_family_a_help(self) -> None:
        metrics = Metrics()
        metrics.observe_overview(overview)
        metrics.set_lag("logs", 0, 5)
        for family in text_string_to_metric_families(generate_latest(metrics.registry).decode()):
            assert family.name.startswith("vedette_")
            assert family.documentation

    def test_every_reason_of_a_dead_letter_starts_at_zero(self) -> None:
        registry = Metrics().registry
        values = [
            registry.get_sample_value("vedette_dead_letters_total", {"reason": r.value}) for r in DeadLetterReason
        ]
        assert values == [0.0] * len(DeadLetterReason)

    def test_open_alerts_are_read_at_each_scrape(self) -> None:
        metrics = Metrics()
        rows = iter([overview()])
        metrics.observe_overview(lambda: next(rows))
        assert metrics.registry.get_sample_value("vedette_alerts_open", {"severity": "critical"}) == 2

    def test_a_database_that_is_away_does_not_fail_the_scrape(self) -> None:
        def away() -> OverviewRow:
            raise TransientError("away")

        metrics = Metrics()
        metrics.observe_overview(away)
        with structlog.testing.capture_logs() as logs:
            text = generate_latest(metrics.registry).decode()
        assert "vedette_events_total" in text
        assert "vedette_alerts_open" not in text
        assert [line["cause"] for line in logs] == ["away"]

    def test_the_lag_of_a_partition_that_moved_is_forgotten(self) -> None:
        metrics = Metrics()
        metrics.set_lag("logs", 1, 7)
        labels = {"topic": "logs", "partition": "1"}
        assert metrics.registry.get_sample_value("vedette_consumer_lag_records", labels) == 7
        metrics.forget_lag("logs", 1)
        metrics.forget_lag("logs", 1)
        assert metrics.registry.get_sample_value("vedette_consumer_lag_records", labels) is None


@pytest.fixture
def stderr(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """What was logged so far; the logging set-up of the tests comes back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield lambda: capsys.readouterr().err
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


class TestLogs:
    def test_json_lines_carry_context_of_ours_and_of_libraries(self, stderr: Callable[[], str]) -> None:
        configure_logging("json")
        with structlog.contextvars.bound_contextvars(partition=3):
            structlog.get_logger("monitor.worker").info("committed", n_events=5)
            logging.getLogger("uvicorn.error").warning("careful with %s", "this")
        ours, theirs = [json.loads(line) for line in stderr().splitlines()]
        assert (ours["event"], ours["n_events"], ours["partition"], ours["level"]) == ("committed", 5, 3, "info")
        assert (theirs["event"], theirs["partition"], theirs["logger"]) == ("careful with this", 3, "uvicorn.error")
        assert ours["timestamp"].endswith("Z")

    @pytest.mark.parametrize("log_format", ["json", "console"])
    def test_secrets_are_masked_wherever_they_stand(self, stderr: Callable[[], str], log_format: Any) -> None:
        configure_logging(log_format)
        log = structlog.get_logger("x")
        log.warning(TELLING, cause=TELLING, parts=[TELLING], inner={"password": "hunter2", "web": {"token": "abc.def"}})
        try:
            raise RuntimeError(TELLING)
        except RuntimeError:
            log.exception("failed")
            logging.getLogger("kafka").exception("failed")
        text = stderr()
        assert text.count("RuntimeError") >= 2
        assert [secret for secret in SECRETS if secret in text] == []

    def test_text_without_secrets_stays_as_it_is(self) -> None:
        for text in ("at http://host:8050/path", "a token of thanks", "12:30 mail a@b", "postgresql://db/x"):
            assert redact_text(text) == text

    def test_the_chatter_of_libraries_is_left_out(self, stderr: Callable[[], str]) -> None:
        configure_logging("json")
        logging.getLogger("httpx").info("HTTP Request: POST https://example.org/secret-path")
        assert stderr() == ""
