"""Destinations from settings: the one place that names every kind of destination."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from monitor.config import DestinationSettings, SlackSettings, WebhookSettings
from monitor.delivery.address_guard import Reach
from monitor.delivery.base import Destination
from monitor.delivery.post import Poster, checked_url, url_secrets
from monitor.delivery.slack import Slack
from monitor.delivery.webhook import SECRET_PREFIX, Webhook, key_of
from monitor.errors import SettingsError


def build_destinations(
    destinations: Iterable[DestinationSettings], public_url: str | None
) -> Mapping[str, Destination]:
    """Every destination by its name; messages link to the dashboard at ``public_url``.

    Raises:
        SettingsError: an address or secret that cannot be used; lists every fault, quotes no secret.
    """
    built: dict[str, Destination] = {}
    faults: list[str] = []
    for settings in destinations:
        try:
            built[settings.name] = build_destination(settings, public_url)
        except SettingsError as error:
            faults.extend(error.faults)
    if faults:
        raise SettingsError(faults)
    return built


def build_destination(settings: DestinationSettings, public_url: str | None) -> Destination:
    """One destination.

    Raises:
        SettingsError: its address or secret cannot be used.
    """
    match settings:
        case WebhookSettings():
            return _webhook(settings, public_url)
        case SlackSettings():
            return Slack(_poster(settings, settings.url.get_secret_value(), ()), public_url)


def _webhook(settings: WebhookSettings, public_url: str | None) -> Webhook:
    secret = settings.secret.get_secret_value() if settings.secret else None
    try:
        key = key_of(secret) if secret is not None else None
    except ValueError as error:
        raise SettingsError([f"destinations.{settings.name}.secret: {error}"]) from None
    secrets = (secret, secret.removeprefix(SECRET_PREFIX)) if secret else ()
    return Webhook(_poster(settings, str(settings.url), secrets), key, public_url)


def _poster(settings: DestinationSettings, url: str, secrets: tuple[str, ...]) -> Poster:
    schemes = frozenset({"https", "http"}) if settings.allow_http else frozenset({"https"})
    checked = checked_url(url, schemes, settings.name)
    reach = Reach.ANYWHERE if settings.allow_private_addresses else Reach.PUBLIC
    return Poster(checked, reach, (*secrets, *url_secrets(checked)))
