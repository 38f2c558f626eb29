"""Posting logs: bodies of bounded size, in order, and answers that say what to do."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from monitor.errors import PermanentError, TransientError, VedetteError
from monitor.posting import Posted, post_logs

Answer = tuple[int, bytes]


class Server(HTTPServer):
    """Keeps the bodies it gets, and answers them in turn; the last answer is for all that follow."""

    answers: list[Answer]
    bodies: list[bytes]
    tokens: list[str | None]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(body)
        self.server.tokens.append(self.headers["Authorization"])
        answers = self.server.answers
        status, content = answers.pop(0) if len(answers) > 1 else answers[0]
        content = content or json.dumps({"accepted": body.count(b"\n") + 1, "rejected": []}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        running.answers, running.bodies, running.tokens = [(202, b"")], [], []
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join(10)


@pytest.fixture
def post(server: Server, tmp_path: Path) -> Callable[..., Posted]:
    def post(*values: bytes, url: str = "", token: str | None = None, model: str = "") -> Posted:
        log = tmp_path / "log.ndjson"
        log.write_bytes(b"\n".join(values))
        return post_logs([log], url or f"http://127.0.0.1:{server.server_port}", token, model, lambda _records: None)

    return post


def test_records_are_posted_in_order_by_the_thousand(post, server: Server) -> None:
    values = [b'{"model":"m","i":%d}' % i for i in range(2_500)]
    assert post(*values, token="abc").accepted == 2_500
    assert [body.count(b"\n") + 1 for body in server.bodies] == [1_000, 1_000, 500]
    assert b"\n".join(server.bodies).split(b"\n") == values
    assert set(server.tokens) == {"Bearer abc"}


def test_a_body_stays_below_what_a_server_takes(post, server: Server) -> None:
    wide = b'{"model":"m","x":"%s"}' % (b"x" * (1 << 20))
    assert post(*[wide] * 7).accepted == 7
    assert max(map(len, server.bodies)) <= 4 << 20


def test_events_without_a_model_get_one(post, server: Server) -> None:
    post(b'{"i":1}', model="scorer")
    assert json.loads(server.bodies[0]) == {"i": 1, "model": "scorer"}


def test_what_was_rejected_is_counted_by_reason(post, server: Server) -> None:
    rejected = [{"row": 0, "reason": "wrong_type", "message": "m"}] * 2
    server.answers = [(202, json.dumps({"accepted": 1, "rejected": rejected}).encode())]
    assert post(b"{}", b"{}", b"{}") == Posted(1, Counter(wrong_type=2))


def test_an_empty_log_posts_nothing(post, server: Server) -> None:
    assert post() == Posted()
    assert server.bodies == []


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        ((401, b"{}"), PermanentError, "wants another token: set --token or VEDETTE_WEB__TOKEN"),
        ((413, b"too large"), PermanentError, "refused the events (413 too large; it has taken no event)"),
        ((404, b""), PermanentError, "refused the events (404"),
        ((503, b"busy"), TransientError, "cannot take more now (503 busy; it has taken no event): try again later"),
    ],
)
def test_a_refusal_says_what_to_do(post, server: Server, answer: Answer, error: type[VedetteError], said: str) -> None:
    server.answers = [answer]
    with pytest.raises(error) as raised:
        post(b"{}")
    assert said in str(raised.value)


def test_a_failure_on_the_way_says_how_far_it_came(post, server: Server) -> None:
    server.answers = [(202, b""), (503, b"busy")]
    with pytest.raises(TransientError, match="it had taken 1,000 events"):
        post(*[b"{}"] * 1_500)


def test_nobody_there_is_said_so(post) -> None:
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:1 does not answer .*start `vedette up`"):
        post(b"{}", url="http://127.0.0.1:1")


@pytest.mark.parametrize("url", ["localhost", "ftp://x", "http://", "http://user:hunter2@x", "http://[x", "http://x:y"])
def test_an_address_that_is_none_is_refused_unread(post, url: str) -> None:
    with pytest.raises((PermanentError, TransientError)) as raised:
        post(b"{}", url=url)
    assert "hunter2" not in str(raised.value)


def test_a_token_that_no_header_can_carry_is_refused_unread(post) -> None:
    with pytest.raises(PermanentError, match="--token: must be printable ASCII"):
        post(b"{}", token="tökén")
