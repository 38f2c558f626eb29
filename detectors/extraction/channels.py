"""Channels: every query as a fixed row of numbers that can be added up over a client's queries.

A conformal channel says how rare the query is for its predicted class: 1 in 100, 1 in 20 ... Conditioning on the class
takes out class skew, the largest honest difference between clients. Random Fourier features of the whitened vector,
centred by class, add a witness for any other difference between distributions. The row is centred so that its
expectation is zero on ordinary traffic; a client's mean row is what head H1 tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.clients.labels import positions, predicted
from detectors.clients.space import SCORES, Space, View
from detectors.clients.vectors import VectorMap
from detectors.extraction.crossed import Crossed
from detectors.extraction.ranks import surprisal
from detectors.extraction.wagers import growth

EDGES = np.array([0.002, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9])
STRANGE = 0.01
"""A query is called strange where it is rarer than this share of ordinary queries of its class."""
FOURIER = 16
LIKENESS, MARGIN, CATEGORIES, GRAIN = "likeness", "margin", "categories", "grain"
_SURE, _FOREIGN, _WORST, _BOTH = -4, -3, -2, -1
"""The last rows of ``Channels.table``."""
CHUNK = 512
"""Rows worked on at a time, so that wide vectors stay in cache."""
Sight = tuple[FloatArray, NDArray[np.bool_], FloatArray]
"""What a view reads: (n, p) vectors, (n,) whether it was there, (n, 2) summed surprise in nats of categories and of
numbers off the grain.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Channels:
    """Per-query channels of one model version.

    Attributes:
        labels: names of the predicted classes that have a position; any other class is the pooled one, ``len(labels)``.
        views: one or two views of the query.
        names: names of the conformal channels.
        likeness: how much a query looks made up, by the last view; what it says is -ln p already.
        loc, scale: (C + 1, channels) by which raw scores of a class are made comparable.
        table: (channels + 4, grid) quantiles of the comparable scores, then of minus the last of them, then such that
            queries through new devices do not exceed them either: of likeness, of the strangest structural channel, of
            both together.
        frequencies, phases: of the Fourier features; fourier_means (C + 1, 2 FOURIER) their ordinary class means.
    """

    labels: tuple[str, ...]
    views: tuple[View, ...]
    names: tuple[str, ...]
    likeness: Crossed
    loc: FloatArray
    scale: FloatArray
    table: FloatArray
    frequencies: FloatArray
    fourier_means: FloatArray

    @property
    def width(self) -> int:
        """d, the length of a row."""
        return len(self.names) * len(EDGES) + int(self.fourier_means.shape[1])

    def column(self, name: str, edge: float) -> int:
        """Where a row holds whether the query is rarer than an edge of a conformal channel."""
        return self.names.index(name) * len(EDGES) + int(np.flatnonzero(edge == EDGES)[0])

    def label_of(self, batch: EventBatch) -> IntArray:
        """(n,) position of the predicted class."""
        return positions(predicted(batch), self.labels)

    def read(self, batch: EventBatch) -> list[Sight]:
        """What each view reads of a batch."""
        return [view.map.vectors(batch) for view in self.views]

    def rows(self, batch: EventBatch) -> Rows:
        """The channels of every event."""
        if len(batch) <= CHUNK:
            return self._rows(batch)
        parts = [self._rows(batch.take(np.arange(i, min(i + CHUNK, len(batch))))) for i in range(0, len(batch), CHUNK)]
        return Rows(
            np.concatenate([part.label for part in parts]),
            np.concatenate([part.present for part in parts]),
            np.concatenate([part.phi for part in parts]),
            np.concatenate([part.strangeness for part in parts]),
            np.concatenate([part.won for part in parts]),
            np.concatenate([part.white for part in parts]),
        )

    def _rows(self, batch: EventBatch) -> Rows:
        return self.rows_of(self.read(batch), margin(batch), self.label_of(batch))

    def rows_of(self, read: Sequence[Sight], hardness: FloatArray | None, label: IntArray) -> Rows:
        """The channels of (n,) events from what the views read, their margins and their predicted classes."""
        columns: list[FloatArray] = []
        first, made_up = np.empty((len(label), 0)), np.empty(0)
        for view, (vectors, seen, _) in zip(self.views, read, strict=True):
            white, left = view.space.whitened(vectors)
            columns.append(np.where(seen[:, None], view.space.scores(white, left, label), np.nan))
            if view is self.views[0]:
                first = white
            if view is self.views[-1]:
                made_up = np.where(seen, self.likeness.nats(white, left, label), np.nan)
        surprise = np.sum([nats for _, _, nats in read], axis=0)
        raw = assemble(columns, made_up, surprise, hardness, self.names)
        scores = self.comparable(raw, label)
        rarity = self.rarity(scores)
        phi = np.concatenate([self.levels(rarity), self.fourier(first) - self.fourier_means[label]], axis=1)
        present = read[0][1]
        phi[~present] = 0.0
        strangeness = self.strangeness(rarity)
        return Rows(label, present, phi, strangeness, self.won(scores, rarity, strangeness), first)

    def comparable(self, raw: FloatArray, label: IntArray) -> FloatArray:
        """(n, channels) raw scores in units of the predicted class."""
        return np.asarray((raw - self.loc[label]) / self.scale[label])

    def rarity(self, scores: FloatArray) -> FloatArray:
        """(n, channels) -ln of the conformal p-value, extended linearly beyond the table; NaN where not logged."""
        out = np.empty_like(scores)
        for j in range(scores.shape[1]):
            out[:, j] = surprisal(scores[:, j], self.table[j])
        return out

    def won(self, scores: FloatArray, rarity: FloatArray, strangeness: FloatArray) -> FloatArray:
        """(n, 5) growth of those of ``WAGERS`` that a query alone decides, rounded to 1/1024 as Fourier features are.

        Answers are hard or sure beside ordinary ones of the class, where scores are logged; queries are foreign where
        they look more made up than ordinary ones of the class do, as they are or through new devices.
        """
        likest = self.names.index(LIKENESS)
        hard = sure = np.full(len(scores), np.nan)
        if self.names[-1] == MARGIN:
            hard, sure = rarity[:, -1], surprisal(-scores[:, -1], self.table[_SURE])
        foreign = surprisal(scores[:, likest], self.table[_FOREIGN])
        nats = np.stack([rarity[:, likest], strangeness, hard, sure, foreign], axis=1)
        return np.rint(1024.0 * growth(nats)) / 1024.0

    def strangeness(self, rarity: FloatArray) -> FloatArray:
        """(n,) -ln p of the strangest structural channel and likeness together; NaN if none was logged.

        Ranked among ordinary queries and among the same behind made-up devices; the larger p-value counts.
        """
        return surprisal(fisher(rarity, self.names, self.table[_WORST]), self.table[_BOTH])

    def levels(self, rarity: FloatArray) -> FloatArray:
        """(n, channels x edges) indicator of "rarer than the edge" minus the edge; 0 where not logged."""
        hit = rarity[:, :, None] >= -np.log(EDGES)
        centred = np.where(np.isnan(rarity)[:, :, None], 0.0, hit - EDGES)
        return centred.reshape(len(rarity), -1)

    def fourier(self, white: FloatArray) -> FloatArray:
        """(n, 2 FOURIER) cosines and sines, rounded to 1/1024 so that sums do not depend on how rows were batched."""
        angle = white @ self.frequencies
        return np.rint(1024.0 * np.concatenate([np.cos(angle), np.sin(angle)], axis=1)) / 1024.0

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        arrays: dict[str, NDArray[np.generic]] = {
            name: getattr(self, name) for name in ("loc", "scale", "table", "frequencies", "fourier_means")
        }
        for i, view in enumerate(self.views):
            arrays |= {f"view{i}.map.{k}": v for k, v in view.map.to_arrays().items()}
            arrays |= {f"view{i}.space.{k}": v for k, v in view.space.to_arrays().items()}
        arrays |= {f"likeness.{k}": v for k, v in self.likeness.to_arrays().items()}
        return arrays

    def to_facts(self) -> dict[str, Any]:
        return {
            "labels": list(self.labels),
            "channels": list(self.names),
            "views": [view.map.to_facts() for view in self.views],
        }

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> Self:
        views = tuple(
            View(VectorMap.load(_under(arrays, f"view{i}.map."), item), Space.load(_under(arrays, f"view{i}.space.")))
            for i, item in enumerate(facts["views"])
        )
        names = ("loc", "scale", "table", "frequencies", "fourier_means")
        kept = {name: arrays[name] for name in names}
        likeness = Crossed.load(_under(arrays, "likeness."))
        return cls(tuple(facts["labels"]), views, tuple(facts["channels"]), likeness, **kept)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """(n,) class positions, (n,) whether the query could be seen, (n, d) channel rows, (n,) strangeness (-ln p).

    ``won`` (n, 5) is what bets on the query alone win, ``white`` (n, q) are the whitened components of the first view.
    """

    label: IntArray
    present: NDArray[np.bool_]
    phi: FloatArray
    strangeness: FloatArray
    won: FloatArray
    white: FloatArray

    @property
    def strange(self) -> NDArray[np.bool_]:
        """(n,) whether each query is rarer than 1 in 100 ordinary ones of its class."""
        return np.asarray(np.nan_to_num(self.strangeness) >= -np.log(STRANGE))

    def take(self, index: IntArray) -> Rows:
        """The rows at these positions."""
        names = ("label", "present", "phi", "strangeness", "won", "white")
        return Rows(*(getattr(self, name)[index] for name in names))


def margin(batch: EventBatch) -> FloatArray | None:
    """(n,) minus the gap between the two largest probabilities, higher = harder; None where there are none."""
    values = batch.probabilities
    if values is None:
        if batch.logits is None or batch.logits.shape[1] < 2:
            return None
        shifted = batch.logits - np.nanmax(np.nan_to_num(batch.logits, nan=-1e300), axis=1, keepdims=True)
        values = np.exp(shifted)
        values = values / np.maximum(np.nansum(values, axis=1, keepdims=True), 1e-300)
    return hardness_of(values)


def hardness_of(probabilities: FloatArray) -> FloatArray:
    """(n,) hardness of (n, C) probabilities; NaN for a row without any."""
    if probabilities.shape[1] == 1:
        return np.asarray(-np.abs(2.0 * probabilities[:, 0] - 1.0))
    top = np.sort(np.nan_to_num(probabilities, nan=-1.0), axis=1)
    gap: FloatArray = np.log1p(-np.clip(top[:, -1] - top[:, -2], 0.0, 1.0) + 1e-6)
    return np.where(np.isnan(probabilities).all(axis=1), np.nan, gap)


def channel_names(views: Sequence[VectorMap], has_margin: bool) -> tuple[str, ...]:
    """Names of the conformal channels, in the order of ``assemble``."""
    names = [f"{view.view}.{score}" for view in views for score in SCORES]
    if any(view.categorical for view in views):
        names.append(CATEGORIES)
    if any(view.grain.known for view in views):
        names.append(GRAIN)
    names.append(LIKENESS)
    return tuple(names + ([MARGIN] if has_margin else []))


def assemble(
    columns: Sequence[FloatArray],
    made_up: FloatArray,
    surprise: FloatArray,
    hardness: FloatArray | None,
    names: tuple[str, ...],
) -> FloatArray:
    """(n, channels) raw scores in the order of ``names``."""
    parts = list(columns)
    parts += [surprise[:, [i]] for i, name in enumerate((CATEGORIES, GRAIN)) if name in names]
    parts.append(made_up[:, None])
    if MARGIN in names:
        parts.append((np.full(len(surprise), np.nan) if hardness is None else hardness)[:, None])
    return np.concatenate(parts, axis=1)


def strangest(rarity: FloatArray, names: tuple[str, ...]) -> FloatArray:
    """(n,) rarity of the strangest structural channel; NaN where none was logged."""
    values = rarity[:, [j for j, name in enumerate(names) if name not in (LIKENESS, MARGIN)]]
    return np.where(np.isnan(values).all(axis=1), np.nan, np.nanmax(np.nan_to_num(values, nan=-1.0), axis=1))


def fisher(rarity: FloatArray, names: tuple[str, ...], worst: FloatArray) -> FloatArray:
    """(n,) nats of the strangest structural channel, re-ranked by the quantiles ``worst``, plus those of likeness."""
    return surprisal(strangest(rarity, names), worst) + np.nan_to_num(rarity[:, names.index(LIKENESS)])


def shares_by_edge(mean: FloatArray, channels: Channels) -> FloatArray:
    """(channels, edges) share of queries rarer than each edge, of a mean row (d,)."""
    k = len(channels.names)
    return np.asarray(np.clip(mean[: k * len(EDGES)].reshape(k, len(EDGES)) + EDGES, 0.0, 1.0))


def _under(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}
