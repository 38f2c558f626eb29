"""The exposure meter: exact sums, honest levels, copies that get better with every answer that teaches something."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from detectors.base import MODEL, Level
from detectors.batch import EventBatch, concatenate
from detectors.clients.techniques import Family
from detectors.extraction.answers import ANSWER_UNIT, Answers
from detectors.extraction.detector import ExtractionDetector
from detectors.extraction.exposure import Copy, Meter, gram
from detectors.extraction.study import EXPOSURE, Dossier, together
from detectors.extraction.telling import Exposed, actions, exposure_facts
from detectors.sketch import Sketch, total

pytestmark = pytest.mark.slow

ONE = np.array([0])


def copied(detector: ExtractionDetector, batch: EventBatch) -> Copy:
    sums = total(detector.sketch(batch, ONE)).keyed[EXPOSURE]
    found = detector.study.copy(np.sum(list(sums.values()), axis=0))
    assert found is not None
    return found


def test_sums_of_runs_are_those_of_each_run_alone():
    rng = np.random.default_rng(0)
    design = np.rint(rng.normal(0, 20, (60, 7)))
    sizes = np.array([1, 2, 3, 5, 1, 17, 31])
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    for at, size, found in zip(first, sizes, gram(design, first, sizes, 4), strict=True):
        part = design[at : at + size].astype(np.int64)
        expected = (part[:, :4].T @ part)[np.triu_indices(4, 0, 7)]
        np.testing.assert_array_equal(found, expected)


def test_more_honest_answers_train_a_better_copy_up_to_the_ceiling(kit, service):
    rng = np.random.default_rng(5)
    rows = kit("honest_rows")(rng, 1_000)
    batch = kit("events")([np.concatenate([rows, kit("honest_rows")(rng, 1_000)])], ["a"], rng, 10)
    few, many = (copied(service.detector, batch.take(np.arange(n))) for n in (15, 2_000))
    assert few.usual == many.usual < few.agreement < many.agreement
    assert many.agreement == pytest.approx(many.ceiling, abs=0.06)
    assert 0.0 <= few.share < many.share <= 1.0


def test_answers_to_noise_teach_less_than_answers_to_ordinary_inputs(kit, service):
    rng = np.random.default_rng(6)
    ordinary = kit("events")([np.concatenate([kit("honest_rows")(rng, 20) for _ in range(10)])], ["a"], rng, 5)
    noise = kit("events")([50.0 * rng.normal(size=(200, 8))], ["a"], rng, 5)
    assert copied(service.detector, noise).agreement < copied(service.detector, ordinary).agreement


def test_a_group_is_measured_on_the_sum_of_its_members(kit, service):
    rng = np.random.default_rng(7)
    rows = [kit("honest_rows")(rng, 40) for _ in range(6)]
    names = [f"sybil-{i}" for i in range(6)]
    batch = kit("events")(rows, names, rng, 4)
    sums = service.detector.sketch(batch, ONE)[0].keyed[EXPOSURE]
    dossiers = [Dossier.load(None, service.detector.study.width).after(sums[n], 40, 0, 0.0) for n in names]
    group = service.detector.study.copy(together(dossiers))
    alone = [service.detector.study.copy(d.sums) for d in dossiers]
    assert group is not None
    assert group.n == 240
    assert group.agreement > max(c.agreement for c in alone if c is not None)
    one = replace(batch, client_id=np.full(len(batch), "one", dtype=object))
    np.testing.assert_array_equal(together(dossiers), service.detector.sketch(one, ONE)[0].keyed[EXPOSURE]["one"])


def test_no_dossiers_have_no_sum():
    assert together([]) is None


def test_exact_repeats_teach_nothing(kit, service):
    rng = np.random.default_rng(8)
    rows = kit("honest_rows")(rng, 30)
    batch = kit("events")([np.concatenate([rows, rows])], ["a"], rng, 1)
    seen = service.detector.new_memory().annotate(batch)
    assert copied(service.detector, seen).n < copied(service.detector, batch).n == 60


def test_the_summary_names_the_most_exposed_client_and_accuses_nobody(kit, service):
    batch = kit("crowd")(91, 30, 8)
    panes = service.readings(batch, 8)
    summary = panes[-1][-1]
    names, counts = np.unique(batch.client_id, return_counts=True)
    most = summary.detail["exposures"]
    assert summary.subject == MODEL
    assert len(most) == 10
    assert [item["share"] for item in most] == sorted((item["share"] for item in most), reverse=True)
    assert most[0]["client"] in set(names[counts >= 50])
    assert most[0]["client"] in summary.reason
    assert "honest-0" not in {item["client"] for item in most}
    assert kit("accused")(panes) == set()


def test_an_alarm_says_what_a_copy_could_do_in_words(kit, service):
    rng = np.random.default_rng(3)
    rows = [kit("thief_rows")(rng, 300)]
    batch = kit("events")(rows, ["mallory"], rng, 8)
    honest = kit("crowd")(21, 25, 8)
    order = np.argsort(np.concatenate([honest.timestamp, batch.timestamp]), kind="stable")
    readings = service.readings(concatenate([honest, batch]).take(order), 8)
    alarm = next(r for r in readings[-1] if r.level is Level.ALARM)
    told = alarm.detail["exposure"]
    assert told["n_queries"] == 300
    assert told["words"].startswith("A copy trained on these 300 answers would agree with the model on ")
    assert {item["id"] for item in alarm.detail["actions"]} >= {"AML.M0004", "AML.M0002", "AML.M0019", "AML.M0024"}
    assert "regions of the input space" in alarm.detail["coverage"]["words"]
    assert alarm.detail["tempo"][0]["name"] == "night share"
    json.dumps(dict(alarm.detail))


@pytest.mark.parametrize("blank", [("probabilities",), ("prediction",)])
def test_labels_alone_and_scores_alone_can_be_copied(kit, blank):
    reference = kit("without")(kit("crowd")(1, 20, 50, "ref"), *blank)
    detector = kit("Service").fit(reference).detector
    assert detector.study.meter.answers.kind == ("labels" if blank == ("probabilities",) else "scores")
    batch = kit("without")(kit("crowd")(2, 10, 5), *blank)
    assert copied(detector, batch).share > 0.5


def test_a_regression_is_copied_within_a_quarter_of_its_spread(kit):
    def valued(batch: EventBatch) -> EventBatch:
        value = batch.numeric @ np.arange(1.0, 9.0)
        return replace(batch, probabilities=None, classes=(), prediction=np.array(value.tolist(), dtype=object))

    detector = kit("Service").fit(valued(kit("crowd")(1, 20, 50, "ref"))).detector
    meter = detector.study.meter
    assert meter.answers.kind == "value"
    assert meter.usual < 0.5 < meter.ceiling
    assert copied(detector, valued(kit("crowd")(2, 10, 5))).agreement > meter.usual


def test_without_answers_there_is_coverage_and_no_meter(kit):
    blank = ("probabilities", "prediction")
    detector = kit("Service").fit(kit("without")(kit("crowd")(1, 20, 50, "ref"), *blank)).detector
    assert detector.study.meter is None
    sums = detector.sketch(kit("without")(kit("crowd")(2, 10, 5), *blank), ONE)[0].keyed[EXPOSURE]
    assert detector.study.copy(next(iter(sums.values()))) is None
    assert next(iter(sums.values())).sum() > 0


def test_probabilities_are_read_by_name_and_rare_classes_are_pooled():
    answers = Answers("scores", ("a", "b"), pooled=True)
    batch = EventBatch(
        model="m",
        version="",
        event_id=np.array(["0", "1"], dtype=object),
        timestamp=np.zeros(2),
        probabilities=np.array([[0.25, 0.25, 0.5, 0.0], [np.nan] * 4]),
        classes=("b", "c", "a", "d"),
        prediction=np.array(["a", None], dtype=object),
    )
    told = answers.read(batch, np.array([0, 2]))
    np.testing.assert_array_equal(told[0], ANSWER_UNIT * np.array([0.5, 0.25, 0.25]))
    assert np.isnan(told[1]).all()


def test_a_row_is_read_as_scores_when_it_has_the_classes_told_apart_whatever_other_rows_have():
    answers = Answers("scores", ("a", "b"), pooled=True)
    nan = np.nan
    batch = EventBatch(
        model="m",
        version="",
        event_id=np.array(["0", "1"], dtype=object),
        timestamp=np.zeros(2),
        probabilities=np.array([[0.25, 0.5, 0.25, nan], [0.75, nan, nan, 0.25]]),
        classes=("a", "b", "c", "new"),
        prediction=np.array(["b", "a"], dtype=object),
    )
    told = answers.read(batch, np.array([1, 0]))
    np.testing.assert_array_equal(told, ANSWER_UNIT * np.array([[0.25, 0.5, 0.25], [1.0, 0.0, 0.0]]))


def test_a_meter_survives_storage(service):
    meter = service.detector.study.meter
    again = Meter.load(meter.to_arrays(), json.loads(json.dumps(meter.to_facts())))
    assert again.answers == meter.answers
    assert (again.usual, again.ceiling, again.width) == (meter.usual, meter.ceiling, meter.width)


def test_gains_are_told_since_the_last_day_and_before_that_by_queries():
    day = 86_400.0
    dossier = Dossier.load(None, 4)
    dossier = dossier.measured(Copy(100, 0.70, 0.4, 0.9), 3_600.0)
    dossier = dossier.measured(Copy(150, 0.74, 0.4, 0.9), 7_200.0)
    assert dossier.gain == (pytest.approx(0.04), None)
    assert "(+6 points over its last 50 queries)" in exposure_facts(Copy(200, 0.80, 0.4, 0.9), dossier)["words"]
    dossier = dossier.measured(Copy(200, 0.80, 0.4, 0.9), day + 60.0)
    assert dossier.gain == (pytest.approx(0.06), pytest.approx(0.06))
    assert "(+6 points since 1970-01-01)" in exposure_facts(Copy(200, 0.80, 0.4, 0.9), dossier)["words"]


def test_the_most_exposed_list_is_bounded_and_keeps_the_largest():
    exposed = Exposed.load(None)
    for i in range(30):
        exposed = exposed.with_({f"c{i}": (Copy(50, 0.4 + 0.01 * i, 0.4, 0.9), 0.0)})
    exposed = Exposed.load(exposed.to_arrays()).with_({"c29": (Copy(80, 0.5, 0.4, 0.9), 0.1)})
    names = [item["client"] for item in exposed.facts()]
    assert len(names) == 10
    assert names[0] == "c28"
    assert "c29" not in names or exposed.facts()[-1]["client"] == "c29"


def test_a_copy_near_the_limit_puts_the_query_limit_first():
    far, near = Copy(900, 0.88, 0.4, 0.9), Copy(50, 0.5, 0.4, 0.9)
    assert actions(Family.NATURAL, far, 0.9)[0]["id"] == "AML.M0004"
    assert actions(Family.NATURAL, near, 0.9)[0]["id"] == "AML.M0019"
    assert "AML.M0015" in {item["id"] for item in actions(Family.BOUNDARY, None, 0.9)}


def test_the_state_of_a_client_stays_below_ten_kilobytes(kit, service):
    batch = kit("crowd")(3, 5, 2)
    sketch: Sketch = service.detector.sketch(batch, ONE)[0]
    assert all(v.nbytes <= 5_000 for v in sketch.keyed[EXPOSURE].values())
