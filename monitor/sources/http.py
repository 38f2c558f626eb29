"""Events posted over HTTP, read back from the ingest queue in the database: the source for setups without Kafka."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime

import sqlalchemy as sa

from monitor.errors import TransientError
from monitor.sources.base import Assignment, Bounds, Partition, Record
from monitor.storage import ingest
from monitor.storage.engine import reading, transaction

PARTITION = Partition("http", "ingest", 0)
_LOOK_AGAIN_S = 0.05


class QueueSource:
    """One partition whose offsets are the queue's ids; a record's time is when it was received.

    What has been read is deleted when its offset is mirrored, except for the last ``keep_records``, which a worker
    reads again after a restart to warm its memory of clients.

    Args:
        engine: where the queue is.
        now: wall clock, aware UTC; a record that claims to be from later counts as received now.
        pause: waits the given seconds between two looks at an empty queue.
    """

    def __init__(
        self,
        engine: sa.Engine,
        now: Callable[[], datetime],
        keep_records: int = 2_000,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._engine = engine
        self._now = now
        self._keep_records = keep_records
        self._pause = pause
        self._announced = False
        self._position: int | None = None
        self._deleted_below = 0

    def assignment(self) -> Assignment:
        if self._announced:
            return Assignment()
        self._announced = True
        return Assignment(assigned=(PARTITION,))

    def bounds(self, partition: Partition) -> Bounds:
        with reading(self._engine) as conn:
            return Bounds(*ingest.bounds(conn))

    def seek(self, partition: Partition, offset: int) -> None:
        self._position = offset

    def poll(self, timeout_s: float, max_records: int) -> Mapping[Partition, Sequence[Record]]:
        deadline = time.monotonic() + timeout_s
        while not (records := self._read(max_records)):
            left = deadline - time.monotonic()
            if left <= 0:
                return {}
            self._pause(min(left, _LOOK_AGAIN_S))
        self._position = records[-1].offset + 1
        return {PARTITION: records}

    def mirror(self, offsets: Mapping[Partition, int]) -> None:
        below = offsets.get(PARTITION, 0) - self._keep_records
        if below <= self._deleted_below:
            return
        with suppress(TransientError):
            with transaction(self._engine) as conn:
                ingest.delete_below(conn, below)
            self._deleted_below = below

    def close(self) -> None:
        self._position = None

    def _read(self, limit: int) -> Sequence[Record]:
        if self._position is None:
            return ()
        with reading(self._engine) as conn:
            rows = ingest.read_from(conn, self._position, limit)
        latest = self._now().timestamp()
        return [
            Record(PARTITION, offset, value, timestamp=min(received_at.timestamp(), latest))
            for offset, value, received_at in rows
        ]
