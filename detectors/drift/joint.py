"""Joint drift: changes that no single column shows, such as a correlation that is lost or a new embedding.

Two blocks of additive features watch the numeric features together, and two the embedding: waves, whose mean tells any
change of a distribution (``waves.py``), and moments, which are sharp for means and correlations (``moments.py``). The
sketch is their sums; each block's witness (``witness.py``) bets on the change seen so far, and the model's evidence is
the mean over all bets. Where an alarm is beyond all luck of the reference, its panes leave the pool again, so that a
drift alarms as long as it lasts and its end is no new one. Memory of the evidence: 32 bytes a feature, at most 64 kB a
block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import erf, sqrt
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfinv

from detectors.base import MODEL, Arrays, Judgement, Kind, Level, Pane, Part, Reading, Subject, Unfit
from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.budget import AlarmBudget
from detectors.drift.blocks import HALF_LIVES, Block, fit_source
from detectors.drift.moments import Comparison, Moments
from detectors.drift.values import joint_rows, joint_sources
from detectors.drift.witness import STRENGTHS, bets, beyond_luck
from detectors.evidence import NO_EVIDENCE, accumulate, log_mean
from detectors.schema import Role, Schema
from detectors.sketch import Sketch

_MINIMUM_EVENTS = 200
_ONSET_LOG_EVIDENCE = float(np.log(10.0))
_WARNING_MARGIN = float(np.log(100.0))
_SMALLEST_EFFECT = 0.01


@dataclass(frozen=True)
class JointDrift:
    """Drift detector over all numeric features at once and over the embedding; see the module's docstring."""

    name: ClassVar[str] = "joint"
    kind: ClassVar[Kind] = Kind.DRIFT

    schema: Schema
    blocks: tuple[Block, ...]
    tolerance: float
    """Shift of a witness's score, in sd, that is not worth an alarm."""
    log_threshold: float
    minimum_effect: float

    @classmethod
    def fit(cls, reference: EventBatch, schema: Schema, pane_s: float, seed: int) -> Part | Unfit:
        """Grid, directions, means and overdispersion of every block; needs 200 events with features or embeddings."""
        arrays: dict[str, NDArray[np.generic]] = {}
        facts: list[dict[str, Any]] = []
        for source in joint_sources():
            rows = joint_rows(reference, schema, source)
            present = np.asarray(np.isfinite(rows).any(axis=1))
            if rows.shape[1] < 2 or present.sum() < _MINIMUM_EVENTS:
                continue
            for block in fit_source(source, rows[present], reference.take(present), pane_s, seed):
                arrays |= block.to_arrays()
                facts.append(block.to_facts())
        if not facts:
            return Unfit(
                f"joint drift needs at least {_MINIMUM_EVENTS} reference events with two numeric features that vary, "
                "or with an embedding"
            )
        return Part(arrays, {"blocks": facts})

    @classmethod
    def build(cls, part: Part, schema: Schema, budget: AlarmBudget) -> Self:
        return cls(
            schema=schema,
            blocks=tuple(Block.load(part.arrays, facts) for facts in part.facts["blocks"]),
            tolerance=_shift_of(budget.tolerance),
            log_threshold=budget.log_threshold(cls.name),
            minimum_effect=max(budget.tolerance, _SMALLEST_EFFECT),
        )

    def sketch(self, batch: EventBatch, starts: IntArray) -> Sequence[Sketch]:
        ends = np.append(starts[1:], len(batch))
        sums: list[dict[str, IntArray]] = [{} for _ in starts]
        for source in dict.fromkeys(block.source for block in self.blocks):
            blocks = [block for block in self.blocks if block.source == source]
            steps, present = blocks[0].grid.steps(joint_rows(batch, self.schema, source))
            before = np.concatenate([[0], np.cumsum(present)])
            for total, start, end in zip(sums, before[starts], before[ends], strict=True):
                for block in blocks:
                    total[block.name] = np.append(end - start, block.features.sums(steps[start:end]))
        return [Sketch(total) for total in sums]

    def subjects(self, pane: Pane) -> Sequence[Subject]:
        return (MODEL,)

    def judge(self, evidence: Mapping[Subject, Arrays], pane: Pane) -> Judgement:
        state = evidence.get(MODEL) or self._fresh()
        kept: dict[str, Any] = {}
        since = float(np.asarray(state["since"])) if float(np.asarray(state["since"])) >= 0 else pane.start
        for block in self.blocks:
            kept |= self._fold(block, state, pane.sketch.totals[block.name], block.seasons.stratum(pane.start))
        total, doubt = self._mean(kept, "log_evidence"), self._mean(kept, "doubt")
        reading = self._reading(total, min(doubt, self.log_threshold - 1e-6), kept, since)
        if reading.level is Level.ALARM:
            self._start_anew(kept)
        elif max(total, doubt) < _ONSET_LOG_EVIDENCE:
            self._forget_run(kept)
        else:
            kept["since"] = np.asarray(since)
        return Judgement({MODEL: kept}, (reading,))

    def _mean(self, state: Mapping[str, Any], what: str) -> float:
        logs = np.concatenate([state[f"{block.name}.{what}"] for block in self.blocks])
        return log_mean(logs, np.full(len(logs), 1.0 / len(logs)))

    def _start_anew(self, state: dict[str, Any]) -> None:
        """After an alarm: a confirmed change leaves the pool and goes on until the bets on it have lost."""
        confirmed = any(_confirmed(block, state) for block in self.blocks)
        for name in (block.name for block in self.blocks):
            state[f"{name}.log_evidence"] = np.full_like(state[f"{name}.log_evidence"], NO_EVIDENCE)
            state[f"{name}.doubt"] = np.full_like(
                state[f"{name}.doubt"], self.log_threshold if confirmed else NO_EVIDENCE
            )
            if confirmed:
                state[f"{name}.pool"] = state[f"{name}.pool"] - state[f"{name}.run"]
        self._forget_run(state)

    def _forget_run(self, state: dict[str, Any]) -> None:
        for name in (block.name for block in self.blocks):
            state[f"{name}.run"] = np.zeros_like(state[f"{name}.run"])
            state[f"{name}.moved"] = np.zeros_like(state[f"{name}.moved"])
        state["since"] = np.asarray(-1.0)

    def _fresh(self) -> Arrays:
        state: dict[str, NDArray[np.generic]] = {"since": np.asarray(-1.0)}
        for block in self.blocks:
            strata, width, memories = len(block.normals), 1 + block.features.width, len(block.memories)
            state[f"{block.name}.pool"] = np.zeros((strata, width), dtype=np.int64)
            state[f"{block.name}.run"] = np.zeros((strata, width), dtype=np.int64)
            state[f"{block.name}.live"] = np.zeros((strata, len(HALF_LIVES), width))
            state[f"{block.name}.moved"] = np.zeros(memories)
            for evidence in ("log_evidence", "doubt"):
                state[f"{block.name}.{evidence}"] = np.full(memories * len(STRENGTHS), NO_EVIDENCE)
        return state

    def _fold(self, block: Block, state: Arrays, added: IntArray, stratum: int) -> dict[str, NDArray[np.generic]]:
        """The block's state after a pane; the bets were placed on what was known before it."""
        pool, run = (np.array(state[f"{block.name}.{k}"], dtype=np.int64) for k in ("pool", "run"))
        live, moved, log_evidence, doubt = (
            np.array(state[f"{block.name}.{k}"], dtype=np.float64) for k in ("live", "moved", "log_evidence", "doubt")
        )
        normal, memories = block.normals[stratum], block.memories
        n, sums = float(added[0]), added[1:] / block.unit
        sizes, means = _pooled(block, pool)
        chosen = [HALF_LIVES.index(memory.half_life) for memory in memories]
        recalled = _recalled(live, means, stratum)[chosen]
        earned = bets(normal, sizes[stratum], means[stratum], recalled, memories, n, sums, self.tolerance)
        live *= (0.5 ** (n / normal.in_time / np.array(HALF_LIVES)))[:, None]
        live[stratum] += np.append(n, sums)
        pool[stratum] += added
        run[stratum] += added
        return {
            f"{block.name}.pool": pool,
            f"{block.name}.run": run,
            f"{block.name}.live": live,
            f"{block.name}.moved": moved + earned.moved,
            f"{block.name}.log_evidence": accumulate(log_evidence, earned.log_ratio),
            f"{block.name}.doubt": np.minimum(accumulate(doubt, earned.log_ratio), self.log_threshold),
        }

    def _reading(self, total: float, doubt: float, state: Mapping[str, Any], since: float) -> Reading:
        """``doubt``: what the bets hold since before the last alarm, below the alarm line: a change that goes on."""
        standing = max(total, doubt)
        shown = max(standing, 0.0) if standing == NO_EVIDENCE else standing
        if standing < self.log_threshold - _WARNING_MARGIN:
            return self._verdict(Level.OK, shown, 0.0, None, "The features still belong together as they did.", {})
        leading = max(self.blocks, key=lambda b: float(state[f"{b.name}.log_evidence"].max()))
        n_events = int(state[f"{leading.name}.run"][:, 0].sum())
        shift = float(state[f"{leading.name}.moved"].max()) / max(n_events, 1)
        effect = erf(max(shift, 0.0) / (2 * sqrt(2)))
        alarmed = total >= self.log_threshold and effect >= self.minimum_effect
        detail = self._detail(leading, state, n_events)
        level = Level.ALARM if alarmed else Level.WARNING
        return self._verdict(level, shown, effect, since, _sentence(detail, effect), detail)

    def _detail(self, leading: Block, state: Mapping[str, Any], n_events: int) -> dict[str, Any]:
        detail: dict[str, Any] = {
            "source": leading.source,
            "n_events": n_events,
            "pairs": [],
            "columns": [],
            "spreads": [],
        }
        if leading.source != "features":
            return detail
        names = self.schema.names(Role.NUMERIC)
        for block in self.blocks:
            run = state[f"{block.name}.run"]
            seen = float(run[:, 0].sum())
            if block.source == "features" and isinstance(block.features, Moments) and seen > 0:
                expected = sum(run[s, 0] / seen * normal.mean for s, normal in enumerate(block.normals))
                n_reference = sum(normal.n for normal in block.normals)
                compared = Comparison(
                    block.features,
                    names,
                    np.asarray(expected),
                    run[:, 1:].sum(axis=0) / block.unit / seen,
                    n_reference / block.normals[0].between,
                    seen / block.normals[0].in_time,
                )
                detail |= {
                    "pairs": compared.pairs(),
                    "columns": compared.columns(),
                    "spreads": compared.spreads(),
                }
        return detail

    def _verdict(
        self, level: Level, total: float, effect: float, since: float | None, reason: str, detail: Mapping[str, Any]
    ) -> Reading:
        return Reading(
            detector=self.name,
            kind=self.kind,
            subject=MODEL,
            level=level,
            log_evidence=total,
            log_threshold=self.log_threshold,
            effect=effect,
            effect_unit="share of traffic",
            minimum_effect=self.minimum_effect,
            since=since,
            reason=reason,
            detail=detail,
            specificity=0,
        )


def _pooled(block: Block, pool: IntArray) -> tuple[FloatArray, FloatArray]:
    """(strata,) events and (strata, D) means of the reference and the ``pool`` (strata, 1 + D) together."""
    known = np.array([normal.n for normal in block.normals])
    sums = np.stack([normal.n * normal.mean for normal in block.normals]) + pool[:, 1:] / block.unit
    sizes = known + np.asarray(pool[:, 0], dtype=np.float64)
    return sizes, sums / np.maximum(sizes, 1.0)[:, None]


def _recalled(live: FloatArray, means: FloatArray, stratum: int) -> FloatArray:
    """(memories, 1 + D) of a stratum, as if the events of the others had come in it: a change outlasts its hour."""
    away = np.delete(live, stratum, axis=0)
    moved = away[:, :, 1:] + away[:, :, :1] * (means[stratum] - np.delete(means, stratum, axis=0))[:, None]
    return np.asarray(live[stratum] + np.concatenate([away[:, :, :1], moved], axis=2).sum(axis=0))


def _confirmed(block: Block, state: Mapping[str, Any]) -> bool:
    """Whether what was seen since the change began is beyond all luck of the reference."""
    run = state[f"{block.name}.run"]
    n = run[:, 0].sum()
    if n == 0:
        return False
    seen = np.flatnonzero(run[:, 0])
    expected = sum(run[s, 0] / n * block.normals[s].mean for s in seen)
    least = min((block.normals[s] for s in seen), key=lambda normal: normal.n)
    return beyond_luck(least, run[:, 1:].sum(axis=0) / block.unit / n - expected, float(n))


def _shift_of(share: float) -> float:
    """The shift in sd of a normal score that moves this share of traffic (total variation)."""
    return float(2 * sqrt(2) * erfinv(share))


def _sentence(detail: Mapping[str, Any], effect: float) -> str:
    """What changed, the most specific thing first."""
    head = f"Over the last {detail['n_events']:,} events"
    tail = f" (at least {100 * effect:.0f} % of traffic moved)."
    if detail["source"] == "embedding":
        return f"{head} the embedding as a whole changed{tail}"
    words = [
        f"the correlation of {pair['a']} and {pair['b']} changed from {pair['reference']:.2f} to {pair['current']:.2f}"
        for pair in detail["pairs"][:2]
    ]
    words += [
        f"{column['name']} {'rose' if column['effect'] > 0 else 'fell'} by {abs(column['effect']):.1f} sd"
        for column in detail["columns"][:2]
    ]
    if not words:
        words = [
            f"{column['name']} spread {'out' if column['ratio'] > 1 else 'less'} ({column['ratio']:.1f} times its sd)"
            for column in detail["spreads"][:2]
        ]
    if not words:
        return f"{head} the numeric features changed together, in no single column or pair{tail}"
    return f"{head} {'; '.join(words)}{tail}"
