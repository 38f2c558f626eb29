"""Figures and goals from what was measured on one world."""

from __future__ import annotations

import numpy as np

from tests.benchmarks.extraction import honest, rates
from tests.benchmarks.extraction.attacks import ATTACKS, QUERIES
from tests.benchmarks.extraction.compare import Others
from tests.benchmarks.extraction.figures import Section, Share, pooled
from tests.benchmarks.extraction.plan import MAIN
from tests.benchmarks.extraction.rates import Accused, Found
from tests.benchmarks.extraction.worlds import World

HONEST_GOAL = 1.5e-3
ENOUGH_CLIENTS = 1_500
FAR_GOALS = {1.0: 1.0, 0.5: 1.0, 0.25: 0.95, 0.1: 0.8}
EARLY_GOAL = 0.9
COPY_GOAL = 0.6
RATIO_GOAL = 2.0
SUPERVISED_FAMILIES = ("near", "active")


def honest_section(world: World, accused: Accused) -> Section:
    """Accused of all, and of each sort, at each visibility."""
    out = Section()
    visibilities = list(dict.fromkeys(v for v, _ in accused.clients))
    for visibility in visibilities:
        head = f"{world.name}, {visibility}: honest clients"
        out.figures[f"{head} accused"] = accused.share(visibility)
        out.figures[f"{head} warned of"] = accused.share(visibility, table="warnings")
        for sort in honest.SORTS:
            share = accused.share(visibility, sort)
            if share.n:
                out.figures[f"{head} accused, {sort}"] = share
    whole = pooled(accused.share(v) for v in visibilities)
    out.figures[f"{world.name}: honest clients accused, all visibilities"] = whole
    return out + honest_goal(f"{world.name}: honest clients accused, all visibilities", whole)


def honest_goal(name: str, share: Share) -> Section:
    """The rate against the goal; of few clients, the lower limit of the rate: one of a hundred proves nothing."""
    out = Section()
    if share.n >= ENOUGH_CLIENTS:
        out.at_most(name, share.value, HONEST_GOAL)
    else:
        out.at_most(f"{name}, lower limit", share.low, HONEST_GOAL)
    return out


def drift_section(name: str, accused: Accused) -> Section:
    """Honest clients accused while everybody's inputs change together."""
    out = Section()
    for visibility in dict.fromkeys(v for v, _ in accused.clients):
        share = accused.share(visibility)
        out.figures[f"{name}, {visibility}: honest clients accused while all drift together"] = share
        out.at_most(f"{name}, {visibility}: honest clients accused while all drift together", share.k, 1)
    return out


def found_section(world: World, found: list[Found]) -> Section:
    """One line a cell, and the goals for the far domain and for copies."""
    out = Section()
    table = rates.cells(found)
    for (visibility, attack, share), group in table.items():
        line = rates.summary(group)
        out.figures[f"{world.name}, {visibility}: {attack} {share:.0%}"] = (
            f"found {line['found'].value:.2f} (by its walk {line['by its walk'].value:.2f}), "
            f"within 100 {line['within 100'].value:.2f}, "
            f"warned {line['warned'].value:.2f}, median queries {line['median queries']:.0f}, n {len(group)}"
        )
    for visibility in dict.fromkeys(v for v, _, _ in table):
        out += _far_goals(f"{world.name}, {visibility}", {k[1:]: g for k, g in table.items() if k[0] == visibility})
    return out + _copies(world.name, table)


def _far_goals(head: str, cells: dict[tuple[str, float], list[Found]]) -> Section:
    out = Section()
    far = {cell: rates.summary(group) for cell, group in cells.items() if ATTACKS[cell[0]].family == "far"}
    for share, goal in FAR_GOALS.items():
        hits = pooled(line["found"] for (_, s), line in far.items() if s == share)
        if hits.n:
            out.at_least(f"{head}: far domain at {share:.0%} found", hits.value, goal)
    early = pooled(line["within 100"] for (_, s), line in far.items() if s == 1.0)
    if early.n:
        out.at_least(f"{head}: pure far domain within 100 queries", early.value, EARLY_GOAL)
    return out


def _copies(name: str, table: dict[tuple[str, str, float], list[Found]]) -> Section:
    """How good the thief's copy was when it was found, over how good it became; 1 where it was not found."""
    out = Section()
    for (visibility, attack, share), group in table.items():
        copies = [f.copy for f in group if f.copy is not None]
        if not copies:
            continue
        head = f"{name}, {visibility}: copy at the alarm over the final one, {attack} {share:.0%}"
        ratio = float(np.median([c.ratio for c in copies]))
        beyond = float(np.median([c.ratio_beyond_chance for c in copies]))
        final = float(np.median([c.final for c in copies]))
        out.figures[head] = f"{ratio:.2f}, beyond a constant answer {beyond:.2f}, final agreement {final:.2f}"
        if share == 1.0 and ATTACKS[attack].family == "far":
            out.at_most(head, ratio, COPY_GOAL)
    return out


def others_section(others: Others, found: list[Found], rate: float) -> Section:
    """Beside baselines and the supervised reference, all at the same share of honest clients accused."""
    out = Section()
    table = rates.cells(found)
    ours = {cell: Share.of(f.alarm <= QUERIES for f in group) for cell, group in table.items()}
    name = others.world.name
    out.figures[f"{name}: share of honest clients that others may accuse"] = rate
    totals: dict[str, int] = {b.name: 0 for b in others.baselines}
    for (visibility, attack, share), mine in ours.items():
        if visibility != MAIN:
            continue
        cell = {b: int((w <= QUERIES).sum()) for b, w in others.baseline_found((attack, share), rate).items()}
        totals = {b: totals[b] + cell[b] for b in totals}
        shown = ", ".join(f"{b} {k / mine.n:.2f}" for b, k in cell.items())
        out.figures[f"{name}: {attack} {share:.0%}, ours {mine.value:.2f}, beside"] = shown
    best = max(totals, key=lambda b: totals[b])
    whole = pooled(share for (v, _, _), share in ours.items() if v == MAIN)
    for baseline, k in totals.items():
        out.figures[f"{name}: found by {baseline}, all cells"] = Share(k, whole.n)
    out.figures[f"{name}: found by ours, all cells"] = whole
    out.at_least(f"{name}: ours over the best baseline ({best})", whole.k / max(1, totals[best]), RATIO_GOAL)
    return out + _supervised(others, ours, rate)


def _supervised(others: Others, ours: dict[tuple[str, str, float], Share], rate: float) -> Section:
    """Ours beside who was told, a line a cell and a sum a family; the goal is that no cell falls behind."""
    out = Section()
    beside: dict[tuple[str, str], list[tuple[Share, Share]]] = {}
    for (visibility, attack, share), mine in ours.items():
        told = Share.of(others.supervised_found(visibility, (attack, share), rate) <= QUERIES)
        head = f"{others.world.name}, {visibility}: {attack} {share:.0%}, ours beside supervised"
        out.figures[head] = f"{mine.value:.2f} beside {told.value:.2f}"
        beside.setdefault((visibility, ATTACKS[attack].family), []).append((mine, told))
    for (visibility, family), pairs in beside.items():
        head = f"{others.world.name}, {visibility}: {family}"
        mine, told = (pooled(side) for side in zip(*pairs, strict=True))
        out.figures[f"{head}, all cells, ours beside supervised"] = f"{mine.value:.3f} beside {told.value:.3f}"
        if family in SUPERVISED_FAMILIES:
            worst = min(a.value - b.value for a, b in pairs)
            out.at_least(f"{head}, worst cell, ours less supervised", worst, 0.0)
    return out


def whole_section(figures: dict[str, object]) -> Section:
    """All worlds together: honest clients at the main visibility, and all cells beside the best baseline."""
    out = Section()
    honest_ = [
        v for k, v in figures.items() if k.endswith(f", {MAIN}: honest clients accused") and isinstance(v, Share)
    ]
    if honest_:
        out.figures["all worlds: honest clients accused"] = pooled(honest_)
        out += honest_goal("all worlds: honest clients accused", pooled(honest_))
    found: dict[str, list[Share]] = {}
    for key, value in figures.items():
        if ": found by " in key and isinstance(value, Share):
            found.setdefault(key.split(": found by ")[1].removesuffix(", all cells"), []).append(value)
    totals = {name: pooled(shares) for name, shares in found.items()}
    ours = totals.pop("ours", None)
    if ours is not None and totals:
        best = max(totals, key=lambda name: totals[name].k)
        out.figures |= {f"all worlds: found by {name}": share for name, share in {"ours": ours, **totals}.items()}
        out.at_least(f"all worlds: ours over the best baseline ({best})", ours.k / max(1, totals[best].k), RATIO_GOAL)
    return out
