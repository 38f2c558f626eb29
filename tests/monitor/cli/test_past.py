"""``vedette backtest``, ``score`` and ``replay``: logs of the past."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from detectors.privacy.detector import UNGIVEN
from tests.monitor import streams

pytestmark = pytest.mark.slow

KEYS = [
    "alert_id",
    "model",
    "version",
    "kind",
    "detector",
    "subject",
    "transition",
    "severity",
    "event_time",
    "evidence",
]


def as_csv(events: list[dict], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [name for name in events[0] if name != "features"] + list(events[0]["features"]))
        writer.writeheader()
        for event in events:
            writer.writerow(
                {**{name: value for name, value in event.items() if name != "features"}, **event["features"]}
            )


def as_parquet(events: list[dict], path: Path) -> None:
    rows = [{**{name: v for name, v in event.items() if name != "features"}, **event["features"]} for event in events]
    parquet.write_table(pa.Table.from_pylist(rows), path)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def backtested(vedette, logs: Path, reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Transitions over the drifting log, against the saved reference."""
    path = tmp_path_factory.mktemp("backtest") / "alerts.jsonl"
    vedette("backtest", logs / "drifting.ndjson.gz", "-r", reference, "-m", streams.MODEL, "-o", path)
    return path


def test_transitions_have_the_keys_outsiders_rely_on(backtested: Path) -> None:
    found = lines(backtested)
    assert found
    for line in found:
        assert list(line) == KEYS
        assert list(line["subject"]) == ["type", "id", "members"]
    drift = next(line for line in found if line["kind"] == "drift")
    assert (drift["model"], drift["version"], drift["transition"]) == ("scorer", "1", "opened")
    onset = streams.START + 7_000 / streams.EVENTS_PER_S
    assert onset < datetime.fromisoformat(drift["event_time"]).timestamp() < onset + 60
    assert drift["evidence"]["log10"] >= drift["evidence"]["threshold_log10"]


def test_the_same_log_gives_the_same_transitions(vedette, logs: Path, backtested: Path, tmp_path: Path) -> None:
    ordinary, again = logs / "ordinary.ndjson.gz", tmp_path / "again.jsonl"
    vedette("backtest", logs / "drifting.ndjson.gz", "-r", ordinary, "-m", streams.MODEL, "-o", again)
    assert again.read_bytes() == backtested.read_bytes()


@pytest.mark.parametrize("form", ["csv", "parquet", "parts"])
def test_the_form_of_the_log_makes_no_difference(
    vedette, logs: Path, reference: Path, backtested: Path, tmp_path: Path, form: str
) -> None:
    text = gzip.decompress((logs / "drifting.ndjson.gz").read_bytes()).splitlines()
    given = [tmp_path / f"log.{form}"]
    if form == "parts":
        given = [tmp_path / "b.ndjson", tmp_path / "a.ndjson.gz"]
        given[0].write_bytes(b"\n".join(text[:1_500]))
        given[1].write_bytes(gzip.compress(b"\n".join(text[1_500:])))
    else:
        write: Callable[[list[dict], Path], None] = as_csv if form == "csv" else as_parquet
        write([json.loads(line) for line in text], given[0])
    output = tmp_path / "alerts.jsonl"
    vedette("backtest", *given, "-r", reference, "-m", streams.MODEL, "-o", output)
    assert output.read_bytes() == backtested.read_bytes()


def test_a_summary_of_the_backtest_is_data_on_request(vedette, logs: Path, reference: Path, tmp_path: Path) -> None:
    arguments = ["backtest", logs / "ordinary.ndjson.gz", "-r", reference, "-m", "scorer", "-o", tmp_path / "out"]
    summary = json.loads(vedette(*arguments, "--json", "--alarm-budget", "0.5/day").stdout)
    assert summary == {
        "records": 2_000,
        "events": 2_000,
        "panes": 10,
        "rejected": {},
        "pane_s": 10,
        "transitions": 0,
        "alerts": 0,
        "not_watched": {
            "privacy": UNGIVEN,
            "performance": "the reference holds no labels: nothing says how often the model is right",
        },
        "doubts": [],
    }
    assert (tmp_path / "out").read_bytes() == b""
    shown = vedette(*arguments)
    assert shown.stdout == ""
    assert "2,000 events in 10 panes of 10 s: 0 alerts" in shown.stderr


def test_scores_are_one_line_per_event_in_log_order(vedette, logs: Path, reference: Path, tmp_path: Path) -> None:
    output = tmp_path / "scores.jsonl"
    vedette("score", logs / "drifting.ndjson.gz", "--reference", reference, "--output", output)
    found = lines(output)
    assert [line["event_id"] for line in found] == [f"e{i}" for i in range(5_000, 9_000)]
    assert {tuple(line) for line in found} == {("event_id", "ood_score", "ood_p_value")}
    assert all(0 < line["ood_p_value"] <= 1 for line in found)
    by_score = sorted(found, key=lambda line: line["ood_score"])
    assert by_score[0]["ood_p_value"] > by_score[-1]["ood_p_value"]


def test_explained_scores_say_what_they_rest_on(vedette, tmp_path: Path) -> None:
    ordinary = [json.loads(line) for line in streams.events(600, seed=1)]
    live = [json.loads(line) for line in streams.events(300, seed=2, first=9_000)]
    for event in live[:30]:
        event["features"]["x1"] = 900.0
    for event in live[30:60]:
        event["features"] = {"unknown": 1.0}
    for name, events in (("ordinary", ordinary), ("live", live)):
        (tmp_path / f"{name}.ndjson").write_text("".join(json.dumps(event) + "\n" for event in events))
    own = tmp_path / "own.py"
    own.write_text("import numpy as np\n\ndef size(batch):\n    return np.nanmax(np.abs(batch.numeric), axis=1)\n")
    arguments = [tmp_path / "live.ndjson", "-r", tmp_path / "ordinary.ndjson", "--own-score", f"size={own}:size"]
    shown = vedette("score", *arguments, "--explain", "--json", "-o", tmp_path / "scores")
    found = lines(tmp_path / "scores")
    assert [line["ood_p_from"] for line in found[:30]] == ["tail model"] * 30
    assert all(line["ood_columns"][0]["name"] == "x1" and line["ood_because"] for line in found[:30])
    assert all(line["ood_missing"] == ["features"] for line in found[30:60]), "the own score is all they have"
    assert {line["ood_p_from"] for line in found[60:]} <= {"ranks", "tail model"}
    assert all("ood_because" not in line for line in found if line["ood_p_value"] > 0.05)
    summary = json.loads(shown.stdout)
    assert summary["inputs"] == ["features", "own"]
    assert summary["missing"] == {"features": 30}
    assert summary["in_reference"] == 0
    assert sum(summary["p_values"].values()) == 300
    plain = vedette("score", *arguments, "-o", tmp_path / "scores")
    assert "30 events lack features and are scored by the other inputs." in plain.stderr
    assert "a model of the tail" in plain.stderr


def test_events_of_the_reference_are_told_from_new_ones(vedette, tmp_path: Path) -> None:
    log = tmp_path / "log.ndjson"
    log.write_bytes(b"\n".join(streams.events(300, seed=1)))
    shown = vedette("score", log, "-r", log, "-o", tmp_path / "scores")
    assert "300 of these events are in the reference" in shown.stderr


def test_a_reference_of_training_rows_is_refused(vedette, tmp_path: Path) -> None:
    log = tmp_path / "log.ndjson"
    log.write_bytes(b"\n".join(streams.events(300, seed=1)))
    for command in (["score", log, "-r", log], ["reference", "fit", log, "-m", streams.MODEL]):
        shown = vedette(*command, "-o", tmp_path / "out", "--training", log, exit_code=1)
        assert "rows that the model was trained on" in shown.stderr


def test_an_own_score_that_is_not_there_is_named(vedette, tmp_path: Path) -> None:
    log = tmp_path / "log.ndjson"
    log.write_bytes(b"\n".join(streams.events(100, seed=1)))
    shown = vedette("score", log, "-r", log, "-o", "x", "--own-score", "a=no_such_module:f", exit_code=1)
    assert "own score 'a'" in shown.stderr
    assert "--own-score" in vedette("score", log, "-r", log, "-o", "x", "--own-score", "bad", exit_code=2).stderr


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_scores_do_not_depend_on_the_forms(vedette, logs: Path, reference: Path, tmp_path: Path, form: str) -> None:
    write = as_csv if form == "csv" else as_parquet
    for name in ("ordinary", "drifting"):
        text = gzip.decompress((logs / f"{name}.ndjson.gz").read_bytes()).splitlines()
        write([json.loads(line) for line in text], tmp_path / f"{name}.{form}")
    vedette("score", logs / "drifting.ndjson.gz", "-r", reference, "-o", tmp_path / "expected")
    tabular = ["score", tmp_path / f"drifting.{form}", "-r", tmp_path / f"ordinary.{form}", "-o", tmp_path / "scores"]
    report = json.loads(vedette(*tabular, "--json").stdout)
    assert (report["model"], report["events"], report["rejected"]) == ("scorer", 4_000, {})
    assert (tmp_path / "scores").read_bytes() == (tmp_path / "expected").read_bytes()


REFUSED = {
    "no log": (["nowhere.gz", "-r", "REFERENCE"], "nowhere.gz: no such file"),
    "no reference": (["LOGS/drifting.ndjson.gz", "-r", "nowhere"], "nowhere: no such file"),
    "cut gzip": (["cut.gz", "-r", "REFERENCE"], "cut.gz: damaged or cut-off gzip"),
    "no log at all": (["noise.bin", "-r", "REFERENCE"], "noise.bin: neither NDJSON, JSON, CSV"),
    "cut reference": (["LOGS/drifting.ndjson.gz", "-r", "cut.reference"], "cut.reference: not a reference"),
    "empty reference": (["LOGS/drifting.ndjson.gz", "-r", "LOGS/empty.ndjson"], "no readable event; the log is empty"),
    "other model in the log": (["LOGS/other.ndjson", "-r", "REFERENCE"], "there are events of 'other' (100)"),
    "other model in the reference": (
        ["LOGS/drifting.ndjson.gz", "-r", "LOGS/other.ndjson"],
        "no event of model 'scorer'; there are events of 'other' (100)",
    ),
}


@pytest.mark.parametrize("command", ["backtest", "score"])
@pytest.mark.parametrize(("arguments", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_named(
    vedette, logs: Path, reference: Path, tmp_path: Path, command: str, arguments: list[str], said: str
) -> None:
    (tmp_path / "cut.gz").write_bytes((logs / "drifting.ndjson.gz").read_bytes()[:3_000])
    (tmp_path / "cut.reference").write_bytes(reference.read_bytes()[:3_000])
    (tmp_path / "noise.bin").write_bytes(b"\x00\x01\x02" * 100)
    given = [a.replace("LOGS", str(logs)).replace("REFERENCE", str(reference)) for a in arguments]
    shown = vedette(command, *given, "-m", "scorer", "-o", "out.jsonl", exit_code=1)
    assert shown.stdout == ""
    assert said in shown.stderr
    assert not (tmp_path / "out.jsonl").exists()


def test_a_saved_reference_of_another_model_is_refused(vedette, logs: Path, reference: Path) -> None:
    shown = vedette("backtest", logs / "other.ndjson", "-r", reference, "-m", "other", "-o", "out", exit_code=1)
    assert "is a reference of model 'scorer', not of 'other'" in shown.stderr


@pytest.mark.parametrize("command", ["backtest", "score"])
def test_a_quiet_log_is_no_error(vedette, logs: Path, reference: Path, tmp_path: Path, command: str) -> None:
    shown = vedette(command, logs / "empty.ndjson", "-r", reference, "-m", "scorer", "-o", "out.jsonl")
    assert "the log holds no event of model 'scorer'" in shown.stderr
    assert (tmp_path / "out.jsonl").read_bytes() == b""


@pytest.mark.parametrize("budget", ["often", "0", "-1/week", "1/fortnight"])
def test_an_alarm_budget_that_is_none_is_wrong_usage(vedette, budget: str) -> None:
    arguments = ["backtest", "log", "-r", "reference", "-m", "scorer", "-o", "out", f"--alarm-budget={budget}"]
    shown = vedette(*arguments, exit_code=2)
    assert "write a positive number per hour, day, week or month" in " ".join(shown.stderr.replace("│", " ").split())


def test_a_reference_of_several_models_asks_for_one(vedette, logs: Path, tmp_path: Path) -> None:
    both = tmp_path / "both.ndjson"
    both.write_bytes(b"\n".join([*streams.events(60, seed=1), (logs / "other.ndjson").read_bytes()]))
    shown = vedette("score", logs / "other.ndjson", "-r", both, "-o", "out", exit_code=1)
    assert "holds events of these models: 'scorer', 'other'; choose one with --model" in shown.stderr


def test_a_doubtful_reference_judges_with_a_warning(vedette, logs: Path, tmp_path: Path) -> None:
    drifting = logs / "drifting.ndjson.gz"
    shown = vedette("backtest", logs / "ordinary.ndjson.gz", "-r", drifting, "-m", "scorer", "-o", tmp_path / "out")
    assert "Doubtful reference" in shown.stderr


def test_a_wider_tolerance_raises_less(vedette, logs: Path, reference: Path, tmp_path: Path) -> None:
    arguments = ("backtest", logs / "drifting.ndjson.gz", "-r", reference, "-m", "scorer", "--json")
    usual = json.loads(vedette(*arguments, "-o", tmp_path / "usual").stdout)
    lenient = json.loads(vedette(*arguments, "-o", tmp_path / "lenient", "--tolerance", "0.9").stdout)
    assert usual["alerts"] > lenient["alerts"]
