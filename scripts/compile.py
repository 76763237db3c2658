#!/usr/bin/env python3
"""Compile the hot path of recorder and live sender with mypyc, beside its sources. Usage: scripts/compile.py [--check | --remove]

The sources are ordinary Python and run without this, at half again the cost. What is compiled goes by the name of its
sources' digest: when they changed it is made anew, and where that cannot be (no compiler, no headers) it is removed, so
that what runs is always what stands there. `--check` says by its exit code whether all is fresh or nothing is compiled.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOT = (
    "vms/media/reception.py",
    "vms/media/unit_assembly.py",
    "vms/media/video_units.py",
    "vms/media/segment_writer.py",
    "vms/rtsp/track.py",
    "vms/rtsp/transport.py",
    "recorder/clockmap.py",
    "recorder/gop.py",
    "recorder/holes.py",
    "recorder/relay.py",
    "recorder/segmenter.py",
    "recorder/track.py",
    "web/live/estimate.py",
    "web/live/packets.py",
    "web/live/sender.py",
    "web/live/srtp.py",
    "web/live/timeline.py",
    "web/live/udp_segment.py",
)
BUILD = ROOT / "build" / "compiled"
STAMP = BUILD / "sources.sha256"
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")


def wanted() -> str:
    """What the compiled modules depend on."""
    digest = hashlib.sha256(sys.version.encode())
    for name in (*HOT, "uv.lock", "scripts/compile.py"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def compiled() -> list[Path]:
    """What an earlier run left beside the sources."""
    beside = [p for name in HOT for p in (ROOT / name).parent.glob(f"{Path(name).stem}.*.so")]
    return [*beside, *ROOT.glob("*__mypyc.*.so")]


def fresh() -> bool:
    return STAMP.exists() and STAMP.read_text() == wanted() and len(compiled()) == len(HOT) + 1


def remove() -> None:
    STAMP.unlink(missing_ok=True)
    for path in compiled():
        path.unlink()


def why_not() -> str:
    """Why nothing can be compiled here; empty when it can."""
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        return f"the headers of {sys.executable} are missing (Debian: python3-dev)"
    if shutil.which(os.environ.get("CC", "cc")) is None:
        return "no C compiler (Debian: gcc libc6-dev)"
    return ""


def build() -> None:
    """In this process: mypyc and setuptools say much, and take the working directory for theirs."""
    from mypyc.build import mypycify  # noqa: PLC0415 - half a second, for nothing when all is fresh
    from setuptools import Distribution  # noqa: PLC0415

    os.chdir(ROOT)
    extensions = mypycify(list(HOT), opt_level="3", target_dir=str(BUILD))
    command = Distribution({"ext_modules": extensions}).get_command_obj("build_ext")
    command.build_temp = command.build_lib = str(BUILD)
    command.ensure_finalized()
    command.run()
    for path in BUILD.rglob(f"*{SUFFIX}"):
        target = ROOT / path.relative_to(BUILD)
        shutil.copy2(path, target.with_suffix(".new"))
        target.with_suffix(".new").replace(target)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compile nothing; exit code 1 when what is there is stale")
    parser.add_argument("--remove", action="store_true", help="run from the sources again")
    parser.add_argument("--build", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.build:
        build()
        return 0
    if args.check:
        return 0 if fresh() or not compiled() else 1
    if args.remove:
        remove()
        return 0
    if fresh():
        return 0
    remove()
    if reason := why_not():
        print(f"[compile] skipped: {reason}; the hot path runs from its sources, at half again the cost")
        return 0
    print("[compile] compiling the hot path (half a minute, after each change of it)")
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    done = subprocess.run([sys.executable, __file__, "--build"], capture_output=True, text=True, check=False)
    (BUILD / "log").write_text(done.stdout + done.stderr)
    if done.returncode:
        remove()
        print("\n".join((done.stdout + done.stderr).splitlines()[-20:]))
        print("[compile] failed (above); the hot path runs from its sources, at half again the cost")
        return 0
    STAMP.write_text(wanted())
    return 0


if __name__ == "__main__":
    sys.exit(main())
