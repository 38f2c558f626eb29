"""Events from a change to the alarm, beside other detectors at the same false-alarm rate, in one run.

The alarm line of ours is put where the mean run length on clean streams is ``EVENT_ARL`` events; then every peer's own
knob is turned until its mean run length on the same clean streams is ours. All see the same streams: a reference,
``ONSET`` ordinary events, then the change. Streams that alarm before the onset are counted apart.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from detectors.base import Detector
from detectors.budget import DEFAULT_TOLERANCE
from detectors.drift.marginals import MarginalDrift
from tests.benchmarks.drift.figures import Lengths, Section
from tests.benchmarks.drift.peers import (
    Matched,
    Peer,
    Stream,
    adwin,
    as_it_is,
    cusum_of_scale,
    cusum_of_shift,
    delays_of,
    kswin,
    matched,
    page_hinkley,
    textbook_cusum,
    windowed_ks,
)
from tests.benchmarks.drift.streams import Change, World, few_categories, one_column
from tests.benchmarks.drift.watched import Fitted, Pace, Rows, evidence_path, first_alarm

EVENT_ARL = 640.0
ONSET = 100
BY_EVENT = Pace(per_pane=1)
OUT_OF_REACH = 1e30
_LOWEST_LOG_LINE = float(np.log(20.0))
"""``AlarmBudget`` puts no line below it."""
CHANGES = (
    *(Change("shift", size) for size in (0.25, 0.5, 1.0, 2.0)),
    *(Change("scale", size) for size in (0.5, 1.5, 2.0)),
)
"""Those of table D.6."""
OTHER_CHANGES = (Change("shift", 0.1), Change("scale", 0.7), Change("scale", 1.3), Change("tail"), Change("ramp", 1.0))
CATEGORICAL_CHANGES = (Change("swap"), Change("new"))
QUICK_CHANGES = (Change("shift", 1.0), Change("scale", 2.0))
MOST = {
    Change("shift", 0.25): 140.0,
    Change("shift", 0.5): 41.0,
    Change("shift", 1.0): 15.0,
    Change("shift", 2.0): 7.0,
    Change("scale", 1.5): 40.0,
    Change("scale", 2.0): 18.0,
    Change("scale", 0.5): 20.0,
}
"""Table D.6: mean delay in events at a mean run length of 640, one column, 500 events of reference."""
WITHIN_OF_CUSUM = 1.5


@dataclass(frozen=True)
class Effort:
    """How many clean streams, each how many run lengths long, and how many changed streams, each how long.

    Changed streams are doubled up to ``looks - 1`` times, as long as they do not say which detector is faster.
    """

    clean_runs: int
    clean_lengths: float
    runs: int
    horizon: int
    looks: int = 1


QUICK = Effort(clean_runs=16, clean_lengths=1.5, runs=16, horizon=400)
FULL = Effort(clean_runs=100, clean_lengths=3.0, runs=100, horizon=800, looks=4)
HALF = Effort(clean_runs=50, clean_lengths=3.0, runs=50, horizon=800, looks=4)


@dataclass(frozen=True)
class Paths:
    """Log evidence on clean streams with the line out of reach: tells the run length at every line."""

    highest: Sequence[np.ndarray]

    @classmethod
    def of(cls, paths: Iterable[np.ndarray]) -> Paths:
        return cls([np.maximum.accumulate(path) for path in paths])

    def run_length(self, line: float) -> Lengths:
        """Mean run length in panes with the alarm line at log evidence ``line``."""
        horizon = float(len(self.highest[0]))
        at = np.array([np.searchsorted(path, line) for path in self.highest], dtype=np.float64)
        return Lengths.of_runs(np.where(at < horizon, at + 1, np.inf), horizon)

    def line(self, wanted: float) -> float:
        """The log evidence at which the mean run length is ``wanted`` panes."""
        low, high = _LOWEST_LOG_LINE, max(float(path[-1]) for path in self.highest) + 1.0
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if self.run_length(middle).mean < wanted else (low, middle)
        return high


@dataclass(frozen=True)
class Ours:
    """The detector under test at one alarm line."""

    detector: type[Detector]
    bound: float
    tolerance: float
    pace: Pace

    def first(self, reference: Rows, live: Rows) -> float:
        return first_alarm(
            Fitted.on(self.detector, reference, self.pace).built(self.bound, self.tolerance), live, self.pace
        )

    def firsts(self, streams: Sequence[tuple[Rows, Rows]]) -> np.ndarray:
        """(streams,) events to the first alarm, inf where none comes."""
        return np.array([self.first(*stream) for stream in streams])

    def delays(self, streams: Sequence[tuple[Rows, Rows]], onset: int, horizon: float) -> Lengths:
        return delays_of(self.firsts(streams), onset, horizon)


def clean_path(detector: type[Detector], reference: Rows, live: Rows, pace: Pace = BY_EVENT) -> np.ndarray:
    """(panes,) log evidence at tolerance 0 with the alarm line out of reach."""
    return evidence_path(Fitted.on(detector, reference, pace).built(OUT_OF_REACH, 0.0), live, pace)


def calibrated(
    detector: type[Detector], clean: Sequence[tuple[Rows, Rows]], wanted: float, pace: Pace = BY_EVENT
) -> tuple[Ours, Lengths]:
    """Ours at tolerance 0 with its line where its mean run length on ``clean`` is ``wanted`` panes."""
    paths = Paths.of(clean_path(detector, *rows, pace) for rows in clean)
    line = paths.line(wanted)
    return Ours(detector, float(np.exp(line)), 0.0, pace), paths.run_length(line)


def one_column_section(n: int, changes: Sequence[Change], effort: Effort, seed: int) -> Section:
    """The delay grid on one column, panes of one event, tolerance 0."""
    categorical = changes[0].categorical
    name = f"1 column, N={n}" + (", categories" if categorical else "")
    clean = _streams(seed, n, None, range(effort.clean_runs), round(effort.clean_lengths * EVENT_ARL), categorical)
    ours, run_length = calibrated(MarginalDrift, _rows(clean, categorical), EVENT_ARL)
    out = Section({f"mean run length in events, {name}, Vedette (B={ours.bound:,.0f})": run_length})
    peers = [matched(peer, clean, run_length.mean) for peer in (adwin(), kswin(), page_hinkley(), windowed_ks())]
    if not categorical:
        peers.append(matched(textbook_cusum(), clean, run_length.mean, steps=30))
    for peer in peers:
        out.figures[f"mean run length in events, {name}, {peer.peer.name}"] = peer.run_length
    for change in changes:
        oracle = _oracle(change)
        tellers = [*peers] if oracle is None else [*peers, matched(oracle, clean, run_length.mean, steps=30)]
        race = Race({teller.peer.name: teller for teller in tellers}, ours)
        race.all(
            lambda runs, of=change: _streams(seed, n, of, runs, ONSET + effort.horizon, categorical),
            categorical,
            effort,
        )
        out += race.section(
            f"delay in events, {name}, {change.name}", effort.horizon, MOST.get(change) if n == 500 else None
        )
    return out


@dataclass
class Race:
    """First alarms of ours and of the others on the same changed streams, with the change after ``ONSET`` events."""

    others: Mapping[str, Matched]
    ours: Ours
    firsts: dict[str, np.ndarray] = field(default_factory=dict)

    def all(self, streams: Callable[[range], Sequence[Stream]], categorical: bool, effort: Effort) -> None:
        """Streams by their numbers, until they decide, or as many as the effort allows."""
        for look in range(effort.looks):
            self.run(streams(range(look and effort.runs << (look - 1), effort.runs << look)), categorical)
            if self.decided(effort.horizon):
                break

    def run(self, streams: Sequence[Stream], categorical: bool) -> None:
        """Some streams more."""
        found = {"Vedette": self.ours.firsts(_rows(streams, categorical))}
        found |= {name: other.firsts(streams) for name, other in self.others.items()}
        self.firsts = {name: np.append(self.firsts.get(name, []), more) for name, more in found.items()}

    def lead(self, name: str, horizon: float) -> tuple[float, float]:
        """Mean delay of ours less that of ``name``, over streams on which both were silent till the change; its error.

        NaN where there are not two such streams.
        """
        mine, other = self.firsts["Vedette"], self.firsts[name]
        silent = (mine > ONSET) & (other > ONSET)
        ahead = np.minimum(mine[silent] - ONSET, horizon) - np.minimum(other[silent] - ONSET, horizon)
        if len(ahead) < 2:
            return float("nan"), float("nan")
        return float(ahead.mean()), float(ahead.std(ddof=1) / len(ahead) ** 0.5)

    def decided(self, horizon: float) -> bool:
        """Whether the streams say of every detector of river if ours is faster."""
        leads = [self.lead(name, horizon) for name in self.others if name.startswith("river")]
        return all(abs(mean) > 1.96 * error for mean, error in leads)

    def section(self, name: str, horizon: float, most: float | None) -> Section:
        """Goals: the table's figure within its error, 1.5 of the textbook CUSUM for shifts, every detector of river."""
        found = {who: delays_of(first, ONSET, horizon) for who, first in self.firsts.items()}
        out = Section({f"{name}, {who}": delay for who, delay in found.items()})
        ours = found["Vedette"]
        surely = ours.mean - 1.96 * ours.error
        if most is not None:
            out.at_most(f"{name}, lower 95 % limit", surely, most)
        for who, other in found.items():
            if who.startswith("river"):
                mean, error = self.lead(who, horizon)
                out.figures[f"{name}, less {who}, same streams"] = f"{mean:+.1f} ± {error:.1f}"
                out.at_most(f"{name}, less {who}, lower 95 % limit", mean - 1.96 * error, 0.0)
            if who == textbook_cusum().name and "mean +" in name:
                out.at_most(f"{name}, over {who}, lower 95 % limit", surely / other.mean, WITHIN_OF_CUSUM)
        return out


def _oracle(change: Change) -> Peer | None:
    makers: dict[str, Callable[[float], Peer]] = {"shift": cusum_of_shift, "scale": cusum_of_scale}
    return makers[change.kind](change.size) if change.kind in makers else None


def _streams(seed: int, n: int, change: Change | None, runs: range, length: int, categorical: bool) -> list[Stream]:
    """Fresh reference and stream a run; with a change, its onset is after ``ONSET`` events."""
    ordinary = few_categories if categorical else _normal
    name = "clean" if change is None else change.name
    out = []
    for run in runs:
        rng = np.random.default_rng([seed, zlib.crc32(name.encode()), n, run])
        reference = ordinary(rng, n)
        if change is None:
            out.append((reference, ordinary(rng, length)))
        else:
            out.append((reference, np.concatenate([ordinary(rng, ONSET), change.values(rng, length - ONSET)])))
    return out


def _normal(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.normal(size=n)


def _rows(streams: Sequence[Stream], categorical: bool) -> list[tuple[Rows, Rows]]:
    return [(one_column(a, categorical), one_column(b, categorical)) for a, b in streams]


# A budget as it is used: panes of ten events, one false alarm in 10,000 of them

USUAL_BOUND = 10_000.0
USUAL_PACE = Pace(per_pane=10)
USUAL_CHANGES = tuple(Change("shift", size) for size in (0.25, 0.5, 1.0, 2.0))


def usual_section(changes: Sequence[Change], runs: int, clean_events: int, seed: int) -> Section:
    """Delays at a guaranteed run length of 100,000 events; peers are matched to it where ``clean_events`` allow."""
    horizon, guaranteed = 5_000, USUAL_BOUND * USUAL_PACE.per_pane
    out = Section()
    n_clean = max(1, clean_events // round(2 * guaranteed))
    clean = _streams(seed, 2_000, None, range(n_clean), round(2 * guaranteed), False)
    tellers = {change: _oracle(change) for change in changes}
    others = [adwin(), kswin(), page_hinkley(), windowed_ks()] if clean_events > 2 * guaranteed else []
    peers = [matched(peer, clean, guaranteed, steps=9) for peer in others]
    for peer in peers:
        reached = peer.run_length
        known: object = reached if np.isfinite(reached.mean) else f"above {n_clean * 2 * guaranteed:,.0f}: no alarm"
        out.figures[f"mean run length in events, 10 a pane, {peer.peer.name} (wanted {guaranteed:,.0f})"] = known
    for change in changes:
        streams = _streams(seed, 2_000, change, range(runs), ONSET + horizon, False)
        name = f"delay in events, 10 a pane, B=10,000, N=2000, {change.name}"
        found = {}
        for tolerance, who in ((0.0, "Vedette"), (DEFAULT_TOLERANCE, "Vedette, default tolerance")):
            ours = Ours(MarginalDrift, USUAL_BOUND, tolerance, USUAL_PACE)
            found[who] = ours.delays(_rows(streams, False), ONSET, horizon)
        found |= {peer.peer.name: peer.delays(streams, ONSET, horizon) for peer in peers}
        oracle = tellers[change]
        if oracle is not None:
            told: Matched = matched(
                oracle, _streams(seed, 1, None, range(20), round(2 * guaranteed), False), guaranteed, 30
            )
            found[oracle.name] = told.delays(streams, ONSET, horizon)
        out.figures |= {f"{name}, {who}": delay for who, delay in found.items()}
        for peer in peers:
            out.at_most(f"{name}, beside {peer.peer.name}", found["Vedette"].mean, found[peer.peer.name].mean)
    return out


# River as it comes

DEFAULTS = ((kswin(), -np.log(0.005)), (page_hinkley(), np.log(50.0)), (adwin(), -np.log(0.002)))
"""Detectors of river at their own thresholds; ADWIN last, which does not alarm on clean streams as long as these."""
DEFAULT_ARL = 1_600


def defaults_section(n: int, effort: Effort, seed: int) -> Section:
    """Shifts of the mean, beside each detector of river at its own threshold, at its mean run length or below."""
    clean = _streams(seed, n, None, range(effort.clean_runs), round(effort.clean_lengths * DEFAULT_ARL), False)
    paths = Paths.of(clean_path(MarginalDrift, *rows) for rows in _rows(clean, False))
    name, out = f"1 column, N={n}, river's defaults", Section()
    line = paths.line(DEFAULT_ARL)
    for peer, strength in DEFAULTS:
        other = as_it_is(peer, float(strength), clean)
        if np.isfinite(other.run_length.mean):
            line = paths.line(other.run_length.mean)
        ours = Ours(MarginalDrift, float(np.exp(line)), 0.0, BY_EVENT)
        out.figures[f"mean run length in events, {name}, {peer.name}"] = other.run_length
        out.figures[f"mean run length in events, {name}, Vedette beside {peer.name}"] = paths.run_length(line)
        for change in CHANGES[:4]:
            race = Race({peer.name: other}, ours)
            race.all(lambda runs, of=change: _streams(seed, n, of, runs, ONSET + effort.horizon, False), False, effort)
            out += race.section(f"delay in events, {name}, {change.name}, {peer.name}", effort.horizon, None)
    return out


# Twenty columns

WIDE, WIDE_BOUND, WIDE_N = 20, 1_000.0, 500
WIDE_ARL = {0.0: 1_353.0, 0.5: 1_372.0, 0.95: 1_297.0}
"""Table D.6: mean run lengths, by correlation, at which its delays were measured."""


def wide_section(rho: float, clean_runs: int, runs: int, seed: int) -> Section:
    """Delay of 1 sd in one and in all of 20 columns, panes of one event, tolerance 0.

    Twice: with one false alarm allowed in ``WIDE_BOUND`` panes, and with the line where the mean run length is the one
    at which the table's delays were measured, which the goals are about.
    """
    name, horizon = f"20 columns, rho={rho:g}", round(2 * WIDE_ARL[rho])
    clean = [_wide(seed, rho, run, horizon, None) for run in range(clean_runs)]
    paths = Paths.of(clean_path(MarginalDrift, *rows) for rows in clean)
    lines = {"B=1,000": float(np.log(WIDE_BOUND)), "run length of the table": paths.line(WIDE_ARL[rho])}
    reached = {at: paths.run_length(line) for at, line in lines.items()}
    out = Section({f"mean run length in events, {name}, {at}": length for at, length in reached.items()})
    at_bound = reached["B=1,000"]
    out.at_least(
        f"mean run length in events, {name}, B=1,000, upper 95 % limit", at_bound.mean + 1.96 * _known(at_bound), 1e3
    )
    for what, moved, most in (("one column", slice(0, 1), 23.0), ("all columns", slice(None), 17.0)):
        streams = [_wide(seed, rho, run, 300, moved) for run in range(runs)]
        for at, line in lines.items():
            delay = Ours(MarginalDrift, float(np.exp(line)), 0.0, BY_EVENT).delays(streams, ONSET, 300)
            out.figures[f"delay in events, {name}, {at}, mean +1 sd in {what}"] = delay
        lower = delay.mean - 1.96 * delay.error
        out.at_most(f"delay in events, {name}, {at}, mean +1 sd in {what}, lower 95 % limit", lower, most)
    return out


def _known(length: Lengths) -> float:
    return length.error if np.isfinite(length.error) else 0.0


def _wide(seed: int, rho: float, run: int, length: int, moved: slice | None) -> tuple[Rows, Rows]:
    world = World(np.random.default_rng([seed, 20, run]), WIDE, rho=rho)
    reference = world.draw(WIDE_N)
    live = world.latent(length + (0 if moved is None else ONSET))
    if moved is not None:
        live[ONSET:, moved] += 1.0
    return reference, Rows.of_numbers(live)
