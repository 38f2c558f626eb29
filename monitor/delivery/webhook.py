"""Webhook: one signed JSON object per transition, after the Standard Webhooks specification."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from datetime import datetime
from typing import ClassVar

from monitor.alerting.public import compact_json, short_line
from monitor.delivery.base import Notification, Receipt, link_to
from monitor.delivery.post import Poster

SECRET_PREFIX = "whsec_"  # noqa: S105 - a prefix, not a secret
SECRET_BYTES = range(24, 65)
LONGEST_BODY = 20_000


class Webhook:
    """Posts the public line of a change, shortened to 20 kB, with its title, summary and link.

    Headers: ``webhook-id`` (the delivery, the same over all attempts), ``webhook-timestamp`` (of the attempt) and,
    with a key, ``webhook-signature`` (``v1``, HMAC-SHA256 over ``id.timestamp.body``).
    """

    type: ClassVar[str] = "webhook"

    def __init__(self, poster: Poster, key: bytes | None, public_url: str | None) -> None:
        self._poster = poster
        self._public_url = public_url
        self._key = key

    def send(self, notification: Notification, now: datetime) -> Receipt:
        body = body_of(notification, link_to(notification.change.incident.id, self._public_url))
        timestamp = str(int(now.timestamp()))
        headers = {
            "Content-Type": "application/json",
            "webhook-id": notification.id,
            "webhook-timestamp": timestamp,
        }
        if self._key is not None:
            headers["webhook-signature"] = signature(self._key, notification.id, timestamp, body)
        return self._poster.post(headers, body, now)


def body_of(notification: Notification, link: str | None) -> bytes:
    """JSON in UTF-8: the public line, title, summary and link.

    Beyond ``LONGEST_BODY`` bytes the line is shortened as ``short_line`` says; texts are never cut for it.
    """
    told = {"title": notification.title, "summary": notification.summary, "link": link}
    room = LONGEST_BODY - len(compact_json(told))
    return compact_json({**short_line(notification.change, room), **told})


def signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    """``v1,`` and the base64 of the HMAC."""
    signed = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(signed.digest()).decode()}"


def key_of(secret: str) -> bytes:
    """The key in a ``whsec_`` secret.

    Raises:
        ValueError: not that form; the message does not quote it.
    """
    encoded = secret.removeprefix(SECRET_PREFIX)
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if encoded == secret or len(key) not in SECRET_BYTES:
        raise ValueError(f"must be {SECRET_PREFIX} and the base64 of 24 to 64 bytes")
    return key
