"""That each quirk alters what goes over the wire as its summary says, and nothing else alters it."""

import asyncio
import base64
import itertools
import re

import pytest

from tests.support.raw_rtsp import Packet, RawClient
from vms.model import Codec
from vms.simulate import QUIRKS, running
from vms.simulate.footage import read_clip
from vms.simulate.nals import nal_type
from vms.simulate.packets import Reel, shape
from vms.simulate.simulator import recoded_clip

CODECS = [0, 1]


@pytest.fixture
def clip(small_footage, request):
    return read_clip(small_footage[getattr(request, "param", 0)].main)


def pieces(clip, *quirks):
    return shape(clip.config.codec, clip.units[0], frozenset(quirks))


def nals_of(piece, codec):
    """NAL units of a payload: whole ones, those of an aggregate, or the one a first fragment starts."""
    payload = piece.payload
    header, aggregate, fragment = (1, 24, 28) if codec is Codec.H264 else (2, 48, 49)
    kind = nal_type(codec, payload)
    if kind == aggregate:
        found, at = [], header
        while at < len(payload):
            size = int.from_bytes(payload[at : at + 2], "big")
            found.append(payload[at + 2 : at + 2 + size])
            at += 2 + size
        return found
    if kind == fragment:
        return []
    return [payload]


@pytest.mark.parametrize("clip", CODECS, indirect=True)
def test_proper_units_are_marked_once_at_their_end(clip):
    assert [p.marker for p in pieces(clip)] == [False] * (len(pieces(clip)) - 1) + [True]
    assert {p.ticks for p in pieces(clip)} == {0}


@pytest.mark.parametrize("clip", CODECS, indirect=True)
def test_markers(clip):
    count = len(clip.units[0].sets) + len(clip.units[0].nals)
    assert sum(p.marker for p in pieces(clip, "marker_everywhere")) == count
    assert not any(p.marker for p in pieces(clip, "marker_never"))
    on_sets = pieces(clip, "marker_on_sets")
    assert sum(p.marker for p in on_sets) > len(clip.units[0].sets)


@pytest.mark.parametrize("clip", CODECS, indirect=True)
def test_aud_and_sets(clip):
    codec = clip.config.codec
    kinds = [nal_type(codec, n) for p in pieces(clip, "aud") for n in nals_of(p, codec)]
    assert kinds[0] == (9 if codec is Codec.H264 else 35)
    sets = {nal_type(codec, s) for s in clip.units[0].sets}
    assert sets <= set(kinds)
    bare = [nal_type(codec, n) for p in pieces(clip, "sets_only_in_sdp") for n in nals_of(p, codec)]
    assert not sets & set(bare)


@pytest.mark.parametrize("clip", CODECS, indirect=True)
def test_timestamps_within_a_unit(clip):
    ticks = [p.ticks for p in pieces(clip, "timestamp_per_nal")]
    assert len(set(ticks)) == len(clip.units[0].sets) + len(clip.units[0].nals)
    assert 0 in ticks
    apart = pieces(clip, "pictureless_units")
    assert sorted({p.ticks for p in apart}) == [-90, 0]
    assert [p for p in apart if p.ticks][-1].marker


@pytest.mark.parametrize("clip", CODECS, indirect=True)
def test_start_codes_inside_fragments(clip):
    fragments = pieces(clip, "annexb_in_fu")
    kind = 28 if clip.config.codec is Codec.H264 else 49
    assert {nal_type(clip.config.codec, p.payload) for p in fragments} == {kind}
    skip = 2 if clip.config.codec is Codec.H264 else 3
    joined = b"".join(p.payload[skip:] for p in fragments)
    assert joined.count(b"\0\0\0\1") == len(clip.units[0].sets) + len(clip.units[0].nals) - 1


def kinds_of(clip):
    return [[nal_type(clip.config.codec, n) for n in u.nals] for u in clip.units]


def test_recoded_footage(small_footage, footage_cache):
    path = small_footage[0].main

    def recode(name):
        return recoded_clip(path, frozenset((name,)), footage_cache)

    assert all(k.count(1) + k.count(5) == 4 for k in kinds_of(recode("several_slices")))
    assert recode("b_frames").config.reorder_depth >= 1
    recovery = recode("recovery_point")
    assert sum(5 in k for k in kinds_of(recovery)) == 1
    assert sum(u.key for u in recovery.units) > 1
    refresh = recode("intra_refresh")
    assert sum(5 in k for k in kinds_of(refresh)) == 1
    assert sum(6 in k for k in kinds_of(refresh)) > 1
    raslled = kinds_of(recode("cra_rasl"))
    assert any(21 in k for k in raslled)
    assert any({8, 9} & set(k) for k in raslled)
    two = recode("two_sets_in_turn")
    assert two.units[0].sets != two.units[25].sets
    assert two.units[0].sets == two.units[50].sets
    change = recode("size_change")
    assert change.units[0].sets == change.units[49].sets != change.units[50].sets
    long = recode("long_gop")
    assert sum(u.key for u in long.units) == 1
    assert long.duration == 120 * 90_000


def test_reel_goes_on_over_the_loop(small_footage):
    reel = Reel(read_clip(small_footage[0].main), frozenset(), "0")
    units = len(reel.cuts)
    before, after = reel.packets(units - 1), reel.packets(units)
    assert (Packet(after[0]).sequence - Packet(before[-1]).sequence) & 0xFFFF == 1
    assert (Packet(after[0]).timestamp - Packet(before[0]).timestamp) & 0xFFFFFFFF == 3600
    framed = b"".join(b"$\0" + len(p).to_bytes(2, "big") + p for p in after)
    assert reel.framed(units) == framed
    assert reel.framed(units) is reel.framed(units)


async def watch(options, packets=40):
    """DESCRIBE, SETUP, PLAY and some packets: (SDP, setup, play, packets, client)."""
    async with running(options) as sim:
        port = int(sim.url("cam0").split(":")[2].split("/")[0])
        async with RawClient(port) as client:
            describe = await client.ask("DESCRIBE", "cam0")
            setup, play = await client.start("cam0")
            channel = int(re.search(r"interleaved=(\d+)", setup.header("Transport"))[1])
            received = await client.receive(packets, channel) if packets else []
    return describe, setup, play, received, client


async def sdp(options):
    return (await watch(options, 0))[0].body


@pytest.mark.network
@pytest.mark.parametrize("codec", CODECS)
async def test_sdp_quirks(make_options, codec):
    assert b"sprop-" in await sdp(make_options(codec=codec))
    assert b"sprop-" not in await sdp(make_options("sets_absent_from_sdp", codec=codec))
    assert b"=%%%" in await sdp(make_options("sprop_garbage", codec=codec))
    wrong = await sdp(make_options("sets_wrong_in_sdp", codec=codec))
    right = await sdp(make_options(codec=codec))
    name = rb"sprop-(?:parameter-sets|sps)=([^;\r,]+)"
    assert base64.b64decode(re.search(name, wrong)[1]) != base64.b64decode(re.search(name, right)[1])
    assert b"MP4V-ES" in await sdp(make_options("unsupported_codec", codec=codec))
    assert b"m=" not in (await sdp(make_options("garbage_sdp", codec=codec)))[:100]
    assert b"a=control:rtsp://" in await sdp(make_options("absolute_control", codec=codec))
    assert b"a=framerate:25" in await sdp(make_options("slow_delivery", codec=codec))


@pytest.mark.network
async def test_session_quirks(make_options):
    _, setup, _, packets, _ = await watch(make_options("wrong_channels"), 3)
    assert "interleaved=4-5" in setup.header("Transport")
    assert len(packets) == 3
    _, setup, *_ = await watch(make_options("ssrc_first"), 0)
    assert setup.header("Transport").startswith("RTP/AVP/TCP;ssrc=")
    describe, *_ = await watch(make_options("no_content_base"), 0)
    assert describe.header("Content-Base") == ""
    _, _, play, packets, _ = await watch(make_options("rtptime_zero"), 1)
    assert "rtptime=0" in play.header("RTP-Info")
    assert packets[0].timestamp != 0
    for name, place in (("redirect", "/cam0/here"), ("redirect_away", "rtsp://192.0.2.1/")):
        describe, *_ = await watch(make_options(name), 0)
        assert describe.status == 302
        assert describe.header("Location").endswith(place)


@pytest.mark.network
async def test_keepalive_refused_and_lingering(make_options):
    async with running(make_options("keepalive_refused", "lingering_sessions")) as sim:
        port = int(sim.url("cam0").split(":")[2].split("/")[0])
        async with RawClient(port) as client:
            assert "GET_PARAMETER" in (await client.ask("OPTIONS", "cam0")).header("Public")
            assert (await client.ask("GET_PARAMETER", "cam0")).status == 501
            await client.start("cam0")
            lingering = client.session
        async with RawClient(port) as client:
            asked = {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"}
            assert (await client.ask("SETUP", "cam0/trackID=0", **asked)).status == 453
            assert (await client.ask("TEARDOWN", "cam0", Session=lingering)).status == 200
            assert (await client.ask("SETUP", "cam0/trackID=0", **asked)).status == 200


def differences(values, modulus):
    return [(b - a) % modulus for a, b in itertools.pairwise(values)]


@pytest.mark.network
async def test_numbering_quirks(make_options):
    async def packets(name, count=90):
        return (await watch(make_options(name), count))[3]

    names = ("constant_timestamps", "backward_timestamps", "slow_delivery", "near_wrap", "foreign_packets")
    constant, backward, slow, wrap, foreign = await asyncio.gather(*map(packets, names))
    assert len({p.timestamp for p in constant}) == 1
    assert any(d > 1 << 31 for d in differences([p.timestamp for p in backward], 1 << 32))
    assert set(differences([p.timestamp for p in slow], 1 << 32)) <= {0, 4285, 4286}
    assert any(b.sequence < a.sequence for a, b in itertools.pairwise(wrap))
    assert len({p.ssrc for p in foreign}) == 2
    padded, extended = await asyncio.gather(packets("rtp_padding", 3), packets("rtp_extension", 3))
    assert all(p.raw[0] & 0x20 and p.raw[-1] == 4 for p in padded)
    assert all(p.raw[0] & 0x10 and p.raw[12:14] == b"\xab\xac" for p in extended)
    changed, reset = await asyncio.gather(packets("ssrc_change", 130), packets("sequence_reset", 130))
    assert len({p.ssrc for p in changed}) == 2
    assert len({p.ssrc for p in reset}) == 1
    assert sum(d != 1 for d in differences([p.sequence for p in reset], 1 << 16)) == 1
    _, _, _, _, client = await watch(make_options("stray_bytes"), 10)
    assert client.stray >= 2


@pytest.mark.network
async def test_reports(make_options):
    async def ntp(name):
        *_, client = await watch(make_options(name), 2)
        return int.from_bytes(next(raw for c, raw in client.frames if c == 1)[8:12], "big")

    assert 7 * 3600 - 10 < await ntp("clock_hours_off") - await ntp("reports_jump") < 7 * 3600 + 10


@pytest.mark.network
async def test_sends_nothing(make_options):
    async with running(make_options("sends_nothing")) as sim:
        port = int(sim.url("cam0").split(":")[2].split("/")[0])
        async with RawClient(port) as client:
            _, play = await client.start("cam0")
            assert play.status == 200
            with pytest.raises(TimeoutError):
                await client.receive(1, seconds=0.5)


def test_the_list_is_complete():
    """Every oddity of the list in the camera guide has a name."""
    assert len(QUIRKS) >= 40
