"""Posting logs to a running Vedette over its API."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from monitor.errors import PermanentError, TransientError
from monitor.sources.base import Record
from monitor.sources.files import FileSource

_RECORDS_PER_POST = 1_000
_BYTES_PER_POST = 4 << 20
"""Half of what a server takes by default; a larger record goes alone."""
_TIMEOUT_S = 30.0
_LATER = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class Posted:
    """How many events the answers told of."""

    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    """By reason."""

    def __add__(self, other: Posted) -> Posted:
        return Posted(self.accepted + other.accepted, self.rejected + other.rejected)


def post_logs(
    logs: Sequence[Path], url: str, token: str | None, default_model: str, progress: Callable[[int], None]
) -> Posted:
    """Post every record of the logs, in order, up to a thousand at a time.

    Args:
        default_model: model of events that name none.

    Raises:
        TransientError: nobody answers at ``url``, or it cannot take more now; says how many events it has taken.
        PermanentError: the answer was a refusal, ``url`` is none, or a log cannot be opened.
    """
    source = FileSource(logs, default_model=default_model)
    posted = Posted()
    try:
        with _client(url, token) as client:
            for records in _read(source):
                for body in _bodies(record.value for record in records if record.value):
                    posted += _post(client, body, posted)
                progress(len(records))
    finally:
        source.close()
    return posted


def _client(url: str, token: str | None) -> httpx.Client:
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        address = httpx.URL()
    if address.scheme not in ("http", "https") or not address.host or address.userinfo:
        raise PermanentError("--url: must be http://HOST:PORT or https://HOST, without a user name")
    if token and not (token.isascii() and token.isprintable()):
        raise PermanentError("--token: must be printable ASCII")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=address, headers=headers, timeout=_TIMEOUT_S, trust_env=False)


def _read(source: FileSource) -> Iterator[Sequence[Record]]:
    for partition in source.assignment().assigned:
        source.seek(partition, source.bounds(partition).low)
    while not source.exhausted():
        yield from source.poll(0.0, _RECORDS_PER_POST).values()


def _bodies(values: Iterable[bytes]) -> Iterator[bytes]:
    """The values as NDJSON of bounded size."""
    held: list[bytes] = []
    size = 0
    for value in values:
        if held and size + len(value) > _BYTES_PER_POST:
            yield b"\n".join(held)
            held, size = [], 0
        held.append(value)
        size += len(value) + 1
    if held:
        yield b"\n".join(held)


def _post(client: httpx.Client, body: bytes, before: Posted) -> Posted:
    so_far = f"it had taken {before.accepted:,} events" if before.accepted else "it has taken no event"
    try:
        response = client.post("api/v1/events", content=body, headers={"Content-Type": "application/x-ndjson"})
    except httpx.HTTPError as error:
        cause = str(error) or type(error).__name__
        raise TransientError(
            f"{client.base_url} does not answer ({cause}; {so_far}): start `vedette up`, or correct --url"
        ) from error
    if response.status_code in _LATER:
        raise TransientError(f"{client.base_url} cannot take more now ({_said(response)}; {so_far}): try again later")
    if response.status_code == httpx.codes.UNAUTHORIZED:
        raise PermanentError(f"{client.base_url} wants another token: set --token or VEDETTE_WEB__TOKEN")
    if response.status_code != httpx.codes.ACCEPTED:
        raise PermanentError(f"{client.base_url} refused the events ({_said(response)}; {so_far})")
    answer = response.json()
    return Posted(int(answer["accepted"]), Counter(row["reason"] for row in answer["rejected"]))


def _said(response: httpx.Response) -> str:
    return f"{response.status_code} {response.text[:300]}".strip()
