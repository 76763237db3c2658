"""The live gateway's process: `vms live`, a child of `vms up` or alone."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
from collections.abc import Callable

from vms.clock import SystemClock
from vms.feed import FeedClient
from vms.metrics import Metrics, MetricsServer
from vms.processes import run_process, site_of
from vms.settings import Settings
from vms.settings_network import ip_addresses, port_range
from vms.site import Site
from web.live.certificates import Certificates
from web.live.gateway import GatewayApi, serve
from web.live.ice import AddressPolicy, policy_of
from web.live.session import Tools
from web.live.source import Sources
from web.live.srtp import Scratch
from web.live.udp_segment import kernel_segments
from web.live.viewing import Viewing

log = logging.getLogger(__name__)

METRICS_SOCKET = "live.metrics"


def address_policy(settings: Settings) -> AddressPolicy:
    """Where media goes out, by the settings: over loopback alone while the web listens there alone."""
    section = settings.live
    return policy_of(
        ip_addresses(section.addresses), port_range(section.udp_ports), loopback_only=settings.web.listen.is_loopback
    )


async def run_live(site: Site, on_start: Callable[[AddressPolicy], None] | None = None) -> None:
    """Build, run until cancelled, undo in reverse. UserError when it cannot start."""
    settings, metrics = site.settings, Metrics.create()
    logging.getLogger("aioice").setLevel(logging.WARNING)  # it tells of every check
    policy = address_policy(settings)
    async with contextlib.AsyncExitStack() as undo:
        undo.enter_context(MetricsServer.start(metrics.page, site.run / METRICS_SOCKET))
        tools = Tools(policy, Certificates(), SystemClock(), Scratch(), kernel_segments(), metrics)
        async with asyncio.TaskGroup() as tasks:
            sources = Sources(tasks, metrics)
            viewing = Viewing(FeedClient(settings.feed.socket), sources, tools, settings.live.max_sessions)
            lease = tasks.create_task(viewing.watch_lease(), name="lease")
            try:
                async with serve(GatewayApi(viewing).application(), site.live_socket):
                    log.info(
                        "live gateway on %s, %s UDP segmentation",
                        ", ".join(policy.addresses),
                        "with" if tools.segments else "without",
                    )
                    if on_start is not None:
                        on_start(policy)
                    await asyncio.Event().wait()
            finally:
                lease.cancel()
                await viewing.close()
                sources.close()


def main() -> None:
    """`python -m web.live.process --data DIR`; `vms up` starts it."""
    site, _ = site_of(argparse.ArgumentParser(prog="web.live.process"))
    run_process(lambda: run_live(site))


if __name__ == "__main__":
    main()
