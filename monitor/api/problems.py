"""Every error as application/problem+json (RFC 9457), with the request's id and never a traceback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from monitor.api.bodies import MalformedBody, TooManyEvents, WrongMediaType
from monitor.errors import Conflict, NotFound, Refused, TransientError
from monitor.queries import InvalidCursor

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5
_MAX_FAULTS = 50

log = structlog.get_logger(__name__)


class Fault(BaseModel):
    """One thing that is wrong with a request."""

    location: str = Field(description="Where, such as `query.limit` or `body.by`.")
    message: str


class Problem(BaseModel):
    """An error, after RFC 9457."""

    type: str = Field(description="Stable name of the problem.", examples=["urn:vedette:problem:not-found"])
    title: str
    status: int
    detail: str
    request_id: str = Field(description="Also in the header X-Request-Id and in the logs.")
    errors: list[Fault] = Field(default=[], description="Every fault, where a request has several.")


def problem(
    status: int,
    detail: str,
    request_id: str,
    errors: Sequence[Fault] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A finished answer of this status."""
    title = HTTPStatus(status).phrase
    body = Problem(
        type=f"urn:vedette:problem:{title.lower().replace(' ', '-')}",
        title=title,
        status=status,
        detail=detail,
        request_id=request_id,
        errors=list(errors),
    )
    return Response(body.model_dump_json(), status, headers, MEDIA_TYPE)


def request_id(request: Request) -> str:
    return str(request.scope.get("state", {}).get("request_id", ""))


def handle_problems(app: FastAPI) -> None:
    """Make every error that routes raise, or that stands for a missing route, a problem."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(NotFound, _refused(HTTPStatus.NOT_FOUND))
    app.add_exception_handler(Conflict, _refused(HTTPStatus.CONFLICT))
    app.add_exception_handler(WrongMediaType, _refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE))
    app.add_exception_handler(MalformedBody, _refused(HTTPStatus.BAD_REQUEST))
    app.add_exception_handler(TooManyEvents, _refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE))
    app.add_exception_handler(Refused, _refused(HTTPStatus.UNPROCESSABLE_ENTITY))
    app.add_exception_handler(InvalidCursor, _cursor)
    app.add_exception_handler(TransientError, _transient)


def _http(request: Request, error: Any) -> Response:
    detail = _DETAILS.get(error.status_code, "") if error.detail == _phrase(error.status_code) else str(error.detail)
    return problem(error.status_code, detail, request_id(request), headers=error.headers)


_DETAILS = {
    404: "there is nothing at this address; /api/v1/openapi.json lists what there is",
    405: "this address does not take this method; the header Allow lists those it takes",
}


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase


def _invalid(request: Request, error: Any) -> Response:
    """Names each fault but never repeats the value, which may be anything."""
    faults = [
        Fault(location=".".join(str(part) for part in item["loc"]), message=item["msg"])
        for item in error.errors()[:_MAX_FAULTS]
    ]
    return problem(422, "the request is not valid; see errors", request_id(request), faults)


def _refused(status: HTTPStatus) -> Any:
    def answer(request: Request, error: Exception) -> Response:
        return problem(status, str(error), request_id(request))

    return answer


def _cursor(request: Request, error: Exception) -> Response:
    return problem(422, str(error), request_id(request), [Fault(location="query.cursor", message=str(error))])


def _transient(request: Request, error: Exception) -> Response:
    log.warning("request_not_served", cause=str(error), path=request.url.path)
    detail = "something this needs is away for now; try again, nothing is known to have changed"
    return problem(503, detail, request_id(request), headers={"Retry-After": str(RETRY_AFTER_S)})
