"""What the house of people answers when something may not or cannot be done: one code each, stable for clients.

Owns the codes of the interface and their HTTP statuses. The client says them in Polish and English; the texts here are
for logs and programs. A refusal never says whether something forbidden exists.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from vms.errors import UserError, VmsError
from vms.sentences import Sentence, say, sentence_of


class Code(StrEnum):
    """docs/reference/api.md lists them with what a person can do."""

    NOT_SIGNED_IN = "not_signed_in"
    WRONG_CREDENTIALS = "wrong_credentials"
    SLOW_DOWN = "slow_down"
    CSRF = "csrf"
    FORBIDDEN = "forbidden"
    CONFIRM_PASSWORD = "confirm_password"  # noqa: S105 - a code, no password
    CHANGE_PASSWORD = "change_password"  # noqa: S105
    WEAK_PASSWORD = "weak_password"  # noqa: S105
    PASSWORD_NEEDED = "password_needed"  # noqa: S105
    PURPOSE_REQUIRED = "purpose_required"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    CONFLICT = "conflict"
    SOURCE_NOT_LIVE = "source_not_live"
    NO_SUCH_STREAM = "no_such_stream"
    STALE = "stale"
    PRECONDITION_REQUIRED = "precondition_required"
    INVALID = "invalid"
    TOO_LARGE = "too_large"
    UNSUPPORTED_TYPE = "unsupported_type"
    CODEC_UNSUPPORTED = "codec_unsupported"
    OFFER_MALFORMED = "offer_malformed"
    TOO_MANY_SESSIONS = "too_many_sessions"
    TOO_MANY_VIEWS = "too_many_views"
    TOO_MANY_CONNECTING = "too_many_connecting"
    GATEWAY_AWAY = "gateway_away"
    RECORDER_AWAY = "recorder_away"
    CATALOGUE_AWAY = "catalogue_away"
    SETUP_DONE = "setup_done"
    INTERNAL = "internal"


STATUS: dict[Code, int] = {
    Code.NOT_SIGNED_IN: 401, Code.WRONG_CREDENTIALS: 401, Code.SLOW_DOWN: 429, Code.CSRF: 403, Code.FORBIDDEN: 403,
    Code.CONFIRM_PASSWORD: 403, Code.CHANGE_PASSWORD: 403, Code.WEAK_PASSWORD: 422, Code.PURPOSE_REQUIRED: 403,
    Code.PASSWORD_NEEDED: 422, Code.TOO_MANY_VIEWS: 429, Code.TOO_MANY_CONNECTING: 429,
    Code.NOT_FOUND: 404, Code.METHOD_NOT_ALLOWED: 405, Code.CONFLICT: 409, Code.SOURCE_NOT_LIVE: 409, Code.STALE: 412,
    Code.PRECONDITION_REQUIRED: 428, Code.INVALID: 422, Code.TOO_LARGE: 413, Code.UNSUPPORTED_TYPE: 415,
    Code.CODEC_UNSUPPORTED: 406, Code.OFFER_MALFORMED: 400, Code.TOO_MANY_SESSIONS: 503, Code.GATEWAY_AWAY: 503,
    Code.RECORDER_AWAY: 503, Code.CATALOGUE_AWAY: 503, Code.SETUP_DONE: 410,
    Code.INTERNAL: 500, Code.NO_SUCH_STREAM: 422,
}  # fmt: skip

TITLES: dict[Code, str] = {
    Code.NOT_SIGNED_IN: "Sign in first",
    Code.WRONG_CREDENTIALS: "Name or password is wrong",
    Code.SLOW_DOWN: "Too many attempts; wait and try again",
    Code.CSRF: "The request does not come from our own page",
    Code.FORBIDDEN: "Your roles do not allow this",
    Code.CONFIRM_PASSWORD: "Confirm your password first",
    Code.CHANGE_PASSWORD: "Change your one-time password first",
    Code.WEAK_PASSWORD: "The new password is too easy to guess",
    Code.PASSWORD_NEEDED: "The camera's password is needed again for another host",
    Code.PURPOSE_REQUIRED: "State the purpose",
    Code.NOT_FOUND: "There is no such thing, or you may not see it",
    Code.METHOD_NOT_ALLOWED: "This cannot be done here",
    Code.CONFLICT: "What is there already stands in the way",
    Code.SOURCE_NOT_LIVE: "The camera sends no picture now",
    Code.NO_SUCH_STREAM: "The camera has no such stream",
    Code.STALE: "Somebody changed it meanwhile",
    Code.PRECONDITION_REQUIRED: "Say which version you change (If-Match)",
    Code.INVALID: "The request does not fit its description",
    Code.TOO_LARGE: "The request is too large",
    Code.UNSUPPORTED_TYPE: "The request's body is of another type than expected",
    Code.CODEC_UNSUPPORTED: "The browser cannot show any stream of this camera",
    Code.OFFER_MALFORMED: "The session description offered cannot be read",
    Code.TOO_MANY_SESSIONS: "The gateway shows as many pictures as it may",
    Code.TOO_MANY_VIEWS: "You watch as many pictures as one user may",
    Code.TOO_MANY_CONNECTING: "Many of your pictures are being set up; try again in a moment",
    Code.GATEWAY_AWAY: "The live gateway does not answer",
    Code.RECORDER_AWAY: "The recorder does not answer",
    Code.CATALOGUE_AWAY: "The catalogue does not answer",
    Code.SETUP_DONE: "The site has been set up already",
    Code.INTERNAL: "Something here is broken; it is in the log",
}


class Refusal(VmsError):
    """A request that is not carried out. `facts` go into the answer beside the code: `retry_after`, `field`, `errors`."""

    def __init__(self, code: Code, detail: str = "", **facts: Any) -> None:
        super().__init__(detail or TITLES[code])
        self.code = code
        self.detail = detail
        self.facts = facts


def not_found() -> Refusal:
    """The same answer for what is not there and for what the asker may not see."""
    return Refusal(Code.NOT_FOUND)


def invalid(field: str, said: Sentence) -> Refusal:
    """One field is wrong."""
    return Refusal(Code.INVALID, said, errors=[{"field": field, "detail": said, "said": said.as_json()}])


def refused(code: Code, said: Sentence, *, field: str | None = None) -> Refusal:
    """What says more exactly than its code why something is not done."""
    return Refusal(code, said, said=said.as_json(), field=field)


def in_words(error: UserError) -> Sentence:
    """What a refusal of the house's inside says, by code whatever it was."""
    return sentence_of(error) or say("not_done").noted(str(error))
