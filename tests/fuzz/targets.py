"""The fuzz targets: which there are, and their known inputs.

A target is a module fuzz_<name>.py here with `fuzz(data: bytes) -> None`, which raises only where there is a bug, and
optionally `seeds() -> list[bytes]`, inputs to begin with. Inputs that found a bug are kept in regressions/<name>/ and run
by an ordinary test ever after.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
REGRESSIONS = HERE / "regressions"

Target = Callable[[bytes], None]


def names() -> list[str]:
    return sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.py"))


def load(name: str) -> Target:
    """The target's function."""
    target: Target = importlib.import_module(f"tests.fuzz.fuzz_{name}").fuzz
    return target


def seeds(name: str) -> list[bytes]:
    """What the target brings along to begin with."""
    make: Callable[[], list[bytes]] | None = getattr(importlib.import_module(f"tests.fuzz.fuzz_{name}"), "seeds", None)
    return make() if make else []


def regressions(name: str) -> list[Path]:
    return sorted(path for path in (REGRESSIONS / name).glob("*") if path.is_file())
