"""A throw-away site whose cameras are simulated: data folder, assignment and, where asked for, catalogue."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

from storage.catalogue import Catalogue, migrate
from storage.objects import S3Location
from vms.assignment import Assignment, CameraAssignment, assign, write_assignment
from vms.model import Camera, LegalProfile, SourceKind, Stream, StreamKind
from vms.site import Site

SPOOL_RESERVE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class BenchSite:
    """`streams` in the order of the URLs given."""

    site: Site
    streams: tuple[UUID, ...]


def recording_site(folder: Path, urls: Sequence[str], *, digests: bool) -> BenchSite:
    """For a recorder alone: an assignment and no catalogue. Settings are the defaults, but for the digests."""
    site = _create(folder, f"[recorder]\ndigests = {str(digests).lower()}\n")
    cameras, streams = [], []
    for number, url in enumerate(urls, 1):
        camera_id, stream_id = uuid4(), uuid4()
        streams.append(stream_id)
        cameras.append(
            CameraAssignment(
                camera_id=camera_id,
                number=number,
                name=f"Kamera {number}",
                enabled=True,
                source=SourceKind.RTSP,
                transport="tcp",
                certificate_pin="",
                trust_clock=False,
                audio=False,
                streams=(Stream(stream_id, camera_id, StreamKind.MAIN, url, True),),
            )
        )
    write_assignment(site.assignment_file, Assignment(tuple(cameras)), site.sealer)
    return BenchSite(site, tuple(streams))


async def archiving_site(folder: Path, urls: Sequence[str], location: S3Location) -> BenchSite:
    """With catalogue and an S3 store, as a site that runs. Settings are the defaults."""
    secrets = {"access_key": location.access_key, "secret_key": location.secret_key}
    lines = [f'kind = "s3"\nendpoint = "{location.netloc}"\nbucket = "{location.bucket}"\ntls = false']
    lines += [f'{name} = "{value}"' for name, value in secrets.items()]
    site = _create(folder, "[store]\n" + "\n".join(lines) + "\n")
    await migrate(site.catalogue_url)
    profile = LegalProfile(uuid4(), "straż miejska", "art. 11", 30)
    streams = []
    async with Catalogue(site.catalogue_url, site.sealer) as catalogue:
        await catalogue.put_profile(profile)
        for number, url in enumerate(urls, 1):
            camera_id, stream_id = uuid4(), uuid4()
            streams.append(stream_id)
            main = Stream(stream_id, camera_id, StreamKind.MAIN, url, True)
            camera = Camera(camera_id, number, f"Kamera {number}", profile.id, (main,), source=SourceKind.RTSP)
            await catalogue.add_camera(camera, at_ns=time.time_ns())
        profiles = {p.id: p for p in await catalogue.profiles()}
        write_assignment(site.assignment_file, assign(await catalogue.cameras(), profiles), site.sealer)
    return BenchSite(site, tuple(streams))


def _create(folder: Path, settings: str) -> Site:
    folder.mkdir(mode=0o700)
    text = f'{settings}\n[spool]\nreserve_bytes = {SPOOL_RESERVE_BYTES}\n[log]\nlevel = "warning"\n'
    toml = folder / "site.toml"
    toml.write_text(text)
    toml.chmod(0o600)
    return Site.create(folder, {})
