"""Batches: joined and put in order by the names of their classes, never by position."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.batch import EventBatch, concatenate, in_order_of

NAN = np.nan


def batch(
    classes: tuple[str, ...], rows: list[list[float]] | None, logits: list[list[float]] | None = None
) -> EventBatch:
    n = len(rows or logits or [])
    return EventBatch(
        model="m",
        version="",
        event_id=np.arange(n).astype(str).astype(object),
        timestamp=np.zeros(n),
        probabilities=None if rows is None else np.array(rows),
        logits=None if logits is None else np.array(logits),
        classes=classes,
    )


def test_batches_are_joined_class_by_class() -> None:
    joined = concatenate([batch(("a", "b"), [[0.9, 0.1]]), batch(("c", "b", "a"), [[0.1, 0.2, 0.7]])])
    assert joined.classes == ("a", "b", "c")
    np.testing.assert_array_equal(joined.probabilities, [[0.9, 0.1, NAN], [0.7, 0.2, 0.1]])


def test_classes_without_names_are_positions() -> None:
    joined = concatenate([batch(("0", "1"), [[0.9, 0.1]]), batch((), [[0.1, 0.2, 0.7]])])
    assert joined.classes == ("0", "1", "2")
    np.testing.assert_array_equal(joined.probabilities, [[0.9, 0.1, NAN], [0.1, 0.2, 0.7]])


def test_events_with_logits_alone_name_no_class_beside_those_that_do() -> None:
    named, bare = batch(("b", "a"), [[0.9, 0.1]], [[2.0, 0.0]]), batch(("0", "1"), None, [[1.0, 3.0]])
    joined = concatenate([bare, named])
    assert joined.classes == ("b", "a")
    np.testing.assert_array_equal(joined.probabilities, [[NAN, NAN], [0.9, 0.1]])
    np.testing.assert_array_equal(joined.logits, [[1.0, 3.0], [2.0, 0.0]])
    assert concatenate([bare, bare]).classes == ("0", "1")
    assert in_order_of(bare, joined.classes).classes == ("b", "a")


@pytest.mark.parametrize(
    ("classes", "row", "ordered", "expected"),
    [
        (("b", "a"), [0.1, 0.9], ("a", "b"), [0.9, 0.1]),
        (("b",), [0.1], ("a", "b"), [NAN, 0.1]),
        (("z", "b", "new", "a"), [0.3, 0.1, 0.4, 0.2], ("a", "b", "new", "z"), [0.2, 0.1, 0.4, 0.3]),
        ((), [0.1, 0.9], ("a", "b", "0", "1"), [NAN, NAN, 0.1, 0.9]),
    ],
    ids=["turned round", "one is missing", "further ones follow by name", "no names"],
)
def test_classes_are_put_in_order(
    classes: tuple[str, ...], row: list[float], ordered: tuple[str, ...], expected: list[float]
) -> None:
    source = batch(classes, [row])
    found = in_order_of(source, ("a", "b"))
    assert found.classes == ordered
    np.testing.assert_array_equal(found.probabilities, [expected])
    np.testing.assert_array_equal(source.probabilities, [row])
    assert in_order_of(found, ("a", "b")).classes == ordered


def test_nothing_is_copied_where_the_order_is_right_or_nothing_is_scored() -> None:
    source = batch(("a", "b"), [[0.9, 0.1]])
    assert in_order_of(source, ("a", "b")) is source
    bare = replace(source, probabilities=None, classes=())
    assert in_order_of(bare, ("a", "b")) is bare
