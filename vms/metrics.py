"""The figures every process keeps for Prometheus, and the small server that shows them.

Owns the names, labels and meanings of all metrics (docs/reference/metrics.md repeats them; a test compares). No global
registry: a process creates one `Metrics` and hands it down. Each process serves its own on a Unix socket in the data
folder; `vms up` merges those into one page, on which every sample says its `process`.

Labels: `camera` is the camera's number, `stream` main, sub or audio. No label ever holds text from a camera.

A gauge says nothing until it is set, and nothing again once it is set to `UNKNOWN`: a 0 on a page is always a measured 0.
"""

# ruff: noqa: RUF009 - `_metric` makes a field, as `dataclasses.field` does

from __future__ import annotations

import contextlib
import hmac
import http.client
import math
import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from vms.errors import UserError
from vms.settings import Listen, Secret

PREFIX = "stroz_"
UNKNOWN = math.nan  # the value of a gauge that has nothing to say; such samples are on no page
_STREAM = ("camera", "stream")
_SCRAPE_TIMEOUT_S = 2.0
_MAX_PAGE_BYTES = 16 * 2**20
_LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)


def _metric(name: str, doc: str, labels: tuple[str, ...] = (), buckets: tuple[float, ...] | None = None) -> Any:
    return field(metadata={"name": PREFIX + name, "doc": doc, "labels": labels, "buckets": buckets})


@dataclass(frozen=True, slots=True)
class Metrics:
    """All metrics of one process. A process that has nothing to say about one leaves it alone."""

    registry: CollectorRegistry
    access_units: Counter = _metric("access_units_total", "Pictures and audio frames received.", _STREAM)
    received_bytes: Counter = _metric("received_bytes_total", "Bytes of media received, without protocol.", _STREAM)
    damaged_units: Counter = _metric(
        "damaged_units_total", "Access units kept although something before them was lost.", _STREAM
    )
    lost_packets: Counter = _metric("lost_packets_total", "RTP packets that never came.", _STREAM)
    recording: Gauge = _metric("recording", "1 while access units are being written, else 0.", _STREAM)
    last_unit_timestamp: Gauge = _metric(
        "last_access_unit_timestamp_seconds", "UTC of the last access unit; time() less this is its age.", _STREAM
    )
    clock_offset: Gauge = _metric(
        "camera_clock_offset_seconds", "The camera's clock less ours, by its sender reports.", _STREAM
    )
    host_clock_synchronised: Gauge = _metric(
        "host_clock_synchronised", "1 while the kernel calls this machine's clock synchronised, else 0."
    )
    host_clock_offset: Gauge = _metric(
        "host_clock_offset_seconds", "What the kernel still has to correct; above 0: our clock is behind."
    )
    host_clock_max_error: Gauge = _metric(
        "host_clock_max_error_seconds", "Bound of the error of this machine's clock, by the kernel."
    )
    gaps: Counter = _metric("gaps_total", "Gaps that began, by reason.", (*_STREAM, "reason"))
    gap_seconds: Counter = _metric(
        "gap_seconds_total", "Seconds not recorded, counted when a gap ends.", (*_STREAM, "reason")
    )
    connections: Counter = _metric(
        "connections_total", "Attempts to receive a stream, by result.", (*_STREAM, "result")
    )
    stream_bugs: Counter = _metric("stream_bugs_total", "Unexpected exceptions that ended an attempt.", _STREAM)
    segments_sealed: Counter = _metric("segments_sealed_total", "Segments finished in the spool.", _STREAM)
    loop_lag: Histogram = _metric("loop_lag_seconds", "How late the event loop ran a timer.", (), _LAG_BUCKETS)
    worker_restarts: Counter = _metric("worker_restarts_total", "Recorder workers replaced, by cause.", ("cause",))
    flush_seconds: Histogram = _metric(
        "spool_flush_seconds", "Time of one group flush of the spool.", (), _LATENCY_BUCKETS
    )
    spool_bytes: Gauge = _metric("spool_bytes", "Bytes in the spool: open, sealed.", ("state",))
    spool_free_bytes: Gauge = _metric("spool_free_bytes", "Room of the spool by its budget and reserve.")
    spool_hours: Gauge = _metric("spool_hours", "Hours of recording the spool still has room for at the present rate.")
    spool_given_up_streams: Gauge = _metric(
        "spool_given_up_streams", "Streams of a worker that are not recorded because the spool has no room."
    )
    feed_subscribers: Gauge = _metric("feed_subscribers", "Open subscriptions to the feed.")
    feed_dropped_units: Counter = _metric(
        "feed_dropped_units_total", "Access units not sent to a subscriber that was too slow."
    )
    published_sessions: Gauge = _metric(
        "published_sessions", "RTSP sessions that watch published streams.", ("consumer",)
    )
    live_sessions: Gauge = _metric("live_sessions", "WebRTC sessions of the live gateway.")
    live_sources: Gauge = _metric("live_sources", "Streams the live gateway reads.")
    live_offers: Counter = _metric(
        "live_offers_total", "Offers of browsers, by result: answered, or the code of the refusal.", ("result",)
    )
    live_answer_seconds: Histogram = _metric(
        "live_answer_seconds", "Time from an offer to its answer.", (), _LATENCY_BUCKETS
    )
    live_connect_seconds: Histogram = _metric(
        "live_connect_seconds", "Time from an answer to keys for media.", (), _LATENCY_BUCKETS
    )
    live_packets: Counter = _metric("live_packets_total", "RTP packets sent to viewers.")
    live_bytes: Counter = _metric("live_bytes_total", "Their bytes.")
    live_retransmitted: Counter = _metric("live_retransmitted_packets_total", "RTP packets sent to viewers again.")
    live_dropped_units: Counter = _metric("live_dropped_units_total", "Pictures left out for viewers that were behind.")
    live_key_requests: Counter = _metric("live_key_requests_total", "Requests of viewers for a key picture.")
    live_unwelcome: Counter = _metric(
        "live_unwelcome_datagrams_total", "Datagrams that were dropped unread, by what was wrong.", ("why",)
    )
    store_backlog_segments: Gauge = _metric(
        "store_backlog_segments", "Sealed segments that are not in the object store yet."
    )
    store_backlog_bytes: Gauge = _metric("store_backlog_bytes", "Their bytes.")
    upload_seconds: Histogram = _metric(
        "upload_seconds", "Time of one upload, read back included.", (), _LATENCY_BUCKETS
    )
    uploaded_bytes: Counter = _metric("uploaded_bytes_total", "Bytes put into the object store.")
    upload_failures: Counter = _metric(
        "upload_failures_total", "Uploads that failed and will be repeated, by error.", ("error",)
    )
    catalogue_failures: Counter = _metric(
        "catalogue_failures_total", "Catalogue calls that failed, by error.", ("error",)
    )
    deleted_segments: Counter = _metric("deleted_segments_total", "Segments that retention deleted.")
    deleted_bytes: Counter = _metric("deleted_bytes_total", "Their bytes.")
    retention_braked: Gauge = _metric("retention_braked", "1 while the clock brake keeps retention from deleting.")
    retention_off: Gauge = _metric("retention_off", "1 while nothing is deleted because the catalogue was rebuilt.")
    camera_recording: Gauge = _metric(
        "camera_recording",
        "1 while all of a camera that should be recorded is, as `vms status` judges it, also when its recorder is dead.",
        ("camera",),
    )
    alarms_active: Gauge = _metric("alarms_active", "Alarms that were raised and have not ended, by kind.", ("kind",))
    alarm_messages: Counter = _metric(
        "alarm_messages_total",
        "Alarm messages handed over, or not: webhook or email; sent, or failed and tried again.",
        ("destination", "result"),
    )
    alarm_messages_waiting: Gauge = _metric(
        "alarm_messages_waiting", "Alarm messages not handed over yet.", ("destination",)
    )
    web_requests: Counter = _metric(
        "web_requests_total", "Requests answered, by method and class of status.", ("method", "status")
    )
    web_request_seconds: Histogram = _metric(
        "web_request_seconds", "Time from a request to the end of its answer.", (), _LATENCY_BUCKETS
    )
    web_connections_refused: Counter = _metric(
        "web_connections_refused_total", "Connections that were closed: more from one address than there may be."
    )
    web_sockets: Gauge = _metric("web_sockets", "Open WebSockets, one for each page that somebody has open.")
    sign_ins: Counter = _metric("sign_ins_total", "Attempts to sign in, by result.", ("result",))
    live_views: Gauge = _metric("live_views", "Live pictures that are being watched.")
    live_views_ended: Counter = _metric(
        "live_views_ended_total", "Live views that ended: closed, gone (the browser went away) or revoked.", ("why",)
    )
    live_view_setup_seconds: Histogram = _metric(
        "live_view_setup_seconds",
        "Time from an offer to its answer, the gateway's part included.",
        (),
        _LATENCY_BUCKETS,
    )
    viewer_first_frame_seconds: Histogram = _metric(
        "viewer_first_frame_seconds", "Time from request to first picture, as browsers report it.", (), _LATENCY_BUCKETS
    )
    viewer_tiles: Gauge = _metric(
        "viewer_tiles", "Tiles of all pages by what they say of their picture: live, delayed or lost.", ("state",)
    )
    viewer_freezes: Counter = _metric("viewer_freezes_total", "Pictures that stood still, as browsers report it.")
    viewer_dropped_frames: Counter = _metric(
        "viewer_dropped_frames_total", "Frames that browsers received and did not show, as they report it."
    )

    @classmethod
    def create(cls, registry: CollectorRegistry | None = None) -> Metrics:
        """New metrics in a new registry, with the operating system's figures about this process."""
        registry = registry or CollectorRegistry()
        ProcessCollector(registry=registry)
        kinds = {"Counter": Counter, "Gauge": Gauge, "Histogram": Histogram}
        made: dict[str, Any] = {}
        for f in metric_fields():
            facts, options = f.metadata, {}
            if facts["buckets"]:
                options["buckets"] = facts["buckets"]
            metric = made[f.name] = kinds[str(f.type)](
                facts["name"], facts["doc"], facts["labels"], registry=registry, **options
            )
            if isinstance(metric, Gauge) and not facts["labels"]:
                metric.set(UNKNOWN)
        return cls(registry, **made)

    def page(self) -> bytes:
        """What is known, in Prometheus's text format."""
        known = CollectorRegistry(auto_describe=False)
        known.register(_Known(self.registry))
        return generate_latest(known)


def metric_fields() -> list[Any]:
    """The fields of `Metrics` that are metrics, in order; `metadata` has name, doc, labels, buckets."""
    return [f for f in fields(Metrics) if f.metadata]


class _Known(Collector):
    """A registry without the gauges that have nothing to say."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            if family.type == "gauge":
                family.samples = [s for s in family.samples if not math.isnan(s.value)]
            if family.samples:
                yield family


class MetricsServer:
    """Serves one page under /metrics from a thread of its own, so that a busy event loop is seen, not hidden.

    `with MetricsServer.start(...) as server:`; `server.listen` has the real port. GET only, one answer a connection.
    """

    def __init__(self, server: ThreadingHTTPServer, listen: Listen | None, socket_path: Path | None) -> None:
        self._server = server
        self.listen = listen
        self._socket_path = socket_path
        self._inode = socket_path.stat().st_ino if socket_path else 0
        self._thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="metrics", daemon=True)

    @classmethod
    def start(cls, page: Callable[[], bytes], at: Listen | Path, token: Secret | None = None) -> Self:
        """Listen at an address or a Unix socket; UserError when that is taken."""
        request_class = _request_class(page, token or Secret())
        try:
            if isinstance(at, Path):
                server: ThreadingHTTPServer = _UnixServer(at, request_class)
                made = cls(server, None, at)
            else:
                server = _TcpServer((at.host, at.port), request_class)
                made = cls(server, Listen(at.host, server.server_address[1]), None)
        except (OSError, OverflowError) as error:
            raise UserError(f"metrics cannot be served at {at}: {error}; set metrics.listen") from error
        made._thread.start()
        return made

    def stop(self) -> None:
        """End it. The socket's name goes too, unless a successor has put its own there."""
        self._server.shutdown()
        if self._socket_path:
            with contextlib.suppress(FileNotFoundError):
                if self._socket_path.stat().st_ino == self._inode:  # ours until closed: no other has that number
                    self._socket_path.unlink()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def gather(sockets: Mapping[str, Path]) -> bytes:
    """One page of the processes that serve on `sockets`, each sample labelled `process`.

    A process that does not answer within 2 s is left out, and `stroz_process_up` says so.
    """
    pages = {name: _scrape(path) for name, path in sockets.items()}
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Merged(pages))
    return generate_latest(registry)


class _Merged(Collector):
    """Families of several pages as one, the name of its page added to each sample."""

    def __init__(self, pages: Mapping[str, str | None]) -> None:
        self._pages = pages

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        up = Metric(f"{PREFIX}process_up", "1 when the process answered with its metrics.", "gauge")
        merged: dict[str, Metric] = {}
        for process, page in self._pages.items():
            families: list[Metric] = []
            if page is not None:
                with contextlib.suppress(ValueError):  # a page cut short counts as no answer
                    families = list(text_string_to_metric_families(page))
            up.add_sample(up.name, {"process": process}, 1.0 if families else 0.0)
            for family in families:
                if family.name.endswith("_created"):
                    continue  # when a series began: twice the size, and no use to us
                into = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    into.add_sample(sample.name, {**sample.labels, "process": process}, sample.value)
        yield up
        yield from merged.values()


def _scrape(path: Path) -> str | None:
    connection = _UnixConnection(path)
    try:
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        body = response.read(_MAX_PAGE_BYTES)
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return body.decode("utf-8", "replace") if response.status == 200 else None


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_SCRAPE_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_SCRAPE_TIMEOUT_S)
        self.sock.connect(str(self._path))


class _TcpServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], request_class: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, request_class)


class _UnixServer(ThreadingHTTPServer):
    address_family = socket.AF_UNIX
    daemon_threads = True
    block_on_close = False

    def __init__(self, path: Path, request_class: type[BaseHTTPRequestHandler]) -> None:
        path.unlink(missing_ok=True)  # of a process that was killed
        super().__init__(str(path), request_class)  # type: ignore[arg-type]  # typeshed knows only internet addresses

    def server_bind(self) -> None:
        self.socket.bind(self.server_address)
        os.chmod(str(self.server_address), 0o600)
        self.server_name, self.server_port = "localhost", 0


def _request_class(page: Callable[[], bytes], token: Secret) -> type[BaseHTTPRequestHandler]:
    class Request(BaseHTTPRequestHandler):
        timeout = 5.0

        def do_GET(self) -> None:
            given = self.headers.get("Authorization", "")
            if token and not hmac.compare_digest(given.encode(), f"Bearer {token.reveal()}".encode()):
                self.send_error(401, "metrics.token is needed as bearer token")
                return
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(404, "only /metrics is here")
                return
            body = page()
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE_LATEST)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            return "client"  # a Unix socket's peer has no address to index into

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
            """Scrapes are not logged."""

    return Request
