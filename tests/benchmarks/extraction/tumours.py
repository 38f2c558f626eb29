"""A tabular service without categories: thirty measures of a breast tumour, answered by a small network."""

from __future__ import annotations

from functools import partial

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from tests.benchmarks.extraction.worlds import Answers, Draw, Rows, World

STAGES = (1, 2, 4, 8, 16, 32)
EPOCHS = 80
KEPT = 289
"""Rows that the model does not learn from."""


class Tumours(World):
    """Columns in their own units; an ordinary client is a clinic with a share of malignant cases of its own."""

    name = "tumours"

    def __init__(self, seed: int) -> None:
        data = load_breast_cancer()
        x, y = np.asarray(data.data, dtype=np.float64), np.asarray(data.target)
        order = np.random.default_rng(seed).permutation(len(x))
        train, kept = order[KEPT:], order[:KEPT]
        self.columns = tuple(str(name).replace(" ", "_") for name in data.feature_names)
        self.categories = {}
        self.pool, self.pool_class = x[kept], y[kept]
        self.low, self.high, self.spread = x.min(axis=0), x.max(axis=0), x[train].std(axis=0)
        self._scaler = StandardScaler().fit(x[train])
        self._stages = self._trained(x[train], y[train], seed)
        self.foreign_kinds = [partial(self._other_organ, times) for times in (1.5, 3.0)]

    def _trained(self, x: Rows, y: Rows, seed: int) -> list[tuple[Rows, ...]]:
        """Weights after each of ``STAGES`` and at the end."""
        model = MLPClassifier((16,), alpha=1.0, random_state=seed, batch_size=32)
        out = []
        for epoch in range(1, EPOCHS + 1):
            model.partial_fit(self._scaler.transform(x), y, classes=np.arange(2))
            if epoch in (*STAGES, EPOCHS):
                out.append(tuple(w.copy() for w in (*model.coefs_, *model.intercepts_)))
        return out

    def answer(self, rows: Rows) -> Answers:
        hidden, logit = self._forward(rows, self._stages[-1])
        one = 1.0 / (1.0 + np.exp(-logit))
        return Answers(np.column_stack([1.0 - one, one]), hidden)

    def _forward(self, rows: Rows, stage: tuple[Rows, ...]) -> tuple[Rows, Rows]:
        inner, outer, inner_bias, outer_bias = stage
        hidden = np.maximum(self._scaler.transform(rows) @ inner + inner_bias, 0.0)
        return hidden, (hidden @ outer + outer_bias)[:, 0]

    def hardness(self, rows: Rows) -> Rows:
        labels = [self._forward(rows, stage)[1] > 0.0 for stage in self._stages]
        wrong = np.array([label != labels[-1] for label in labels[:-1]])
        return np.where(wrong, np.arange(1, len(labels))[:, None], 0).max(axis=0)

    def vectors(self, rows: Rows) -> Rows:
        return np.asarray(rows / self.spread)

    def honest(self, rng: np.random.Generator) -> Draw:
        return self._clinic(rng, rng.beta(2.0, 3.0), 0.05)

    def new_mix(self, rng: np.random.Generator) -> Draw:
        return self._clinic(rng, float(rng.integers(2)), 0.05)

    def new_device(self, rng: np.random.Generator) -> Draw:
        return self._clinic(rng, rng.beta(2.0, 3.0), 0.5)

    def _clinic(self, rng: np.random.Generator, malignant: float, off: float) -> Draw:
        """Cases between two of the pool that have the same class, read by a device that is ``off`` in each column."""
        shift = off * rng.standard_normal(len(self.low)) * self.spread
        weight = np.where(self.pool_class == 0, malignant, 1.0 - malignant)
        weight = weight / weight.sum()

        def draw(n: int) -> Rows:
            a, b = rng.choice(len(self.pool), (2, n), p=weight)
            b = np.where(self.pool_class[a] == self.pool_class[b], b, a)
            part = rng.uniform(0.0, 0.5, (n, 1))
            noise = 0.1 * rng.standard_normal((n, len(shift))) * self.spread
            return self.valid(self.pool[a] + part * (self.pool[b] - self.pool[a]) + shift + noise)

        return draw

    def odd(self, rng: np.random.Generator, n: int) -> Rows:
        out = self.pool[rng.integers(len(self.pool), size=n)].copy()
        what = rng.integers(3, size=n)
        out[what == 0] = self.low
        out[what == 1] = self.high
        out[what == 2, 15:] = 0.0
        return self.valid(out)

    def near(self, rng: np.random.Generator, n: int) -> Rows:
        """The size of one tumour, the texture of another."""
        out, other = self.pool[rng.integers(len(self.pool), size=(2, n))]
        out[:, 1::2] = other[:, 1::2]
        return out

    def uniform(self, rng: np.random.Generator, n: int) -> Rows:
        return rng.uniform(self.low, self.high, (n, len(self.low)))

    def grid(self, rng: np.random.Generator, n: int) -> Rows:
        """Three levels a column; a counter runs through the lattice of the first half, the second half follows it."""
        counter = int(rng.integers(3**15)) + int(rng.integers(10**5, 10**6)) * np.arange(n)
        levels = np.tile(counter[:, None] // 3 ** np.arange(15) % 3 / 2.0, 2)
        return self.low + levels * (self.high - self.low)

    def drifted(self, rows: Rows) -> Rows:
        return np.asarray(1.2 * rows)

    def valid(self, rows: Rows) -> Rows:
        return np.clip(rows, self.low, self.high)

    def _other_organ(self, times: float, rng: np.random.Generator, n: int) -> Rows:
        """Cells of another size altogether: every column about that often the mean of the pool."""
        centre = times * self.pool.mean(axis=0)
        return np.asarray(np.maximum(centre + 0.5 * rng.standard_normal((n, len(centre))) * self.spread, 0.0))
