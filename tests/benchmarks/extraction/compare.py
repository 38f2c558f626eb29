"""Others on the same clients and thieves, each at the threshold that accuses the same share of the honest as ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tests.benchmarks.extraction import honest, rates
from tests.benchmarks.extraction.attacks import QUERIES
from tests.benchmarks.extraction.baselines import Baseline, all_baselines, checks
from tests.benchmarks.extraction.plan import MAIN, Plan
from tests.benchmarks.extraction.supervised import STATISTICS, Reference
from tests.benchmarks.extraction.traffic import NEVER, Traffic
from tests.benchmarks.extraction.worlds import Rows, World

Cell = tuple[str, float]
"""Attack and share."""
SUPERVISED = "supervised"


@dataclass
class Board:
    """One detector's any-time statistic of honest clients, and the paths of thieves by cell."""

    honest: list[float] = field(default_factory=list)
    thieves: dict[Cell, list[Rows]] = field(default_factory=dict)

    def threshold(self, rate: float) -> float:
        """What at most that share of the honest clients ever exceed."""
        allowed = int(rate * len(self.honest) + 1e-9)
        return float(np.sort(self.honest)[::-1][allowed])

    def found(self, cell: Cell, rate: float) -> Rows:
        """(thieves,) queries after which each was first above the threshold, ``NEVER`` if never."""
        limit = self.threshold(rate)
        over = [path > limit for path in self.thieves[cell]]
        return np.array([checks(QUERIES)[int(o.argmax())] if o.any() else NEVER for o in over])


@dataclass
class Others:
    """Baselines at one visibility (they need the features alone), the supervised reference at each."""

    world: World
    plan: Plan
    baselines: Sequence[Baseline]
    reference: Reference
    boards: dict[tuple, Board] = field(default_factory=dict)

    @classmethod
    def on(cls, world: World, plan: Plan, visibilities: Sequence[str], seed: int) -> Others:
        n_honest, n_thieves = plan.learning
        learners = honest.crowd(world, n_honest, (seed, 5), "l")
        ordinary = honest.reference(world, max(40, n_honest // 2), (seed, 6))
        rows = ordinary.rows[np.random.default_rng([seed, 6]).permutation(len(ordinary))[:3_000]]
        theirs = {a: np.concatenate(rates.sequences(world, a, n_thieves, seed, 5)) for a in plan.attacks}
        reference = Reference.on(world, learners, theirs, visibilities, rows)
        return cls(world, plan, all_baselines(world, rows, seed), reference)

    def _board(self, *key: object) -> Board:
        return self.boards.setdefault(key, Board())

    def note_honest(self, traffic: Traffic, visibilities: Sequence[str]) -> None:
        """The greatest statistic of every client of a crowd."""
        own = traffic.by_client()
        for index in own:
            rows, label = traffic.rows[index], traffic.answers.label[index]
            for baseline in self.baselines:
                path = baseline.path(rows, label, checks(len(index)))
                self._board(baseline.name).honest.append(path.max(initial=-np.inf))
        for visibility in visibilities:
            matrix = self.reference.features.matrix(traffic.rows, traffic.answers, visibility)
            for attack in self.plan.attacks:
                told = self.reference.told[visibility, attack]
                scores = told.scores(matrix)
                for index in own:
                    for share in self.plan.shares:
                        best = told.paths(scores[index], share).max(axis=1, initial=-np.inf)
                        for name, value in zip(STATISTICS, best, strict=True):
                            self._board(visibility, name, attack, share).honest.append(float(value))

    def note_thief(self, attack: str, share: float, traffic: Traffic, visibilities: Sequence[str]) -> None:
        """The paths of one thief."""
        if MAIN in visibilities:
            for baseline in self.baselines:
                path = baseline.path(traffic.rows, traffic.answers.label, checks(len(traffic)))
                self._board(baseline.name).thieves.setdefault((attack, share), []).append(path)
        for visibility in visibilities:
            told = self.reference.told[visibility, attack]
            matrix = self.reference.features.matrix(traffic.rows, traffic.answers, visibility)
            paths = told.paths(told.scores(matrix), share)
            for name, path in zip(STATISTICS, paths, strict=True):
                board = self._board(visibility, name, attack, share)
                board.thieves.setdefault((attack, share), []).append(path)

    def baseline_found(self, cell: Cell, rate: float) -> dict[str, Rows]:
        return {b.name: self.boards[(b.name,)].found(cell, rate) for b in self.baselines}

    def supervised_found(self, visibility: str, cell: Cell, rate: float) -> Rows:
        """By the better of the two statistics."""
        both = [self.boards[(visibility, name, *cell)].found(cell, rate) for name in STATISTICS]
        return max(both, key=lambda when: (when <= QUERIES).sum())
