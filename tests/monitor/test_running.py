"""Loops in threads: retried when something is away, ended by a signal or by what only a person can change."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import pytest
import structlog

from monitor import running
from monitor.errors import PermanentError, TransientError
from monitor.running import LoopSpec, Service, run_loop, stopping_on_signals


class Turns:
    """A loop that does what it is told, one turn after the other, and then rests."""

    def __init__(self, *turns: Exception | None) -> None:
        self.turns = list(turns)
        self.closed = 0
        self.rested = threading.Event()

    def turn(self) -> bool:
        if not self.turns:
            self.rested.set()
            return False
        if (wrong := self.turns.pop(0)) is not None:
            raise wrong
        return True

    def close(self) -> None:
        self.closed += 1


def spec(build: Callable[[], Turns]) -> LoopSpec:
    return LoopSpec("turns", build, rest_s=0.01)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_FIRST_RETRY_S", 0.001)


def test_a_loop_is_built_anew_after_something_was_away() -> None:
    first, second = Turns(None, TransientError("the log is away")), Turns(None)
    waiting, stop = [first, second], threading.Event()
    with structlog.testing.capture_logs() as logs:
        thread = threading.Thread(target=run_loop, args=(spec(lambda: waiting.pop(0)), stop, lambda: None))
        thread.start()
        assert second.rested.wait(10)
        stop.set()
        thread.join(10)
    assert (first.closed, second.closed) == (1, 1)
    assert [line["event"] for line in logs] == ["turns: the log is away; trying again"]


def test_waits_double_while_it_stays_away() -> None:
    built, stop = [], threading.Event()

    def build() -> Turns:
        built.append(1)
        if len(built) == 5:
            stop.set()
        raise TransientError("away")

    with structlog.testing.capture_logs() as logs:
        run_loop(spec(build), stop, lambda: None)
    assert [line["retry_in_s"] for line in logs] == [0.001, 0.002, 0.004, 0.008, 0.016]


def test_what_only_a_person_can_change_ends_the_service() -> None:
    service = Service([spec(lambda: Turns(PermanentError("no tables"))), spec(Turns)])
    service.start()
    with pytest.raises(PermanentError, match="no tables"):
        service.wait()
    service.stop(timeout_s=10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_wait_and_loops_are_closed(number: signal.Signals) -> None:
    loop, before = Turns(), signal.getsignal(number)
    service = Service([spec(lambda: loop)])
    with stopping_on_signals(service):
        service.start()
        assert loop.rested.wait(10)
        os.kill(os.getpid(), number)
        assert service.wait() == number
        assert signal.getsignal(number) == before
        service.stop(timeout_s=10)
    assert loop.closed == 1


def test_a_signal_before_the_wait_is_not_lost() -> None:
    service = Service([])
    with stopping_on_signals(service):
        os.kill(os.getpid(), signal.SIGTERM)
        assert service.wait() == signal.SIGTERM


def test_a_loop_that_does_not_end_is_left_behind() -> None:
    hang, release = threading.Event(), threading.Event()

    class Hanging(Turns):
        def turn(self) -> bool:
            hang.set()
            return release.wait(30)

    service = Service([spec(Hanging)])
    service.start()
    assert hang.wait(10)
    with structlog.testing.capture_logs() as logs:
        service.stop(timeout_s=0.05)
    release.set()
    assert ["vedette-turns did not end" in line["event"] for line in logs] == [True]


def test_a_loop_that_stands_still_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    probe = Service([spec(Turns)]).probes()["turns"]
    probe()
    monkeypatch.setattr(running, "_STUCK_S", -1.0)
    with pytest.raises(TransientError, match="loop turns has not turned"):
        probe()
