"""Answers: what the model told a client, as a few whole numbers that a copy of the model could be trained on.

Where scores are logged they are the probabilities; where only labels are, an indicator; of a regression, the
standardised value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import EventBatch, FloatArray, IntArray, class_names
from detectors.clients.labels import predicted

ANSWER_UNIT = 64
"""Answers are carried in sixty-fourths."""
MOST = 10
"""Most classes told apart; the rarer ones are one."""
NEAR = 0.25
"""A copied value agrees when it is this near, in the deviation of ordinary answers."""
_FAR = 8.0


@dataclass(frozen=True, slots=True)
class Answers:
    """How answers become numbers: ``kind``, the ``classes`` told apart (the rest is one more), or centre and scale."""

    kind: Literal["scores", "labels", "value"]
    classes: tuple[str, ...] = ()
    pooled: bool = False
    centre: float = 0.0
    scale: float = 1.0

    @classmethod
    def fit(cls, batch: EventBatch, labels: tuple[str, ...]) -> Self | None:
        """What the log of ordinary events tells; None where it holds neither classes nor numbers."""
        if labels:
            seen = {name for name in predicted(batch).tolist() if name is not None}
            pooled = len(seen) > min(len(labels), MOST) or len(labels) > MOST
            kept = labels[: MOST - 1] if pooled and len(labels) >= MOST else labels
            has_scores = _probabilities(batch) is not None
            return cls("scores" if has_scores else "labels", kept, pooled) if len(kept) + pooled > 1 else None
        values = _values(batch)
        if np.isfinite(values).sum() < len(batch) // 2:
            return None
        low, mid, high = np.nanquantile(values, [0.25, 0.5, 0.75])
        scale = float(high - low) / 1.349
        return cls("value", centre=float(mid), scale=scale) if scale > 0 else None

    @property
    def width(self) -> int:
        """c, the number of numbers."""
        return 1 if self.kind == "value" else len(self.classes) + int(self.pooled)

    def read(self, batch: EventBatch, label: IntArray) -> FloatArray:
        """(n, c) whole numbers; NaN rows where nothing was answered. ``label``: positions as the channels have them."""
        if self.kind == "value":
            values = np.clip((_values(batch) - self.centre) / self.scale, -_FAR, _FAR)
            return np.rint(ANSWER_UNIT * values)[:, None]
        scores = _probabilities(batch) if self.kind == "scores" else None
        seen = np.zeros(len(batch), dtype=bool) if scores is None else self._complete(scores, batch)
        place = np.where(label < len(self.classes), label, len(self.classes) if self.pooled else -1)
        out = np.where(place[:, None] == np.arange(self.width), float(ANSWER_UNIT), 0.0)
        out[(place < 0) | ((place == len(self.classes)) & ~_told(batch))] = np.nan
        if scores is not None:
            out[seen] = np.rint(ANSWER_UNIT * self._by_class(scores[seen], class_names(batch, scores.shape[1])))
        return out

    def _complete(self, scores: FloatArray, batch: EventBatch) -> NDArray[np.bool_]:
        """(n,) whether a row has every class that is told apart, whatever other rows have besides."""
        names = class_names(batch, scores.shape[1])
        own = [j for j, name in enumerate(names) if name in self.classes]
        if len(own) < len(self.classes):
            return np.zeros(len(scores), dtype=bool)
        return np.asarray(~np.isnan(scores[:, own]).any(axis=1))

    def _by_class(self, scores: FloatArray, names: tuple[str, ...]) -> FloatArray:
        """(n, c) probabilities of the classes told apart."""
        out = np.zeros((len(scores), self.width))
        for j, name in enumerate(names):
            if name in self.classes:
                out[:, self.classes.index(name)] += scores[:, j]
            elif self.pooled:
                out[:, -1] += np.nan_to_num(scores[:, j])
        return np.clip(out, 0.0, 1.0)

    def agreement(self, said: FloatArray, truth: FloatArray | NDArray[np.int16]) -> float:
        """Share of rows on which (m, c) answers of a copy are those of the model."""
        if self.kind == "value":
            return float(np.mean(np.abs(said[:, 0] - truth[:, 0]) <= NEAR * ANSWER_UNIT))
        return float(np.mean(said.argmax(axis=1) == truth.argmax(axis=1)))

    def usual(self, told: FloatArray, truth: FloatArray | NDArray[np.int16]) -> float:
        """Agreement of the answer that is commonest among those told (of values, their middle)."""
        if self.kind == "value":
            return self.agreement(np.full((len(truth), 1), np.nanmedian(told)), truth)
        known = told[~np.isnan(told).any(axis=1)]
        commonest = np.bincount(known.argmax(axis=1), minlength=self.width).argmax()
        return float(np.mean(truth.argmax(axis=1) == commonest))

    def to_facts(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "classes": list(self.classes),
            "pooled": self.pooled,
            "centre": self.centre,
            "scale": self.scale,
        }

    @classmethod
    def load(cls, facts: Mapping[str, Any]) -> Self:
        return cls(facts["kind"], tuple(facts["classes"]), facts["pooled"], facts["centre"], facts["scale"])


def _probabilities(batch: EventBatch) -> FloatArray | None:
    """(n, k) probabilities of two classes or more; None where the log has none."""
    scores = batch.probabilities
    if scores is not None:
        return scores if scores.shape[1] > 1 else None
    if batch.logits is None or batch.logits.shape[1] < 2:
        return None
    with np.errstate(invalid="ignore"):
        shifted = np.exp(batch.logits - batch.logits.max(axis=1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def _told(batch: EventBatch) -> NDArray[np.bool_]:
    """(n,) whether a class was logged as the prediction."""
    if batch.prediction is None:
        return np.zeros(len(batch), dtype=bool)
    return np.array([value is not None for value in batch.prediction.tolist()], dtype=bool)


def _values(batch: EventBatch) -> FloatArray:
    """(n,) predicted numbers, NaN where there is none."""
    if batch.prediction is None:
        return np.full(len(batch), np.nan)
    told = [v if isinstance(v, (int, float)) and not isinstance(v, bool) else np.nan for v in batch.prediction.tolist()]
    values = np.array(told, dtype=np.float64)
    return np.where(np.isfinite(values), values, np.nan)
