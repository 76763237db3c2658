"""A port that nobody listens on, for a server of a test that must be told one."""

from __future__ import annotations

import socket


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """On loopback; free a moment ago. Who can bind port 0 itself does that instead."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
