"""The house's own mutation loop: no coverage, no compiler, any Python. Used where atheris cannot be had.

Finds shallow bugs only; what it is good for is that no machine goes without. Bounds: `INPUT_SECONDS` for one input by an
alarm, `MEMORY_BYTES` for the process.
"""

from __future__ import annotations

import hashlib
import random
import resource
import signal
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from tests.fuzz.targets import Target

INPUT_SECONDS = 20
MEMORY_BYTES = 4 << 30
LONGEST = 4096
_ODD = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\n",
    b"\r\n",
    b'"',
    b"'",
    b",",
    b";",
    b"=",
    b":",
    b"-1",
    b"99999999999999999999",
)


def mutate(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """`data` with one to eight small changes, up to `LONGEST` bytes."""
    changed = bytearray(data)
    for _ in range(1 << rng.randrange(4)):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(7):
            case 0 if changed:
                changed[at % len(changed)] = rng.randrange(256)
            case 1 if changed:
                changed[at % len(changed)] ^= 1 << rng.randrange(8)
            case 2:
                changed[at:at] = rng.choice(_ODD)
            case 3:
                del changed[at : at + 1 + rng.randrange(16)]
            case 4:
                changed[at:at] = changed[at : at + rng.randrange(64)] * rng.randrange(1, 8)
            case 5:
                other = rng.choice(others)
                begin = rng.randrange(len(other) + 1)
                changed[at:] = other[begin:]
            case _:
                changed[at : at + 4] = rng.choice((0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, len(changed))).to_bytes(
                    4, "big"
                )
    return bytes(changed[:LONGEST])


def search(target: Target, corpus: Sequence[bytes], seconds: float, folder: Path, seed: int) -> tuple[int, Path | None]:
    """Try mutations of `corpus` for `seconds`: how many were tried, and the file of the first that found a bug."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    signal.signal(signal.SIGALRM, _too_slow)
    rng = random.Random(seed)
    known = list(corpus) or [b""]
    end, done = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        data = mutate(rng.choice(known), known, rng)
        done += 1
        signal.alarm(INPUT_SECONDS)
        try:
            target(data)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            traceback.print_exc()
            folder.mkdir(parents=True, exist_ok=True)
            found = folder / f"crash-{hashlib.sha1(data, usedforsecurity=False).hexdigest()}"
            found.write_bytes(data)
            return done, found
        finally:
            signal.alarm(0)
    return done, None


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"one input took more than {INPUT_SECONDS} s")
