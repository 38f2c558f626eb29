"""A webhook receiver on this machine, for demonstrations and tests: keeps what it got, fails when told to."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

MOST_RECEIPTS = 1_000
MOST_BODY_BYTES = 1 << 20
LONGEST_STALL_S = 30.0


@dataclass(frozen=True, slots=True)
class Posted:
    """One request as it arrived; header names in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    status: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer one request with."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Stall:
    """Answer nothing until the receiver is released or closed."""


class WebhookReceiver:
    """Listens on a free loopback port while open; answers 204 unless told otherwise.

    >>> with WebhookReceiver() as receiver:
    ...     receiver.url.startswith("http://127.0.0.1:")
    True
    """

    def __init__(self) -> None:
        self._arrived = threading.Condition()
        self._posted: deque[Posted] = deque(maxlen=MOST_RECEIPTS)
        self._total = 0
        self._answers: deque[Answer | Stall] = deque()
        self._released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_for(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="receiver", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    @property
    def posted(self) -> Sequence[Posted]:
        """The latest requests, oldest first, failed ones included."""
        with self._arrived:
            return tuple(self._posted)

    def answer_next(self, *answers: Answer | Stall) -> None:
        """Answer the next requests with these, one each, before 204 again."""
        with self._arrived:
            self._answers.extend(answers)

    def fail_next(self, times: int, status: int = 503) -> None:
        self.answer_next(*[Answer(status)] * times)

    def release(self) -> None:
        """Let stalled requests end."""
        self._released.set()

    def wait_for(self, requests: int, timeout_s: float = 10.0) -> Sequence[Posted]:
        """The requests once at least that many have come in all.

        Raises:
            TimeoutError: fewer came in time.
        """
        with self._arrived:
            if not self._arrived.wait_for(lambda: self._total >= requests, timeout_s):
                raise TimeoutError(f"{self._total} of {requests} requests came within {timeout_s:g} s")
            return tuple(self._posted)

    def _take(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        with self._arrived:
            answer = self._answers.popleft() if self._answers else Answer()
            status = answer.status if isinstance(answer, Answer) else 0
            self._posted.append(Posted(path, headers, body, status))
            self._total += 1
            self._arrived.notify_all()
        if isinstance(answer, Answer):
            return answer
        self._released.wait(LONGEST_STALL_S)
        return Answer(503)


def _handler_for(receiver: WebhookReceiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = LONGEST_STALL_S

        def do_POST(self) -> None:
            size = min(int(self.headers.get("Content-Length") or 0), MOST_BODY_BYTES)
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = receiver._take(self.path, headers, self.rfile.read(size))
            try:
                self._answer(answer)
            except OSError:
                self.close_connection = True

        def _answer(self, answer: Answer) -> None:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:
            """Requests are kept, not printed."""

    return Handler
