"""HTTP API: a FastAPI sub-application that is mounted at /api and answers under /v1.

app.py builds it; gate.py stands before every route (token, body limit, request id); problems.py words every error;
one module per noun holds its routes. health.py is for the outer application: /livez, /readyz and /metrics.
"""

from __future__ import annotations

from monitor.api.app import ApiSettings, create_api

__all__ = ["ApiSettings", "create_api"]
