"""Scoring: an out-of-distribution score and an honest p-value for every event of a log."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np

from detectors.batch import EventBatch, in_order_of
from detectors.ood.columns import columns_of
from detectors.ood.detector import OodDetector
from detectors.ood.scorer import Basis, OodScorer, OodScores
from detectors.reference import Reference
from monitor.errors import PermanentError
from monitor.history import ReadCounts, models_in, read_batches
from monitor.learning import Extras, known_by, learn_reference

_SIGNIFICANT = 9
_POSITION = re.compile(r"files-\d+-\d+-\d+")
_EXPLAINED_FROM = 0.05
"""p-values from here on are not explained: such events are ordinary."""
RANKS, TAIL, BOUND, NOTHING = "ranks", "tail model", "bound", "nothing"


class ScoreLines(Enum):
    """The three keys of the contract, or with them what the p-value rests on and what makes the event strange."""

    PLAIN = 1
    EXPLAINED = 2


@dataclass(frozen=True, slots=True)
class ScoreReport:
    """What was scored, what could not be read, and what the p-values rest on.

    Attributes:
        inputs: the logged inputs that the reference can score.
        missing: input → events that lack it and were scored by the others.
        p_values: events by what their p-value comes from: ``ranks`` of held-out reference events, the ``tail model``
            beyond all of them, a ``bound`` where these inputs were never logged together, ``nothing``.
        in_reference: events that are in the reference too.
        others: events of other models, which were passed over.
    """

    model: str
    inputs: tuple[str, ...]
    n_held_out: int
    events: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    p_values: Counter[str] = field(default_factory=Counter)
    in_reference: int = 0
    remarks: tuple[str, ...] = ()

    def told(self) -> Iterator[str]:
        """What is not as usual, one sentence each."""
        for name, n in self.missing.items():
            yield f"{n:,} events lack {name} and are scored by the other inputs."
        if self.p_values[TAIL]:
            yield (
                f"{self.p_values[TAIL]:,} p-values lie beyond the {self.n_held_out:,} held-out reference events: they "
                "are what a model of the tail makes of them."
            )
        if self.p_values[BOUND]:
            yield f"{self.p_values[BOUND]:,} events log inputs that the reference never had together: cautious bounds."
        if self.p_values[NOTHING]:
            yield f"{self.p_values[NOTHING]:,} events log nothing that the reference could score: null."


def score_logs(
    logs: Sequence[Path],
    reference_file: Path,
    model: str | None,
    seed: int,
    output: BinaryIO,
    progress: Callable[[int], None],
    extras: Extras | None = None,
    form: ScoreLines = ScoreLines.PLAIN,
) -> ScoreReport:
    """Write one line per event of ``model``: ``{"event_id", "ood_score", "ood_p_value"}``, in the log's order.

    An event that logs nothing the reference could score has score and p-value ``null``.

    Raises:
        PermanentError: a file cannot be read, or the reference cannot score this model; the message says why.
    """
    extras = extras or Extras()
    chosen = model or _only_model(reference_file)
    reference, learned = learn_reference([reference_file], chosen, None, seed, extras, tested=False)
    scorer = _scorer(reference)
    known = _events_to_look_for(learned.events, logs, reference_file)
    counts = ReadCounts()
    events = in_reference = 0
    missing: Counter[str] = Counter()
    p_values: Counter[str] = Counter()
    encoder = msgspec.json.Encoder()
    for raw in read_batches(logs, chosen, counts, progress):
        batch = extras.own.annotate(in_order_of(raw, reference.schema.classes))
        scored = scorer.score(batch)
        origin = _origins(scored)
        names, sizes = np.unique(origin, return_counts=True)
        p_values.update(dict(zip(names.tolist(), sizes.tolist(), strict=True)))
        there = scored.basis != Basis.NOTHING
        missing.update({name: int((lacks & there).sum()) for name, lacks in scored.missing.items()})
        in_reference += sum(event in known for event in known_by(batch))
        events += len(batch)
        lines = _lines(batch, scored)
        if form is ScoreLines.EXPLAINED:
            lines = [
                line | more for line, more in zip(lines, _explanations(scorer, batch, scored, origin), strict=True)
            ]
        output.write(b"".join(encoder.encode(line) + b"\n" for line in lines))
    return ScoreReport(
        chosen,
        tuple(source.name for source in scorer.sources),
        scorer.n_held_out,
        events,
        counts.rejected,
        Counter({name: n for name, n in counts.events.items() if name != chosen}),
        +missing,
        p_values,
        in_reference,
        tuple(learned.remarks),
    )


def _events_to_look_for(
    events: frozenset[tuple[str, float]], logs: Sequence[Path], reference_file: Path
) -> frozenset[tuple[str, float]]:
    """Events of the reference that can be told again; an id made up from a position says so only in the same file."""
    if [path.resolve() for path in logs] == [reference_file.resolve()]:
        return events
    return frozenset(event for event in events if not _POSITION.fullmatch(event[0]))


def _lines(batch: EventBatch, scored: OodScores) -> list[dict[str, Any]]:
    rows = zip(batch.event_id.tolist(), scored.score.tolist(), scored.p_value.tolist(), strict=True)
    return [{"event_id": i, "ood_score": _number(score), "ood_p_value": _number(p)} for i, score, p in rows]


def _origins(scored: OodScores) -> np.ndarray[Any, np.dtype[np.object_]]:
    """(n,) what each p-value comes from."""
    out = np.where(scored.modelled, TAIL, RANKS).astype(object)
    out[scored.basis == Basis.BOUND] = BOUND
    out[scored.basis == Basis.NOTHING] = NOTHING
    return out


def _explanations(
    scorer: OodScorer, batch: EventBatch, scored: OodScores, origin: np.ndarray[Any, np.dtype[np.object_]]
) -> Iterator[dict[str, Any]]:
    strange = np.flatnonzero(scored.p_value <= _EXPLAINED_FROM)
    found = scorer.blame(batch.take(strange))
    table = np.stack([scored.components[name] for name in scorer.component_names], axis=1)
    row_of = {int(at): row for row, at in enumerate(strange)}
    for i in range(len(batch)):
        more: dict[str, Any] = {
            "ood_p_from": origin[i],
            "ood_missing": [name for name, lacks in scored.missing.items() if lacks[i]],
        }
        if i in row_of:
            first = int(np.nanargmin(table[i]))
            more["ood_because"] = scorer.components[first].words
            more["ood_columns"] = [
                {"name": c.name, "z": c.z, "words": c.words} for c in columns_of(found, row_of[i], scorer.column_names)
            ]
        yield more


def _only_model(reference_file: Path) -> str:
    names = models_in(reference_file)
    if not names:
        raise PermanentError(f"{reference_file}: no readable event that names its model; name it with --model")
    if len(names) > 1:
        listed = ", ".join(repr(name) for name in names)
        raise PermanentError(f"{reference_file}: holds events of these models: {listed}; choose one with --model")
    return names[0]


def _scorer(reference: Reference) -> OodScorer:
    part = reference.parts.get(OodDetector.name)
    if part is None:
        reason = reference.unfit.get(OodDetector.name, "the reference holds no scorer")
        raise PermanentError(f"events cannot be scored against this reference: {reason}")
    return OodScorer.build(part)


def _number(value: float) -> float | None:
    return float(f"{value:.{_SIGNIFICANT}g}") if np.isfinite(value) else None
