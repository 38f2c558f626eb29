"""What single events tell: faults, one-feature steps, latency beside comparable queries, rare classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.abuse.faults import CELLS_PER_SORT, SORTS, Faults
from detectors.abuse.latency import LatencyGrid, query_sizes
from detectors.abuse.layout import AT, PER_EVENT, Reader, common_classes, variety
from detectors.abuse.sweeps import CHANGED, CHANGED_CELL, LastQueries, swept_columns
from detectors.batch import EventBatch
from detectors.schema import infer_schema


def events(n: int, seed: int = 0) -> EventBatch:
    rng = np.random.default_rng(seed)
    return EventBatch(
        model="m",
        version="",
        event_id=np.arange(n).astype(str).astype(object),
        timestamp=np.arange(n, dtype=np.float64),
        client_id=np.array([f"c{i % 4}" for i in range(n)], dtype=object),
        numeric_names=("a", "b", "c"),
        numeric=rng.normal(size=(n, 3)),
        mixed={"region": rng.choice(np.array(["north", "south"], dtype=object), size=n)},
        prediction=rng.choice(np.array(["yes", "no"], dtype=object), size=n),
        latency_ms=np.exp(rng.normal(size=n)),
    )


@pytest.fixture(scope="module")
def faults() -> Faults:
    batch = events(2_000)
    return Faults.fit(batch, infer_schema(batch))


def sorts_of(faults: Faults, batch: EventBatch) -> list[set[str]]:
    cells = faults.cells(batch).reshape(len(batch), len(SORTS), CELLS_PER_SORT).any(axis=2)
    return [{SORTS[j] for j in np.flatnonzero(row)} for row in cells]


@pytest.mark.parametrize(
    ("value", "sort"),
    [(np.nan, "missing"), (np.inf, "invalid"), (1e6, "extreme"), (0.0, "boundary"), (-1.0, "boundary")],
)
def test_each_sort_of_fault_is_told(faults: Faults, value: float, sort: str) -> None:
    batch = events(3, seed=1)
    batch.numeric[1, 2] = value
    found = sorts_of(faults, batch)
    assert sort in found[1]
    assert found[0] == found[2] == set()


def test_a_category_or_a_column_never_seen_is_a_fault(faults: Faults) -> None:
    batch = events(2, seed=2)
    odd = replace(batch, mixed={"region": np.array(["north", "moon"], dtype=object)})
    assert sorts_of(faults, odd) == [set(), {"unseen"}]
    more = replace(batch, mixed={**batch.mixed, "debug": np.array([None, True], dtype=object)})
    assert sorts_of(faults, more) == [set(), {"unknown column"}]
    gone = replace(batch, mixed={"region": np.array(["north", None], dtype=object)})
    assert sorts_of(faults, gone) == [set(), {"missing"}]


def test_ordinary_events_have_no_faults(faults: Faults) -> None:
    assert faults.cells(events(2_000, seed=3)).any(axis=1).mean() < 0.01


def test_a_number_that_the_column_uses_is_no_fault() -> None:
    batch = events(2_000)
    batch.numeric[:, 0] = np.arange(2_000) % 3
    found = Faults.fit(batch, infer_schema(batch))
    assert not found.cells(batch.take(np.arange(100)))[:, 4 * CELLS_PER_SORT : 5 * CELLS_PER_SORT].any()


def test_faults_survive_storage(faults: Faults) -> None:
    again = Faults.load(faults.to_arrays(), faults.to_facts())
    batch = events(50, seed=4)
    batch.numeric[::7, 1] = 1e9
    np.testing.assert_array_equal(again.cells(batch), faults.cells(batch))


def test_steps_of_one_feature_are_told_across_batches_and_clients() -> None:
    batch = events(8)
    batch.numeric[:] = 0.5
    batch.mixed["region"][:] = "north"
    batch.numeric[4, 0] = 9.0
    batch.numeric[5] = [1.0, 2.0, 0.5]
    memory = LastQueries(swept_columns(infer_schema(events(200))))
    first, second = batch.take(np.arange(3)), batch.take(np.arange(3, 8))
    assert np.isnan(memory.annotate(first).annotations[CHANGED]).all()
    found = memory.annotate(second)
    assert np.isnan(found.annotations[CHANGED][0])
    assert found.annotations[CHANGED][1:].tolist() == [1.0, 2.0, 0.0, 0.0]
    assert np.isfinite(found.annotations[CHANGED_CELL]).tolist() == [False, True, False, False, False]
    assert len(memory) == 4


def test_numbers_as_text_and_columns_that_come_and_go_do_not_break_the_memory() -> None:
    batch = events(4)
    odd = replace(
        batch, mixed={"region": np.array([None, 3.0, True, "x"], dtype=object)}, numeric_names=("a", "b", "z")
    )
    columns = swept_columns(infer_schema(events(200)))
    few = LastQueries(columns, max_clients=2)
    few.annotate(batch)
    assert len(few) == 2
    memory = LastQueries(columns)
    memory.annotate(batch)
    assert memory.annotate(odd).annotations[CHANGED].tolist() == [2.0, 2.0, 2.0, 2.0]


def test_latency_is_compared_with_queries_of_the_same_class_and_size() -> None:
    rng = np.random.default_rng(0)
    batch = events(4_000)
    slow_class = batch.prediction == "no"
    long_text = np.array(["x" * (400 if i % 2 else 4) for i in range(4_000)], dtype=object)
    latency = 10.0 * np.exp(rng.normal(scale=0.2, size=4_000))
    latency *= np.where(slow_class, 10.0, 1.0) * np.where(np.arange(4_000) % 2, 5.0, 1.0)
    batch = replace(batch, mixed={**batch.mixed, "text": long_text}, latency_ms=latency)
    assert np.ptp(query_sizes(batch)) >= 396
    grid = LatencyGrid.fit(batch)
    assert grid is not None
    flags, spent = grid.compare(batch)
    for of_class in (slow_class, ~slow_class):
        assert 0.03 < flags[of_class, 1].mean() < 0.07
    fast = (~slow_class) & (np.arange(4_000) % 2 == 0)
    assert grid.compare(replace(batch, latency_ms=np.full(4_000, 60.0)))[0][fast, 2].all()
    assert spent[:, 1].sum() == pytest.approx(latency.sum())
    assert LatencyGrid.fit(events(20)) is None


def test_classes_are_rare_only_where_there_are_many() -> None:
    rng = np.random.default_rng(1)
    skew = 1.0 / np.arange(1, 21) ** 1.8
    many = rng.choice(np.array([f"k{i}" for i in range(20)], dtype=object), size=5_000, p=skew / skew.sum())
    common = common_classes(replace(events(5_000), prediction=many))
    assert "k0" in common
    assert "k19" not in common
    assert common_classes(events(5_000)) == frozenset()


def test_an_event_that_stands_for_several_counts_as_many() -> None:
    batch = events(500)
    reader = Reader.fit(batch, Faults.fit(batch, infer_schema(batch)))
    rows = reader.rows(replace(batch, sampling_rate=np.full(500, 0.1)))
    assert (rows[:, AT["volume"]] == 10 * PER_EVENT).all()
    assert (rows[:, AT["events"]] == 1).all()


def test_variety_counts_cells_that_are_filled_evenly() -> None:
    assert variety(np.array([5.0, 5.0, 5.0, 0.0])) == pytest.approx(3.0)
    assert variety(np.array([9.0, 0.0])) == pytest.approx(1.0)
    assert variety(np.zeros(3)) == 0.0
