"""Which suite serves which model version: references from the database, built once and kept while they are active."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

import sqlalchemy as sa

from detectors.budget import DEFAULT_EXPOSURE_LIMIT, DEFAULT_TOLERANCE
from detectors.reference import Reference
from detectors.suite import Suite
from monitor.secret import DeploymentSecret
from monitor.storage.engine import reading
from monitor.storage.references import active_reference, detectors_watching, reference_data
from monitor.training import unlocked

_MAX_SUITES = 64


class SuiteBook:
    """Suites by model version and by reference id; looks for a newly activated reference every ``refresh_s``.

    Not thread-safe: each loop has its own.
    """

    def __init__(
        self,
        engine: sa.Engine,
        alarms_per_week: float,
        tolerance: float = DEFAULT_TOLERANCE,
        refresh_s: float = 5.0,
        monotonic: Callable[[], float] = time.monotonic,
        exposure_limit: float = DEFAULT_EXPOSURE_LIMIT,
        secret: DeploymentSecret | None = None,
    ) -> None:
        self._engine = engine
        self._alarms_per_week = alarms_per_week
        self._tolerance = tolerance
        self._exposure_limit = exposure_limit
        self._refresh_s = refresh_s
        self._monotonic = monotonic
        self._secret = secret
        self._active: dict[tuple[str, str], tuple[float, str | None]] = {}
        self._watching: dict[str, tuple[float, frozenset[str]]] = {}
        self._suites: OrderedDict[str, Suite] = OrderedDict()

    def active(self, model: str, version: str) -> Suite | None:
        """The suite of the reference that is active now; None while the model has none.

        Raises:
            TransientError: the database is away.
        """
        checked_at, reference_id = self._active.get((model, version), (float("-inf"), None))
        if self._monotonic() - checked_at >= self._refresh_s:
            with reading(self._engine) as connection:
                found = active_reference(connection, model, version)
            reference_id = found.id if found else None
            self._active[model, version] = (self._monotonic(), reference_id)
        return None if reference_id is None else self.by_id(reference_id)

    def watches(self, detector: str, model: str) -> bool:
        """Whether the detector watches any version of the model now.

        Raises:
            TransientError: the database is away.
        """
        checked_at, names = self._watching.get(model, (float("-inf"), frozenset()))
        if self._monotonic() - checked_at >= self._refresh_s:
            with reading(self._engine) as connection:
                names = detectors_watching(connection, model)
            self._watching[model] = (self._monotonic(), names)
        return detector in names

    def by_id(self, reference_id: str) -> Suite:
        """The suite of a stored reference, whether it is active or not."""
        suite = self._suites.get(reference_id)
        if suite is None:
            with reading(self._engine) as connection:
                data = reference_data(connection, reference_id)
            reference = unlocked(Reference.from_bytes(data), self._secret)
            suite = Suite.build(reference, reference_id, self._alarms_per_week, self._tolerance, self._exposure_limit)
            self._suites[reference_id] = suite
            if len(self._suites) > _MAX_SUITES:
                self._suites.popitem(last=False)
        self._suites.move_to_end(reference_id)
        return suite
