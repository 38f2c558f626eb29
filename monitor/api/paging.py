"""Parameters of every list that is read in pages."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from pydantic import Field

Limit = Annotated[int, Query(ge=1, le=1_000, description="Rows in a page.")]
Cursor = Annotated[str | None, Query(max_length=1_024, description="`next_cursor` of the page before.")]
NextCursor = Annotated[str | None, Field(description="Cursor of the next page; null at the end.")]
