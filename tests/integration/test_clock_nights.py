"""The nights in which the clocks of Warsaw change, through the real command: nothing is lost, doubled or guessed.

Real H.264 in the object store and the catalogue; the commands run under a clock of April 2027, so that both nights are
past. The two hours that are called 02:00 hold different pictures.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from storage.archiver import Archiver
from storage.catalogue import Catalogue
from storage.objects import open_store
from storage.spool import Spool
from storage.stores import object_store_info, spool_info
from tests.support import sealed
from tests.support.encoded import video
from tests.support.faketime import frozen_start
from tests.support.footage import FIRST_PTS, samples, split, write
from tests.support.vms_process import Answer, vms
from vms.localtime import load_zone, parse_instant
from vms.model import AccessUnit, Codec
from vms.site import Site

pytestmark = [pytest.mark.network, pytest.mark.xdist_group("clock nights")]

WARSAW = load_zone("Europe/Warsaw")
FPS, MINUTE_S, HOUR_NS = 5, 60, 3_600_000_000_000
FRAME, FRAME_NS = 18_000, 200_000_000
SUMMER, WINTER, SPRING = "2026-10-25 02:28+02:00", "2026-10-25 02:28+01:00", "2027-03-28 01:54+01:00"
LATER = "2027-04-01 12:00:00"


@dataclass
class Nights:
    """A site, and what was recorded from when on."""

    data: Path
    units: dict[str, list[AccessUnit]]

    async def vms(self, *arguments: object) -> Answer:
        return await vms("--data", self.data, *arguments, env=frozen_start(LATER))

    async def timeline(self, day: str) -> dict[str, Any]:
        answer = await self.vms("timeline", "1", "--day", day, "--json")
        assert answer.code == 0, answer.err
        found: dict[str, Any] = answer.json
        return found

    async def export(self, start: str, end: str) -> Answer:
        output = self.data / "klip.mp4"
        for old in self.data.glob("klip*"):
            old.unlink()
        wish = ("--from", start, "--to", end, "-o", output, "--reason", "KMP 7/26", "--json")
        return await self.vms("export", "1", *wish)

    async def exported(self, start: str, end: str) -> tuple[list[bytes], dict[str, Any]]:
        """The pictures of the one file, and the facts beside it."""
        answer = await self.export(start, end)
        assert answer.code == 0, answer.err
        (file,) = answer.json["files"]
        return samples(Path(file["file"])), json.loads(Path(answer.json["side_file"]).read_text())

    def recorded(self, since: str, first_s: int, last_s: int) -> list[bytes]:
        return [u.data for u in self.units[since][first_s * FPS : last_s * FPS]]


def instant(text: str) -> int:
    return parse_instant(text, WARSAW, 0)


def pictures(minutes: int, quantiser: int) -> list[AccessUnit]:
    """Minutes of a clip of 15 s again and again, a key picture every 5 s."""
    clip = video(Codec.H264, 75, 0, 25, (("qp", str(quantiser)),))
    return [clip[n % 75]._replace(pts=FIRST_PTS + n * FRAME) for n in range(minutes * MINUTE_S * FPS)]


async def make(folder: Path) -> Nights:
    """Footage around the hours in question, in store and catalogue of a site that has its camera since September."""
    data = folder / "data"
    before = frozen_start("2026-09-01 12:00:00")
    answer = await vms("--data", data, "camera", "add", "Rynek", "rtsp://10.0.0.5/x", env=before)
    assert answer.code == 0, answer.err
    listed = await vms("--data", data, "camera", "list", "--json")
    stream = UUID(listed.json[0]["streams"][0]["id"])
    site = Site.open(data)
    store, here, there = open_store(site.settings.store), spool_info("rej-1"), object_store_info(site.settings.store)
    spool = Spool(site.spool)
    spool.prepare()
    units = {SUMMER: pictures(14, 25), WINTER: pictures(14, 35), SPRING: pictures(12, 30)}
    async with Catalogue(site.catalogue_url, site.sealer) as catalogue:
        there_is = sealed.Site(spool, catalogue, stream)
        for start, shown in units.items():
            run = there_is.run(start_ns=instant(start))
            await write(
                there_is, run, split(shown, run, range(MINUTE_S * FPS, len(shown), MINUTE_S * FPS), frame=FRAME)
            )
        archiver = Archiver(spool, catalogue, store, host="rej-1", spool_store=here, object_store=there)
        await archiver.register_sealed()
        while archiver.progress().backlog_segments:
            await archiver.upload_pending()
        assert not spool.sealed()
    await spool.close()
    await store.close()
    return Nights(data, units)


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Nights:
    return asyncio.run(make(tmp_path_factory.mktemp("nights")))


def spans(facts: dict[str, Any]) -> list[tuple[int, int, str]]:
    """Segments and gaps of a timeline in order of time."""
    recorded = [(instant(s["start"]), instant(s["end"]), "recorded") for s in facts["segments"]]
    return sorted(recorded + [(instant(g["start"]), instant(g["end"]), g["reason"]) for g in facts["gaps"]])


@pytest.mark.parametrize(
    ("day", "hours", "recorded_minutes"), [("2026-10-25", 25, 28), ("2027-03-28", 23, 12), ("2026-10-24", 24, 0)]
)
async def test_a_day_has_the_hours_it_has(nights: Nights, day: str, hours: int, recorded_minutes: int) -> None:
    """Recorded or missing at every instant of them."""
    facts = await nights.timeline(day)
    begin, end = instant(facts["from"]), instant(facts["to"])
    assert end - begin == hours * HOUR_NS
    parts = spans(facts)
    assert (parts[0][0], parts[-1][1]) == (begin, end)
    assert all(a[1] == b[0] for a, b in pairwise(parts))
    assert sum(e - s for s, e, what in parts if what == "recorded") == recorded_minutes * MINUTE_S * FPS * FRAME_NS


async def test_people_see_both_hours_of_october_with_their_offsets(nights: Nights) -> None:
    answer = await nights.vms("timeline", "1", "--day", "2026-10-25")
    assert "2026-10-25 02:28:00.000+02:00" in answer.out
    assert "2026-10-25 02:28:00.000+01:00" in answer.out


@pytest.mark.parametrize(("offset", "since"), [("+02:00", SUMMER), ("+01:00", WINTER)])
async def test_ten_minutes_of_october_are_exact_for_either_reading(nights: Nights, offset: str, since: str) -> None:
    start, end = f"2026-10-25 02:30{offset}", f"2026-10-25 02:40{offset}"
    found, facts = await nights.exported(start, end)
    assert found == nights.recorded(since, 120, 720)
    assert len(found) == 3000
    assert facts["gaps"] == []
    (file,) = facts["files"]
    assert (instant(file["start"]), instant(file["end"])) == (instant(start), instant(end))


async def test_a_reading_that_happened_twice_is_refused_with_both(nights: Nights) -> None:
    answer = await nights.export("2026-10-25 02:30", "2026-10-25 02:40")
    assert answer.code == 2
    assert "happened twice" in answer.err
    assert "2026-10-25 02:30:00+02:00 (CEST) or 2026-10-25 02:30:00+01:00 (CET)" in answer.err
    assert list(nights.data.glob("klip*")) == []


async def test_from_one_reading_to_the_other_is_seventy_minutes(nights: Nights) -> None:
    """Both pieces in order, and the gap between them said."""
    answer = await nights.export("2026-10-25 02:30+02:00", "2026-10-25 02:40+01:00")
    assert answer.code == 0, answer.err
    first, second = answer.json["files"]
    assert samples(Path(first["file"])) == nights.recorded(SUMMER, 120, 840)
    assert samples(Path(second["file"])) == nights.recorded(WINTER, 0, 720)


async def test_ten_minutes_of_march_never_happened(nights: Nights) -> None:
    answer = await nights.export("2027-03-28 02:30", "2027-03-28 02:40")
    assert answer.code == 2
    assert "never happened" in answer.err
    assert list(nights.data.glob("klip*")) == []


async def test_over_the_hour_that_is_missing_footage_goes_on(nights: Nights) -> None:
    """01:55 to 03:05 are ten minutes."""
    found, facts = await nights.exported("2027-03-28 01:55", "2027-03-28 03:05")
    assert found == nights.recorded(SPRING, 60, 660)
    assert facts["gaps"] == []
