"""A sink that checks what it is given: what every source owes, whatever bytes it read."""

from __future__ import annotations

from vms.model import AccessUnit, SenderReport


class Checking:
    """See `vms.media.sink.UnitSink`."""

    def on_unit(self, unit: AccessUnit) -> None:
        assert unit.data

    def on_loss(self, packets: int) -> None:
        assert packets > 0

    def on_sender_report(self, report: SenderReport) -> None:
        assert report.ntp_ns
