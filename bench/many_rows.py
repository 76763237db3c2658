"""A catalogue with millions of segments, made by SQL inside the database; and what is measured on it.

Every camera records a segment a minute; a run ends every six hours, 20 s are missing then, and one segment in 97 is
damaged, so that a day of a camera is some 35 spans. Segments arrive in the order of time over all cameras, as an
archiver brings them. Rows and indexes are those of the product's own migrations; how they are made is not.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg

from bench.processes import BenchError, console
from storage.catalogue import Catalogue, Copy, Registration, StoreInfo, StoreKind, migrate, sqlite_url
from storage.catalogue.spans import by_day
from storage.objects.base import segment_key
from vms.model import Camera, Codec, Origin, RunClock, RunInfo, SegmentFacts, Stream, StreamKind
from vms.timeline import TimeRange, merge, subtract

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND
T0 = 20_600 * DAY
OFFSET = 97_000_000  # of each camera against the one before
RUN_MINUTES = 360
DAMAGED_EVERY = 97
SHORT = 40 * SECOND  # the last segment of a run
KEPT_MINUTES = 131_580  # three months: 25 million segments are 190 cameras
CHUNK_ROWS = 500_000
STORE = StoreInfo("s3:bench/nagrania", StoreKind.S3)
TABLES = ("segments", "copies", "spans", "runs", "gaps")
STREAMS_OF_A_QUESTION = 16


@dataclass(frozen=True, slots=True)
class Size:
    """How much is made: `minutes` segments of each camera."""

    cameras: int
    minutes: int

    @classmethod
    def of(cls, segments: int) -> Size:
        cameras = max(STREAMS_OF_A_QUESTION, round(segments / KEPT_MINUTES))
        return cls(cameras, max(1, segments // cameras))

    @property
    def segments(self) -> int:
        return self.cameras * self.minutes

    @property
    def end_ns(self) -> int:
        return T0 + self.minutes * MINUTE


def ranges(minutes: int) -> tuple[list[TimeRange], list[TimeRange]]:
    """Whole and damaged ranges of the first camera, segment by segment."""
    whole, damaged = [], []
    for n in range(minutes):
        start = T0 + n * MINUTE
        length = SHORT if n % RUN_MINUTES == RUN_MINUTES - 1 else MINUTE
        (damaged if n % DAMAGED_EVERY == 0 else whole).append(TimeRange(start, start + length))
    return whole, damaged


def span_rows(size: Size, keys: Sequence[int]) -> Iterator[tuple[int, int, bool, int]]:
    """Rows of `spans`: (stream_key, start_ns, damaged, end_ns)."""
    merged = [merge(found) for found in ranges(size.minutes)]
    for place, key in enumerate(keys):
        for is_damaged, found in enumerate(merged):
            for one in found:
                for _, part in by_day(one.start_ns + place * OFFSET, one.end_ns + place * OFFSET):
                    yield key, part.start_ns, bool(is_damaged), part.end_ns


async def prepare(url: str, size: Size) -> list[int]:
    """Schema, cameras and the store; the keys of the streams. Raises BenchError where they are not consecutive."""
    await migrate(url)
    async with Catalogue(url) as catalogue:
        await catalogue.put_store(STORE)
        profile = await catalogue.default_profile()
        for number in range(1, size.cameras + 1):
            camera_id = uuid4()
            stream = Stream(uuid4(), camera_id, StreamKind.MAIN, f"rtsp://10.0.0.1/{number}", True)
            camera = Camera(camera_id, number, f"Kamera {number}", profile.id, (stream,))
            await catalogue.add_camera(camera, at_ns=T0)
        return list(range(1, size.cameras + 1))


# Columns in the order of the tables; `n` is the minute, `k` the camera's place.
_SEGMENT = (
    "n * :cameras + k + 1, k + 1, k * :runs + n / :run_minutes + 1, n % :run_minutes, "
    ":t0 + n * :minute + k * :offset, "
    ":t0 + n * :minute + k * :offset + CASE WHEN n % :run_minutes = :run_minutes - 1 THEN :short ELSE :minute END, "
    "5400000, 90000, CASE WHEN n % :damaged = 0 THEN 2 ELSE 0 END, 1920, 1080, 30000000 + (n * 7919 + k * 104729) % 999983, "
    "{digest}, {seal}"
)
_RUN = "k * :runs + r + 1, {uuid}, k + 1, 'live', 'rejestrator', 0, 'arrival', {start}, {end}, 'stalled'"
_GAP = "k * :runs + r + 1, {uuid}, k + 1, {end}, {next}, 'stalled', ''"
_START = ":t0 + r * :run_minutes * :minute + k * :offset"
_END = "CASE WHEN (r + 1) * :run_minutes <= :minutes THEN :t0 + (r + 1) * :run_minutes * :minute - 20000000000 + k * :offset ELSE :t0 + :minutes * :minute + k * :offset END"
_NEXT = ":t0 + (r + 1) * :run_minutes * :minute + k * :offset"


class _Sqlite:
    """Statements of SQLite, and a connection that forgets about crashes while it fills the file."""

    digest, seal, uuid = "randomblob(32)", "randomblob(32)", "lower(hex(randomblob(16)))"

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        for pragma in ("synchronous=OFF", "journal_mode=MEMORY", "cache_size=-1000000", "foreign_keys=OFF"):
            self._connection.execute(f"PRAGMA {pragma}")

    def run(self, text: str, values: dict[str, int]) -> None:
        self._connection.execute(text, values)

    def series(self, name: str, low: str, high: str) -> str:
        return f"(WITH RECURSIVE s(v) AS (SELECT {low} UNION ALL SELECT v + 1 FROM s WHERE v < {high}) SELECT v AS {name} FROM s)"

    def spans(self, rows: Iterator[tuple[int, int, bool, int]]) -> None:
        self._connection.executemany("INSERT INTO spans (stream_key, start_ns, damaged, end_ns) VALUES (?,?,?,?)", rows)

    def begin(self) -> None:
        self._connection.execute("BEGIN")

    def commit(self) -> None:
        self._connection.execute("COMMIT")

    def drop_indexes(self) -> Callable[[], None]:
        """Take the segments' plain index away; what is returned makes it again."""
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name IN ('segments', 'gaps') AND sql IS NOT NULL"
        found = self._connection.execute(query).fetchall()
        for name, _ in found:
            self._connection.execute(f"DROP INDEX {name}")

        def make_again() -> None:
            for _, text in found:
                self._connection.execute(text)

        return make_again

    def finish(self) -> None:
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.close()


class _Postgres:
    """Statements of PostgreSQL."""

    digest = "sha256(int8send((n * :cameras + k)::bigint))"
    seal = "sha256(int8send((-1 - n * :cameras - k)::bigint))"
    uuid = "gen_random_uuid()"

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self._connection.execute("SET session_replication_role = replica")  # foreign keys hold by construction
        self._connection.execute("SET maintenance_work_mem = '1GB'")

    def run(self, text: str, values: dict[str, int]) -> None:
        for name in sorted(values, key=len, reverse=True):
            text = text.replace(f":{name}", f"({values[name]}::bigint)")
        self._connection.execute(text.encode())

    def series(self, name: str, low: str, high: str) -> str:
        return f"(SELECT v AS {name} FROM generate_series({low}, {high}) AS g(v))"

    def spans(self, rows: Iterator[tuple[int, int, bool, int]]) -> None:
        with (
            self._connection.cursor() as cursor,
            cursor.copy("COPY spans (stream_key, start_ns, damaged, end_ns) FROM STDIN") as copy,
        ):
            for row in rows:
                copy.write_row(row)

    def begin(self) -> None:
        self._connection.execute("BEGIN")

    def commit(self) -> None:
        self._connection.execute("COMMIT")

    def drop_indexes(self) -> Callable[[], None]:
        query = """SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
                   WHERE indrelid IN ('segments'::regclass, 'gaps'::regclass) AND NOT indisunique"""
        found = self._connection.execute(query).fetchall()
        unique = self._connection.execute(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'segments'::regclass AND contype = 'u'"
        ).fetchall()
        for name, _ in unique:
            self._connection.execute(f'ALTER TABLE segments DROP CONSTRAINT "{name}"'.encode())
        for name, _ in found:
            self._connection.execute(f"DROP INDEX {name}".encode())

        def make_again() -> None:
            for name, text in unique:
                self._connection.execute(f'ALTER TABLE segments ADD CONSTRAINT "{name}" {text}'.encode())
            for _, text in found:
                self._connection.execute(text.encode())

        return make_again

    def finish(self) -> None:
        for table in ("runs", "gaps"):
            self._connection.execute(
                f"SELECT setval(pg_get_serial_sequence('{table}', 'key'), (SELECT max(key) + 1 FROM {table}))".encode()
            )
        self._connection.execute("VACUUM ANALYZE")
        self._connection.close()


async def fill(url: str, size: Size) -> float:
    """Make all of it in an empty database; seconds it took."""
    keys = await prepare(url, size)
    began = time.monotonic()
    database: _Sqlite | _Postgres
    database = _Sqlite(Path(url.partition(":///")[2])) if url.startswith("sqlite") else _Postgres(url)
    runs = -(-size.minutes // RUN_MINUTES)
    values = {
        "cameras": size.cameras, "runs": runs, "run_minutes": RUN_MINUTES, "t0": T0, "minute": MINUTE, "offset": OFFSET,
        "short": SHORT, "damaged": DAMAGED_EVERY, "minutes": size.minutes,
    }  # fmt: skip
    cameras = database.series("k", "0", str(size.cameras - 1))
    make_again = database.drop_indexes()
    run = _RUN.format(uuid=database.uuid, start=_START, end=_END)
    gap = _GAP.format(uuid=database.uuid, end=_END, next=_NEXT)
    database.run(
        f"INSERT INTO runs SELECT {run} FROM {cameras} c CROSS JOIN {database.series('r', '0', str(runs - 1))} x",
        values,
    )
    if runs > 1:
        database.run(
            f"INSERT INTO gaps SELECT {gap} FROM {cameras} c CROSS JOIN {database.series('r', '0', str(runs - 2))} x",
            values,
        )
    step = max(1, CHUNK_ROWS // size.cameras)
    segment = _SEGMENT.format(digest=database.digest, seal=database.seal)
    for low in range(0, size.minutes, step):
        high = min(size.minutes, low + step)
        minutes = database.series("n", str(low), str(high - 1))
        database.begin()
        database.run(
            f"INSERT INTO segments SELECT {segment} FROM {minutes} m CROSS JOIN {cameras} c ORDER BY n, k", values
        )
        database.commit()
        if low // step % 10 == 0:
            console.print(f"{high * size.cameras:,} segments after {time.monotonic() - began:.0f} s")
    database.begin()
    database.run(
        "INSERT INTO copies (arrival, store_key, state) SELECT arrival, 1, 0 FROM segments ORDER BY arrival", {}
    )
    database.spans(span_rows(size, keys))
    database.run(f"UPDATE counters SET value = {size.segments} WHERE name = 'arrival'", {})
    database.commit()
    make_again()
    database.finish()
    return time.monotonic() - began


async def timelines(
    catalogue: Catalogue, size: Size, chance: random.Random, questions: int, stop: Callable[[], bool] = lambda: False
) -> list[float]:
    """How long each question for 16 cameras over 24 hours took, in ms."""
    streams = [s.stream_id for s in await catalogue.camera_streams()]
    taken = []
    for _ in range(questions):
        if stop():
            break
        asked = chance.sample(streams, STREAMS_OF_A_QUESTION)
        start = T0 + chance.randrange(max(1, size.minutes * MINUTE - DAY))
        began = time.perf_counter()
        found = await catalogue.timelines(asked, TimeRange(start, start + DAY), now_ns=size.end_ns + DAY)
        taken.append((time.perf_counter() - began) * 1000)
        assert all(found[stream].spans for stream in asked)
    return taken


async def check_timelines(catalogue: Catalogue, size: Size, chance: random.Random, streams: int = 4) -> int:
    """Compare what timelines say of some streams' days with their segments; how many segments were looked at."""
    looked = 0
    known = [s.stream_id for s in await catalogue.camera_streams()]
    for stream in chance.sample(known, streams):
        start = T0 + chance.randrange(max(1, size.minutes * MINUTE - DAY))
        within = TimeRange(start, start + min(DAY, size.minutes * MINUTE))
        told = (await catalogue.timelines([stream], within, now_ns=size.end_ns))[stream]
        found = await catalogue.segments([stream], within)
        looked += len(found)
        whole = merge(c for s in found if not s.damaged and (c := s.range.intersect(within)))
        damaged = subtract((c for s in found if s.damaged and (c := s.range.intersect(within))), whole)
        if [s.range for s in told.spans if not s.damaged] != whole or [
            s.range for s in told.spans if s.damaged
        ] != damaged:
            raise BenchError(f"the timeline of stream {stream} is not what its segments say")
    return looked


async def insert(catalogue: Catalogue, size: Size, batches: int, batch: int) -> float:
    """Register `batches` times `batch` new segments as the archiver does; rows a second.

    They begin a day after the newest there are, so that each makes a span grow, also in a database that is used again.
    """
    streams = [s.stream_id for s in await catalogue.camera_streams()]
    start_ns = max((await catalogue.newest(streams)).values(), default=size.end_ns) + DAY
    runs: dict[UUID, RunInfo] = {}
    numbers: dict[UUID, int] = {}
    made = []
    for place in range(batches * batch):
        stream = streams[place % len(streams)]
        run = runs.get(stream)
        if run is None:
            run = RunInfo(uuid4(), stream, Origin.LIVE, "rejestrator", 0, RunClock.ARRIVAL, start_ns)
            runs[stream] = run
        number = numbers[stream] = numbers.get(stream, -1) + 1
        made.append(_registration(run, number))
    began = time.perf_counter()
    for start in range(0, len(made), batch):
        await catalogue.register_many(made[start : start + batch])
    return len(made) / (time.perf_counter() - began)


def _registration(run: RunInfo, number: int) -> Registration:
    start_ns = run.start_ns + number * MINUTE
    body = os.urandom(32)
    facts = SegmentFacts(
        run.stream_id, run.id, number, start_ns, start_ns + MINUTE, 90_000, 5_400_000, 30_000_000,
        hashlib.sha256(body).digest(), body, 1500, 30, 0, True, Codec.H264, 1920, 1080,
    )  # fmt: skip
    key = segment_key(run.stream_id, run.id, number, start_ns)
    return Registration(facts, Copy(STORE.name, key, facts.size_bytes, facts.digest), replace(run))


def sizes(url: str) -> dict[str, int]:
    """Table → bytes with its indexes, and `total`."""
    if not url.startswith("sqlite"):
        with psycopg.connect(url) as connection:
            found = {
                t: int(connection.execute(f"SELECT pg_total_relation_size('{t}')".encode()).fetchall()[0][0])
                for t in TABLES
            }
        return found | {"total": sum(found.values())}
    path = url.partition(":///")[2]
    found = {"total": os.stat(path).st_size}
    with contextlib.closing(sqlite3.connect(path)) as connection:
        of = dict(connection.execute("SELECT name, tbl_name FROM sqlite_master"))
        page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
        with contextlib.suppress(sqlite3.OperationalError):  # a SQLite without dbstat
            # No name in the condition: the file is read once, not once a table. Summed up, `pageno` is how many pages
            # there are; `pgsize` overflows at 2 GB.
            for name, pages in connection.execute("SELECT name, pageno FROM dbstat WHERE aggregate = 1"):
                if of.get(name) in TABLES:
                    found[of[name]] = found.get(of[name], 0) + pages * page_bytes
    return found


def database_url(path: Path) -> str:
    """Of a SQLite file."""
    return sqlite_url(path)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that is at least as large as `share` of all."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]


def spread(values: Sequence[float]) -> dict[str, Any]:
    return {
        "questions": len(values),
        "p50_ms": round(percentile(values, 0.5), 2),
        "p95_ms": round(percentile(values, 0.95), 2),
        "p99_ms": round(percentile(values, 0.99), 2),
        "at_most_ms": round(max(values), 2),
    }
