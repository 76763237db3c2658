"""The files of one export while they are written: from segments' units to whole MP4 files under temporary names.

Owns where a file begins and ends within a stretch, what of it is shown, its sound track, and that nothing is left behind
or overwritten. Does not own which segments are read nor the side file. Blocking: used from one thread at a time.

Invariants: temporary names begin with a dot and end in `.partial`; final names appear only through `publish`, never over
another file; what a file shows is [first picture, end of the last one), exact to the tick of its media time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from storage.catalogue.values import RecordedSegment
from storage.reader import FAR_PTS, SegmentPart
from vms.durable import sync_directory
from vms.errors import UserError
from vms.media.audio import frame_ticks
from vms.media.remux import RemuxWriter, Shown
from vms.media.segment_head import SegmentHead, SegmentTrailer
from vms.media.segment_writer import is_closed
from vms.model import AccessUnit, Codec, CodecConfig

MOST_CONFIGS = 200  # in one file, of a stream that changes its parameter sets all the time
WARM_UP_UNITS = 3  # of sound before the first picture: an AAC frame sounds only together with the one before it


@dataclass(frozen=True, slots=True)
class SourceSegment:
    """What the side file says of a segment that a file was made from."""

    segment: RecordedSegment
    head: SegmentHead
    trailer: SegmentTrailer | None


@dataclass(frozen=True, slots=True)
class JoinedSound:
    """The sound track of a file: [start_ns, end_ns) is heard, `start_ticks` of its run's media time is where it begins."""

    config: CodecConfig
    start_ns: int
    end_ns: int
    start_ticks: int
    units: int
    sources: tuple[SourceSegment, ...]


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """One file: the capture time of its first shown picture and the end of its last, and what it is made of.

    `start_ticks` is the media time of the run that is 0 on the file's presented timeline. `undecodable` counts pictures
    within the range that were recorded without what they refer to: they are in the file and not shown.
    """

    path: Path
    start_ns: int
    end_ns: int
    start_ticks: int
    end_ticks: int
    pictures: int  # shown
    units: int  # in the file; those before and after the cut are there for the decoder
    begins_with_key: bool
    undecodable: int
    size_bytes: int
    sha256: bytes
    config: CodecConfig
    sources: tuple[SourceSegment, ...]
    sound: JoinedSound | None
    sound_left_out: str  # why there is no sound track although sound was recorded


@dataclass(slots=True)
class Sound:
    """Sound to be joined to a stretch: units by capture time, given as the pictures of the same time are added."""

    units: deque[tuple[int, AccessUnit, SourceSegment]] = field(default_factory=deque)
    recent: deque[tuple[int, AccessUnit, SourceSegment]] = field(default_factory=lambda: deque(maxlen=WARM_UP_UNITS))


@dataclass(slots=True)
class _File:
    """A file being written."""

    temporary: Path
    file: BinaryIO
    writer: RemuxWriter
    first: AccessUnit
    config: CodecConfig  # of the last unit
    configs: int = 1
    pictures: int = 0
    units: int = 0
    undecodable: int = 0
    start: int = FAR_PTS  # the least media time shown
    last: int = -FAR_PTS  # the greatest
    last_but_one: int = -FAR_PTS
    after: int = FAR_PTS  # the least media time of a unit behind the cut
    end_ticks: int | None = None  # of the last segment
    cut_ticks: int = FAR_PTS  # nothing from here on is shown
    sources: list[SourceSegment] = field(default_factory=list)
    has_sound: bool = False
    sound_pts: array[int] = field(default_factory=lambda: array("q"))
    sound_ns: tuple[int, int] = (0, 0)  # of the first unit's start, and of the last unit's end
    sound_sources: list[SourceSegment] = field(default_factory=list)
    sound_config: CodecConfig | None = None

    def show(self, pts: int) -> None:
        self.pictures += 1
        self.start = min(self.start, pts)
        if pts > self.last:
            self.last, self.last_but_one = pts, self.last
        elif pts > self.last_but_one:
            self.last_but_one = pts

    def end_pts(self) -> int:
        """Where the last shown picture ends: at the next one if that follows closely, else as long as the one before it
        lasted, or up to the cut if that is later: there was no other picture before the cut.
        """
        if self.pictures > 1:
            usual = max(1, self.last - self.last_but_one)
        else:
            usual = (
                self.config.clock_hz // 25 if self.config.codec.is_video else frame_ticks(self.config, self.first.data)
            )
        latest = self.last + 2 * max(1, usual)
        known = [t for t in (self.after, self.end_ticks) if t is not None and self.last < t <= latest]
        cut = self.cut_ticks if self.cut_ticks < FAR_PTS else self.last
        return min(known, default=max(self.last + max(1, usual), min(cut, latest)))


class ExportWriting:
    """The files of one export, from temporary names to final ones. Set `stopped` from anywhere to break off."""

    def __init__(self, output: Path) -> None:
        """Raises UserError when `output` or its side file is there already."""
        self.stopped = False
        self._output = output
        self._undo = contextlib.ExitStack()
        self._open: _File | None = None
        self._files: list[ExportedFile] = []
        self._sound: Sound | None = None
        self._sound_left_out = ""
        self._temporary = 0
        refuse_existing(output)
        refuse_existing(side_file(output))

    def begin_stretch(self, sound: Sound | None, left_out: str) -> None:
        """What follows belongs together. `sound` is joined; `left_out` says why it is not, where there is some."""
        self.end_file()
        self._sound, self._sound_left_out = sound, left_out

    def add(self, part: SegmentPart) -> None:
        """Append the units of one segment's part, from the picture decoding must begin with to the last one shown; or, of
        one whose wanted part is empty and at its end, the lead-in from its last random-access picture on.

        Nothing follows the last picture in decoding order: some players go on to the end of what is in the file, whatever
        the edit list says. Raises MalformedError.
        """
        reader = part.reader
        source = SourceSegment(part.segment, reader.head, reader.trailer)
        capture_ns = reader.head.mapping.capture_ns
        after: list[AccessUnit] = []  # not shown, and perhaps nothing that is shown is decoded after them
        any_shown = False
        for unit in reader.units(part.start_pts, part.end_pts):
            if self.stopped:
                return
            shown = part.start_pts <= unit.pts < part.end_pts
            if not shown and (any_shown or unit.pts >= part.end_pts):
                after.append(unit)
                continue
            for needed in after:
                self._put(needed, part, source)
            now = self._put(unit, part, source)
            now.after = min([now.after, *(u.pts for u in after if u.pts >= part.end_pts)])
            after.clear()
            any_shown |= shown
            if shown:
                self._add_sound(now, capture_ns(unit.pts))
                if unit.pts < now.first.pts and _refers_back(unit, now.first):
                    now.undecodable += 1
                else:
                    now.show(unit.pts)
        opened = self._open
        if opened is not None and part.start_pts < FAR_PTS:
            opened.after = min([opened.after, *(u.pts for u in after if u.pts >= part.end_pts)])
            opened.end_ticks = reader.trailer.end_ticks if reader.trailer else None
            opened.cut_ticks = part.end_pts

    def _put(self, unit: AccessUnit, part: SegmentPart, source: SourceSegment) -> _File:
        now = self._file_for(unit, part)
        if not now.sources or now.sources[-1] != source:
            now.sources.append(source)
        now.writer.add(unit)
        now.units += 1
        return now

    def end_file(self) -> None:
        """Finish the file being written, if any; one in which nothing would be shown is thrown away."""
        now, self._open = self._open, None
        if now is None:
            return
        if not now.pictures:
            now.file.close()
            now.temporary.unlink()
            return
        end = now.end_pts()
        start_ns, end_ns = _capture_ns(now.sources, now.start), _capture_ns(now.sources, end)
        shown, sound = [Shown(now.start, end)], None
        if now.has_sound:
            self._add_sound(now, end_ns)
            shown_sound, sound = _heard(now, start_ns, end_ns)
            shown.append(shown_sound)
        size = now.writer.finish(shown, start_ns)
        now.file.flush()
        os.fsync(now.file.fileno())
        now.file.close()
        self._files.append(
            ExportedFile(
                path=now.temporary,
                start_ns=start_ns,
                end_ns=end_ns,
                start_ticks=now.start,
                end_ticks=end,
                pictures=now.pictures,
                units=now.units,
                begins_with_key=now.first.key or not now.config.codec.is_video,
                undecodable=now.undecodable,
                size_bytes=size,
                sha256=_sha256(now.temporary),
                config=now.first.config,
                sources=tuple(now.sources),
                sound=sound,
                sound_left_out=self._sound_left_out,
            )
        )

    def finish(self) -> tuple[ExportedFile, ...]:
        """Every file, whole and on disk, still under its temporary name. Raises UserError when there is none."""
        self.end_file()
        if not self._files:
            raise UserError("no picture of this range can be shown; `vms timeline` shows what there is")
        return tuple(self._files)

    def publish(self, names: Sequence[tuple[Path, Path]]) -> None:
        """Give every (temporary, final) its final name; all of them, or none when one is in the way."""
        for temporary, final in names:
            _name(temporary, final)
            self._undo.callback(final.unlink, missing_ok=True)
            temporary.unlink(missing_ok=True)
        sync_directory(self._output.parent)
        self._undo.pop_all()

    def temporary(self) -> Path:
        """A new temporary name beside the output, taken away by `undo`."""
        self._temporary += 1
        path = self._output.with_name(f".{self._output.name[:200]}.{os.getpid()}.{self._temporary}.partial")
        self._undo.callback(path.unlink, missing_ok=True)
        return path

    def undo(self) -> None:
        """Take away everything that `publish` has not made final."""
        self._undo.close()

    def _file_for(self, unit: AccessUnit, part: SegmentPart) -> _File:
        """The file a unit goes into. A file has one configuration, as far as random-access pictures allow.

        A stream that changes its parameter sets all the time has them in band; it stays in one file, with a sample entry
        for each, while size and profile are the same, else every group of pictures would be a file.
        """
        now = self._open
        if now is not None and unit.config is not now.config:
            if unit.config != now.config:
                now.configs += 1
                stays = not unit.key or (part.reader.start.in_band and _kind(unit.config) == _kind(now.config))
                fits = (unit.config.codec, unit.config.clock_hz) == (now.config.codec, now.config.clock_hz)
                if not stays or not fits or now.configs > MOST_CONFIGS:
                    self.end_file()
                    now = None
            if now is not None:
                now.config = unit.config
        return now or self._begin(unit, part.reader.head.mapping.capture_ns(unit.pts))

    def _begin(self, unit: AccessUnit, capture_ns: int) -> _File:
        temporary = self.temporary()
        file = temporary.open("xb+")
        self._undo.callback(_give_up, file)
        sound = self._sound
        waiting = [*sound.recent, *sound.units] if sound is not None else []
        audio = waiting[0][1].config if waiting else None
        now = self._open = _File(temporary, file, RemuxWriter(file, unit.config, audio), unit, unit.config)
        if sound is not None and waiting:
            now.has_sound, now.sound_config = True, audio
            before = [item for item in sound.recent if item[0] <= capture_ns]
            for item in before:
                _put_sound(now, item)
            if not before:  # a track has at least one unit
                item = sound.units.popleft() if sound.units else sound.recent[-1]
                sound.recent.append(item)
                _put_sound(now, item)
        return now

    def _add_sound(self, now: _File, until_ns: int) -> None:
        """The sound up to a capture time."""
        sound = self._sound
        if sound is None or not now.has_sound:
            return
        while sound.units and sound.units[0][0] <= until_ns:
            item = sound.units.popleft()
            sound.recent.append(item)
            _put_sound(now, item)


def file_names(output: Path, count: int) -> list[Path]:
    """The output itself for one file, numbered names beside it for several."""
    if count == 1:
        return [output]
    return [output.with_name(f"{output.stem}-{number}{output.suffix}") for number in range(1, count + 1)]


def side_file(output: Path) -> Path:
    """Where the facts of an export stand: the output's name with `.json`."""
    return output.with_suffix(".json")


def refuse_existing(path: Path) -> None:
    """Raises UserError when something has that name."""
    if os.path.lexists(path):
        raise UserError(f"{path} is already there and is not overwritten; choose another -o")


def _name(temporary: Path, final: Path) -> None:
    """Give a file its final name without ever replacing anything; the temporary one may stay beside it."""
    try:
        os.link(temporary, final)
    except FileExistsError:
        refuse_existing(final)
        raise
    except OSError:  # no hard links here, as on FAT and exFAT
        refuse_existing(final)
        temporary.rename(final)


def _give_up(file: BinaryIO) -> None:
    with contextlib.suppress(OSError):  # closing writes what is buffered, which a full disk refuses again
        file.close()


def _put_sound(now: _File, item: tuple[int, AccessUnit, SourceSegment]) -> None:
    capture_ns, unit, source = item
    if not now.sound_sources or now.sound_sources[-1] != source:
        now.sound_sources.append(source)
    now.writer.add(unit)
    now.sound_pts.append(unit.pts)
    end_ns = source.head.mapping.capture_ns(unit.pts + max(1, frame_ticks(unit.config, unit.data)))
    now.sound_ns = (now.sound_ns[0] or capture_ns, end_ns)


def _heard(now: _File, start_ns: int, end_ns: int) -> tuple[Shown, JoinedSound]:
    """What of the sound track is heard beside pictures of [start_ns, end_ns), and the same as a fact."""
    first, config = now.sound_sources[0].head.mapping, now.sound_config
    assert config is not None
    from_ns = max(start_ns, now.sound_ns[0])
    start = max(first.ticks_at(from_ns), now.sound_pts[0])
    to_ns = max(min(end_ns, now.sound_ns[1]), from_ns + 1)
    end = max(_ticks_at(now.sound_sources, to_ns), start + 1)
    sound = JoinedSound(config, from_ns, to_ns, start, len(now.sound_pts), tuple(now.sound_sources))
    return Shown(start, end, from_ns - start_ns), sound


def _capture_ns(sources: Sequence[SourceSegment], ticks: int) -> int:
    """Capture time by the mapping of the last segment that begins at or before it."""
    begun = [s for s in sources if s.head.start_ticks <= ticks]
    return (begun[-1] if begun else sources[0]).head.mapping.capture_ns(ticks)


def _ticks_at(sources: Sequence[SourceSegment], ns: int) -> int:
    begun = [s for s in sources if s.head.mapping.capture_ns(s.head.start_ticks) <= ns]
    return (begun[-1] if begun else sources[0]).head.mapping.ticks_at(ns)


def _kind(config: CodecConfig) -> tuple[Codec, int, int, str]:
    return config.codec, config.width, config.height, config.profile


def _refers_back(unit: AccessUnit, first: AccessUnit) -> bool:
    """Whether a picture shown before the file's first random-access picture refers to what came before that one."""
    if not first.key or not unit.config.codec.is_video or is_closed(first):
        return False
    if unit.config.codec is Codec.H264:
        return True
    data, at = unit.data, 0
    while at + 4 < len(data):
        kind = data[at + 4] >> 1 & 0x3F
        if kind < 32:
            return kind in (8, 9)  # RASL; what is RADL decodes (ITU-T H.265 table 7-1)
        at += 4 + int.from_bytes(data[at : at + 4], "big")
    return False


def _sha256(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
