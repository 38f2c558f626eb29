"""One guarded POST against real sockets: what each answer means, and what never gets out or in."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime

import pytest

from monitor.delivery.address_guard import Reach
from monitor.delivery.base import DeliveryOutcome
from monitor.delivery.post import Poster, checked_url, outcome_of, retry_after_s, url_secrets
from monitor.delivery.receiver import Answer, Stall, WebhookReceiver
from monitor.errors import SettingsError

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def poster(url: str, *secrets: str, timeout_s: float = 5.0) -> Poster:
    return Poster(url, Reach.ANYWHERE, secrets, timeout_s)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "delivered"),
        (202, "delivered"),
        (204, "delivered"),
        (301, "retry"),
        (307, "retry"),
        (400, "permanent"),
        (401, "permanent"),
        (404, "permanent"),
        (408, "retry"),
        (410, "permanent"),
        (422, "permanent"),
        (425, "retry"),
        (429, "retry"),
        (500, "retry"),
        (502, "retry"),
        (504, "retry"),
    ],
)
def test_only_2xx_is_delivered(status: int, outcome: str, receiver: WebhookReceiver) -> None:
    receiver.answer_next(Answer(status))
    receipt = poster(receiver.url).post({}, b"{}", NOW)
    assert (receipt.outcome.value, receipt.status_code) == (outcome, status)
    assert outcome_of(status).value == outcome


def test_redirects_are_not_followed(receiver: WebhookReceiver) -> None:
    receiver.answer_next(Answer(302, {"Location": receiver.url + "/elsewhere"}))
    assert poster(receiver.url).post({}, b"{}", NOW).outcome is DeliveryOutcome.RETRY
    assert [posted.path for posted in receiver.posted] == ["/hook"]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30.0),
        (" 0 ", 0.0),
        ("Fri, 02 Jan 2026 00:01:00 GMT", 60.0),
        ("Thu, 01 Jan 2026 00:00:00 GMT", 0.0),
        ("", None),
        ("-5", None),
        ("soon", None),
        ("９", None),
        ("9" * 400, 999_999_999.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert retry_after_s(value, NOW) == seconds


def test_retry_after_reaches_the_receipt_of_a_failure_only(receiver: WebhookReceiver) -> None:
    receiver.answer_next(Answer(429, {"Retry-After": "30"}), Answer(200, {"Retry-After": "30"}))
    assert poster(receiver.url).post({}, b"{}", NOW).retry_after_s == 30.0
    assert poster(receiver.url).post({}, b"{}", NOW).retry_after_s is None


def test_a_receiver_that_never_answers_is_left_in_time(receiver: WebhookReceiver) -> None:
    receiver.answer_next(Stall())
    started = time.monotonic()
    receipt = poster(receiver.url, timeout_s=0.2).post({}, b"{}", NOW)
    assert (receipt.outcome, receipt.answer) == (DeliveryOutcome.RETRY, "the receiver did not answer in time")
    assert time.monotonic() - started < 5


def test_a_slow_drip_does_not_outlive_the_deadline() -> None:
    """Each byte comes well within any per-read limit; the whole never ends."""
    with _dripping() as port:
        started = time.monotonic()
        receipt = poster(f"http://127.0.0.1:{port}/", timeout_s=0.5).post({}, b"{}", NOW)
    assert receipt.outcome is DeliveryOutcome.RETRY
    assert 0.3 < time.monotonic() - started < 5


def test_a_status_stands_although_the_body_breaks_off() -> None:
    with _saying(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf") as port:
        receipt = poster(f"http://127.0.0.1:{port}/").post({}, b"{}", NOW)
    assert (receipt.outcome, receipt.status_code) == (DeliveryOutcome.DELIVERED, 200)


@pytest.mark.parametrize("words", [b"", b"220 smtp.example ready\r\n", b"HTTP/1.1 abc\r\n\r\n"])
def test_what_is_no_http_is_tried_again(words: bytes) -> None:
    with _saying(words) as port:
        receipt = poster(f"http://127.0.0.1:{port}/").post({}, b"{}", NOW)
    assert receipt.outcome is DeliveryOutcome.RETRY
    assert receipt.answer


def test_nobody_listening_is_tried_again() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    receipt = poster(f"http://127.0.0.1:{port}/").post({}, b"{}", NOW)
    assert (receipt.outcome, receipt.answer) == (DeliveryOutcome.RETRY, "the receiver cannot be reached")


def test_an_unknown_name_is_tried_again() -> None:
    def resolve(host: str, port: int) -> list[str]:
        raise socket.gaierror("unknown")

    receipt = Poster("https://nowhere.invalid/", Reach.PUBLIC, resolve=resolve).post({}, b"{}", NOW)
    assert (receipt.outcome, receipt.answer) == (DeliveryOutcome.RETRY, "the receiver's name cannot be resolved")


def test_an_untrusted_certificate_is_refused() -> None:
    """Plain bytes where TLS is wanted: the handshake fails and nothing is sent in the clear."""
    with _saying(b"HTTP/1.1 200 OK\r\n\r\n") as port:
        receipt = poster(f"https://127.0.0.1:{port}/").post({}, b"secret", NOW)
    assert receipt.outcome is DeliveryOutcome.RETRY
    assert receipt.answer.startswith("TLS failed")


def test_an_endless_answer_is_cut_at_1_kib(receiver: WebhookReceiver) -> None:
    receiver.answer_next(Answer(500, {}, b"x" * 3_000_000))
    assert poster(receiver.url).post({}, b"{}", NOW).answer == "x" * 1_024


def test_answers_in_any_encoding_are_text(receiver: WebhookReceiver) -> None:
    receiver.answer_next(Answer(500, {"Content-Encoding": "gzip"}, b"\xff\x00\xfe"))
    assert poster(receiver.url).post({}, b"{}", NOW).answer == "�\x00�"


@pytest.mark.parametrize(
    "echo",
    [
        "you posted to https://hooks.slack.com/services/T000/B000/abcdefgh0123 with whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2Vj",
        "token abcdefgh0123 is revoked",
        "x" * 2_040 + "abcdefgh0123",
        "x" * 1_015 + "abcdefgh0123" + "y" * 2_000,
    ],
)
def test_an_echoed_secret_never_reaches_the_receipt(echo: str, receiver: WebhookReceiver) -> None:
    url = "https://hooks.slack.com/services/T000/B000/abcdefgh0123"
    secret = "c2VjcmV0c2VjcmV0c2VjcmV0c2Vj"
    receiver.answer_next(Answer(403, {}, echo.encode()))
    receipt = poster(receiver.url, *url_secrets(url), secret).post({}, b"{}", NOW)
    assert "abcdefg" not in receipt.answer
    assert secret not in receipt.answer


def test_nothing_shows_the_url_or_the_secrets_of_a_poster() -> None:
    text = repr(poster("https://hooks.slack.com/services/T/B/abcdefgh0123", "topsecret"))
    assert "abcdefgh0123" not in text
    assert "topsecret" not in text


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://hooks.example/abcdefgh0123", "allow_http"),
        ("ftp://hooks.example/abcdefgh0123", "must start with https://"),
        ("file:///etc/abcdefgh0123", "must start with https://"),
        ("https://ann:abcdefgh0123@hooks.example/", "user name or password"),
        ("https://@hooks.example/abcdefgh0123", "user name or password"),
        ("https:///abcdefgh0123", "needs a host"),
        ("https://hooks.example/abcdefgh0123 b", "without spaces"),
        ("https://hooks.example:99999/abcdefgh0123", "not a URL"),
        ("https://[::1/abcdefgh0123", "not a URL"),
        ("https://hooks.exämple/abcdefgh0123", "ASCII"),
    ],
)
def test_urls_that_cannot_be_used_are_named_without_being_quoted(url: str, fault: str) -> None:
    with pytest.raises(SettingsError, match=fault) as raised:
        checked_url(url, frozenset({"https"}), "oncall")
    assert "destinations.oncall.url" in str(raised.value)
    assert "abcdefgh0123" not in str(raised.value)


@contextmanager
def _saying(words: bytes) -> Iterator[int]:
    """A server that answers one connection with ``words`` and hangs up."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        server.settimeout(10)

        def serve() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):  # who has heard enough hangs up
                connection.settimeout(10)
                connection.recv(65_536)
                connection.sendall(words)
                connection.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join(10)


@contextmanager
def _dripping() -> Iterator[int]:
    """A server that sends one header byte after another until the other side hangs up."""
    done = threading.Event()
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        server.settimeout(10)

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not done.wait(0.02):
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        done.set()
        thread.join(10)
