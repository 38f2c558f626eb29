"""The extraction detector names thieves, spares honest clients, and adds up exactly."""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from detectors.base import MODEL, Kind, Level, Pane, SubjectType, Unfit
from detectors.batch import concatenate
from detectors.budget import AlarmBudget
from detectors.clients.techniques import ATLAS_RELEASE
from detectors.extraction.detector import ExtractionDetector
from detectors.keys import MAX_KEY, client_key
from detectors.schema import infer_schema
from detectors.sketch import Sketch, total

pytestmark = pytest.mark.slow

PANES = 12


@pytest.fixture(scope="module")
def with_thief(kit):
    """Thirty honest clients and one pure thief with 300 queries."""
    rng = np.random.default_rng(5)
    honest = kit("crowd")(21, 30, PANES)
    stolen = kit("events")([kit("thief_rows")(rng, 300)], ["mallory"], rng, PANES)
    return _in_time(concatenate([honest, stolen]))


def _in_time(batch):
    return batch.take(np.argsort(batch.timestamp, kind="stable"))


@pytest.fixture(scope="module")
def thief_readings(service, with_thief):
    return service.readings(with_thief, PANES)


def test_a_pure_thief_is_named_and_nobody_else(kit, thief_readings):
    assert kit("accused")(thief_readings) == {"mallory"}


def test_ordinary_queries_that_are_chosen_to_lie_far_apart_are_told_by_that_alone(kit):
    service = kit("Service").fit(kit("crowd")(1, 60, 200, "ref"))
    rng = np.random.default_rng(14)
    pool, chosen = kit("honest_rows")(rng, 1_500), [0]
    gap = np.full(len(pool), np.inf)
    while len(chosen) < 500:
        gap = np.minimum(gap, ((pool - pool[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int(gap.argmax()))
    picked = kit("events")([pool[chosen]], ["picker"], rng, PANES)
    readings = service.readings(_in_time(concatenate([kit("crowd")(25, 30, PANES), picked])), PANES)
    assert kit("accused")(readings) == {"picker"}
    alarm = next(r for pane in readings for r in pane if r.level is Level.ALARM)
    assert alarm.detail["family"] == "diverse sampling"
    assert "come near one of the sender's own" in alarm.reason
    assert "H10" in {head["name"] for head in alarm.detail["heads"]}


def test_ordinary_queries_that_are_moved_by_steps_of_one_size_are_told(kit):
    service = kit("Service").fit(kit("crowd")(1, 60, 200, "ref"))
    rng = np.random.default_rng(15)
    known = kit("honest_rows")(rng, 40)
    while len(known) < 320:
        known = np.concatenate([known, known + 0.3 * rng.choice([-1.0, 1.0], known.shape)])
    moved = kit("events")([known], ["stepper"], rng, PANES)
    readings = service.readings(_in_time(concatenate([kit("crowd")(25, 30, PANES), moved])), PANES)
    assert kit("accused")(readings) == {"stepper"}
    alarm = next(r for pane in readings for r in pane if r.level is Level.ALARM)
    assert alarm.detail["family"] == "synthetic-perturbation"
    assert "steps of one size" in alarm.reason
    assert next(head for head in alarm.detail["heads"] if head["name"] == "H11")["p_value"] < 1e-3


def test_the_alarm_says_what_an_analyst_needs(thief_readings):
    alarm = next(r for readings in thief_readings for r in readings if r.level is Level.ALARM)
    assert alarm.kind is Kind.EXTRACTION
    assert alarm.log_evidence >= alarm.log_threshold
    assert alarm.effect >= alarm.minimum_effect
    assert "mallory" in alarm.reason
    assert [head["name"] for head in alarm.detail["heads"]][:3] == ["H1", "H2", "H3"]
    assert 1 <= len(alarm.detail["coordinates"]) <= 5
    assert alarm.detail["techniques"][0]["id"] == "AML.T0024.002"
    assert alarm.detail["atlas_release"] == ATLAS_RELEASE
    assert alarm.detail["family"] == "random/grid"
    assert alarm.detail["benign_explanations"]
    for histogram in alarm.detail["histograms"]:
        assert len(histogram["labels"]) == len(histogram["reference"]) == len(histogram["current"])
        assert sum(histogram["current"]) == pytest.approx(1.0, abs=1e-3)
    json.dumps(dict(alarm.detail))


def test_the_alarm_stays_while_the_thief_goes_on(thief_readings):
    levels = [r.level for readings in thief_readings for r in readings if r.subject.id == "mallory"]
    first = levels.index(Level.ALARM)
    assert set(levels[first:]) == {Level.ALARM}
    assert len(levels) - first >= 5


def test_the_alarm_ends_when_the_client_behaves_again(kit, service):
    rng = np.random.default_rng(8)
    honest = kit("crowd")(22, 25, 30)
    stolen = kit("events")([kit("thief_rows")(rng, 150)], ["mallory"], rng, 6)
    good = kit("events")([kit("honest_rows")(rng, 500)], ["mallory"], rng, 23)
    good = replace(good, timestamp=good.timestamp + 7 * 60.0)
    readings = service.readings(_in_time(concatenate([honest, stolen, good])), 30)
    mine = [r for pane in readings for r in pane if r.subject.id == "mallory"]
    assert Level.ALARM in [r.level for r in mine]
    assert mine[-1].level is Level.OK


def test_a_thief_with_an_honest_history_is_found_by_the_block_since_the_last_look(kit, service):
    rng = np.random.default_rng(9)
    honest = kit("crowd")(23, 25, 40)
    good = kit("events")([kit("honest_rows")(rng, 1500)], ["turncoat"], rng, 20)
    stolen = kit("events")([kit("thief_rows")(rng, 400)], ["turncoat"], rng, 20)
    stolen = replace(stolen, timestamp=stolen.timestamp + 20 * 60.0)
    readings = service.readings(_in_time(concatenate([honest, good, stolen])), 40)
    assert kit("accused")(readings[:20]) == set()
    assert kit("accused")(readings) == {"turncoat"}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [31, 32, 33])
def test_honest_clients_are_not_accused(kit, service, seed):
    readings = service.readings(kit("crowd")(seed, 100, PANES), PANES)
    assert kit("accused")(readings) == set()


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "size"), [(41, 60), (42, 15), (43, 6)])
def test_drift_of_all_clients_together_accuses_nobody(kit, service, seed, size):
    batch = kit("crowd")(seed, size, 20)
    later = batch.timestamp > 1.7e9 + 8 * 60.0
    shifted = replace(batch, numeric=batch.numeric + 3.0 * later[:, None] * np.array([1, -1] * 4))
    assert kit("accused")(service.readings(shifted, 20)) == set()


def test_two_loud_thieves_do_not_hide_each_other(kit, service):
    rng = np.random.default_rng(12)
    honest = kit("crowd")(24, 10, PANES)
    stolen = kit("events")([kit("thief_rows")(rng, 600) for _ in "ab"], ["mallory", "trudy"], rng, PANES)
    readings = service.readings(_in_time(concatenate([honest, stolen])), PANES)
    assert kit("accused")(readings) == {"mallory", "trudy"}


def test_a_client_without_peers_is_called_odd_but_not_a_thief(kit, service):
    rng = np.random.default_rng(13)
    alone = kit("events")([kit("thief_rows")(rng, 300)], ["only"], rng, PANES)
    readings = service.readings(alone, PANES)
    assert kit("accused")(readings) == set()
    assert kit("accused")(readings, Level.WARNING) == {"only"}


def test_a_thief_stands_out_of_a_drifting_crowd(kit, service, with_thief):
    shifted = replace(with_thief, numeric=with_thief.numeric + 1.0)
    assert kit("accused")(service.readings(shifted, PANES)) == {"mallory"}


def test_sums_of_sketches_are_exact_however_events_are_cut(service, with_thief):
    rng = np.random.default_rng(0)
    batch = service.detector.new_memory().annotate(with_thief)
    whole = service.detector.sketch(batch, np.array([0]))[0]
    cuts = np.sort(rng.choice(len(batch), 40, replace=False))
    parts = [batch.take(piece) for piece in np.split(np.arange(len(batch)), cuts)]
    merged = total(service.detector.sketch(parts[i], np.array([0]))[0] for i in rng.permutation(len(parts)))
    sliced = total(service.detector.sketch(batch, np.concatenate([[0], cuts])))
    for other in (merged, sliced, Sketch.from_bytes(whole.to_bytes())):
        assert other.keyed["clients"].keys() == whole.keyed["clients"].keys()
        for client, sums in whole.keyed["clients"].items():
            np.testing.assert_array_equal(other.keyed["clients"][client], sums)


def test_a_sketch_has_one_entry_a_slice_and_empty_slices_are_empty(service, with_thief):
    sketches = service.detector.sketch(with_thief, np.array([0, 0, 10, len(with_thief)]))
    assert [sum(v[0] for v in s.keyed.get("clients", {}).values()) for s in sketches] == [
        0,
        10,
        len(with_thief) - 10,
        0,
    ]


def test_without_rings_the_detector_still_finds_the_thief(kit, service, with_thief):
    starts = np.searchsorted(with_thief.timestamp, 1.7e9 + 60.0 * np.arange(PANES))
    readings = service.judged(list(service.detector.sketch(with_thief, starts)))
    assert kit("accused")(readings) == {"mallory"}


@pytest.mark.parametrize(
    "blank",
    [("prediction",), ("probabilities",), ("probabilities", "prediction"), ("numeric", "probabilities", "prediction")],
    ids=["scores", "label only", "features only", "embedding only"],
)
def test_every_visibility_finds_the_thief(kit, with_thief, blank):
    def seen(batch):
        if "numeric" in blank:
            batch = replace(batch, embedding=batch.numeric)
        return kit("without")(batch, *blank)

    service = kit("Service").fit(seen(kit("crowd")(1, 40, 200, "ref")))
    assert kit("accused")(service.readings(seen(with_thief), PANES)) == {"mallory"}


def test_columns_that_vanish_accuse_nobody(kit, service):
    batch = kit("crowd")(51, 40, PANES)
    for blank in (("numeric",), ("probabilities",), ("probabilities", "prediction")):
        assert kit("accused")(service.readings(kit("without")(batch, *blank), PANES)) == set()


def _dressed(batch, seed):
    """With a category, and now and then a value missing."""
    rng = np.random.default_rng(seed)
    colour = np.array(["red", "blue", None], dtype=object)[rng.choice(3, len(batch), p=[0.6, 0.35, 0.05])]
    numeric = batch.numeric.copy()
    numeric[rng.random(numeric.shape) < 0.02] = np.nan
    return replace(batch, numeric=numeric, mixed={"colour": colour})


@pytest.fixture(scope="module")
def coloured(kit):
    """A service that was fitted to queries with a category."""
    return kit("Service").fit(_dressed(kit("crowd")(1, 40, 200, "ref"), 1))


@pytest.mark.parametrize("seed", [61, 62, 63])
def test_a_customer_with_a_category_of_its_own_is_not_accused_nor_one_that_updates(kit, coloured, seed):
    batch = _dressed(kit("crowd")(seed, 30, PANES), seed)
    colour = batch.mixed["colour"].copy()
    colour[np.isin(batch.client_id, ["honest-3", "honest-4"])] = "mauve"
    later = batch.timestamp > np.median(batch.timestamp)
    colour[later & np.isin(batch.client_id, ["honest-5", "honest-6"])] = "teal"
    assert kit("accused")(coloured.readings(replace(batch, mixed={"colour": colour}), PANES)) == set()


def test_categories_and_missing_values_are_read(kit, coloured):
    batch = _dressed(kit("crowd")(61, 30, PANES), 2)
    assert kit("accused")(coloured.readings(batch, PANES)) == set()
    colour = batch.mixed["colour"].copy()
    numeric = batch.numeric.copy()
    theirs = batch.client_id == "honest-3"
    colour[theirs] = [f"never seen {i}" for i in range(theirs.sum())]
    numeric[theirs, 0] = np.inf
    numeric[theirs, 1] = 1e6 * np.arange(theirs.sum())
    odd = replace(batch, numeric=numeric, mixed={"colour": colour})
    assert kit("accused")(coloured.readings(odd, PANES)) == {"honest-3"}


def test_few_honest_clients_still_catch_a_pure_thief_and_say_so(kit, few_clients, with_thief):
    readings = few_clients.readings(with_thief, PANES)
    assert kit("accused")(readings) == {"mallory"}
    alarm = next(r for pane in readings for r in pane if r.level is Level.ALARM)
    assert alarm.detail["calibration"] == "few honest clients in the reference"


def test_a_reference_without_anything_to_compare_says_so(kit):
    batch = kit("crowd")(1, 10, 10)
    blank = replace(batch, numeric_names=(), numeric=np.empty((len(batch), 0)), probabilities=None)
    found = ExtractionDetector.fit(blank, infer_schema(blank), 60.0, seed=0)
    assert isinstance(found, Unfit)
    assert "reference" in found.reason


def test_a_short_reference_is_refused(kit):
    batch = kit("crowd")(1, 3, 10).take(np.arange(50))
    found = ExtractionDetector.fit(batch, infer_schema(batch), 60.0, seed=0)
    assert isinstance(found, Unfit)
    assert "50" in found.reason


def test_fitting_twice_gives_the_same_part(kit):
    batch = kit("crowd")(2, 12, 20)
    schema = infer_schema(batch)
    first, second = (ExtractionDetector.fit(batch, schema, 60.0, seed=4) for _ in range(2))
    assert first.facts == second.facts
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(array, second.arrays[name])


def test_a_part_is_plain_arrays_and_json(service):
    assert json.loads(json.dumps(service.part.facts)) == service.part.facts
    assert all(array.dtype.kind in "biufU" for array in service.part.arrays.values())
    assert sum(array.nbytes for array in service.part.arrays.values()) < 2_000_000


def test_evidence_of_a_client_is_small_and_of_the_model_bounded(service, with_thief):
    sketch = service.detector.sketch(with_thief, np.array([0]))[0]
    pane = Pane(1.7e9, 60.0, len(with_thief), sketch)
    many = {f"c{i}": v for i, v in enumerate(list(sketch.keyed["clients"].values()) * 20)}
    judgement = service.detector.judge({}, replace(pane, sketch=Sketch(keyed={"clients": many})))
    for subject, arrays in judgement.evidence.items():
        limit = 400_000 if subject == MODEL else 10_000
        assert sum(array.nbytes for array in arrays.values()) <= limit


def test_quiet_clients_share_one_reading(kit, service):
    panes = service.readings(kit("crowd")(81, 50, PANES), PANES)
    assert all(len(readings) <= 4 for readings in panes)
    assert all(readings[-1].subject == MODEL for readings in panes)


def test_events_without_a_client_are_left_out(service, with_thief):
    nameless = replace(with_thief, client_id=np.full(len(with_thief), "", dtype=object))
    assert service.detector.sketch(nameless, np.array([0]))[0] == Sketch()
    assert service.detector.sketch(replace(with_thief, client_id=None), np.array([0]))[0] == Sketch()


HOSTILE = ["<script>alert(1)</script>", "a\x00b", "\ud800", "x" * 5_000, "null", "..//../etc", "'; drop table", "🦊"]


def test_hostile_client_ids_stay_apart_and_storable(kit, service):
    rng = np.random.default_rng(6)
    rows = [kit("honest_rows")(rng, 40) for _ in HOSTILE]
    rows[1] = kit("thief_rows")(rng, 200)
    batch = kit("events")(rows, HOSTILE, rng, PANES)
    sketches = service.sketches(batch, PANES)
    seen = {key for sketch in sketches for key in sketch.keyed.get("clients", {})}
    assert len(seen) == len(HOSTILE)
    for key in seen:
        assert len(key) <= MAX_KEY
        assert key.isprintable()
        msgspec.msgpack.encode(key)
    assert kit("accused")(service.judged(sketches)) == {client_key("a\x00b")}


def test_changed_keys_do_not_collide():
    assert client_key("a\x00") != client_key("a\x01")
    assert client_key("y" * 300) != client_key("y" * 301)
    assert client_key("plain") == "plain"


def test_a_smaller_budget_asks_for_more_evidence(service):
    loose, strict = (
        ExtractionDetector.build(service.part, service.schema, AlarmBudget(per_week, 60.0))
        for per_week in (10.0, 0.001)
    )
    assert strict.log_threshold > loose.log_threshold


def test_subjects_are_the_model_and_the_clients_of_the_pane(service):
    pane = Pane(0.0, 60.0, 0, Sketch(keyed={"clients": {"a": np.zeros(3, dtype=np.int64)}}))
    subjects = service.detector.subjects(pane)
    assert subjects[0] == MODEL
    assert [(s.type, s.id) for s in subjects[1:]] == [(SubjectType.CLIENT, "a")]


def test_embeddings_beside_features_are_seen_too(kit):
    """An embedding of another width than the features: what is kept of a query is its first view throughout."""
    turn = np.random.default_rng(7).normal(size=(8, 5))

    def embedded(batch):
        return replace(batch, embedding=np.tanh(0.2 * batch.numeric @ turn))

    service = kit("Service").fit(embedded(kit("crowd")(1, 40, 100, "ref")))
    channels = service.detector.channels
    assert [view.map.view for view in channels.views] == ["embedding", "features"]
    rng = np.random.default_rng(5)
    stolen = kit("events")([kit("thief_rows")(rng, 300)], ["mallory"], rng, PANES)
    batch = embedded(_in_time(concatenate([kit("crowd")(21, 30, PANES), stolen])))
    assert channels.rows(batch).white.shape == (len(batch), len(channels.views[0].space.whiten))
    assert kit("accused")(service.readings(batch, PANES)) == {"mallory"}
