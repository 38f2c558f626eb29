"""The supervised reference: what single queries in the log can give at all, to one who was told which are attacks.

For every attack and visibility a classifier learns that attack's queries (of other thieves) from honest ones (of other
clients, all sorts). A client's statistic is either the running log-likelihood ratio of "this share of the queries is
attack" or the mean score in units of its spread over honest clients; the better of the two counts in each cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from tests.benchmarks.extraction.baselines import LEAST, checks
from tests.benchmarks.extraction.traffic import Traffic
from tests.benchmarks.extraction.worlds import Answers, Rows, World

STATISTICS = ("likelihood ratio", "mean score")
MOST_ROWS_A_CLIENT = 60
COMPONENTS = 24
_CLIP = 6.0


@dataclass(frozen=True, eq=False)
class Features:
    """What the log shows of a query at a visibility; an image as principal components and what they leave out."""

    world: World
    mean: Rows
    axes: Rows

    @classmethod
    def on(cls, world: World, ordinary: Rows) -> Features:
        x = world.vectors(ordinary)
        mean = x.mean(axis=0)
        if world.categories:
            return cls(world, mean, np.empty((x.shape[1], 0)))
        _, _, axes = np.linalg.svd(x - mean, full_matrices=False)
        return cls(world, mean, axes[:COMPONENTS].T)

    def matrix(self, rows: Rows, answers: Answers, visibility: str) -> Rows:
        centred = self.world.vectors(rows) - self.mean
        parts = [centred.astype(np.float32)]
        if self.axes.shape[1]:
            z = centred @ self.axes
            left = (centred**2).sum(axis=1) - (z**2).sum(axis=1)
            parts = [np.column_stack([z, left]).astype(np.float32)]
        if visibility == "label":
            parts.append(np.eye(answers.scores.shape[1], dtype=np.float32)[answers.label])
        else:
            parts.append(np.log(answers.scores + 1e-6).astype(np.float32))
        if visibility == "all" and answers.embedding is not None:
            parts.append(answers.embedding.astype(np.float32))
        return np.concatenate(parts, axis=1)


@dataclass(frozen=True, eq=False)
class Told:
    """A classifier for one attack at one visibility, and how its mean score varies among honest clients."""

    model: HistGradientBoostingClassifier
    prior: float
    centre: float
    between: float
    within: float

    @classmethod
    def on(cls, honest: Sequence[Rows], attack: Rows) -> Told:
        """``honest`` are the feature rows of one client each; half of them are kept for the spread of scores."""
        learn, spread = honest[::2], honest[1::2]
        rows = np.concatenate([*(h[:MOST_ROWS_A_CLIENT] for h in learn), attack])
        truth = np.arange(len(rows)) >= len(rows) - len(attack)
        model = HistGradientBoostingClassifier(max_iter=40, max_leaf_nodes=15, learning_rate=0.25, random_state=0)
        model.fit(rows, truth)
        prior = float(np.log(truth.sum() / (~truth).sum()))
        whole = _log_odds(model, prior, np.concatenate(spread))
        scores = np.split(whole, np.cumsum([len(h) for h in spread])[:-1])
        means = np.array([s.mean() for s in scores])
        within = float(np.mean([s.var() for s in scores]))
        noise = float(np.mean([within / len(s) for s in scores]))
        return cls(model, prior, float(means.mean()), max(float(means.var()) - noise, 0.02), within)

    def scores(self, rows: Rows) -> Rows:
        """(n,) log odds that a query is an attack, at even odds beforehand."""
        return _log_odds(self.model, self.prior, rows)

    def paths(self, scores: Rows, share: float) -> Rows:
        """(2, k) both statistics after each check of one client's scores, in the order of ``STATISTICS``."""
        counts = checks(len(scores))
        ratio = np.log1p(share * np.expm1(scores)).cumsum()[counts - 1]
        mean = scores.cumsum()[counts - 1] / counts
        z = (mean - self.centre) / np.sqrt(self.between + self.within / counts)
        return np.stack([ratio, np.where(counts >= min(LEAST, len(scores)), z, -np.inf)])


def _log_odds(model: HistGradientBoostingClassifier, prior: float, rows: Rows) -> Rows:
    return np.asarray(np.clip(model.decision_function(rows) - prior, -_CLIP, _CLIP))


@dataclass(frozen=True, eq=False)
class Reference:
    """A classifier for every (visibility, attack)."""

    features: Features
    told: Mapping[tuple[str, str], Told]

    @classmethod
    def on(
        cls, world: World, honest: Traffic, attacks: Mapping[str, Rows], visibilities: Sequence[str], ordinary: Rows
    ) -> Reference:
        features = Features.on(world, ordinary)
        own = honest.by_client()
        told = {}
        for visibility in visibilities:
            matrix = features.matrix(honest.rows, honest.answers, visibility)
            clients = [matrix[index] for index in own]
            for attack, rows in attacks.items():
                theirs = features.matrix(rows, world.answer(rows), visibility)
                told[visibility, attack] = Told.on(clients, theirs)
        return cls(features, told)
