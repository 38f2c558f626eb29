"""Loop 3: claim → send → finish.

Each destination has a lane of its own, one thread that claims a row, sends it outside any transaction and stores what
came of it. A step starts the lanes that have something due and waits for them only a little: a lane whose receiver
hangs goes on by itself while the next steps serve the others.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from typing import Self

import sqlalchemy as sa
import structlog

from monitor.delivery.base import DeliveryOutcome, Destination, Notification, Receipt
from monitor.delivery.schedule import LONGEST_RETRY_AFTER_S
from monitor.storage.deliveries import LEASE_S, OwedDelivery, claim, due_destinations, finish
from monitor.storage.engine import reading, transaction
from monitor.telemetry import Metrics

SENDS_PER_STEP = 20
"""By one lane; then the step can tell how it went."""

PATIENCE_S = 1.0
"""How long a step waits for its lanes."""

log = structlog.get_logger(__name__)


class DeliveryLoop:
    """Sends what is owed; any number of processes may run it on one database."""

    def __init__(
        self,
        engine: sa.Engine,
        destinations: Mapping[str, Destination],
        chance: random.Random,
        metrics: Metrics,
    ) -> None:
        self._engine = engine
        self._destinations = destinations
        self._chance = chance
        self._metrics = metrics
        self._lanes: dict[str, Future[int]] = {}
        self._resting_until: dict[str, datetime] = {}
        self._threads = ThreadPoolExecutor(len(destinations) + 1, thread_name_prefix="deliver")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let sends under way end (they are bounded in time) and start no more."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def step(self, now: datetime) -> int:
        """Send what is due; returns how many attempts have ended since the last step. A failing receiver is no error.

        Raises:
            TransientError: the database is away; what was sent but not stored is sent again when its lease ends.
        """
        with reading(self._engine) as conn:
            due = due_destinations(conn, now)
        for name in due:
            if name not in self._lanes and self._resting_until.get(name, now) <= now:
                self._lanes[name] = self._threads.submit(self._lane, name, now)
        wait(self._lanes.values(), timeout=PATIENCE_S)
        ended = {name: lane for name, lane in self._lanes.items() if lane.done()}
        for name in ended:
            del self._lanes[name]
        return sum(lane.result() for lane in ended.values())

    def _lane(self, name: str, now: datetime) -> int:
        clock = _going_on_from(now)
        for sent in range(SENDS_PER_STEP):
            with transaction(self._engine) as conn:
                claimed = claim(conn, clock(), 1, LEASE_S, name)
            if not claimed:
                return sent
            if self._attempt(claimed[0], clock).outcome is DeliveryOutcome.RETRY:
                return sent + 1
        return SENDS_PER_STEP

    def _attempt(self, owed: OwedDelivery, clock: Callable[[], datetime]) -> Receipt:
        started_at = clock()
        receipt = self._send(owed, started_at)
        now = clock()
        with transaction(self._engine) as conn:
            status = finish(
                conn,
                owed,
                receipt,
                started_at=started_at,
                duration_ms=(now - started_at) / timedelta(milliseconds=1),
                now=now,
                chance=self._chance,
            )
        self._rest(owed.destination, receipt, now)
        self._tell(owed, receipt, status.value)
        return receipt

    def _send(self, owed: OwedDelivery, now: datetime) -> Receipt:
        destination = self._destinations.get(owed.destination)
        if destination is None:
            return Receipt(DeliveryOutcome.RETRY, answer="no destination of this name is configured")
        try:
            return destination.send(Notification(owed.id, owed.change), now)
        except Exception as error:  # a fault in one destination must not stop the lanes of the others
            log.error("destination_failed", destination=owed.destination, error=type(error).__name__)
            return Receipt(DeliveryOutcome.RETRY, answer=f"fault in the destination: {type(error).__name__}")

    def _rest(self, name: str, receipt: Receipt, now: datetime) -> None:
        """A receiver that asks for time gets it for everything, not only for the row that met the limit."""
        if receipt.retry_after_s:
            rest_s = min(receipt.retry_after_s, LONGEST_RETRY_AFTER_S)
            self._resting_until[name] = now + timedelta(seconds=rest_s)

    def _tell(self, owed: OwedDelivery, receipt: Receipt, status: str) -> None:
        destination = self._destinations.get(owed.destination)
        self._metrics.deliveries.labels(destination.type if destination else "unknown", receipt.outcome.value).inc()
        log.info(
            "delivery_attempted",
            delivery_id=owed.id,
            destination=owed.destination,
            attempt=owed.attempt,
            outcome=receipt.outcome.value,
            status_code=receipt.status_code,
            delivery_status=status,
        )


def _going_on_from(now: datetime) -> Callable[[], datetime]:
    """A clock that shows ``now`` and goes on from there, unmoved by what the wall clock does."""
    started = time.monotonic()
    return lambda: now + timedelta(seconds=time.monotonic() - started)
