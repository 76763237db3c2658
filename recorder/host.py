"""The recorder of one host: its workers under supervision, and the feed's one door.

Owns how many workers there are and which socket answers for which stream; media never pass through Python code here
but as opaque chunks. Without workers' answers the door says 503 and a reader tries again.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
from aiohttp import web

from recorder.feed_server import LARGEST_REQUEST_BYTES, SEND_SECONDS, bearer, serve, serve_tls
from recorder.worker import jobs_of
from vms.assignment import Assignment, read_assignment
from vms.errors import MalformedError, UserError
from vms.feed import feed_token
from vms.metrics import Metrics, MetricsServer
from vms.processes import ChildSpec, keep_child, python_module, run_process, site_of
from vms.site import Site

log = logging.getLogger(__name__)

MOST_WORKERS = 8
CORES_PER_WORKER = 2  # one core is left to the archiver and the operating system
WORKER_CONNECT_SECONDS = 2.0
WORKER_ANSWER_SECONDS = 8.0


class Door:
    """The host's feed: forwards each request to the worker it concerns, or asks all of them."""

    def __init__(self, site: Site, workers: int) -> None:
        self._site = site
        self._workers = workers

    def application(self, token: str = "") -> web.Application:
        """The routes of docs/reference/feed.md; with `token`, for those who have it only."""
        app = web.Application(client_max_size=LARGEST_REQUEST_BYTES, middlewares=[bearer(token)] if token else [])
        app.add_routes(
            [
                web.get("/v1/streams", self._all_states),
                web.post("/v1/reload", self._reload_all),
                web.post("/v1/cameras/test", self._forward_to_first),
                web.get("/v1/streams/{stream}/{what}", self._forward_by_stream),
            ]
        )
        return app

    async def _all_states(self, _request: web.Request) -> web.Response:
        answers = await asyncio.gather(*(self._ask(i, "GET", "/v1/streams") for i in range(self._workers)))
        return web.json_response([state for answer in answers for state in answer or []])

    async def _reload_all(self, _request: web.Request) -> web.Response:
        await asyncio.gather(*(self._ask(i, "POST", "/v1/reload") for i in range(self._workers)))
        return web.json_response({})

    async def _forward_to_first(self, request: web.Request) -> web.StreamResponse:
        return await self._forward(request, 0)

    async def _forward_by_stream(self, request: web.Request) -> web.StreamResponse:
        try:
            index = self._worker_of(UUID(request.match_info["stream"]))
        except ValueError:
            index = None
        if index is None:
            raise web.HTTPNotFound(text="no such stream is recorded or relayed here")
        return await self._forward(request, index)

    def _worker_of(self, stream_id: UUID) -> int | None:
        assignment = self._assignment()
        for index in range(self._workers):
            for video_id, job in jobs_of(assignment, index, self._workers).items():
                if stream_id == video_id or (job.audio is not None and job.audio.id == stream_id):
                    return index
        return None

    def _assignment(self) -> Assignment:
        try:
            return read_assignment(self._site.assignment_file, self._site.sealer)
        except (MalformedError, OSError) as error:
            raise web.HTTPServiceUnavailable(text=f"the assignment cannot be read: {error}") from error

    async def _ask(self, index: int, method: str, path: str) -> Any:
        """A worker's JSON, or None while it does not answer."""
        timeout = aiohttp.ClientTimeout(total=WORKER_ANSWER_SECONDS, connect=WORKER_CONNECT_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(connector=self._connector(index), timeout=timeout) as session,
                session.request(method, f"http://worker{path}") as answer,
            ):
                return await answer.json()
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            return None

    async def _forward(self, request: web.Request, index: int) -> web.StreamResponse:
        timeout = aiohttp.ClientTimeout(total=None, connect=WORKER_CONNECT_SECONDS)
        body = await request.read()
        response: web.StreamResponse | None = None
        try:
            async with (
                aiohttp.ClientSession(connector=self._connector(index), timeout=timeout) as session,
                session.request(
                    request.method,
                    f"http://worker{request.rel_url}",
                    data=body,
                    headers={"Content-Type": "application/json"},
                ) as answer,
            ):
                response = web.StreamResponse(
                    status=answer.status, headers={"Content-Type": answer.content_type, "Cache-Control": "no-store"}
                )
                response.enable_chunked_encoding()
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    async with asyncio.timeout(SEND_SECONDS):
                        await response.write(chunk)
                return response
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if response is not None:  # begun: all we can do is to let it break off where it is
                if request.transport is not None:
                    request.transport.abort()
                return response
            raise web.HTTPServiceUnavailable(
                text="the recorder worker of this stream does not answer; it is being replaced",
                headers={"Retry-After": "2"},
            ) from error

    def _connector(self, index: int) -> aiohttp.UnixConnector:
        return aiohttp.UnixConnector(path=str(worker_socket(self._site, index)))


def worker_socket(site: Site, index: int) -> Path:
    """Where a worker serves its part of the feed."""
    return site.run / f"recorder-{index}.sock"


def worker_count(setting: int, cores: int) -> int:
    """How many workers a setting of `recorder.workers` means on this machine."""
    return setting or min(MOST_WORKERS, max(1, cores // CORES_PER_WORKER))


async def run_host(site: Site) -> None:
    """Build, run until cancelled, undo in reverse."""
    workers = worker_count(site.settings.recorder.workers, os.cpu_count() or 1)
    metrics = Metrics.create()

    def on_exit(how: str) -> None:
        metrics.worker_restarts.labels("hung" if how.startswith("hung") else "died").inc()

    with MetricsServer.start(metrics.page, site.run / "recorder-host.metrics"):
        async with asyncio.TaskGroup() as tasks:
            for index in range(workers):
                spec = ChildSpec(
                    name=f"recorder worker {index}",
                    argv=python_module(
                        "recorder.worker", "--data", str(site.path), "--index", str(index), "--workers", str(workers)
                    ),
                    stop_seconds=15.0,
                )
                tasks.create_task(keep_child(spec, on_exit=on_exit), name=spec.name)
            if site.settings.publishing.enabled:
                argv = python_module("recorder.publish", "--data", str(site.path))
                tasks.create_task(keep_child(ChildSpec("publishing", argv)), name="publishing")
            socket = site.settings.feed.socket
            with contextlib.suppress(FileExistsError):
                socket.parent.mkdir(mode=0o700, parents=True)
            async with contextlib.AsyncExitStack() as doors:
                await doors.enter_async_context(serve(Door(site, workers).application(), str(socket)))
                try:
                    await doors.enter_async_context(between_hosts(site, workers))
                except UserError as error:
                    log.error("the feed is not served to other hosts: %s", error)  # recording goes on all the same
                await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def between_hosts(site: Site, workers: int) -> AsyncIterator[int | None]:
    """The door over TLS where the settings ask for it, or nothing; gives its port. UserError when it cannot be opened."""
    feed = site.settings.feed
    if feed.listen is None or feed.certificate is None:
        yield None
        return
    try:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(feed.certificate, feed.key)
    except OSError as error:  # ssl.SSLError is one
        raise UserError(f"feed.certificate and feed.key cannot be used: {error}") from error
    async with contextlib.AsyncExitStack() as undo:
        app = Door(site, workers).application(feed_token(site.key))
        try:
            port = await undo.enter_async_context(serve_tls(app, feed.listen, tls))
        except OSError as error:
            raise UserError(f"feed.listen {feed.listen} cannot be used: {error.strerror or error}") from error
        log.info("the feed is served to other hosts on %s", feed.listen)
        yield port


def main() -> None:
    """`python -m recorder.host --data DIR`; `vms recorder` and `vms up` start it."""
    site, _ = site_of(argparse.ArgumentParser(prog="recorder.host"))
    run_process(lambda: run_host(site))


if __name__ == "__main__":
    main()
