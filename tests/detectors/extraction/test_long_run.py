"""Slow thieves are found over weeks and restarts, and the state of many clients stays small."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from detectors.arrays import pack_arrays, unpack_arrays
from detectors.base import MODEL, Level, Pane, Subject, SubjectType
from detectors.batch import concatenate
from detectors.budget import AlarmBudget
from detectors.clients.rings import CAPACITY, PROJECTED
from detectors.clients.stamps import WATCHED
from detectors.clients.walks import NOTE
from detectors.extraction.accounts import MAX_ACCOUNTS, Accounts
from detectors.extraction.detector import ExtractionDetector
from detectors.sketch import Sketch

pytestmark = pytest.mark.slow

DAY_S = 86_400.0
START = 1.7e9


def _day(kit, day, seed, slow_rows):
    """One day: a crowd of honest clients and twenty queries of the slow one."""
    rng = np.random.default_rng([seed, day])
    rows = [kit("honest_rows")(np.random.default_rng([seed, i]), 20) for i in range(20)]
    rows = [r + rng.normal(0, 0.3, r.shape) for r in rows]
    batch = kit("events")([*rows, slow_rows], [*(f"honest-{i}" for i in range(20)), "slow"], rng, 1)
    return replace(batch, timestamp=START + day * DAY_S + (batch.timestamp - START) * 1_000.0)


def test_twenty_queries_a_day_are_found_by_five_hundred_across_restarts(kit, service):
    evidence: dict[Subject, bytes] = {}
    accused: dict[str, int] = {}
    for day in range(25):
        rng = np.random.default_rng([77, day])
        mixed = np.concatenate([kit("thief_rows")(rng, 5), kit("honest_rows")(rng, 15)])
        batch = _day(kit, day, 5, mixed)
        detector = ExtractionDetector.build(service.part, service.schema, AlarmBudget(1.0, DAY_S))
        sketch = detector.sketch(detector.new_memory().annotate(batch), np.array([0]))[0]
        pane = Pane(START + day * DAY_S, DAY_S, len(batch), Sketch.from_bytes(sketch.to_bytes()))
        wanted = {s: unpack_arrays(evidence[s]) for s in detector.subjects(pane) if s in evidence}
        judged = detector.judge(wanted, pane)
        evidence |= {s: pack_arrays(arrays) for s, arrays in judged.evidence.items()}
        for reading in judged.readings:
            if reading.level is Level.ALARM:
                accused.setdefault(reading.subject.id, day)
    assert set(accused) == {"slow"}
    assert accused["slow"] < 25


def test_the_ring_of_a_client_and_its_stored_evidence_stay_below_ten_kilobytes_each(kit, service):
    batch = kit("crowd")(3, 5, 40)
    batch = concatenate([batch] * 3)
    memory = service.detector.new_memory()
    sketch = service.detector.sketch(memory.annotate(batch), np.array([0]))[0]
    judged = service.detector.judge({}, Pane(START, 60.0, len(batch), sketch))
    ring = CAPACITY * (2 * PROJECTED + 2 * WATCHED + NOTE.itemsize)
    assert ring <= 10_000
    for subject, arrays in judged.evidence.items():
        if subject.type is SubjectType.CLIENT:
            assert sum(a.nbytes for a in arrays.values()) <= 10_000
    assert memory.nbytes <= 5 * ring


def test_exact_repeats_are_left_out_of_the_mean(kit, service):
    rng = np.random.default_rng(1)
    rows = kit("honest_rows")(rng, 3)[np.arange(60) % 3]
    batch = service.detector.new_memory().annotate(kit("events")([rows], ["check"], rng, 1))
    sums = service.detector.sketch(batch, np.array([0]))[0].keyed["clients"]["check"]
    assert (sums[0], sums[2], sums[6]) == (60, 57, 3)


@pytest.mark.slow
def test_ten_thousand_active_clients_fit_into_half_a_gigabyte(kit, service):
    """Rings, the evidence of all of them in one claim, and the fullest table of accounts; rings counted as if full."""
    rng = np.random.default_rng(1)
    n, each = 10_000, 20
    tracemalloc.start()
    memory = service.detector.new_memory(max_clients=n)
    evidence = {}
    for part in range(10):
        names = [f"c{part}-{i}" for i in range(n // 10)]
        rows = kit("honest_rows")(rng, each * len(names))
        batch = kit("events")(np.split(rows, len(names)), names, rng, 1)
        sketch = service.detector.sketch(memory.annotate(batch), np.array([0]))[0]
        pane = Pane(START + 60.0 * part, 60.0, len(batch), sketch)
        wanted = {s: evidence[s] for s in service.detector.subjects(pane) if s in evidence}
        evidence |= service.detector.judge(wanted, pane).evidence
        del batch, rows, sketch, pane
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(evidence) == n + 1
    full_rings = n * CAPACITY * 16 * 2
    assert held - memory.nbytes + full_rings < 500_000_000
    assert sum(a.nbytes for a in evidence[MODEL].values()) < 3_000_000


def test_the_table_of_accounts_keeps_the_latest():
    accounts = Accounts.empty(70)
    for part in range(3):
        added = np.zeros(70, dtype=np.int64)
        added[0] = added[6] = 5
        clients = {f"c{part}-{i}": added for i in range(MAX_ACCOUNTS // 2)}
        accounts = accounts.met(clients, {c: float(part) for c in clients}, 2, float(part))
    assert len(accounts) == MAX_ACCOUNTS
    assert {name[:2] for name in accounts.names} == {"c1", "c2"}


def test_an_account_fades_by_its_own_queries_and_not_by_time():
    added = np.zeros(70, dtype=np.int64)
    added[0] = added[6] = 30
    accounts = Accounts.empty(70)
    for day in range(4):
        accounts = accounts.met({"a": added}, {"a": 0.0}, 2, day * DAY_S)
        if day < 2:
            assert accounts.fresh[0] == 30 * (day + 1)
    assert 60 <= accounts.fresh[0] <= 100
