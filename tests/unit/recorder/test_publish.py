"""Publishing without sockets: paths, one line of media time, when a viewer begins, the view in the log, paced bursts."""

from __future__ import annotations

import asyncio
import itertools
import socket
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.publish import Publisher, ViewLog, addresses, check_section, published_streams
from recorder.publish_channel import MOST_WAITING, Channel, MediaTime, PacedWire, PublishedStream, Watching
from tests.support.encoded import video
from vms.assignment import Assignment, CameraAssignment, write_assignment
from vms.errors import SourceError, UserError
from vms.feed import Dropped, StreamState
from vms.metrics import Metrics
from vms.model import AccessUnit, Codec, CodecConfig, GapReason, SourceKind, Stream, StreamKind, TimedUnit
from vms.rtsp.outlet import Outlet
from vms.rtsp.provider import Viewer
from vms.settings import Consumer, Listen, PublishingSection, Secret
from vms.site import Site

SECOND = 1_000_000_000
START_NS = 1_790_000_000 * SECOND
CONFIG = video(Codec.H264)[0].config
RYNEK = PublishedStream(uuid4(), uuid4(), 7, "Rynek", StreamKind.MAIN)


def at(seconds: float, pts: int, *, key: bool = False, config: CodecConfig = CONFIG, size: int = 100) -> TimedUnit:
    nal = b"\x65" if key else b"\x41"
    data = size.to_bytes(4, "big") + nal * size
    return TimedUnit(AccessUnit(pts, data, key, config, 0), START_NS + round(seconds * SECOND))


class Wire:
    """Keeps packets; `backlog_bytes` as set."""

    interleaved = True
    takes_blobs = True

    def __init__(self):
        self.packets, self.rtcp, self.backlog_bytes, self.closed = [], [], 0, False

    def write(self, data):
        raise AssertionError

    def send(self, packets):
        self.packets += packets

    def send_rtcp(self, packet):
        self.rtcp.append(packet)

    def close(self):
        self.closed = True

    @property
    def times(self):
        return sorted({int.from_bytes(p[4:8], "big") for p in self.packets})


class Watch:
    """A viewer of `channel` with its wire, admitted at once unless told otherwise."""

    def __init__(self, channel: Channel, outlet: Outlet | None = None, admitted: bool | None = True):
        self.outlet = outlet or Outlet(Wire(), CONFIG, 96, 1 << 20)  # type: ignore[arg-type]
        self.outlet.timestamp_offset = 0
        self.wire = self.outlet.wire
        self.ended: list[str] = []
        self.answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if admitted is not None:
            self.answer.set_result(admitted)
        self.watching = Watching(
            channel,
            self.outlet,
            admit=lambda: self.answer,
            on_stop=lambda first: self.ended.append(f"stop {first}"),
            end_session=self._end,
        )

    def _end(self):
        self.ended.append("session")
        self.watching.stop()

    async def begin(self):
        self.watching.begin()
        await asyncio.sleep(0)
        return self


class NoFeed:
    def units(self, stream_id):
        raise AssertionError


@pytest.fixture
def channel() -> Channel:
    channel = Channel(RYNEK, NoFeed())
    for n in range(5):
        channel.take(at(n / 25, 1000 + 3600 * n, key=n == 0))
    return channel


# Paths


def assigned(number: int, *kinds: StreamKind, enabled: bool = True, audio: bool = False) -> CameraAssignment:
    camera_id = uuid4()
    streams = tuple(Stream(uuid4(), camera_id, kind, "rtsp://k/1", True) for kind in kinds)
    return CameraAssignment(camera_id, number, f"K{number}", enabled, SourceKind.RTSP, "tcp", "", False, audio, streams)


def test_paths():
    main, sub, audio = StreamKind.MAIN, StreamKind.SUB, StreamKind.AUDIO
    cameras = assigned(7, main, sub, audio), assigned(8, main, audio, audio=True), assigned(9, main, enabled=False)
    paths = published_streams(Assignment(cameras))
    named = {p for p in paths if not p.startswith("stream/")}
    assert named == {"camera/7", "camera/7/sub", "camera/8", "camera/8/audio"}
    assert paths[f"stream/{cameras[0].streams[1].id}"] == paths["camera/7/sub"]
    assert len(paths) == 8
    listed = addresses(paths, Listen("127.0.0.1", 8554))
    assert [u for u, _ in listed] == [f"rtsp://127.0.0.1:8554/{p}" for p in sorted(named)]
    assert addresses(paths, Listen("::1", 8554))[0][0] == "rtsp://[::1]:8554/camera/7"
    assert "0.0.0.0" not in addresses(paths, Listen("0.0.0.0", 8554))[0][0]


def test_beyond_loopback_only_with_a_credential():
    check_section(PublishingSection(listen=Listen("127.0.0.1", 1)))
    check_section(PublishingSection(listen=Listen("0.0.0.0", 1), consumers=(Consumer("anna", Secret("x")),)))
    with pytest.raises(UserError, match="--consumer"):
        check_section(PublishingSection(listen=Listen("0.0.0.0", 1)))


# Media time


@given(st.lists(st.tuples(st.integers(0, 2**40), st.floats(0.1, 5000), st.integers(1, 60)), min_size=1, max_size=6))
def test_media_time_passes_as_capture_time_does_whatever_connections_begin_with(runs):
    line = MediaTime()
    now, given_out = 0.0, []
    for pts, pause, count in runs:
        now += pause
        for n in range(count):
            placed = line.place(at(now, pts + 3600 * n))
            given_out.append((placed.unit.pts, placed.capture_ns))
            now += 0.04
    first_pts, first_ns = given_out[0]
    for (a, _), (b, _) in itertools.pairwise(given_out):
        assert b > a
    for pts, ns in given_out:  # each connection may be off by what is not taken for a jump
        assert abs((pts - first_pts) / 90_000 - (ns - first_ns) / SECOND) <= 0.6 * len(runs)


def test_media_time_leaves_pictures_out_of_output_order_alone():
    line = MediaTime()
    order = [0, 4, 2, 1, 3, 8, 6]
    config = replace(CONFIG, reorder_depth=2)
    placed = [line.place(at(n / 25, 3600 * n, config=config)).unit.pts for n in order]
    assert placed == [3600 * n for n in order]


def test_media_time_does_not_go_back_with_the_clock():
    line = MediaTime()
    assert line.place(at(100, 50_000)).unit.pts == 50_000
    assert line.place(at(-3600, 10)).unit.pts == 53_600
    assert line.place(at(-3600 + 0.04, 3610)).unit.pts == 57_200


# Channel and viewers


async def test_a_viewer_begins_with_the_group_under_way(channel):
    watch = Watch(channel)
    start = watch.watching.starts()[0]
    assert (start.sequence, start.timestamp) == (watch.outlet.next_sequence, 1000)
    await watch.begin()
    channel.take(at(0.2, 19_000))
    assert watch.wire.times == [1000 + 3600 * n for n in range(6)]
    sequence = [int.from_bytes(p[2:4], "big") for p in watch.wire.packets]
    assert sequence == [(sequence[0] + n) & 0xFFFF for n in range(len(sequence))]
    watch.watching.stop()
    assert watch.ended == [f"stop {START_NS}"]
    assert not channel.viewers


async def test_after_a_pause_nothing_comes_twice(channel):
    first = await Watch(channel).begin()
    first.watching.stop()
    again = await Watch(channel, first.outlet).begin()
    channel.take(at(0.2, 19_000))
    channel.take(at(0.24, 22_600, key=True))
    assert again.wire.times[-2:] == [1000 + 3600 * 4, 22_600]


async def test_what_is_not_live_is_not_shown_first(channel):
    channel._came_mono -= 6
    watch = Watch(channel)
    assert watch.watching.starts()[0].timestamp is None
    await watch.begin()
    channel.take(at(60, 19_000))
    assert not watch.wire.packets
    channel.take(at(61, 22_600, key=True))
    assert len(watch.wire.times) == 1


async def test_nothing_goes_out_before_the_view_is_in_the_log(channel):
    watch = await Watch(channel, admitted=None).begin()
    channel.take(at(0.2, 19_000))
    assert not watch.wire.packets
    watch.answer.set_result(True)
    await asyncio.sleep(0)
    assert len(watch.wire.times) == 6


@pytest.mark.parametrize("answer", [False, OSError("bug")])
async def test_a_view_that_cannot_be_logged_is_no_view(channel, answer):
    watch = await Watch(channel, admitted=None).begin()
    if answer:
        watch.answer.set_exception(answer)
    else:
        watch.answer.set_result(False)
    await asyncio.sleep(0)
    assert watch.ended == ["session", "stop None"]
    assert not watch.wire.packets
    assert not channel.viewers


async def test_what_waits_for_the_log_is_bounded(channel):
    watch = await Watch(channel, admitted=None).begin()
    for n in range(5, MOST_WAITING + 10):
        channel.take(at(n / 25, 1000 + 3600 * n))
    channel.take(at(60, 9_000_000, key=True))
    watch.answer.set_result(True)
    await asyncio.sleep(0)
    assert len(watch.wire.times) == 1


async def test_a_slow_viewer_drops_to_the_next_key_and_the_others_do_not_notice(channel):
    slow, quick = await Watch(channel).begin(), await Watch(channel).begin()
    slow.wire.backlog_bytes = 2 << 20
    channel.take(at(0.2, 19_000))
    slow.wire.backlog_bytes = 0
    channel.take(at(0.24, 22_600))
    channel.take(at(0.28, 26_200, key=True))
    assert slow.wire.times == [*range(1000, 19_000, 3600), 26_200]
    assert slow.outlet.sent.dropped_units == 2
    assert len(quick.wire.times) == 8


async def test_a_new_subscription_repeats_nothing_and_time_goes_on(channel):
    watch = await Watch(channel).begin()
    channel._seeking = True  # as a new subscription begins
    for n in range(5):
        channel.take(at(n / 25, 1000 + 3600 * n, key=n == 0))
    channel.take(at(0.2, 19_000))
    channel.take(at(30.0, 77, key=True))  # the camera's next connection
    channel.take(at(30.04, 3677))
    assert watch.wire.times[:5] == [1000 + 3600 * n for n in range(5)]
    expected = 1000 + 3600 * 4 + round((30 - 0.16) * 90_000)
    assert watch.wire.times[5:] == [expected, expected + 3600]


async def test_a_clock_set_back_does_not_end_the_picture(channel):
    watch = await Watch(channel).begin()
    channel._seeking = True
    channel.take(at(-7200, 5, key=True))
    assert len(watch.wire.times) == 6


async def test_new_sets_go_in_band_but_another_codec_ends_the_sessions(channel):
    watch = await Watch(channel).begin()
    other = replace(CONFIG, parameter_sets=video(Codec.H264, gop=10)[0].config.parameter_sets, width=1280)
    channel.take(at(0.2, 19_000, key=True, config=other))
    assert not watch.ended
    channel.take(at(0.24, 22_600, key=True, config=video(Codec.H265)[0].config))
    assert watch.ended == ["session", f"stop {START_NS}"]
    assert b"\xcb" in {p[1:2] for p in watch.wire.rtcp} | {bytes([b]) for p in watch.wire.rtcp for b in p}  # BYE
    assert channel.config.codec is Codec.H265
    assert len(channel.gop()) == 1


async def test_what_the_feed_tells_besides_units(channel):
    channel.take(Dropped(12))
    channel.take(StreamState("waiting", GapReason.UNREACHABLE))
    assert (channel.dropped_units, channel.state) == (12, "waiting")
    assert await channel.known() is CONFIG


class BrokenFeed:
    """Breaks off twice, then gives a key unit for ever."""

    def __init__(self):
        self.opened = 0

    async def units(self, stream_id: UUID):
        self.opened += 1
        if self.opened < 3:
            raise SourceError(GapReason.UNREACHABLE, "the recorder closed the feed")
        yield at(1, 900, key=True)
        await asyncio.Event().wait()


async def test_a_feed_that_breaks_is_read_again():
    feed = BrokenFeed()
    channel = Channel(RYNEK, feed)
    task = asyncio.create_task(channel.run())
    async with asyncio.timeout(5):
        assert await channel.known() is CONFIG
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert feed.opened == 3


# Pacing


async def test_a_burst_to_a_udp_client_is_spread_and_nothing_is_lost():
    inner = Wire()
    wire = PacedWire(inner)
    wire.send([b"%03d" % n for n in range(50)])
    wire.send([b"050"])
    assert len(inner.packets) == 8
    assert wire.backlog_bytes == 43 * 3
    async with asyncio.timeout(5):
        while wire.backlog_bytes:
            await asyncio.sleep(0.001)
    assert inner.packets == [b"%03d" % n for n in range(51)]
    wire.send([b"x"] * 20)
    wire.close()
    assert inner.closed
    assert wire.backlog_bytes == 0


# The publisher


@pytest.fixture
async def publisher(tmp_path, monkeypatch):
    site = Site.create(tmp_path / "d", {})
    camera = assigned(7, StreamKind.MAIN)
    write_assignment(site.assignment_file, Assignment((camera,)), site.sealer)
    views = ViewLog(site.access_log)
    publisher = Publisher(site, PublishingSection(consumers=(Consumer("anna", Secret("x")),)), Metrics.create(), views)
    publisher.camera = camera  # type: ignore[attr-defined]
    publisher.site = site  # type: ignore[attr-defined]
    await publisher.look()
    task = asyncio.create_task(publisher.run())
    await asyncio.sleep(0)
    yield publisher
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    views.close()


async def test_a_camera_nobody_knows_and_one_that_is_disabled_get_the_same_answer(publisher):
    assert await publisher.describe("camera/8") is None
    camera, site = publisher.camera, publisher.site
    write_assignment(site.assignment_file, Assignment((replace(camera, enabled=False),)), site.sealer)
    await publisher.look()
    assert await publisher.describe("camera/7") is None
    assert publisher.play("camera/7", {}, Viewer("127.0.0.1")) is None


async def test_a_camera_that_sends_nothing_is_worth_another_try(publisher, monkeypatch):
    monkeypatch.setattr("recorder.publish.DESCRIBE_SECONDS", 0.05)
    with pytest.raises(TimeoutError):  # the server answers 503
        await publisher.describe("camera/7")


async def test_a_removed_camera_ends_its_sessions_and_an_unreadable_assignment_none(publisher):
    ended = []
    publisher.server = SimpleNamespace(end=ended.append)
    describing = asyncio.create_task(publisher.describe("CAMERA/7"))
    await asyncio.sleep(0)
    ((channel, _),) = publisher.channels.values()
    channel.take(at(0, 0, key=True))
    offer = await describing
    assert offer.name == "7 K7"
    outlet = Outlet(Wire(), CONFIG, 96, 1 << 20)
    playback = publisher.play("camera/7", {0: outlet}, Viewer("127.0.0.1", "anna", "S1"))
    playback.begin()
    gauge = publisher._metrics.published_sessions.labels("anna")
    assert gauge._value.get() == 1
    site = publisher.site
    site.assignment_file.write_bytes(b"rubbish")
    await publisher.look()
    assert not ended
    write_assignment(site.assignment_file, Assignment(()), site.sealer)
    await publisher.look()
    assert ended == ["S1"]
    playback.stop()
    assert gauge._value.get() == 0
    await publisher.look()
    assert not publisher.channels


async def test_a_stream_nobody_watches_is_not_read_for_ever(publisher):
    describing = asyncio.create_task(publisher.describe("camera/7"))
    await asyncio.sleep(0)
    ((channel, _),) = publisher.channels.values()
    channel.take(at(0, 0, key=True))
    await describing
    publisher._tidy()
    assert publisher.channels
    channel.used_mono -= 11
    publisher._tidy()
    assert not publisher.channels


# The command


def command(folder, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "vms.cli", "--data", str(folder / "d"), "publish", *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--listen", "0.0.0.0:0"], "open to the network"),
        (["--listen", "rubbish"], "--listen must be"),
        (["--consumer", "anna"], "one --password-file for each"),
        (["--consumer", "a b", "--password-file", "{good}"], "letters, digits"),
        (["--consumer", "a", "--password-file", "{good}"] * 2, "twice"),
        (["--consumer", "anna", "--password-file", "{dir}/none"], "cannot be read"),
        (["--consumer", "anna", "--password-file", "{empty}"], "one line"),
        (["--consumer", "anna", "--password-file", "{binary}"], "UTF-8"),
        (["--listen", "127.0.0.1:{taken}"], "cannot listen"),
    ],
)
def test_what_the_command_refuses_it_refuses_with_a_message(tmp_path, options, says):
    Site.create(tmp_path / "d", {})
    (tmp_path / "good").write_text("haslo\n")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        names = {n: tmp_path / n for n in ("good", "empty", "binary")} | {"dir": tmp_path}
        words = [o.format(**names, taken=taken.getsockname()[1]) for o in options]
        done = command(tmp_path, *words)
    assert done.returncode == 2
    assert says in done.stderr
    assert "haslo" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_only_one_process_publishes(tmp_path):
    site = Site.create(tmp_path / "d", {})
    with site.hold("publish") as try_to_take:
        assert try_to_take()
        done = command(tmp_path, "--listen", "127.0.0.1:0")
    assert (done.returncode, "published already" in done.stderr) == (2, True)
