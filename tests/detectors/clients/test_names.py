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


def test_a_client_has_a_name_until_it_sends_anything_else(source: VectorMap) -> None:
    names = OwnNames(source, 10)
    assert marks(source, names, batch_of(["a"] * 4, ["west", "west", "east", "west"]), "region") == [
        True,
        True,
        False,
        False,
    ]
    assert marks(source, names, batch_of(["b"] * 3, ["west", "north", "west"]), "region") == [True, False, False]
    assert marks(source, names, batch_of(["c"] * 3, ["west", None, "west"]), "region") == [True, False, False]
    assert marks(source, names, batch_of(["d"] * 2, ["north", "west"]), "region") == [False, False]
    assert marks(source, names, batch_of(["e", None], ["west", "west"]), "region") == [True, False], "nobody has none"


def test_each_column_has_a_name_of_its_own(source: VectorMap) -> None:
    names = OwnNames(source, 10)
    batch = batch_of(["a", "a"], ["west", "west"], ["gold", "gold"])
    assert marks(source, names, batch, "plan") == marks(source, names, batch, "region") == [True, True]


def test_a_name_is_no_surprise_and_another_unheard_of_value_is(source: VectorMap) -> None:
    names = OwnNames(source, 10)
    batch = names.annotate(batch_of(["a", "b", "b"], ["west", "west", "east"]))
    vectors, _, surprise = source.vectors(batch)
    plain, _, _ = source.vectors(replace(batch, annotations={}))
    assert surprise[0, 0] < 2.0 < 5.0 < surprise[2, 0]
    assert np.linalg.norm(vectors[0, 2:]) < np.linalg.norm(plain[0, 2:])
    assert np.array_equal(vectors[2], plain[2])


def test_the_clients_remembered_are_bounded(source: VectorMap) -> None:
    names = OwnNames(source, 2)
    names.annotate(batch_of(["a", "b", "c"], ["west", "west", "west"]))
    assert marks(source, names, batch_of(["a", "c"], ["east", "east"]), "region") == [True, False]
    assert marks(source, names, batch_of(["c", "a"], ["west", "west"]), "region") == [False, False]
