"""The sender over real sockets, its packets taken apart by pylibsrtp and aiortc."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections.abc import Iterator

import pylibsrtp
import pytest
from aiortc.rtp import RtpPacket, unwrap_rtx
from pylibsrtp import Policy, Session

from tests.support.encoded import video
from tests.support.rtp_received import pictures_of
from vms.clock import SimulatedClock
from vms.media.rtp import split_nals
from vms.model import AccessUnit, Codec, TimedUnit
from web.live.packets import Layout, LiveUnit
from web.live.sender import BURST_BYTES, HISTORY_PACKETS, Sender, Wire
from web.live.srtp import Scratch
from web.live.udp_segment import DatagramSender, kernel_segments

MS = 1_000_000
CAPTURE_NS = 1_790_000_000_000_000_000
PROFILES = {
    16: (Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 28),
    10: (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 30),
}


class Bench:
    """A sender, and the socket and keys of who receives."""

    def __init__(
        self, *, tag: int = 16, segments: bool = True, first_sequence: int = 1000, rtx: int | None = 103,
        key: bytes = b"",
    ) -> None:  # fmt: skip
        profile, length = PROFILES[tag]
        key = key[:length] or os.urandom(length)
        self.tx = Session(self._policy(key, profile, Policy.SSRC_ANY_OUTBOUND))
        self.rx = Session(self._policy(key, profile, Policy.SSRC_ANY_INBOUND))
        self.ours, self.theirs = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for sock in (self.ours, self.theirs):
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
        self.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.clock = SimulatedClock()
        self.layout = Layout(Codec.H264, 102, tag, mid="0", mid_id=4, capture_time_id=3)
        self.sender = Sender(
            self.layout, ssrc=0xABCDEF01, rtx_ssrc=0x0A0B0C0D, rtx_payload_type=rtx, first_sequence=first_sequence,
            first_timestamp=90_000, clock=self.clock, scratch=Scratch(), datagrams=DatagramSender(segments),
        )  # fmt: skip
        self.route: tuple[socket.socket, object] | None = (self.ours, self.theirs.getsockname())
        self.sender.open(Wire(self.tx, lambda: self.route))  # type: ignore[arg-type, return-value]
        self.config = video(Codec.H264, 2)[0].config
        self.made = 0

    @staticmethod
    def _policy(key: bytes, profile: int, kind: int) -> Policy:
        policy = Policy(key=key, ssrc_type=kind, srtp_profile=profile)
        policy.allow_repeat_tx, policy.window_size = True, 4096
        return policy

    def unit(self, size: int, *, key: bool = False) -> LiveUnit:
        nal = (b"\x65" if key else b"\x41") + self.made.to_bytes(8, "big") + os.urandom(size)
        self.made += 1
        data = len(nal).to_bytes(4, "big") + nal
        return LiveUnit(TimedUnit(AccessUnit(0, data, key, self.config, 0), CAPTURE_NS + self.made * 40 * MS))

    def push(self, size: int, *, key: bool = False) -> LiveUnit:
        unit = self.unit(size, key=key)
        self.sender.push(unit)
        self.clock.advance(40 * MS)
        return unit

    def datagrams(self) -> list[bytes]:
        found = []
        while True:
            try:
                found.append(self.theirs.recv(2000))
            except BlockingIOError:
                return found

    def received(self) -> list[bytes]:
        return [self.rx.unprotect(d) for d in self.datagrams()]

    def close(self) -> None:
        self.sender.close()
        self.ours.close()
        self.theirs.close()


def nals_of(unit: LiveUnit) -> list[bytes]:
    sets = unit.timed.unit.config.parameter_sets if unit.key else ()
    return [*sets, *(bytes(n) for n in split_nals(unit.timed.unit.data))]


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


@pytest.mark.parametrize("tag", [10, 16])
@pytest.mark.parametrize("segments", [False, True])
async def test_every_packet_decrypts_and_pictures_are_whole(tag: int, segments: bool) -> None:
    if segments and not kernel_segments():
        pytest.skip("this kernel knows no UDP_SEGMENT")
    bench = Bench(tag=tag, segments=segments, first_sequence=65_530)
    try:
        sent = [bench.push(30_000, key=True), *(bench.push(size) for size in (1, 1100, 1190, 1200, 12_345, 20_000))]
        packets = bench.received()
        pictures = pictures_of(Codec.H264, packets)
        assert [p.nals for p in pictures] == [nals_of(u) for u in sent]
        assert [b.timestamp - a.timestamp for a, b in itertools.pairwise(pictures)] == [3600] * 6
        assert bench.sender.counts.packets == len(packets)
        assert {p[8:12] for p in packets} == {b"\xab\xcd\xef\x01"}
    finally:
        bench.close()


async def test_nothing_goes_out_before_a_key_picture(bench: Bench) -> None:
    bench.push(100)
    bench.push(100)
    first = bench.push(100, key=True)
    assert [p.nals for p in pictures_of(Codec.H264, bench.received())] == [nals_of(first)]
    assert bench.sender.counts.drops == 2


async def test_a_group_under_way_is_given_at_one_stroke(bench: Bench) -> None:
    group = [bench.unit(3000, key=True), *(bench.unit(500) for _ in range(9))]
    bench.sender.begin(group)
    bench.clock.advance(40 * MS)
    after = bench.push(500)
    pictures = pictures_of(Codec.H264, bench.received())
    assert [p.nals for p in pictures] == [nals_of(u) for u in [*group, after]]
    assert [b.timestamp - a.timestamp for a, b in itertools.pairwise(pictures)] == [90] * 9 + [3600]


async def test_a_switch_goes_on_in_numbers_and_time(bench: Bench) -> None:
    first = bench.push(3000, key=True)
    other = Bench()  # makes units of another stream, captured earlier
    try:
        group = [other.unit(2000, key=True), other.unit(100)]
        bench.sender.begin(group)
        pictures = pictures_of(Codec.H264, bench.received())
        assert [p.nals for p in pictures] == [nals_of(u) for u in [first, *group]]
        assert all(0 < b.timestamp - a.timestamp <= 3600 + 180 for a, b in itertools.pairwise(pictures))
    finally:
        other.close()


async def test_a_big_key_picture_is_spread_over_time(bench: Bench) -> None:
    sent = bench.push(300_000, key=True)
    at_once = bench.datagrams()
    assert BURST_BYTES <= sum(map(len, at_once)) < BURST_BYTES + 66_000
    packets = [bench.rx.unprotect(d) for d in at_once]
    async with asyncio.timeout(5):
        while bench.sender.counts.octets < 300_000:
            await asyncio.sleep(0.002)
            bench.clock.advance(5 * MS)
            packets += bench.received()
    packets += bench.received()
    assert [p.nals for p in pictures_of(Codec.H264, packets)] == [nals_of(sent)]


async def test_who_falls_behind_goes_on_at_the_next_key_picture(bench: Bench) -> None:
    bench.push(100, key=True)
    bench.received()
    bench.route = None  # sends fail
    bench.push(100)
    bench.route = (bench.ours, bench.theirs.getsockname())
    for _ in range(3):
        bench.push(100)
    assert bench.received() == []
    key = bench.push(100, key=True)
    assert [p.nals for p in pictures_of(Codec.H264, bench.received())] == [nals_of(key)]
    assert bench.sender.counts.drops == 4


async def test_what_waited_too_long_is_left_out_whole() -> None:
    bench = Bench()
    try:
        bench.push(2_000_000, key=True)  # far more than goes out at once
        bench.clock.advance(2_000 * MS)
        bench.push(100)
        assert bench.sender.awaits_key
        assert bench.sender.counts.drops == 2
        bench.received()
        key = bench.push(100, key=True)
        assert [p.nals for p in pictures_of(Codec.H264, bench.received())] == [nals_of(key)]
    finally:
        bench.close()


class FullSocket:
    """A socket whose buffer is full now and then, as the kernel says it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self.full = sock, True

    def sendmsg(self, *arguments: object) -> int:
        if self.full:
            raise BlockingIOError
        return self._sock.sendmsg(*arguments)  # type: ignore[arg-type]

    def sendto(self, *arguments: object) -> int:
        if self.full:
            raise BlockingIOError
        return self._sock.sendto(*arguments)  # type: ignore[call-overload,no-any-return]


async def test_a_full_socket_is_tried_again_and_no_number_is_used_twice(bench: Bench) -> None:
    sock = FullSocket(bench.ours)
    bench.route = (sock, bench.theirs.getsockname())  # type: ignore[assignment]
    first = bench.push(5000, key=True)
    assert bench.received() == []
    sock.full = False
    async with asyncio.timeout(5):
        while bench.sender.counts.octets < 5000:
            await asyncio.sleep(0.002)
    packets = bench.received()
    sock.full = True
    bench.push(5000)
    bench.sender.drop_to_key()
    sock.full = False
    second = bench.push(5000, key=True)
    later = bench.received()
    assert [p.nals for p in pictures_of(Codec.H264, packets)] == [nals_of(first)]
    assert [p.nals for p in pictures_of(Codec.H264, later)] == [nals_of(second)]
    numbers = [int.from_bytes(p[2:4], "big") for p in packets + later]
    assert len(set(numbers)) == len(numbers)
    assert numbers[len(packets)] > numbers[len(packets) - 1] + 1  # those of what was protected and not sent are gone


# Repeating


async def test_lost_packets_are_repeated_in_a_stream_of_their_own(bench: Bench) -> None:
    bench.push(30_000, key=True)
    packets = bench.received()
    bench.sender.repeat([int.from_bytes(p[2:4], "big") for p in packets])
    repeated = [RtpPacket.parse(p) for p in bench.received()]
    assert len(repeated) == len(packets)
    assert {(p.payload_type, p.ssrc) for p in repeated} == {(103, 0x0A0B0C0D)}
    assert [b.sequence_number - a.sequence_number for a, b in itertools.pairwise(repeated)] == [1] * (len(packets) - 1)
    for original, rtx in zip(packets, repeated, strict=True):
        again = unwrap_rtx(rtx, 102, 0xABCDEF01)
        before = RtpPacket.parse(original)
        assert (again.sequence_number, again.timestamp, again.marker) == (
            before.sequence_number, before.timestamp, before.marker,
        )  # fmt: skip
        assert again.payload == before.payload
    assert bench.sender.counts.rtx == len(packets)


async def test_without_rtx_the_packet_itself_is_repeated() -> None:
    bench = Bench(rtx=None)
    try:
        bench.push(3000, key=True)
        datagrams = bench.datagrams()
        number = int.from_bytes(datagrams[1][2:4], "big")
        bench.sender.repeat([number])
        assert bench.datagrams() == [datagrams[1]]
    finally:
        bench.close()


async def test_the_same_packet_is_not_repeated_at_once_and_unknown_ones_never(bench: Bench) -> None:
    bench.push(3000, key=True)
    number = int.from_bytes(bench.received()[0][2:4], "big")
    bench.sender.repeat([number, number, number, number - 1, number + 500])
    assert len(bench.received()) == 1
    bench.clock.advance(20 * MS)
    bench.sender.repeat([number])
    assert len(bench.received()) == 1


async def test_asking_for_what_there_is_not_uses_up_what_a_viewer_may_ask(bench: Bench) -> None:
    """One datagram can ask for thousands of packets, and looking for each costs everybody's time."""
    bench.push(3000, key=True)
    number = int.from_bytes(bench.received()[0][2:4], "big")
    unknown = [number + 1000 + n & 0xFFFF for n in range(5780)]
    bench.sender.repeat([*unknown, number])
    assert bench.received() == []
    bench.clock.advance(1000 * MS)
    bench.sender.repeat([number])
    assert len(bench.received()) == 1


async def test_every_packet_of_history_is_found_over_the_end_of_the_numbers() -> None:
    bench = Bench(first_sequence=65_500)
    try:
        sent = []
        for n in range(30):
            bench.push(100 + 700 * (n % 5), key=n == 0)
            sent += bench.received()
        numbers = [int.from_bytes(p[2:4], "big") for p in sent]
        assert {65_535, 0} <= set(numbers)
        for number in numbers:
            bench.sender.repeat([number])
        assert [unwrap_rtx(RtpPacket.parse(p), 102, 1).sequence_number for p in bench.received()] == numbers
    finally:
        bench.close()


async def test_history_is_bounded_in_packets_and_in_time(bench: Bench) -> None:
    bench.push(3000, key=True)
    number = int.from_bytes(bench.received()[0][2:4], "big")
    bench.clock.advance(4000 * MS)
    bench.push(100)
    bench.sender.repeat([number])
    assert [p for p in bench.received() if p[1] & 0x7F == 103] == []
    for _ in range(HISTORY_PACKETS // 40):
        bench.push(40_000)
        bench.received()
    assert bench.sender._history_packets <= HISTORY_PACKETS


async def test_a_viewer_that_asks_for_everything_again_and_again_is_served_so_much(bench: Bench) -> None:
    bench.push(60_000, key=True)
    numbers = [int.from_bytes(p[2:4], "big") for p in bench.received()]
    for _ in range(500):
        bench.sender.repeat(numbers)
        bench.clock.advance(2 * MS)
    total = sum(map(len, bench.datagrams()))
    assert 100_000 < total <= 100_000 + 30_000 + 10_000  # a burst, a second's allowance, and tags


async def test_a_packet_that_is_asked_for_without_end_is_repeated_ever_more_seldom(bench: Bench) -> None:
    bench.push(1000, key=True)
    numbers = [int.from_bytes(p[2:4], "big") for p in bench.received()]
    for _ in range(250):  # two and a half seconds, within history
        bench.sender.repeat(numbers[-1:])
        bench.clock.advance(10 * MS)
    assert 6 <= len(bench.datagrams()) <= 9


# Requests for a key picture


def numbers_of(packets: list[bytes]) -> list[int]:
    return [int.from_bytes(p[2:4], "big") for p in packets]


async def test_who_received_everything_is_not_shown_it_again(bench: Bench) -> None:
    """Chromium asks for a key picture when nothing comes; what the camera sent before is nothing new to it."""
    bench.push(3000, key=True)
    bench.push(3000, key=True)
    bench.push(500)
    assert not bench.sender.wants_key()
    bench.clock.advance(3000 * MS)
    assert not bench.sender.wants_key()
    assert bench.sender.counts.key_requests == 2


async def test_who_lost_the_very_first_packets_gets_them_on_request_alone(bench: Bench) -> None:
    """A browser counts what is missing from the first packet that it got."""
    group = [bench.push(3000, key=True), bench.push(500)]
    assert bench.sender.wants_key()
    bench.sender.begin(group)
    bench.clock.advance(600 * MS)
    bench.push(500)
    assert not bench.sender.wants_key(), "once"


async def test_a_request_of_who_has_little_room_takes_nothing_from_its_queue(bench: Bench) -> None:
    bench.push(3000, key=True)
    bench.sender.limit.bytes_per_s = 37_500.0
    assert not bench.sender.wants_key()
    assert not bench.sender.awaits_key


async def test_who_lacks_some_of_the_group_under_way_gets_it_once(bench: Bench) -> None:
    group = [bench.push(3000, key=True), bench.push(500), bench.push(500)]
    bench.sender.repeat(numbers_of(bench.received())[-1:])
    assert bench.sender.wants_key()
    bench.sender.begin(group)
    assert not bench.sender.wants_key(), "and now it has it"
    bench.clock.advance(1100 * MS)
    assert not bench.sender.wants_key()
    bench.received()
    bench.push(500)
    bench.sender.repeat(numbers_of(bench.received())[-1:])
    assert bench.sender.wants_key(), "a loss since then"


async def test_a_loss_before_the_key_picture_is_over_with_it(bench: Bench) -> None:
    bench.push(3000, key=True)
    bench.push(500)
    before = numbers_of(bench.received())
    bench.push(3000, key=True)
    after = numbers_of(bench.received())
    for numbers in (before, [*before, after[-1] + 1], [after[0] - 30_000 & 0xFFFF]):
        bench.sender.repeat(numbers)
        assert not bench.sender.wants_key()
    bench.sender.repeat(after[:1])
    assert bench.sender.wants_key()


async def test_a_loss_is_told_of_a_key_picture_that_is_still_going_out(bench: Bench) -> None:
    bench.push(2000, key=True)
    bench.push(200_000)
    bench.push(200_000, key=True)  # behind the one before, most of which waits for its turn
    bench.sender.repeat(numbers_of(bench.received())[-1:])
    assert not bench.sender.wants_key(), "what was lost is of the group before"
    async with asyncio.timeout(5):
        while bench.sender.counts.octets < 400_000:
            await asyncio.sleep(0.002)
            bench.clock.advance(5 * MS)
    bench.sender.repeat(numbers_of(bench.received())[-1:])
    assert bench.sender.wants_key()


async def test_old_pictures_are_no_answer_when_the_camera_is_silent(bench: Bench) -> None:
    bench.push(3000, key=True)
    bench.sender.repeat(numbers_of(bench.received())[-1:])
    bench.clock.advance(1100 * MS)
    assert not bench.sender.wants_key()


async def test_a_viewer_held_to_the_next_key_picture_is_not_given_the_one_before(bench: Bench) -> None:
    bench.push(3000, key=True)
    bench.sender.repeat(numbers_of(bench.received())[-1:])
    bench.sender.drop_to_key()
    assert not bench.sender.wants_key()


async def test_a_viewer_that_makes_nothing_of_it_is_answered_ever_more_seldom(bench: Bench) -> None:
    heeded = 0
    bench.push(1000, key=True)
    for _ in range(500):  # twenty seconds
        bench.push(100)
        bench.sender.repeat(numbers_of(bench.received())[-1:])
        heeded += bench.sender.wants_key()
    assert 4 <= heeded <= 8
    bench.clock.advance(20_000 * MS)
    bench.push(100)
    assert bench.sender.wants_key()


# Too little room


async def test_a_viewer_with_little_room_gets_key_pictures_within_it(bench: Bench) -> None:
    lost, limited = 0, []
    for second in range(30):
        limit, sent = bench.sender.limit.bytes_per_s, bench.sender.counts.bytes
        for n in range(25):
            bench.push(20_000, key=n == 0)  # 4 Mbit/s
            bench.received()
        lost += 400 if second < 4 else 0  # of some 450
        bench.sender.reported(lost, bench.sender.counts.packets)
        if second > 5 and limit is not None:
            limited.append((bench.sender.counts.bytes - sent) / (limit + 40_000))
    assert len(limited) > 10
    assert 0 < max(limited) <= 1
    assert bench.sender.counts.drops > 200


async def test_a_viewer_with_little_room_waits_for_a_key_picture_rather_than_for_its_room(bench: Bench) -> None:
    """A group of four megabits would take the room of half a minute."""
    bench.sender.limit.bytes_per_s = 37_500.0
    bench.sender.begin([bench.unit(60_000, key=True), *(bench.unit(18_000) for _ in range(49))])
    assert bench.datagrams() == []
    for second in range(1, 20):
        bench.push(300_000, key=True)
        for _ in range(24):
            bench.push(18_000)
        if second > 1 and bench.datagrams():
            break
    assert second <= 6


async def test_forged_packets_do_not_open(bench: Bench) -> None:
    bench.push(100, key=True)
    (datagram,) = bench.datagrams()
    with pytest.raises(pylibsrtp.Error):
        bench.rx.unprotect(datagram[:-1] + bytes([datagram[-1] ^ 1]))
