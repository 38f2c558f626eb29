"""Are p-values what they say: uniform on new ordinary events, and honest about single events of a pane?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from detectors.base import Part
from detectors.batch import EventBatch
from detectors.ood.scorer import OodScorer
from detectors.ood.tally import FALSE_DISCOVERIES, N_BINS, bin_of, discoveries
from detectors.schema import infer_schema
from tests.benchmarks.report import Goal

ALPHAS = (0.01, 0.05, 0.5)
PANE = 250
SHARES = (0.0, 0.02, 0.1, 0.5)


@dataclass(frozen=True)
class Measured:
    figures: Mapping[str, object] = field(default_factory=dict)
    goals: list[Goal] = field(default_factory=list)


def by_reference_size(quick: bool, seed: int) -> Measured:
    """Shares of new ordinary events with small p-values, over many references of each size and several kinds of log."""
    figures: dict[str, object] = {}
    goals = []
    for n, repeats in ((50, 24), (100, 20), (250, 12), (1_000, 4), (5_000, 1)):
        repeats = max(repeats // 4, 1) if quick else repeats
        shares = []
        for name, world in WORLDS.items():
            found = [_p_values(world, n, [seed, n, i, len(name)]) for i in range(repeats)]
            shares += [[float(np.mean(p <= alpha)) for alpha in ALPHAS] for p in found]
            p_value = np.concatenate(found)
            for alpha in ALPHAS:
                figures[f"{name}, {n} rows: share with p <= {alpha}"] = float(np.mean(p_value <= alpha))
        mean, error = np.mean(shares, axis=0), np.std(shares, axis=0) / np.sqrt(len(shares))
        figures |= {f"all kinds, {n} rows: share with p <= {a}": float(m) for a, m in zip(ALPHAS, mean, strict=True)}
        figures[f"all kinds, {n} rows: standard error at 0.01"] = float(error[0])
        if not quick:
            holds = 0.007 <= mean[0] <= 0.013
            goals.append(Goal(f"share with p <= 0.01, references of {n} rows", float(mean[0]), "0.007 to 0.013", holds))
    return Measured(figures, goals)


def false_discoveries(quick: bool, seed: int) -> Measured:
    """Of the events called strange in a pane, the share that is ordinary; of the strangers, the share called.

    The promise is about references too, so the standard error is that over references.
    """
    found: dict[float, list[tuple[float, float]]] = {share: [] for share in SHARES}
    for i in range(6 if quick else 30):
        rng = np.random.default_rng([seed, i])
        scorer = _fitted(_numbers(rng.standard_t(6, size=(1_500, 8))), i)
        for share in SHARES:
            panes = [_called_wrongly(scorer, share, rng) for _ in range(10 if quick else 50)]
            found[share].append((float(np.mean([p[0] for p in panes])), float(np.mean([p[1] for p in panes]))))
    figures: dict[str, object] = {}
    goals = []
    for share, pairs in found.items():
        wrong, power = np.array(pairs).T
        rate, error = float(wrong.mean()), float(wrong.std(ddof=1) / np.sqrt(len(wrong)))
        name = f"panes of {PANE}, {100 * share:g} % strange"
        figures |= {f"{name}: false discovery rate": rate, f"{name}: standard error": error}
        if share:
            figures[f"{name}: found"] = float(power.mean())
        bound = FALSE_DISCOVERIES + 2 * error
        goals.append(Goal(f"false discovery rate, {name}", rate, f"at most {bound:.3f}", rate <= bound))
    return Measured(figures, goals)


def _called_wrongly(scorer: OodScorer, share: float, rng: np.random.Generator) -> tuple[float, float]:
    """Of a pane's events that are called, the share that is ordinary; of its strangers, the share called."""
    strange = rng.random(PANE) < share
    rows = np.where(strange[:, None], rng.normal(size=(PANE, 8)) + 4.0, rng.standard_t(6, size=(PANE, 8)))
    p = scorer.score(_numbers(rows)).rank_p_value
    called = np.zeros(PANE, dtype=bool)
    called[np.argsort(p, kind="stable")[: _called(p)]] = True
    wrong = float((called & ~strange).sum() / max(called.sum(), 1))
    return wrong, float((called & strange).sum() / max(strange.sum(), 1))


def _called(p_value: np.ndarray) -> int:
    return discoveries(np.bincount(bin_of(p_value), minlength=N_BINS))


def _p_values(world: Callable[[int, np.random.Generator], EventBatch], n: int, seed: list[int]) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return _fitted(world(n, rng), seed[2]).score(world(1_000, rng)).p_value


def _fitted(reference: EventBatch, seed: int) -> OodScorer:
    part = OodScorer.fit(reference, infer_schema(reference), seed)
    assert isinstance(part, Part), part
    return OodScorer.build(part)


def _events(n: int, **columns: object) -> EventBatch:
    ids = np.array([str(i) for i in range(n)], dtype=object)
    return EventBatch("model", "", ids, np.arange(n, dtype=np.float64), **columns)  # type: ignore[arg-type]


def _numbers(rows: np.ndarray, **columns: object) -> EventBatch:
    return _events(len(rows), numeric_names=tuple(f"f{i}" for i in range(rows.shape[1])), numeric=rows, **columns)


def _correlated(n: int, rng: np.random.Generator) -> EventBatch:
    return _numbers(rng.standard_t(5, size=(n, 12)) @ np.random.default_rng(3).normal(size=(12, 12)))


def _mixed(n: int, rng: np.random.Generator) -> EventBatch:
    numbers = np.stack([rng.lognormal(size=n), rng.poisson(2.0, n).astype(float), rng.normal(size=n)], axis=1)
    numbers[rng.random(n) < 0.1, 2] = np.nan
    shops = np.array([f"s{i}" for i in np.minimum(rng.zipf(1.4, n), 3_000)], dtype=object)
    return _numbers(numbers, mixed={"shop": shops, "kind": rng.choice(np.array(["a", "b", "c"], dtype=object), n)})


def _embedded(n: int, rng: np.random.Generator) -> EventBatch:
    answer = rng.integers(5, size=n)
    rows = np.random.default_rng(9).normal(size=(5, 32))[answer] * 2 + rng.normal(size=(n, 32))
    return _events(n, embedding=rows, prediction=np.array([f"c{i}" for i in answer], dtype=object))


def _probable(n: int, rng: np.random.Generator) -> EventBatch:
    return _events(n, probabilities=rng.dirichlet(np.full(6, 0.3), n))


WORLDS: Mapping[str, Callable[[int, np.random.Generator], EventBatch]] = {
    "correlated numbers": _correlated,
    "mixed columns": _mixed,
    "embeddings by class": _embedded,
    "probabilities": _probable,
}
