"""What can be set about the dashboard itself."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import SecretStr


@dataclass(frozen=True, slots=True)
class DashboardSettings:
    """How the pages are served.

    Attributes:
        token: when set, every page asks for it once and keeps a session cookie; the API has its own bearer check.
        refresh_s: how often an open, visible page asks for news; > 0.
        session_s: how long a session lasts.
    """

    token: SecretStr | None = None
    refresh_s: float = 5.0
    session_s: int = 30 * 86_400

    def __post_init__(self) -> None:
        if not self.refresh_s > 0:
            raise ValueError("refresh_s must be positive")
        if self.token is not None and not self.token.get_secret_value():
            raise ValueError("the dashboard's token is empty: set one, or leave it out")
