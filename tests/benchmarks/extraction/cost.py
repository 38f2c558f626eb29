"""What watching costs: CPU time of rings and sketch an event, of judging a client, and bytes a client."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from detectors.base import Arrays, Pane, Subject
from detectors.batch import EventBatch
from tests.benchmarks.extraction import honest
from tests.benchmarks.extraction.figures import Section
from tests.benchmarks.extraction.rates import Deployment
from tests.benchmarks.extraction.traffic import PANES, Traffic, Watch

ACTIVE = 10_000


def section(deployment: Deployment, n: int, seed: int) -> Section:
    """At every visibility; goals: 5 µs an event, 10 kB a client, 500 MB for 10,000 active clients."""
    out = Section()
    world = deployment.world
    traffic = honest.crowd(world, n, (seed, 41), "k")
    for visibility, watch in deployment.watches.items():
        head = f"{world.name}, {visibility}"
        sketched = _sketch_us(watch, deployment, traffic)
        judged, evidence = _judged(watch, watch.panes(world, traffic))
        ring = _ring_bytes(watch, traffic.batch(world, visibility))
        out.figures |= {
            f"{head}: us an event, rings and sketch": sketched,
            f"{head}: us a client and pane, judge": 1e6 * judged,
            f"{head}: kB a client, evidence": evidence / 1e3,
            f"{head}: kB a client, rings (soft state)": ring / 1e3,
            f"{head}: MB for 10,000 active clients": ACTIVE * (evidence + ring) / 1e6,
        }
        out.at_most(f"{head}: us an event, rings and sketch", sketched, 5.0)
        out.at_most(f"{head}: MB for 10,000 active clients", ACTIVE * (evidence + ring) / 1e6, 500.0)
    return out


def cpu_seconds(work: Callable[[], Any], times: int = 3) -> float:
    """Least CPU time of a few runs."""
    spent = []
    for _ in range(times):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return min(spent)


def _sketch_us(watch: Watch, deployment: Deployment, traffic: Traffic) -> float:
    batch = traffic.batch(deployment.world, watch.visibility)
    starts = np.searchsorted(traffic.at, np.arange(PANES))
    detector = watch.detector

    def work() -> None:
        detector.sketch(detector.new_memory().annotate(batch), starts)

    return 1e6 * cpu_seconds(work) / len(batch)


def _judged(watch: Watch, panes: list[Pane]) -> tuple[float, float]:
    """CPU seconds a client and pane, and bytes of evidence a client."""
    evidence: dict[Subject, Arrays] = {}
    began, visits = time.process_time(), 0
    for pane in panes:
        subjects = watch.detector.subjects(pane)
        visits += len(subjects)
        evidence.update(watch.detector.judge({s: evidence[s] for s in subjects if s in evidence}, pane).evidence)
    spent = time.process_time() - began
    own = [sum(a.nbytes for a in arrays.values()) for subject, arrays in evidence.items() if subject.id]
    return spent / max(1, visits), float(np.mean(own)) if own else 0.0


def _ring_bytes(watch: Watch, batch: EventBatch) -> float:
    """Bytes of soft state a client once its ring is full: one client asks everything."""
    names = np.full(len(batch), "one", dtype=object)
    memory = watch.detector.new_memory()
    memory.annotate(replace(batch, client_id=names))
    return float(memory.nbytes) / max(1, len(memory))
