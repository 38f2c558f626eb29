"""Sources: the component scores that each kind of logged input gives.

A source is learned from reference rows and scores any rows; ``nan`` means "this row did not log what it takes". Every
component has a *side* (strange when large, or on either side) and may be part of the source's *core*: the scores that
are right most of the time, averaged; the others are heard when they shout (``scorer.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray
from detectors.ood.ellipsoid import Ellipsoid
from detectors.ood.encoding import Encoder, Vocabulary, compress
from detectors.ood.inputs import Inputs, of_width, predicted_classes, usual_width
from detectors.ood.neighbours import Float32, Neighbours
from detectors.ood.profile import MIN_WIDTH, profile
from detectors.ood.tails import Tails

MIN_ROWS = 20
LIMIT = 1e3
ArrayMap = Mapping[str, NDArray[np.generic]]


class Side(StrEnum):
    HIGH = "high"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Component:
    """One score of a source."""

    name: str
    side: Side
    core: bool


class Source(Protocol):
    """A fitted source: pure, immutable."""

    name: ClassVar[str]

    @classmethod
    def learn(cls, inputs: Inputs, vocabulary: Vocabulary, rng: np.random.Generator) -> Self | None:
        """Fit on reference rows; None where fewer than ``MIN_ROWS`` logged what it takes."""
        ...

    def components(self) -> tuple[Component, ...]: ...

    def scores(self, inputs: Inputs) -> FloatArray:
        """(n, components) scores, larger = stranger; NaN rows could not be scored."""
        ...

    def to_arrays(self) -> dict[str, NDArray[np.generic]]: ...

    @classmethod
    def from_arrays(cls, arrays: ArrayMap) -> Self: ...


@dataclass(frozen=True, slots=True, eq=False)
class FeatureSource:
    """Features of mixed type: neighbours, ellipsoid, marginal tails, and the profile of wide rows."""

    name: ClassVar[str] = "features"
    encoder: Encoder
    tails: Tails
    neighbours: Neighbours
    ellipsoid: Ellipsoid
    profiles: Neighbours | None
    profile_scale: FloatArray

    @classmethod
    def learn(cls, inputs: Inputs, vocabulary: Vocabulary, rng: np.random.Generator) -> Self | None:
        present = ~inputs.features.absent()
        columns = inputs.features.take(present)
        if len(columns) < MIN_ROWS or not columns.numeric.shape[1] + columns.codes.shape[1]:
            return None
        sizes = np.array([len(known) for known in vocabulary.categories], dtype=np.int64)
        encoder = Encoder.learn(columns, sizes)
        points = encoder.encode(columns).astype(np.float32)
        classes = predicted_classes(inputs)
        scale, profiles = np.empty((2, 0)), None
        if columns.numeric.shape[1] >= MIN_WIDTH:
            rows = profile(columns.numeric, encoder.centre)
            scale = np.stack([rows.mean(axis=0), rows.std(axis=0) + 1e-6])
            profiles = Neighbours.learn(_standard(rows, scale), rng)
        return cls(
            encoder,
            Tails.learn(columns.numeric, encoder.scale),
            Neighbours.learn(points, rng),
            Ellipsoid.learn(points, None if classes is None else classes[present]),
            profiles,
            scale,
        )

    def components(self) -> tuple[Component, ...]:
        wide = self.profiles is not None
        found = [
            Component("near", Side.HIGH, True),
            Component("local", Side.HIGH, True),
            Component("spread", Side.BOTH if wide else Side.HIGH, False),
            Component("tail", Side.HIGH, False),
        ]
        if self.ellipsoid.single.shape[1]:
            found.append(Component("single", Side.HIGH, False))
        if wide:
            found.append(Component("profile", Side.HIGH, False))
        return tuple(found)

    def scores(self, inputs: Inputs) -> FloatArray:
        columns = inputs.features
        points = self.encoder.encode(columns).astype(np.float32)
        ellipsoid = self.ellipsoid.scores(points)
        found = [self.neighbours.scores(points), ellipsoid[:, :1], self._tail(inputs)[:, None]]
        if self.ellipsoid.single.shape[1]:
            found.append(ellipsoid[:, 1:])
        if self.profiles is not None:
            rows = _standard(profile(columns.numeric, self.encoder.centre), self.profile_scale)
            found.append(self.profiles.scores(rows)[:, :1])
        out = np.concatenate(found, axis=1)
        out[columns.absent()] = np.nan
        return out

    def _tail(self, inputs: Inputs) -> FloatArray:
        """Largest surprise of one column, plus a little of the mean so that several count for more."""
        columns = inputs.features
        each = np.concatenate(
            [
                self.tails.surprises(columns.numeric) + self.encoder.state_surprise(columns.numeric),
                self.encoder.category_surprise(columns.codes),
            ],
            axis=1,
        )
        return np.asarray(each.max(axis=1) + each.mean(axis=1))

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        wide = {} if self.profiles is None else _fields("profiles", self.profiles)
        return {
            **_fields("encoder", self.encoder),
            **_fields("tails", self.tails),
            **_fields("neighbours", self.neighbours),
            **_fields("ellipsoid", self.ellipsoid),
            **wide,
            "profile_scale": self.profile_scale,
        }

    @classmethod
    def from_arrays(cls, arrays: ArrayMap) -> Self:
        return cls(
            _encoder(arrays),
            _tails(arrays),
            _neighbours(arrays, "neighbours"),
            _ellipsoid(arrays, "ellipsoid"),
            _neighbours(arrays, "profiles") if "profiles.rows" in arrays else None,
            _take(arrays, "profile_scale"),
        )


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingSource:
    """Embeddings: neighbours by direction, ellipsoid around the predicted classes, and length."""

    name: ClassVar[str] = "embedding"
    centre: FloatArray
    limit: FloatArray
    neighbours: Neighbours
    ellipsoid: Ellipsoid

    @classmethod
    def learn(cls, inputs: Inputs, vocabulary: Vocabulary, rng: np.random.Generator) -> Self | None:
        width = 0 if inputs.embedding is None else usual_width(inputs.embedding)
        vectors, good = of_width(inputs.embedding, width, len(inputs))
        vectors = vectors[good & np.isfinite(vectors).all(axis=1)]
        if width == 0 or len(vectors) < MIN_ROWS:
            return None
        kept = good & np.isfinite(of_width(inputs.embedding, width, len(inputs))[0]).all(axis=1)
        classes = predicted_classes(inputs)
        centre = vectors.mean(axis=0)
        limit = np.array([LIMIT * (float(np.abs(vectors - centre).max()) + 1e-9)])
        points = _centred(vectors, centre, limit)
        return cls(
            centre,
            limit,
            Neighbours.learn(_directions(vectors), rng),
            Ellipsoid.learn(points, None if classes is None else classes[kept]),
        )

    def components(self) -> tuple[Component, ...]:
        return (
            Component("near", Side.HIGH, True),
            Component("local", Side.HIGH, True),
            Component("spread", Side.BOTH, False),
            Component("length", Side.BOTH, False),
        )

    def scores(self, inputs: Inputs) -> FloatArray:
        vectors, good = of_width(inputs.embedding, len(self.centre), len(inputs))
        vectors = _bounded(vectors, self.centre, self.limit)
        length = np.log(np.sqrt((vectors**2).sum(axis=1)) + 1e-12)
        spread = self.ellipsoid.scores(_centred(vectors, self.centre, self.limit))[:, :1]
        out = np.concatenate([self.neighbours.scores(_directions(vectors)), spread, length[:, None]], axis=1)
        out[~good] = np.nan
        return out

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {
            "centre": self.centre,
            "limit": self.limit,
            **_fields("neighbours", self.neighbours),
            **_fields("ellipsoid", self.ellipsoid),
        }

    @classmethod
    def from_arrays(cls, arrays: ArrayMap) -> Self:
        return cls(
            _take(arrays, "centre"),
            _take(arrays, "limit"),
            _neighbours(arrays, "neighbours"),
            _ellipsoid(arrays, "ellipsoid"),
        )


@dataclass(frozen=True, slots=True, eq=False)
class LogitSource:
    """Logits: free energy, margin of the largest, and neighbours, which see what is confidently wrong."""

    name: ClassVar[str] = "logits"
    limit: FloatArray
    neighbours: Neighbours

    @classmethod
    def learn(cls, inputs: Inputs, vocabulary: Vocabulary, rng: np.random.Generator) -> Self | None:
        width = 0 if inputs.logits is None else usual_width(inputs.logits)
        vectors, good = of_width(inputs.logits, width, len(inputs))
        vectors = vectors[good & np.isfinite(vectors).all(axis=1)]
        if width < 2 or len(vectors) < MIN_ROWS:
            return None
        limit = np.array([LIMIT * (float(np.abs(vectors).max()) + 1e-9), float(width)])
        return cls(limit, Neighbours.learn(_levelled(vectors), rng))

    def components(self) -> tuple[Component, ...]:
        return (
            Component("near", Side.HIGH, True),
            Component("local", Side.HIGH, True),
            Component("energy", Side.BOTH, True),
            Component("margin", Side.HIGH, True),
        )

    def scores(self, inputs: Inputs) -> FloatArray:
        vectors, good = of_width(inputs.logits, int(self.limit[1]), len(inputs))
        vectors = np.clip(vectors, -self.limit[0], self.limit[0])
        top = np.sort(vectors, axis=1)
        energy = -(top[:, -1] + np.log(np.exp(top - top[:, -1:]).sum(axis=1)))
        margin = top[:, -2] - top[:, -1]
        out = np.concatenate([self.neighbours.scores(_levelled(vectors)), np.stack([energy, margin], axis=1)], axis=1)
        out[~good] = np.nan
        return out

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {"limit": self.limit, **_fields("neighbours", self.neighbours)}

    @classmethod
    def from_arrays(cls, arrays: ArrayMap) -> Self:
        return cls(_take(arrays, "limit"), _neighbours(arrays, "neighbours"))


@dataclass(frozen=True, slots=True, eq=False)
class ProbabilitySource:
    """Probabilities: generalised entropy, uncertainty of the largest, and neighbours among log-probabilities."""

    name: ClassVar[str] = "probabilities"
    width: int
    neighbours: Neighbours

    @classmethod
    def learn(cls, inputs: Inputs, vocabulary: Vocabulary, rng: np.random.Generator) -> Self | None:
        width = 0 if inputs.probabilities is None else usual_width(inputs.probabilities)
        vectors, good = of_width(inputs.probabilities, width, len(inputs))
        if width == 0 or good.sum() < MIN_ROWS:
            return None
        return cls(width, Neighbours.learn(_log_shares(_shares(vectors[good])), rng))

    def components(self) -> tuple[Component, ...]:
        return (
            Component("near", Side.HIGH, True),
            Component("local", Side.HIGH, True),
            Component("entropy", Side.HIGH, True),
            Component("doubt", Side.HIGH, False),
        )

    def scores(self, inputs: Inputs) -> FloatArray:
        vectors, good = of_width(inputs.probabilities, self.width, len(inputs))
        shares = _shares(vectors)
        entropy = ((shares * (1.0 - shares) + 1e-12) ** 0.1).sum(axis=1)
        doubt = np.log(1.0 - shares.max(axis=1) + 1e-12)
        out = np.concatenate([self.neighbours.scores(_log_shares(shares)), np.stack([entropy, doubt], axis=1)], axis=1)
        out[~good] = np.nan
        return out

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {"width": np.array([self.width]), **_fields("neighbours", self.neighbours)}

    @classmethod
    def from_arrays(cls, arrays: ArrayMap) -> Self:
        return cls(int(_take(arrays, "width")[0]), _neighbours(arrays, "neighbours"))


SOURCES: tuple[type[Source], ...] = (FeatureSource, EmbeddingSource, LogitSource, ProbabilitySource)


def _standard(rows: FloatArray, scale: FloatArray) -> Float32:
    return np.asarray(compress((rows - scale[0]) / scale[1]).astype(np.float32))


def _bounded(vectors: FloatArray, centre: FloatArray, limit: FloatArray) -> FloatArray:
    return np.asarray(np.clip(vectors, centre - limit[0], centre + limit[0]))


def _centred(vectors: FloatArray, centre: FloatArray, limit: FloatArray) -> Float32:
    return np.asarray(((_bounded(vectors, centre, limit) - centre) * (LIMIT / limit[0])).astype(np.float32))


def _directions(vectors: FloatArray) -> Float32:
    length = np.sqrt((vectors**2).sum(axis=1, keepdims=True))
    return np.asarray((vectors / np.maximum(length, 1e-12)).astype(np.float32))


def _levelled(logits: FloatArray) -> Float32:
    return np.asarray((logits - logits.mean(axis=1, keepdims=True)).astype(np.float32))


def _shares(vectors: FloatArray) -> FloatArray:
    """Non-negative rows summing to one; a single probability becomes itself and its complement."""
    known = np.clip(np.nan_to_num(vectors, nan=0.0, posinf=1.0, neginf=0.0), 0.0, 1e6)
    if known.shape[1] == 1:
        known = np.concatenate([np.minimum(known, 1.0), 1.0 - np.minimum(known, 1.0)], axis=1)
    total = known.sum(axis=1, keepdims=True)
    return np.asarray(np.where(total > 0, known / np.maximum(total, 1e-12), 1.0 / known.shape[1]))


def _log_shares(shares: FloatArray) -> Float32:
    return _levelled(np.log(np.maximum(shares, 1e-6)))


def _fields(prefix: str, value: Encoder | Tails | Neighbours | Ellipsoid) -> dict[str, NDArray[np.generic]]:
    return {f"{prefix}.{name}": np.asarray(getattr(value, name)) for name in type(value).__slots__}


def _take(arrays: ArrayMap, name: str) -> FloatArray:
    return np.asarray(arrays[name])


def _neighbours(arrays: ArrayMap, prefix: str) -> Neighbours:
    return Neighbours(
        np.asarray(arrays[f"{prefix}.rows"], np.float32), np.asarray(arrays[f"{prefix}.spacing"], np.float32)
    )


def _tails(arrays: ArrayMap) -> Tails:
    return Tails(
        starts=np.asarray(arrays["tails.starts"], np.int64),
        knots=_take(arrays, "tails.knots"),
        surprise=_take(arrays, "tails.surprise"),
        reach=_take(arrays, "tails.reach"),
    )


def _ellipsoid(arrays: ArrayMap, prefix: str) -> Ellipsoid:
    centres, whitener, axes, single = (
        np.asarray(arrays[f"{prefix}.{k}"], np.float32) for k in ("centres", "whitener", "axes", "single")
    )
    return Ellipsoid(centres, whitener, axes, single, float(_take(arrays, f"{prefix}.rest")))


def _encoder(arrays: ArrayMap) -> Encoder:
    return Encoder(
        centre=_take(arrays, "encoder.centre"),
        scale=_take(arrays, "encoder.scale"),
        states=_take(arrays, "encoder.states"),
        surprises=_take(arrays, "encoder.surprises"),
        sizes=np.asarray(arrays["encoder.sizes"], np.int64),
        hot=np.asarray(arrays["encoder.hot"], np.int64),
        n_reference=int(_take(arrays, "encoder.n_reference")),
    )
