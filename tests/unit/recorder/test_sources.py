"""Sources: one contract, the choice of tracks, the process behind libav, and the fallback."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from fractions import Fraction

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

import recorder.sources.libav
from recorder.sources import PacketSource, SourceTarget, TrackSinks
from recorder.sources.auto import TRY_OURS_AGAIN_NS, AutoSource, source_for
from recorder.sources.libav import LibavSource
from recorder.sources.libav_child import NalPacker, Order, split_annex_b, split_lengths, without_adts
from recorder.sources.rtsp import RtspSource, choose_media
from recorder.sources.scripted import Lost, ScriptedSource, Step
from tests.support.encoded import made_up, small_config, video
from tests.support.scripted_rtsp import AUDIO, SDP, Scripted, describe, pictures, status
from vms.clock import SimulatedClock
from vms.errors import MalformedError, SourceError, UserError
from vms.media.sdp import parse_sdp
from vms.model import AccessUnit, Codec, GapReason, SenderReport, SourceKind

PASSWORD = "bardzo-tajne-Hasło"


class Sink:
    def __init__(self) -> None:
        self.units: list[AccessUnit] = []
        self.losses: list[int] = []
        self.reports: list[SenderReport] = []

    def on_unit(self, unit):
        self.units.append(unit)

    def on_loss(self, packets):
        self.losses.append(packets)

    def on_sender_report(self, report):
        self.reports.append(report)


async def ends(source: PacketSource, sinks: TrackSinks | None = None, seconds: float = 30) -> SourceError:
    with pytest.raises(SourceError) as caught:
        async with asyncio.timeout(seconds):
            await source.run(sinks or TrackSinks(Sink()))
    return caught.value


# The script


async def test_a_script_plays_on_its_clock_and_ends_as_told():
    clock = SimulatedClock()
    unit = made_up(0, key=True, config=small_config())
    report = SenderReport(5, 6, 0)
    script = [
        Step(0, unit), Step(1_000_000_000, Lost(3)), Step(2_000_000_000, report), Step(2_000_000_000, unit, audio=True),
        Step(3_000_000_000, SourceError(GapReason.REFUSED, "dość")),
    ]  # fmt: skip
    source = ScriptedSource(clock, [script])
    picture, sound = Sink(), Sink()
    task = asyncio.create_task(ends(source, TrackSinks(picture, sound)))
    for _ in range(4):
        for _ in range(5):
            await asyncio.sleep(0)
        clock.advance(1_000_000_000)
    assert (await task).reason is GapReason.REFUSED
    assert picture.units == [unit._replace(arrival_mono_ns=1_000_000_000)]
    assert picture.losses == [3]
    assert picture.reports == [replace(report, arrival_mono_ns=3_000_000_000)]
    assert sound.units == [unit._replace(arrival_mono_ns=3_000_000_000)]
    assert (await ends(source)).reason is GapReason.UNREACHABLE


# Ours


async def test_our_client_receives_until_the_camera_closes():
    sink, sound = Sink(), Sink()
    async with Scripted(media=pictures(30), sdp=SDP + AUDIO) as camera:
        task = asyncio.create_task(ends(RtspSource(SourceTarget(camera.url)), TrackSinks(sink, sound)))
        async with asyncio.timeout(10):
            while len(sink.units) < 28:
                await asyncio.sleep(0.01)
        assert [r.uri.rpartition("=")[2] for r in camera.asked("SETUP")] == ["1", "2"]
        camera.writers[-1].close()
        assert (await task).reason is GapReason.UNREACHABLE


async def test_sound_is_not_even_asked_for_without_permission():
    sink = Sink()
    async with Scripted(media=pictures(30), sdp=SDP + AUDIO) as camera:
        task = asyncio.create_task(RtspSource(SourceTarget(camera.url)).run(TrackSinks(sink)))
        async with asyncio.timeout(10):
            while len(sink.units) < 28:
                await asyncio.sleep(0.01)
        assert len(camera.asked("SETUP")) == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert len(camera.asked("TEARDOWN")) == 1


def media(*lines: str) -> bytes:
    return ("v=0\r\ns=k\r\n" + "".join(line + "\r\n" for line in lines)).encode()


@pytest.mark.parametrize(
    ("sdp", "says"),
    [
        (media("m=video 0 RTP/AVP 26"), "MJPEG, which is not recorded: set it to H.264 or H.265"),
        (media("m=video 0 RTP/AVP 96", "a=rtpmap:96 VP8/90000"), "VP8"),
        (media("m=video 0 RTP/AVP 96"), "an unknown codec"),
        (media("m=audio 0 RTP/AVP 8"), "offers no video"),
    ],
)
def test_a_codec_we_do_not_record_is_named(sdp, says):
    with pytest.raises(SourceError, match=says) as caught:
        choose_media(parse_sdp(sdp), "kamera.example")
    assert caught.value.reason is GapReason.UNSUPPORTED_CODEC


def test_the_first_track_that_can_be_recorded_is_chosen():
    sdp = media(
        "m=video 0 RTP/AVP 26", "m=video 0 RTP/AVP 96", "a=rtpmap:96 H265/90000", "a=control:t2",
        "m=audio 0 RTP/AVP 3", "m=audio 0 RTP/AVP 8", "a=inactive", "m=audio 0 RTP/AVP 0", "a=control:t5",
    )  # fmt: skip
    picture, sound = choose_media(parse_sdp(sdp), "kamera.example")
    assert (picture.control, sound.control) == ("t2", "t5")


# libav


def write_clip(path, codec: Codec, form: str) -> None:
    """A clip of a second and a bit, muxed by libav from really encoded units."""
    units = video(codec, 30, 0, 15)
    with av.open(str(path), "w", format=form) as out:
        stream = out.add_stream("libx264" if codec is Codec.H264 else "libx265", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.time_base = Fraction(1, 90_000)
        sets = b"".join(b"\0\0\0\1" + s for s in units[0].config.parameter_sets)
        stream.codec_context.extradata = sets
        for n, unit in enumerate(units):
            nals = b"".join(b"\0\0\0\1" + nal for nal in split_lengths(unit.data, 4))
            packet = av.Packet((sets if unit.key else b"") + nals)
            packet.pts = packet.dts = n * 3600
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 90_000), stream, unit.key
            out.mux(packet)


@pytest.mark.parametrize(
    ("codec", "form"), [(Codec.H264, "mp4"), (Codec.H265, "mp4"), (Codec.H264, "mpegts"), (Codec.H265, "matroska")]
)
async def test_libav_gives_the_same_units_from_any_container(tmp_path, codec, form):
    write_clip(tmp_path / "clip", codec, form)
    sink = Sink()
    error = await ends(LibavSource(SourceTarget(f"file://{tmp_path}/clip")), TrackSinks(sink))
    assert (error.reason, str(error)) == (GapReason.STALLED, "the camera ended the stream")
    expected = video(codec, 30, 0, 15)
    assert [(u.data, u.key) for u in sink.units] == [(u.data, u.key) for u in expected]
    steps = {b.pts - a.pts for a, b in zip(sink.units, sink.units[1:], strict=False)}
    assert steps <= ({3600} if form != "matroska" else {3600, 3599, 3601})
    assert sink.units[0].config.parameter_sets == expected[0].config.parameter_sets
    assert all(u.config is sink.units[0].config for u in sink.units)
    arrivals = [u.arrival_mono_ns for u in sink.units]
    assert 900_000_000 < arrivals[-1] - arrivals[0] < 5_000_000_000  # given out as a camera would


async def test_libav_names_a_codec_that_is_not_recorded(tmp_path):
    with av.open(str(tmp_path / "clip.avi"), "w") as out:
        stream = out.add_stream("mjpeg", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for packet in [*stream.encode(av.VideoFrame(64, 48, "yuvj420p")), *stream.encode(None)]:
            out.mux(packet)
    error = await ends(LibavSource(SourceTarget(f"file://{tmp_path}/clip.avi")))
    assert error.reason is GapReason.UNSUPPORTED_CODEC
    assert "MJPEG" in str(error)


async def test_libav_failures_have_reasons_and_no_credentials(tmp_path, unused_tcp_port):
    target = SourceTarget(f"http://127.0.0.1:{unused_tcp_port}/live.m3u8", "admin", PASSWORD)
    error = await ends(LibavSource(target))
    assert error.reason is GapReason.REFUSED
    assert PASSWORD not in str(error)
    assert PASSWORD not in repr(target)
    (tmp_path / "rubbish").write_bytes(b"\x07rubbish" * 100)
    assert (await ends(LibavSource(SourceTarget(f"file://{tmp_path}/rubbish")))).reason is GapReason.REFUSED


async def test_a_playlist_of_a_camera_cannot_make_us_read_files(tmp_path):
    write_clip(tmp_path / "clip.ts", Codec.H264, "mpegts")
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile://{tmp_path}/clip.ts\n#EXT-X-ENDLIST\n".encode()

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        head = (
            f"HTTP/1.0 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\nContent-Length: {len(playlist)}\r\n\r\n"
        )
        writer.write(head.encode() + playlist)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        sink = Sink()
        await ends(LibavSource(SourceTarget(f"http://127.0.0.1:{port}/x.m3u8")), TrackSinks(sink))
        assert sink.units == []


CHILDREN = {
    "exits": ("import sys; sys.exit(3)", "code 3"),
    "dies": ("import os; os.kill(os.getpid(), 11)", "SIGSEGV"),
    "babbles": ("print('x' * 100, flush=True); input()", "a frame of|unknown frame"),
    "boasts": (r"import sys; sys.stdout.buffer.write(b'v\xff\xff\xff\xff'); sys.stdout.flush(); input()", "a frame of"),
    "lies": (
        r"import sys; sys.stdout.buffer.write(b'v\0\0\0\5U\0\0\0\0'); sys.stdout.flush(); input()",
        "unit came before",
    ),
    "mumbles": (r"import sys; sys.stdout.buffer.write(b'e\0\0\0\2{}'); sys.stdout.flush(); input()", "last words"),
}


@pytest.mark.parametrize("name", CHILDREN)
async def test_whatever_becomes_of_the_child_the_attempt_ends(name):
    code, says = CHILDREN[name]
    prelude = "import sys; sys.stdin.readline();"
    source = LibavSource(SourceTarget("http://127.0.0.1/x"), command=(sys.executable, "-c", prelude + code))
    error = await ends(source)
    assert error.reason is GapReason.INTERNAL_ERROR
    assert any(part in str(error) for part in says.split("|")), error


async def test_a_child_that_says_nothing_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(recorder.sources.libav, "OPEN_SECONDS", 0.3)
    source = LibavSource(
        SourceTarget("http://127.0.0.1/x"), command=(sys.executable, "-c", "import time; time.sleep(60)")
    )
    assert (await ends(source)).reason is GapReason.UNREACHABLE
    missing = LibavSource(SourceTarget("http://127.0.0.1/x"), command=("/nonexistent",))
    assert (await ends(missing)).reason is GapReason.INTERNAL_ERROR


def test_an_order_is_strict_and_its_address_quotes_credentials():
    body = {"url": "rtsp://kamera/a", "username": "a@b", "password": "p:/?", "transport": "udp", "audio": False}
    order = Order.parse(json.dumps(body).encode())
    assert order.address() == "rtsp://a%40b:p%3A%2F%3F@kamera/a"
    in_path = Order.parse(json.dumps({**body, "url": "http://kamera/v?user={user}&pwd={password}"}).encode())
    assert in_path.address().endswith("@kamera/v?user=a%40b&pwd=p%3A%2F%3F")
    assert order.options()["protocol_whitelist"] == "rtsp,rtp,tcp,udp"
    assert order.options()["allowed_media_types"] == "video"
    for bad in (b"", b"{}", b"[]", json.dumps({**body, "audio": 1}).encode(), json.dumps({**body, "url": 5}).encode()):
        with pytest.raises(MalformedError):
            Order.parse(bad)
    with pytest.raises(UserError):
        Order.parse(json.dumps({**body, "url": "concat:/etc/passwd"}).encode())


@given(st.binary(max_size=200), st.binary(max_size=100), st.sampled_from([Codec.H264, Codec.H265]))
def test_any_packet_becomes_a_unit_or_nothing(data, extradata, codec):
    for extra in (extradata, b"\1" + extradata):
        packer = NalPacker(codec, extra, 0)
        for form in (data, b"\0\0\1" + data, b"\0\0\0\1\x67" + data):
            packed = packer.pack(form)
            assert b"".join(len(n).to_bytes(4, "big") + n for n in split_lengths(packed, 4)) == packed


def test_parameter_sets_that_change_in_band_change_the_configuration():
    first, other = video(Codec.H264, 2)[0], video(Codec.H264, 2, options=(("ref", "1"),))[0]
    packer = NalPacker(Codec.H264, b"".join(b"\0\0\1" + s for s in first.config.parameter_sets), 0)
    config = packer.config
    nals = b"".join(b"\0\0\1" + n for n in split_lengths(first.data, 4))
    same_sets = b"".join(b"\0\0\1" + s for s in first.config.parameter_sets)
    assert packer.pack(same_sets + nals) == first.data
    assert packer.config is config
    assert packer.pack(b"".join(b"\0\0\1" + s for s in other.config.parameter_sets)) == b""
    if other.config.parameter_sets != first.config.parameter_sets:
        assert packer.config.parameter_sets == other.config.parameter_sets


def test_annex_b_and_adts_are_taken_apart():
    assert list(split_annex_b(b"\0\0\0\1ab\0\0\1c\0\0\0\1\0\0\1")) == [b"ab", b"c"]
    assert without_adts(b"\xff\xf1\x60\x40\x01\x3f\xfcRAW") == b"RAW"
    assert without_adts(b"\xff\xf0\x60\x40\x01\x3f\xfc\0\0RAW") == b"RAW"
    assert without_adts(b"\x21\x10RAW") == b"\x21\x10RAW"


# auto


class Fake:
    """Ends every attempt as told, after `units`."""

    def __init__(self, kind: SourceKind, *endings: tuple[int, SourceError]) -> None:
        self.kind, self.why, self.patience_s = kind, "", 4.0
        self.endings = list(endings)

    async def run(self, sinks: TrackSinks) -> None:
        units, error = self.endings.pop(0)
        for n in range(units):
            sinks.video.on_unit(made_up(n, key=True, config=small_config()))
        raise error


def refused() -> SourceError:
    return SourceError(GapReason.REFUSED, "the camera answered SETUP with 500")


def garbled() -> SourceError:
    try:
        raise SourceError(GapReason.REFUSED, "SDP line 3: nonsense") from MalformedError("SDP", "nonsense")
    except SourceError as error:
        return error


def auto(ours: list[tuple[int, SourceError]], libav: list[tuple[int, SourceError]], clock=None) -> AutoSource:
    return AutoSource(
        lambda: Fake(SourceKind.RTSP, *ours), lambda: Fake(SourceKind.LIBAV, *libav), clock or SimulatedClock()
    )


@pytest.mark.parametrize("error", [SourceError(GapReason.UNSUPPORTED_CODEC, "VP8"), garbled()])
async def test_a_dialect_falls_back_at_once_and_says_why(error):
    source = auto([(0, error)], [(5, refused()), (0, refused())])
    assert (source.kind, source.why) == (SourceKind.RTSP, "")
    await ends(source)
    assert (source.kind, source.why) == (SourceKind.LIBAV, str(error))
    sink = Sink()
    await ends(source, TrackSinks(sink))
    assert len(sink.units) == 5
    assert source.kind is SourceKind.LIBAV  # it worked: it stays
    await ends(source)
    assert (source.kind, source.why) == (SourceKind.RTSP, "")  # it did not: ours again


async def test_refusals_fall_back_after_three_in_a_row():
    source = auto([(0, refused())] * 3, [])
    for _ in range(2):
        await ends(source)
        assert source.kind is SourceKind.RTSP
    await ends(source)
    assert source.kind is SourceKind.LIBAV


async def test_a_camera_that_ours_had_pictures_of_is_not_handed_over_for_refusals():
    """It answers 404 while it starts; but a new codec is another matter."""
    unsupported = SourceError(GapReason.UNSUPPORTED_CODEC, "VP8")
    source = auto([(0, refused()), (3, refused()), *[(0, refused())] * 5, (0, unsupported)], [])
    for _ in range(7):
        await ends(source)
        assert source.kind is SourceKind.RTSP
    await ends(source)
    assert source.kind is SourceKind.LIBAV


@pytest.mark.parametrize("reason", [GapReason.UNAUTHORISED, GapReason.UNREACHABLE])
async def test_wrong_passwords_and_dead_hosts_never_fall_back(reason):
    source = auto([(0, SourceError(reason, "nie"))] * 10, [])
    for _ in range(10):
        await ends(source)
    assert source.kind is SourceKind.RTSP


async def test_a_refused_connection_never_falls_back(unused_tcp_port):
    target = SourceTarget(f"rtsp://127.0.0.1:{unused_tcp_port}/x")
    source = source_for(target, SourceKind.AUTO, SimulatedClock())
    for _ in range(4):
        assert (await ends(source)).reason is GapReason.REFUSED
    assert source.kind is SourceKind.RTSP


async def test_ours_is_tried_again_after_an_hour():
    clock = SimulatedClock()
    source = auto([(0, garbled())], [(1, refused())] * 9, clock)
    await ends(source)
    await ends(source)
    assert source.kind is SourceKind.LIBAV
    source.patience_s = 12.0
    assert source.patience_s == 12.0
    clock.advance(TRY_OURS_AGAIN_NS)
    await ends(source)  # fails again as before
    assert source.kind is SourceKind.LIBAV
    assert source.why


async def test_a_camera_whose_sdp_is_garbage_falls_back_for_real():
    async with Scripted(answers={"DESCRIBE": [describe(b"nonsense", b"rtsp://127.0.0.1/")]}) as camera:
        source = source_for(SourceTarget(camera.url), SourceKind.AUTO)
        await ends(source)
        assert source.kind is SourceKind.LIBAV
        assert "does not parse" in source.why
    async with Scripted(answers={"DESCRIBE": [status(401)] * 5}) as camera:
        source = source_for(SourceTarget(camera.url, "admin", "zle"), SourceKind.AUTO)
        assert (await ends(source)).reason is GapReason.UNAUTHORISED
        assert source.kind is SourceKind.RTSP


def test_the_setting_and_the_address_choose_the_source():
    assert isinstance(source_for(SourceTarget("rtsp://k/x"), SourceKind.RTSP), RtspSource)
    assert isinstance(source_for(SourceTarget("rtsp://k/x"), SourceKind.LIBAV), LibavSource)
    assert isinstance(source_for(SourceTarget("rtsp://k/x"), SourceKind.AUTO), AutoSource)
    other = source_for(SourceTarget("http://k/x.m3u8"), SourceKind.AUTO)
    assert isinstance(other, LibavSource)
    assert "http" in other.why
    assert other.patience_s == 30.0
    with pytest.raises(UserError):
        source_for(SourceTarget("http://k/x"), SourceKind.RTSP)
