"""Keys: names from outside (clients, segments) in a form that every sketch and store can hold."""

from __future__ import annotations

import hashlib

MAX_KEY = 200


def client_key(client: str) -> str:
    """A client id that any store can hold: at most ``MAX_KEY`` characters, no control characters or lone surrogates.

    An id that is changed gets a digest of the original, so that two different clients never share a key.

    >>> client_key("acme-7")
    'acme-7'
    """
    if len(client) <= MAX_KEY and client.isprintable():
        return client
    raw = client.encode("utf-8", "surrogatepass")
    clean = "".join(c if c.isprintable() else "�" for c in client[: MAX_KEY - 20])
    return f"{clean}~{hashlib.sha256(raw).hexdigest()[:16]}"
