"""The evasion detector finds walks while they happen, spares honest clients that crawl too, and shares its memory."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from detectors.base import MODEL, Kind, Level, Pane, Unfit
from detectors.batch import EventBatch
from detectors.clients.techniques import ATLAS_RELEASE
from detectors.evasion.detector import EvasionDetector
from detectors.evasion.tally import WIDTH
from detectors.schema import infer_schema
from detectors.sketch import Sketch
from detectors.suite import Remembers, Suite, fit_reference
from tests.benchmarks.extraction import crawlers, walks
from tests.benchmarks.extraction.images import Digits
from tests.benchmarks.extraction.traffic import Stream, Traffic, Watch
from tests.benchmarks.extraction.tumours import Tumours

pytestmark = pytest.mark.slow

FOUND_BY = {
    "boundary attack": 0.8,
    "hop skip jump": 0.9,
    "simba": 0.9,
    "nes": 0.9,
    "nes in batches": 0.7,
    "line search": 1.0,
    "inversion": 0.9,
}
"""Attacks, and the share of runs on digits in which they must be found within 250 queries."""
FOUND_HALF_DILUTED = {"boundary attack": 0.7, "hop skip jump": 0.8, "simba": 0.8, "line search": 0.9, "inversion": 0.5}
"""The same where every second query is an honest one; of 125 queries an inversion has often not reached its aim, and
mirrored tries are told where they follow each other."""
FAMILY = {
    "boundary attack": {"boundary walk", "line search"},
    "hop skip jump": {"boundary walk", "line search"},
    "simba": {"score-based optimisation"},
    "nes": {"gradient estimation"},
    "nes in batches": {"gradient estimation"},
    "line search": {"line search"},
    "inversion": {"inversion", "score-based optimisation"},
}


@pytest.fixture(scope="module")
def digits():
    return Digits(0)


def fitted(world, n_clients, awkward, visibility, seed) -> EvasionDetector:
    """The detector with a reference of honest clients, one alarm a week for the model as a whole."""
    traffic = crawlers.reference(world, n_clients, awkward, (seed, 99))
    return Watch.on(world, traffic, visibility, seed, EvasionDetector).detector


@pytest.fixture(scope="module")
def reference(digits) -> EventBatch:
    return crawlers.reference(digits, 50, 0.2, (0, 99)).batch(digits, "scores")


@pytest.fixture(scope="module")
def detector(digits) -> EvasionDetector:
    return fitted(digits, 50, 0.2, "scores", 0)


def judged(detector, world, rows, visibility="scores", per_pane=5):
    """The readings of each pane of one client's queries, and the evidence at the end."""
    traffic = Traffic.of(world, [Stream("client", "", rows, np.arange(len(rows)) / per_pane)])
    batch = detector.new_memory().annotate(traffic.batch(world, visibility))
    evidence = {}
    out = []
    for i, sketch in enumerate(detector.sketch(batch, np.arange(0, len(batch), per_pane))):
        pane = Pane(1.7e9 + 60.0 * i, 60.0, per_pane, sketch)
        judgement = detector.judge({s: evidence[s] for s in detector.subjects(pane) if s in evidence}, pane)
        evidence.update(judgement.evidence)
        out.append(list(judgement.readings))
    return out, evidence


def first_alarm(detector, world, rows, visibility="scores", per_pane=5):
    """After how many of one client's queries it is accused, and the reading; None if it never is."""
    panes, _ = judged(detector, world, rows, visibility, per_pane)
    for i, readings in enumerate(panes):
        for reading in readings:
            if reading.subject != MODEL and reading.level is Level.ALARM:
                return min(len(rows), (i + 1) * per_pane), reading
    return None


def found(detector, world, name, share, runs, visibility="scores"):
    """For each run the query of the alarm, its reading, and the query at which the attack had succeeded."""
    out = []
    for i in range(runs):
        attack = walks.attack(world, name, share, np.random.default_rng([i, round(100 * share)]))
        out.append((first_alarm(detector, world, attack.rows, visibility), attack.won_at or 10**6))
    return out


@pytest.mark.parametrize("name", FOUND_BY)
def test_a_walk_is_found_before_it_succeeds_and_named_for_what_it_is(detector, digits, name):
    runs = found(detector, digits, name, 1.0, 6)
    before = [alarm is not None and alarm[0] <= won_at for alarm, won_at in runs]
    assert np.mean(before) >= 0.8
    assert {alarm[1].detail["family"] for alarm, _ in runs if alarm} <= FAMILY[name]


@pytest.mark.slow
@pytest.mark.parametrize(("share", "name"), [(1.0, n) for n in FOUND_BY] + [(0.5, n) for n in FOUND_HALF_DILUTED])
def test_most_walks_are_found_within_250_queries_even_half_diluted(detector, digits, share, name):
    runs = found(detector, digits, name, share, 20)
    assert np.mean([alarm is not None for alarm, _ in runs]) >= (FOUND_BY if share == 1.0 else FOUND_HALF_DILUTED)[name]


@pytest.mark.parametrize("visibility", ["label", "all"])
def test_labels_alone_show_decision_based_walks(digits, visibility):
    own = fitted(digits, 30, 0.2, visibility, 1)
    for name in ("line search", "hop skip jump"):
        assert all(alarm is not None for alarm, _ in found(own, digits, name, 1.0, 3, visibility)), name


@pytest.mark.slow
def test_walks_on_a_table_are_found_too():
    tumours = Tumours(0)
    own = fitted(tumours, 50, 0.2, "scores", 2)
    for name in ("boundary attack", "simba", "nes", "line search"):
        assert np.mean([alarm is not None for alarm, _ in found(own, tumours, name, 1.0, 6)]) >= 0.8, name


@pytest.mark.parametrize("habit", crawlers.HABITS)
def test_an_honest_client_that_crawls_is_not_accused(detector, digits, habit):
    for i in range(4):
        rows = crawlers.HABITS[habit](digits, np.random.default_rng([i, 3]), 300)
        assert first_alarm(detector, digits, rows, per_pane=20) is None


@pytest.mark.slow
@pytest.mark.parametrize("awkward", [0.0, 0.2])
def test_honest_clients_are_not_accused_even_of_habits_the_reference_never_saw(digits, awkward):
    own = fitted(digits, 60, awkward, "scores", 3)
    accused = 0
    for i in range(200):
        rng = np.random.default_rng([i, 4])
        habit = str(rng.choice(list(crawlers.HABITS)))
        accused += first_alarm(own, digits, crawlers.HABITS[habit](digits, rng, 200), per_pane=25) is not None
    assert accused <= 1


@pytest.fixture(scope="module")
def alarm(detector, digits):
    rows = walks.attack(digits, "line search", 1.0, np.random.default_rng(5)).rows
    _, reading = first_alarm(detector, digits, rows)
    return reading


def test_the_alarm_says_what_an_analyst_needs(alarm):
    assert alarm.kind is Kind.EVASION
    assert alarm.log_evidence >= alarm.log_threshold
    assert alarm.effect >= alarm.minimum_effect
    assert alarm.since is not None
    assert "nearly repeat its own" in alarm.reason
    assert "throttle" in alarm.reason
    assert [head["name"] for head in alarm.detail["heads"]] == ["W1", "W2", "W3", "W4", "W5", "W6"]
    assert alarm.detail["n_steps"] > alarm.detail["n_chains"] > 0
    assert alarm.detail["longest_chain"] >= 4
    assert alarm.detail["techniques"][0]["id"] == "AML.T0043.001"
    assert {"AML.T0042", "AML.T0015", "ML01:2023", "NISTAML.025"} <= {t["id"] for t in alarm.detail["techniques"]}
    assert alarm.detail["atlas_release"] == ATLAS_RELEASE
    assert alarm.detail["benign_explanations"]
    for histogram in alarm.detail["histograms"]:
        assert len(histogram["labels"]) == len(histogram["reference"]) == len(histogram["current"])
    assert json.loads(json.dumps(dict(alarm.detail))) == dict(alarm.detail)


def test_a_gradient_estimate_is_told_by_its_mirrored_tries(detector, digits):
    rows = walks.attack(digits, "nes", 1.0, np.random.default_rng(3)).rows
    queries, reading = first_alarm(detector, digits, rows)
    assert queries <= 150
    assert "mirror the one before them" in reading.reason
    assert "down the slope of the answers" in reading.reason
    assert reading.detail["techniques"][0]["id"] == "AML.T0043.001"


def test_inversion_has_technique_ids_of_its_own(detector, digits):
    rows = walks.attack(digits, "inversion", 1.0, np.random.default_rng(1)).rows
    _, reading = first_alarm(detector, digits, rows)
    assert reading.detail["family"] == "inversion"
    assert [t["id"] for t in reading.detail["techniques"]] == ["AML.T0024.001", "ML03:2023", "NISTAML.032"]
    assert "what the model learned" in reading.reason


def test_the_alarm_stays_while_the_walk_goes_on_and_ends_when_it_ends(detector, digits):
    walk = walks.attack(digits, "line search", 1.0, np.random.default_rng(6)).rows
    good = digits.honest(np.random.default_rng(7))(400)
    readings, evidence = judged(detector, digits, np.concatenate([walk, good]), per_pane=10)
    own = [[r for r in pane if r.subject != MODEL] for pane in readings]
    levels = [pane[0].level if pane else None for pane in own]
    first = levels.index(Level.ALARM)
    assert set(levels[first:25]) == {Level.ALARM}
    assert Level.OK in levels[25:]
    assert levels[-1] is not Level.ALARM
    assert all(pane[-1].subject == MODEL for pane in readings)
    assert all(sum(a.nbytes for a in arrays.values()) <= 2_000 for arrays in evidence.values())


def test_a_walk_behind_an_honest_past_is_found_by_the_block_since_the_last_look(detector, digits):
    good = digits.honest(np.random.default_rng(8))(1_500)
    walk = walks.attack(digits, "line search", 1.0, np.random.default_rng(9)).rows
    assert first_alarm(detector, digits, good, per_pane=20) is None
    alarm = first_alarm(detector, digits, np.concatenate([good, walk]), per_pane=10)
    assert alarm is not None
    assert 1_500 < alarm[0] <= 1_750


def test_a_pane_without_rings_counts_events_alone(detector, reference):
    sketch = detector.sketch(reference.take(np.arange(100)), np.array([0]))[0]
    for counts in sketch.keyed["clients"].values():
        assert counts.shape == (WIDTH,)
        assert counts.sum() == counts[0] > 0
    assert detector.sketch(replace(reference, client_id=None), np.array([0]))[0] == Sketch()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"client_id": None}, "client_id"),
        ({"numeric_names": (), "numeric": None}, "features or embeddings"),
        ({"probabilities": None, "prediction": None, "classes": ()}, "predicted classes"),
    ],
)
def test_a_reference_that_cannot_serve_says_why(reference, change, reason):
    if "numeric" in change:
        change = change | {"numeric": np.empty((len(reference), 0))}
    batch = replace(reference, **change)
    unfit = EvasionDetector.fit(batch, infer_schema(batch), 60.0, seed=0)
    assert isinstance(unfit, Unfit)
    assert reason in unfit.reason


def test_a_short_reference_and_one_of_strangers_are_refused(reference):
    few = reference.take(np.arange(150))
    assert "at least 200" in EvasionDetector.fit(few, infer_schema(few), 60.0, 0).reason
    once = replace(reference, client_id=np.arange(len(reference)).astype(str).astype(object))
    assert "too few queries" in EvasionDetector.fit(once, infer_schema(once), 60.0, 0).reason


def test_extraction_and_evasion_read_one_memory(kit):
    suite = Suite.build(fit_reference(kit("crowd")(1, 20, 40), "", seed=3), "ref", 1.0)
    assert {"extraction", "evasion"} <= {detector.name for detector in suite.detectors}
    readers = [d for d in suite.detectors if isinstance(d, Remembers)]
    keys = {detector.name: detector.memory_key for detector in readers}
    assert keys["extraction"] == keys["evasion"]
    assert len(suite.memories()) == len(set(keys.values())) < len(readers)
