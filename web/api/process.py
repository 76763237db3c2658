"""The web process: the one public door, composed of identity, routes, watch and the way to the live gateway.

Composition only: `run_web` builds, serves until cancelled and undoes in reverse. It needs the catalogue to be of our schema
when it answers; while it is away the process serves what it can and says so.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from typing import Any

import uvicorn

from storage.catalogue import Catalogue, check
from vms.clock import Clock, SystemClock
from vms.errors import CatalogueError, CatalogueUnavailable
from vms.feed import FeedClient
from vms.metrics import Metrics, MetricsServer
from vms.processes import run_process, site_of
from vms.settings import LiveSection
from vms.site import Site
from vms.supervise import Backoff, keep_running
from web.api import connections
from web.api.app import create_app, edged
from web.api.client_files import ClientFiles
from web.api.connections import MOST_CONNECTIONS, Connection
from web.api.door import BACKLOG, address_of, open_socket
from web.api.ice import IceServers
from web.api.live_gateway import GatewayClient
from web.api.live_views import LiveViews
from web.api.parts import Parts
from web.api.tls import TlsFiles, tls_files, utc_now
from web.api.watching import Watch
from web.identity.checkpoints import AuditKey, sign_head
from web.identity.signing_in import Identity

log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 600.0
KEEP_ALIVE_SECONDS = 30
STOP_SECONDS = 3
PACE = Backoff(first=1.0, longest=10.0, after_bug=2.0)  # rights that were taken away must not wait for a bug
Listening = Callable[[str], None]


class _Server(uvicorn.Server):
    """Uvicorn with a deadline for TLS handshakes; signals are `vms.processes`' to hear."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen. Uvicorn would leave a handshake the minute that asyncio gives it, and knows no setting for that."""
        await super().startup(sockets=[])
        config = self.config

        def connection() -> asyncio.Protocol:
            make: Any = config.http_protocol_class
            made: asyncio.Protocol = make(config=config, server_state=self.server_state, app_state=self.lifespan.state)
            return made

        for door in sockets or []:
            self.servers.append(
                await asyncio.get_running_loop().create_server(
                    connection, sock=door, ssl=config.ssl, backlog=config.backlog,
                    ssl_handshake_timeout=None if config.ssl is None else connections.HANDSHAKE_SECONDS,
                )
            )  # fmt: skip


async def run_web(site: Site, on_listening: Listening | None = None, *, listening: socket.socket | None = None) -> None:
    """Build, serve until cancelled, undo in reverse. `on_listening` hears the address with its real port.

    `listening`: a socket that somebody opened for us; else the one of `web.listen`.

    Raises UserError when the port is taken, the certificate cannot be used, or the catalogue's schema is not ours.
    """
    clock = SystemClock()
    with contextlib.suppress(CatalogueUnavailable):
        await check(site.catalogue_url)
    tls = tls_files(site.settings.web, site.path, utc_now())
    metrics = Metrics.create()
    metrics.web_sockets.set(0)
    async with AsyncExitStack() as undo:
        door = listening or undo.enter_context(open_socket(site.settings.web.listen))
        parts = await build(site, clock, metrics, undo, tls=tls is not None)
        undo.enter_context(MetricsServer.start(metrics.page, site.run / "web.metrics"))
        server = _Server(server_config(parts, tls))
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(keep_running("watch", parts.watch.run, backoff=PACE, clock=clock), name="watch"),
                tasks.create_task(keep_running("views", parts.views.run, backoff=PACE, clock=clock), name="views"),
                tasks.create_task(_sign_heads(parts), name="checkpoints"),
            ]
            if on_listening is not None:
                on_listening(address_of(door, tls=tls is not None))
            try:
                await serve(server, door)
            finally:
                for task in running:
                    task.cancel()


async def build(site: Site, clock: Clock, metrics: Metrics, undo: AsyncExitStack, *, tls: bool) -> Parts:
    """The parts of a site's web process; `undo` closes what they open."""
    catalogue = await undo.enter_async_context(Catalogue(site.catalogue_url, site.sealer))
    gateway = await undo.enter_async_context(GatewayClient(site.live_socket))
    feed = FeedClient(site.settings.feed.socket)
    watch = Watch(catalogue, feed, clock)
    identity = Identity(catalogue, site.key, clock)
    undo.push_async_callback(identity.close)
    return Parts(
        site=site, catalogue=catalogue, identity=identity, watch=watch,
        views=LiveViews(catalogue, gateway, watch, clock, metrics, most_of_user=site.settings.live.max_sessions_per_user),
        gateway=gateway, feed=feed, ice=ice_servers(site.settings.live), audit_key=AuditKey.open(site.path, site.sealer), metrics=metrics, clock=clock, tls=tls,
    )  # fmt: skip


def ice_servers(section: LiveSection) -> IceServers:
    return IceServers(section.stun_url, section.turn_url, section.turn_secret.reveal())


def server_config(parts: Parts, tls: TlsFiles | None) -> uvicorn.Config:
    """How uvicorn serves: no signals, no log of its own (addresses and tokens of people are no log lines)."""
    return uvicorn.Config(
        edged(create_app(parts, ClientFiles.of()), parts), log_config=None, access_log=False, server_header=False,
        date_header=True, proxy_headers=False,
        http=partial(Connection, metrics=parts.metrics),  # type: ignore[arg-type]  # whatever makes one will do
        ws="websockets-sansio", ws_max_size=64 * 1024, lifespan="off",
        timeout_keep_alive=KEEP_ALIVE_SECONDS, timeout_graceful_shutdown=STOP_SECONDS,
        limit_concurrency=MOST_CONNECTIONS, h11_max_incomplete_event_size=32 * 1024, backlog=BACKLOG,
        ssl_certfile=None if tls is None else tls.certificate, ssl_keyfile=None if tls is None else tls.key,
    )  # fmt: skip


async def serve(server: uvicorn.Server, listening: socket.socket) -> None:
    """Serve until cancelled, then end in order: open answers get a moment, WebSockets are closed."""
    task = asyncio.create_task(server.serve(sockets=[listening]), name="http")
    try:
        await asyncio.shield(task)
    finally:
        server.should_exit = True
        await asyncio.wait({task}, timeout=STOP_SECONDS + 2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _sign_heads(parts: Parts) -> None:
    """A signed head of the audit log every ten minutes in which it grew."""

    async def attempt() -> None:
        while True:
            await parts.clock.sleep(CHECKPOINT_SECONDS)
            await sign_head(parts.catalogue, parts.audit_key, parts.clock.wall_ns())

    def told(error: Exception, _wait_seconds: float) -> None:
        if isinstance(error, CatalogueError):
            log.warning("the audit log's head could not be signed: %s", error)

    await keep_running("checkpoints", attempt, clock=parts.clock, on_error=told)


def main() -> None:
    """`python -m web.api.process --data DIR`; `vms up` adds `--socket FD`, the door that it holds open."""
    parser = argparse.ArgumentParser(prog="web.api.process")
    parser.add_argument("--socket", type=int)
    site, arguments = site_of(parser)
    with contextlib.ExitStack() as held:
        door = None if arguments.socket is None else held.enter_context(socket.socket(fileno=arguments.socket))
        run_process(lambda: run_web(site, lambda address: log.info("serving at %s", address), listening=door))


if __name__ == "__main__":
    main()
