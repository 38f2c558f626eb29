"""A category of its own says who a client is; made-up ones are strange."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.batch import EventBatch
from detectors.clients.names import OwnNames
from detectors.clients.vectors import OWN_NAMES, VectorMap
from detectors.schema import infer_schema


def batch_of(clients: list[str | None], regions: list[str | None], plans: list[str] | None = None) -> EventBatch:
    n = len(regions)
    return EventBatch(
        "m",
        "1",
        np.array([str(i) for i in range(n)], dtype=object),
        np.arange(n, dtype=np.float64),
        client_id=np.array(clients, dtype=object),
        numeric_names=("age",),
        numeric=np.random.default_rng(0).standard_normal((n, 1)),
        mixed={
            "region": np.array(regions, dtype=object),
            "plan": np.array(plans or ["free"] * n, dtype=object),
        },
    )


@pytest.fixture(scope="module")
def source() -> VectorMap:
    reference = batch_of(["a"] * 200, ["north", "south", None, "north"] * 50, ["free", "paid"] * 100)
    found = VectorMap.fit("features", reference, infer_schema(reference))
    assert found is not None
    assert {levels.name for levels in found.categorical} == {"region", "plan"}
    return found


def marks(source: VectorMap, names: OwnNames, batch: EventBatch, column: str) -> list[bool]:
    k = [levels.name for levels in source.categorical].index(column)
    return [bool(int(mark) >> k & 1) for mark in names.annotate(batch).annotations[OWN_NAMES]]


W = "west"


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        ([W] * 5, [False, False, True, True, True]),
        (["north", "south", W, W, W, W], [False] * 4 + [True] * 2),
        ([W, None, W, None, W, W], [False] * 4 + [True] * 2),
        ([W, W, "north", W, W, "north", W, W], [False] * 8),
        ([W, "east"] * 4, [False] * 8),
        ([W, W, W, "north", W, W, W], [False, False, True, False, False, False, True]),
    ],
)
def test_a_value_that_is_sent_again_and_again_is_a_name(
    source: VectorMap, sent: list[str | None], named: list[bool]
) -> None:
    assert marks(source, OwnNames(source, 10), batch_of(["a"] * len(sent), sent), "region") == named
    whole, names = batch_of(["a"] * len(sent), sent), OwnNames(source, 10)
    parts = [whole.take(np.array([i])) for i in range(len(sent))]
    assert [marks(source, names, part, "region")[0] for part in parts] == named, "however events are batched"


def test_each_client_and_column_has_a_name_of_its_own(source: VectorMap) -> None:
    names = OwnNames(source, 10)
    clients: list[str | None] = ["a", "b", None] * 4
    batch = batch_of(clients, [W, "east", W] * 4, ["gold"] * 12)
    expected = [False] * 6 + [True, True, False] * 2
    assert marks(source, names, batch, "region") == expected
    assert marks(source, OwnNames(source, 10), batch, "plan") == expected


def test_a_name_is_no_surprise_and_another_unheard_of_value_is(source: VectorMap) -> None:
    batch = OwnNames(source, 10).annotate(batch_of(["a"] * 4, [W, W, W, "east"]))
    vectors, _, surprise = source.vectors(batch)
    plain, _, _ = source.vectors(replace(batch, annotations={}))
    assert surprise[2, 0] < 2.0 < 5.0 < surprise[3, 0]
    assert np.linalg.norm(vectors[2, 2:]) < np.linalg.norm(plain[2, 2:])
    assert np.array_equal(vectors[[0, 1, 3]], plain[[0, 1, 3]])


def test_the_clients_remembered_are_bounded(source: VectorMap) -> None:
    names = OwnNames(source, 2)
    names.annotate(batch_of(["a", "b", "c"] * 2, [W] * 6))
    assert marks(source, names, batch_of(["c", "b", "a"], [W] * 3), "region") == [False, False, False]
    names = OwnNames(source, 3)
    names.annotate(batch_of(["a", "b", "c"] * 2, [W] * 6))
    assert marks(source, names, batch_of(["c", "b", "a"], [W] * 3), "region") == [True, True, True]
