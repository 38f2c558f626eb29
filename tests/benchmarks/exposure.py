"""Exposure benchmark: does the meter follow real copies, and what does a client's own past give?

``python -m tests.benchmarks exposure [--quick]``. Real copies are a logistic regression and a small network trained on
the same queries with the model's labels; the better of the two counts.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from detectors.extraction.detector import ExtractionDetector
from tests.benchmarks import extraction_worlds as worlds
from tests.benchmarks.extraction import (
    PANES,
    Stream,
    fitted,
    join,
    play,
    reference,
    sketches,
)
from tests.benchmarks.report import Goal, Report

VOLUMES = (25, 50, 100, 200, 400, 800, 1600)
SCRAPE = 600


@dataclass(frozen=True)
class Plan:
    """How much is measured: worlds, streams per kind of client, deployments of known honest clients, hijacked keys."""

    worlds: tuple[str, ...]
    streams: int
    volumes: tuple[int, ...]
    deployments: int
    hijacked: int


FULL = Plan(("digits", "flights"), 2, VOLUMES, 18, 12)
QUICK = Plan(("digits",), 1, (50, 200), 1, 4)


def natural(world: Any, rng: np.random.Generator, n: int) -> np.ndarray:
    """Ordinary rows of many clients at once: what a thief with data of the right domain sends."""
    rows = np.concatenate([world.honest(rng)(n // 40 + 1) for _ in range(40)])
    return np.asarray(rows[rng.permutation(len(rows))[:n]])


KINDS: dict[str, Callable[[Any, np.random.Generator, int], np.ndarray]] = {
    "one honest client": lambda w, r, n: w.honest(r)(n),
    "natural": natural,
    **worlds.ATTACKS,
}


def numbers(world: Any, rows: np.ndarray) -> np.ndarray:
    """What a real copy is trained on: pixels as they are, columns standardised, categories as indicators."""
    if not world.categories:
        return rows
    numeric = [j for j in range(rows.shape[1]) if j not in world.categories]
    spread = np.maximum(world.pool[:, numeric].std(axis=0), 1e-9)
    parts = [(rows[:, numeric] - world.pool[:, numeric].mean(axis=0)) / spread]
    parts += [(rows[:, [j]] == np.arange(len(names))).astype(float) for j, names in world.categories.items()]
    return np.hstack(parts)


def real_copy(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray) -> float:
    """Agreement of the better of two copies."""
    if len(np.unique(y)) < 2:
        return float(np.mean(y_test == y[0]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        copies = (
            LogisticRegression(max_iter=200).fit(x, y),
            MLPClassifier((32,), max_iter=120, random_state=0).fit(x, y),
        )
        return max(float(np.mean(copy.predict(x_test) == y_test)) for copy in copies)


def fidelity(world: Any, detector: ExtractionDetector, plan: Plan, seed: int) -> np.ndarray:
    """(m, 3) queries, agreement by the meter, agreement of the real copy."""
    meter = detector.study.meter
    assert meter is not None
    rng = np.random.default_rng([seed, 1])
    test = np.concatenate([world.honest(rng)(25) for _ in range(60)])
    x_test, y_test = numbers(world, test), world.score(test).argmax(axis=1)
    out = []
    for kind, draw in KINDS.items():
        for i in range(plan.streams):
            own = np.random.default_rng([seed, i, len(kind)])
            rows = draw(world, own, max(plan.volumes))
            rows = rows[own.permutation(len(rows))]
            batch = world.batch(rows, ["x"] * len(rows), 1.7e9 + np.arange(len(rows)), "scores", "x")
            design = meter.design(detector.channels.rows(batch), batch, detector.channels)
            x, y = numbers(world, rows), world.score(rows).argmax(axis=1)
            for n in plan.volumes:
                copy = meter.copy(meter.sums(design, np.array([0]), np.array([n]))[0])
                assert copy is not None
                out.append((n, copy.agreement, real_copy(x[:n], y[:n], x_test, y_test)))
    return np.array(out)


def again(world: Any, n_clients: int, seed: int, run_: int, hijacked: int) -> list[Stream]:
    """The clients of the reference once more, with data of today; the first few are taken over half way."""
    out = []
    for i in range(n_clients):
        past, draw = known_stream(world, f"ref-{i}", np.random.default_rng([seed, i]))
        today = np.random.default_rng([seed, run_, i])
        n = int(np.clip(today.lognormal(np.log(150), 0.8), 12, 900))
        rows, pane = draw(n), np.sort(today.integers(PANES, size=n))
        if i < hijacked and len(past.rows) >= 100:
            late = natural(world, today, SCRAPE)
            rows = np.concatenate([rows[: n // 2], late])
            pane = np.concatenate([pane[: n // 2] // 2, 10 + np.arange(SCRAPE) * (PANES - 10) // SCRAPE])
        out.append(Stream(past.client, rows, np.sort(pane)))
    return out


def known_stream(world: Any, client: str, rng: np.random.Generator) -> tuple[Stream, Callable[[int], np.ndarray]]:
    """An ordinary client with a habit, and how it goes on."""
    draw = world.honest(rng)
    n = int(np.clip(rng.lognormal(np.log(250), 0.6), 40, 700))
    return Stream(client, draw(n), np.sort(rng.integers(200, size=n))), draw


def own_past(world: Any, plan: Plan, seed: int) -> dict[str, float]:
    """Known honest clients accused and warned of, and what of ordinary data scraped through a known key is found."""
    streams = [known_stream(world, f"ref-{i}", np.random.default_rng([seed, i]))[0] for i in range(60)]
    detector, _, _ = fitted(join(world, streams, "scores", np.random.default_rng(seed + 1), "r"), seed)
    figures = dict.fromkeys(("known", "alarms", "warnings", "scraped", "scraped found", "scraped alarmed"), 0.0)
    for run_ in range(plan.deployments):
        today = again(world, 60, seed, run_, 0)
        first = play(detector, sketches(detector, join(world, today, "scores", np.random.default_rng(run_), "a")))
        figures["known"] += len(today)
        figures["alarms"] += sum("alarm" in v for v in first.values())
        figures["warnings"] += sum("warning" in v for v in first.values())
    for run_ in range(max(1, plan.hijacked // 4)):
        today = again(world, 60, seed, 100 + run_, 4)
        first = play(detector, sketches(detector, join(world, today, "scores", np.random.default_rng(run_), "b")))
        taken = [s.client for s in today[:4] if len(s.rows) >= SCRAPE]
        figures["scraped"] += len(taken)
        figures["scraped found"] += sum(bool(first.get(c)) for c in taken)
        figures["scraped alarmed"] += sum("alarm" in first.get(c, {}) for c in taken)
    return figures


def run(quick: bool, seed: int) -> Report:
    """Measure every world of the plan."""
    plan = QUICK if quick else FULL
    figures: dict[str, Any] = {}
    goals: list[Goal] = []
    for name in plan.worlds:
        world = worlds.WORLDS[name](seed)
        batch = reference(world, 60, "scores", seed)
        detector, _, _ = fitted(batch, seed)
        found = fidelity(world, detector, plan, seed)
        gap, r = found[:, 1] - found[:, 2], float(np.corrcoef(found[:, 1], found[:, 2])[0, 1])
        figures |= {
            f"{name}: correlation with real copies": round(r, 3),
            f"{name}: rank correlation": round(float(stats.spearmanr(found[:, 1], found[:, 2])[0]), 3),
            f"{name}: gap, mean": round(float(gap.mean()), 3),
            f"{name}: gap, mean absolute": round(float(np.abs(gap).mean()), 3),
        }
        for low, high in ((0, 99), (100, 399), (400, 10_000)):
            part = np.abs(gap[(found[:, 0] >= low) & (found[:, 0] <= high)])
            if len(part):
                figures[f"{name}: gap, mean absolute, {low} to {high} queries"] = round(float(part.mean()), 3)
        figures |= {f"{name}: study, us an event": round(cost(detector, batch), 2)}
        past = own_past(world, plan, seed)
        figures |= {f"{name}: own past, {key}": value for key, value in past.items()}
        rate = past["alarms"] / past["known"]
        goals += [
            Goal(f"{name}: the meter follows real copies", r, ">= 0.8", r >= 0.8),
            Goal(f"{name}: known honest clients accused", rate, "<= 2e-3", rate <= 2e-3),
        ]
    return Report("exposure", figures, goals)


def cost(detector: ExtractionDetector, batch: Any) -> float:
    """Microseconds an event that the study adds to a sketch, in batches of two thousand events."""
    batch = batch.take(np.arange(min(2_000, len(batch))))
    rows = detector.channels.rows(batch)
    names = np.unique(batch.client_id, return_inverse=True)[1]
    order = np.argsort(names, kind="stable")
    first = np.flatnonzero(np.diff(names[order], prepend=-1))
    began = time.process_time()
    for _ in range(10):
        detector.study.sums(rows, batch, order, first, detector.channels)
    return (time.process_time() - began) / 10 / len(batch) * 1e6
