"""Rings recognise repeats, do not care how a stream was cut, and stay within their bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from detectors.batch import concatenate
from detectors.clients.labels import common_labels, positions, predicted
from detectors.clients.mirrors import MIRRORS
from detectors.clients.rings import (
    APART,
    APART_SHARE,
    CAPACITY,
    EXACT_REPEAT,
    NEAREST_RECENT,
    PROJECTED,
    RECENT_FROM,
    ClientRings,
    Code,
    compare,
    fit_rings,
)
from detectors.clients.space import MIN_CLASS_ROWS
from detectors.clients.stamps import STAMPED, WATCHED
from detectors.clients.vectors import view_maps
from detectors.clients.walks import NOTE, WALK
from detectors.schema import infer_schema

BYTES = 2 * PROJECTED + 2 * WATCHED + NOTE.itemsize


@pytest.fixture(scope="module")
def rings(kit) -> Callable[..., ClientRings]:
    """Empty rings, as detectors fit them on forty honest clients."""
    batch = kit("crowd")(1, 40, 200, "ref")
    labels = common_labels(batch, MIN_CLASS_ROWS)
    view = view_maps(batch, infer_schema(batch))[-1]
    code, _ = fit_rings(batch, view, positions(predicted(batch), labels), labels, 3)
    return lambda capacity=CAPACITY, max_clients=10_000: ClientRings(code, capacity, max_clients)


def test_annotations_do_not_depend_on_how_the_stream_was_cut(kit, rings):
    batch = kit("crowd")(3, 12, 10)
    whole = rings().annotate(batch)
    cuts = np.sort(np.random.default_rng(0).choice(len(batch), 60, replace=False))
    memory = rings()
    parts = [memory.annotate(batch.take(piece)) for piece in np.split(np.arange(len(batch)), cuts)]
    for name in (NEAREST_RECENT, EXACT_REPEAT, APART, STAMPED, *WALK, *MIRRORS):
        cut = np.concatenate([part.annotations[name] for part in parts])
        np.testing.assert_array_equal(cut, whole.annotations[name])


def test_exact_repeats_are_marked(kit, rings):
    rng = np.random.default_rng(1)
    rows = kit("honest_rows")(rng, 3)[np.arange(60) % 3]
    batch = rings().annotate(kit("events")([rows], ["check"], rng, 1))
    assert batch.annotations[EXACT_REPEAT].tolist() == [0.0] * 3 + [1.0] * 57


def test_near_repeats_get_a_near_code(kit, rings):
    rng = np.random.default_rng(2)
    rows = kit("honest_rows")(rng, 20)
    batch = kit("events")([np.concatenate([rows, rows + 0.15])], ["walker"], rng, 1)
    order = np.argsort(batch.timestamp)
    codes = rings().annotate(batch.take(order)).annotations[NEAREST_RECENT]
    assert np.median(codes[20:]) <= Code.NEAR
    assert np.median(codes[:20]) == Code.NEW


def test_clients_do_not_see_each_other(kit, rings):
    rng = np.random.default_rng(3)
    rows = kit("honest_rows")(rng, 30)
    batch = kit("events")([rows, rows], ["a", "b"], rng, 1)
    codes = rings().annotate(batch).annotations[EXACT_REPEAT]
    assert codes.sum() == 0


def test_a_repeat_older_than_the_ring_is_new_again(kit, rings):
    rng = np.random.default_rng(4)
    rows = np.concatenate([kit("honest_rows")(rng, 41)] * 2)
    for capacity, expected in ((40, 0), (41, 41)):
        memory = rings(capacity=capacity)
        batch = memory.annotate(kit("events")([rows], ["a"], np.random.default_rng(0), 1))
        assert batch.annotations[EXACT_REPEAT].sum() == expected


def test_memory_is_bounded_and_the_idlest_client_goes_first(kit, rings):
    rng = np.random.default_rng(5)
    memory = rings(capacity=16, max_clients=50)
    for i in range(40):
        rows = [kit("honest_rows")(rng, 5) for _ in range(10)]
        memory.annotate(kit("events")(rows, [f"c{i}-{j}" for j in range(10)], rng, 1))
        assert len(memory) <= 50
        assert memory.nbytes <= 50 * 16 * BYTES
    memory.annotate(kit("events")([kit("honest_rows")(rng, 60)], ["c39-0"], rng, 1))
    assert memory.nbytes <= 50 * 16 * BYTES


def test_a_hot_client_takes_under_ten_kilobytes(kit, rings):
    rng = np.random.default_rng(6)
    memory = rings()
    memory.annotate(kit("events")([kit("honest_rows")(rng, 2_000)], ["hot"], rng, 1))
    assert 0 < memory.nbytes <= 10_000


def test_nothing_is_said_where_nothing_can_be_said(kit, rings):
    batch = kit("crowd")(7, 4, 2)
    memory = rings()
    assert np.isnan(memory.annotate(replace(batch, client_id=None)).annotations[NEAREST_RECENT]).all()
    blind = kit("without")(batch, "numeric")
    assert np.isnan(memory.annotate(blind).annotations[NEAREST_RECENT]).all()
    empty = batch.take(np.arange(0))
    assert len(memory.annotate(empty).annotations[NEAREST_RECENT]) == 0


@pytest.mark.parametrize("held", [0, 3, 20])
def test_nearest_agrees_with_a_plain_loop(held):
    rng = np.random.default_rng(8)
    ring, new = (rng.normal(size=(k, PROJECTED)).astype(np.float16) for k in (held, 30))
    everything = np.concatenate([ring, new]).astype(np.float64)
    expected = []
    for i in range(30):
        before = everything[max(0, held + i - 20) : held + i]
        gaps = np.linalg.norm(before - everything[held + i], axis=1)
        expected.append(gaps.min() if len(gaps) else np.inf)
    np.testing.assert_allclose(compare(ring, new, 20)[0], expected, rtol=1e-3)


def test_annotating_leaves_the_batch_as_it_was(kit, rings):
    batch = kit("crowd")(9, 3, 2)
    before = batch.numeric.copy()
    annotated = rings().annotate(batch)
    assert annotated is not batch
    assert dict(batch.annotations) == {}
    np.testing.assert_array_equal(batch.numeric, before)
    assert len(concatenate([batch])) == len(annotated)


def test_a_quarter_of_honest_queries_comes_near_a_recent_one_however_many_there_are(kit, rings):
    annotations = rings().annotate(kit("crowd")(11, 60, 10)).annotations
    apart = annotations[APART]
    assert np.nanmean(apart) == pytest.approx(APART_SHARE, abs=0.05)
    assert np.isnan(apart[annotations[EXACT_REPEAT] == 1.0]).all()


def test_nothing_is_said_of_distance_before_there_is_a_past(kit, rings):
    rng = np.random.default_rng(12)
    few, many = RECENT_FROM[0], 300
    batch = rings().annotate(kit("events")([kit("honest_rows")(rng, many)], ["a"], rng, 1))
    apart = batch.annotations[APART]
    assert np.isnan(apart[:few]).all()
    assert not np.isnan(apart[few:]).any()
    early, late = apart[few:64], apart[-150:]
    assert abs(np.mean(early) - np.mean(late)) < 0.25


def test_queries_that_avoid_the_clients_own_keep_apart_and_repeats_do_not(kit, rings):
    rng = np.random.default_rng(13)
    pool = kit("honest_rows")(rng, 600)
    chosen, gap = [0], np.full(len(pool), np.inf)
    while len(chosen) < 150:
        gap = np.minimum(gap, ((pool - pool[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int(gap.argmax()))
    far = rings().annotate(kit("events")([pool[chosen]], ["a"], rng, 1)).annotations[APART]
    walk = np.concatenate([pool[:20] + 0.05 * i for i in range(10)])
    near = rings().annotate(kit("events")([walk], ["a"], rng, 1)).annotations[APART]
    assert np.nanmean(far) > 0.93
    assert np.nanmean(near[20:]) < 0.3


def test_what_is_told_of_vectors_is_what_is_told_of_the_events(kit):
    batch = kit("crowd")(1, 40, 200, "ref")
    labels = common_labels(batch, MIN_CLASS_ROWS)
    view = view_maps(batch, infer_schema(batch))[-1]
    label = positions(predicted(batch), labels)
    code, nearness = fit_rings(batch, view, label, labels, 3)
    own = np.flatnonzero(batch.client_id == "ref-3")
    vectors, _, _ = view.vectors(batch.take(own))
    told = code.nearness_of(vectors, label[own])
    np.testing.assert_array_equal(told.codes, nearness.codes[own])
    np.testing.assert_array_equal(told.apart, nearness.apart[own])
