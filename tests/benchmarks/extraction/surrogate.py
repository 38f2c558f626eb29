"""A thief's copy of the victim's labels: multinomial logistic regression, or a small network where that is said."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.benchmarks.extraction.worlds import Rows, World


def linear(seed: int = 0) -> Any:
    return LogisticRegression(C=1.0, max_iter=60, tol=1e-3, random_state=seed)


def network(seed: int = 0) -> Any:
    return make_pipeline(StandardScaler(with_std=False), MLPClassifier((32,), max_iter=120, random_state=seed))


LEARNERS: dict[str, Callable[[int], Any]] = {"linear": linear, "network": network}


@dataclass(frozen=True)
class Surrogate:
    """What a thief has learned so far; before any training it knows nothing and says so evenly."""

    world: World
    model: Any = None
    only: int = 0

    def trained(self, rows: Rows, label: Rows | None = None, learner: Any = None) -> Surrogate:
        """A surrogate of the victim's answers to ``rows``; ``learner`` is a classifier, linear where none is given."""
        label = self.world.answer(rows).label if label is None else label
        if len(np.unique(label)) < 2:
            return Surrogate(self.world, None, int(label[0]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = (learner or linear()).fit(self.world.vectors(rows), label)
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
        """(n, numeric columns) gradient of a linear copy's score of ``label`` in the columns that a thief can nudge."""
        k = len(self.world.numeric)
        if self.model is None:
            return rng.standard_normal((len(rows), k))
        p = self.model.predict_proba(self.world.vectors(rows))
        weight = self.model.coef_[:, :k]
        if len(weight) == 1:
            weight = np.vstack([-weight, weight]) / 2
        own = weight[np.clip(np.searchsorted(self.model.classes_, label), 0, len(weight) - 1)]
        return np.asarray(own - p @ weight)


def fidelity(world: World, sent: Rows, ordinary: Rows, truth: Rows, learner: Any = None) -> float:
    """Share of ordinary rows on which a copy trained on ``sent`` agrees with the victim's answers ``truth``."""
    return float(np.mean(Surrogate(world).trained(sent, learner=learner).label(ordinary) == truth))
