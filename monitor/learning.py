"""What a reference may be fitted with besides its events: own scores, the model's last layer, and its training rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from detectors.base import Fitter
from detectors.batch import EventBatch
from detectors.extraction.learning import ExtractionFitter
from detectors.ood.detector import OodFitter
from detectors.ood.head import Head
from detectors.reference import Reference
from detectors.schema import raw_column
from detectors.selftest import fit_tested_reference
from detectors.suite import DETECTORS, fit_reference
from monitor.errors import PermanentError
from monitor.history import ReadCounts, read_batches, reference_from_file
from monitor.own_scores import OwnScores
from monitor.sources.logs import named_faults

Fit = Callable[[EventBatch, str, int, int | None], Reference]
"""From ordinary events, version, seed and width of panes to a reference."""

_MOST_REPEATS = 0.05
_MOST_TRAINING = 0.5


@dataclass(frozen=True, slots=True)
class Extras:
    """What is known besides the events.

    Attributes:
        own: scores of the user's.
        head: the model's last layer.
        training: logs of the rows that the model was trained on, to be left out of references.
        links: segment keys that tie accounts together; empty lets the reference show which do.
    """

    own: OwnScores = field(default_factory=OwnScores)
    head: Head | None = None
    training: tuple[Path, ...] = ()
    links: tuple[str, ...] = ()

    def fitters(self) -> tuple[Fitter, ...]:
        """Every detector, or what fits it with what is known besides."""
        knowing: dict[str, Fitter] = {}
        if self.head is not None:
            knowing[OodFitter.name] = OodFitter(self.head)
        if self.links:
            knowing[ExtractionFitter.name] = ExtractionFitter(self.links)
        return tuple(knowing.get(detector.name, detector) for detector in DETECTORS)


@dataclass
class Learned:
    """What was done to the events before the fit, and which they are."""

    events: frozenset[tuple[str, float]] = frozenset()
    n_training: int = 0
    remarks: list[str] = field(default_factory=list)


def learn_reference(
    files: Sequence[Path],
    model: str,
    version: str | None,
    seed: int,
    extras: Extras,
    *,
    tested: bool,
    pane_s: int | None = None,
    progress: Callable[[int], None] = lambda _records: None,
    counts: ReadCounts | None = None,
    around: Callable[[Fit], Fit] = lambda fit: fit,
) -> tuple[Reference, Learned]:
    """``reference_from_file`` with extras.

    Args:
        tested: with the self-test, or without, where doubts do not matter.
        around: makes another fit of the plain one.

    Raises:
        PermanentError: too few events, mostly training rows, a head of another model, or a link that is no segment
            key; the message says which.
    """
    learned = Learned()
    fit = around(partial(fit_tested_reference if tested else fit_reference, detectors=extras.fitters()))

    def fitted(events: EventBatch, version: str, seed: int, pane_s: int | None) -> Reference:
        _refuse_unknown_links(events, extras.links)
        kept = _without_training(events, extras.training, learned)
        learned.events = frozenset(known_by(kept))
        return fit(extras.own.annotate(kept), version, seed, pane_s)

    return reference_from_file(files, model, version, seed, pane_s, progress, counts, fitted), learned


def known_by(batch: EventBatch) -> Iterable[tuple[str, float]]:
    """What each event is known by again: its id and its time, since ids of another day may start over."""
    return zip(batch.event_id.tolist(), batch.timestamp.tolist(), strict=True)


def load_head(path: Path) -> Head:
    """A head from ``.npz`` (``weights``, ``bias``) or JSON with the same two keys; nothing is unpickled.

    Raises:
        PermanentError: it cannot be read, or is no head.
    """
    try:
        with named_faults(path):
            weights, bias = _head_arrays(path)
        return Head.of(weights, bias)
    except (ValueError, KeyError, TypeError) as error:
        raise PermanentError(
            f"{path}: {error}; a head is an .npz or JSON file with `weights` (classes × embedding) and `bias` (classes)"
        ) from error


def _head_arrays(path: Path) -> tuple[Any, Any]:
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as found:
            return found["weights"], found.get("bias")
    loaded = json.loads(path.read_text(encoding="utf-8"))
    return np.array(loaded["weights"], dtype=np.float64), loaded.get("bias")


def _refuse_unknown_links(events: EventBatch, links: Sequence[str]) -> None:
    unknown = [key for key in links if key not in events.segments]
    if unknown:
        known = ", ".join(sorted(events.segments)) or "none"
        raise PermanentError(f"the reference has no segment key {', '.join(unknown)}; it has: {known}")


def _without_training(events: EventBatch, training: Sequence[Path], learned: Learned) -> EventBatch:
    """The events that are not among the training rows, by the content of their inputs."""
    if not training:
        return events
    own = list(row_hashes(events))
    repeats = 1.0 - len(set(own)) / max(len(own), 1)
    if repeats > _MOST_REPEATS:
        learned.remarks.append(
            f"{100 * repeats:.0f} % of the reference's rows repeat others, so equal rows say nothing: no training row "
            "was looked for"
        )
        return events
    known = {key for batch in read_batches(training, events.model, ReadCounts()) for key in row_hashes(batch, events)}
    fresh = np.array([key not in known for key in own], dtype=bool)
    learned.n_training = int((~fresh).sum())
    if learned.n_training > _MOST_TRAINING * len(events):
        raise PermanentError(
            f"{learned.n_training:,} of the {len(events):,} reference events are rows that the model was trained on, "
            "on which every model looks too sure: take events that it had not seen"
        )
    if not learned.n_training:
        return events
    learned.remarks.append(f"{learned.n_training:,} of {len(events):,} reference events are training rows: left out")
    return events.take(fresh)


def row_hashes(batch: EventBatch, like: EventBatch | None = None) -> Iterable[bytes]:
    """16 bytes for each row: of its features where ``like`` (default: itself) has any, else of its embedding."""
    model = batch if like is None else like
    names = sorted(model.feature_names)
    vectors = [batch.embedding] if not names else []
    columns = [raw_column(batch, name) for name in names]
    for i in range(len(batch)):
        row: list[Any] = [None if column is None else _canonical(column[i]) for column in columns]
        row += [None if vector is None else [float(x) for x in vector[i] if x == x] for vector in vectors]
        yield blake2b(repr(row).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _canonical(value: object) -> object:
    if isinstance(value, bool | np.bool_ | str) or value is None:
        return value if isinstance(value, str) or value is None else bool(value)
    number = float(value)  # type: ignore[arg-type]  # what a batch holds besides
    return None if number != number else number + 0.0
