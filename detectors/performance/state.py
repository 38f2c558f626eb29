"""Evidence state: two running tests, on labels and on the estimate, each with the sums since its evidence rose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from detectors.base import Arrays
from detectors.batch import FloatArray, IntArray
from detectors.evidence import NO_EVIDENCE, accumulate
from detectors.performance.measure import Sums


@dataclass(frozen=True, slots=True)
class Running:
    """One test.

    Attributes:
        log_evidence: (bets,).
        sums: what was counted since ``since``.
        matured: labels, counted by the judge, of answers given since ``since``.
    """

    log_evidence: FloatArray
    sums: Mapping[str, IntArray]
    since: float
    matured: int = 0

    @classmethod
    def fresh(cls, n_bets: int, since: float) -> Self:
        return cls(np.full(n_bets, NO_EVIDENCE), {}, since)

    def plus(self, log_ratio: FloatArray, sums: Sums, start: float, matured: int) -> Self:
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
        return replace(self, log_evidence=np.full_like(self.log_evidence, NO_EVIDENCE), sums={}, matured=0)

    def emptied(self) -> Self:
        """With the evidence, without the sums: nothing is under way."""
        return replace(self, sums={}, matured=0)

    def to_arrays(self, name: str) -> dict[str, Any]:
        return {
            f"{name}.log_evidence": self.log_evidence,
            f"{name}.since": np.array([self.since]),
            f"{name}.matured": np.array([self.matured], dtype=np.int64),
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
            int(np.asarray(arrays[f"{name}.matured"], dtype=np.int64)[0]),
        )
