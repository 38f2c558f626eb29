"""Routes of the outer application, open to everyone: /livez, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client.exposition import choose_encoder

from monitor.telemetry import Metrics

Probe = Callable[[], None]
"""Returns when all is well, raises when not; answers within a second or two."""

log = structlog.get_logger(__name__)


def health_routes(metrics: Metrics, live: Mapping[str, Probe], ready: Mapping[str, Probe]) -> APIRouter:
    """The three routes.

    Args:
        live: what a restart would mend, such as a loop that no longer turns.
        ready: what traffic must wait for, such as the database.
    """
    router = APIRouter(include_in_schema=False)

    @router.get("/livez")
    def livez() -> Response:
        return _verdict(live)

    @router.get("/readyz")
    def readyz() -> Response:
        return _verdict(ready)

    @router.get("/metrics")
    def scrape(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(metrics.registry), headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    return router


def _verdict(probes: Mapping[str, Probe]) -> Response:
    """Names what fails; why is for the log, since anybody may ask."""
    checks = {name: "ok" if _passes(name, probe) else "failing" for name, probe in probes.items()}
    well = "failing" not in checks.values()
    body = {"status": "ok" if well else "failing", "checks": checks}
    return JSONResponse(body, 200 if well else 503, headers={"Cache-Control": "no-store"})


def _passes(name: str, probe: Probe) -> bool:
    try:
        probe()
    except Exception as error:
        log.warning("probe_failed", probe=name, cause=str(error))
        return False
    return True
