"""A thief's copy: multinomial logistic regression on the labels that the victim gave."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from tests.benchmarks.extraction.worlds import Rows, World


@dataclass(frozen=True)
class Surrogate:
    """What a thief has learned so far; before any training it knows nothing and says so evenly."""

    world: World
    model: Any = None
    only: int = 0

    def trained(self, rows: Rows, label: Rows | None = None) -> Surrogate:
        """A surrogate of the victim's answers to ``rows``."""
        label = self.world.answer(rows).label if label is None else label
        if len(np.unique(label)) < 2:
            return Surrogate(self.world, None, int(label[0]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = LogisticRegression(C=1.0, max_iter=60, tol=1e-3).fit(self.world.vectors(rows), label)
        return Surrogate(self.world, model)

    def probabilities(self, rows: Rows) -> Rows:
        """(n, C)."""
        n = self.world.n_classes
        if self.model is None:
            return np.full((len(rows), n), 1.0 / n)
        out = np.zeros((len(rows), n))
        out[:, self.model.classes_.astype(int)] = self.model.predict_proba(self.world.vectors(rows))
        return out

    def label(self, rows: Rows) -> Rows:
        return np.full(len(rows), self.only) if self.model is None else self.model.predict(self.world.vectors(rows))

    def gradient(self, rows: Rows, label: Rows, rng: np.random.Generator) -> Rows:
        """(n, numeric columns) gradient of the score of ``label`` in the columns that a thief can nudge."""
        k = len(self.world.numeric)
        if self.model is None:
            return rng.standard_normal((len(rows), k))
        p = self.model.predict_proba(self.world.vectors(rows))
        weight = self.model.coef_[:, :k]
        if len(weight) == 1:
            weight = np.vstack([-weight, weight]) / 2
        own = weight[np.clip(np.searchsorted(self.model.classes_, label), 0, len(weight) - 1)]
        return np.asarray(own - p @ weight)


def fidelity(world: World, sent: Rows, ordinary: Rows, truth: Rows) -> float:
    """Share of ordinary rows on which a copy trained on ``sent`` agrees with the victim's answers ``truth``."""
    return float(np.mean(Surrogate(world).trained(sent).label(ordinary) == truth))
