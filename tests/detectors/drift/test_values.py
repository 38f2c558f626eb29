"""Values of the watched columns: features by role, outputs by class."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.batch import EventBatch
from detectors.drift.columns import Group
from detectors.drift.values import (
    ENTROPY,
    MARGIN,
    MAX_CLASSES,
    MAX_PROBABILITY,
    answered,
    class_probabilities,
    feature_values,
    output_values,
    raw_texts,
    watched_classes,
)
from detectors.schema import Column, Role, Schema

FEATURE, OUTPUT = Group.FEATURE, Group.OUTPUT
DAY_S = 86_400.0


def objects(*values: object) -> np.ndarray:
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def batch(n: int, **columns: object) -> EventBatch:
    return EventBatch(
        model="m",
        version="",
        event_id=objects(*map(str, range(n))),
        timestamp=10 * DAY_S + 0.25 * DAY_S * np.arange(n),
        **columns,
    )


def test_an_event_has_answered_when_it_logs_any_input_or_output() -> None:
    nan = np.nan
    source = batch(
        6,
        numeric_names=("a", "b"),
        numeric=np.array([[1, nan], [nan, 2], [nan, nan], [nan, nan], [nan, nan], [nan, nan]]),
        mixed={"c": objects(None, None, False, None, None, None)},
        probabilities=np.array([[nan, nan]] * 3 + [[nan, 0.4]] + [[nan, nan]] * 2),
        prediction=objects(None, None, None, None, "yes", None),
        label=objects(*["yes"] * 6),
    )
    assert answered(source).tolist() == [True, True, True, True, True, False]
    assert answered(batch(2)).tolist() == [False, False]
    assert answered(batch(2, prediction=objects(None, 0.0))).tolist() == [False, True]


def test_features_are_read_by_their_roles_and_identifiers_are_not_read() -> None:
    roles = {"x": Role.NUMERIC, "born": Role.DATE, "vip": Role.BOOLEAN, "key": Role.IDENTIFIER, "note": Role.TEXT}
    schema = Schema(tuple(Column(name, role) for name, role in roles.items()))
    mixed = {"born": objects("1970-01-03", None, "?"), "vip": objects(True, None, False), "key": objects("a", "b", "c")}
    values = feature_values(
        batch(3, numeric_names=("x",), numeric=np.array([[1.0], [np.nan], [np.inf]]), mixed=mixed), schema
    )
    assert list(values) == [(FEATURE, n) for n in ("x", "vip", "born: age in days", "born: weekday")]
    np.testing.assert_array_equal(values[FEATURE, "x"], [1.0, np.nan, np.inf])
    assert values[FEATURE, "vip"].tolist() == ["true", None, "false"]
    np.testing.assert_array_equal(values[FEATURE, "born: age in days"], [8.0, np.nan, np.inf])
    assert values[FEATURE, "born: weekday"].tolist() == ["Saturday", None, np.inf]


def test_features_that_a_batch_lacks_are_missing() -> None:
    schema = Schema((Column("x", Role.NUMERIC), Column("born", Role.DATE), Column("c", Role.CATEGORICAL)))
    values = feature_values(batch(2), schema)
    assert np.isnan(values[FEATURE, "x"].astype(float)).all()
    assert np.isnan(values[FEATURE, "born: age in days"].astype(float)).all()
    assert values[FEATURE, "c"].tolist() == [None, None]
    assert raw_texts(batch(2), (FEATURE, "note")).tolist() == [None, None]


def test_text_that_arrives_as_numbers_is_invalid_and_not_missing() -> None:
    source = batch(2, numeric_names=("note",), numeric=np.array([[7.0], [np.nan]]))
    assert raw_texts(source, (FEATURE, "note")).tolist() == [7.0, None]


def test_outputs_of_three_classes() -> None:
    source = batch(2, probabilities=np.array([[0.7, 0.2, 0.1], [np.nan] * 3]), classes=("a", "b", "c"))
    assert watched_classes(source) == ("a", "b", "c")
    values = output_values(source, ("c", "a", "gone"))
    assert set(values) == {
        (OUTPUT, n) for n in (MAX_PROBABILITY, ENTROPY, MARGIN, "probability of c", "probability of a")
    }
    row = {name: float(column[0]) for (_, name), column in values.items()}
    assert row[MAX_PROBABILITY] == 0.7
    assert row[MARGIN] == pytest.approx(0.5)
    assert row["probability of c"] == 0.1
    assert row[ENTROPY] == pytest.approx(-sum(p * np.log(p) for p in (0.7, 0.2, 0.1)))
    assert all(np.isnan(float(column[1])) for column in values.values())


def test_outputs_are_of_the_classes_that_an_event_itself_logs() -> None:
    rows = np.array([[0.7, 0.2, np.nan, np.nan], [np.nan, np.nan, 0.6, np.nan], [0.5, np.inf, 0.1, 0.1]])
    values = output_values(batch(3, probabilities=rows, classes=("a", "b", "c", "d")), ("b",))
    np.testing.assert_array_equal(values[OUTPUT, MAX_PROBABILITY], [0.7, 0.6, np.nan])
    np.testing.assert_array_equal(values[OUTPUT, MARGIN], [0.7 - 0.2, np.nan, np.nan])
    np.testing.assert_allclose(
        values[OUTPUT, ENTROPY].astype(float), [-0.7 * np.log(0.7) - 0.2 * np.log(0.2), -0.6 * np.log(0.6), np.nan]
    )
    np.testing.assert_array_equal(values[OUTPUT, "probability of b"], [0.2, np.nan, np.nan])


def test_outputs_of_an_event_are_the_same_to_the_last_bit_beside_events_of_further_classes() -> None:
    rows = np.random.default_rng(1).dirichlet(np.ones(11), size=200)
    names = tuple(f"k{i}" for i in range(11))
    wider = np.concatenate([rows, np.full((200, 30), np.nan)], axis=1)
    alone = output_values(batch(200, probabilities=rows, classes=names), names)
    beside = output_values(batch(200, probabilities=wider, classes=(*names, *map(str, range(30)))), names)
    for key, column in alone.items():
        np.testing.assert_array_equal(column, beside[key])


def test_of_two_classes_one_probability_says_it_all() -> None:
    source = batch(1, probabilities=np.array([[0.3, 0.7]]), classes=("no", "yes"))
    assert watched_classes(source) == ("yes",)
    assert (OUTPUT, MARGIN) not in output_values(source, ("yes",))


def test_a_class_is_found_by_its_name_wherever_its_column_stands() -> None:
    source = batch(1, probabilities=np.array([[0.3, 0.7]]), classes=("no", "yes"))
    turned = replace(source, probabilities=np.array([[0.7, 0.3]]), classes=("yes", "no"))
    key = (OUTPUT, "probability of yes")
    assert output_values(source, ("yes",))[key] == output_values(turned, ("yes",))[key] == 0.7


def test_the_heaviest_classes_of_many_are_watched_in_the_order_of_the_log() -> None:
    weight = np.ones(30)
    weight[5:15] = 0.01
    source = batch(4, probabilities=np.tile(weight / weight.sum(), (4, 1)), classes=tuple(f"k{i}" for i in range(28)))
    names = watched_classes(source)
    assert len(names) == MAX_CLASSES
    assert names == (*[f"k{i}" for i in [*range(5), *range(15, 28)]], "28", "29")


def test_logits_become_probabilities_and_absent_rows_stay_absent() -> None:
    logits = np.array([[1_000.0, 999.0, -1e308], [np.nan] * 3, [np.inf, 0.0, 0.0]])
    probabilities = class_probabilities(batch(3, logits=logits))
    assert probabilities is not None
    np.testing.assert_allclose(probabilities[0], [1 / (1 + np.exp(-1)), 1 / (1 + np.e), 0.0])
    assert np.isnan(probabilities[1:]).all()
    assert watched_classes(batch(3)) == ()
    assert output_values(batch(3), ("yes",)) == {}
