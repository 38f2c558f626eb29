"""Attributes for people who hear the page instead of seeing it."""

from __future__ import annotations

from typing import Any


def aria(**attributes: str) -> Any:
    """ARIA attributes as keyword arguments of a component.

    >>> aria(hidden="true")
    {'aria-hidden': 'true'}
    """
    return {f"aria-{name}": value for name, value in attributes.items()}
