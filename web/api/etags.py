"""Versions of cameras, users and layouts in HTTP: the ETag of what was looked at, and If-Match of what is changed (RFC 9110 §13)."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header

from web.identity.refusals import Code, Refusal

IfMatch = Annotated[str | None, Header(alias="If-Match", max_length=100, description="ETag of what was looked at.")]


def etag(version: int) -> str:
    return f'"{version}"'


def read_version(if_match: str | None) -> int:
    """The version in an ETag. Refusals PRECONDITION_REQUIRED where there is none, STALE for what is none of ours."""
    if if_match is None:
        raise Refusal(Code.PRECONDITION_REQUIRED)
    text = if_match.removeprefix("W/").strip('"')
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Refusal(Code.STALE)
    return int(text)
