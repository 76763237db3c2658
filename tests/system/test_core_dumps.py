"""What crashes leaves nothing of its memory behind: no core file, no secret in a log, a command line or an environment (S-02)."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.support.vms_process import processes_of, until
from tests.support.whole_site import OF_STORE, WholeSite, whole_site
from vms.model import SourceKind

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(400)]

# Who is started by whom comes first, so that nobody's end takes another one away before its turn.
ROLES = (
    "recorder.sources.libav_child", "recorder.worker", "recorder.publish", "recorder.host", "storage.archive_process",
    "vms.cli.alarm_watch", "web.live.process", "web.api.process", "vms.cli",
)  # fmt: skip
PERMIT = 'ulimit -c unlimited && cd "$0" && exec "$@"'  # what a careless shell or service manager may allow
STORE = """[store]
kind = 's3'
endpoint = '127.0.0.1:1'
bucket = 'stroz'
tls = false
access_key = 'stroz'
secret_key_file = 'store.secret'
[publishing]
enabled = true
listen = '127.0.0.1:0'
"""


@pytest.fixture(scope="module")
def _permitted() -> None:
    """Cores must be possible at all here, else their absence proves nothing."""
    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0 and os.geteuid() != 0:
        pytest.skip("core files are forbidden to this user")


@pytest.fixture
def crashes(tmp_path: Path, _permitted: None) -> Path:
    """A folder in which what crashes leaves its core, as one that did shows; elsewhere no test could look for it."""
    folder = tmp_path / "crashes"
    folder.mkdir()
    abort = [sys.executable, "-c", "import os; os.abort()"]
    subprocess.run(["sh", "-c", PERMIT, str(folder), *abort], check=False, stderr=subprocess.DEVNULL)
    left = list(folder.iterdir())
    if not left:
        pytest.skip(f"core_pattern takes cores elsewhere: {Path('/proc/sys/kernel/core_pattern').read_text().strip()}")
    for file in left:
        file.unlink()
    return folder


async def test_a_crash_of_any_process_leaves_no_core_and_tells_no_secret(tmp_path: Path, crashes: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "store.secret").write_text(OF_STORE)
    settings = STORE.replace("store.secret", str(tmp_path / "secrets" / "store.secret"))
    both = (SourceKind.RTSP, SourceKind.LIBAV)
    through = ("sh", "-c", PERMIT, str(crashes))
    async with whole_site(tmp_path, settings=settings, sources=both, through=through) as site:
        for role in ROLES:
            await until(f"{role} runs", lambda role=role: site.pid_of(role), 60)
        _tell_no_secret(site, site.processes())
        for number, role in enumerate(ROLES):
            pid = await until(f"{role} runs again", lambda role=role: site.pid_of(role), 60)
            how = signal.SIGSEGV if number % 2 else signal.SIGABRT
            os.kill(pid, how)
            await until(f"{role} is gone", lambda pid=pid: pid not in site.processes(), 30)
        assert await site.up.process.wait() == -how
        await until("nothing runs on", lambda: not processes_of(site.site.path), 30)
        log = site.up.out + site.up.err
    assert "Fatal Python error" in log  # they did crash, and say where
    assert not list(crashes.iterdir())
    assert not list(_cores(site.site.path))
    assert not [secret for secret in site.canaries if secret in log]


def _tell_no_secret(site: WholeSite, pids: Iterable[int]) -> None:
    """What anybody on the machine can read of a process, and what root can."""
    for pid in pids:
        shown = Path(f"/proc/{pid}/cmdline").read_bytes()
        limit = next(line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if "core file" in line)
        assert limit.split()[4:6] == ["0", "0"], (pid, limit)
        environ = Path(f"/proc/{pid}/environ")
        if os.geteuid() == 0:
            shown += environ.read_bytes()
        else:
            with pytest.raises(PermissionError):
                environ.read_bytes()
        assert not [secret for secret in site.canaries if secret.encode() in shown], pid


def test_a_process_of_ours_is_dumped_to_no_collector_either() -> None:
    """A core that is piped to a program knows no limit; what is not dumpable is piped nowhere (core(5))."""
    code = (
        "import ctypes, resource\nfrom vms.secrecy import keep_memory_private\nkeep_memory_private()\n"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "0 (0, 0)\n"


def _cores(folder: Path) -> Iterator[Path]:
    return (file for file in folder.rglob("*core*") if file.is_file())
