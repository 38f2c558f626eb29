"""The per-event scorer: honest p-values, and strangers seen whatever is logged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

from detectors.arrays import pack_arrays, unpack_arrays
from detectors.base import Part, Unfit
from detectors.batch import EventBatch
from detectors.ood.scorer import Basis, OodScorer
from detectors.schema import Column, Role, Schema, infer_schema


def events(n: int, **columns) -> EventBatch:
    ids = np.array([f"e{i}" for i in range(n)], dtype=object)
    return EventBatch("m", "1", ids, np.arange(n, dtype=np.float64), **columns)


def numbers(values: np.ndarray, **columns) -> EventBatch:
    values = np.asarray(values, dtype=np.float64)
    names = tuple(f"f{i}" for i in range(values.shape[1]))
    return events(len(values), numeric_names=names, numeric=values, **columns)


def objects(values) -> np.ndarray:
    out = np.empty(len(values), dtype=object)
    out[:] = list(values)
    return out


def fitted(reference: EventBatch, seed: int = 0) -> OodScorer:
    part = OodScorer.fit(reference, infer_schema(reference), seed)
    assert isinstance(part, Part), part
    return OodScorer.build(part)


def area(scorer: OodScorer, normal: EventBatch, strange: EventBatch) -> float:
    truth = np.r_[np.zeros(len(normal)), np.ones(len(strange))]
    return float(roc_auc_score(truth, np.r_[scorer.score(normal).score, scorer.score(strange).score]))


@pytest.fixture(scope="module")
def digits() -> tuple[OodScorer, np.ndarray]:
    pixels = load_digits().data[np.random.default_rng(1).permutation(1_797)]
    return fitted(numbers(pixels[:1_200])), pixels[1_200:]


def dated(n: int, seed: int, days: float, old: float = 0.0) -> EventBatch:
    """A year-spread date, a boolean and a number; ``days`` shifts all time, ``old`` ages the dates alone."""
    rng = np.random.default_rng(seed)
    at = 1.75e9 + 86_400 * days + 60.0 * np.arange(n)
    born = np.datetime_as_string((at - 86_400 * (old + rng.uniform(0, 365, n))).astype("datetime64[s]"))
    columns = {"born": objects(born.tolist()), "vip": objects((rng.random(n) < 0.97).tolist())}
    return replace(numbers(rng.normal(size=(n, 1)), mixed=columns), timestamp=at)


def test_dates_count_by_their_age_and_booleans_as_categories() -> None:
    scorer = fitted(dated(1_500, seed=0, days=0))
    ordinary = dated(300, seed=1, days=0)
    assert area(scorer, ordinary, dated(300, seed=2, days=700)) == pytest.approx(0.5, abs=0.06), "time only moved on"
    assert area(scorer, ordinary, dated(300, seed=3, days=0, old=3_000)) > 0.95
    turned = replace(ordinary, mixed={**ordinary.mixed, "vip": objects([False] * 300)})
    assert area(scorer, ordinary, turned) > 0.75


def mixed(n: int, rng: np.random.Generator) -> EventBatch:
    kind = rng.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1])
    values = np.stack(
        [rng.lognormal(size=n), rng.integers(0, 24, n).astype(float), (kind == "a") + rng.normal(size=n)], 1
    )
    values[rng.random(n) < 0.1, 2] = np.nan
    return numbers(values, mixed={"kind": objects(kind.tolist())})


@pytest.mark.slow
@pytest.mark.parametrize(("n", "width"), [(120, 3), (300, 20), (3_000, 6)])
def test_p_values_of_events_like_the_reference_are_uniform(n, width):
    """Shares of p at or under alpha, pooled over references, stay near alpha."""
    pooled = []
    for seed in range(12 if n < 1_000 else 4):
        rng = np.random.default_rng(seed)
        mixing = rng.normal(size=(width, width))
        pooled.append(
            fitted(numbers(rng.standard_t(5, (n, width)) @ mixing), seed)
            .score(numbers(rng.standard_t(5, (1_000, width)) @ mixing))
            .p_value
        )
    p_value = np.concatenate(pooled)
    assert np.all((p_value > 0) & (p_value <= 1))
    for alpha, slack in ((0.01, 0.006), (0.05, 0.02), (0.25, 0.05), (0.5, 0.06), (0.75, 0.06)):
        assert abs(np.mean(p_value <= alpha) - alpha) < slack, alpha


@pytest.mark.slow
def test_inverted_blurred_and_noisy_images_are_strange(digits):
    scorer, rest = digits
    images = rest.reshape(-1, 8, 8)
    blurred = sum(np.roll(images, shift, axis) for axis in (1, 2) for shift in (-1, 1)) / 8 + images / 2
    noise = np.random.default_rng(0).uniform(0, 16, rest.shape)
    for strange, least in ((16 - rest, 0.999), (blurred.reshape(-1, 64), 0.95), (noise, 0.999)):
        assert area(scorer, numbers(rest), numbers(strange)) > least
    assert np.mean(scorer.score(numbers(16 - rest)).p_value <= 0.002) > 0.95


@pytest.mark.slow
def test_a_held_out_digit_is_stranger_than_to_an_isolation_forest():
    data = load_digits()
    known, new = data.data[data.target != 8], data.data[data.target == 8]
    known = known[np.random.default_rng(0).permutation(len(known))]
    forest = IsolationForest(random_state=0).fit(known[:1_000])
    truth = np.r_[np.zeros(len(known) - 1_000), np.ones(len(new))]
    theirs = roc_auc_score(truth, -forest.score_samples(np.r_[known[1_000:], new]))
    ours = area(fitted(numbers(known[:1_000])), numbers(known[1_000:]), numbers(new))
    assert ours > max(0.9, theirs)


@pytest.mark.slow
def test_impossible_values_unseen_categories_and_missing_fields_are_strange():
    rng = np.random.default_rng(3)
    scorer = fitted(mixed(1_500, rng))
    normal = mixed(400, rng)
    for column, value in ((0, -1.0), (1, 99.0), (1, -3.0), (0, np.inf), (1, np.nan)):
        strange = mixed(400, rng)
        strange.numeric[:, column] = value
        assert np.median(scorer.score(strange).p_value) < 0.02, (column, value)
        assert area(scorer, normal, strange) > 0.95, (column, value)
    unseen = mixed(400, rng)
    unseen.mixed["kind"][:] = "zebra"
    assert area(scorer, normal, unseen) > 0.95


def test_a_constant_column_that_moves_counts():
    rng = np.random.default_rng(0)
    values = np.c_[rng.normal(size=(800, 4)), np.full(800, 3.0)]
    scorer = fitted(numbers(values[:500]))
    moved = values[500:].copy()
    moved[:, 4] = 3.5
    assert area(scorer, numbers(values[500:]), numbers(moved)) > 0.99
    assert np.isfinite(scorer.score(numbers(moved)).score).all()


def test_scores_stay_ordered_beyond_the_range_of_the_reference():
    rng = np.random.default_rng(0)
    scorer = fitted(numbers(rng.normal(size=(500, 3))))
    far = np.zeros((40, 3))
    far[:, 0] = np.linspace(6, 500, 40)
    result = scorer.score(numbers(far))
    assert np.all(np.diff(result.score) > 0)
    assert np.all(result.p_value <= 1 / 501 + 1e-9)


def vectors(kind: str, rng: np.random.Generator, n: int, shift: float = 0.0) -> EventBatch:
    centres = np.eye(6) * 6
    values = centres[rng.integers(6, size=n)] + rng.normal(size=(n, 6))
    values = values * (1 - shift) + shift * rng.normal(size=(n, 6)) * 2
    if kind == "probabilities":
        values = np.exp(values) / np.exp(values).sum(axis=1, keepdims=True)
    return events(n, **{kind: values})


@pytest.mark.parametrize("kind", ["embedding", "logits", "probabilities"])
def test_vectors_alone_suffice(kind):
    rng = np.random.default_rng(5)
    scorer = fitted(vectors(kind, rng, 1_000))
    normal, strange = vectors(kind, rng, 1_000), vectors(kind, rng, 300, shift=1.0)
    assert area(scorer, normal, strange) > 0.9
    assert 0.002 < np.mean(scorer.score(normal).p_value <= 0.01) < 0.022


def everything(n: int, rng: np.random.Generator) -> EventBatch:
    return numbers(rng.normal(size=(n, 4)), embedding=rng.normal(size=(n, 8)), logits=rng.normal(size=(n, 3)))


@pytest.mark.slow
def test_missing_inputs_adapt_the_calibration_and_say_so():
    rng = np.random.default_rng(2)
    scorer = fitted(everything(1_200, rng))
    batch = everything(2_000, rng)
    batch.embedding[:1_000] = np.nan
    batch.numeric[500:600] = np.nan
    batch.logits[500:600] = np.nan
    result = scorer.score(batch)
    assert set(result.basis[:500]) == {Basis.SOME}
    assert set(result.basis[500:600]) == {Basis.NOTHING}
    assert np.isnan(result.p_value[500:600]).all()
    assert set(result.basis[1_000:]) == {Basis.ALL}
    for part in (result.p_value[600:1_000], result.p_value[1_000:]):
        assert abs(np.mean(part <= 0.05) - 0.05) < 0.035
    assert np.isnan(result.components["embedding.near"][:1_000]).all()


def test_inputs_never_logged_together_get_a_cautious_p_value():
    rng = np.random.default_rng(2)
    reference = everything(600, rng)
    reference.embedding[:300] = np.nan
    reference.numeric[300:] = np.nan
    result = fitted(reference).score(everything(1_000, rng))
    assert set(result.basis) == {Basis.BOUND}
    assert np.mean(result.p_value <= 0.05) <= 0.05


def test_ragged_vectors_and_wild_values_never_break_the_scorer():
    rng = np.random.default_rng(0)
    scorer = fitted(everything(400, rng))
    batch = everything(6, rng)
    batch = EventBatch(
        "m",
        "1",
        batch.event_id,
        batch.timestamp,
        numeric_names=batch.numeric_names,
        numeric=np.array([[np.inf] * 4, [-np.inf, 1e308, -1e308, 0], [np.nan] * 4, [1e30] * 4, [0] * 4, [1] * 4]),
        embedding=np.c_[batch.embedding, [5.0, np.nan, np.nan, np.nan, np.nan, np.nan]],
        logits=np.array([[1e308, -1e308, 0], [np.inf, 0, 0], [np.nan, 0, 0], [0, 0, 0], [1, 2, 3], [1e5, 0, 0]]),
    )
    with np.errstate(all="raise", under="ignore"):
        result = scorer.score(batch)
    assert np.isfinite(result.score).all()
    assert np.isnan(result.components["embedding.near"][0]), "a vector of another width is not compared"
    assert result.p_value[3] < 0.01


def test_unknown_columns_and_empty_batches_are_scored_as_nothing():
    rng = np.random.default_rng(0)
    scorer = fitted(numbers(rng.normal(size=(200, 3))))
    other = events(5, numeric_names=("other",), numeric=np.ones((5, 1)))
    assert set(scorer.score(other).basis) == {Basis.NOTHING}
    assert scorer.score(numbers(np.empty((0, 3)))).score.shape == (0,)


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [[1] * 30, [7, 600, 1, 392], [1_000]])
def test_cutting_a_stream_does_not_change_scores(digits, sizes):
    scorer, rest = digits
    rows = np.resize(rest, (sum(sizes), 64)) + np.arange(sum(sizes))[:, None] * 1e-3
    whole = scorer.score(numbers(rows)).score
    cuts = np.split(rows, np.cumsum(sizes)[:-1])
    assert np.array_equal(np.concatenate([scorer.score(numbers(cut)).score for cut in cuts]), whole)


def test_a_scorer_survives_storage():
    rng = np.random.default_rng(7)
    reference = mixed(300, rng)
    part = OodScorer.fit(reference, infer_schema(reference), 0)
    stored = Part(unpack_arrays(pack_arrays(part.arrays)), part.facts)
    batch = mixed(100, rng)
    assert np.array_equal(OodScorer.build(stored).score(batch).score, OodScorer.build(part).score(batch).score)


def test_equal_seeds_give_equal_parts():
    reference = mixed(200, np.random.default_rng(7))
    first, second = (OodScorer.fit(reference, infer_schema(reference), 5) for _ in range(2))
    assert pack_arrays(first.arrays) == pack_arrays(second.arrays)
    assert first.facts == second.facts


@pytest.mark.slow
def test_a_part_keeps_at_most_two_thousand_rows():
    part = OodScorer.fit(
        numbers(np.random.default_rng(0).normal(size=(6_000, 8))),
        Schema(tuple(Column(f"f{i}", Role.NUMERIC) for i in range(8))),
        0,
    )
    assert part.arrays["features/neighbours.rows"].shape == (2_000, 9)
    assert sum(array.nbytes for array in part.arrays.values()) < 1_000_000


@pytest.mark.slow
def test_repeated_reference_rows_do_not_make_new_events_strange():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 5))
    scorer = fitted(numbers(np.repeat(rows, 4, axis=0)))
    assert np.mean(scorer.score(numbers(rng.normal(size=(2_000, 5)))).p_value <= 0.05) < 0.09


@pytest.mark.slow
def test_events_that_are_few_of_a_kind_stay_ordinary():
    """Rows of low cardinality coincide by chance, in the reference and live: they are no copies."""
    shares = []
    for seed in range(6):
        values = np.random.default_rng(seed).integers(0, 4, size=(3_000, 3)).astype(float)
        p_value = fitted(numbers(values[:1_500])).score(numbers(values[1_500:])).p_value
        shares.append(np.mean(p_value <= 0.05))
    assert np.mean(shares) < 0.07


def test_without_inputs_the_reference_is_unfit():
    batch = events(100, prediction=objects(["cat"] * 100))
    unfit = OodScorer.fit(batch, infer_schema(batch), 0)
    assert isinstance(unfit, Unfit)
    assert "log at least one" in unfit.reason
