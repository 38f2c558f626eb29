"""Honest clients of today widen the tail; no client does so alone, and none while an incident is open."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.arrays import pack_arrays, unpack_arrays
from detectors.base import MODEL, Pane
from detectors.batch import concatenate
from detectors.extraction.recalibration import HEADS, LEAST_ENTRIES, MAX_ENTRIES, MOST, Recent

pytestmark = pytest.mark.slow

PANES = 12


def _crowd(rng, n, scale=1.0):
    """p-values of honest clients by a tail that is right (scale 1) or too thin (scale above)."""
    return {f"c{i}": [scale * float(np.log(rng.uniform())) for _ in HEADS] for i in range(n)}


def test_clients_as_the_reference_showed_them_change_little(service):
    recent = Recent.empty().noted(_crowd(np.random.default_rng(1), 200), 0.0)
    assert recent.factors(service.detector.baseline.tails).max() < 1.25


def test_clients_that_all_look_odder_widen_every_tail(service):
    baseline = service.detector.baseline
    recent = Recent.empty().noted(_crowd(np.random.default_rng(1), 200, scale=1.5), 0.0)
    widened = recent.widened(baseline)
    for wide, plain in zip(widened.tails, baseline.tails, strict=True):
        assert wide.log_p(2.0 * plain.shown.beyond) > plain.log_p(2.0 * plain.shown.beyond)


def test_few_clients_teach_nothing(service):
    recent = Recent.empty().noted(_crowd(np.random.default_rng(1), LEAST_ENTRIES - 1, scale=9.0), 0.0)
    assert recent.widened(service.detector.baseline) is service.detector.baseline


def test_the_scale_has_a_limit_however_odd_everybody_is(service):
    recent = Recent.empty().noted(_crowd(np.random.default_rng(1), 200, scale=50.0), 0.0)
    assert recent.factors(service.detector.baseline.tails).max() == MOST


@pytest.mark.parametrize("n", [20, 60, 250])
def test_one_client_moves_the_scale_by_one_rank_whatever_it_does(service, n):
    tails = service.detector.baseline.tails
    rng = np.random.default_rng(2)
    honest = _crowd(rng, n)
    recent = Recent.empty().noted(honest, 0.0)
    for day in range(1, 100):
        recent = recent.noted({"mallory": [-500.0] * len(HEADS)}, 86_400.0 * day)
    assert len(recent.keys) == min(n + 1, MAX_ENTRIES)
    ordered = np.sort(np.array(list(honest.values())), axis=0)
    rank = int(0.1 * (n + 1))
    expected = Recent.empty().noted(honest | {"x": list(ordered[max(0, rank - 1)])}, 0.0)
    assert (recent.factors(tails) <= expected.factors(tails) + 1e-9).all()


def test_the_table_is_bounded_and_survives_storage():
    recent = Recent.empty()
    for i in range(5):
        recent = recent.noted({f"c{i}-{j}": [-1.0] * len(HEADS) for j in range(100)}, float(i))
    recent = recent.judged(["a"], [], 7, 1, 9.0)
    assert len(recent.keys) == MAX_ENTRIES
    stored = Recent.load(unpack_arrays(pack_arrays(recent.to_arrays())))
    for name, array in recent.to_arrays().items():
        np.testing.assert_array_equal(stored.to_arrays()[name], array)


def test_an_accused_client_loses_its_entry_and_freezes_until_it_is_cleared_or_gone():
    recent = Recent.empty().noted({"a": [-9.0] + [0.0] * (len(HEADS) - 1), "b": [0.0] * len(HEADS)}, 0.0)
    accused = recent.judged(["a"], [], 0, 1, 10.0)
    assert len(accused.keys) == 1
    assert accused.has_open
    assert not accused.judged([], ["a"], 0, 0, 20.0).has_open
    assert accused.judged([], [], 0, 0, 3_600.0).has_open
    assert not accused.judged([], [], 0, 0, 2 * 86_400.0).has_open


def _shared(service, batch):
    """The evidence of the model after each pane."""
    evidence = {}
    out = []
    for i, sketch in enumerate(service.sketches(batch, PANES)):
        pane = Pane(1.7e9 + i * 60.0, 60.0, 0, sketch)
        judged = service.detector.judge(
            {s: evidence[s] for s in service.detector.subjects(pane) if s in evidence}, pane
        )
        evidence |= judged.evidence
        out.append((evidence[MODEL], judged.readings[-1]))
    return out


def test_an_open_incident_freezes_what_is_learned(kit, service):
    rng = np.random.default_rng(5)
    stolen = kit("events")([kit("thief_rows")(rng, 300)], ["mallory"], rng, PANES)
    batch = concatenate([kit("crowd")(21, 30, PANES), stolen])
    states = _shared(service, batch.take(np.argsort(batch.timestamp, kind="stable")))
    entries = [set(state["recent/keys"].tolist()) for state, _ in states]
    ledgers = [summary.detail["recalibration"] for _, summary in states]
    first = next(i for i, ledger in enumerate(ledgers) if ledger["alarms"])
    assert first < PANES - 3
    assert all(ledger["frozen"] for ledger in ledgers[first:])
    assert all(entry == entries[first] for entry in entries[first:])


def test_the_ledger_counts_client_days_and_alarms_against_the_budget(kit, service):
    batch = kit("crowd")(22, 30, PANES)
    ledger = _shared(service, batch)[-1][1].detail["recalibration"]
    assert ledger["client_days"] == 30
    assert ledger["alarms"] == 0
    assert 0 < ledger["budget_per_client_day"] < 0.05


def test_a_thief_that_drips_slowly_cannot_teach_the_baseline(kit, service):
    rng = np.random.default_rng(9)
    honest = kit("crowd")(23, 40, PANES)
    stolen = rng.random(400) < 0.015
    rows = [kit("honest_rows")(rng, 400)]
    rows[0][stolen] = kit("thief_rows")(rng, int(stolen.sum()))
    drip = kit("events")(rows, ["dripper"], rng, PANES)
    both = concatenate([honest, drip])
    both = both.take(np.argsort(both.timestamp, kind="stable"))
    tails = service.detector.baseline.tails

    def factors(batch):
        state, summary = _shared(service, batch)[-1]
        assert not summary.detail["recalibration"]["frozen"]
        return Recent.load({k[7:]: v for k, v in state.items() if k.startswith("recent/")}).factors(tails)

    alone = factors(honest)
    assert (factors(both) <= alone * 1.1).all()
