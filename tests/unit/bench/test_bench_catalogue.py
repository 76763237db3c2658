"""The catalogue's benchmark: its pure parts, and its short form whole, over both databases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import catalogue, many_rows, small_bucket
from bench.measure import met
from bench.processes import ROOT
from storage.catalogue import Catalogue
from storage.catalogue.values import SegmentRef
from tests.support.servers import postgres_programs
from vms.media.boxes import BytesSource
from vms.media.segment_reader import verify


def test_a_line_through_points() -> None:
    slope, error = catalogue.line([(float(x), 3 * x + 5) for x in range(10)])
    assert (round(slope, 9), round(error, 9)) == (3.0, 0.0)
    slope, error = catalogue.line([(float(x), 100 + (-1) ** x) for x in range(100)])
    assert abs(slope) < 3 * error
    assert catalogue.line([(1.0, 2), (2.0, 4)]) == (0.0, 0.0)
    assert catalogue.line([(1.0, 2)] * 5) == (0.0, 0.0)


def test_percentiles() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [many_rows.percentile(values, share) for share in (0.5, 0.95, 0.99)] == [50.0, 95.0, 99.0]
    assert many_rows.percentile([7.0], 0.95) == 7.0


def test_a_small_segment_is_a_real_one() -> None:
    config, bodies = small_bucket.pictures()
    run, stream = small_bucket.RunInfo, small_bucket.uuid4()
    made = run(
        small_bucket.uuid4(), stream, small_bucket.Origin.LIVE, "h", 0, small_bucket.RunClock.ARRIVAL, small_bucket.T0
    )
    before = small_bucket.first_seal(stream, "h", 0, made.origin, made.id)
    for number in range(2):
        data, facts = small_bucket.segment(made, number, before, config, bodies)
        found = verify(BytesSource(data))
        assert found.sound, found.problems
        assert found.facts == facts
        before = facts.seal
        assert SegmentRef.of(facts).number == number


async def test_rows_made_by_sql_are_those_of_the_product(tmp_path: Path) -> None:
    """The spans that were reckoned apart are those that the product reckons from the segments."""
    size = many_rows.Size.of(40_000)
    url = many_rows.database_url(tmp_path / "many.db")
    await many_rows.fill(url, size)
    async with Catalogue(url) as opened:
        assert await opened.count_segments() == size.segments
        looked = await many_rows.check_timelines(opened, size, many_rows.random.Random(1), streams=3)
        assert looked > 1000
        rate = await many_rows.insert(opened, size, 2, 50)
        assert rate > 0
        assert await opened.count_segments() == size.segments + 100
        newest = max((await opened.newest([s.stream_id for s in await opened.camera_streams()])).values())
        await many_rows.insert(opened, size, 1, 50)  # in a database that is used again: after what is there
        assert await opened.count_segments() == size.segments + 150
        again = max((await opened.newest([s.stream_id for s in await opened.camera_streams()])).values())
        assert again > newest + many_rows.DAY
    stored = many_rows.sizes(url)
    assert stored["total"] > 100 * size.segments
    assert set(stored) == {"total", *many_rows.TABLES}
    assert 0.9 * stored["total"] < sum(stored[table] for table in many_rows.TABLES) < stored["total"]


def test_25_million_segments_are_three_months_of_190_cameras() -> None:
    size = many_rows.Size.of(25_000_000)
    assert (size.cameras, round(size.minutes / 1440)) == (190, 91)
    assert abs(size.segments - 25_000_000) < 1000


@pytest.mark.network
def test_the_short_form_measures_everything(tmp_path: Path) -> None:
    parts = "rebuild,sqlite,postgres" if postgres_programs() else "rebuild,sqlite"
    script = (
        "import sys\nfrom pathlib import Path\nfrom bench import measure, catalogue\n"
        f"measure.RESULTS = Path({str(tmp_path / 'results')!r})\nsys.exit(catalogue.main())\n"
    )
    command = [sys.executable, "-c", script, "--segments", "20000", "--objects", "120", "--only", parts]
    command += ["--questions", "5", "--batches", "1", "--force"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stdout + done.stderr
    facts = json.loads((tmp_path / "results" / "catalogue.json").read_text())
    assert len(facts["goals"]) == 2 + len(facts["timelines"])
    assert done.returncode == (0 if met(facts["goals"]) else 1), "other work makes answers late, and this says so"
    assert (facts["rebuild"]["differences"], facts["rebuild"]["segments"], facts["rebuild"]["lost"]) == ({}, 120, 0)
    assert facts["rebuild"]["memory"]["most_mb"] > 10
    for row in facts["timelines"]:
        assert row["segments"] == 20_000
        assert row["timeline"]["questions"] == 5
        assert row["inserts_per_second"] > 0
        assert row["bytes_per_million_segments"]["total"] > 100_000_000
