"""Thieves who split their queries over accounts are one incident with members; honest accounts are no group."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from detectors.arrays import pack_arrays, unpack_arrays
from detectors.base import MODEL, Level, Pane, SubjectType
from detectors.batch import concatenate
from detectors.extraction.groups import Groups
from detectors.extraction.pools import linking_keys, worth
from detectors.sketch import Sketch

pytestmark = pytest.mark.slow

PANES = 12
START, PANE_S = 1.7e9, 60.0


def _in_time(batch):
    return batch.take(np.argsort(batch.timestamp, kind="stable"))


def _split(kit, rng, n_accounts=24, n=20, share=0.5, name="mule"):
    """Accounts that each mix a few stolen queries into a few honest ones."""
    rows = []
    for _ in range(n_accounts):
        theirs = round(share * n)
        own = np.concatenate([kit("honest_rows")(rng, n - theirs), kit("thief_rows")(rng, theirs)])
        rows.append(own[rng.permutation(n)])
    return kit("events")(rows, [f"{name}-{i}" for i in range(n_accounts)], rng, PANES)


def _owned(batch, owner_of):
    owner = np.array([owner_of(c) for c in batch.client_id], dtype=object)
    return replace(batch, segments={"owner": owner})


def _groups(panes, level=Level.ALARM):
    readings = [r for pane in panes for r in pane if r.subject.type is SubjectType.CLIENT_GROUP]
    return [r for r in readings if r.level is level]


@pytest.fixture(scope="module")
def split_theft(kit):
    rng = np.random.default_rng(3)
    return _in_time(concatenate([kit("crowd")(25, 40, PANES), _split(kit, rng)]))


@pytest.fixture(scope="module")
def split_readings(service, split_theft):
    return service.readings(split_theft, PANES)


def test_a_theft_split_over_accounts_too_small_to_be_judged_alone_is_one_group(kit, split_readings):
    alarms = _groups(split_readings)
    assert alarms
    assert kit("accused")(split_readings) == set()
    assert len({r.subject.id for r in alarms}) == 1
    members = alarms[-1].subject.members
    assert sum(m.startswith("mule-") for m in members) >= 0.9 * len(members)
    assert len(members) >= 20


def test_the_group_keeps_its_id_while_members_join(service, split_readings):
    alarms = _groups(split_readings)
    assert len(alarms) >= 2
    assert set(alarms[0].subject.members) <= set(alarms[-1].subject.members)
    assert list(alarms[-1].subject.members) == sorted(alarms[-1].subject.members)


def test_the_group_says_who_how_many_what_they_share_and_since_when(split_readings):
    alarm = _groups(split_readings)[-1]
    assert f"{len(alarm.subject.members)} accounts (mule-" in alarm.reason
    assert "share no declared key" in alarm.reason
    assert "since 2023-11-14" in alarm.reason
    assert "rarer than 1 in 100" in alarm.reason
    assert alarm.detail["n_members"] == len(alarm.subject.members)
    assert alarm.detail["members_under_alarm"] == []
    assert alarm.detail["clients"][0]["n_strange"] > 0
    assert any("one customer with many keys" in words for words in alarm.detail["benign_explanations"])
    json.dumps(dict(alarm.detail))


@pytest.mark.parametrize("seed", [101, 102, 103, 104])
def test_honest_accounts_are_no_group(kit, service, seed):
    assert _groups(service.readings(kit("crowd")(seed, 60, PANES), PANES)) == []


@pytest.mark.parametrize("seed", [111, 112])
def test_a_drift_of_all_accounts_is_no_group(kit, service, seed):
    batch = kit("crowd")(seed, 40, PANES)
    later = batch.timestamp > START + 5 * PANE_S
    shifted = replace(batch, numeric=batch.numeric + 3.0 * later[:, None] * np.array([1, -1] * 4))
    assert _groups(service.readings(shifted, PANES)) == []


def test_when_most_accounts_are_the_thief_the_group_is_only_a_warning(kit, service):
    rng = np.random.default_rng(4)
    batch = _in_time(concatenate([kit("crowd")(26, 14, PANES), _split(kit, rng, n_accounts=40)]))
    assert _groups(service.readings(batch, PANES)) == []


def test_accounts_of_one_owner_are_pooled_and_the_others_spared(kit):
    reference = _owned(kit("crowd")(1, 40, 200, "ref"), lambda c: f"firm-{int(c.split('-')[1]) // 2}")
    service = kit("Service").fit(reference)
    rng = np.random.default_rng(5)
    few = _split(kit, rng, n_accounts=5, n=22, share=0.6)
    batch = _in_time(concatenate([kit("crowd")(27, 30, PANES), few]))
    owned = _owned(batch, lambda c: "shell-company" if c.startswith("mule") else f"firm-{int(c.split('-')[1]) // 2}")
    alarms = _groups(service.readings(owned, PANES))
    assert {r.subject.id for r in alarms} == {"owner=shell-company"}
    assert alarms[-1].subject.members == tuple(f"mule-{i}" for i in range(5))
    assert "share owner=shell-company" in alarms[-1].reason


def test_keys_that_everybody_shares_or_nobody_keeps_do_not_link(kit):
    batch = kit("crowd")(1, 40, 20)
    n = len(batch)
    rng = np.random.default_rng(0)
    segments = {
        "owner": np.array(
            [f"o{hash_ % 20}" for hash_ in (int(c.split("-")[1]) for c in batch.client_id)], dtype=object
        ),
        "region": np.array(["eu", "us"], dtype=object)[rng.integers(2, size=n)],
        "request": np.array([f"r{i}" for i in range(n)], dtype=object),
    }
    assert linking_keys(replace(batch, segments=segments)) == ("owner",)


def test_links_add_up_wherever_the_batch_is_cut(kit):
    reference = _owned(kit("crowd")(1, 40, 100, "ref"), lambda c: f"firm-{int(c.split('-')[1]) // 2}")
    service = kit("Service").fit(reference)
    batch = reference.take(np.arange(300))
    whole = service.detector.sketch(batch, np.array([0]))[0]
    cut = sum(
        (service.detector.sketch(batch.take(part), np.array([0]))[0] for part in np.split(np.arange(300), [7, 90])),
        Sketch(),
    )
    assert whole.keyed["link/owner"].keys() == cut.keyed["link/owner"].keys()
    assert all(np.array_equal(v, cut.keyed["link/owner"][k]) for k, v in whole.keyed["link/owner"].items())
    assert sum(int(v[0]) for v in whole.keyed["link/owner"].values()) == 300


def test_a_cohort_of_new_accounts_is_looked_at_together(kit, service):
    rng = np.random.default_rng(6)
    old = kit("crowd")(1, 40, PANES, "ref")
    batch = _in_time(concatenate([old, _split(kit, rng, n_accounts=16, n=20, share=0.8, name="fresh")]))
    alarms = [r for r in _groups(service.readings(batch, PANES)) if r.subject.id == "new accounts"]
    assert alarms
    assert set(alarms[-1].subject.members) == {f"fresh-{i}" for i in range(16)}
    assert "younger than a week" in alarms[-1].reason


def test_new_accounts_that_query_as_others_do_are_not_named_with_the_rest(kit, service):
    rng = np.random.default_rng(6)
    old, late = kit("crowd")(1, 40, PANES, "ref"), kit("crowd")(2, 6, PANES, "late")
    batch = _in_time(concatenate([old, late, _split(kit, rng, n_accounts=16, n=20, share=1.0, name="fresh")]))
    alarms = [r for r in _groups(service.readings(batch, PANES)) if r.subject.id == "new accounts"]
    assert alarms
    named = set(alarms[-1].subject.members)
    assert not {name for name in named if name.startswith("late")}
    assert len(named) >= 14


def test_equal_members_are_worth_their_number_and_a_loud_one_is_worth_one():
    assert worth(np.full(10, 5.0), 0.0) == pytest.approx(10.0)
    assert worth(np.array([1e6, 1.0, 1.0]), 0.0) == pytest.approx(1.0, abs=1e-3)
    assert worth(np.full(1_000, 5.0), 0.25) == pytest.approx(4.0, abs=0.1)


def test_groups_survive_storage_and_are_forgotten_in_the_end():
    groups, first = Groups().met(["a", "b", "c"], 2, 10.0, 20.0)
    stored = Groups.load(unpack_arrays(pack_arrays(groups.to_arrays())))
    assert stored == groups
    grown, same = stored.met(["c", "d", "e"], 2, 30.0, 40.0)
    assert same.id == first.id
    assert same.members == ("a", "b", "c", "d", "e")
    later, other = grown.met(["x", "y", "z"], 1, 0.0, 40.0 + 40 * 86_400.0)
    assert other.id != first.id
    assert [g.id for g in later.known] == [other.id]


def test_judging_survives_storage_between_any_two_panes(service, split_theft, split_readings):
    evidence = {}
    out = []
    for i, sketch in enumerate(service.sketches(split_theft, PANES)):
        pane = Pane(START + i * PANE_S, PANE_S, 0, Sketch.from_bytes(sketch.to_bytes()))
        wanted = {s: unpack_arrays(evidence[s]) for s in service.detector.subjects(pane) if s in evidence}
        judged = service.detector.judge(wanted, pane)
        evidence |= {s: pack_arrays(a) for s, a in judged.evidence.items()}
        out.append(list(judged.readings))
    assert [[(r.subject, r.level) for r in pane] for pane in out] == [
        [(r.subject, r.level) for r in pane] for pane in split_readings
    ]
    assert len(evidence[MODEL]) < 2_000_000
