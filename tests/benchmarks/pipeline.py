"""Speed of the path in events per CPU second, stage by stage: decode, sketch, merge, judge."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from detectors.base import Pane
from detectors.batch import EventBatch, concatenate
from detectors.sketch import Sketch, total
from detectors.suite import Suite, fit_reference, judge
from monitor.demo.traffic import DigitService, Phase, Script
from monitor.formats.native import NativeDecoder
from monitor.sources.base import Partition, Record
from tests.benchmarks.report import Goal, Report

LOG = Partition("memory", "log", 0)


def run(quick: bool, seed: int) -> Report:
    n = 4_000 if quick else 12_000
    script = Script(lengths=((Phase.REFERENCE, n), (Phase.HONEST, n)))
    chunks = list(DigitService(seed, 1_760_000_000.0, script).stream())
    reference = _batch([line for c in chunks if c.phase is Phase.REFERENCE for line in c.lines])
    lines = [line for c in chunks if c.phase is Phase.HONEST for line in c.lines]
    suite = Suite.build(fit_reference(reference, "1", seed), "bench", 1.0)
    figures: dict[str, float] = {}
    live = _batch(lines)
    figures["decode, events/s"] = n / _best(lambda: _batch(lines))
    for memory in suite.memories():
        live = memory.annotate(live)
    for detector in suite.detectors:
        seconds = _best(lambda detector=detector: detector.sketch(live, np.arange(0, n, 250)))
        figures[f"sketch, {detector.name}, events/s"] = n / seconds
    sketches = [item.sketch for item in suite.sketch(live)]
    figures["merge of two panes, ms"] = 1_000 * _best(lambda: total(sketches[:2]))
    blobs = [sketch.to_bytes() for sketch in sketches]
    figures["pane, bytes"] = float(np.mean([len(blob) for blob in blobs]))
    figures["pane to bytes and back, ms"] = 1_000 * _best(lambda: Sketch.from_bytes(sketches[0].to_bytes()))
    figures["judge one pane, ms"] = 1_000 * _judging(suite, live) / len(sketches)
    least = 10_000.0
    value = figures["sketch, drift, events/s"]
    goals = [
        Goal("sketch, drift, 64 columns, events/s", value, f"≥ {least:g}", value >= least),
        Goal("decode, events/s", figures["decode, events/s"], "≥ 20000", figures["decode, events/s"] >= 20_000.0),
    ]
    return Report("pipeline", figures, goals)


def _batch(lines: list[bytes]) -> EventBatch:
    return concatenate(NativeDecoder(1 << 20).decode([Record(LOG, i, line) for i, line in enumerate(lines)]).batches)


def _best(work: Callable[[], object], times: int = 3) -> float:
    seconds = []
    for _ in range(times):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return min(seconds)


def _judging(suite: Suite, live: EventBatch) -> float:
    items = suite.sketch(live)
    evidence: dict[str, dict] = {detector.name: {} for detector in suite.detectors}
    started = time.process_time()
    for item in items:
        for detector in suite.detectors:
            pane: Pane = suite.pane_of(detector, item.pane_start, item.n_events, item.sketch)
            known = evidence[detector.name]
            wanted = {s: known[s] for s in detector.subjects(pane) if s in known}
            known.update(judge(detector, wanted, pane).evidence)
    return time.process_time() - started
