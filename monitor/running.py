"""Running loops: step, wait, and after something was away, say so, wait longer, start afresh.

A loop that met a ``TransientError`` is closed and built anew: what it held uncommitted is read again from where the
database says it was. ``PermanentError`` ends the whole service; it is never retried.
"""

from __future__ import annotations

import contextlib
import queue
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
        self._stop = threading.Event()
        # Unlike an event, this queue may be put to by a signal handler that interrupts the very wait for it.
        self._endings: queue.SimpleQueue[signal.Signals | BaseException] = queue.SimpleQueue()
        self._turned_at = {spec.name: time.monotonic() for spec in specs}
        self._threads = [
            threading.Thread(target=self._guard, args=(spec,), name=f"vedette-{spec.name}", daemon=True)
            for spec in specs
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wait(self) -> signal.Signals:
        """Block until the service is to end; returns the signal that said so, or raises what a loop raised."""
        ending = self._endings.get()
        if isinstance(ending, BaseException):
            raise ending
        return ending

    def request_stop(self, reason: signal.Signals) -> None:
        """Let ``wait`` return; may be called by a signal handler."""
        self._endings.put(reason)

    def stop(self, timeout_s: float = 20.0) -> None:
        """Let every loop finish its step and commit; returns after ``timeout_s`` whatever they do."""
        self._stop.set()
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                log.warning(f"{thread.name} did not end within {timeout_s:g} s; what it held is read again")

    def probes(self) -> dict[str, Callable[[], None]]:
        """Per loop a call that raises when it has not turned for two minutes: stuck, and only a restart mends it."""
        return {name: partial(self._probe, name) for name in self._turned_at}

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
            self._endings.put(error)


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
            what_next = "what it held is read at the next start" if stop.is_set() else "trying again"
            log.warning(f"{spec.name}: {error}; {what_next}", retry_in_s=wait_s)
            if loop is not None:
                with contextlib.suppress(TransientError):
                    loop.close()
            stop.wait(wait_s)
            wait_s = min(wait_s * 2, _LONGEST_RETRY_S)


@contextlib.contextmanager
def stopping_on_signals(service: Service) -> Iterator[None]:
    """SIGINT and SIGTERM ask the service to stop, once: a second one does what it does without us."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def ask(number: int, _frame: object) -> None:
        restore()
        service.request_stop(signal.Signals(number))

    for number in before:
        signal.signal(number, ask)
    try:
        yield
    finally:
        restore()
