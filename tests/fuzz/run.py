"""Fuzz one target with atheris: `python tests/fuzz/run.py rtp [corpus folder] [libFuzzer options]`.

A target is a module fuzz_<name>.py here with `fuzz(data: bytes) -> None`, which raises only where there is a bug. Inputs
that found one are kept in regressions/<name>/ and run by an ordinary test ever after.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
REGRESSIONS = HERE / "regressions"


def names() -> list[str]:
    return sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.py"))


def load(name: str) -> Callable[[bytes], None]:
    """The target's function."""
    spec = importlib.util.spec_from_file_location(f"fuzz_{name}", HERE / f"fuzz_{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    target: Callable[[bytes], None] = module.fuzz
    return target


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in names():
        sys.exit(f"usage: {sys.argv[0]} {'|'.join(names())} [corpus folder] [libFuzzer options]")
    name = sys.argv.pop(1)
    sys.path.insert(0, str(HERE.parent.parent))
    import atheris

    with atheris.instrument_imports(include=["vms"]):
        target = load(name)
    atheris.Setup([*sys.argv, str(REGRESSIONS / name)], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
