"""False alarms against the budget on a fast clock: independent cells over a covering design, and dependent ones.

A cell plays fresh pairs of reference and stream, each four budgets long, and counts alarms over what the budget allows.
The same sketches are judged at tolerance 0, where the rate must be neither above the budget nor vacuous, and at the
default tolerance, where it must not be above.

What a cell shows is looked at up to three times: after the alarms that it is given, after twice and after four times as
many, and it is played on only while the limits of its rate leave open whether it is above the budget, or the rate
looks vacuous. The three intervals miss the rate with a chance of 5 % together, whichever of them is the last.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from river import drift as river_drift
from scipy.stats import chi2

from detectors.base import Detector
from detectors.budget import DEFAULT_TOLERANCE
from detectors.drift.marginals import MarginalDrift
from tests.benchmarks.drift.figures import Rate, Section
from tests.benchmarks.drift.peers import ks_p_values
from tests.benchmarks.drift.streams import FEW, SHAPES, MixedWorld, World
from tests.benchmarks.drift.watched import Fitted, Judge, Pace, Rows, panes

BUDGETS_A_RUN = 4
ENOUGH = 12.0
"""Allowed alarms from which a rate says something; below, only a clear excess is held against it."""
LOOKS = (1, 2, 4)
"""After how many times the alarms that a cell is given it is looked at."""
NOT_VACUOUS = 0.2
MOST_DEPENDENT = 1.5
_ERROR = 0.05
_CHUNK_VALUES = 400_000
FACTORS: dict[str, tuple] = {
    "n": (200, 500, 2_000, 20_000),
    "columns": (1, 20, 300),
    "rho": (0.0, 0.5, 0.95),
    "shape": SHAPES,
    "per_pane": (10, 50, 500),
}
DAY_PANE_S = 600.0
_A_DAY = round(86_400 / DAY_PANE_S)


@dataclass(frozen=True)
class Cell:
    """One setting of the grid; ``edge`` moves the stream as far as the default tolerance allows."""

    n: int
    columns: int
    per_pane: int
    shape: str = "normal"
    rho: float = 0.0
    phi: float = 0.0
    season: float = 0.0
    pane_effect: float = 0.0
    edge: str = ""
    bound: float = 200.0

    @property
    def independent(self) -> bool:
        return not (self.phi or self.season or self.pane_effect)

    @property
    def most(self) -> float:
        """False alarms over budget that the cell may show."""
        return 1.0 if self.independent else MOST_DEPENDENT

    @property
    def name(self) -> str:
        kept = {"rho": self.rho, "AR": self.phi, "season": self.season, "pane effect": self.pane_effect}
        tail = "".join(f" {name}={value:g}" for name, value in kept.items() if value)
        edge = f" moved by the tolerance ({self.edge})" if self.edge else ""
        return f"N={self.n} d={self.columns} pane={self.per_pane} B={self.bound:g} {self.shape}{tail}{edge}"

    @property
    def pace(self) -> Pace:
        return Pace(self.per_pane, DAY_PANE_S if self.season else 10.0)

    def world(self, rng: np.random.Generator) -> World:
        return World(
            rng,
            self.columns,
            self.shape,
            self.rho,
            self.phi,
            self.season,
            _A_DAY * self.per_pane,
            self.pane_effect,
            self.per_pane,
        )


def covering() -> list[Cell]:
    """Every pair of levels of any two factors, in about thirty cells: greedily the cell with most new pairs."""
    names = list(FACTORS)
    candidates = [
        row for row in itertools.product(*FACTORS.values()) if _affordable(dict(zip(names, row, strict=True)))
    ]
    missing = {pair for row in candidates for pair in _pairs(row)}
    chosen = []
    while missing:
        best = max(candidates, key=lambda row: len(missing & _pairs(row)))
        missing -= _pairs(best)
        chosen.append(_cell(dict(zip(names, best, strict=True))))
    return chosen


def _pairs(row: Sequence[object]) -> set[tuple]:
    return set(itertools.combinations(enumerate(row), 2))


def _affordable(levels: dict) -> bool:
    """One column has nothing to correlate with; ten thousand categories are drawn and coded one by one."""
    if levels["columns"] == 1 and levels["rho"]:
        return False
    return levels["shape"] != "zipf" or levels["columns"] * levels["per_pane"] <= 3_000


def _cell(levels: dict) -> Cell:
    return Cell(**levels, bound={1: 500.0, 20: 300.0, 300: 200.0}[levels["columns"]])


def quick_cells() -> list[tuple[Cell, float]]:
    """A few cells, each with the alarms that its budget shall allow."""
    return [
        (Cell(500, 1, 50), 12.0),
        (Cell(200, 1, 10, "bernoulli"), 20.0),
        (Cell(2_000, 20, 50, "lognormal", 0.5), 20.0),
        (Cell(500, 1, 50, "zipf"), 12.0),
        (Cell(2_000, 300, 10, rho=0.95), 2.0),
        (Cell(20_000, 1, 50, edge="mass"), 12.0),
        (Cell(5_000, 5, 50, phi=0.5), 12.0),
        (Cell(14 * _A_DAY * 10, 2, 10, season=1.0), 5.0),
    ]


def full_cells() -> list[tuple[Cell, float]]:
    """The grid, each cell with the alarms that its budget allows by the first look: fewer where each takes longest."""
    plain = [*covering(), Cell(500, 1, 50, bound=2_000.0)]
    edges = [Cell(n, d, 50, edge=edge) for n in (2_000, 20_000) for d in (1, 20) for edge in ("mass", "shift")]
    chained = [Cell(5_000, 5, 50, phi=phi) for phi in (0.3, 0.5, 0.8, 0.9)]
    seasons = [Cell(days * _A_DAY * 20, 5, 20, season=s) for days, s in ((14, 0.5), (14, 1.0), (28, 1.0))]
    effects = [Cell(5_000, 5, 50, pane_effect=e) for e in (0.1, 0.3)]
    cells = (*plain, *edges, *chained, *seasons, *effects)
    return [(cell, 16.0 if cell.columns == 300 else 24.0) for cell in cells]


def section(cell: Cell, allowed: float, looks: Sequence[int], seed: int) -> Section:
    """Figures and goals of one cell at both tolerances."""
    out = Section()
    tolerances = (DEFAULT_TOLERANCE,) if cell.edge else (0.0, DEFAULT_TOLERANCE)
    for tolerance, rate in false_alarms(cell, tolerances, allowed, seed, looks).items():
        name = f"false alarms / budget, {cell.name}, tolerance {tolerance:g}"
        out.figures[name] = rate
        if not cell.independent:
            out.at_most(name, rate.ratio, cell.most)
            continue
        if allowed >= ENOUGH:
            out.at_most(f"upper limit of {name}", rate.high, cell.most)
        else:
            out.at_most(f"lower limit of {name}", rate.low, cell.most)
        if tolerance == 0.0 and allowed >= ENOUGH:
            out.at_least(f"not vacuous: {name}", rate.ratio, NOT_VACUOUS)
    return out


def false_alarms(
    cell: Cell, tolerances: Sequence[float], allowed: float, seed: int, looks: Sequence[int] = (1,)
) -> dict[float, Rate]:
    """Tolerance → alarms over what is allowed, ``allowed`` times the look at which it was settled, else the last.

    The tolerances share every sketch.
    """
    runs = max(1, round(allowed / BUDGETS_A_RUN))
    length = round(allowed * cell.bound / runs)
    alarms, rates = dict.fromkeys(tolerances, 0), {}
    unsettled, done = list(tolerances), 0
    for look in looks:
        for run in range(done, look * runs):
            for tolerance, count in _run(cell, unsettled, run, length, seed).items():
                alarms[tolerance] += count
        done = look * runs
        for tolerance in unsettled:
            error = _ERROR / len(looks)
            rates[tolerance] = Rate(alarms[tolerance], done * length / cell.bound, done * length, error)
        unsettled = [t for t in unsettled if not settled(cell, rates[t], vacuous_counts=t == 0.0)]
        if not unsettled:
            break
    return rates


def settled(cell: Cell, rate: Rate, vacuous_counts: bool) -> bool:
    """Whether no further look is needed to say that the rate holds, or that it does not."""
    if rate.low > cell.most:
        return True
    if cell.independent and vacuous_counts and rate.ratio < NOT_VACUOUS:
        return rate.high < NOT_VACUOUS
    return rate.high <= cell.most


def _run(cell: Cell, tolerances: Sequence[float], run: int, length: int, seed: int) -> dict[float, int]:
    """Tolerance → alarms over ``length`` panes after a fresh reference."""
    rng = np.random.default_rng([seed, zlib.crc32(cell.name.encode()), run])
    world = cell.world(rng)
    fitted = Fitted.on(MarginalDrift, world.draw(cell.n), cell.pace)
    detectors = {t: fitted.built(cell.bound, t) for t in tolerances}
    return _played(detectors, _pieces(cell, world, length), cell.pace)


def _played(detectors: dict[float, Detector], pieces: Iterator[Rows], pace: Pace) -> dict[float, int]:
    judges = {tolerance: Judge(detector) for tolerance, detector in detectors.items()}
    counts, first = dict.fromkeys(detectors, 0), 0
    sketching = next(iter(detectors.values()))
    for piece in pieces:
        for pane in panes(sketching, piece, pace, first):
            first += 1
            for tolerance, judge in judges.items():
                counts[tolerance] += judge.alarms(pane)
    return counts


def _pieces(cell: Cell, world: World, length: int) -> Iterator[Rows]:
    """The stream of ``length`` panes, in pieces that fit in memory."""
    at_once = max(1, _CHUNK_VALUES // (cell.per_pane * cell.columns))
    for start in range(0, length, at_once):
        n = min(at_once, length - start) * cell.per_pane
        rows = world.draw(n)
        yield _moved(rows, cell.edge, world.rng) if cell.edge else rows


def _moved(rows: Rows, edge: str, rng: np.random.Generator) -> Rows:
    """Standard normal columns as far away as the tolerance allows, by total variation: its share of the traffic."""
    if edge == "shift":
        return replace(rows, numeric=rows.numeric + DEFAULT_TOLERANCE * np.sqrt(2 * np.pi))
    gone = rng.random((len(rows), 1)) < DEFAULT_TOLERANCE
    return replace(rows, numeric=np.where(gone, 4.0, rows.numeric))


# 30 mixed columns, one false alarm a week

MIXED_PACE = Pace(per_pane=50, pane_s=3_600.0)
_WEEK_PANES = 168


def mixed_section(phi: float, weeks: int, seed: int) -> Section:
    """Alarms over budget on 30 mixed columns, a week of reference per four weeks of stream, beside the others'."""
    kind = f"AR {phi:g}" if phi else "i.i.d."
    counts = dict.fromkeys(("Vedette, tolerance 0", "Vedette", "windowed KS and chi-square, Bonferroni", "ADWIN"), 0)
    runs = max(1, weeks // 4)
    length = weeks * _WEEK_PANES // runs
    for run in range(runs):
        world = MixedWorld(np.random.default_rng([seed, 30, run]), phi)
        reference, live = world.draw(_WEEK_PANES * 50), world.draw(length * 50)
        fitted = Fitted.on(MarginalDrift, reference, MIXED_PACE)
        detectors = {t: fitted.built(float(_WEEK_PANES), t) for t in (0.0, DEFAULT_TOLERANCE)}
        played = _played(detectors, _cut(live, 50 * 100), MIXED_PACE)
        counts["Vedette, tolerance 0"] += played[0.0]
        counts["Vedette"] += played[DEFAULT_TOLERANCE]
        counts["windowed KS and chi-square, Bonferroni"] += _windowed_flags(reference, live, 50)
        counts["ADWIN"] += _adwin_alarms(reference, live)
    out = Section()
    for name, alarms in counts.items():
        figure = f"30 mixed columns, 1 a week, {kind}: alarms / budget, {name}"
        out.figures[figure] = rate = Rate(alarms, runs * length / _WEEK_PANES, runs * length)
        if name.startswith("Vedette"):
            out.at_most(figure, rate.ratio if phi else rate.high, 1.5 if phi else 1.0)
    return out


def _cut(rows: Rows, size: int) -> Iterator[Rows]:
    for at in range(0, len(rows), size):
        yield Rows(rows.numeric[at : at + size], rows.categories[at : at + size])


def _windowed_flags(reference: Rows, live: Rows, window: int) -> int:
    """Columns flagged, summed over windows, at a level that allows one a week over all columns."""
    columns = reference.numeric.shape[1] + reference.categories.shape[1]
    level = 1.0 / (_WEEK_PANES * columns)
    flags = 0
    for known, values in zip(reference.numeric.T, live.numeric.T, strict=True):
        flags += int((ks_p_values(known, values.reshape(-1, window)) <= level).sum())
    for known, values in zip(reference.categories.T, live.categories.T, strict=True):
        names = [*FEW, None]
        share = np.array([np.mean([v is name or v == name for v in known]) for name in names])
        counts = np.stack([(values == name).reshape(-1, window).sum(axis=1) for name in names], axis=1)
        statistic = ((counts - window * share) ** 2 / (window * share)).sum(axis=1)
        flags += int((chi2.sf(statistic, len(names) - 1) <= level).sum())
    return flags


def _adwin_alarms(reference: Rows, live: Rows) -> int:
    """Alarms of one ADWIN per numeric column, at its own default level divided by the columns."""
    alarms, columns = 0, reference.numeric.shape[1]
    for known, values in zip(reference.numeric.T, live.numeric.T, strict=True):
        detector = river_drift.ADWIN(delta=0.002 / columns)
        for value in known[np.isfinite(known)].tolist():
            detector.update(value)
        for value in values[np.isfinite(values)].tolist():
            detector.update(value)
            alarms += detector.drift_detected
    return alarms
