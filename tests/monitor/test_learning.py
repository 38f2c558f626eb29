"""Fitting with extras: training rows are left out, a head is read without pickle."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from detectors.ood.detector import OodDetector
from detectors.ood.scorer import OodScorer
from monitor.errors import PermanentError
from monitor.learning import Extras, learn_reference, load_head


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def events(n: int, seed: int, **more: object) -> list[dict]:
    rng = np.random.default_rng(seed)
    return [
        {
            "model": "m",
            "timestamp": 1.75e9 + i,
            "features": {"x": float(a), "y": float(b), "kind": "ab"[i % 2], "ok": bool(i % 3)},
            "embedding": c.tolist(),
            **more,
        }
        for i, (a, b, c) in enumerate(zip(rng.normal(size=n), rng.normal(size=n), rng.normal(size=(n, 4)), strict=True))
    ]


def learned(reference: Path, *training: Path, **extras: object):
    return learn_reference([reference], "m", None, 0, Extras(training=training, **extras), tested=False)


def test_training_rows_are_left_out_whatever_their_form(tmp_path: Path) -> None:
    rows = events(400, 1)
    trained = [{"features": row["features"], "label": 1} for row in rows[:60]]
    csv = tmp_path / "train.csv"
    lines = [f"{f['x']!r},{f['y']!r},{f['kind']},{str(f['ok']).lower()}" for f in (r["features"] for r in rows[60:90])]
    csv.write_text("\n".join(["x,y,kind,ok", *lines]) + "\n")
    reference = write(tmp_path / "ref.ndjson", rows)
    found, how = learned(reference, write(tmp_path / "train.ndjson", trained), csv)
    assert how.n_training == 90
    assert found.n_events == 310
    assert how.remarks == ["90 of 400 reference events are training rows: left out"]


def test_a_reference_that_is_the_training_set_is_refused(tmp_path: Path) -> None:
    reference = write(tmp_path / "ref.ndjson", events(200, 1))
    with pytest.raises(PermanentError, match="take events that it had not seen"):
        learned(reference, reference)


def test_other_rows_are_no_training_rows(tmp_path: Path) -> None:
    reference = write(tmp_path / "ref.ndjson", events(200, 1))
    _, how = learned(reference, write(tmp_path / "train.ndjson", events(200, 2)))
    assert how.n_training == 0
    assert how.remarks == []


def test_where_rows_coincide_by_chance_nothing_is_left_out_and_that_is_said(tmp_path: Path) -> None:
    few = [{"model": "m", "timestamp": 1.75e9 + i, "features": {"a": i % 3, "b": i % 4}} for i in range(200)]
    reference = write(tmp_path / "ref.ndjson", few)
    found, how = learned(reference, reference)
    assert found.n_events == 200
    assert "no training row was looked for" in how.remarks[0]


def test_a_head_from_json_and_from_npz_gives_vim(tmp_path: Path) -> None:
    weights, bias = np.arange(12.0).reshape(3, 4), np.ones(3)
    as_json, as_npz = tmp_path / "head.json", tmp_path / "head.npz"
    as_json.write_text(json.dumps({"weights": weights.tolist(), "bias": bias.tolist()}))
    np.savez(as_npz, weights=weights, bias=bias)
    reference = write(tmp_path / "ref.ndjson", events(200, 1))
    for path in (as_json, as_npz):
        found, _ = learned(reference, head=load_head(path))
        assert "embedding.vim" in OodScorer.build(found.parts[OodDetector.name]).component_names


def test_a_head_of_another_width_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "head.json"
    path.write_text(json.dumps({"weights": [[1, 2], [3, 4]]}))
    with pytest.raises(PermanentError, match="takes embeddings of 2 numbers, the reference logs 4"):
        learned(write(tmp_path / "ref.ndjson", events(100, 1)), head=load_head(path))


@pytest.mark.parametrize(
    "content", ["{}", "[]", "nonsense", '{"weights": [[1, 2]]}', '{"weights": "x"}', '{"weights": [[1], [2, 3]]}']
)
def test_what_is_no_head_is_refused_and_told_what_one_is(tmp_path: Path, content: str) -> None:
    path = tmp_path / "head.json"
    path.write_text(content)
    with pytest.raises(PermanentError, match=r"a head is an \.npz or JSON file"):
        load_head(path)


def test_a_pickled_head_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "head.npz"
    np.savez(path, weights=np.array([object(), object()], dtype=object))
    with pytest.raises(PermanentError, match="head"):
        load_head(path)


def test_a_head_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"head\.json"):
        load_head(tmp_path / "head.json")


@pytest.mark.slow
def test_declared_links_pool_accounts_and_no_others_do(tmp_path: Path) -> None:
    rows = events(400, 1)
    for i, row in enumerate(rows):
        row["client_id"] = f"c{i % 20}"
        row["segments"] = {"owner": f"firm-{i % 20 // 2}", "tier": "ab"[i % 2]}
    found, _ = learned(write(tmp_path / "ref.ndjson", rows), links=("tier",))
    assert set(found.parts["extraction"].facts["linking_keys"]) == {"tier"}


def test_a_link_that_is_no_segment_key_is_refused_and_told_which_there_are(tmp_path: Path) -> None:
    reference = write(tmp_path / "ref.ndjson", events(100, 1, segments={"region": "eu", "owner": "a"}))
    with pytest.raises(PermanentError, match="no segment key payer; it has: owner, region"):
        learned(reference, links=("payer",))
