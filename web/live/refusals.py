"""What the gateway does not do, and why: one code each, which the web process knows (`web.api.live_gateway`)."""

from __future__ import annotations

from vms.errors import VmsError


class Refusal(VmsError):
    """A request that cannot be carried out: its stable code, and how long to wait before asking again."""

    def __init__(self, code: str, detail: str, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.retry_after = retry_after
