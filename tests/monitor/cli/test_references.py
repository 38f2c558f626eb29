"""``vedette reference``: fit to the database and to a file, list, show, activate."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from detectors.reference import Reference
from tests.monitor import streams

pytestmark = pytest.mark.slow


def fit(vedette, logs: Path, *more: object, **how) -> dict:
    ordinary = logs / "ordinary.ndjson.gz"
    return json.loads(vedette("reference", "fit", ordinary, "-m", streams.MODEL, "--json", *more, **how).stdout)


def listed(vedette) -> list[dict]:
    return json.loads(vedette("reference", "list", "--json").stdout)


def test_a_reference_goes_into_the_database_and_is_active(vedette, logs: Path, database: str) -> None:
    facts = fit(vedette, logs)
    assert (facts["model"], facts["version"], facts["n_events"], facts["n_clients"]) == ("scorer", "", 2_000, 40)
    assert facts["detectors"] == ["abuse", "drift", "evasion", "extraction", "joint", "ood", "quality"]
    [row] = listed(vedette)
    assert row == {name: facts[name] for name in ("id", "model", "version", "n_events", "pane_s")} | {
        "active": True,
        "created_at": row["created_at"],
    }


def test_a_reference_in_a_file_is_the_same_reference(vedette, logs: Path, database: str, reference: Path) -> None:
    in_file = fit(vedette, logs, "--output", reference.with_name("again.reference"))
    assert listed(vedette) == []
    assert in_file == fit(vedette, logs, "--seed", 0)
    assert reference.with_name("again.reference").read_bytes() == reference.read_bytes()
    assert Reference.from_bytes(reference.read_bytes()).n_events == 2_000


def test_a_reference_is_shown_and_made_the_active_one(vedette, logs: Path, database: str) -> None:
    first = fit(vedette, logs)["id"]
    second = fit(vedette, logs, "--pane-s", 5, "--no-activate")["id"]
    assert {row["id"]: row["active"] for row in listed(vedette)} == {first: True, second: False}
    assert vedette("reference", "activate", second).stderr == f"Reference {second} is active.\n"
    assert {row["id"]: row["active"] for row in listed(vedette)} == {first: False, second: True}
    shown = vedette("reference", "show", second).stdout
    assert shown.startswith(f"Reference {second} of 'scorer'\n  2,000 events of 40 clients, panes of 5 s\n")
    facts = json.loads(vedette("reference", "show", second, "--json").stdout)
    assert (facts["id"], facts["active"], facts["pane_s"]) == (second, True, 5)
    table = vedette("reference", "list").stdout.splitlines()
    assert [line.split()[:4] for line in table[1:]] == [
        [second, "scorer", "(any)", "yes"],
        [first, "scorer", "(any)", "2,000"],
    ]


def test_a_version_serves_itself_alone(vedette, logs: Path, database: str) -> None:
    assert fit(vedette, logs, "--version", "1")["version"] == "1"
    shown = vedette("reference", "fit", logs / "ordinary.ndjson.gz", "-m", "scorer", "--version", "9", exit_code=1)
    assert "no event of 'scorer' has version '9'; there are '1'" in shown.stderr


@pytest.mark.parametrize("command", [["show"], ["activate"]], ids=" ".join)
def test_an_unknown_id_says_where_the_known_ones_are(vedette, database: str, command: list[str]) -> None:
    shown = vedette("reference", *command, "nope", exit_code=1)
    assert shown.stderr == "Error: there is no reference 'nope': `vedette reference list` shows which there are\n"


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("other.ndjson", "no event of model 'scorer'; there are events of 'other' (100)"),
        ("empty.ndjson", "no readable event; the log is empty"),
        ("nowhere.ndjson", "no such file"),
    ],
)
def test_a_log_without_the_model_says_what_it_holds(vedette, logs: Path, database: str, file: str, said: str) -> None:
    shown = vedette("reference", "fit", logs / file, "-m", "scorer", exit_code=1)
    assert str(logs / file) in shown.stderr
    assert said in shown.stderr


def test_rows_that_were_left_out_are_told_of(vedette, logs: Path, tmp_path: Path) -> None:
    log = tmp_path / "mixed.ndjson"
    log.write_bytes(b"\n".join([*streams.events(200, seed=1), b"not json", b"{}"]))
    shown = vedette("reference", "fit", log, "-m", "scorer", "-o", tmp_path / "out.reference")
    assert "undecodable 1" in shown.stderr
    assert "200 events" in shown.stdout


def test_columns_that_no_test_can_use_are_told_of_with_the_reason(vedette, tmp_path: Path) -> None:
    log = tmp_path / "counted.ndjson"
    events = [json.loads(line) for line in streams.events(300, seed=1)]
    log.write_text("\n".join(json.dumps(e | {"features": e["features"] | {"seq": i}}) for i, e in enumerate(events)))
    shown = vedette("reference", "fit", log, "-m", "scorer", "-o", tmp_path / "out.reference")
    assert "  Left out: seq: counts on from event to event\n" in shown.stdout


@pytest.mark.parametrize("command", [("reference", "list"), ("reference", "show", "x"), ("reference", "activate", "x")])
def test_without_tables_the_next_step_is_named(vedette, command: tuple[str, ...]) -> None:
    assert "run `vedette migrate`" in vedette(*command, exit_code=1).stderr


def test_a_missing_schema_is_found_before_the_log_is_read(vedette) -> None:
    shown = vedette("reference", "fit", "nowhere.ndjson", "-m", "scorer", exit_code=1)
    assert "run `vedette migrate`" in shown.stderr


def test_a_log_that_drifts_within_itself_is_refused_unless_one_insists(vedette, logs: Path, database: str) -> None:
    arguments = ("reference", "fit", logs / "drifting.ndjson.gz", "-m", streams.MODEL)
    refused = vedette(*arguments, exit_code=1)
    assert "no picture of normal" in refused.stderr
    assert "--keep-doubtful" in refused.stderr
    assert listed(vedette) == []
    kept = json.loads(vedette(*arguments, "--keep-doubtful", "--json").stdout)
    assert kept["doubts"]
    shown = vedette("reference", "show", kept["id"]).stdout
    assert "Doubtful: " in shown
