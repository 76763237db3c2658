"""What the tests of the RTSP client share: a sink that remembers, a way to run a session to its end."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from vms.errors import SourceError
from vms.model import AccessUnit, SenderReport
from vms.rtsp.client import RtspOptions, RtspSession

QUICK = RtspOptions(connect_timeout=2.0, request_timeout=1.0, stall_timeout=0.25, lingering_timeout=0.5)


@dataclass
class Collected:
    """A sink that keeps what it is given."""

    units: list[AccessUnit] = field(default_factory=list)
    lost: int = 0
    reports: list[SenderReport] = field(default_factory=list)

    def on_unit(self, unit: AccessUnit) -> None:
        self.units.append(unit)

    def on_loss(self, packets: int) -> None:
        self.lost += packets

    def on_sender_report(self, report: SenderReport) -> None:
        self.reports.append(report)


async def watch(
    url: str,
    sink: Collected | None = None,
    *,
    options: RtspOptions = QUICK,
    tracks: int = 1,
    **more: str,
) -> SourceError:
    """Receive the first `tracks` media until the session ends; the error it ended with."""
    sink = sink or Collected()
    with pytest.raises(SourceError) as caught:
        async with RtspSession.open(url, options=options, **more) as session:
            for media in session.description.media[:tracks]:
                await session.setup(media, sink)
            await session.play()
            await session.run()
    return caught.value
