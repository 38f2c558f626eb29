"""The demo's stream: a scikit-learn classifier on scikit-learn's digits answers requests, and every answer is logged.

Five stretches of one stream: the *reference* and an *honest* one from the same clients; *drift*, when a firmware update
makes every camera paler; *foreign*, when an app release inverts
some images; *theft*, when one client mixes in
queries of a published extraction strategy. The drift stays until the end, as drift does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import msgspec
import numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from detectors.batch import FloatArray
from monitor.demo.clients import INK, Device, draw_images, honest_population
from monitor.demo.thief import JacobianThief

MODEL = "digit-reader"
VERSION = "1"
EVENTS_PER_S = 25.0


class Phase(StrEnum):
    REFERENCE = "reference"
    HONEST = "honest"
    DRIFT = "drift"
    FOREIGN = "foreign"
    THEFT = "theft"


@dataclass(frozen=True, slots=True)
class Script:
    """How many events each stretch has, and how the stream misbehaves."""

    lengths: tuple[tuple[Phase, int], ...] = (
        (Phase.REFERENCE, 12_000),
        (Phase.HONEST, 12_000),
        (Phase.DRIFT, 5_000),
        (Phase.FOREIGN, 5_000),
        (Phase.THEFT, 8_000),
    )
    n_clients: int = 300
    paler_gain: float = 0.88
    foreign_share: float = 0.12
    thief_queries: int = 400
    thief_share: float = 0.7

    @property
    def n_events(self) -> int:
        return sum(length for _, length in self.lengths)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some consecutive events of one phase, as native event lines in time order."""

    phase: Phase
    lines: tuple[bytes, ...]


class DigitService:
    """The model and its clients; ``stream`` logs what they do. Everything follows from ``seed``.

    ``start`` is the event time of the first request, epoch seconds.
    """

    def __init__(self, seed: int, start: float, script: Script | None = None) -> None:
        self._rng = np.random.default_rng(seed)
        self.script = script or Script()
        digits = load_digits()
        order = self._rng.permutation(len(digits.target))
        train, self._pool = order[:900], order[900:]
        self._images = np.asarray(digits.data, dtype=np.float64)
        self._digits = np.asarray(digits.target, dtype=np.int64)
        self.model = MLPClassifier((48,), max_iter=120, early_stopping=True, random_state=seed)
        self.model.fit(self._images[train] / INK, self._digits[train])
        self.population = honest_population(self.script.n_clients, self._rng)
        self._thief = JacobianThief(self.answer, self._images[self._pool], self._digits[self._pool], self._rng)
        self._start = start
        self._sent = 0

    @property
    def thief_id(self) -> str:
        """The client that steals: an ordinary customer of middling volume until then."""
        order = np.argsort(self.population.volume)
        return self.population.clients[int(order[len(order) // 2])].id

    def answer(self, images: FloatArray) -> FloatArray:
        """(n, 10) class probabilities for (n, 64) images."""
        return np.asarray(self.model.predict_proba(images / INK))

    def stream(self, chunk_events: int = 1_000) -> Iterator[Chunk]:
        """All phases in order."""
        for phase, length in self.script.lengths:
            thief_rows = iter(self._thief.queries(self.script.thief_queries)) if phase is Phase.THEFT else iter(())
            for start in range(0, length, chunk_events):
                yield self._chunk(phase, min(chunk_events, length - start), length, thief_rows)

    def _chunk(self, phase: Phase, n: int, length: int, thief_rows: Iterator[FloatArray]) -> Chunk:
        owners, images = self._honest_queries(n, phase)
        if phase is Phase.FOREIGN:
            self._make_foreign(images)
        if phase is Phase.THEFT:
            self._mix_in_theft(owners, images, length, thief_rows)
        answers = self.answer(images)
        lines = tuple(self._line(owners[i], images[i], answers[i]) for i in range(n))
        return Chunk(phase, lines)

    def _honest_queries(self, n: int, phase: Phase) -> tuple[list[str], FloatArray]:
        pool_images, pool_digits = self._images[self._pool], self._digits[self._pool]
        drawn = self._rng.choice(len(self.population.clients), size=n, p=self.population.volume)
        images = np.empty((n, pool_images.shape[1]))
        for c in np.unique(drawn):
            client = self.population.clients[c]
            mine = np.flatnonzero(drawn == c)
            device = self._device(client.device, phase)
            images[mine] = draw_images(client, device, pool_images, pool_digits, len(mine), self._rng)
        return [self.population.clients[c].id for c in drawn], images

    def _device(self, device: Device, phase: Phase) -> Device:
        if phase in (Phase.REFERENCE, Phase.HONEST):
            return device
        return replace(device, gain=device.gain * self.script.paler_gain)

    def _make_foreign(self, images: FloatArray) -> None:
        hit = self._rng.random(len(images)) < self.script.foreign_share
        images[hit] = INK - images[hit]

    def _mix_in_theft(
        self, owners: list[str], images: FloatArray, length: int, thief_rows: Iterator[FloatArray]
    ) -> None:
        rate = self.script.thief_queries / self.script.thief_share / length
        for i in np.flatnonzero(self._rng.random(len(owners)) < rate):
            owners[i] = self.thief_id
            if self._rng.random() < self.script.thief_share:
                images[i] = next(thief_rows, images[i])

    def _line(self, client: str, image: FloatArray, answer: FloatArray) -> bytes:
        event: dict[str, Any] = {
            "model": MODEL,
            "version": VERSION,
            "event_id": f"demo-{self._sent:06d}",
            "client_id": client,
            "timestamp": round(self._start + self._sent / EVENTS_PER_S, 3),
            "features": [round(float(value), 2) for value in image],
            "probabilities": [round(float(p), 5) for p in answer],
            "prediction": str(int(answer.argmax())),
        }
        self._sent += 1
        return msgspec.json.encode(event)
