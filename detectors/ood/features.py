"""Features of mixed type as a source, and which columns make an event strange."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray
from detectors.ood.base import MIN_ROWS, ArrayMap, Component, Learning, Side, fields_of, standard, take
from detectors.ood.ellipsoid import Ellipsoid, ellipsoid_of
from detectors.ood.encoding import FINITE, Encoder, expand, number_state
from detectors.ood.inputs import Inputs
from detectors.ood.neighbours import Neighbours, neighbours_of
from detectors.ood.profile import MIN_WIDTH, profile
from detectors.ood.tails import Tails

_USUAL = 3.0
"""Surprise, in nats, that every column has now and then."""
_LOUDEST = 12.0
"""What a number counts at most, in nats, so that one wild column does not hide the others that are strange."""


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
    def learn(cls, inputs: Inputs, learning: Learning) -> Self | None:
        present = ~inputs.features.absent()
        columns = inputs.features.take(present)
        if len(columns) < MIN_ROWS or not columns.numeric.shape[1] + columns.codes.shape[1]:
            return None
        encoder = Encoder.learn(columns)
        points = encoder.encode(columns).astype(np.float32)
        scale, profiles = np.empty((2, 0)), None
        if columns.numeric.shape[1] >= MIN_WIDTH:
            rows = profile(columns.numeric, encoder.centre)
            scale = np.stack([rows.mean(axis=0), rows.std(axis=0) + 1e-6])
            profiles = Neighbours.learn(standard(rows, scale), learning.rng)
        return cls(
            encoder,
            Tails.learn(columns.numeric, encoder.scale),
            Neighbours.learn(points, learning.rng),
            Ellipsoid.learn(points, inputs.classes[present]),
            profiles,
            scale,
        )

    def components(self) -> tuple[Component, ...]:
        wide = self.profiles is not None
        found = [
            Component("near", Side.HIGH, True, "its features as a whole are far from all reference rows"),
            Component("local", Side.HIGH, True, "its features lie beside, not among, the reference rows around them"),
            Component("spread", Side.BOTH if wide else Side.HIGH, False, "its features do not go together"),
            Component("tail", Side.HIGH, False, "single features have values that the reference hardly ever has"),
        ]
        if self.ellipsoid.single.shape[1]:
            found.append(Component("single", Side.HIGH, False, "one feature is not what the others lead to expect"))
        if wide:
            found.append(Component("profile", Side.HIGH, False, "the row as a whole has an unusual texture"))
        return tuple(found)

    def scores(self, inputs: Inputs) -> FloatArray:
        columns = inputs.features
        points = self.encoder.encode(columns).astype(np.float32)
        ellipsoid = self.ellipsoid.scores(points)
        found = [self.neighbours.scores(points), ellipsoid[:, :1], self._tail(inputs)[:, None]]
        if self.ellipsoid.single.shape[1]:
            found.append(ellipsoid[:, 1:])
        if self.profiles is not None:
            rows = standard(profile(columns.numeric, self.encoder.centre), self.profile_scale)
            found.append(self.profiles.scores(rows)[:, :1])
        out = np.concatenate(found, axis=1)
        out[columns.absent()] = np.nan
        return out

    def blame(self, inputs: Inputs) -> ColumnBlame:
        """Which columns are strange; the numbers first, then the categories, as in ``Vocabulary.names``."""
        columns = inputs.features
        points = self.encoder.encode(columns).astype(np.float32)
        near = self.neighbours.mean_nearest(points).astype(np.float64)
        p = columns.numeric.shape[1]
        state = number_state(columns.numeric)
        odd = self.tails.surprises(columns.numeric) + self.encoder.state_surprise(columns.numeric)
        apart = points[:, :p].astype(np.float64) - near[:, :p]
        blame = np.minimum(0.5 * apart**2 + np.maximum(odd - _USUAL, 0.0), _LOUDEST)
        z = np.where(state == FINITE, expand(points[:, :p].astype(np.float64)) - expand(near[:, :p]), np.inf)
        z[np.isnan(columns.numeric)] = np.nan
        codes = self.encoder.known_codes(columns.codes)
        rare = self.encoder.category_surprise(codes)
        away = self.encoder.one_hot_gap(codes, near[:, p:])
        names = np.where(codes == -2, np.inf, np.where(codes == -1, np.nan, 0.0))
        return ColumnBlame(
            np.concatenate([blame, np.maximum(rare - _USUAL, 0.0) + 0.5 * away], axis=1),
            np.concatenate([z, names], axis=1),
        )

    def _tail(self, inputs: Inputs) -> FloatArray:
        """Largest surprise of one column, plus a little of the mean so that several count for more."""
        columns = inputs.features
        each = np.concatenate(
            [
                self.tails.surprises(columns.numeric) + self.encoder.state_surprise(columns.numeric),
                self.encoder.category_surprise(self.encoder.known_codes(columns.codes)),
            ],
            axis=1,
        )
        return np.asarray(each.max(axis=1) + each.mean(axis=1))

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        wide = {} if self.profiles is None else fields_of("profiles", self.profiles)
        return {
            **fields_of("encoder", self.encoder),
            **fields_of("tails", self.tails),
            **fields_of("neighbours", self.neighbours),
            **fields_of("ellipsoid", self.ellipsoid),
            **wide,
            "profile_scale": self.profile_scale,
        }

    @classmethod
    def from_arrays(cls, arrays: ArrayMap) -> Self:
        return cls(
            _encoder(arrays),
            _tails(arrays),
            neighbours_of(arrays, "neighbours"),
            ellipsoid_of(arrays, "ellipsoid"),
            neighbours_of(arrays, "profiles") if "profiles.rows" in arrays else None,
            take(arrays, "profile_scale"),
        )


@dataclass(frozen=True, slots=True, eq=False)
class ColumnBlame:
    """Which columns of n events are strange, beside the five reference rows nearest to each.

    Attributes:
        blame: (n, columns) ≥ 0, how much each column adds to the strangeness.
        z: (n, columns) distance from the neighbours' mean in spreads of the reference, NaN where the value is missing,
            +inf where it is no finite number or a category that the reference never had.
    """

    blame: FloatArray
    z: FloatArray


def _tails(arrays: ArrayMap) -> Tails:
    return Tails(
        starts=np.asarray(arrays["tails.starts"], np.int64),
        knots=take(arrays, "tails.knots"),
        surprise=take(arrays, "tails.surprise"),
        reach=take(arrays, "tails.reach"),
    )


def _encoder(arrays: ArrayMap) -> Encoder:
    return Encoder(
        centre=take(arrays, "encoder.centre"),
        scale=take(arrays, "encoder.scale"),
        states=take(arrays, "encoder.states"),
        surprises=take(arrays, "encoder.surprises"),
        sizes=np.asarray(arrays["encoder.sizes"], np.int64),
        met=np.asarray(arrays["encoder.met"], np.bool_),
        hot=np.asarray(arrays["encoder.hot"], np.int64),
        n_reference=int(take(arrays, "encoder.n_reference")),
    )
