"""Dead letters: what could not be read."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter
from pydantic import BaseModel

from monitor.api.paging import Cursor, Limit, NextCursor
from monitor.queries import DeadLetterRow, Queries


class DeadLetterPage(BaseModel):
    """Records and events that were set aside, newest first."""

    dead_letters: Sequence[DeadLetterRow]
    next_cursor: NextCursor


def dead_letter_routes(queries: Queries) -> APIRouter:
    router = APIRouter(tags=["events"])

    @router.get("/dead-letters", operation_id="listDeadLetters")
    def dead_letters(limit: Limit = 100, cursor: Cursor = None) -> DeadLetterPage:
        """Records and events that were set aside, with the reason."""
        page = queries.dead_letters(limit, cursor)
        return DeadLetterPage(dead_letters=page.rows, next_cursor=page.next_cursor)

    return router
