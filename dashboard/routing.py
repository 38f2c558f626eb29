"""Which page an address means; the server and the page callback read the same table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, quote, unquote, urlencode

Query = Mapping[str, tuple[str, ...]]
"""Query string: name → values in order."""


@dataclass(frozen=True, slots=True)
class Route:
    """A page and what its address says. ``item`` is the alert id or the model name."""

    page: str
    item: str = ""
    query: Query = field(default_factory=dict)

    def one(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        values = self.query.get(name, ())
        return values[0] if values else default


def match(path: str, search: str = "") -> Route | None:
    """The page at an address; None if there is none.

    >>> match("/models/a%2Fb", "?version=2").item
    'a/b'
    """
    query = {name: tuple(values) for name, values in parse_qs(search.lstrip("?"), max_num_fields=100).items()}
    parts = path.strip("/").split("/", 1)
    head, item = parts[0], unquote(parts[1]) if len(parts) > 1 else ""
    if head == "" and not item:
        return Route("overview", query=query)
    if head == "alerts":
        return Route("alert", item, query) if item else Route("alerts", query=query)
    if head == "models" and item:
        return Route("model", item, query)
    return None


def alert_path(alert_id: str) -> str:
    return f"/alerts/{quote(alert_id, safe='')}"


def model_path(model: str, version: str) -> str:
    return f"/models/{quote(model, safe='')}?{urlencode({'version': version})}"


def alerts_path(**filters: str) -> str:
    return f"/alerts?{urlencode(filters)}" if filters else "/alerts"
