"""Evidence state: two running tests, on labels and on the estimate, each with the sums since its evidence rose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from detectors.base import Arrays
from detectors.batch import FloatArray, IntArray
from detectors.evidence import NO_EVIDENCE, accumulate
from detectors.performance.measure import Sums


def _none() -> IntArray:
    return np.zeros(2, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Running:
    """One test.

    Attributes:
        log_evidence: (bets,).
        sums: what was counted since ``since``.
        matured: (2,) labels of answers that were given since ``since``, and those of them that were right.
    """

    log_evidence: FloatArray
    sums: Mapping[str, IntArray]
    since: float
    matured: IntArray = field(default_factory=_none)

    @classmethod
    def fresh(cls, n_bets: int, since: float) -> Self:
        return cls(np.full(n_bets, NO_EVIDENCE), {}, since)

    def plus(self, log_ratio: FloatArray, sums: Sums, start: float, matured: IntArray) -> Self:
        """One pane more."""
        return replace(
            self,
            log_evidence=accumulate(self.log_evidence, log_ratio),
            sums={name: self.sums[name] + array if name in self.sums else array for name, array in sums.items()},
            since=self.since if self.sums else start,
            matured=self.matured + matured,
        )

    def restarted(self) -> Self:
        """Without evidence and sums: after an alarm, or where labels refuted the estimate."""
        return replace(self, log_evidence=np.full_like(self.log_evidence, NO_EVIDENCE), sums={}, matured=_none())

    def emptied(self) -> Self:
        """With the evidence, without the sums: nothing is under way."""
        return replace(self, sums={}, matured=_none())

    def to_arrays(self, name: str) -> dict[str, Any]:
        return {
            f"{name}.log_evidence": self.log_evidence,
            f"{name}.since": np.array([self.since]),
            f"{name}.matured": self.matured,
            **{f"{name}.sums.{key}": array for key, array in self.sums.items()},
        }

    @classmethod
    def load(cls, name: str, arrays: Arrays) -> Self:
        prefix = f"{name}.sums."
        return cls(
            np.asarray(arrays[f"{name}.log_evidence"], dtype=np.float64),
            {
                key.removeprefix(prefix): np.asarray(array, dtype=np.int64)
                for key, array in arrays.items()
                if key.startswith(prefix)
            },
            float(np.asarray(arrays[f"{name}.since"], dtype=np.float64)[0]),
            np.asarray(arrays[f"{name}.matured"], dtype=np.int64),
        )
