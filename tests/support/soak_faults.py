"""Lets a soak's faults happen: each at its moment, or as soon as its target is well again after the one before.

An event ends when everybody it concerned is recorded again, so what it may have cost is known exactly. The last worker is
spared, so that one process lives through everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.support.soak_plan import COSTS, Event, Fault, Kind
from tests.support.soak_site import NEIGHBOURS, SoakSite, role_of
from tests.support.store_run import FAULTS
from tests.support.vms_process import processes_of
from vms.status.site_status import read_report

POLL_S = 0.25
TICK_S = 0.1
STANDSTILL_NS = 2_000_000_000
AFTER_STANDSTILL_NS = 20_000_000_000  # workers that did not beat are replaced, and cameras found again
AFTER_FULL_NS = 3_000_000_000
RECOVERY_S = 120.0
DRAIN_S = 300.0
FULL_SHARE = 0.7  # of the budget: from here on streams may be given up


class Faults:
    """What has happened so far: `events`, the worst seconds until all was well again by kind, and `problems`."""

    def __init__(self, site: SoakSite, budget_bytes: int) -> None:
        self.events: list[Event] = []
        self.recovery_s: dict[str, float] = {}
        self.problems: list[str] = []
        self.stood_still_s = 0.0
        self._site, self._budget = site, budget_bytes
        self._held: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # by what a fault takes for itself
        self._states: dict[UUID, dict[str, Any]] = {}
        self._pids: dict[str, int] = {}
        self._looks = 0
        self._full_since_ns = 0

    async def run(self, faults: Iterable[Fault]) -> None:
        """All of them, and until the last one is over."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as running:
            watch = running.create_task(self._watch())
            stills = running.create_task(self._notice_standstills())
            async with asyncio.TaskGroup() as tasks:
                for fault in faults:
                    await asyncio.sleep(max(0.0, began + fault.at_s - time.monotonic()))
                    tasks.create_task(self._one(fault), name=fault.kind)
            watch.cancel()
            stills.cancel()
        if self._full_since_ns:
            self._note_full(time.time_ns())

    async def _one(self, fault: Fault) -> None:
        """Take the target, act, wait for recovery, note what happened."""
        kind = fault.kind
        resource, cameras = self._target(fault)
        async with self._held[resource]:
            if cameras:
                await self._next_look()
            start = time.time_ns()
            before = {i: self._attempt(i) for i in cameras}
            await self._act(fault, resource)
            over = time.monotonic()
            if kind is Kind.LOSS:
                await asyncio.sleep(1.0)  # until the last hole is over
            elif kind is not Kind.BURST and before:
                await self._recovered(fault, before)
                self._note_seconds(kind, over)
            if kind is not Kind.FILL:  # which `_watch` notes, as long as it lasts
                reasons, tail = COSTS.get(kind, (frozenset(), 0))
                self.events.append(Event(kind, start, time.time_ns(), frozenset(cameras), reasons, tail))

    def _note_seconds(self, what: str, since: float) -> None:
        self.recovery_s[what] = max(self.recovery_s.get(what, 0.0), round(time.monotonic() - since, 1))

    def _target(self, fault: Fault) -> tuple[str, list[int]]:
        """What a fault takes for itself, and the cameras it may cost something."""
        site = self._site
        if fault.kind in (Kind.KILL_WORKER, Kind.STOP_WORKER):
            worker = fault.target % max(1, site.workers - 1)
            return f"worker {worker}", [i for i in range(site.count) if site.worker_of(i) == worker]
        if fault.kind in (Kind.KILL_ARCHIVER, Kind.STOP_ARCHIVER):
            return "archiver", []
        if fault.kind in (Kind.STORE, Kind.FILL):
            return "store", []
        if fault.kind is Kind.LOCK:
            return "catalogue", []
        if fault.kind is Kind.NEIGHBOUR:
            return f"cam{site.count + fault.target % len(NEIGHBOURS)}", []
        return f"cam{fault.target % site.count}", [fault.target % site.count]

    async def _act(self, fault: Fault, name: str) -> None:
        kind = fault.kind
        if kind is Kind.DISCONNECT:
            await self._call(lambda s: s.disconnect(name))
        elif kind in (Kind.AWAY, Kind.MISSING):
            await self._call(lambda s: s.stop_camera(name, missing=kind is Kind.MISSING))
            await asyncio.sleep(fault.seconds)
            await self._call(lambda s: s.start_camera(name))
        elif kind in (Kind.BURST, Kind.STALL):
            await self._call(lambda s: s.stall(name, fault.seconds))
            await asyncio.sleep(fault.seconds)
        elif kind is Kind.LOSS:
            await self._call(lambda s: s.lose(name, 0.02, fault.seconds))
            await asyncio.sleep(fault.seconds)
        elif kind is Kind.NEIGHBOUR:
            await self._let_harm(int(name.removeprefix("cam")), fault.seconds)
        elif kind in (Kind.KILL_WORKER, Kind.STOP_WORKER, Kind.KILL_ARCHIVER, Kind.STOP_ARCHIVER):
            await self._signal(fault, name)
        elif kind is Kind.LOCK:
            await asyncio.to_thread(_lock, self._site.site.path / "catalogue.db", fault.seconds)
        else:
            await self._store(fault)

    async def _let_harm(self, number: int, seconds: float) -> None:
        """Let it be there for so long after the recorder has found it, which may take a while: it is seldom there."""
        until = time.monotonic() + RECOVERY_S
        await self._next_look()
        before = self._attempt(number)
        neighbour = self._site.neighbours[number - self._site.count]
        with neighbour.there():
            while not self._found(number, before):
                if time.monotonic() > until:
                    self.problems.append(f"{neighbour.quirk}: the recorder did not find this camera")
                    break
                await self._next_look()
            await asyncio.sleep(seconds)

    async def _call(self, what: Callable[[Any], Any]) -> None:
        await asyncio.to_thread(self._site.simulator.call, what, RECOVERY_S)

    async def _signal(self, fault: Fault, target: str) -> None:
        """SIGKILL or SIGSTOP, and wait until another process has taken its place."""
        number = signal.SIGSTOP if fault.kind in (Kind.STOP_WORKER, Kind.STOP_ARCHIVER) else signal.SIGKILL
        until = time.monotonic() + RECOVERY_S
        while (pid := self._pids.get(target)) is None:
            await self._next_look()
        os.kill(pid, number)
        while self._pids.get(target) in (pid, None):
            if time.monotonic() > until:
                self.problems.append(f"{fault.kind}: nobody took its place")
                return
            await self._next_look()

    async def _store(self, fault: Fault) -> None:
        """Let the store fail, for so long or until the spool is full, and wait until the backlog is small again."""
        ways = list(FAULTS.values())
        chances = {} if fault.kind is Kind.FILL else ways[fault.target % len(ways)]
        self._site.proxy.misbehave(chances, random.Random(fault.target))
        try:
            if fault.kind is Kind.FILL:
                await self._filled()
            else:
                await asyncio.sleep(fault.seconds)
        finally:
            self._site.proxy.behave()
        await self._drained(fault)

    async def _filled(self) -> None:
        until = time.monotonic() + RECOVERY_S * 2
        while not any(s.get("reason") == "spool_full" for s in self._states.values()):
            if time.monotonic() > until:
                self.problems.append("the spool did not get full")
                return
            await asyncio.sleep(POLL_S)
        await asyncio.sleep(5.0)

    async def _drained(self, fault: Fault) -> None:
        began, now = time.monotonic(), time.time_ns()
        while time.monotonic() - began < DRAIN_S:
            report = read_report(self._site.site.run / "archiver.json")
            if report is not None and report.at_ns > now and (report.oldest_start_ns or now) >= now:
                self._note_seconds(f"{fault.kind}, drained", began)
                return
            await asyncio.sleep(POLL_S)
        self.problems.append(f"{fault.kind}: the backlog did not drain within {DRAIN_S:.0f} s")

    # What the site says meanwhile

    def _attempt(self, index: int) -> tuple[object, object]:
        """Differs once another attempt has begun, in the same process or another one."""
        state = self._states.get(self._site.stream_of(index), {})
        return self._pids.get(f"worker {self._site.worker_of(index)}"), state.get("attempts")

    def _found(self, index: int, before: tuple[object, object]) -> bool:
        """It is seen at work, or another two attempts have begun: one that hangs up at once is always waited for."""
        pid, attempts = self._attempt(index)
        two_more = (
            pid == before[0] and isinstance(attempts, int) and isinstance(before[1], int) and attempts > before[1] + 1
        )
        return two_more or ((pid, attempts) != before and self._state(index) != "waiting")

    def _state(self, index: int) -> object:
        return self._states.get(self._site.stream_of(index), {}).get("state")

    async def _recovered(self, fault: Fault, before: dict[int, tuple[object, object]]) -> None:
        until = time.monotonic() + RECOVERY_S
        waiting = set(before)
        while waiting:
            for i in list(waiting):
                if self._state(i) == "recording" and self._attempt(i) != before[i]:
                    waiting.discard(i)
            if waiting and time.monotonic() > until:
                self.problems.append(
                    f"{fault.kind}: cameras {sorted(waiting)} not recorded again in {RECOVERY_S:.0f} s"
                )
                return
            await self._next_look()

    async def _next_look(self) -> None:
        """What `_watch` knows was asked after this was called."""
        looks = self._looks
        while self._looks < looks + 2:
            await asyncio.sleep(POLL_S / 2)

    async def _watch(self) -> None:
        """Processes, the states of all streams, and how full the spool is."""
        data = self._site.site
        while True:
            lines = await asyncio.to_thread(processes_of, data.path)
            self._pids = {role: pid for pid, line in lines.items() if (role := role_of(line))}
            self._states = await self._site.states()
            used = await asyncio.to_thread(_bytes_in, data.spool / "open", data.spool / "sealed")
            if used > FULL_SHARE * self._budget:
                self._full_since_ns = self._full_since_ns or time.time_ns()
            elif self._full_since_ns:
                self._note_full(time.time_ns())
            self._looks += 1
            await asyncio.sleep(POLL_S)

    async def _notice_standstills(self) -> None:
        """A machine that is shared may stop us all: then nobody can send, record or judge, and that is noted."""
        last = time.time_ns()
        while True:
            await asyncio.sleep(TICK_S)
            now = time.time_ns()
            if now - last > STANDSTILL_NS:
                self.stood_still_s += (now - last) / 1e9
                reasons, tail = COSTS[Kind.STANDSTILL]
                self.events.append(
                    Event(Kind.STANDSTILL, last, now + AFTER_STANDSTILL_NS, self._everybody(), reasons, tail)
                )
            last = now

    def _everybody(self) -> frozenset[int]:
        return frozenset(range(self._site.count))

    def _note_full(self, now_ns: int) -> None:
        reasons, _ = COSTS[Kind.FILL]
        self.events.append(Event(Kind.FILL, self._full_since_ns, now_ns + AFTER_FULL_NS, self._everybody(), reasons))
        self._full_since_ns = 0


def _lock(catalogue: Path, seconds: float) -> None:
    """Keep every writer out."""
    with contextlib.closing(sqlite3.connect(catalogue, timeout=30, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        time.sleep(seconds)
        connection.execute("ROLLBACK")


def _bytes_in(*folders: Path) -> int:
    total = 0
    for folder in folders:
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    total += entry.stat().st_size
    return total
