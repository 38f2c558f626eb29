"""Joint changes of five columns, beside a sliding MMD at the same false-alarm rate: rows of table D.6.

``section(detector, …)`` runs any detector of the contract, such as one that watches the columns together. The mean run
length of 593 events is the trial's.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist, pdist

from detectors.base import Detector
from detectors.budget import shares_of
from detectors.drift.joint import JointDrift
from detectors.drift.marginals import MarginalDrift
from tests.benchmarks.drift.delay import BY_EVENT, ONSET, Ours, Paths, clean_path
from tests.benchmarks.drift.figures import Lengths, Section
from tests.benchmarks.drift.peers import Traced, delays_of, matched
from tests.benchmarks.drift.streams import World
from tests.benchmarks.drift.watched import Rows

COLUMNS, N, ARL, WINDOW = 5, 600, 593.0, 50


@dataclass(frozen=True)
class JointChange:
    """``kind``: ``mean`` of every column or of ``one``, ``correlation`` of all pairs, ``scale`` of every column."""

    kind: str
    size: float
    baseline: float
    target: float
    """Mean delays in events: sliding MMD in its own trial, and what a detector is held to."""

    @property
    def name(self) -> str:
        words = {"mean": "mean +{} sd in all", "one": "mean +{} sd in one", "correlation": "correlation {}"}
        return words.get(self.kind, "sd x{} in all").format(f"{self.size:g}")

    def rows(self, rng: np.random.Generator, n: int) -> np.ndarray:
        rho = self.size if self.kind == "correlation" else 0.0
        z = World(rng, COLUMNS, rho=rho).latent(n)
        if self.kind == "mean":
            return z + self.size
        if self.kind == "one":
            z[:, 0] += self.size
        return z * self.size if self.kind == "scale" else z


JOINT_CHANGES = (
    JointChange("mean", 0.25, 41.0, 45.0),
    JointChange("mean", 0.5, 22.0, 19.0),
    JointChange("one", 1.0, 25.0, 23.0),
    JointChange("correlation", 0.4, 59.0, 59.0),
    JointChange("correlation", 0.7, 32.0, 26.0),
    JointChange("scale", 1.3, 38.0, 39.0),
    JointChange("scale", 0.7, 32.0, 30.0),
)


def mmd_path(reference: np.ndarray, live: np.ndarray, window: int = WINDOW) -> np.ndarray:
    """(n,) squared MMD of the latest ``window`` rows from ``reference``, 0 until there are as many.

    Gaussian kernel at the reference's median distance, biased estimate, up to the reference's own constant term.
    """
    width = np.median(pdist(reference))

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.exp(-cdist(a, b, "sqeuclidean") / (2 * width**2))

    to_reference = kernel(live, reference).mean(axis=1)
    cross = np.convolve(to_reference, np.full(window, 1.0 / window), mode="valid")
    own = np.zeros(len(live) + 1)
    for lag in range(window):
        pairs = np.exp(-((live[lag:] - live[: len(live) - lag]) ** 2).sum(axis=1) / (2 * width**2))
        weight = 1.0 if lag == 0 else 2.0
        enters = np.concatenate([[0.0], np.cumsum(pairs)])
        ends = np.arange(window, len(live) + 1)
        own[ends] += weight * (enters[ends - lag] - enters[ends - window])
    out = np.zeros(len(live))
    out[window - 1 :] = own[window:] / window**2 - 2 * cross + kernel(reference, reference).mean()
    return np.maximum(out, 0.0)


def sliding_mmd() -> Traced:
    return Traced(f"sliding MMD ({WINDOW})", mmd_path, strongest=2.0)


MODEL = (MarginalDrift, JointDrift)
"""What watches a model's inputs together, each with its share of the model's budget."""


@dataclass(frozen=True)
class Together:
    """Several detectors under one budget, as a user sees them: the first of them to alarm tells."""

    detectors: tuple[Ours, ...]

    @classmethod
    def calibrated(cls, paths: Mapping[type[Detector], list[np.ndarray]], wanted: float) -> tuple[Together, Lengths]:
        """At tolerance 0, with the budget at which the mean run length is ``wanted``; ``paths``: clean log evidence."""
        shares = shares_of([detector.name for detector in paths])
        weighted = [[path + np.log(shares[detector.name]) for path in own] for detector, own in paths.items()]
        either = Paths.of(np.max(both, axis=0) for both in zip(*weighted, strict=True))
        bound = float(np.exp(either.line(wanted)))
        return cls(tuple(Ours(d, bound / shares[d.name], 0.0, BY_EVENT) for d in paths)), either.run_length(
            np.log(bound)
        )

    def delays(self, streams: Sequence[tuple[Rows, Rows]], horizon: float) -> Lengths:
        first = [min(detector.first(*rows) for detector in self.detectors) for rows in streams]
        return delays_of(np.array(first), ONSET, horizon)


def section(
    detector: type[Detector], changes: Sequence[JointChange], clean_runs: int, runs: int, horizon: int, seed: int
) -> Section:
    """Delays of ``detector``, the sliding MMD, and the model as a whole, at a mean run length of about 593 events."""
    clean = [_stream(seed, None, run, round(3 * ARL)) for run in range(clean_runs)]
    paths = {d: [clean_path(d, *rows) for rows in _as_rows(clean)] for d in dict.fromkeys((*MODEL, detector))}
    own = Paths.of(paths[detector])
    line = own.line(ARL)
    run_length = own.run_length(line)
    ours = Ours(detector, float(np.exp(line)), 0.0, BY_EVENT)
    mmd = matched(sliding_mmd(), clean, run_length.mean, steps=30)
    name = f"{COLUMNS} columns, N={N}"
    out = Section({f"mean run length in events, {name}, {detector.name} (B={ours.bound:,.0f})": run_length})
    out.figures[f"mean run length in events, {name}, {mmd.peer.name}"] = mmd.run_length
    model, model_length = Together.calibrated({d: paths[d] for d in MODEL}, ARL)
    out.figures[f"mean run length in events, {name}, model (drift and joint)"] = model_length
    for change in changes:
        streams = [_stream(seed, change, run, ONSET + horizon) for run in range(runs)]
        delay = ours.delays(_as_rows(streams), ONSET, horizon)
        out.figures[f"delay in events, {name}, {change.name}, {detector.name}"] = delay
        out.figures[f"delay in events, {name}, {change.name}, {mmd.peer.name}"] = mmd.delays(streams, ONSET, horizon)
        whole = model.delays(_as_rows(streams), horizon)
        out.figures[f"delay in events, {name}, {change.name}, model (drift and joint)"] = whole
        lower = delay.mean - 1.96 * delay.error
        out.at_most(f"delay in events, {name}, {change.name}, lower 95 % limit", lower, change.target)
    return out


def _stream(seed: int, change: JointChange | None, run: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    name = "clean" if change is None else change.name
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), run])
    reference = rng.normal(size=(N, COLUMNS))
    if change is None:
        return reference, rng.normal(size=(length, COLUMNS))
    return reference, np.concatenate([rng.normal(size=(ONSET, COLUMNS)), change.rows(rng, length - ONSET)])


def _as_rows(streams: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[tuple[Rows, Rows]]:
    return [(Rows.of_numbers(reference), Rows.of_numbers(live)) for reference, live in streams]
