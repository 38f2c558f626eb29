"""Running loops: step, wait, and after something was away, say so, wait longer, start afresh.

A loop that met a ``TransientError`` is closed and built anew: what it held uncommitted is read again from where the
database says it was. ``PermanentError`` ends the whole service; it is never retried.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import structlog

from monitor.errors import TransientError

_FIRST_RETRY_S = 1.0
_LONGEST_RETRY_S = 30.0
_STUCK_S = 120.0

log = structlog.get_logger(__name__)


class Loop(Protocol):
    """One of the loops, as the runner sees it."""

    def turn(self) -> bool:
        """Do one step; True when there may be more to do right away."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class LoopSpec:
    """How to build a loop, and how long to rest when it has nothing to do."""

    name: str
    build: Callable[[], Loop]
    rest_s: float


class Service:
    """Loops in threads, until ``stop`` is set or one of them meets what only a person can change."""

    def __init__(self, specs: Sequence[LoopSpec]) -> None:
        self._specs = specs
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._turned_at = {spec.name: time.monotonic() for spec in specs}
        self._threads = [
            threading.Thread(target=self._guard, args=(spec,), name=f"vedette-{spec.name}", daemon=True)
            for spec in specs
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float = 30.0) -> None:
        """Let every loop finish its step and commit; bounded by ``timeout_s`` each."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout_s)

    def wait(self) -> None:
        """Block until a loop fails or ``stop`` is called; raises what the loop raised."""
        self._stop.wait()
        if self._failure is not None:
            raise self._failure

    def request_stop(self) -> None:
        self._stop.set()

    def probes(self) -> dict[str, Callable[[], None]]:
        """Per loop a call that raises when it has not turned for two minutes: stuck, and only a restart mends it."""
        return {spec.name: partial(self._probe, spec.name) for spec in self._specs}

    def _probe(self, name: str) -> None:
        silent_s = time.monotonic() - self._turned_at[name]
        if silent_s > _STUCK_S:
            raise TransientError(f"loop {name} has not turned for {silent_s:.0f} s")

    def _beat(self, name: str) -> None:
        self._turned_at[name] = time.monotonic()

    def _guard(self, spec: LoopSpec) -> None:
        try:
            run_loop(spec, self._stop, partial(self._beat, spec.name))
        except BaseException as error:
            self._failure = self._failure or error
            self._stop.set()


def run_loop(spec: LoopSpec, stop: threading.Event, beat: Callable[[], None]) -> None:
    """Build and turn one loop until ``stop``, a beat a turn; retries with doubling waits while something is away."""
    wait_s = _FIRST_RETRY_S
    while not stop.is_set():
        loop: Loop | None = None
        beat()
        try:
            loop = spec.build()
            while not stop.is_set():
                beat()
                if not loop.turn():
                    stop.wait(spec.rest_s)
                wait_s = _FIRST_RETRY_S
            loop.close()
        except TransientError as error:
            log.warning(f"{spec.name}: {error}; trying again", retry_in_s=wait_s)
            if loop is not None:
                with contextlib.suppress(TransientError):
                    loop.close()
            stop.wait(wait_s)
            wait_s = min(wait_s * 2, _LONGEST_RETRY_S)


@contextlib.contextmanager
def stopping_on_signals(service: Service) -> Iterator[None]:
    """SIGINT and SIGTERM ask the service to stop; the old handlers come back afterwards."""
    wanted = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in wanted}
    for number in wanted:
        signal.signal(number, lambda _number, _frame: service.request_stop())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
