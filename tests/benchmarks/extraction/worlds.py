"""A world: one small model service, what its honest users ask, and what a thief without their data could send.

Rows are (n, p) float64; categorical columns hold positions of their names. ``images.py`` and ``flights.py`` fill in.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from detectors.batch import EventBatch

Rows = np.ndarray
Draw = Callable[[int], Rows]
"""One client's source of queries: that many rows."""
VISIBILITIES = ("scores", "all", "label")
"""Features with probabilities; with the embedding besides; with the predicted label alone."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What the model said: (n, C) probabilities, and (n, h) embeddings where it has any."""

    scores: Rows
    embedding: Rows | None

    @property
    def label(self) -> Rows:
        return self.scores.argmax(axis=1)

    def take(self, index: Rows) -> Answers:
        return Answers(self.scores[index], None if self.embedding is None else self.embedding[index])


class World(ABC):
    """See the module's text; ``pool`` (m, p) are ordinary rows the model did not learn from, with their classes."""

    name: ClassVar[str]
    columns: tuple[str, ...]
    categories: dict[int, tuple[str, ...]]
    pool: Rows
    pool_class: Rows
    low: Rows
    high: Rows
    spread: Rows
    foreign_kinds: Sequence[Callable[[np.random.Generator, int], Rows]]

    @abstractmethod
    def answer(self, rows: Rows) -> Answers: ...

    @abstractmethod
    def hardness(self, rows: Rows) -> Rows:
        """(n,) int: the last training stage at which the model still thought otherwise, 0 = never."""

    @abstractmethod
    def vectors(self, rows: Rows) -> Rows:
        """(n, q) rows in which Euclidean distance means something, for detectors that take distances."""

    @abstractmethod
    def honest(self, rng: np.random.Generator) -> Draw:
        """An ordinary client: its own mix of classes, its own device."""

    @abstractmethod
    def new_mix(self, rng: np.random.Generator) -> Draw:
        """A customer whose classes are mixed as nobody's in the reference."""

    @abstractmethod
    def new_device(self, rng: np.random.Generator) -> Draw:
        """A client whose queries come from where no query of the reference came from."""

    @abstractmethod
    def odd(self, rng: np.random.Generator, n: int) -> Rows:
        """What a tester types in: blanks, extremes, impossible combinations."""

    @abstractmethod
    def near(self, rng: np.random.Generator, n: int) -> Rows:
        """Rows of a neighbouring domain: the same things as in the pool, by another source."""

    @abstractmethod
    def uniform(self, rng: np.random.Generator, n: int) -> Rows:
        """Every column uniform over its range."""

    @abstractmethod
    def grid(self, rng: np.random.Generator, n: int) -> Rows:
        """Points of a coarse lattice over the input space, in the order of a sweep."""

    @abstractmethod
    def drifted(self, rows: Rows) -> Rows:
        """The same queries after a change that befalls everybody."""

    @property
    def numeric(self) -> list[int]:
        return [j for j in range(self.pool.shape[1]) if j not in self.categories]

    @property
    def n_classes(self) -> int:
        return int(self.pool_class.max()) + 1

    def score(self, rows: Rows) -> Rows:
        """(n, C) probabilities."""
        return self.answer(rows).scores

    def foreign(self, rng: np.random.Generator, n: int) -> Rows:
        """Data of another domain altogether, every kind alike."""
        kind = rng.integers(len(self.foreign_kinds), size=n)
        out = np.empty((n, self.pool.shape[1]))
        for k in np.unique(kind):
            out[kind == k] = self.foreign_kinds[k](rng, int((kind == k).sum()))
        return out

    def varied(self, row: Rows, rng: np.random.Generator, n: int) -> Rows:
        """What-if: one row with one numeric column at a time moved through its range."""
        out = np.repeat(row[None], n, axis=0)
        steps = 8
        moved = np.repeat(rng.permutation(np.tile(self.numeric, 1 + n // steps // len(self.numeric))), steps)[:n]
        at = np.resize(np.linspace(0.0, 1.0, steps), len(moved))
        out[np.arange(len(moved)), moved] = self.low[moved] + at * (self.high - self.low)[moved]
        return self.valid(out)

    def valid(self, rows: Rows) -> Rows:
        """The rows as the model's interface would take them."""
        return rows

    def batch(
        self, rows: Rows, answers: Answers, clients: Rows, at: Rows, visibility: str, prefix: str = "e"
    ) -> EventBatch:
        """An event batch in the order given; ``visibility`` is one of ``VISIBILITIES``."""
        n = len(rows)
        mixed: dict[str, Any] = {}
        for j, names in self.categories.items():
            index = np.clip(rows[:, j].astype(int), 0, len(names) - 1)
            mixed[self.columns[j]] = np.array(names, dtype=object)[index]
        numeric = self.numeric
        labels = np.array([str(c) for c in range(answers.scores.shape[1])], dtype=object)
        out: dict[str, Any] = {}
        if visibility == "label":
            out["prediction"] = labels[answers.label]
        else:
            out |= {"probabilities": answers.scores, "classes": tuple(labels)}
        if visibility == "all":
            out["embedding"] = answers.embedding
        return EventBatch(
            model=self.name,
            version="1",
            event_id=np.array([f"{prefix}{i}" for i in range(n)], dtype=object),
            timestamp=np.asarray(at, dtype=np.float64),
            client_id=clients.astype(object),
            numeric_names=tuple(self.columns[j] for j in numeric),
            numeric=rows if len(numeric) == rows.shape[1] else rows[:, numeric],
            mixed=mixed,
            **out,
        )
