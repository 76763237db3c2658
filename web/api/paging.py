"""Pages of lists: a limit, and a mark behind which the next page begins. A mark is opaque to clients and holds no secret."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated
from uuid import UUID

from fastapi import Query

from vms.sentences import say
from web.identity.refusals import invalid

Limit = Annotated[int, Query(ge=1, le=1000)]
After = Annotated[str, Query(max_length=400, description="`next` of the page before.")]


def mark(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_mark(after: str) -> str:
    """What `mark` was given. Refusal INVALID."""
    try:
        return base64.urlsafe_b64decode(after + "=" * (-len(after) % 4)).decode()
    except (ValueError, binascii.Error) as error:
        raise invalid("after", say("mark_form")) from error


def read_number(after: str) -> int | None:
    """A mark that is a number. Refusal INVALID."""
    if not after:
        return None
    text = read_mark(after)
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise invalid("after", say("mark_form"))
    return int(text)


def login_mark(made_ns: int, login_id: UUID) -> str:
    return mark(f"{made_ns} {login_id}")


def read_login_mark(after: str) -> tuple[int, UUID] | None:
    """What `login_mark` was given. Refusal INVALID."""
    if not after:
        return None
    made, _, login_id = read_mark(after).partition(" ")
    try:
        if not made.isascii() or not made.isdigit() or len(made) > 19:
            raise ValueError
        return int(made), UUID(login_id)
    except ValueError as error:
        raise invalid("after", say("mark_form")) from error
