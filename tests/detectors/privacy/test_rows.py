"""Rows as hashes: what is the same row, what is near it, and that nothing can be told without the key."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.batch import EventBatch
from detectors.privacy.hashes import (
    QUERY_CELL,
    RECORD_CELL,
    TRAINING_HIT,
    HashSet,
    TrainingHashes,
    TrainingRows,
)
from detectors.privacy.rows import RowCode, canonical_numbers, key_check

KEY, OTHER = b"k" * 32, b"o" * 32
NAMES = tuple(f"x{i}" for i in range(8))


def rows(n: int, seed: int = 0) -> EventBatch:
    rng = np.random.default_rng(seed)
    return EventBatch(
        model="m",
        version="",
        event_id=np.arange(n).astype(str).astype(object),
        timestamp=np.zeros(n),
        numeric_names=NAMES,
        numeric=rng.normal(scale=[1, 10, 100, 1e3, 1e4, 1, 1, 1], size=(n, 8)),
        mixed={"city": rng.choice(np.array(["New York", "Oslo"], dtype=object), size=n)},
    )


def hashed(batch: EventBatch, key: bytes = KEY) -> TrainingHashes:
    found = HashSet(RowCode.fit(batch), key)
    found.add(batch)
    return found.hashes("m")


@pytest.fixture(scope="module")
def training() -> EventBatch:
    return rows(3_000)


@pytest.fixture(scope="module")
def hashes(training: EventBatch) -> TrainingHashes:
    return hashed(training)


def hits(hashes: TrainingHashes, batch: EventBatch, key: bytes | None = KEY) -> np.ndarray:
    return TrainingRows(hashes, key).annotate(batch).annotations[TRAINING_HIT]


def test_training_rows_are_told_and_other_rows_are_not(hashes: TrainingHashes, training: EventBatch) -> None:
    assert (hits(hashes, training) == 2.0).all()
    assert (hits(hashes, rows(3_000, seed=1)) == 2.0).sum() == 0
    assert (hits(hashes, rows(3_000, seed=1)) == 1.0).mean() < 0.002


def test_order_of_columns_text_case_and_seventh_digit_do_not_matter(
    hashes: TrainingHashes, training: EventBatch
) -> None:
    turned = replace(
        training,
        numeric_names=NAMES[::-1],
        numeric=training.numeric[:, ::-1] * (1.0 + 1e-9),
        mixed={"city": np.array([f"  {c.upper()} " for c in training.mixed["city"]], dtype=object)},
    )
    assert (hits(hashes, turned) == 2.0).mean() > 0.99
    as_text = replace(
        training,
        numeric_names=NAMES[1:],
        numeric=training.numeric[:, 1:],
        mixed={**training.mixed, "x0": np.array([repr(v) for v in training.numeric[:, 0].tolist()], dtype=object)},
    )
    assert (hits(hashes, as_text) == 2.0).all()


def test_a_column_that_training_rows_lack_does_not_matter(hashes: TrainingHashes, training: EventBatch) -> None:
    more = replace(training, mixed={**training.mixed, "session": training.event_id})
    assert (hits(hashes, more) == 2.0).all()


def test_small_changes_are_near_hits_and_large_ones_are_none(hashes: TrainingHashes, training: EventBatch) -> None:
    rng = np.random.default_rng(2)
    spread = training.numeric.std(axis=0)
    small = replace(training, numeric=training.numeric + 0.02 * spread * rng.normal(size=training.numeric.shape))
    large = replace(training, numeric=training.numeric + 1.0 * spread * rng.normal(size=training.numeric.shape))
    assert (hits(hashes, small) == 1.0).mean() > 0.7
    assert (hits(hashes, large) == 1.0).mean() < 0.02
    moved = replace(training, mixed={"city": np.full(len(training), "Lima", dtype=object)})
    assert (hits(hashes, moved) > 0).mean() < 0.01


def test_steps_around_one_row_fall_into_cells_of_their_own_and_one_record(
    hashes: TrainingHashes, training: EventBatch
) -> None:
    rng = np.random.default_rng(3)
    one = training.take(np.zeros(200, dtype=np.int64))
    walk = replace(one, numeric=one.numeric + 0.01 * training.numeric.std(axis=0) * rng.normal(size=one.numeric.shape))
    found = TrainingRows(hashes, KEY).annotate(walk)
    near = found.annotations[TRAINING_HIT] == 1.0
    assert near.sum() > 100
    assert len(set(found.annotations[QUERY_CELL][near].tolist())) > 50
    assert np.bincount(found.annotations[RECORD_CELL][near].astype(int)).max() > 0.5 * near.sum()


def test_under_another_key_nothing_is_recognised_and_without_one_nothing_is_said(
    hashes: TrainingHashes, training: EventBatch
) -> None:
    assert not (hits(hashes, training, OTHER) > 0).any()
    assert TRAINING_HIT not in TrainingRows(hashes, None).annotate(training).annotations
    assert key_check(KEY) != key_check(OTHER)
    assert not np.intersect1d(hashes.exact, hashed(training, OTHER).exact).size


def test_a_file_of_hashes_holds_neither_rows_nor_key(hashes: TrainingHashes, training: EventBatch) -> None:
    data = hashes.to_bytes()
    again = TrainingHashes.from_bytes(data)
    np.testing.assert_array_equal(again.exact, hashes.exact)
    assert (hits(again, training) == 2.0).all()
    assert KEY not in data
    arrays = again.to_arrays()
    assert set(arrays) == {"exact", "near0", "near1", "near2", "centre", "scale"}
    assert all(arrays[name].dtype == np.uint64 for name in ("exact", "near0", "near1", "near2"))


@pytest.mark.parametrize("data", [b"", b"not hashes", b"vedette training hashes\nx"])
def test_what_is_no_file_of_hashes_is_refused_with_the_next_step(data: bytes) -> None:
    with pytest.raises(ValueError, match="hash-training"):
        TrainingHashes.from_bytes(data)


def test_an_event_without_any_feature_of_a_row_is_not_looked_up(hashes: TrainingHashes) -> None:
    other = replace(rows(3), numeric_names=("y",), numeric=np.ones((3, 1)), mixed={})
    assert np.isnan(hits(hashes, other)).all()


def test_embeddings_make_rows_where_there_are_no_features() -> None:
    rng = np.random.default_rng(4)
    bare = replace(
        rows(500), numeric_names=(), numeric=np.empty((500, 0)), mixed={}, embedding=rng.normal(size=(500, 16))
    )
    found = hashed(bare)
    assert found.code.view == "embedding"
    assert (hits(found, bare) == 2.0).all()
    assert np.isnan(hits(found, replace(bare, embedding=None))).all()
    with pytest.raises(ValueError, match="features or embedding"):
        RowCode.fit(replace(bare, embedding=None))


def test_categories_alone_have_exact_hits_only() -> None:
    batch = replace(rows(100), numeric_names=(), numeric=np.empty((100, 0)))
    found = hashed(batch)
    assert found.near == ()
    assert len(found.exact) == 2
    assert (hits(found, batch) == 2.0).all()


def test_numbers_are_the_same_up_to_six_digits() -> None:
    codes = canonical_numbers(np.array([0.1 + 0.2, 0.3, 1e6, 1000000.4, -0.0, 0.0, 999999.7, 1e300, 5e-324, -1.0, 1.0]))
    assert codes[0] == codes[1]
    assert codes[2] == codes[3] == codes[6]
    assert codes[4] == codes[5] == codes[8]
    assert len({int(c) for c in codes[[0, 2, 4, 7, 9, 10]]}) == 6
    infinite = canonical_numbers(np.array([np.inf, -np.inf]))
    assert infinite[0] != infinite[1]
