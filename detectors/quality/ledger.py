"""The evidence of all watches of a model: plain arrays in, one step a pane, plain arrays out.

Each watch's bets hold Shiryaev-Roberts evidence, weighted by the watch's share. A *cause* (the volume, one column) is a
subset of the bets; it alarms when its own weighted evidence passes the line, and only its bets are then set back:
what is taken off the model's sum is at least the line, so the bound on false alarms holds as if all were.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.base import Arrays
from detectors.batch import FloatArray
from detectors.evidence import NO_EVIDENCE, accumulate
from detectors.quality.watch import Look, Watch

_RISING = float(np.log(10.0))


@dataclass(frozen=True)
class Ledger:
    """One watch's evidence after some pane.

    Attributes:
        evidence: (bets,) log M.
        since: (causes,) event time at which the window begins.
        window: name → (causes, …) sums since then.
        notes: what the last pane left beside them.
    """

    evidence: FloatArray
    since: FloatArray
    window: Mapping[str, NDArray[Any]]
    notes: Mapping[str, NDArray[Any]]

    @classmethod
    def load(cls, watch: Watch, state: Arrays, start: float) -> Self:
        """From a stored state; fresh where there is none."""
        prefix = watch.name + "."
        kept = {key[len(prefix) :]: np.asarray(value) for key, value in state.items() if key.startswith(prefix)}
        if "evidence" not in kept or len(kept["evidence"]) != len(watch.owners):
            return cls(np.full(len(watch.owners), NO_EVIDENCE), np.full(watch.n_causes, start), {}, {})
        window = {key[2:]: value for key, value in kept.items() if key.startswith("w.")}
        notes = {key[2:]: value for key, value in kept.items() if key.startswith("n.")}
        return cls(kept["evidence"].astype(np.float64), kept["since"].astype(np.float64), window, notes)

    def save(self, watch: Watch) -> dict[str, NDArray[Any]]:
        """Inverse of ``load``."""
        named: dict[str, NDArray[Any]] = {"evidence": self.evidence, "since": self.since}
        named.update({f"w.{key}": value for key, value in self.window.items()})
        named.update({f"n.{key}": value for key, value in self.notes.items()})
        return {f"{watch.name}.{key}": value for key, value in named.items()}

    def step(self, look: Look, most: FloatArray) -> Ledger:
        """After one more pane; ``most`` (bets,) is the log evidence that one pane may bring at most."""
        evidence = accumulate(self.evidence, np.minimum(look.log_ratio, most))
        window = {key: value + self.window.get(key, 0) for key, value in look.window.items()}
        return Ledger(evidence, self.since, window, look.notes or self.notes)

    def by_cause(self, watch: Watch) -> FloatArray:
        """(causes,) log of each cause's part of the watch's weighted mean."""
        sums = np.full(len(self.since), NO_EVIDENCE)
        np.logaddexp.at(sums, watch.owners, self.evidence + np.log(watch.weights))
        return sums

    def cleared(self, watch: Watch, alarmed: NDArray[np.bool_], end: float) -> Ledger:
        """Without the evidence of ``alarmed`` causes; their windows, and those of calm ones, begin anew at ``end``."""
        evidence = np.where(alarmed[watch.owners], NO_EVIDENCE, self.evidence)
        calm = alarmed | (self.by_cause(watch) - np.log(cause_weights(watch)) < _RISING)
        window = {
            key: np.where(calm.reshape(-1, *[1] * (value.ndim - 1)), 0, value).astype(value.dtype)
            for key, value in self.window.items()
        }
        return Ledger(evidence, np.where(calm, end, self.since), window, self.notes)


def cause_weights(watch: Watch) -> FloatArray:
    """(causes,) each cause's part of the watch's weight; a cause without bets has next to none."""
    return np.maximum(np.bincount(watch.owners, weights=watch.weights, minlength=watch.n_causes), 1e-300)
