"""HTTP API: FastAPI routers under /api/v1."""
