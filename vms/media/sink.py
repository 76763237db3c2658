"""What hands access units on calls back into: the one seam between receiving a stream and using it.

Calls are synchronous and must be cheap: they run inside the socket's read callback.
"""

from __future__ import annotations

from typing import Protocol

from vms.model import AccessUnit, SenderReport


class UnitSink(Protocol):
    """Receives one stream (one track of a session) in decoding order."""

    def on_unit(self, unit: AccessUnit) -> None:
        """One whole access unit. `unit.config` changes identity exactly when the codec configuration changes."""

    def on_loss(self, packets: int) -> None:
        """About `packets` packets were lost just now; the access unit they belonged to is not delivered."""

    def on_sender_report(self, report: SenderReport) -> None:
        """The camera states which wall time a media time was. Believed only where the camera's profile says so."""
