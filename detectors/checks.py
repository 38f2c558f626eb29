"""Conformance checks: what every detector promises, as functions that a test, or a user's own detector, may call.

Each raises ``AssertionError`` with what was broken. All take a fitted detector and a batch of events in time order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detectors.base import Arrays, Detector, Judgement, Level, Pane, Part, Reading, Subject
from detectors.batch import EventBatch
from detectors.schema import Schema
from detectors.sketch import Sketch, total


def check_sketches_add_up(detector: Detector, batch: EventBatch, cuts: Sequence[Sequence[int]]) -> None:
    """The sum of the sketches is the same to the last bit, wherever the batch is cut and in whatever order added."""
    whole = _content(detector.sketch(batch, np.array([0]))[0])
    for cut in cuts:
        parts = list(detector.sketch(batch, np.array(cut)))
        if _content(total(parts)) != whole or _content(total(reversed(parts))) != whole:
            raise AssertionError(
                f"{detector.name}: sketches cut at {list(cut)} do not add up to the sketch of the whole"
            )


def check_sketch_survives_storage(detector: Detector, batch: EventBatch) -> None:
    """A sketch written to bytes and read back is the same sketch."""
    sketch = detector.sketch(batch, np.array([0]))[0]
    if _content(Sketch.from_bytes(sketch.to_bytes())) != _content(sketch):
        raise AssertionError(f"{detector.name}: a sketch changes when it is stored")


def check_judging_is_pure(detector: Detector, batch: EventBatch, per_pane: int) -> None:
    """The same panes give the same readings and evidence, and judging changes nothing that was handed in."""
    if _play(detector, batch, per_pane) != _play(detector, batch, per_pane):
        raise AssertionError(f"{detector.name}: judging the same panes twice gives different readings")


def check_readings_are_whole(detector: Detector, batch: EventBatch, per_pane: int) -> None:
    """Readings carry numbers, a threshold, and a reason; an alarm has the evidence and the effect it needs."""
    for reading in _play(detector, batch, per_pane):
        numbers = (reading.log_evidence, reading.log_threshold, reading.effect)
        if not np.all(np.isfinite(numbers)) or not reading.reason:
            raise AssertionError(f"{detector.name}: a reading lacks a number or a reason: {reading}")
        if reading.level is Level.ALARM and reading.log_evidence < reading.log_threshold:
            raise AssertionError(f"{detector.name}: an alarm without the evidence for it: {reading}")
        if reading.level is Level.ALARM and abs(reading.effect) < reading.minimum_effect:
            raise AssertionError(f"{detector.name}: an alarm without the effect for it: {reading}")


def check_fit_is_deterministic(
    part: Part, detector: type[Detector], batch: EventBatch, schema: Schema, pane_s: float, seed: int
) -> None:
    """The events and the seed that ``part`` was fitted with give the same part again."""
    again = detector.fit(batch, schema, pane_s, seed)
    if not isinstance(again, Part):
        raise AssertionError(f"{detector.name}: does not fit this batch: {again}")
    same = part.facts == again.facts and part.arrays.keys() == again.arrays.keys()
    if not same or any(not np.array_equal(part.arrays[k], again.arrays[k]) for k in part.arrays):
        raise AssertionError(f"{detector.name}: two fits of the same events with the same seed differ")


def check_state_is_plain(detector: Detector, batch: EventBatch) -> None:
    """Evidence is made of numbers, bools and text alone, so that it can be stored without pickle."""
    (pane,) = _panes(detector, batch, len(batch))
    for subject, state in detector.judge({}, pane).evidence.items():
        for name, array in state.items():
            if np.asarray(array).dtype.kind not in "biufU":
                raise AssertionError(f"{detector.name}: evidence of {subject} holds {name} of {array.dtype}")


def _content(sketch: Sketch) -> dict[str, list[object]]:
    content = {name: array.tolist() for name, array in sketch.totals.items()}
    for group, keys in sketch.keyed.items():
        content.update({f"{group}/{key}": array.tolist() for key, array in keys.items()})
    return content


def _panes(detector: Detector, batch: EventBatch, per_pane: int) -> list[Pane]:
    starts = np.arange(0, len(batch), per_pane)
    sketches = detector.sketch(batch, starts)
    sizes = np.diff(np.append(starts, len(batch)))
    return [Pane(i * 10.0, 10.0, int(n), s) for i, (n, s) in enumerate(zip(sizes, sketches, strict=True))]


def _play(detector: Detector, batch: EventBatch, per_pane: int) -> list[Reading]:
    evidence: dict[Subject, Arrays] = {}
    readings: list[Reading] = []
    for pane in _panes(detector, batch, per_pane):
        before = {s: {k: np.array(v) for k, v in a.items()} for s, a in evidence.items()}
        wanted = {s: evidence[s] for s in detector.subjects(pane) if s in evidence}
        judgement: Judgement = detector.judge(wanted, pane)
        for subject, arrays in before.items():
            if any(not np.array_equal(arrays[k], evidence[subject][k], equal_nan=_numeric(arrays[k])) for k in arrays):
                raise AssertionError(f"{detector.name}: judging changed the evidence of {subject} in place")
        evidence.update(judgement.evidence)
        readings += judgement.readings
    return readings


def _numeric(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> bool:
    return array.dtype.kind in "fc"
