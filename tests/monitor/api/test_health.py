"""The routes that live outside /api."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from monitor.api.health import health_routes
from monitor.api.server import serve
from monitor.errors import TransientError
from monitor.telemetry import Metrics


def passing() -> None:
    return


def failing() -> None:
    raise TransientError("password hunter2 was refused")


@pytest.mark.parametrize(
    ("live", "ready", "answers"),
    [
        ({}, {}, (200, 200)),
        ({"judge": passing}, {"database": passing}, (200, 200)),
        ({"judge": passing}, {"database": failing, "schema": passing}, (200, 503)),
        ({"judge": failing}, {}, (503, 200)),
    ],
)
def test_each_verdict_is_the_worst_of_its_probes(
    live: dict[str, Callable[[], None]], ready: dict[str, Callable[[], None]], answers: tuple[int, int]
) -> None:
    app = FastAPI()
    app.include_router(health_routes(Metrics(), live, ready))
    server = serve(app, "127.0.0.1", 0)
    found = [httpx.get(f"{server.url}{path}", timeout=20, trust_env=False) for path in ("/livez", "/readyz")]
    server.stop()
    assert tuple(response.status_code for response in found) == answers
    assert [set(response.json()["checks"]) for response in found] == [set(live), set(ready)]
    assert all("hunter2" not in response.text for response in found)


def test_a_scrape_parses_and_counts_what_the_database_and_the_api_know(stocked: Any) -> None:
    stocked.client.get("/api/v1/overview")
    stocked.client.get("/api/v1/stranger")
    response = stocked.client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }
    assert samples["vedette_alerts_open", "critical"] == 1
    assert samples["vedette_alerts_open", "warning"] == 6
    assert samples["vedette_alerts_open", "info"] == 0
    assert samples["vedette_dead_letters_total", "undecodable"] == 0
    assert samples["vedette_http_requests_total", "200", "getOverview"] == 1
    assert samples["vedette_http_requests_total", "404", "none"] == 1
    assert any(name == "vedette_build_info" for name, *_ in samples)


def test_unknown_addresses_outside_are_not_the_apis(site: Any) -> None:
    assert site.client.get("/typo").status_code == 404
    assert site.client.get("/v1/overview").status_code == 404
