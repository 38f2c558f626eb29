"""What counts as answer, confidence and label, in the ways in which models log them."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.batch import EventBatch
from detectors.performance.delays import N_DELAYS, UPPER_S, delay_bin, median_delay_s, within
from detectors.performance.joining import label_alone, with_late_labels
from detectors.performance.outcomes import OutcomeReader, Task, joined


def column(*values):
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def batch(n, **columns):
    identity = column(*(f"e{i}" for i in range(n)))
    return EventBatch("m", "", identity, np.arange(n, dtype=float), **columns)


def test_confidence_is_the_probability_of_what_was_predicted_not_the_largest():
    """A threshold other than one half predicts the less probable class."""
    events = batch(
        3,
        prediction=column("fraud", "fine", None),
        label=column("fine", "fine", "fraud"),
        probabilities=np.array([[0.7, 0.3], [0.9, 0.1], [0.2, 0.8]]),
        classes=("fine", "fraud"),
    )
    outcomes = OutcomeReader.fit(events).read(events)
    assert list(outcomes.answer) == ["fraud", "fine", "fraud"]
    assert outcomes.confidence == pytest.approx([0.3, 0.9, 0.8])
    assert outcomes.measured.all()


def test_columns_without_names_stand_for_what_is_predicted_when_they_lead():
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.1, 0.9]])
    said = column("no", "no", "yes", "yes")
    reader = OutcomeReader.fit(batch(4, prediction=said, label=said, probabilities=p, classes=("0", "1")))
    unsaid = reader.read(batch(2, label=column("no", "no"), probabilities=p[[1, 3]], classes=("0", "1")))
    assert list(unsaid.answer) == ["no", "yes"]
    assert unsaid.confidence == pytest.approx([0.8, 0.9])


def test_columns_in_another_order_are_found_by_name():
    p = np.array([[0.9, 0.1], [0.2, 0.8]])
    said = column("a", "b")
    reader = OutcomeReader.fit(batch(2, prediction=said, label=said, probabilities=p, classes=("a", "b")))
    turned = reader.read(batch(2, prediction=said, probabilities=p[:, ::-1], classes=("b", "a")))
    assert turned.confidence == pytest.approx([0.9, 0.8])


def test_logits_serve_as_probabilities():
    events = batch(2, label=column(1.0, 0.0), logits=np.array([[0.0, np.log(3.0)], [5.0, 5.0]]), classes=("0", "1"))
    outcomes = OutcomeReader.fit(events).read(events)
    assert list(outcomes.answer) == ["1", "0"]
    assert list(outcomes.label) == ["1", "0"]
    assert outcomes.confidence == pytest.approx([0.75, 0.5])


def test_rows_without_probabilities_have_no_confidence():
    p = np.array([[0.9, 0.1], [np.nan, np.nan], [7.0, 9.0]])
    said = column("a", "a", "b")
    outcomes = OutcomeReader.fit(batch(3, prediction=said, label=said, probabilities=p, classes=("a", "b"))).read(
        batch(3, prediction=said, label=said, probabilities=p, classes=("a", "b"))
    )
    assert np.isnan(outcomes.confidence).tolist() == [False, True, True]
    assert outcomes.answered.all()


CASES = {
    "names": ((["a", "b"], ["a", "a"]), Task.CATEGORY),
    "whole numbers": (([1.0, 3.0], [1.0, 2.0]), Task.CATEGORY),
    "a score for a label of 0 or 1": (([0.3, 0.9], [0.0, 1.0]), Task.SCORE),
    "measures": (([3.2, 5.0], [3.0, 5.5]), Task.NUMBER),
    "many codes": (([float(i) for i in range(50)], [float(i) for i in range(50)]), Task.CATEGORY),
    "numbers as text": ((["3.2", "5.0"], ["3.0", "5.5"]), Task.CATEGORY),
    "many whole numbers": (([float(i) for i in range(50)], [float(i + 1) for i in range(50)]), Task.NUMBER),
}


@pytest.mark.parametrize(("values", "task"), CASES.values(), ids=CASES)
def test_the_task_is_told_by_answers_and_labels(values, task):
    answers, labels = values
    events = batch(len(answers), prediction=column(*answers), label=column(*labels))
    assert OutcomeReader.fit(events).task is task


def test_a_score_is_an_answer_with_a_confidence():
    events = batch(3, prediction=column(0.3, 0.9, 7.0), label=column(0.0, 0.0, 1.0))
    reader = OutcomeReader(Task.SCORE)
    outcomes = reader.read(events)
    assert list(outcomes.answer) == ["0", "1", None]
    assert outcomes.confidence[:2] == pytest.approx([0.7, 0.9])


def test_what_was_joined_is_read_as_it_was_stored():
    for reader, answer, label in (
        (OutcomeReader(Task.CATEGORY), "yes", "no"),
        (OutcomeReader(Task.SCORE), "1", "0"),
        (OutcomeReader(Task.NUMBER), "1.5", "2"),
    ):
        late = joined(
            "m", "", column("e"), np.array([9.0]), column(answer), np.array([0.8]), column(label), np.array([-3.0])
        )
        outcomes = reader.read(late)
        number = reader.task is Task.NUMBER
        assert list(outcomes.answer) == [1.5 if number else answer]
        assert list(outcomes.label) == [2.0 if number else label]
        assert outcomes.delay_s.tolist() == [0.0]
        assert outcomes.joined_late.all()


def test_labels_that_come_alone_move_to_the_first_event_of_their_id():
    answers = EventBatch(
        "m", "1", column("a", "b", "a"), np.arange(3.0), prediction=column("x", "y", "x"), label=column(None, "y", None)
    )
    late = EventBatch("m", "", column("a", "a", "b", "z"), np.arange(4.0), label=column("u", "v", "w", "w"))
    assert label_alone(late).all()
    assert not label_alone(answers).any()
    first, second = with_late_labels([answers, late])
    assert list(first.label) == ["u", "y", None]
    assert list(second.label) == ["u", "v", "w", "w"]
    assert list(answers.label) == [None, "y", None], "what was given is left as it was"


def test_delays_are_counted_by_bins_whose_median_is_near_the_truth():
    delays = np.array([np.nan, 0.5, 3_600.0, 3_700.0, 3_800.0])
    counts = np.bincount(delay_bin(delays), minlength=N_DELAYS)
    assert counts[0] == 2
    assert median_delay_s(counts) == pytest.approx(3_600, rel=0.25)
    assert median_delay_s(np.zeros(N_DELAYS, dtype=int)) is None
    assert within(counts, 10.0) == 2
    assert within(counts, 3_500.0) == 2
    assert within(counts, 10_000.0) == 5
    assert UPPER_S[-2] > 50 * 86_400
