"""Real child processes: beaten, hung, crashed, orphaned, stopped."""

import asyncio
import os
import signal
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from vms.processes import ChildSpec, ChildState, keep_child

BEATING = """
    import asyncio, pathlib, sys
    from vms.processes import run_process
    async def main():
        pathlib.Path(sys.argv[1]).write_text("running")
        try:
            await asyncio.Event().wait()
        finally:
            pathlib.Path(sys.argv[1]).write_text("stopped in order")
    run_process(main)
"""
HANGING = """
    import asyncio, time
    from vms.processes import run_process
    async def main():
        await asyncio.sleep(0.2)
        time.sleep(600)
    run_process(main)
"""
LITTERING = """
    import asyncio, gc, pathlib, sys, weakref
    from vms import processes
    class Thing: pass
    async def main():
        gc.set_threshold(1_000_000)  # as with few objects: it does not come by itself
        thing = Thing()
        thing.me = thing
        gone = weakref.ref(thing)
        del thing
        while gone() is not None:
            await asyncio.sleep(0.02)
        pathlib.Path(sys.argv[1]).write_text("collected")
        await asyncio.Event().wait()
    processes.GARBAGE_SECONDS = 0.1
    processes.run_process(main)
"""
EXPECTED = """
    from vms.errors import SpoolError
    from vms.model import GapReason
    from vms.processes import run_process
    async def main():
        raise SpoolError(GapReason.SPOOL_FULL, "the spool's disk is full")
    run_process(main)
"""


def spec(tmp_path: Path, source: str, **changes: float) -> ChildSpec:
    script = tmp_path / "child.py"
    script.write_text(textwrap.dedent(source))
    root = str(Path(__file__).parents[3])
    return ChildSpec("child", (sys.executable, str(script), str(tmp_path / "mark")), {"PYTHONPATH": root}, **changes)


async def eventually(condition, seconds: float = 15.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def test_stopped_in_order(tmp_path: Path) -> None:
    state = ChildState()
    task = asyncio.create_task(keep_child(spec(tmp_path, BEATING), state))
    await eventually((tmp_path / "mark").exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (tmp_path / "mark").read_text() == "stopped in order"


async def test_cycles_do_not_wait_for_the_collector(tmp_path: Path) -> None:
    task = asyncio.create_task(keep_child(spec(tmp_path, LITTERING)))
    await eventually((tmp_path / "mark").exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (tmp_path / "mark").read_text() == "collected"


async def test_cancelled_while_it_starts_leaves_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starting = asyncio.Event()

    async def never(*_arguments: object, **_options: object) -> None:
        starting.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio, "create_subprocess_exec", never)
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        starting.clear()
        task = asyncio.create_task(keep_child(replace(spec(tmp_path, BEATING), log_file=tmp_path / "log")))
        await starting.wait()
        task.cancel()
        await asyncio.wait([task])
    assert len(os.listdir("/proc/self/fd")) == len(before)


async def test_killed_is_replaced(tmp_path: Path) -> None:
    state, deaths = ChildState(), []
    task = asyncio.create_task(keep_child(spec(tmp_path, BEATING), state, deaths.append))
    await eventually(lambda: state.pid)
    first = state.pid
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: state.pid not in (None, first), 2.0)
    assert deaths == ["killed by SIGKILL"]
    task.cancel()
    await asyncio.wait([task])


async def test_hung_is_dumped_and_replaced(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    state, deaths = ChildState(), []
    task = asyncio.create_task(keep_child(spec(tmp_path, HANGING, hang_seconds=1.0), state, deaths.append))
    await eventually(lambda: deaths)
    assert deaths[0] == "hung, killed"
    assert "in main" in capfd.readouterr().err  # the stack that hangs, by faulthandler
    task.cancel()
    await asyncio.wait([task])


async def test_what_is_expected_to_go_wrong_is_told_in_words(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    deaths: list[str] = []
    task = asyncio.create_task(keep_child(spec(tmp_path, EXPECTED), on_exit=deaths.append))
    await eventually(lambda: deaths)
    task.cancel()
    await asyncio.wait({task})
    told = capfd.readouterr().err
    assert deaths[0] == "exit code 1"
    assert "this process ends: the spool's disk is full" in told
    assert "Traceback" not in told


async def test_a_program_that_is_not_there_is_said(tmp_path: Path) -> None:
    deaths: list[str] = []
    task = asyncio.create_task(keep_child(ChildSpec("x", (str(tmp_path / "none"),)), None, deaths.append))
    await eventually(lambda: deaths)
    assert "could not be started" in deaths[0]
    task.cancel()
    await asyncio.wait([task])


async def test_orphan_ends_by_itself(tmp_path: Path) -> None:
    parent = tmp_path / "parent.py"
    child = spec(tmp_path, BEATING)
    parent.write_text(
        textwrap.dedent(f"""
            import asyncio
            from vms.processes import ChildSpec, ChildState, keep_child
            state = ChildState()
            async def main():
                task = asyncio.create_task(keep_child(ChildSpec("child", {tuple(child.argv)!r}), state))
                while not state.pid:
                    await asyncio.sleep(0.01)
                print(state.pid, flush=True)
                await task
            asyncio.run(main())
        """)
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(parent), stdout=asyncio.subprocess.PIPE, env={**os.environ, **child.env}
    )
    assert process.stdout
    pid = int(await process.stdout.readline())
    process.kill()
    await process.wait()
    await eventually(lambda: not _alive(pid))


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
