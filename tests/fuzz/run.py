"""Fuzz the parsers, one target after the other: `python -m tests.fuzz.run --seconds 60 [--only NAME …]` (`make fuzz`).

atheris comes from the dependency group `fuzz` into an environment of its own, .venv-fuzz, so that .venv stays what
`scripts/setup` made it. Where it cannot be had (no wheel for this machine, no network), that is said, and the house's own
mutation loop runs over the same targets. What a run learns is kept in the cache and is where the next one begins.
Findings go to tests/fuzz/regressions/<target>/. Exit code 1 when there were any. docs/fuzzing.md says more.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.targets import REGRESSIONS, ROOT, names

ENVIRONMENT = ROOT / ".venv-fuzz"
INPUT_SECONDS = 20  # one input; the parsers need microseconds
MEMORY_MB = 2048
CACHE = Path(os.environ.get("VMS_CACHE") or Path.home() / ".cache" / "stroz")
_EXECUTED = re.compile(r"number_of_executed_units:\s*([0-9]+)")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What fuzzing one target gave. `failed`: it ended in an error that left no input behind."""

    name: str
    executions: int
    found: tuple[Path, ...]
    failed: bool


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description="Fuzz the parsers.")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default 60)")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=names(), help=f"targets: {', '.join(names())}")
    parser.add_argument("--no-atheris", action="store_true", help="use the house's own mutation loop")
    given = parser.parse_args(argv)
    chosen = given.only or names()
    python, missing = (None, "it was not wanted") if given.no_atheris else prepare()
    if python is None:
        print(
            f"fuzz: atheris is not used: {missing}.\n      The house's own mutation loop runs instead: it finds less."
        )
    print(f"fuzz: {len(chosen)} targets, {given.seconds} s each", flush=True)
    outcomes = [fuzz(name, given.seconds, python) for name in chosen]
    for o in outcomes:
        rate = o.executions // max(1, given.seconds)
        verdict = "FAILED, see above" if o.failed else f"{len(o.found)} findings" if o.found else "no findings"
        print(f"{o.name:<16}{o.executions:>12} executions {rate:>8}/s  {verdict}")
        for path in o.found:
            print(f"    {path.relative_to(ROOT)}: mend it, and keep the file; the tests run it from now on")
    return 1 if any(o.found or o.failed for o in outcomes) else 0


def prepare() -> tuple[Path | None, str]:
    """The Python that has atheris, installed when it is not there; or None and why."""
    uv = next(filter(None, (shutil.which(str(u)) for u in ("uv", ROOT / ".venv/bin/uv", CACHE / "uv/bin/uv"))), None)
    if uv is None:
        return None, "uv is not found; scripts/setup installs it"
    command = [uv, "sync", "--frozen", "--quiet", "--no-default-groups", "--group", "fuzz", "--python", sys.executable]
    environment = {**os.environ, "UV_PROJECT_ENVIRONMENT": str(ENVIRONMENT)}
    environment.pop("VIRTUAL_ENV", None)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        return None, f"it could not be installed ({(done.stderr.strip().splitlines() or ['no reason given'])[-1]})"
    python = ENVIRONMENT / "bin" / "python"
    tried = subprocess.run([python, "-c", "import atheris"], capture_output=True, text=True, check=False)
    if tried.returncode:
        return None, f"it does not load ({(tried.stderr.strip().splitlines() or ['no reason given'])[-1]})"
    return python, ""


def fuzz(name: str, seconds: int, python: Path | None) -> Outcome:
    """One target in a process of its own, for `seconds` or up to the first finding."""
    folder = REGRESSIONS / name
    before = set(folder.glob("*"))
    if python is None:
        command = [sys.executable, "-m", "tests.fuzz.one", "--mutate", name, str(seconds)]
    else:
        command = [str(python), "-m", "tests.fuzz.one", name, str(CACHE / "fuzz" / name)]
        command += [f"-max_total_time={seconds}", f"-timeout={INPUT_SECONDS}", f"-rss_limit_mb={MEMORY_MB}"]
        command += [f"-artifact_prefix={folder}/", "-print_final_stats=1", "-use_value_profile=1", "-verbosity=0"]
    done = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )
    text = done.stdout + done.stderr
    found = tuple(sorted(set(folder.glob("*")) - before))
    counted = _EXECUTED.findall(text)
    failed = not found and (done.returncode != 0 or not counted)
    if found or failed:
        print(f"--- {name}\n{text[-6000:]}", flush=True)
    return Outcome(name, int(counted[-1]) if counted else 0, found, failed)


if __name__ == "__main__":
    sys.exit(main())
