"""Vectors of queries: every role that can tell queries apart has its place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from detectors.batch import EventBatch
from detectors.clients.vectors import VectorMap
from detectors.schema import infer_schema

DAY_S = 86_400.0
START = 20_000 * DAY_S


def objects(values: object) -> np.ndarray:
    listed = list(values)  # type: ignore[call-overload]
    out = np.empty(len(listed), dtype=object)
    out[:] = listed
    return out


def queries(n: int) -> EventBatch:
    rng = np.random.default_rng(0)
    at = START + 60.0 * np.arange(n)
    born = (at - DAY_S * rng.integers(7_000, 20_000, n)).astype("datetime64[s]").astype("datetime64[D]")
    return EventBatch(
        model="m",
        version="",
        event_id=objects(map(str, range(n))),
        timestamp=at,
        mixed={
            "born": objects(map(str, born)),
            "sent_at": objects(f"{t}Z" for t in at.astype("datetime64[s]")),
            "vip": objects((rng.random(n) < 0.5).tolist()),
            "trace": objects(f"{k:032x}" for k in rng.permutation(n)),
        },
    )


def test_dates_and_booleans_tell_queries_apart_and_identifiers_do_not() -> None:
    batch = queries(500)
    found = VectorMap.fit("features", batch, infer_schema(batch))
    assert found is not None
    assert found.numeric == ("born: age in whole days", "sent_at: age in whole days")
    assert [levels.name for levels in found.categorical] == ["vip"]
    vectors, present, _ = found.vectors(batch)
    assert present.all()
    assert np.std(vectors[:, 0]) > 0.5


def test_the_same_query_sent_again_within_the_hour_has_the_same_vector() -> None:
    batch = queries(500)
    found = VectorMap.fit("features", batch, infer_schema(batch))
    assert found is not None
    first = batch.take(np.arange(60))
    at = first.timestamp + 3_600.0
    again = replace(
        first,
        timestamp=at,
        mixed={**first.mixed, "sent_at": objects(f"{t}Z" for t in at.astype("datetime64[s]"))},
    )
    assert np.array_equal(found.vectors(first)[0], found.vectors(again)[0])
