"""Dashboard: Dash pages over the read side (``monitor.queries``).

``create_app`` gives the ASGI application to serve: pages, the API under ``/api``, and extra root
routes.
"""

from dashboard.actions import AlertActions
from dashboard.app import create_app
from dashboard.settings import DashboardSettings

__all__ = ["AlertActions", "DashboardSettings", "create_app"]
