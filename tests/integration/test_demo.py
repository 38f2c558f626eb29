"""The demo keeps what it promises, for more than one seed."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.integration.processes import VEDETTE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.parametrize("seed", [7, 3])
def test_the_headless_demo_tells_its_story(seed: int) -> None:
    """No alert while honest, then one incident each of drift, foreign inputs and theft, the right client named."""
    command = [*VEDETTE, "demo", "--headless", "--json", "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads(done.stdout)
    assert summary["as_promised"] is True, summary["promises"]
    assert [alert["kind"] for alert in summary["alerts"]] == ["drift", "ood", "extraction"]
    assert summary["alerts"][2]["subject"] == {"type": "client", "id": summary["thief"]}
    assert summary["events"] == sum(phase["events"] for phase in summary["phases"]) == 42_000
    assert {receipt["answered"] for receipt in summary["receipts"]} == {204}
    assert len(summary["receipts"]) >= 3
    assert summary["peak_memory_mb"] < 1_000
