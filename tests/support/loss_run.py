"""A viewer in Chromium whose network loses packets: freezes, repeats and the longest time without a new picture.

Usage: python -m tests.support.loss_run [--seconds 60] [--json FILE]

A simulated camera, the real recorder and gateway, and a relay that loses what goes to the viewer: not at all, 2 and 5 % one by
one, and as much in bursts of five. Freezes are Chromium's own count (`freezeCount`: a picture came three times as late as usual, and
150 ms at least); a tile is stuck where none came for three seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.support.live_page import wall
from tests.support.live_site import LiveSite, eventually_sync, live_site
from tests.support.live_viewers import Door
from tests.support.noise import noisy
from tests.support.udp_relay import Networks
from vms.simulate import Footage, prepare_small

MANNERS = ((0.0, 1.0), (0.02, 1.0), (0.05, 1.0), (0.02, 5.0), (0.05, 5.0))
STUCK_MS = 3000
SETTLED = 25  # pictures: a browser needs a moment at the start


@dataclass(frozen=True, slots=True)
class Outcome:
    """One viewer for so many seconds. The gateway's `rtx` and `drops`; all else as Chromium counts it."""

    stream: str
    lose: float
    burst: float
    seconds: float
    packets_lost_on_the_way: int
    packets_passed: int
    frames: int
    frames_dropped: int
    freezes: int
    freeze_seconds: float
    longest_gap_ms: int
    nacks: int
    plis: int
    retransmitted: int
    rtx: int
    drops: int


def asked(frames: int, decoded: dict[str, Any]) -> dict[str, Any]:
    """The figures of `getStats`, where the browser has them."""
    return {
        "frames": decoded.get("framesDecoded", frames),
        "frames_dropped": decoded.get("framesDropped", 0),
        "freezes": decoded.get("freezeCount", 0),
        "freeze_seconds": round(decoded.get("totalFreezesDuration", 0.0), 3),
        "nacks": decoded.get("nackCount", 0),
        "plis": decoded.get("pliCount", 0),
        "retransmitted": decoded.get("retransmittedPacketsReceived", 0),
    }


async def watch(live: LiveSite, name: str, lose: float, burst: float, seconds: float) -> Outcome:
    async with (
        Door(live.site.run / "live.sock") as door,
        Networks({"lose": lose, "burst": burst}) as networks,
        wall(door, networks.through) as page,
    ):
        await page.watch("a", live.stream(0))
        await page.frames("a", SETTLED)
        await page.page.wait_for_timeout(seconds * 1000)
        seen, stats = await page.seen("a"), await page.stats("a")
        facts = (await door.sessions())[UUID(seen["id"])]
        (relay,) = networks.relays
        return Outcome(
            name, lose, burst, seconds, relay.lost, relay.passed,
            longest_gap_ms=round(max([*seen["gaps"][SETTLED:], seen["sinceMs"]])), rtx=facts["rtx"], drops=facts["drops"],
            **asked(seen["frames"], stats),
        )  # fmt: skip


def run_loss(streams: dict[str, Footage], seconds: float) -> list[Outcome]:
    """Each stream in each manner, one after the other."""
    found = []
    for name, footage in streams.items():
        with live_site([footage], ["Rynek"], sub=False) as live:
            live.start("live", "web.live.process")
            asyncio.run(live.live())
            eventually_sync((live.site.run / "live.sock").exists, 15, "the gateway's door")
            for lose, burst in MANNERS:
                found.append(asyncio.run(watch(live, name, lose, burst, seconds)))
                print(json.dumps(asdict(found[-1])), flush=True)
    return found


def problems(found: list[Outcome]) -> list[str]:
    told = []
    for one in found:
        what = f"{one.stream}, {one.lose:.0%} in bursts of {one.burst:.0f}"
        if one.longest_gap_ms >= STUCK_MS:
            told.append(f"{what}: no picture for {one.longest_gap_ms} ms")
        if one.lose and not one.packets_lost_on_the_way:
            told.append(f"{what}: nothing was lost")
    return told


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.support.loss_run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--json", type=Path, help="a file for the result")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        streams = {
            "small": Footage(prepare_small(Path(folder), pattern=True)[0].main),
            "4 Mbit/s": noisy(Path(folder)),
        }
        found = run_loss(streams, arguments.seconds)
    result = {"viewers": [asdict(one) for one in found], "problems": problems(found)}
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    print("\n".join(result["problems"]) or "no tile was stuck")
    return 1 if result["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
