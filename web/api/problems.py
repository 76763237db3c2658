"""What went wrong, as the interface says it: RFC 9457 problems, and how exceptions become them.

Owns the one shape of every answer that is no success. What an exception says of the inside stays in the log: an unexpected
one is `internal` and nothing more.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from vms.errors import CatalogueError, CatalogueUnavailable, SourceError, UserError
from vms.sentences import Sentence, say
from web.identity.refusals import STATUS, TITLES, Code, Refusal, in_words, refused

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
MOST_ERRORS = 50
_BY_STATUS = {
    401: Code.NOT_SIGNED_IN, 403: Code.FORBIDDEN, 404: Code.NOT_FOUND, 405: Code.METHOD_NOT_ALLOWED, 413: Code.TOO_LARGE,
    415: Code.UNSUPPORTED_TYPE, 400: Code.INVALID, 422: Code.INVALID,
}  # fmt: skip

# What pydantic calls a fault, and what we say of it.
_BOUNDS = {
    "string_too_short": ("text_short", "min_length", "least"), "string_too_long": ("text_long", "max_length", "most"),
    "too_short": ("list_short", "min_length", "least"), "too_long": ("list_long", "max_length", "most"),
    "greater_than_equal": ("number_small", "ge", "least"), "less_than_equal": ("number_large", "le", "most"),
}  # fmt: skip
_FAULTS = {"missing": "is_needed", "literal_error": "not_known", "enum": "not_known", "extra_forbidden": "not_expected",
           "finite_number": "not_number", "string_pattern_mismatch": "field_wrong"}  # fmt: skip
_STEMS = {"int_": "not_whole", "float_": "not_number", "string_": "not_text", "bool_": "not_yes_no", "uuid_": "not_id",
          "json_": "not_json"}  # fmt: skip


def problem(code: Code, detail: str = "", *, status: int | None = None, **facts: Any) -> Response:
    """The answer for a code."""
    content = {
        "type": f"urn:stroz:problem:{code.value}",
        "title": TITLES[code],
        "status": status or STATUS[code],
        "detail": detail or TITLES[code],
        "code": code.value,
        **{name: fact for name, fact in facts.items() if fact is not None},
    }
    headers = {"Cache-Control": "no-store"}
    if facts.get("retry_after") is not None:
        headers["Retry-After"] = str(math.ceil(facts["retry_after"]))
    if content["status"] == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(content, content["status"], headers, MEDIA_TYPE)


def of_refusal(refusal: Refusal) -> Response:
    return problem(refusal.code, refusal.detail, **refusal.facts)


def answer_problems(app: FastAPI) -> None:
    """Teach the application what its exceptions mean."""

    @app.exception_handler(Refusal)
    async def _refused(_request: Request, error: Refusal) -> Response:
        return of_refusal(error)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_request: Request, error: RequestValidationError) -> Response:
        return problem(Code.INVALID, errors=field_errors(error.errors()))

    @app.exception_handler(HTTPException)
    async def _http(_request: Request, error: HTTPException) -> Response:
        code = _BY_STATUS.get(error.status_code, Code.INVALID)
        answer = problem(code, status=error.status_code)
        for name, value in (error.headers or {}).items():
            answer.headers[name] = value
        return answer

    @app.exception_handler(UserError)
    async def _user(_request: Request, error: UserError) -> Response:
        return of_refusal(refused(Code.INVALID, in_words(error)))

    @app.exception_handler(CatalogueUnavailable)
    async def _catalogue_away(_request: Request, error: CatalogueUnavailable) -> Response:
        log.warning("a request was refused: %s", error)
        return problem(Code.CATALOGUE_AWAY, retry_after=2)

    @app.exception_handler(CatalogueError)
    async def _catalogue(_request: Request, error: CatalogueError) -> Response:
        log.error("the catalogue refused a request: %s", error)
        return problem(Code.INTERNAL)

    @app.exception_handler(SourceError)
    async def _recorder_away(_request: Request, error: SourceError) -> Response:
        log.info("a request was refused: %s", error)
        return problem(Code.RECORDER_AWAY, retry_after=2)

    @app.exception_handler(ClientDisconnect)
    async def _gone(_request: Request, _error: ClientDisconnect) -> Response:
        return problem(Code.INVALID, status=400)  # nobody is there to read it

    @app.exception_handler(Exception)
    async def _bug(_request: Request, _error: Exception) -> Response:
        return problem(Code.INTERNAL)  # the server logs the traceback


def field_errors(errors: Sequence[Any]) -> list[dict[str, Any]]:
    """Which fields are wrong and how, without what was sent: it may be a password. `errors` as pydantic gives them."""
    found = []
    for error in errors[:MOST_ERRORS]:
        said = _fault(error)
        field = ".".join(str(part) for part in error["loc"][1:]) or str(error["loc"][0])
        found.append({"field": field, "detail": said, "said": said.as_json()})
    return found


def _fault(error: Any) -> Sentence:
    kind, bounds = str(error["type"]), error.get("ctx", {})
    if kind in _BOUNDS:
        code, bound, name = _BOUNDS[kind]
        return say(code, **{name: bounds[bound]})
    code = _FAULTS.get(kind) or next((code for stem, code in _STEMS.items() if kind.startswith(stem)), "field_wrong")
    return say(code).noted(str(bounds["expected"])) if code == "not_known" else say(code)
