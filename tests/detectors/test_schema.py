"""Roles of features, and values in the form that a role asks for."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.batch import EventBatch
from detectors.roles import parse_number
from detectors.schema import (
    Column,
    Role,
    Schema,
    as_categories,
    as_numbers,
    categorical_column,
    category,
    infer_schema,
    numeric_matrix,
)

N = 1_000
START = 1_750_000_000.0
PROSE = "the parcel came late and box was torn but staff were kind thanks for quick help with my order today"


def objects(values: object) -> np.ndarray:
    listed = list(values)  # type: ignore[call-overload]
    out = np.empty(len(listed), dtype=object)
    out[:] = listed
    return out


def batch(numeric: dict[str, np.ndarray] | None = None, mixed: dict[str, np.ndarray] | None = None) -> EventBatch:
    numeric, mixed = numeric or {}, mixed or {}
    n = len(next(iter({**numeric, **mixed}.values())))
    return EventBatch(
        model="m",
        version="",
        event_id=objects(map(str, range(n))),
        timestamp=START + 30.0 * np.arange(n),
        numeric_names=tuple(numeric),
        numeric=np.stack(list(numeric.values()), axis=1) if numeric else np.empty((n, 0)),
        mixed=mixed,
    )


def role_of_numbers(values: np.ndarray, name: str = "x") -> Role:
    return infer_schema(batch({name: np.asarray(values, dtype=np.float64)})).columns[0].role


def role_of_objects(values: object, name: str = "x") -> Role:
    return infer_schema(batch(mixed={name: objects(values)})).columns[0].role


def sentences(rng: np.random.Generator, n: int) -> list[str]:
    return [" ".join(rng.choice(PROSE.split(), size=rng.integers(5, 15))) for _ in range(n)]


Draw = Callable[[np.random.Generator], object]

NUMBERS: list[tuple[str, Draw, Role]] = [
    ("measurement", lambda r: r.normal(size=N), Role.NUMERIC),
    ("rounded_measurement", lambda r: np.round(r.normal(size=N), 1), Role.NUMERIC),
    ("constant", lambda r: np.full(N, 7.0), Role.NUMERIC),
    ("nothing", lambda r: np.full(N, np.nan), Role.NUMERIC),
    ("flag", lambda r: r.integers(0, 2, N), Role.NUMERIC),
    ("rooms", lambda r: r.integers(1, 9, N), Role.NUMERIC),
    ("year", lambda r: r.integers(1990, 2026, N), Role.NUMERIC),
    ("zip_as_number", lambda r: r.choice(r.integers(501, 99_950, 400), N), Role.NUMERIC),
    ("price", lambda r: np.round(r.lognormal(3.0, 1.0, N), 2), Role.NUMERIC),
    ("salary_whole_and_nearly_distinct", lambda r: np.round(r.lognormal(11.0, 0.4, N)), Role.NUMERIC),
    ("bytes_whole_and_distinct", lambda r: np.round(r.lognormal(22.0, 2.0, N)), Role.NUMERIC),
    ("token_count", lambda r: np.round(r.lognormal(7.0, 1.0, N)), Role.NUMERIC),
    ("store_id", lambda r: r.integers(0, 300, N), Role.NUMERIC),
    ("trend_with_noise", lambda r: np.arange(N) / N + r.normal(scale=0.3, size=N), Role.NUMERIC),
    ("counter", lambda r: 10_000 + np.arange(N), Role.IDENTIFIER),
    ("counter_with_gaps", lambda r: np.cumsum(r.integers(1, 2_000, N)), Role.IDENTIFIER),
    ("counter_of_two_workers", lambda r: np.arange(N) * 3 + r.integers(0, 3, N) * 10, Role.IDENTIFIER),
    ("falling_counter", lambda r: -np.arange(N), Role.IDENTIFIER),
    ("uptime", lambda r: np.cumsum(r.exponential(size=N)), Role.IDENTIFIER),
    ("shuffled_keys", lambda r: r.permutation(3 * N)[:N], Role.IDENTIFIER),
    ("random_key", lambda r: r.integers(0, 2**52, N), Role.IDENTIFIER),
    ("customer_id", lambda r: r.integers(0, 5_000, N), Role.IDENTIFIER),
    ("customerID", lambda r: r.integers(0, 5_000, N), Role.IDENTIFIER),
    ("mobile_phone", lambda r: r.integers(2_010_000_000, 9_899_999_999, N), Role.IDENTIFIER),
    ("signup_ts", lambda r: START - r.uniform(0, 3e8, N), Role.DATE),
    ("created_at", lambda r: np.round(1e3 * (START - r.uniform(0, 3e8, N))), Role.DATE),
    ("fetched", lambda r: START + 30.0 * np.arange(N) - r.exponential(600, N), Role.DATE),
    ("today_at", lambda r: np.full(N, START // 86_400 * 86_400), Role.DATE),
    ("released_at", lambda r: r.choice([START - 3e7, START - 6e7], N), Role.NUMERIC),
    ("large_amount", lambda r: r.uniform(1.2e9, 1.6e9, N), Role.NUMERIC),
]

OBJECTS: list[tuple[str, Draw, Role]] = [
    ("boolean", lambda r: (r.random(N) < 0.5).tolist(), Role.BOOLEAN),
    ("boolean_often_missing", lambda r: [None, True, False, None] * 250, Role.BOOLEAN),
    ("always_true", lambda r: [True] * N, Role.BOOLEAN),
    ("yes_no_text", lambda r: r.choice(["yes", "no"], N).tolist(), Role.CATEGORICAL),
    ("never_there", lambda r: [None] * N, Role.CATEGORICAL),
    ("constant", lambda r: ["EUR"] * N, Role.CATEGORICAL),
    ("short_codes", lambda r: r.choice(["A1", "B2", "C3"], N).tolist(), Role.CATEGORICAL),
    ("zip", lambda r: [f"{z:05d}" for z in r.choice(r.integers(501, 99_950, 300), N)], Role.CATEGORICAL),
    ("zipf_of_10_000", lambda r: [f"sku {min(k, 10_000)}" for k in r.zipf(1.3, N)], Role.CATEGORICAL),
    (
        "cities_of_many_words",
        lambda r: r.choice(["New York City", "Rio de Janeiro", "Ho Chi Minh City"], N),
        Role.CATEGORICAL,
    ),
    ("canned_answers", lambda r: r.choice(sentences(r, 30), N).tolist(), Role.CATEGORICAL),
    ("versions", lambda r: [f"{a}.{b}" for a, b in r.integers(0, 4, (N, 2))], Role.CATEGORICAL),
    ("numbers_with_some_text", lambda r: [*r.normal(size=N - 40).tolist(), *["n/a"] * 40], Role.NUMERIC),
    ("decimals_as_text", lambda r: [f"{v:.2f}" for v in r.lognormal(3, 1, N)], Role.NUMERIC),
    ("whole_numbers_as_text_that_repeat", lambda r: [str(v) for v in r.integers(18, 90, N)], Role.CATEGORICAL),
    ("comment", lambda r: sentences(r, N), Role.TEXT),
    ("comment_mostly_missing", lambda r: [*sentences(r, N // 4), *[None] * (3 * N // 4)], Role.TEXT),
    (
        "chinese_comment",
        lambda r: ["".join(r.choice(list("物流很快客服态度好质量不错下次再来"), 15)) for _ in range(N)],
        Role.TEXT,
    ),
    ("uuid", lambda r: [str(uuid.UUID(bytes=r.bytes(16))) for _ in range(N)], Role.IDENTIFIER),
    ("sha256", lambda r: [hashlib.sha256(r.bytes(8)).hexdigest() for _ in range(N)], Role.IDENTIFIER),
    (
        "uuid_of_returning_users",
        lambda r: r.choice([str(uuid.UUID(bytes=r.bytes(16))) for _ in range(N)], N).tolist(),
        Role.IDENTIFIER,
    ),
    ("email", lambda r: [f"u{k}@example.org" for k in r.permutation(N)], Role.IDENTIFIER),
    ("phone_as_text", lambda r: [f"+1 212 555 {k:04d}" for k in r.permutation(N)], Role.IDENTIFIER),
    ("person", lambda r: [f"Ann Lee{k}" for k in range(N)], Role.IDENTIFIER),
    ("user_id", lambda r: [f"u{k}" for k in r.integers(0, N, N)], Role.IDENTIFIER),
    (
        "birth_date",
        lambda r: np.datetime_as_string(np.datetime64("1950-01-01") + r.integers(0, 20_000, N)).tolist(),
        Role.DATE,
    ),
    ("sent_at", lambda r: [f"2025-06-{d:02d}T10:{m:02d}:00+02:00" for d, m in r.integers(1, 29, (N, 2))], Role.DATE),
    ("today", lambda r: ["2025-06-15"] * N, Role.DATE),
    ("price_list_of", lambda r: r.choice(["2021-01-01", "2022-01-01", "2023-07-01"], N).tolist(), Role.CATEGORICAL),
]


@pytest.mark.parametrize(("name", "draw", "role"), NUMBERS, ids=[case[0] for case in NUMBERS])
def test_a_column_of_numbers_has_its_role(name: str, draw: Draw, role: Role) -> None:
    for seed in range(5):
        assert role_of_numbers(np.asarray(draw(np.random.default_rng(seed))), name) is role


@pytest.mark.parametrize(("name", "draw", "role"), OBJECTS, ids=[case[0] for case in OBJECTS])
def test_a_column_of_anything_has_its_role(name: str, draw: Draw, role: Role) -> None:
    for seed in range(3):
        assert role_of_objects(draw(np.random.default_rng(seed)), name) is role


def test_what_is_left_out_is_told_with_the_reason() -> None:
    rng = np.random.default_rng(0)
    columns = {"seq": np.arange(N) * 1.0, "income": rng.normal(size=N)}
    schema = infer_schema(batch(columns, {"trace": objects(str(uuid.uuid4()) for _ in range(N))}))
    assert schema.left_out == {"seq": "counts on from event to event", "trace": "has 100% distinct values"}
    assert Schema.from_json(schema.to_json()) == schema


def test_schemas_of_older_references_are_read() -> None:
    old = {"columns": [["x", "numeric"], ["c", "categorical"], ["id", "identifier"]], "classes": ["no", "yes"]}
    schema = Schema.from_json(old)
    assert schema.names(Role.NUMERIC) == ("x",)
    assert schema.categories == ("c",)
    assert schema.left_out == {"id": "holds identifiers"}
    assert schema.classes == ("no", "yes")


def test_booleans_are_categories_and_dates_are_numbers_to_whoever_reads_values() -> None:
    schema = Schema(
        (
            Column("born", Role.DATE),
            Column("vip", Role.BOOLEAN),
            Column("x", Role.NUMERIC),
            Column("c", Role.CATEGORICAL),
        )
    )
    assert schema.numbers == ("x", "born: age in whole days")
    assert schema.categories == ("vip", "c")


def test_the_age_of_a_date_is_read_by_its_name() -> None:
    day = np.datetime_as_string(np.datetime64(int(START) // 86_400 - 40, "D"))
    read = numeric_matrix(batch(mixed={"born": objects([day, None, "soon"])}), ("born: age in whole days", "born"))
    np.testing.assert_array_equal(read[:, 0], [40.0, np.nan, np.inf])
    np.testing.assert_array_equal(read[:, 1], [np.inf, np.nan, np.inf])
    own = numeric_matrix(batch({"born: age in whole days": np.array([3.0])}), ("x", "born: age in whole days"))
    np.testing.assert_array_equal(own, [[np.nan, 3.0]])


def test_numeric_matrix_takes_columns_by_name_in_the_order_asked() -> None:
    source = batch({"a": np.array([1.0, 2.0]), "b": np.array([3.0, np.nan])}, {"c": objects([True, "4.5"])})
    np.testing.assert_array_equal(numeric_matrix(source, ("b", "a")), [[3.0, 1.0], [np.nan, 2.0]])
    np.testing.assert_array_equal(
        numeric_matrix(source, ("c", "gone", "b")), [[1.0, np.nan, 3.0], [4.5, np.nan, np.nan]]
    )
    assert numeric_matrix(source, ("a", "b")) is source.numeric
    assert numeric_matrix(source, ()).shape == (2, 0)


VALUE = st.one_of(st.none(), st.booleans(), st.floats(), st.integers(-(2**53), 2**53), st.text(max_size=8))


@given(st.lists(VALUE, max_size=30))
def test_categories_of_a_column_are_those_of_its_values(values: list[object]) -> None:
    assert as_categories(objects(values)).tolist() == [category(value) for value in values]


@given(st.lists(st.floats(), max_size=30))
def test_numbers_as_categories_are_those_of_their_values(values: list[float]) -> None:
    column = categorical_column(batch({"x": np.array(values, dtype=np.float64)}), "x") if values else np.empty(0)
    assert column.tolist() == [category(value) for value in values]


@given(st.lists(VALUE, max_size=30))
def test_numbers_of_a_column_are_those_of_its_values(values: list[object]) -> None:
    numbers = as_numbers(objects(values))
    for value, number in zip(values, numbers, strict=True):
        if value is None:
            assert np.isnan(number)
        elif isinstance(value, str):
            np.testing.assert_equal(number, parse_number(value))
        else:
            np.testing.assert_equal(number, float(value))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", "nan", "inf", "-Infinity", "1_000", "1,5", "0x10", "12 kg", "--1", ".", "e5", "1.2.3", "١٢"]
)
def test_text_that_is_no_plain_number_is_invalid(text: str) -> None:
    assert parse_number(text) == np.inf


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_survives_being_written(number: float) -> None:
    assert parse_number(repr(number)) == number


def test_roles_do_not_depend_on_the_order_of_the_rows() -> None:
    rng = np.random.default_rng(1)
    source = batch({"seq": np.arange(N) * 3.0, "x": rng.normal(size=N)}, {"note": objects(sentences(rng, N))})
    assert infer_schema(source.take(rng.permutation(N))) == infer_schema(source)
