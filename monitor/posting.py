"""Posting logs to a running Vedette over its API."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from monitor.errors import PermanentError, TransientError
from monitor.sources.files import FileSource

_RECORDS_PER_POST = 1_000
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Posted:
    accepted: int
    rejected: int


def post_logs(logs: Sequence[Path], url: str, token: str | None, progress: Callable[[int], None]) -> Posted:
    """Post every record of the logs, in order, a thousand at a time.

    Raises:
        TransientError: nobody answers at ``url``.
        PermanentError: the answer was a refusal, or a log cannot be opened.
    """
    source = FileSource(logs)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    accepted, rejected = 0, 0
    with httpx.Client(base_url=url, headers=headers, timeout=_TIMEOUT_S, trust_env=False) as client:
        for partition in source.assignment().assigned:
            source.seek(partition, source.bounds(partition).low)
        while not source.exhausted():
            for records in source.poll(0.0, _RECORDS_PER_POST).values():
                body = b"\n".join(record.value for record in records if record.value)
                answer = _post(client, body)
                accepted += answer.accepted
                rejected += answer.rejected
                progress(len(records))
    source.close()
    return Posted(accepted, rejected)


def _post(client: httpx.Client, body: bytes) -> Posted:
    try:
        response = client.post("/api/v1/events", content=body, headers={"Content-Type": "application/x-ndjson"})
    except httpx.HTTPError as error:
        cause = type(error).__name__
        raise TransientError(f"{client.base_url} does not answer ({cause}); is `vedette up` running?") from error
    if response.status_code != httpx.codes.ACCEPTED:
        raise PermanentError(f"{client.base_url} refused the events: {response.status_code} {response.text[:300]}")
    answer = response.json()
    return Posted(int(answer["accepted"]), len(answer["rejected"]))
