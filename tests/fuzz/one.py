"""One target, in a process of its own: `python -m tests.fuzz.one NAME CORPUS [libFuzzer options]` under atheris,
`python -m tests.fuzz.one --mutate NAME SECONDS` by our own loop. `tests.fuzz.run` starts it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.fuzz import targets
from tests.support.sources import run_from_sources


def main() -> None:
    run_from_sources()  # atheris sees only what Python runs
    if sys.argv[1] == "--mutate":
        _mutate(sys.argv[2], float(sys.argv[3]))
        return
    name, corpus = sys.argv.pop(1), Path(sys.argv.pop(1))
    import atheris

    with atheris.instrument_imports(include=["vms", "storage", "recorder"]):
        target = targets.load(name)
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(targets.seeds(name)):
        (corpus / f"seed-{number}").write_bytes(data)
    (targets.REGRESSIONS / name).mkdir(parents=True, exist_ok=True)
    atheris.Setup([*sys.argv, str(corpus), str(targets.REGRESSIONS / name)], target)
    atheris.Fuzz()


def _mutate(name: str, seconds: float) -> None:
    from tests.fuzz.mutate import search

    corpus = [*targets.seeds(name), *(path.read_bytes() for path in targets.regressions(name))]
    done, found = search(targets.load(name), corpus, seconds, targets.REGRESSIONS / name, time.time_ns())
    print(f"stat::number_of_executed_units: {done}")
    sys.exit(77 if found else 0)


if __name__ == "__main__":
    main()
