"""`vms export` and the camera's sound: joined where the legal profile allows it, left out on request."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from storage.catalogue import Catalogue, sqlite_url
from storage.spool import Spool
from tests.support import footage
from tests.support.encoded import aac, video
from tests.support.footage import Part
from tests.support.sealed import Site
from tests.unit.cli.conftest import Vms
from vms.localtime import format_utc
from vms.model import ClockMapping, Codec, Origin, RunClock, RunInfo

S = 1_000_000_000


def with_catalogue(data: Path, work: Any) -> Any:
    async def run() -> Any:
        async with Catalogue(sqlite_url(data / "catalogue.db")) as catalogue:
            return await work(catalogue)

    return asyncio.run(run())


@pytest.fixture
def recorded(vms: Vms, data: Path) -> int:
    """3 s of pictures and sound of camera 1; when they began."""
    (data / "site.toml").write_text("[legal]\naudio = true\n")
    assert vms("camera", "add", "Rynek", "rtsp://10.0.0.5/x", "--record-audio").exit_code == 0
    (camera,) = json.loads(vms("camera", "list", "--json").stdout)
    streams = {s["kind"]: UUID(s["id"]) for s in camera["streams"]}
    start_ns = (time.time_ns() // S - 600) * S

    async def work(catalogue: Catalogue) -> None:
        spool = Spool(data / "spool")
        spool.prepare()
        site = Site(spool, catalogue, streams["main"])
        runs = {k: RunInfo(uuid4(), s, Origin.LIVE, "rej-1", 0, RunClock.ARRIVAL, start_ns) for k, s in streams.items()}
        await footage.write(site, runs["main"], footage.split(video(Codec.H264, 75), runs["main"], ()))
        sound = aac(47)
        await footage.write(site, runs["audio"], [Part(sound, 0, 47 * 1024, ClockMapping(0, start_ns, 16_000))])
        await spool.close()

    with_catalogue(data, work)
    return start_ns


def test_sound_goes_with_the_pictures_where_it_is_allowed(vms: Vms, data: Path, tmp_path: Path, recorded: int) -> None:
    def run(name: str, *more: str) -> Any:
        times = ("--from", format_utc(recorded + S), "--to", format_utc(recorded + 2 * S))
        return vms("export", "1", *times, "-o", tmp_path / name, "--reason", "sprawa 7", "--json", *more)

    def sound(result: Any) -> bool:
        assert result.exit_code == 0, result.output
        joined: bool = json.loads(result.stdout)["files"][0]["sound"]
        return joined

    assert sound(run("z.mp4"))
    assert not sound(run("bez.mp4", "--no-audio"))
    assert run("sam.mp4", "--stream", "audio").exit_code == 0

    async def forbid(catalogue: Catalogue) -> None:
        (profile,) = await catalogue.profiles()
        await catalogue.put_profile(replace(profile, audio=False))

    with_catalogue(data, forbid)
    assert not sound(run("zakaz.mp4"))
    refused = run("sam2.mp4", "--stream", "audio")
    assert refused.exit_code == 2
    assert "does not allow sound" in refused.stderr
    assert not (tmp_path / "sam2.mp4").exists()
