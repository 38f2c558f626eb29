"""Embeddings as a source: neighbours by direction, ellipsoids by predicted class, length, and ViM with a head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray
from detectors.ood.base import LIMIT, MIN_ROWS, ArrayMap, Component, Learning, Side, fields_of, take
from detectors.ood.ellipsoid import Ellipsoid, ellipsoid_of
from detectors.ood.head import Vim
from detectors.ood.inputs import Inputs, of_width, usual_width
from detectors.ood.neighbours import Float32, Neighbours, neighbours_of


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingSource:
    """Fitted on the embeddings of the usual width.

    Attributes:
        centre: (d,) their mean; ``limit``: (1,) how far from it a number counts.
        ellipsoid: around the predicted classes where they are known, ``background`` around everything then.
    """

    name: ClassVar[str] = "embedding"
    centre: FloatArray
    limit: FloatArray
    neighbours: Neighbours
    ellipsoid: Ellipsoid
    background: Ellipsoid | None
    vim: Vim | None

    @classmethod
    def learn(cls, inputs: Inputs, learning: Learning) -> Self | None:
        width = 0 if inputs.embedding is None else usual_width(inputs.embedding)
        vectors, good = of_width(inputs.embedding, width, len(inputs))
        kept = good & np.isfinite(vectors).all(axis=1)
        vectors = vectors[kept]
        if width == 0 or len(vectors) < MIN_ROWS:
            return None
        centre = vectors.mean(axis=0)
        limit = np.array([LIMIT * (float(np.abs(vectors - centre).max()) + 1e-9)])
        points = _centred(vectors, centre, limit)
        ellipsoid = Ellipsoid.learn(points, inputs.classes[kept])
        classless = len(ellipsoid.names) == 1
        return cls(
            centre,
            limit,
            Neighbours.learn(_directions(vectors), learning.rng),
            ellipsoid,
            None if classless else Ellipsoid.learn(points, np.full(len(points), "", dtype=object)),
            None if learning.head is None else Vim.learn(learning.head, vectors),
        )

    def components(self) -> tuple[Component, ...]:
        found = [
            Component("near", Side.HIGH, True, "its embedding points where no reference embedding does"),
            Component("local", Side.HIGH, True, "its embedding lies beside, not among, those around it"),
            Component("spread", Side.BOTH, False, "its embedding is far from the centre of every class"),
            Component("length", Side.BOTH, False, "its embedding is unusually long or short"),
        ]
        if self.background is not None:
            found += [
                Component("relative", Side.HIGH, False, "its embedding is typical of none of the classes"),
                Component("own", Side.HIGH, False, "its embedding belongs to another class than the one answered"),
            ]
        if self.vim is not None:
            found.append(Component("vim", Side.HIGH, True, "its embedding has more than the model's last layer uses"))
        return tuple(found)

    def scores(self, inputs: Inputs) -> FloatArray:
        vectors, good = of_width(inputs.embedding, len(self.centre), len(inputs))
        vectors = _bounded(vectors, self.centre, self.limit)
        length = np.log(np.sqrt((vectors**2).sum(axis=1)) + 1e-12)
        points = _centred(vectors, self.centre, self.limit)
        found = [self.neighbours.scores(_directions(vectors))]
        if self.background is None:
            found += [self.ellipsoid.scores(points)[:, :1], length[:, None]]
        else:
            nearest, own = self.ellipsoid.by_class(points, inputs.classes).T
            relative = nearest - self.background.scores(points)[:, 0] ** 2
            found.append(np.stack([np.sqrt(nearest), length, relative, own], axis=1))
        if self.vim is not None:
            found.append(self.vim.scores(vectors)[:, None])
        out = np.concatenate(found, axis=1)
        out[~good] = np.nan
        return out

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {
            "centre": self.centre,
            "limit": self.limit,
            **fields_of("neighbours", self.neighbours),
            **fields_of("ellipsoid", self.ellipsoid),
            **({} if self.background is None else fields_of("background", self.background)),
            **({} if self.vim is None else fields_of("vim", self.vim)),
        }

    @classmethod
    def from_arrays(cls, arrays: ArrayMap) -> Self:
        return cls(
            take(arrays, "centre"),
            take(arrays, "limit"),
            neighbours_of(arrays, "neighbours"),
            ellipsoid_of(arrays, "ellipsoid"),
            ellipsoid_of(arrays, "background") if "background.names" in arrays else None,
            _vim(arrays) if "vim.alpha" in arrays else None,
        )


def _vim(arrays: ArrayMap) -> Vim:
    weights, bias, origin, directions = (take(arrays, f"vim.{k}") for k in ("weights", "bias", "origin", "directions"))
    return Vim(weights, bias, origin, directions, float(take(arrays, "vim.alpha")))


def _bounded(vectors: FloatArray, centre: FloatArray, limit: FloatArray) -> FloatArray:
    return np.asarray(np.clip(vectors, centre - limit[0], centre + limit[0]))


def _centred(vectors: FloatArray, centre: FloatArray, limit: FloatArray) -> Float32:
    return np.asarray(((_bounded(vectors, centre, limit) - centre) * (LIMIT / limit[0])).astype(np.float32))


def _directions(vectors: FloatArray) -> Float32:
    length = np.sqrt((vectors**2).sum(axis=1, keepdims=True))
    return np.asarray((vectors / np.maximum(length, 1e-12)).astype(np.float32))
