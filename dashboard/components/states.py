"""What a page shows when it has nothing to show: five states that differ in words and in picture."""

from __future__ import annotations

import json
import shlex
from typing import Any

import dash_mantine_components as dmc
from dash import html

from dashboard.components.accessibility import aria

FIRST_EVENT = {
    "model": "my-model",
    "version": "1",
    "client_id": "me",
    "features": {"age": 42, "plan": "pro", "balance": 1234.5},
    "prediction": "yes",
}


def loading(lines: int = 3) -> html.Div:
    """Grey bars where text will be."""
    bars = [dmc.Skeleton(height=14, width=f"{90 - 17 * (index % 3)}%", radius="sm") for index in range(lines)]
    return html.Div(bars, className="state-loading", **aria(busy="true", label="Loading"))


def _state(picture: str, title: str, text: Any, extra: Any = None) -> html.Div:
    return html.Div(
        [
            html.Div(className=f"picture picture-{picture}", **aria(hidden="true")),
            html.H3(title),
            html.Div(text, className="state-text"),
            extra,
        ],
        className="state",
    )


def all_good(text: Any) -> html.Div:
    return _state("ok", "All good", text)


def nothing_matches(text: Any, extra: Any = None) -> html.Div:
    return _state("search", "Nothing matches", text, extra)


def nothing_yet(title: str, text: Any, extra: Any = None) -> html.Div:
    return _state("waiting", title, text, extra)


def not_found(title: str, text: Any, extra: Any = None) -> html.Div:
    return _state("lost", title, text, extra)


def first_event(origin: str) -> html.Div:
    """How to send the first event: a command to copy."""
    return html.Div(
        [
            html.Div(className="picture picture-waiting", **aria(hidden="true")),
            html.H3("Waiting for the first event"),
            html.P("Nothing has been read yet. Send one event, and its model appears here within seconds:"),
            command(curl(origin)),
            html.P("Logs on Kafka? Set kafka.bootstrap_servers and kafka.topics; the workers read on their own."),
            html.P("Then say what normal looks like, from a log of ordinary traffic:"),
            command("vedette reference fit --model my-model ordinary.ndjson"),
        ],
        className="state state-first",
    )


def command(text: str) -> html.Div:
    """A command line with a button that copies it."""
    return html.Div(
        [
            html.Pre(text, tabIndex="0"),
            dmc.CopyButton(
                value=text,
                children="Copy",
                copiedChildren="Copied",
                size="compact-xs",
                variant="default",
            ),
        ],
        className="command",
    )


def quoted(text: str) -> str:
    """``text`` as one word of a shell command."""
    return shlex.quote(text)


def curl(origin: str) -> str:
    """A shell command that posts one event."""
    return " \\\n  ".join(
        [
            f"curl -X POST {shlex.quote(f'{origin}/api/v1/events')}",
            "-H 'content-type: application/json'",
            f"-d {shlex.quote(json.dumps(FIRST_EVENT))}",
        ]
    )
