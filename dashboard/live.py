"""Pages that renew themselves.

Each page holds a ``tick``: a store that the browser rewrites every few seconds while the page is visible, when the
theme changes, and after an action. One callback per page answers a tick with all parts of the page; parts that did not
change are not sent, so nothing moves, loses focus or zooms out while nothing happened. The clock sends a page no tick
while it is being answered: an answer that has been asked for again is dropped, so that a page that takes longer than
the clock would never be drawn. If reading fails, the page keeps what it shows and says so above it.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html, no_update
from fastapi.concurrency import run_in_threadpool
from plotly.utils import PlotlyJSONEncoder

from dashboard import words
from dashboard.components.accessibility import aria
from dashboard.theme import Scheme
from monitor.errors import TransientError

logger = logging.getLogger(__name__)

BEAT = "beat"


@dataclass(frozen=True, slots=True)
class Tick:
    """What the browser says about itself: its theme and the address it reached us at."""

    scheme: Scheme = Scheme.LIGHT
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Live:
    """The living parts of one page.

    Attributes:
        page: name of the page; makes its ids.
        parts: (component id, property) in the order of the callback's outputs.
        controls: (component id, property) whose change renews the page at once.
        states: (component id, property) that are only read.
        render: (tick, controls…, states…) → value per component id, or per ``id.property`` where a component has more
            than one living property; runs in a worker thread.
    """

    page: str
    parts: Sequence[tuple[str, str]]
    render: Callable[..., Mapping[str, Any]]
    controls: Sequence[tuple[str, str]] = ()
    states: Sequence[tuple[str, str]] = ()


def frame(page: str, children: Sequence[Any]) -> html.Div:
    """A page's layout with the stores and the notice that ``register`` wires up."""
    return html.Div(
        [
            dcc.Store(id=_tick_id(page)),
            dcc.Store(id=_seen_id(page), data={}),
            html.Div(id=_notice_id(page), role="status"),
            *children,
        ],
        className=f"page page-{page}",
    )


def busy(pages: Sequence[str]) -> list[dcc.Store]:
    """Whether each page is being answered; in the shell, since an answer may come when its page has gone."""
    return [dcc.Store(id=_busy_id(page), data=False) for page in pages]


def register(app: Dash, live: Live) -> None:
    """Wire one page's callback."""
    outputs = [Output(component, prop) for component, prop in live.parts]
    reads: list[Any] = [Input(component, prop) for component, prop in live.controls]
    reads += [State(component, prop) for component, prop in live.states]

    @app.callback(  # type: ignore[untyped-decorator, unused-ignore]
        *outputs,
        Output(_notice_id(live.page), "children"),
        Output(_seen_id(live.page), "data"),
        Input(_tick_id(live.page), "data"),
        State(_seen_id(live.page), "data"),
        *reads,
        running=[(Output(_busy_id(live.page), "data"), True, False)],
        prevent_initial_call=True,
    )
    async def answer(tick: Any, seen: Any, *values: Any) -> Any:
        return await run_in_threadpool(_answer, live, read_tick(tick), seen or {}, values)


def browser(app: Any, name: str, *wiring: Any) -> None:
    """Wire a function of ``assets/vedette.js``; it also runs when its page appears."""
    app.clientside_callback(ClientsideFunction("vedette", name), *wiring)


def browser_on_change(app: Any, name: str, *wiring: Any) -> None:
    """Wire a function of ``assets/vedette.js`` that runs only when something changes."""
    app.clientside_callback(ClientsideFunction("vedette", name), *wiring, prevent_initial_call=True)


def read_tick(data: Any) -> Tick:
    """The tick in a store's data; what is missing or odd falls back to the defaults."""
    if not isinstance(data, Mapping):
        return Tick()
    scheme = Scheme.DARK if data.get("scheme") == "dark" else Scheme.LIGHT
    return Tick(scheme, words.clean(data.get("origin", ""), 200))


def _answer(live: Live, tick: Tick, seen: Mapping[str, str], values: Sequence[Any]) -> tuple[Any, ...]:
    """Values for all outputs; unchanged parts and, on failure, all parts are left alone."""
    try:
        rendered = live.render(tick, *values)
    except TransientError as error:
        return (*[no_update] * len(live.parts), failure(live.page, str(error)), no_update)
    except Exception:
        logger.exception("the %s page could not be made", live.page)
        notice = failure(live.page, "An error in Vedette itself; its log has the details.")
        return (*[no_update] * len(live.parts), notice, no_update)
    digests = {name: _digest(value) for name, value in rendered.items()}
    names = [_part_name(rendered, *part) for part in live.parts]
    fresh = [rendered[name] if digests[name] != seen.get(name) else no_update for name in names]
    return (*fresh, None, digests)


def _part_name(rendered: Mapping[str, Any], component: str, prop: str) -> str:
    return component if component in rendered else f"{component}.{prop}"


def failure(page: str, message: str) -> html.Div:
    """The notice over a page that could not be renewed."""
    return html.Div(
        [
            html.Span(className="shape shape-critical", **aria(hidden="true")),
            html.Div(
                [
                    html.Strong("Cannot renew this page"),
                    html.Div(words.clean(message, 400)),
                    html.Div(
                        "What is shown below may be out of date. Trying again every few seconds.", className="dim"
                    ),
                ]
            ),
            dmc.Button("Try now", id={"role": "retry", "page": page}, size="xs", variant="default"),
        ],
        className="notice notice-error",
    )


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, cls=PlotlyJSONEncoder).encode(), digest_size=12).hexdigest()


def _tick_id(page: str) -> dict[str, str]:
    return {"role": "tick", "page": page}


def _busy_id(page: str) -> dict[str, str]:
    return {"role": "busy", "page": page}


def _seen_id(page: str) -> str:
    return f"{page}-seen"


def _notice_id(page: str) -> str:
    return f"{page}-notice"
