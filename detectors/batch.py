"""Event batch: some thousand inference events of one model version, as columns.

Everything but identity and time is optional, because model services log what they can: a tabular model its
features, a vision model an embedding and probabilities, a black box only labels. Detectors look at what is there
and say what they miss; a batch never invents a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
ObjectArray = NDArray[np.object_]


@dataclass(frozen=True, slots=True, eq=False)
class EventBatch:
    """Columns of ``n`` events of one (model, version), in arrival order.

    Attributes:
        model, version: identity of the model that answered; ``version`` is ``""`` where none was logged.
        event_id: (n,) str.
        timestamp: (n,) float64, event time in seconds since the epoch (UTC).
        client_id: (n,) str, ``""`` where unknown; None when no event names a client.
        numeric_names, numeric: names (p,) and values (n, p) float64 of the features that hold only numbers in this
            batch. NaN is *missing*, ±inf is *non-finite*.
        mixed: every other feature: (n,) object arrays of str, bool, float or None (missing).
        embedding, logits, probabilities: (n, d) float64; a row that lacks the vector is all NaN, a shorter one is
            padded with NaN.
        classes: names of the columns of ``probabilities`` (and ``logits``); positions as text where unnamed. Their
            order is that of the log, and says nothing: ``in_order_of`` gives two batches the same.
        prediction, label: (n,) object arrays of str, float or None.
        latency_ms: (n,) float64, milliseconds, NaN where unknown.
        segments: name → (n,) object array of str or None.
        sampling_rate: (n,) float64 in (0, 1], the share of traffic that was logged.
        annotations: (n,) arrays that soft state added, such as the distance to a client's recent queries.
    """

    model: str
    version: str
    event_id: ObjectArray
    timestamp: FloatArray
    client_id: ObjectArray | None = None
    numeric_names: tuple[str, ...] = ()
    numeric: FloatArray = field(default_factory=lambda: np.empty((0, 0)))
    mixed: Mapping[str, ObjectArray] = field(default_factory=dict)
    embedding: FloatArray | None = None
    logits: FloatArray | None = None
    probabilities: FloatArray | None = None
    classes: tuple[str, ...] = ()
    prediction: ObjectArray | None = None
    label: ObjectArray | None = None
    latency_ms: FloatArray | None = None
    segments: Mapping[str, ObjectArray] = field(default_factory=dict)
    sampling_rate: FloatArray | None = None
    annotations: Mapping[str, FloatArray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.event_id)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of all features, numeric ones first."""
        return self.numeric_names + tuple(self.mixed)

    def take(self, index: IntArray | NDArray[np.bool_]) -> EventBatch:
        """The events at ``index`` (positions or a mask), in that order."""
        changed: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, np.ndarray):
                changed[item.name] = value[index] if len(value) == len(self) else value
            elif isinstance(value, Mapping):
                changed[item.name] = {name: column[index] for name, column in value.items()}
        return replace(self, **changed)

    def annotate(self, **columns: FloatArray) -> EventBatch:
        """The same events with further annotations, each (n,)."""
        return replace(self, annotations={**self.annotations, **columns})


def class_names(batch: EventBatch, width: int) -> tuple[str, ...]:
    """(width,) names of the columns of probabilities or logits, positions as text beyond ``classes``."""
    return (*batch.classes[:width], *map(str, range(len(batch.classes), width)))


def in_order_of(batch: EventBatch, classes: tuple[str, ...]) -> EventBatch:
    """The same events with a column of probabilities for each of ``classes``, in that order; NaN where not logged.

    Further classes follow by name. Logits, which are logged without names, stay and take those of ``classes``. Costs
    nothing where the order is that already, and a copy of the probabilities where it is not.
    """
    if batch.classes == classes or (batch.probabilities is None and batch.logits is None):
        return batch
    width = 0 if batch.probabilities is None else batch.probabilities.shape[1]
    ordered = (*classes, *sorted(set(class_names(batch, width)) - set(classes)))
    return replace(batch, classes=ordered, probabilities=_by_class(batch, ordered))


def concatenate(batches: Sequence[EventBatch]) -> EventBatch:
    """One batch of all events, in the order given; columns that only some batches have are filled as missing.

    Raises:
        ValueError: no batch given, or the batches are of different model versions.
    """
    if not batches:
        raise ValueError("no batch to concatenate")
    first = batches[0]
    if len(batches) == 1:
        return first
    if any((b.model, b.version) != (first.model, first.version) for b in batches):
        raise ValueError("batches of different model versions cannot be one batch")
    mixed_names = list(dict.fromkeys(name for b in batches for name in b.mixed))
    numeric_names = tuple(dict.fromkeys(n for b in batches for n in b.numeric_names if n not in set(mixed_names)))
    classes = _all_classes(batches)
    return EventBatch(
        model=first.model,
        version=first.version,
        event_id=np.concatenate([b.event_id for b in batches]),
        timestamp=np.concatenate([b.timestamp for b in batches]),
        client_id=_stack_objects([b.client_id for b in batches], batches, fill=""),
        numeric_names=numeric_names,
        numeric=np.concatenate([_numeric_block(b, numeric_names) for b in batches]),
        mixed={name: np.concatenate([_as_objects(b, name) for b in batches]) for name in mixed_names},
        embedding=_stack_matrices([b.embedding for b in batches], batches),
        logits=_stack_matrices([b.logits for b in batches], batches),
        probabilities=_stack_matrices([_by_class(b, classes) for b in batches], batches),
        classes=classes,
        prediction=_stack_objects([b.prediction for b in batches], batches, fill=None),
        label=_stack_objects([b.label for b in batches], batches, fill=None),
        latency_ms=_stack_vectors([b.latency_ms for b in batches], batches, fill=np.nan),
        segments={
            name: np.concatenate([b.segments[name] if name in b.segments else _filled(len(b), None) for b in batches])
            for name in dict.fromkeys(n for b in batches for n in b.segments)
        },
        sampling_rate=_stack_vectors([b.sampling_rate for b in batches], batches, fill=1.0),
    )


def _all_classes(batches: Sequence[EventBatch]) -> tuple[str, ...]:
    """Every class, in the order first seen; those of logits only where no batch has probabilities."""
    named = dict.fromkeys(class_names(b, b.probabilities.shape[1]) for b in batches if b.probabilities is not None)
    if not named:
        return max((b.classes for b in batches), key=len)
    return tuple(dict.fromkeys(name for names in named for name in names))


def _by_class(batch: EventBatch, classes: tuple[str, ...]) -> FloatArray | None:
    """(n, len(classes)) probabilities in the order of ``classes``, which holds all of the batch's."""
    if batch.probabilities is None:
        return None
    names = class_names(batch, batch.probabilities.shape[1])
    if names == classes:
        return batch.probabilities
    position = {name: i for i, name in enumerate(classes)}
    out = np.full((len(batch), len(classes)), np.nan)
    out[:, [position[name] for name in names]] = batch.probabilities
    return out


def _filled(n: int, value: object) -> ObjectArray:
    out = np.empty(n, dtype=object)
    out[:] = value
    return out


def _numeric_block(batch: EventBatch, names: tuple[str, ...]) -> FloatArray:
    if batch.numeric_names == names:
        return batch.numeric.reshape(len(batch), len(names))
    position = {name: i for i, name in enumerate(batch.numeric_names)}
    out = np.full((len(batch), len(names)), np.nan)
    for i, name in enumerate(names):
        if name in position:
            out[:, i] = batch.numeric[:, position[name]]
    return out


def _as_objects(batch: EventBatch, name: str) -> ObjectArray:
    if name in batch.mixed:
        return batch.mixed[name]
    if name not in batch.numeric_names:
        return _filled(len(batch), None)
    values = batch.numeric[:, batch.numeric_names.index(name)]
    out = values.astype(object)
    out[np.isnan(values)] = None
    return out


def _stack_objects(
    columns: Sequence[ObjectArray | None], batches: Sequence[EventBatch], fill: object
) -> ObjectArray | None:
    if all(column is None for column in columns):
        return None
    return np.concatenate([_filled(len(b), fill) if c is None else c for c, b in zip(columns, batches, strict=True)])


def _stack_vectors(
    columns: Sequence[FloatArray | None], batches: Sequence[EventBatch], fill: float
) -> FloatArray | None:
    if all(column is None for column in columns):
        return None
    return np.concatenate([np.full(len(b), fill) if c is None else c for c, b in zip(columns, batches, strict=True)])


def _stack_matrices(columns: Sequence[FloatArray | None], batches: Sequence[EventBatch]) -> FloatArray | None:
    widths = [column.shape[1] for column in columns if column is not None]
    if not widths:
        return None
    out = np.full((sum(len(b) for b in batches), max(widths)), np.nan)
    row = 0
    for column, batch in zip(columns, batches, strict=True):
        if column is not None:
            out[row : row + len(batch), : column.shape[1]] = column
        row += len(batch)
    return out
