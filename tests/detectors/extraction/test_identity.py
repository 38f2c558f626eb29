"""Without client ids queries are judged by segment or for the model as a whole, and the readings say so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.base import MODEL, Level, SubjectType
from detectors.batch import concatenate
from detectors.extraction.identity import By, Identity

pytestmark = pytest.mark.slow

PANES = 12


def _in_time(batch):
    return batch.take(np.argsort(batch.timestamp, kind="stable"))


def _by_tenant(batch):
    """Client ids taken away; the tenant is logged as a segment."""
    return replace(batch, client_id=None, segments={"tenant": batch.client_id, "region": _halves(len(batch))})


def _halves(n):
    return np.array(["eu", "us"], dtype=object)[np.arange(n) % 2]


def _nameless(batch):
    return replace(batch, client_id=None)


@pytest.fixture(scope="module")
def traffic(kit):
    """Honest queries, then some of one thief among them."""
    rng = np.random.default_rng(5)
    stolen = kit("events")([kit("thief_rows")(rng, 300)], ["mallory"], rng, PANES)
    return _in_time(concatenate([kit("crowd")(21, 30, PANES), stolen]))


@pytest.fixture(scope="module")
def nameless(kit):
    """Fitted without client ids."""
    return kit("Service").fit(_nameless(kit("crowd")(1, 40, 200, "ref")))


def _odd(panes):
    return [r for pane in panes for r in pane if r.level in (Level.WARNING, Level.ALARM)]


def test_the_finest_identity_that_was_logged_is_chosen(kit):
    batch = kit("crowd")(1, 20, 20)
    assert Identity.choose(batch) == Identity(By.CLIENT)
    assert Identity.choose(_by_tenant(batch)) == Identity(By.SEGMENT, "tenant")
    assert Identity.choose(_nameless(batch)) == Identity(By.MODEL)
    unique = np.array([f"r{i}" for i in range(len(batch))], dtype=object)
    assert Identity.choose(replace(_nameless(batch), segments={"request": unique})) == Identity(By.MODEL)


def test_a_thief_without_a_client_id_is_found_by_its_segment(kit, traffic):
    service = kit("Service").fit(_by_tenant(kit("crowd")(1, 40, 200, "ref")))
    readings = service.readings(_by_tenant(traffic), PANES)
    alarms = [r for r in _odd(readings) if r.level is Level.ALARM and r.subject.type is SubjectType.SEGMENT]
    assert {r.subject.id for r in alarms} == {"tenant=mallory"}
    assert "No client ids are logged" in alarms[0].reason
    assert alarms[0].reason.startswith("Segment tenant=mallory may be copying the model")


def test_the_model_as_a_whole_gets_a_warning_that_says_it_may_be_drift(nameless, traffic):
    readings = nameless.readings(_nameless(traffic), PANES)
    odd = _odd(readings)
    assert odd
    assert all(r.level is Level.WARNING and r.subject == MODEL for r in odd)
    assert "theft cannot be told from drift: log client_id" in odd[0].reason
    assert all(sum(r.subject == MODEL for r in pane) == 1 for pane in readings)


@pytest.mark.parametrize("seed", [61, 62, 63])
def test_honest_traffic_as_a_whole_is_not_odd(kit, nameless, seed):
    assert _odd(nameless.readings(_nameless(kit("crowd")(seed, 40, PANES)), PANES)) == []


def test_the_summary_says_what_is_judged(kit, service, traffic):
    last = service.readings(traffic, PANES)[-1][-1]
    assert last.detail["judged_by"] == "client"
    assert "No client ids" not in last.reason
