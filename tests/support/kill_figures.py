"""What kills cost, and whether that is within R-01: kept for each camera and kill, and merged over runs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.outages import Account
from tests.support.split_run import merged
from tests.support.stored import Stored

MOST_LOST_NS = 1_000_000_000
MOST_SILENT_NS = 3_000_000_000  # and a group of pictures, until recording again


@dataclass(frozen=True, slots=True)
class Kill:
    """One worker's death. `settled`: all its cameras were being recorded."""

    worker: int
    at_ns: int
    settled: bool


@dataclass(slots=True)
class Figures:
    """What comes out. Times in milliseconds; `tails` and `silences` are one per camera and settled kill."""

    seeds: list[int] = field(default_factory=list)
    kills: int = 0
    cameras: int = 0
    pictures: int = 0
    segments: int = 0
    decoded: int = 0
    undecodable: int = 0
    outages: int = 0
    tails: dict[str, int] = field(default_factory=dict)  # hundreds of milliseconds lost → how often
    worst_tail_ms: int = 0
    silences: dict[str, int] = field(default_factory=dict)
    worst_silence_ms: int = 0
    worst_gap_error_ms: int = 0
    worst_capture_error_ms: int = 0
    simulator_late_ms: int = 0
    problems: list[str] = field(default_factory=list)


def merge(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Several runs' results as one: worst of the worst, sums of the rest."""
    return merged(Figures(), parts, {"cameras", "simulator_late_ms"})


def judge(
    figures: Figures,
    accounts: Mapping[int, Account],
    kills: Sequence[Kill],
    *,
    workers: int,
    gop_ns: int,
    most_silent_ns: int = MOST_SILENT_NS,
) -> None:
    """Hold every outage against the kills in it, and the bounds of R-01. Writes into `figures` only."""
    for number, account in accounts.items():
        mine = [k for k in kills if k.worker == number % workers]
        figures.pictures += account.stored
        figures.outages += len(account.outages)
        figures.worst_gap_error_ms = max(figures.worst_gap_error_ms, account.worst_gap_error_ns // 1_000_000)
        figures.worst_capture_error_ms = max(
            figures.worst_capture_error_ms, account.worst_capture_error_ns // 1_000_000
        )
        figures.problems += [f"camera {number}: {problem}" for problem in account.problems]
        blamed = 0
        for outage in account.outages:
            slack = MOST_LOST_NS * 2
            inside = [k for k in mine if outage.range.start_ns - slack <= k.at_ns < outage.range.end_ns]
            inside = [k for k in inside if k.at_ns >= outage.range.start_ns - account.frame_ns]
            blamed += len(inside)
            if not inside:
                figures.problems.append(
                    f"camera {number}: {outage.pictures} pictures are missing and nobody was killed"
                )
                continue
            tail = outage.before(inside[0].at_ns) * account.frame_ns
            silence = outage.range.end_ns - inside[-1].at_ns
            _count(figures.tails, tail)
            _count(figures.silences, silence)
            figures.worst_tail_ms = max(figures.worst_tail_ms, tail // 1_000_000)
            figures.worst_silence_ms = max(figures.worst_silence_ms, silence // 1_000_000)
            if tail > MOST_LOST_NS:
                figures.problems.append(f"camera {number}: {tail // 1_000_000} ms before a kill are lost")
            if silence > most_silent_ns + gop_ns:
                figures.problems.append(f"camera {number}: recording again only {silence // 1_000_000} ms after a kill")
        if blamed != len(mine):
            figures.problems.append(f"camera {number}: {len(mine)} kills, {blamed} of them within an outage")


def _count(histogram: dict[str, int], ns: int) -> None:
    key = str(ns // 100_000_000 * 100)
    histogram[key] = histogram.get(key, 0) + 1


def note_stored(figures: Figures, stored: Stored, left: Sequence[str]) -> None:
    figures.segments += stored.segments
    figures.decoded += stored.decoded
    figures.undecodable += len(stored.undecodable)
    figures.problems += [f"not sound: {what}" for what in stored.undecodable[:20]]
    if left:
        figures.problems.append(f"part files are left: {', '.join(left[:5])}")
