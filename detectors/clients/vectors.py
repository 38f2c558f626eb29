"""Vectors: what one query looks like as a row of standardised numbers, from whatever the log holds of it.

A *view* of a query is its embedding, its features or, failing both, its scores. Numeric columns are standardised by the
reference and squashed beyond three deviations, so that a heavy honest tail cannot drown everything else. A category
becomes indicators of the common levels and its surprise, -ln of its share in the reference. A missing value
becomes the mean, and an indicator where missing is rare. So does a category that is the sender's own name
(``detectors/clients/names.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import EventBatch, FloatArray
from detectors.clients.grain import Grain
from detectors.schema import Schema, categorical_column, numeric_matrix

OWN_NAMES = "own_names"
"""Annotation: sum of 2**k over the categorical features k in which the query holds its sender's own name."""
COMMON_LEVELS = 8
KNOWN_LEVELS = 400
MAX_COLUMNS = 2_000
FEW_COLUMNS = 16
ONE_KIND = 10.0
"""Columns whose deviations are at most this many times the median one are taken for columns of one kind."""
_FAR = 20.0


@dataclass(frozen=True, slots=True)
class Levels:
    """The levels of one categorical column, commonest first, with their shares; ``unseen`` is what a new one gets."""

    name: str
    surprise: Mapping[str | None, float]
    common: tuple[str, ...]
    spread: tuple[float, ...]
    unseen: float


@dataclass(frozen=True, slots=True, eq=False)
class VectorMap:
    """From an event batch to (n, p) standardised vectors of one view (``embedding``, ``features`` or ``scores``)."""

    view: str
    numeric: tuple[str, ...]
    centre: FloatArray
    scale: FloatArray
    flagged: NDArray[np.bool_]
    categorical: tuple[Levels, ...]
    grain: Grain

    @classmethod
    def fit(cls, view: str, batch: EventBatch, schema: Schema) -> Self | None:
        """The map of a view as the reference shows it; None when fewer than half the events have it."""
        numeric = schema.numbers[:MAX_COLUMNS] if view == "features" else ()
        values = _matrix(view, batch, numeric)
        names = schema.categories[:200] if view == "features" else ()
        levels = tuple(_levels(name, batch) for name in names)
        if values is None or (values.shape[1] == 0 and not levels):
            return None
        seen = ~np.isnan(values).all(axis=1)
        if values.shape[1] and seen.mean() < 0.5:
            return None
        centre, scale, missing = _moments(values)
        grain = Grain.fit(values) if view == "features" else Grain.none(len(centre))
        return cls(view, numeric, centre, scale, missing < 0.2, levels, grain)

    @property
    def width(self) -> int:
        """p, the number of coordinates."""
        return len(self.centre) + 1 + sum(len(levels.common) + 1 for levels in self.categorical)

    @property
    def one_kind(self) -> bool:
        """Whether the numbers are many of one kind, as pixels are, so that a device acts on all of them at once."""
        return len(self.scale) > FEW_COLUMNS and float(self.scale.max()) <= ONE_KIND * float(np.median(self.scale))

    @property
    def blocks(self) -> tuple[slice, ...]:
        """The columns of each categorical feature: its indicators, and its surprise last."""
        first = len(self.centre) + 1
        out = []
        for levels in self.categorical:
            out.append(slice(first, first + len(levels.common) + 1))
            first = out[-1].stop
        return tuple(out)

    def vectors(self, batch: EventBatch) -> tuple[FloatArray, NDArray[np.bool_], FloatArray]:
        """(n, p) vectors, (n,) whether the view was there at all, (n, 2) summed surprise of its values in nats: of its
        categories, and of numbers off the grain.
        """
        values = _matrix(self.view, batch, self.numeric)
        if values is not None and self.view == "scores":
            values = values[:, : len(self.centre)]
        if values is None or (self.view != "features" and values.shape[1] != len(self.centre)):
            values = np.full((len(batch), len(self.centre)), np.nan)
        out = np.zeros((len(batch), self.width))
        p = len(self.centre)
        np.subtract(values, self.centre, out=out[:, :p])
        out[:, :p] /= self.scale
        present = np.full(len(batch), values.shape[1] > 0, dtype=bool)
        if not np.isfinite(out.sum()):
            missing = np.isnan(values)
            out[:, :p][missing] = 0.0
            out[:, p] = _FAR * (missing & self.flagged).sum(axis=1) / max(1, p)
            present &= ~missing.all(axis=1)
        squash(out)
        surprise = np.column_stack([np.zeros(len(batch)), self.grain.surprise(values)])
        at = p + 1
        own = batch.annotations.get(OWN_NAMES, np.zeros(len(batch))).astype(np.int64)
        for k, levels in enumerate(self.categorical):
            block, nats, seen = _categorical(levels, batch, own >> min(k, 62) & 1 == 1)
            out[:, at : at + block.shape[1]] = block
            at += block.shape[1]
            surprise[:, 0] += nats
            present |= seen
        return out, present, surprise

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {"centre": self.centre, "scale": self.scale, "flagged": self.flagged, **self.grain.to_arrays()}

    def to_facts(self) -> dict[str, Any]:
        return {
            "view": self.view,
            "numeric": list(self.numeric),
            "categorical": [
                {
                    "name": c.name,
                    "surprise": [[k, v] for k, v in c.surprise.items()],
                    "common": list(c.common),
                    "spread": list(c.spread),
                    "unseen": c.unseen,
                }
                for c in self.categorical
            ],
        }

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> Self:
        levels = tuple(
            Levels(
                c["name"],
                {k: float(v) for k, v in c["surprise"]},
                tuple(c["common"]),
                tuple(map(float, c["spread"])),
                float(c["unseen"]),
            )
            for c in facts["categorical"]
        )
        flagged = arrays["flagged"].astype(bool)
        numeric, grain = tuple(facts["numeric"]), Grain.load(arrays)
        return cls(facts["view"], numeric, arrays["centre"], arrays["scale"], flagged, levels, grain)


def squash(values: FloatArray) -> FloatArray:
    """In place: identity within ±3, logarithmic beyond; monotone, so far stays farther, but bounded in practice."""
    far = (values > 3.0) | (values < -3.0)
    if far.any():
        beyond = values[far]
        values[far] = np.sign(beyond) * (3.0 + np.log1p(np.minimum(np.abs(beyond), 1e30) - 3.0))
    return values


def unsquash(values: FloatArray) -> FloatArray:
    """Inverse of ``squash``, as a copy."""
    beyond = np.minimum(np.abs(values) - 3.0, 60.0)
    return np.where(beyond > 0.0, np.sign(values) * (3.0 + np.expm1(np.maximum(beyond, 0.0))), values)


def _matrix(view: str, batch: EventBatch, numeric: tuple[str, ...]) -> FloatArray | None:
    if view == "features":
        values = numeric_matrix(batch, numeric).reshape(len(batch), len(numeric))
    else:
        vector = batch.embedding if view == "embedding" else _scores(batch)
        if vector is None:
            return None
        values = vector[:, :MAX_COLUMNS]
    return values


def _scores(batch: EventBatch) -> FloatArray | None:
    if batch.logits is not None:
        return batch.logits
    if batch.probabilities is not None:
        return np.log(np.clip(batch.probabilities, 1e-6, 1.0))
    return None


def _moments(values: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Centre, scale and share of missing of each column; extreme rows are clipped so that they cannot set the scale."""
    values = np.where(np.isinf(values), np.nan, values)
    missing = np.isnan(values).mean(axis=0) if len(values) else np.zeros(values.shape[1])
    filled = np.where(np.isnan(values).all(axis=0), 0.0, values)
    if not filled.shape[1]:
        return np.zeros(0), np.ones(0), missing
    low, high = np.nanquantile(filled, [0.002, 0.998], axis=0)
    kept = np.clip(filled, low, high)
    centre, spread = np.nanmean(kept, axis=0), np.nanstd(kept, axis=0)
    varied = spread[spread > 0]
    floor = 0.1 * float(np.median(varied)) if varied.size else 1.0
    constant_scale = np.maximum(floor, 1e-3 * np.abs(centre)) if len(varied) > 16 else np.maximum(np.abs(centre), 1.0)
    return centre, np.where(spread > 1e-12 * (1 + np.abs(centre)), spread, constant_scale), missing


def _levels(name: str, batch: EventBatch) -> Levels:
    values, counts = np.unique(np.array([_token(v) for v in categorical_column(batch, name)]), return_counts=True)
    order = np.argsort(-counts, kind="stable")[:KNOWN_LEVELS]
    total = counts.sum() + 1.0
    shares = {_untoken(str(values[i])): float(counts[i] / total) for i in order}
    common = [k for k, share in shares.items() if k is not None and share >= 0.01][:COMMON_LEVELS]
    spread = tuple(float(np.sqrt(max(shares[k] * (1 - shares[k]), 1e-3))) for k in common)
    return Levels(
        name, {k: float(-np.log(s)) for k, s in shares.items()}, tuple(common), spread, float(np.log(2 * total))
    )


def _token(value: str | None) -> str:
    return "-" if value is None else "+" + value + "."


def _untoken(text: str) -> str | None:
    return None if text == "-" else text[1:-1]


def _categorical(
    levels: Levels, batch: EventBatch, own: NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    column = categorical_column(batch, levels.name)
    usual = float(sum(np.exp(-s) * s for s in levels.surprise.values()))
    nats = np.array([levels.surprise.get(value, levels.unseen) for value in column], dtype=np.float64)
    nats[own] = usual
    position = {value: i for i, value in enumerate(levels.common)}
    index = np.array([position.get(value, -1) for value in column], dtype=np.int64)
    width = len(levels.common)
    block = np.zeros((len(column), width + 1))
    weight = 1.0 / np.sqrt(max(1, width))
    if width:
        hot = index[:, None] == np.arange(width)
        shares = np.exp([-levels.surprise[value] for value in levels.common])
        block[:, :width] = weight * squash((hot - shares) / np.asarray(levels.spread))
        block[own, :width] = 0.0
    block[:, width] = squash((nats - usual) / 2.0)
    seen = np.array([value is not None for value in column], dtype=bool)
    return block, nats, seen


def view_maps(reference: EventBatch, schema: Schema) -> tuple[VectorMap, ...]:
    """The views that the reference has: embedding and features, or the scores where there is neither."""
    sample = reference.take(np.arange(0, len(reference), max(1, len(reference) // 20_000)))
    found = [VectorMap.fit(view, sample, schema) for view in ("embedding", "features")]
    maps = tuple(m for m in found if m is not None)
    if maps:
        return maps
    scores = VectorMap.fit("scores", sample, schema)
    return () if scores is None else (scores,)
