"""Standing: whether a client is in good standing, under a warning or under an alarm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from detectors.base import Level
from detectors.batch import FloatArray

LEVELS: Final = (Level.OK, Level.WARNING, Level.ALARM)


@dataclass(frozen=True, slots=True)
class Look:
    """What one pane shows of one client: the head that speaks loudest, its evidence and effect.

    Attributes:
        accusable: whether an alarm may follow; else a warning at most.
        lingers: whether the client still does what it is under an alarm for.
    """

    head: int
    evidence: float
    effect: float
    accusable: bool
    lingers: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """``status`` 0 good, 1 warning, 2 alarm; ``evidence`` is the highest since it last was 0."""

    status: int
    evidence: float
    effect: float
    since: float
    head: int

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]] | None, at: float) -> Self:
        if not arrays:
            return cls(0, 0.0, 0.0, at, 0)
        status, evidence, effect, since, head = (float(v) for v in arrays["standing"])
        return cls(int(status), evidence, effect, since, int(head))

    def to_array(self) -> FloatArray:
        return np.array([self.status, self.evidence, self.effect, self.since, self.head], dtype=np.float64)

    def after(self, look: Look, log_threshold: float, at: float) -> Standing:
        """The standing after a look; an alarm lasts as long as what it is about goes on."""
        enough = look.evidence >= log_threshold
        status = 2 if enough and look.accusable else int(enough)
        if self.status == 2 and status < 2:
            if look.lingers:
                return self
            return Standing(0, max(0.0, min(look.evidence, 0.5 * log_threshold)), look.effect, at, look.head)
        if self.status == 2 and look.evidence <= self.evidence:
            return self
        since = self.since if self.status and status else at
        return Standing(status, max(0.0, look.evidence), look.effect, since, look.head)
