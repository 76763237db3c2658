"""A page in Debian's Chromium that watches the gateway's streams, driven by Playwright; nothing of our own client.

The page asks a small HTTP server on loopback, which hands offers to the gateway's inner interface as the web process
does. What a tile saw is asked of the page: pictures shown, their capture times, the size, the connection's state.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import web
from playwright.async_api import Page, async_playwright

from tests.support.live_viewers import Door

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required", "--mute-audio",
    "--allow-loopback-in-peer-connection",
)  # fmt: skip

PAGE = """<!doctype html><title>wall</title><script>
const CAPTURE = 'http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time';
window.tiles = {};
window.watch = async (name, stream) => {
  const asked = performance.now(), pc = new RTCPeerConnection({bundlePolicy: 'max-bundle'});
  const video = document.createElement('video');
  Object.assign(video, {muted: true, autoplay: true, playsInline: true, width: 320});
  document.body.append(video);
  const tile = window.tiles[name] = {frames: 0, captures: [], sizes: [], luma: [], gaps: [], state: '', last: 0, firstMs: 0, pc, video};
  const transceiver = pc.addTransceiver('video', {direction: 'recvonly'});
  const wanted = transceiver.getHeaderExtensionsToNegotiate();
  for (const e of wanted) if (e.uri === CAPTURE) e.direction = 'sendrecv';
  transceiver.setHeaderExtensionsToNegotiate(wanted);
  transceiver.receiver.jitterBufferTarget = 0;
  pc.ontrack = e => { video.srcObject = new MediaStream([e.track]); };
  pc.onconnectionstatechange = () => { tile.state = pc.connectionState; };
  const canvas = Object.assign(document.createElement('canvas'), {width: 16, height: 9});
  const paper = canvas.getContext('2d', {willReadFrequently: true});
  const note = (now, frame) => {
    paper.drawImage(video, 0, 0, 16, 9);
    tile.luma.push(Math.max(...paper.getImageData(0, 0, 16, 9).data.filter((_, i) => i % 4 < 3)));
    if (!tile.frames) tile.firstMs = now - asked;
    tile.frames++; tile.sizes.push(frame.width + 'x' + frame.height); tile.rtp = frame.rtpTimestamp;
    if (tile.last) tile.gaps.push(now - tile.last);
    tile.last = now;
    const source = transceiver.receiver.getSynchronizationSources()[0];
    if (source && source.captureTimestamp) tile.captures.push([Date.now(), source.captureTimestamp]);
    video.requestVideoFrameCallback(note);
  };
  video.requestVideoFrameCallback(note);
  await pc.setLocalDescription(await pc.createOffer());
  const answer = await (await fetch('/watch/' + stream, {method: 'POST', body: pc.localDescription.sdp})).json();
  if (!answer.answer) throw new Error(JSON.stringify(answer));
  tile.id = answer.id; tile.offer = pc.localDescription.sdp; tile.answer = answer.answer;
  await pc.setRemoteDescription({type: 'answer', sdp: answer.answer});
  return answer;
};
window.seen = name => {
  const t = window.tiles[name];
  return {frames: t.frames, captures: t.captures.slice(-50), sizes: t.sizes, luma: t.luma, gaps: t.gaps, state: t.state,
          sinceMs: performance.now() - t.last, firstMs: t.firstMs, id: t.id, rtp: t.rtp};
};
window.stats = async name => [...(await window.tiles[name].pc.getStats()).values()].find(s => s.type === 'inbound-rtp');
</script><body></body>"""


class Wall:
    """The open page."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def watch(self, name: str, stream: UUID) -> dict[str, Any]:
        found: dict[str, Any] = await self.page.evaluate("([n, s]) => window.watch(n, s)", [name, str(stream)])
        return found

    async def seen(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.page.evaluate("n => window.seen(n)", name)
        return found

    async def stats(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.page.evaluate("n => window.stats(n)", name)
        return found

    async def frames(self, name: str, more: int, seconds: float = 15.0) -> dict[str, Any]:
        """Wait until so many more pictures were shown."""
        before = (await self.seen(name))["frames"]
        await self.page.wait_for_function(
            f"window.tiles[{name!r}].frames >= {before + more}", timeout=1000 * seconds, polling=50
        )
        return await self.seen(name)


@contextlib.asynccontextmanager
async def wall(door: Door, through: Callable[[str], Awaitable[str]] | None = None) -> AsyncIterator[Wall]:
    """A page that can watch streams of this gateway. Skips where there is no Chromium.

    `through`: what becomes of an answer before the page gets it.
    """
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("Chromium is not installed (Debian: chromium)")

    async def page_of(_request: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def watch(request: web.Request) -> web.Response:
        session = uuid4()
        status, answer = await door.offer(UUID(request.match_info["stream"]), await request.text(), session=session)
        if status == 201 and through is not None:
            answer["answer"] = await through(answer["answer"])
        return web.json_response({**answer, "id": str(session)}, status=status)

    app = web.Application()
    app.add_routes([web.get("/", page_of), web.post("/watch/{stream}", watch)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=program, headless=True, args=list(FLAGS))
            try:
                page = await browser.new_page()
                await page.goto(f"http://127.0.0.1:{port}/")
                yield Wall(page)
            finally:
                await browser.close()
    finally:
        await runner.cleanup()
