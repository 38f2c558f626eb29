"""Own scores: functions of the operator's, run on every batch, that can fail without taking anything down."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from detectors.batch import EventBatch
from detectors.ood.inputs import OWN
from monitor.errors import PermanentError
from monitor.own_scores import OwnScores, load_own_scores, parse_own_scores

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "own_scores.py"


def events(n: int = 3) -> EventBatch:
    ids = np.array([str(i) for i in range(n)], dtype=object)
    rows = np.arange(2.0 * n).reshape(n, 2) + 10
    return EventBatch("m", "", ids, np.zeros(n), numeric_names=("amount", "hour"), numeric=rows)


def test_a_score_becomes_an_annotation() -> None:
    scored = OwnScores({"size": lambda batch: batch.numeric[:, 0]}).annotate(events())
    assert scored.annotations[OWN + "size"].tolist() == [10, 12, 14]


@pytest.mark.parametrize(
    "function",
    [
        lambda batch: 1 / 0,
        lambda batch: np.zeros(len(batch) + 1),
        lambda batch: "no",
        lambda batch: None,
        lambda batch: batch.numeric,
    ],
    ids=["raises", "too long", "text", "nothing", "a matrix"],
)
def test_a_function_that_fails_costs_this_score_alone(function) -> None:
    own = OwnScores({"bad": function, "good": lambda batch: np.ones(len(batch))})
    scored = own.annotate(events())
    assert np.isnan(scored.annotations[OWN + "bad"]).all()
    assert scored.annotations[OWN + "good"].tolist() == [1, 1, 1]
    assert own.failures == {"bad": 1}


def test_infinite_scores_are_missing_ones() -> None:
    values = np.array([np.inf, -np.inf, 2.0])
    scored = OwnScores({"s": lambda batch: values}).annotate(events())
    assert np.isnan(scored.annotations[OWN + "s"]).tolist() == [True, True, False]


def test_a_function_cannot_change_the_events() -> None:
    def meddle(batch: EventBatch) -> np.ndarray:
        batch.numeric[:] = 0
        return np.zeros(len(batch))

    batch = events()
    own = OwnScores({"meddle": meddle})
    own.annotate(batch)
    assert batch.numeric[0, 0] == 10
    assert own.failures["meddle"] == 1


def test_functions_are_found_in_files_and_modules() -> None:
    targets = parse_own_scores([f"ratio={EXAMPLE}:ratio", "loud=numpy:abs"])
    own = load_own_scores(targets)
    assert own.annotate(events()).annotations[OWN + "ratio"] == pytest.approx([10 / 11, 12 / 13, 14 / 15])


def test_the_example_scores_strange_events_higher() -> None:
    own = load_own_scores(parse_own_scores([f"{n}={EXAMPLE}:{n}" for n in ("forest", "trees", "ratio")]))
    rows = np.array([[20.0, 12.0], [22.0, 14.0], [900.0, 3.0]])
    ids = np.array(["a", "b", "c"], dtype=object)
    batch = EventBatch("m", "", ids, np.zeros(3), numeric_names=("amount", "hour"), numeric=rows)
    for values in own.annotate(batch).annotations.values():
        assert values[2] > max(values[0], values[1])
    assert not own.failures


@pytest.mark.parametrize("text", ["x", "a b=m:f", "a=m", "a=m:1f", "=m:f", "a=:f", "A=m:f"])
def test_what_names_no_function_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write NAME=MODULE:FUNCTION"):
        parse_own_scores([text])


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("no_such_module:f", "ModuleNotFoundError"),
        ("numpy:no_such", "no_such"),
        ("numpy:pi", "is no function"),
        ("no/such/file.py:f", "FileNotFoundError"),
    ],
)
def test_a_function_that_is_not_there_is_named(target: str, message: str) -> None:
    with pytest.raises(PermanentError, match=message):
        load_own_scores({"mine": target})
