"""From looking to handing over: each once over failures and restarts, whichever step was the last before a kill."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.support.alarm_receivers import webhook_receiver
from vms.alarms.decision import AlarmKind, Event, Message
from vms.alarms.delivery import destinations
from vms.alarms.memory import FILE, MOST_WAITING, read_memory
from vms.cli import alarm_watch
from vms.cli.alarm_watch import BATCH, AlarmWatch
from vms.clock import SimulatedClock
from vms.errors import DeliveryError
from vms.metrics import Metrics
from vms.ntp import HostClock
from vms.site import Site
from vms.status.site_status import Level, SiteStatus, StreamLine

WELL = StreamLine(12, "Rynek", "main", "s", Level.GOOD, "recording", camera_id="kamera-12")
GONE = replace(WELL, level=Level.BAD, word="camera unreachable", reason="camera_unreachable")


def status(*lines: StreamLine, archiver: bool = True) -> SiteStatus:
    """A site whose recorder answers; without an archiver, store and the like are nobody's concern."""
    return SiteStatus(
        at_ns=1_795_300_000_000_000_000, name="Stróż", data="d", store="s", running_process="1", recorder_answers=True,
        archiver_answers=False, archiver=None, streams=lines, clock=HostClock(synchronised=True),
    )  # fmt: skip


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "d").mkdir(mode=0o700)
    (tmp_path / "d" / "site.toml").write_text(
        "[alarms]\ncamera_seconds = 0\nprocess_seconds = 86400\nclear_seconds = 0\n"
    )
    return Site.create(tmp_path / "d", {})


class Killed(BaseException):
    """The process is no more."""


@dataclass
class Kill:
    """Counts steps and ends the process at one of them."""

    at: int
    steps: int = 0

    def step(self) -> None:
        self.steps += 1
        if self.steps == self.at:
            raise Killed


@dataclass
class Taker:
    """A destination that takes everything, unless it is told to refuse."""

    kill: Kill = field(default_factory=lambda: Kill(0))
    refuses: int = 0
    taken: list[Message] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    name: str = "taker"

    async def send(self, messages: Sequence[Message], dropped: int = 0) -> str:
        self.kill.step()
        if self.refuses:
            self.refuses -= 1
            raise DeliveryError("busy")
        self.taken += messages
        self.batches.append(len(messages))
        self.kill.step()
        return f"taken, {dropped} dropped"


async def live(site: Site, to: Taker, looks: list[SiteStatus], seen: int) -> int:
    """One life of the watch from look number `seen` on; gives the number of the look it died at, or all of them."""
    shown = seen

    async def look() -> SiteStatus:
        return looks[shown]

    try:
        watch = AlarmWatch(site, [to], look=look, clock=SimulatedClock())
        while shown < len(looks):
            await watch.look_once()
            shown += 1
            while watch.memory.outboxes[to.name].waiting:
                with contextlib.suppress(DeliveryError):
                    await watch.deliver(to)
    except Killed:
        pass
    return shown


async def test_killed_at_any_step_everything_is_told_and_nothing_twice_that_was_known_to_be_taken(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = alarm_watch.write_memory
    looks = [status(WELL), status(GONE), status(GONE), status(WELL), status(GONE), status(WELL), status(WELL)]
    all_of_it = [(number, event) for number in (1, 2) for event in (Event.RAISED, Event.CLEARED)]
    steps, at, doubled = 1, 0, 0
    while at <= steps:
        (site.path / FILE).unlink(missing_ok=True)
        kill = Kill(at)

        def write_memory(file: Path, memory: alarm_watch.Memory, kill: Kill = kill) -> None:
            kill.step()
            write(file, memory)
            kill.step()

        monkeypatch.setattr(alarm_watch, "write_memory", write_memory)
        to = Taker(kill, refuses=1)
        seen = 0
        while seen < len(looks):
            seen = await live(site, to, looks, seen)
        told = [(m.alarm.number, m.event) for m in to.taken]
        assert list(dict.fromkeys(told)) == all_of_it, at
        doubled += len(told) - len(all_of_it)
        assert len(told) - len(all_of_it) <= 1, at
        assert read_memory(site.path / FILE).outboxes["taker"].waiting == ()
        steps, at = (kill.steps, at + 1) if at == 0 else (steps, at + 1)
    assert steps > 15
    assert 0 < doubled < steps / 2  # only when killed after it was taken and before that was known


async def test_what_cannot_be_handed_over_waits_and_goes_together_with_what_came_meanwhile(site: Site) -> None:
    to, lines = Taker(refuses=2), [replace(GONE, number=n, camera_id=f"k{n}") for n in range(70)]
    now = status(*lines)

    async def look() -> SiteStatus:
        return now

    metrics = Metrics.create()
    watch = AlarmWatch(site, [to], look=look, clock=SimulatedClock(), metrics=metrics)

    def sample(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(name, labels)

    await watch.look_once()
    for _ in range(2):
        with pytest.raises(DeliveryError):
            await watch.deliver(to)
    assert read_memory(site.path / FILE).outboxes["taker"].last_error == "busy"
    now = status(*(replace(line, level=Level.GOOD) for line in lines))
    await watch.look_once()
    assert sample("stroz_alarm_messages_waiting", destination="taker") == 140
    for _ in range(3):
        await watch.deliver(to)
    assert to.batches == [BATCH, BATCH, 40]
    assert [m.event for m in to.taken] == [Event.RAISED] * 70 + [Event.CLEARED] * 70
    box = read_memory(site.path / FILE).outboxes["taker"]
    assert (box.waiting, box.last_error) == ((), "")
    assert sample("stroz_alarm_messages_waiting", destination="taker") == 0
    assert sample("stroz_alarm_messages_total", destination="taker", result="failed") == 2
    assert sample("stroz_alarm_messages_total", destination="taker", result="sent") == 140


async def test_nothing_is_sent_before_it_is_on_disk(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A destination that failed tries again just while the next alarm is being written."""
    to, now = Taker(refuses=1), status(GONE)

    async def look() -> SiteStatus:
        return now

    watch = AlarmWatch(site, [to], look=look, clock=SimulatedClock())
    await watch.look_once()
    with pytest.raises(DeliveryError):
        await watch.deliver(to)
    write, begun, may_end = alarm_watch.write_memory, threading.Event(), threading.Event()

    def slow(file: Path, memory: alarm_watch.Memory) -> None:
        begun.set()
        assert may_end.wait(10)
        write(file, memory)

    monkeypatch.setattr(alarm_watch, "write_memory", slow)
    now = status(GONE, replace(GONE, number=7, camera_id="kamera-7"))
    looking = asyncio.create_task(watch.look_once())
    assert await asyncio.to_thread(begun.wait, 10)
    delivering = asyncio.create_task(watch.deliver(to))
    while not to.taken:
        await asyncio.sleep(0)
    on_disk = {m.id for m in read_memory(site.path / FILE).outboxes["taker"].waiting}
    assert {m.id for m in to.taken} <= on_disk
    may_end.set()
    await asyncio.gather(looking, delivering)
    await watch.deliver(to)
    assert [m.alarm.name for m in to.taken] == [m.alarm.name for m in dict.fromkeys(to.taken)]
    assert len(to.taken) == 2
    assert read_memory(site.path / FILE).outboxes["taker"].waiting == ()


async def test_more_than_can_wait_is_counted_and_said(site: Site) -> None:
    to, lines = Taker(), [replace(GONE, number=n, camera_id=f"k{n}") for n in range(MOST_WAITING + 30)]

    async def look() -> SiteStatus:
        return status(*lines)

    watch = AlarmWatch(site, [to], look=look, clock=SimulatedClock())
    await watch.look_once()
    assert read_memory(site.path / FILE).outboxes["taker"].dropped == 30
    await watch.deliver(to)
    assert watch.memory.outboxes["taker"].dropped == 0
    assert to.taken[0].alarm.number == 31


async def test_gauges_say_what_status_judges_and_forget_a_camera_that_is_gone(site: Site) -> None:
    metrics, now = Metrics.create(), status(WELL, replace(GONE, number=7, camera_id="kamera-7"))

    async def look() -> SiteStatus:
        return now

    watch = AlarmWatch(site, [], look=look, clock=SimulatedClock(), metrics=metrics)
    await watch.look_once()

    def sample(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(name, labels)

    assert sample("stroz_camera_recording", camera="12") == 1
    assert sample("stroz_camera_recording", camera="7") == 0
    assert sample("stroz_alarms_active", kind=AlarmKind.CAMERA) == 1
    now = status(WELL)
    await watch.look_once()
    assert sample("stroz_camera_recording", camera="7") is None
    assert sample("stroz_alarms_active", kind=AlarmKind.CAMERA) == 0


async def test_a_disk_that_is_full_does_not_keep_alarms_from_being_sent(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_file: Path, _memory: alarm_watch.Memory) -> None:
        raise OSError(28, "No space left on device")

    async def look() -> SiteStatus:
        return status(GONE)

    monkeypatch.setattr(alarm_watch, "write_memory", full)
    to = Taker()
    watch = AlarmWatch(site, [to], look=look, clock=SimulatedClock())
    await watch.look_once()
    await watch.deliver(to)
    assert len(to.taken) == 1
    assert caplog.text.count("alarms cannot be kept over a restart") == 1


async def test_a_file_that_cannot_be_read_is_told_and_alarms_begin_anew(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    (site.path / FILE).write_bytes(b'{"format": 99}')

    async def look() -> SiteStatus:
        return status(GONE)

    watch = AlarmWatch(site, [Taker()], look=look, clock=SimulatedClock())
    assert "alarms begin anew" in caplog.text
    await watch.look_once()
    assert [a.kind for a in read_memory(site.path / FILE).state.active.values()] == [AlarmKind.CAMERA]


@pytest.fixture
async def running(site: Site) -> AsyncIterator[Site]:
    """The site with a webhook, and `run_alarms` over it. Nothing else runs, so the recorder is down."""
    async with webhook_receiver() as receiver:
        file = site.path / "site.toml"
        text = file.read_text().replace("process_seconds = 86400", "process_seconds = 0")
        file.write_text(f'{text}webhook_url = "{receiver.url}"\nwebhook_secret = "klucz"\nclock_seconds = 86400\n')
        told = Site.open(site.path, {})
        task = asyncio.create_task(alarm_watch.run_alarms(told))
        async with asyncio.timeout(10):
            while not receiver.posts:
                await asyncio.sleep(0.02)
        down = ("recorder_down", "archiver_down", "web_down", "live_down")
        assert set(receiver.told("raised")) == {(kind, None) for kind in down}
        yield told
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_whole_watch_sends_at_once_and_serves_its_metrics(running: Site) -> None:
    from vms.metrics import gather

    assert [d.name for d in destinations(running)] == ["webhook"]
    page = await asyncio.to_thread(gather, {"alarms": running.run / "alarms.metrics"})
    assert 'stroz_alarms_active{kind="recorder_down",process="alarms"} 1.0' in page.decode()
