"""Honest clients of a digit reader: skewed classes, different devices, retries, heavy-tailed volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, rotate, shift

from detectors.batch import FloatArray

SIDE = 8
INK = 16.0


@dataclass(frozen=True, slots=True)
class Device:
    """What a camera does to an image: gain on the ink, blur in pixels, noise in ink units."""

    gain: float = 1.0
    blur: float = 0.0
    noise: float = 0.4

    def capture(self, image: FloatArray, rng: np.random.Generator) -> FloatArray:
        """(64,) whole ink values in [0, 16], as the sensor would log them."""
        moved = shift(image.reshape(SIDE, SIDE), rng.normal(0, 0.25, size=2), order=1)
        turned = rotate(moved, rng.normal(0, 4.0), reshape=False, order=1)
        seen = gaussian_filter(turned, self.blur) if self.blur else turned
        inked = self.gain * seen + rng.normal(0, self.noise, size=seen.shape) * (seen > 0.5)
        return np.clip(np.rint(inked), 0, INK).ravel()


@dataclass(frozen=True, slots=True)
class Client:
    """One honest caller: which digits it sends, through what device, how often it retries."""

    id: str
    classes: FloatArray
    """(10,) class mix."""
    device: Device
    retry_rate: float


@dataclass(frozen=True, slots=True)
class Population:
    """Clients and their shares of the traffic."""

    clients: tuple[Client, ...]
    volume: FloatArray
    """(clients,) shares, summing to one."""


def honest_population(n: int, rng: np.random.Generator) -> Population:
    """``n`` clients; one in eight has a softer camera, one in ten retries often, volumes follow a Pareto law."""
    clients = []
    for i in range(n):
        softer = rng.random() < 0.125
        device = Device(gain=rng.normal(1.0, 0.03), blur=0.35 if softer else 0.0, noise=0.8 if softer else 0.4)
        clients.append(
            Client(
                id=f"shop-{i:03d}",
                classes=rng.dirichlet(np.full(10, 3.0)),
                device=device,
                retry_rate=0.15 if rng.random() < 0.1 else 0.01,
            )
        )
    volume = np.minimum(rng.pareto(1.8, size=n) + 0.3, 12.0)
    return Population(tuple(clients), volume / volume.sum())


def draw_images(
    client: Client,
    device: Device,
    images: FloatArray,
    digits: NDArray[np.int64],
    n: int,
    rng: np.random.Generator,
) -> FloatArray:
    """(n, 64) queries of ``client``: its class mix through ``device``, some of them exact retries of the one before."""
    rows = np.empty((n, SIDE * SIDE))
    for i in range(n):
        if i and rng.random() < client.retry_rate:
            rows[i] = rows[i - 1]
            continue
        digit = rng.choice(10, p=client.classes)
        rows[i] = device.capture(images[rng.choice(np.flatnonzero(digits == digit))], rng)
    return rows
