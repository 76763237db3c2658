"""What is stored of a site, read from its files alone: the spool's sealed segments and those of a store in a folder.

Every segment is verified and, where asked for, decoded; facts of gaps come from the spool and the catalogue.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import av

from storage.catalogue import Catalogue
from storage.spool import Spool
from tests.support.outages import StoredUnit
from vms.errors import MalformedError
from vms.media.boxes import FileSource
from vms.media.segment_reader import SegmentReader, verify
from vms.model import Gap
from vms.site import Site


@dataclass(slots=True)
class Stored:
    """By stream. `undecodable`: what is wrong with which file."""

    units: dict[UUID, list[StoredUnit]] = field(default_factory=dict)
    segments: int = 0
    decoded: int = 0
    undecodable: list[str] = field(default_factory=list)


def read_segments(site: Site, streams: Iterable[UUID], decode: Callable[[int], bool] = lambda _n: True) -> Stored:
    """Everything sealed of these streams; `decode(n)` says whether the n-th segment is decoded too. Blocks."""
    wanted = set(streams)
    found = Stored()
    digests: dict[tuple[UUID, int], bytes] = {}  # a segment on its way to the store is in both places
    folders = [site.spool / "sealed", site.path / "store" / "segments"]
    for path in sorted(p for folder in folders if folder.is_dir() for p in folder.rglob("*.mp4")):
        fd = os.open(path, os.O_RDONLY)
        try:
            source = FileSource(fd)
            checked = verify(source)
            reader = SegmentReader(source)
            if reader.head.stream_id not in wanted:
                continue
            name = (reader.head.run_id, reader.head.number)
            if name in digests:
                if digests[name] != checked.facts.digest:
                    found.undecodable.append(f"{path.name}: spool and store have different bytes")
                continue
            digests[name] = checked.facts.digest
            capture_ns = reader.head.mapping.capture_ns
            units = [
                StoredUnit(u.pts, hashlib.sha256(u.data).hexdigest(), capture_ns(u.pts), u.damaged)
                for u in reader.units()
            ]
        except MalformedError as error:
            found.undecodable.append(f"{path.name}: {error}")
            continue
        finally:
            os.close(fd)
        found.units.setdefault(reader.head.stream_id, []).extend(units)
        if not checked.sound:
            found.undecodable.append(f"{path.name}: {', '.join(checked.problems)}")
        if decode(found.segments):
            found.decoded += 1
            if problem := decoding_problem(path, len(units)):
                found.undecodable.append(f"{path.name}: {problem}")
        found.segments += 1
    return found


def decoding_problem(path: Path, units: int) -> str:
    """What FFmpeg's decoder objects to; empty when it gave a picture for every unit."""
    try:
        with av.open(str(path)) as container:
            context = container.streams.video[0].codec_context
            context.options = {"err_detect": "explode"}
            pictures = sum(1 for _ in container.decode(video=0))
    except av.error.FFmpegError as error:
        return f"does not decode: {error}"
    return "" if pictures == units else f"{units} units decode to {pictures} pictures"


async def gap_facts(site: Site, streams: Iterable[UUID]) -> dict[UUID, list[Gap]]:
    """The newest statement of every gap, from spool and, if there is one in a file, catalogue."""
    wanted = list(streams)
    known: dict[UUID, Gap] = {}
    if (site.path / "catalogue.db").exists():
        async with Catalogue(site.catalogue_url, site.sealer) as catalogue:
            known = {gap.id: gap for gap in await catalogue.gaps(wanted, 0, 2**62)}
    for _, gap in Spool(site.spool).gaps():
        older = known.get(gap.id)
        if older is None or older.end_ns is None:
            known[gap.id] = gap
    found: dict[UUID, list[Gap]] = {stream: [] for stream in wanted}
    for gap in known.values():
        if gap.stream_id in found:
            found[gap.stream_id].append(gap)
    return found


def leftovers(site: Site) -> list[str]:
    """Part files that nobody sealed."""
    return [part.path.name for part in Spool(site.spool).parts()]
