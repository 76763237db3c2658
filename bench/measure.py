"""Measuring process trees from /proc, and writing results down. Nothing here knows what is measured.

CPU is user + system time of a process and everything below it (children that have ended included, through their parents);
memory is proportional set size, so that shared libraries are not counted forty times.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vms.media import video_units

TICK = os.sysconf("SC_CLK_TCK")
RESULTS = Path(__file__).parent / "results"


def verdict(is_met: bool) -> str:
    """What stands behind the colon of a line about a goal."""
    return "met" if is_met else "MISSED"


def met(goals: Iterable[str]) -> bool:
    """Whether none of these lines says that its goal was missed."""
    return not any(f": {verdict(False)}" in goal for goal in goals)


@dataclass(frozen=True, slots=True)
class Sample:
    """A process tree at one instant."""

    at: float
    cpu_seconds: float
    pss_bytes: int
    processes: int


def sample(root: int, *, memory: bool = True) -> Sample:
    """CPU and memory of `root` and everything below it."""
    children: dict[int, list[int]] = {}
    cpu: dict[int, float] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                fields = Path(entry.path, "stat").read_text().rsplit(")", 1)[1].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            pid = int(entry.name)
            children.setdefault(int(fields[1]), []).append(pid)
            cpu[pid] = sum(int(f) for f in fields[11:15]) / TICK  # utime, stime, cutime, cstime
    tree, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        if pid in cpu:
            tree.append(pid)
            waiting += children.get(pid, [])
    return Sample(time.monotonic(), sum(cpu[p] for p in tree), sum(map(_pss, tree)) if memory else 0, len(tree))


def _pss(pid: int) -> int:
    """PermissionError but for root: our processes keep their memory to themselves."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def folder_bytes(folder: Path) -> int:
    """Bytes in all files below `folder`; files that vanish meanwhile do not count."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(parent, name)).st_size
            except FileNotFoundError:
                continue
    return total


def machine() -> dict[str, Any]:
    """What was measured on."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "hot_path": "compiled" if video_units.__file__.endswith(".so") else "from its sources",
        "libraries": {name: version(name) for name in ("av", "uvloop", "minio", "aiohttp", "sqlalchemy")},
        "ffmpeg": _first_line("ffmpeg", "-version"),
        "commit": _first_line("git", "rev-parse", "--short", "HEAD"),
    }


def _first_line(*command: str) -> str:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=RESULTS.parent
        ).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "not found"


def write_results(name: str, results: dict[str, Any]) -> Path:
    """`bench/results/<name>.json`, with the machine beside the figures."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    facts = {"name": name, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "machine": machine(), **results}
    path.write_text(json.dumps(facts, indent=1) + "\n")
    return path
