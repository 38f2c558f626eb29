"""Likeness: how much a query looks like one that was made up, rather than one that came through some device.

Small networks learn the difference between the reference's queries, seen through devices that nobody has yet, and
decoys made from them (``detectors/clients/decoys.py``). Their mean score is only ever ranked among those of
honest queries, so whatever they learned, it cannot raise the rate of false alarms.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from detectors.batch import FloatArray, IntArray
from detectors.clients.decoys import Stock, decoys, disguised
from detectors.clients.space import Space
from detectors.clients.vectors import VectorMap

HIDDEN = 64
NETWORKS = 4
"""How many learn apart, each from devices and decoys of its own, so that the luck of a draw counts for less."""
KNOWN = 3_000
"""Ordinary rows to make others from; fewer in a small reference."""
ORDINARY = 1_500
"""Of those, the rows that one network learns from, each as it is and through ``DEVICES`` made-up devices, and as many
decoys as all of them.
"""
DEVICES = 3
ROUNDS = 20
BATCHES = 12
"""Steps a round, whatever the size of the reference."""
WEIGHT_DECAY = 0.1
"""So much that a network stays smooth where neither ordinary nor made-up queries are."""
_WEIGHTS = ("mean", "scale", "enter", "enter_bias", "leave", "leave_bias")


@dataclass(frozen=True, slots=True, eq=False)
class Likeness:
    """The mean of networks of one hidden layer over whitened components and two distances; weights as plain arrays.

    Attributes:
        mean, scale: (q + 2,). enter: (q + 2, h), enter_bias: (h,) with h = NETWORKS x HIDDEN. leave: (h,),
            leave_bias: (1,).
    """

    mean: FloatArray
    scale: FloatArray
    enter: FloatArray
    enter_bias: FloatArray
    leave: FloatArray
    leave_bias: FloatArray

    @classmethod
    def fit(cls, source: VectorMap, space: Space, vectors: FloatArray, label: IntArray, seed: int) -> Self:
        """Learn from (n, p) ordinary vectors with predicted classes; deterministic given the seed, a second or two."""
        rng = np.random.default_rng(seed)
        index = rng.permutation(len(vectors))[:KNOWN]
        stock = Stock.of(source, vectors[index], label[index], rng)
        lots = [_lot(stock, space, min(ORDINARY, len(index)), rng) for _ in range(NETWORKS)]
        pooled = np.concatenate([inputs for inputs, _ in lots])
        mean, scale = pooled.mean(axis=0), pooled.std(axis=0) + 1e-6
        networks = [_network((inputs - mean) / scale, target, seed + i) for i, (inputs, target) in enumerate(lots)]
        enter, bias, leave, last = (np.concatenate(parts, axis=-1) for parts in zip(*networks, strict=True))
        return cls(mean, scale, enter, bias, leave / NETWORKS, np.array([last.mean()]))

    def scores(self, white: FloatArray, left: FloatArray) -> FloatArray:
        """(n,) log odds that a query was made up, by the whitened components and what they leave out."""
        hidden = ((_inputs(white, left) - self.mean) / self.scale) @ self.enter + self.enter_bias
        return np.asarray(np.maximum(hidden, 0.0) @ self.leave + self.leave_bias)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {name: getattr(self, name) for name in _WEIGHTS}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        return cls(**{name: arrays[name] for name in _WEIGHTS})


def _lot(stock: Stock, space: Space, n: int, rng: np.random.Generator) -> tuple[FloatArray, NDArray[np.int64]]:
    """Inputs of n ordinary rows as they are and through devices, and of as many decoys; 1 marks a decoy."""
    plain, _ = stock.drawn(n, rng)
    ordinary = np.concatenate([plain, *(disguised(stock, plain, rng) for _ in range(DEVICES))])
    made = np.concatenate(decoys(stock, len(ordinary), rng))
    inputs = _inputs(*space.whitened(np.concatenate([stock.squashed(ordinary), made])))
    return inputs, np.repeat([0, 1], [len(ordinary), len(made)])


def _network(inputs: FloatArray, target: NDArray[np.int64], seed: int) -> tuple[FloatArray, ...]:
    """Weights (q + 2, HIDDEN) and (HIDDEN,), then (HIDDEN,) and (1,)."""
    network = MLPClassifier(
        (HIDDEN,),
        batch_size=-(-len(inputs) // BATCHES),
        max_iter=ROUNDS,
        alpha=WEIGHT_DECAY,
        learning_rate_init=5e-3,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(inputs, target)
    first, second = network.coefs_
    return first, network.intercepts_[0], second[:, 0], network.intercepts_[1]


def _inputs(white: FloatArray, left: FloatArray) -> FloatArray:
    length = np.einsum("ij,ij->i", white, white)
    return np.concatenate(
        [np.clip(white, -8.0, 8.0), np.log(left + 1e-3)[:, None], 0.5 * np.log(length + 1e-3)[:, None]], axis=1
    )
