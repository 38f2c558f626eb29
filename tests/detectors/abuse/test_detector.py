"""Abuse: attackers are found, by name and by kind; awkward honest clients are not."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.abuse.detector import AbuseDetector
from detectors.base import Kind, Level, Unfit
from detectors.batch import EventBatch
from detectors.schema import infer_schema
from tests.detectors.abuse import attacks
from tests.detectors.abuse.worlds import DAY_S, Played, World, fitted, joined, play

pytestmark = pytest.mark.slow

START = 7 * DAY_S + 9 * 3_600
WORLD = World(n_clients=60, seed=5, per_day=40.0, newcomer_from=7)


@pytest.fixture(scope="module")
def detector() -> AbuseDetector:
    return fitted(WORLD.events(0, 7))


@pytest.fixture(scope="module")
def honest() -> EventBatch:
    return WORLD.events(7, 2)


@pytest.fixture(scope="module")
def attacked(detector: AbuseDetector, honest: EventBatch) -> Played:
    """Attackers one after the other, so that each stands among honest clients."""
    hour = 3_600.0
    return play(
        detector,
        joined(
            honest,
            attacks.sponge("slow", START, 120, 1.0),
            attacks.fuzz("fuzzer", START + 4 * hour, 120, 1.0),
            attacks.broken("defect", START + 8 * hour, 120),
            attacks.sweep("sweeper", START + 12 * hour, 120),
            attacks.flood("c3", START + 16 * hour, 20_000, hour),
            attacks.enumerate_classes("lister", START + 20 * hour, 200),
        ),
    )


@pytest.mark.parametrize(
    ("client", "said", "technique"),
    [
        ("slow", "inputs made to be slow", "AML.T0034.001"),
        ("fuzzer", "feeling for the model's edges", "AML.T0013"),
        ("sweeper", "in a single feature", "AML.T0013"),
        ("c3", "asks for far more than is expected of it", "AML.T0034.000"),
        ("lister", "a rare class", "AML.T0013"),
    ],
)
def test_an_attacker_is_named_with_what_it_does(attacked: Played, client: str, said: str, technique: str) -> None:
    _, reading = attacked.alarms[client][0]
    assert reading.kind is Kind.ABUSE
    assert reading.subject.id == client
    assert client in reading.reason
    assert said in reading.reason
    assert reading.detail["techniques"][0]["id"] == technique
    assert reading.detail["benign_explanations"]
    assert reading.log_evidence >= reading.log_threshold
    assert reading.effect >= reading.minimum_effect


def test_pure_attacks_are_found_within_half_an_hour(attacked: Played) -> None:
    for client, start in (("slow", START), ("fuzzer", START + 4 * 3_600), ("sweeper", START + 12 * 3_600)):
        assert attacked.alarms[client][0][0] - start <= 1_800


def test_a_flood_is_found_before_a_tenth_of_it_is_served(attacked: Played) -> None:
    assert attacked.alarms["c3"][0][0] - (START + 16 * 3_600) <= 600


def test_a_client_with_one_broken_column_is_warned_of_and_not_accused(attacked: Played) -> None:
    assert "defect" not in attacked.alarms
    assert "as a defect on its side would" in attacked.warnings["defect"][0][1].reason


def test_no_honest_client_is_accused_beside_them(attacked: Played) -> None:
    assert set(attacked.alarms) == {"slow", "fuzzer", "sweeper", "c3", "lister"}


def test_health_check_nightly_batch_and_new_big_client_are_honest(detector: AbuseDetector, honest: EventBatch) -> None:
    assert honest.client_id is not None
    assert {"health", "nightly", "big"} <= set(honest.client_id.tolist())
    assert play(detector, honest).alarms == {}


def test_a_slow_service_accuses_nobody(detector: AbuseDetector) -> None:
    slow = World(n_clients=60, seed=5, per_day=40.0, slowdown=6.0)
    assert play(detector, slow.events(7, 1)).alarms == {}


def test_traffic_that_rises_for_everybody_accuses_nobody(detector: AbuseDetector) -> None:
    busy = World(n_clients=60, seed=5, per_day=40.0, traffic_rise=10.0)
    assert play(detector, busy.events(7, 1)).alarms == {}


def test_an_alarm_ends_when_the_client_behaves(detector: AbuseDetector, honest: EventBatch) -> None:
    turned = attacks.sponge("c5", START, 60, 1.0)
    calm = attacks.sponge("c5", START + 3 * 3_600, 300, 0.0, seed=1)
    first_day = honest.take(honest.timestamp < 8 * DAY_S)
    played = play(detector, joined(first_day, turned, calm))
    last = played.alarms["c5"][-1][0]
    assert played.alarms["c5"][0][0] < START + 3 * 3_600 < last < calm.timestamp[-1]


def test_events_without_client_ids_leave_it_unfit() -> None:
    events = World(n_clients=3, seed=1).events(0, 1)
    nameless = EventBatch(
        "m", "", events.event_id, events.timestamp, numeric_names=("x",), numeric=events.numeric[:, :1]
    )
    found = AbuseDetector.fit(nameless, infer_schema(nameless), 60.0, 0)
    assert isinstance(found, Unfit)
    assert "fewer than two clients" in found.reason


def test_a_short_reference_watches_everything_but_volume() -> None:
    events = World(n_clients=40, seed=2, per_day=400.0).events(0, 1)
    morning = events.take((events.timestamp > 9 * 3_600) & (events.timestamp < 11 * 3_600))
    detector = fitted(morning)
    assert detector.asking is None
    assert "not watched: volume" in detector.calibration
    played = play(detector, joined(morning, attacks.fuzz("fuzzer", 9.2 * 3_600, 100, 1.0)))
    assert set(played.alarms) == {"fuzzer"}


def test_a_client_alone_is_never_accused(detector: AbuseDetector) -> None:
    played = play(detector, attacks.fuzz("only", START, 200, 1.0))
    assert played.alarms == {}
    assert "no other client is there to compare it with" in played.warnings["only"][-1][1].reason


def test_every_reading_of_an_attack_has_a_level_and_plain_detail(attacked: Played) -> None:
    readings = [r for items in (*attacked.alarms.values(), *attacked.warnings.values()) for _, r in items]
    assert {r.level for r in readings} == {Level.ALARM, Level.WARNING}
    for reading in readings:
        assert {"heads", "coordinates", "family", "calibration", "atlas_release"} <= set(reading.detail)
        assert all(np.isfinite(head["p_value"]) for head in reading.detail["heads"])
