"""Scoring: an out-of-distribution score and an honest p-value for every event of a log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np

from detectors.ood.detector import OodDetector
from detectors.ood.scorer import OodScorer
from detectors.reference import Reference
from detectors.suite import fit_reference
from monitor.errors import PermanentError
from monitor.history import ReadCounts, models_in, read_batches, reference_from_file

_SIGNIFICANT = 9


@dataclass(frozen=True, slots=True)
class ScoreReport:
    """What was scored, and what could not be read."""

    model: str
    events: int
    rejected: Counter[str]
    others: Counter[str]
    """Events of other models, which were passed over."""


def score_logs(
    logs: Sequence[Path],
    reference_file: Path,
    model: str | None,
    seed: int,
    output: BinaryIO,
    progress: Callable[[int], None],
) -> ScoreReport:
    """Write one line per event of ``model``: ``{"event_id", "ood_score", "ood_p_value"}``, in the log's order.

    An event that logs nothing the reference could score has score and p-value ``null``.

    Raises:
        PermanentError: a file cannot be read, or the reference cannot score this model; the message says why.
    """
    chosen = model or _only_model(reference_file)
    reference = reference_from_file([reference_file], chosen, None, seed, fit=fit_reference)
    scorer = _scorer(reference)
    counts = ReadCounts()
    events = 0
    encoder = msgspec.json.Encoder()
    for batch in read_batches(logs, chosen, counts, progress):
        scored = scorer.score(batch)
        rows = zip(batch.event_id, scored.score, scored.p_value, strict=True)
        lines = [
            encoder.encode({"event_id": event_id, "ood_score": _number(score), "ood_p_value": _number(p)})
            for event_id, score, p in rows
        ]
        events += len(lines)
        output.write(b"".join(line + b"\n" for line in lines))
    others = Counter({name: n for name, n in counts.events.items() if name != chosen})
    return ScoreReport(chosen, events, counts.rejected, others)


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
