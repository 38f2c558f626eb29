"""Imitation: how hard the model would have found queries that nobody sent, by a network that learned its answers.

A device that nobody has yet changes not only what is asked but how sure the answers are. The log does not say what the
model would have answered, so a small network is trained on what it did answer, and the ranks of *its* margins are
carried over to the margins of the log. It serves to imagine honest newcomers; nobody is judged by it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from detectors.batch import FloatArray, IntArray
from detectors.extraction.channels import hardness_of

HIDDEN = 48
ROUNDS = 30
MOST_ROWS = 4_000
LEAST_ROWS = 200
_GRID = np.linspace(0.0, 1.0, 201)


@dataclass(frozen=True, slots=True, eq=False)
class Imitation:
    """Two networks, each of which knows the half of the rows that the other is asked about.

    Attributes:
        half: (n,) which half a row of the reference is in.
        own, logged: (grid,) quantiles of the networks' hardness of rows they do not know, and of the logged one.
    """

    networks: Sequence[MLPClassifier]
    half: IntArray
    own: FloatArray
    logged: FloatArray

    @classmethod
    def fit(cls, white: FloatArray, label: IntArray, hardness: FloatArray, half: IntArray, seed: int) -> Self | None:
        """Learn predicted classes from (n, q) whitened vectors; None with one class, or too few rows."""
        usable = ~np.isnan(hardness)
        networks, rng = [], np.random.default_rng(seed)
        for side in range(2):
            rows = np.flatnonzero(usable & (half == side))
            if len(rows) < LEAST_ROWS or len(np.unique(label[rows])) < 2:
                return None
            rows = rng.permutation(rows)[:MOST_ROWS]
            network = MLPClassifier((HIDDEN,), max_iter=ROUNDS, learning_rate_init=3e-3, random_state=seed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                networks.append(network.fit(_inputs(white[rows]), label[rows]))
        open_ = cls(networks, half, np.empty(0), np.empty(0))
        found = open_._hardness(white[usable], half[usable])
        return cls(networks, half, np.quantile(found, _GRID), np.quantile(hardness[usable], _GRID))

    def hardness(self, index: IntArray, white: FloatArray) -> FloatArray:
        """(m,) hardness that the model would log if rows ``index`` of the reference had these vectors (m, q)."""
        return np.asarray(np.interp(self._hardness(white, self.half[index]), self.own, self.logged))

    def _hardness(self, white: FloatArray, half: IntArray) -> FloatArray:
        out = np.empty(len(white))
        for side in range(2):
            asked = half == side
            if asked.any():
                out[asked] = hardness_of(self.networks[1 - side].predict_proba(_inputs(white[asked])))
        return out


def _inputs(white: FloatArray) -> FloatArray:
    return np.clip(white, -8.0, 8.0)
