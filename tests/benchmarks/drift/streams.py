"""Seeded streams: columns of every shape, correlated or dependent in time, and the changes that come over them.

A world draws latent normal columns (equicorrelated by ``rho``, autocorrelated by ``phi``) and maps each to its shape,
so every shape is tried under every dependence. It carries its state from one piece of a stream to the next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter
from scipy.special import ndtr

from tests.benchmarks.drift.watched import Rows

N_CATEGORIES = 10_000
_ZIPF = np.cumsum(1.0 / np.arange(1, N_CATEGORIES + 1))
_ZIPF /= _ZIPF[-1]
_NAMES = np.array([f"v{i}" for i in range(N_CATEGORIES)], dtype=object)
FEW = np.array(["red", "green", "blue", "violet", "grey", "black"], dtype=object)
FEW_SHARES = np.array([0.4, 0.25, 0.15, 0.1, 0.06, 0.04])
TAIL_SHARE, TAIL_SCALE = 0.1, 3.0
NEW_SHARE = 0.1
SWAPPED = 0.15
RAMP = 500


@dataclass
class World:
    """Columns of one shape: ``normal``, ``lognormal``, ``ties``, ``bernoulli``, ``zipf`` or ``mixture``.

    ``phi``: autocorrelation from event to event; ``season``: amplitude of a daily sine, in sd, with ``period`` events;
    ``pane_effect``: sd of a shift drawn anew for each run of ``per_pane`` events.
    """

    rng: np.random.Generator
    columns: int
    shape: str = "normal"
    rho: float = 0.0
    phi: float = 0.0
    season: float = 0.0
    period: int = 0
    pane_effect: float = 0.0
    per_pane: int = 50

    def __post_init__(self) -> None:
        self._state = self.rng.normal(size=(1, self.columns)) * self.phi
        self._drawn = 0

    def draw(self, n: int) -> Rows:
        return self.shaped(self.latent(n))

    def latent(self, n: int) -> np.ndarray:
        """(n, columns) standard normal; plus season and pane effects where the world has them."""
        z = self.rng.normal(size=(n, self.columns))
        if self.rho:
            z = np.sqrt(1 - self.rho) * z + np.sqrt(self.rho) * self.rng.normal(size=(n, 1))
        if self.phi:
            scale = np.sqrt(1 - self.phi**2)
            z, self._state = lfilter([scale], [1.0, -self.phi], z, axis=0, zi=self._state)
        if self.season:
            at = np.arange(self._drawn, self._drawn + n) * (2 * np.pi / self.period)
            z = z + self.season * np.sin(at)[:, None]
        if self.pane_effect:
            effects = self.rng.normal(size=(-(-n // self.per_pane), self.columns)) * self.pane_effect
            z = z + np.repeat(effects, self.per_pane, axis=0)[:n]
        self._drawn += n
        return z

    def shaped(self, z: np.ndarray) -> Rows:
        if self.shape == "zipf":
            return Rows.of_categories(_NAMES[np.searchsorted(_ZIPF, ndtr(z)).clip(0, N_CATEGORIES - 1)])
        return Rows.of_numbers(_SHAPES[self.shape](z, self.rng))


def _mixture(z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.where(rng.random(z.shape) < 0.1, 5.0 + 0.5 * z, z)


_SHAPES: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "normal": lambda z, rng: z,
    "lognormal": lambda z, rng: np.exp(z),
    "ties": lambda z, rng: np.floor(ndtr(z) * 40.0) / 40.0,
    "bernoulli": lambda z, rng: (z > 2.3263478740408408).astype(np.float64),
    "mixture": _mixture,
}
SHAPES = (*_SHAPES, "zipf")


@dataclass
class MixedWorld:
    """30 columns as tables have them: 24 numeric of three shapes, 6 categorical, 3 % missing, correlated by .3."""

    rng: np.random.Generator
    phi: float

    def __post_init__(self) -> None:
        self._latent = World(self.rng, 30, rho=0.3, phi=self.phi)

    def draw(self, n: int) -> Rows:
        z = self._latent.latent(n)
        numeric = np.concatenate([z[:, :8], np.exp(z[:, 8:16]), np.floor(ndtr(z[:, 16:24]) * 20.0)], axis=1)
        edges = np.cumsum(FEW_SHARES)[:-1]
        categories = FEW[np.searchsorted(edges, ndtr(z[:, 24:]))]
        numeric[self.rng.random(numeric.shape) < 0.03] = np.nan
        categories[self.rng.random(categories.shape) < 0.03] = None
        return Rows(numeric, categories)


def few_categories(rng: np.random.Generator, n: int, shares: np.ndarray = FEW_SHARES) -> np.ndarray:
    """(n,) indices into ``FEW``; an index beyond it is a value that the reference never saw."""
    return rng.choice(len(shares), size=n, p=shares)


@dataclass(frozen=True)
class Change:
    """What happens to one column at the onset.

    ``kind``: ``shift`` and ``ramp`` (sd), ``scale`` (factor), ``tail``, ``swap``, ``new``.
    """

    kind: str
    size: float = 0.0

    @property
    def name(self) -> str:
        return {
            "shift": f"mean +{self.size:g} sd",
            "ramp": f"mean rises to +{self.size:g} sd over {RAMP} events",
            "scale": f"sd x{self.size:g}",
            "tail": f"{TAIL_SHARE:.0%} of events x{TAIL_SCALE:g}",
            "swap": "two categories swap",
            "new": f"new category in {NEW_SHARE:.0%} of events",
        }[self.kind]

    @property
    def categorical(self) -> bool:
        return self.kind in ("swap", "new")

    def values(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """(n,) values after the onset: numbers, or indices of categories."""
        if self.kind == "swap":
            return few_categories(rng, n, FEW_SHARES[[2, 1, 0, 3, 4, 5]])
        if self.kind == "new":
            return few_categories(rng, n, np.append(FEW_SHARES * (1 - NEW_SHARE), NEW_SHARE))
        z = rng.normal(size=n)
        if self.kind == "shift":
            return z + self.size
        if self.kind == "ramp":
            return z + self.size * np.minimum(np.arange(n) / RAMP, 1.0)
        if self.kind == "scale":
            return z * self.size
        return np.where(rng.random(n) < TAIL_SHARE, TAIL_SCALE * z, z)


def one_column(values: np.ndarray, categorical: bool) -> Rows:
    """One column of numbers, or of the categories whose indices ``values`` are."""
    if categorical:
        return Rows.of_categories(np.append(FEW, "never seen")[values.astype(np.int64)][:, None])
    return Rows.of_numbers(values[:, None])
