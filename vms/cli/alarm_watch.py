"""The process that watches a site and tells somebody elsewhere: `vms alarm watch`, and a child of `vms up`.

Owns the loop look → decide → remember → send. It reads what `vms status` reads and is nobody's dependency: a recorder
never waits for it. Decisions are `vms.alarms.decision`'s, the judgement is that of `vms status`.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

from vms.alarms.decision import AlarmKind, Event, step
from vms.alarms.delivery import Destination, destinations
from vms.alarms.memory import FILE, Memory, Outbox, read_memory, write_memory
from vms.alarms.words import title
from vms.cli.alarm_findings import observe, patience_of
from vms.clock import Clock, SystemClock
from vms.errors import DeliveryError, MalformedError
from vms.metrics import Metrics, MetricsServer
from vms.processes import run_process, site_of
from vms.site import Site
from vms.status.site_judgement import cameras, not_recorded
from vms.status.site_status import SiteStatus, gather_status
from vms.supervise import Backoff, keep_running

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
BATCH = 50  # messages in one mail
DELIVERY_PACE = Backoff(first=2.0, longest=300.0, after_bug=60.0)  # what comes within `first` goes together

Look = Callable[[], Awaitable[SiteStatus]]


class AlarmWatch:
    """The alarms of one site, from looking to handing over."""

    def __init__(
        self,
        site: Site,
        told: Sequence[Destination],
        *,
        look: Look | None = None,
        clock: Clock | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._file = site.path / FILE
        self._look = look or (lambda: gather_status(site))
        self._clock, self._metrics = clock or SystemClock(), metrics or Metrics.create()
        self._patience = patience_of(site.settings.alarms)
        self._changing = asyncio.Lock()
        self._unsaved = ""
        self._filled = {d.name: asyncio.Event() for d in told}
        self._shown: set[str] = set()
        self.memory = self._remembered().for_destinations(self._filled)
        self._wake()

    async def keep_looking(self) -> None:
        """Look again and again."""
        while True:
            await self.look_once()
            await self._clock.sleep(LOOK_SECONDS)

    async def look_once(self) -> None:
        """One look, and what it calls for, on disk when this returns."""
        status = await self._look()
        state, messages = step(self.memory.state, observe(status, self._clock.mono_ns()), self._patience)
        for message in messages:
            level = logging.WARNING if message.event is Event.RAISED else logging.INFO
            extra = {"alarm": message.alarm.number, "event": message.event.value, "detail": message.alarm.detail}
            log.log(level, "%s", title(message), extra=extra)
        await self._change(lambda memory: memory.tell(state, messages), keep=bool(messages))
        self._show(status)

    async def deliver(self, to: Destination) -> None:
        """Wait for messages, hand over what waits, and forget it. Raises DeliveryError; nothing is forgotten then."""
        await self._filled[to.name].wait()
        box = self.memory.outboxes[to.name]
        batch = box.waiting[:BATCH]
        try:
            answer = await to.send(batch, box.dropped)
        except DeliveryError as error:
            reason, at_ns = str(error), self._clock.wall_ns()
            await self._put(to.name, lambda box: replace(box, last_error=reason, last_error_ns=at_ns))
            self._metrics.alarm_messages.labels(to.name, "failed").inc()
            raise
        await self._put(to.name, lambda now: now.accepted(batch, box.dropped, self._clock.wall_ns()))
        self._metrics.alarm_messages.labels(to.name, "sent").inc(len(batch))
        log.info("told %s of %s: %s", to.name, "1 alarm" if len(batch) == 1 else f"{len(batch)} alarms", answer)

    async def _put(self, name: str, change: Callable[[Outbox], Outbox]) -> None:
        await self._change(lambda memory: memory.with_box(name, change(memory.outboxes[name])), keep=True)

    async def _change(self, change: Callable[[Memory], Memory], *, keep: bool) -> None:
        """One change after another, each on disk (if it is to be kept) before anybody acts on it."""
        async with self._changing:
            memory = change(self.memory)
            if keep:
                await self._save(memory)
            self.memory = memory
            self._wake()

    def _wake(self) -> None:
        for name, box in self.memory.outboxes.items():
            self._metrics.alarm_messages_waiting.labels(name).set(len(box.waiting))
            (self._filled[name].set if box.waiting else self._filled[name].clear)()

    def _remembered(self) -> Memory:
        try:
            return read_memory(self._file)
        except (MalformedError, OSError) as error:
            log.error("%s cannot be read, alarms begin anew: %s", self._file, error)
            return Memory()

    async def _save(self, memory: Memory) -> None:
        """A disk that is full is one of the things to tell: it must not keep us from telling."""
        try:
            await asyncio.to_thread(write_memory, self._file, memory)
        except OSError as error:
            if self._unsaved != str(error):
                log.error("alarms cannot be kept over a restart: %s", error)
            self._unsaved = str(error)
        else:
            self._unsaved = ""

    def _show(self, status: SiteStatus) -> None:
        """The gauges: what is active, and which cameras record by the judgement of `vms status`."""
        active = [kind for kind, _ in self.memory.state.active]
        for kind in AlarmKind:
            self._metrics.alarms_active.labels(kind.value).set(active.count(kind))
        before, self._shown = self._shown, set()
        for lines in cameras(status).values():
            number = str(lines[0].number)
            self._shown.add(number)
            self._metrics.camera_recording.labels(number).set(not_recorded(lines) is None)
        for number in before - self._shown:
            self._metrics.camera_recording.remove(number)


async def run_alarms(site: Site) -> None:
    """Build, run until cancelled, undo in reverse."""
    told = destinations(site)
    metrics = Metrics.create()
    watch = AlarmWatch(site, told, metrics=metrics)
    with MetricsServer.start(metrics.page, site.run / "alarms.metrics"):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(keep_running("alarm watch", watch.keep_looking), name="alarm watch")
            for to in told:
                tasks.create_task(
                    keep_running(
                        f"alarms by {to.name}",
                        partial(watch.deliver, to),
                        backoff=DELIVERY_PACE,
                        on_error=_once_per_error(to.name),
                    ),
                    name=f"alarms by {to.name}",
                )


def _once_per_error(name: str) -> Callable[[Exception, float], None]:
    said = ""

    def on_error(error: Exception, wait_seconds: float) -> None:
        nonlocal said
        if str(error) != said:
            said = str(error)
            log.warning("alarms do not reach %s, trying on: %s", name, error, extra={"wait_seconds": wait_seconds})

    return on_error


def main() -> None:
    """`python -m vms.cli.alarm_watch --data DIR`; `vms up` starts it."""
    site, _ = site_of(argparse.ArgumentParser(prog="vms.cli.alarm_watch"))
    run_process(lambda: run_alarms(site))


if __name__ == "__main__":
    main()
