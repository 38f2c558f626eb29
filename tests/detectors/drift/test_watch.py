"""The watch: which columns it keeps, and that its codes are the same live, cut, stored or counted."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from detectors.arrays import pack_arrays, unpack_arrays
from detectors.batch import EventBatch, concatenate
from detectors.drift.columns import INVALID, MISSING, N_BINS, UNSEEN, Group
from detectors.drift.digitise import count_slices
from detectors.drift.watch import Watch
from detectors.schema import Schema, infer_schema

DAY_S = 86_400.0
START = 20_000 * DAY_S
WORDS = [f"{a}{b}{c}" for a in "abcdefgh" for b in "aeiou" for c in "lmnprst"]
EASY, HARD = slice(0, 200), slice(100, 280)


def objects(values: object) -> np.ndarray:
    listed = list(values)  # type: ignore[call-overload]
    out = np.empty(len(listed), dtype=object)
    out[:] = listed
    return out


def day(seconds: float) -> str:
    return str(np.datetime64(int(seconds // DAY_S), "D"))


def events(n: int, seed: int, start: float = START, words: slice = EASY) -> EventBatch:
    """Columns of every role from ``start`` on; texts use the ``words`` of the language."""
    rng = np.random.default_rng(seed)
    timestamp = start + 60.0 * np.arange(n)
    probabilities = rng.dirichlet([4, 2, 1], size=n)
    return EventBatch(
        model="m",
        version="",
        event_id=objects(map(str, range(n))),
        timestamp=timestamp,
        numeric_names=("age", "seq", "opened_at"),
        numeric=np.stack(
            [rng.normal(40, 9, n), start / 1e3 + np.arange(n), timestamp - rng.exponential(3e7, n)], axis=1
        ),
        mixed={
            "born": objects(day(t - d * DAY_S) for t, d in zip(timestamp, rng.integers(7_000, 30_000, n), strict=True)),
            "asked": objects(day(t) for t in timestamp),
            "vip": objects(rng.choice([True, False, None], size=n).tolist()),
            "plan": objects(rng.choice(["free", "pro", "team"], size=n).tolist()),
            "note": objects(" ".join(rng.choice(WORDS[words], size=rng.integers(4, 12))) for _ in range(n)),
            "entropy": objects(rng.choice(["low", "high"], size=n).tolist()),
        },
        probabilities=probabilities,
        classes=("a", "b", "c"),
        prediction=objects(np.array(["a", "b", "c"])[probabilities.argmax(axis=1)].tolist()),
    )


@pytest.fixture(scope="module")
def reference() -> EventBatch:
    return events(3_000, seed=0)


@pytest.fixture(scope="module")
def schema(reference: EventBatch) -> Schema:
    return infer_schema(reference)


@pytest.fixture(scope="module")
def watch(reference: EventBatch, schema: Schema) -> Watch:
    return Watch.fit(reference, schema)


def shares(watch: Watch, batch: EventBatch) -> dict[tuple[Group, str], np.ndarray]:
    (counts,) = watch.count(batch, np.array([0]))
    return {column.key: count / len(batch) for column, count in zip(watch.columns, counts, strict=True)}


def test_every_column_is_watched_in_the_form_that_can_be_compared(watch: Watch, schema: Schema) -> None:
    named = {group: {c.name for c in watch.columns if c.group is group} for group in Group}
    assert named[Group.FEATURE] == {
        "age",
        "opened_at: age in days",
        "opened_at: weekday",
        "born: age in days",
        "born: weekday",
        "asked: age in days",
        "vip",
        "plan",
        "entropy",
        "note: characters",
        "note: words",
        "note: non-letter share",
        "note: out-of-vocabulary share",
    }
    assert named[Group.OUTPUT] == {
        "prediction",
        "max probability",
        "entropy",
        "margin",
        "probability of a",
        "probability of b",
        "probability of c",
    }
    assert schema.left_out == {"seq": "counts on from event to event"}


def test_nothing_moves_as_time_passes(watch: Watch, reference: EventBatch) -> None:
    """A year later dates, counters and weekdays have all moved on, and no watched column has."""
    later = shares(watch, events(3_000, seed=1, start=START + 365 * DAY_S))
    codes = watch.codes_of_reference(reference)
    for i, column in enumerate(watch.columns):
        before = np.bincount(codes[:, i], minlength=N_BINS) / len(reference)
        assert np.abs(later[column.key] - before).sum() < 0.2, column.name


def test_missing_invalid_and_unseen_have_slots_of_their_own(watch: Watch) -> None:
    n = 40
    strange = replace(
        events(n, seed=2),
        numeric_names=("age",),
        numeric=np.full((n, 1), np.inf),
        mixed={
            "born": objects(["not a date"] * n),
            "vip": objects(["maybe"] * n),
            "note": objects([False] * n),
            "plan": objects([None] * n),
            "new": objects(["x"] * n),
        },
        probabilities=None,
        prediction=objects([None] * n),
    )
    found = shares(watch, strange)
    feature = Group.FEATURE
    for name in ("age", "born: age in days", "born: weekday", "note: words", "note: out-of-vocabulary share"):
        assert found[feature, name][INVALID] == 1.0, name
    assert found[feature, "vip"][UNSEEN] == 1.0
    for key in (
        (feature, "plan"),
        (feature, "opened_at: weekday"),
        (Group.OUTPUT, "margin"),
        (Group.OUTPUT, "prediction"),
    ):
        assert found[key][MISSING] == 1.0, key


def test_a_feature_may_have_the_name_of_an_output(watch: Watch) -> None:
    found = shares(watch, events(500, seed=3))
    assert found[Group.FEATURE, "entropy"][:2].sum() == 1.0
    assert np.count_nonzero(found[Group.OUTPUT, "entropy"]) > 10


def test_new_words_move_the_share_out_of_the_vocabulary(watch: Watch, reference: EventBatch) -> None:
    key = (Group.FEATURE, "note: out-of-vocabulary share")
    at = [column.key for column in watch.columns].index(key)
    told = np.bincount(watch.codes_of_reference(reference)[:, at], minlength=N_BINS) / len(reference)
    same, other = (shares(watch, events(1_000, seed=4, words=words))[key] for words in (EASY, HARD))
    assert np.abs(same - told).sum() < 0.05
    assert np.abs(other - told).sum() > 1.0


def test_codes_do_not_depend_on_the_cut_or_on_the_company(watch: Watch) -> None:
    batch = events(900, seed=5)
    whole = watch.codes(batch)
    parts = [watch.codes(batch.take(np.arange(a, b))) for a, b in ((0, 1), (1, 450), (450, 900))]
    assert np.array_equal(np.concatenate(parts), whole)
    odd = replace(events(20, seed=6), mixed={"age": objects(["old"] * 20), "plan": objects([1.0, True] * 10)})
    odd = replace(odd, numeric_names=("opened_at",), numeric=odd.numeric[:, 2:])
    together = watch.codes(concatenate([batch, odd]))
    assert np.array_equal(together, np.concatenate([whole, watch.codes(odd)]))


def test_counts_are_those_of_the_codes(watch: Watch) -> None:
    batch = events(600, seed=7)
    starts, mask = np.array([0, 10, 300]), np.arange(600) % 3 > 0
    counts = watch.count(batch, starts, mask)
    for count, again in zip(counts, count_slices(watch.codes(batch), starts, mask), strict=True):
        assert np.array_equal(count, again)
    assert sum(counts).sum() == 400 * len(watch.columns)


def test_a_stored_watch_gives_the_same_codes(watch: Watch, schema: Schema) -> None:
    arrays = unpack_arrays(pack_arrays(watch.to_arrays()))
    facts = json.loads(json.dumps(watch.to_facts(), allow_nan=False))
    again = Watch.load(arrays, facts, Schema.from_json(schema.to_json()))
    assert [column.key for column in again.columns] == [column.key for column in watch.columns]
    batch = events(500, seed=8, words=HARD)
    assert np.array_equal(again.codes(batch), watch.codes(batch))


def test_the_reference_holds_no_text_of_anyone(watch: Watch, reference: EventBatch) -> None:
    stored = json.dumps(watch.to_facts()).encode() + pack_arrays(watch.to_arrays())
    arrays = watch.to_arrays()
    assert arrays["vocabulary.feature.note"].dtype == np.uint64
    assert all(array.dtype.kind in "fu" for array in arrays.values())
    assert not any(note.encode() in stored for note in reference.mixed["note"])


def test_watches_of_older_references_are_read() -> None:
    """Before dates and texts had roles: two columns, no vocabulary, no group for what is derived."""
    facts = [
        {"name": "age", "group": "feature", "edges": [20.0, 40.0, 60.0], "values": []},
        {"name": "vip", "group": "feature", "heavy": ["true", "false"], "rare": []},
        {"name": "max probability", "group": "output", "edges": [0.5, 0.9], "values": []},
    ]
    schema = Schema.from_json({"columns": [["age", "numeric"], ["vip", "categorical"]], "classes": ["a", "b", "c"]})
    old = Watch.load({}, facts, schema)
    codes = old.codes(events(200, seed=9))
    assert codes.shape == (200, 3)
    assert set(np.unique(codes[:, 1])) == {0, 1, MISSING}


def test_free_text_predictions_are_measured_as_text(reference: EventBatch) -> None:
    told = replace(reference, prediction=reference.mixed["note"])
    watch = Watch.fit(told, infer_schema(told))
    names = [column.name for column in watch.columns if column.group is Group.OUTPUT]
    assert "prediction" not in names
    assert "prediction: words" in names
    fresh = events(500, seed=10, words=HARD)
    found = shares(watch, replace(fresh, prediction=fresh.mixed["note"]))
    assert found[Group.OUTPUT, "prediction: out-of-vocabulary share"][1] < 0.3


@pytest.mark.parametrize(
    ("prediction", "numeric"),
    [
        (np.random.default_rng(0).normal(size=300).tolist(), True),
        ([0.0, 1.0, 2.0] * 100, False),
        (["1.5", "2.5", "3.5"] * 100, False),
        ([None, *np.random.default_rng(0).normal(size=299).tolist()], True),
    ],
)
def test_predictions_are_numbers_where_they_vary_and_classes_where_they_repeat(prediction: list, numeric: bool) -> None:
    batch = EventBatch("m", "", objects("x" * 300), np.arange(300.0), prediction=objects(prediction))
    watch = Watch.fit(batch, infer_schema(batch))
    assert [(c.name, c.role.value) for c in watch.columns] == [("prediction", "numeric" if numeric else "categorical")]
    assert (watch.codes(batch)[:, 0] == MISSING).sum() == prediction.count(None)
    assert not np.isin(watch.codes(batch)[:, 0], [UNSEEN, INVALID]).any()


def test_nothing_logged_is_nothing_watched() -> None:
    batch = EventBatch("m", "", objects("x" * 60), np.arange(60.0))
    watch = Watch.fit(batch, infer_schema(batch))
    assert watch.columns == ()
    assert watch.codes(batch).shape == (60, 0)
    assert watch.count(batch, np.array([0, 30]))[1].shape == (0, N_BINS)
