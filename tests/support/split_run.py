"""Long runs that can be split: the options they share, how results of several are merged, and how each of them ends.

Figures are JSON: sums, lists and counts by name add up; of what is called `worst…`, and of the names a run gives, the
largest stays.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any


def merged(empty: Any, parts: Iterable[Mapping[str, Any]], largest: Collection[str] = ()) -> dict[str, Any]:
    """Several runs' results as one. `empty`: the dataclass of a run that has found nothing yet."""
    whole: dict[str, Any] = asdict(empty)
    for part in parts:
        add_up(whole, part, largest)
    return whole


def add_up(whole: dict[str, Any], part: Mapping[str, Any], largest: Collection[str] = ()) -> None:
    """Put `part` into `whole`."""
    for name, value in part.items():
        worst = name.startswith("worst") or name in largest
        if isinstance(value, Mapping) and not worst:
            add_up(whole.setdefault(name, {}), value, largest)
        elif isinstance(value, Mapping):
            inner = whole.setdefault(name, {})
            inner |= {key: max(one, inner.get(key, one)) for key, one in value.items()}
        elif worst:
            whole[name] = max(whole.get(name, value), value)
        else:
            whole[name] = whole[name] + value if name in whole else value


def options(name: str, doc: str | None, *, seeded: bool = True) -> argparse.ArgumentParser:
    """The parser of a run's module, with what every run takes."""
    parser = argparse.ArgumentParser(prog=f"tests.support.{name}", description=(doc or "").splitlines()[0])
    if seeded:
        parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--json", type=Path, help="a file for the result")
    parser.add_argument("--merge", type=Path, nargs="+", help="add up JSON files of earlier runs instead")
    return parser


def conclude(
    arguments: argparse.Namespace,
    merge: Callable[[Iterable[Mapping[str, Any]]], dict[str, Any]],
    run: Callable[[], dict[str, Any]],
) -> int:
    """Run, or merge what was run; print and keep the result. The exit code: 1 where problems were found."""
    if arguments.merge:
        found = merge(json.loads(path.read_text()) for path in arguments.merge)
    else:
        if "seed" in arguments:
            print(f"seed {arguments.seed}", flush=True)
        found = run()
    text = json.dumps(found, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    return 1 if found["problems"] else 0
