"""Recording from RTSP servers that are not ours: GStreamer's over TCP and UDP, VLC's over UDP; H.264 and H.265."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.support.foreign_servers import film, gstreamer, vlc
from tests.support.stack import MS, Recorded, running_stack
from vms.model import Codec, GapReason
from vms.simulate.footage import read_clip
from vms.simulate.nals import is_kept, is_slice, split

pytestmark = [pytest.mark.network, pytest.mark.timeout(120)]

SECONDS = 3.0
KIND = {Codec.H264: "h264", Codec.H265: "h265"}
codecs = pytest.mark.parametrize("codec", list(KIND), ids=list(KIND.values()))


async def recorded(url: str, transport: str) -> list[Recorded]:
    """Record `url` for a while in one attempt and one run, without gap or damage."""
    async with running_stack() as stack:
        camera = (await stack.add("Rynek", url, transport=transport)).name
        await stack.start()
        await stack.recording(seconds=25)
        await stack.recorded_for(SECONDS)
        state = await stack.state(camera)
        assert (state["source"], state["attempts"], state["runs"]) == ("rtsp", 1, 1)
        assert (state["codec"], state["width"], state["height"]) == (state["codec"], 320, 180)
        await stack.stop()
        gaps = await stack.gaps(camera)
        assert {gap.reason for gap in gaps} == {GapReason.RECORDER_RESTART}
        assert len((await stack.timeline(camera)).spans) == 1
        units = await stack.units(camera)
    assert len(units) >= SECONDS * 25
    assert not any(u.damaged for u in units)
    assert {later.capture_ns - earlier.capture_ns for earlier, later in pairwise(units)} <= set(
        range(39 * MS, 41 * MS + 1)
    )
    return units


def nals_of(units: list[Recorded]) -> list[list[bytes]]:
    return [split(unit.data, 4) for unit in units]


@codecs
@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_gstreamer(codec: Codec, transport: str) -> None:
    path = film(codec)
    async with gstreamer(path, KIND[codec]) as url:
        units = await recorded(url, transport)
    sent = [unit.data for unit in read_clip(path).units]
    start = sent.index(units[0].data)
    assert [unit.data for unit in units] == sent[start:][: len(units)]


@codecs
async def test_vlc(codec: Codec) -> None:
    """VLC adds the SEI of the file's decoder configuration to its first picture; everything else is the file's."""
    path = film(codec)
    async with vlc(path) as url:
        units = await recorded(url, "udp")
    clip = [list(unit.nals) for unit in read_clip(path).units]
    known = {nal for nals in clip for nal in nals}
    found = nals_of(units)
    assert all(is_kept(codec, nal) for nals in found for nal in nals)
    added = [nal for nals in found for nal in nals if nal not in known]
    assert not any(is_slice(codec, nal) for nal in added)
    assert len(added) <= 1
    kept = [[nal for nal in nals if nal in known] for nals in found]
    start = clip.index(kept[0])
    assert kept == clip[start:][: len(kept)]
