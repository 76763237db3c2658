"""What the client's tiles said from moment to moment, and what Chromium counted behind them.

The page is the client's own and knows nothing of this: a script put in front of it keeps the peer connections it makes,
another one looks every 20 ms at what stands on the tiles. Times are UTC in ms, the machine's own clock.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import BrowserContext, Page

KEEP_PEERS = """(() => {
    window.peers = [];
    window.peersMade = 0;
    window.RTCPeerConnection = class extends RTCPeerConnection {
        constructor(...all) { super(...all); window.peersMade += 1; window.peers.push(this); }
        close() { super.close(); window.peers = window.peers.filter((peer) => peer !== this); }
    };
})()"""
LOOK = """() => {
    const seen = window.seenOnTiles = [];
    let last = '';
    const look = () => {
        const words = [...document.querySelectorAll('.tile[data-camera]')].map((t) => t.dataset.word);
        const blind = document.querySelector('[data-banner=blind]') !== null;
        const now = JSON.stringify([words, blind]);
        if (now !== last) seen.push([Date.now(), words, blind]);
        last = now;
        setTimeout(look, 20);
    };
    look();
    window.sameDocument = true;
}"""
COUNTS = """async () => {
    const found = [];
    for (const peer of window.peers.filter((p) => p.connectionState === 'connected')) {
        const report = await peer.getStats();
        const entry = [...report.values()].find((s) => s.type === 'inbound-rtp' && s.kind === 'video');
        if (!entry) continue;
        const source = peer.getReceivers()[0].getSynchronizationSources()[0];
        const captured = source?.captureTimestamp;
        found.push({...entry, captured: captured ? captured - 2208988800000 : null, now: Date.now()});
    }
    return found;
}"""


@dataclass(frozen=True, slots=True)
class Look:
    """What stood on the page from `at_ms` on, in the order of its tiles."""

    at_ms: float
    words: tuple[str, ...]
    blind: bool


def keep_peers(context: BrowserContext) -> None:
    """Before the first page is opened."""
    context.add_init_script(KEEP_PEERS)


def watch(page: Page) -> None:
    """From now on until the document goes."""
    page.evaluate(LOOK)


def looks(page: Page) -> list[Look]:
    return [Look(at, tuple(words), blind) for at, words, blind in page.evaluate("window.seenOnTiles")]


def same_document(page: Page) -> bool:
    """Whether the page was not loaded again since `watch`."""
    return page.evaluate("window.sameDocument === true")  # type: ignore[no-any-return]


def peers_made(page: Page) -> int:
    """How many sessions the page ever began."""
    return page.evaluate("window.peersMade")  # type: ignore[no-any-return]


def counts(page: Page) -> list[dict[str, Any]]:
    """`inbound-rtp` of every session that is connected, as `getStats` gives it, with capture time of the newest packet
    played and the time of asking."""
    return page.evaluate(COUNTS)  # type: ignore[no-any-return]


def first_ms(seen: Sequence[Look], since_ms: float, words: Collection[str]) -> float | None:
    """How long after `since_ms` every tile had said one of these words, each of them once at least."""
    left = set(range(len(seen[-1].words)))
    for look in standing(seen, since_ms):
        left -= {i for i, word in enumerate(look.words) if word in words}
        if not left:
            return max(0.0, look.at_ms - since_ms)
    return None


def last_ms(seen: Sequence[Look], since_ms: float, word: str) -> float | None:
    """How long after `since_ms` a tile last said anything but `word`; None: one still does."""
    *_, last = standing(seen, since_ms)
    if any(w != word for w in last.words):
        return None
    wrong = [i for i, look in enumerate(seen) if look.at_ms > since_ms and any(w != word for w in look.words)]
    return seen[wrong[-1] + 1].at_ms - since_ms if wrong else 0.0


def standing(seen: Sequence[Look], since_ms: float) -> list[Look]:
    """What stood at `since_ms`, and what came after."""
    before = [look for look in seen if look.at_ms <= since_ms]
    return [*before[-1:], *(look for look in seen if look.at_ms > since_ms)]


TRUTH = """() => {
    // The first tile's word beside what its video really showed: [now, word, ms since the last new picture, its age then].
    const samples = window.truth = [];
    let video = null, shownAt = null, ageMs = null, newest = 0;
    const source = () => {
        for (const peer of window.peers) {
            const track = peer.getReceivers()[0]?.track;
            if (track && video?.srcObject?.getVideoTracks().includes(track)) {
                return peer.getReceivers()[0].getSynchronizationSources()[0];
            }
        }
    };
    const shown = (now, frame) => {
        const packet = source();
        if (packet?.captureTimestamp) {
            const ticks = (frame.rtpTimestamp - packet.rtpTimestamp) << 0;
            const captured = packet.captureTimestamp - 2208988800000 + ticks / 90;
            if (captured > newest) { newest = captured; shownAt = performance.now(); ageMs = Date.now() - captured; }
        }
        video.requestVideoFrameCallback(shown);
    };
    setInterval(() => {
        const tile = document.querySelector('.tile[data-camera]'), now = tile?.querySelector('video');
        if (now && now !== video) { video = now; video.requestVideoFrameCallback(shown); }
        samples.push([Date.now(), tile?.dataset.word, shownAt === null ? null : performance.now() - shownAt, ageMs]);
    }, 50);
}"""


def watch_truth(page: Page) -> None:
    page.evaluate(TRUTH)


def truth(page: Page) -> list[tuple[float, str, float | None, float | None]]:
    """When, the first tile's word, how long ago its last new picture was shown, and how old that one was when it was."""
    return [tuple(sample) for sample in page.evaluate("window.truth")]
