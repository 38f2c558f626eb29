"""Membership probing is found by client; honest clients that know some training rows are not accused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.base import MODEL, Kind, Level, Pane, Unfit
from detectors.batch import EventBatch
from detectors.privacy.detector import PrivacyDetector
from detectors.privacy.hashes import TRAINING_HIT
from detectors.privacy.hits import HITS, Seen, plain_rows
from detectors.schema import infer_schema
from tests.detectors.privacy.worlds import DAY_S, PANE_S, client, fitted, honest, joined, play, probe, walk

START = 4 * DAY_S + 36_000.0


@pytest.fixture(scope="module")
def detector() -> PrivacyDetector:
    return fitted(honest(80, 0, 0, 3))


@pytest.fixture(scope="module")
def ordinary() -> EventBatch:
    return honest(80, 0, 4, 2, newcomer=True)


def test_a_probe_for_members_is_named_within_fifty_queries(detector: PrivacyDetector, ordinary: EventBatch) -> None:
    alarms = play(detector, joined([ordinary, probe("thief", START, 100, 0.6)]))
    assert set(alarms) == {"thief"}
    raised, reading = alarms["thief"][0]
    assert (raised - START) / 60.0 <= 50
    assert (reading.kind, reading.subject.id) == (Kind.PRIVACY, "thief")
    assert "rows that the model was trained on" in reading.reason
    assert reading.detail["techniques"][0]["id"] == "AML.T0024.000"
    assert [t["id"] for t in reading.detail["techniques"]][1:] == ["ML04:2023", "NISTAML.033"]
    assert "scores known records again" in reading.detail["benign_explanations"][0]


def test_a_walk_around_one_record_is_named_as_such(detector: PrivacyDetector, ordinary: EventBatch) -> None:
    alarms = play(detector, joined([ordinary, walk("walker", START, 100, 0.7)]))
    assert set(alarms) == {"walker"}
    assert "around a single record" in alarms["walker"][-1][1].reason


def test_health_check_rescorer_and_newcomer_are_honest(detector: PrivacyDetector, ordinary: EventBatch) -> None:
    assert ordinary.client_id is not None
    assert {"health", "rescorer", "big"} <= set(ordinary.client_id.tolist())
    assert play(detector, ordinary) == {}


def test_one_training_row_sent_all_day_is_one_hit(detector: PrivacyDetector, ordinary: EventBatch) -> None:
    times = START + 60.0 * np.arange(300)
    canned = client("canned", times, np.full(300, 2.0), np.full(300, 11.0))
    assert play(detector, joined([ordinary, canned])) == {}


def test_cells_are_forgotten_when_half_are_full() -> None:
    batch = client("c", np.arange(4_000.0), np.full(4_000, 2.0))
    row = plain_rows(batch).sum(axis=0)
    seen = Seen.load(None).after(4_000, row[HITS])
    assert seen.counts[0].tolist() == [256.0, 256.0]
    assert not seen.cells[0].any()
    few = Seen.load(None).after(10, plain_rows(batch.take(np.arange(10))).sum(axis=0)[HITS])
    again = Seen.load(few.to_arrays()).after(10, plain_rows(batch.take(np.arange(10))).sum(axis=0)[HITS])
    assert again.counts[0].tolist() == [0.0, 0.0]


def test_without_hashes_it_is_unfit_and_says_how_to_make_them(ordinary: EventBatch) -> None:
    bare = replace(ordinary, annotations={})
    found = PrivacyDetector.fit(bare, infer_schema(bare), PANE_S, 0)
    assert isinstance(found, Unfit)
    assert "vedette reference hash-training" in found.reason


def test_a_reference_made_of_training_rows_is_refused(ordinary: EventBatch) -> None:
    same = ordinary.annotate(**{TRAINING_HIT: np.full(len(ordinary), 2.0)})
    distinct = same.annotate(training_query_cell=np.arange(len(same), dtype=np.float64) % 256)
    found = PrivacyDetector.fit(distinct, infer_schema(distinct), PANE_S, 0)
    assert isinstance(found, Unfit)
    assert "100 % of the ordinary events are training rows" in found.reason


def test_events_that_could_not_be_looked_up_are_no_verdict(detector: PrivacyDetector, ordinary: EventBatch) -> None:
    bare = replace(ordinary.take(np.arange(50)), annotations={})
    (sketch,) = detector.sketch(bare, np.array([0]))
    judgement = detector.judge({}, Pane(0.0, PANE_S, 50, sketch))
    (reading,) = judgement.readings
    assert (reading.subject, reading.level) == (MODEL, Level.WARMING)
    assert "secret" in reading.reason
