"""The socket through which people come in: opened once, by whoever holds it open over the web process's replacements.

Imports nothing that takes time: `vms up` opens it before anything else is loaded.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from vms.errors import UserError
from vms.settings import Listen

BACKLOG = 256


@contextmanager
def open_socket(listen: Listen) -> Iterator[socket.socket]:
    """A listening socket; UserError when the address cannot be had."""
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind((listen.host, listen.port))
            opened.listen(BACKLOG)
        except OSError as error:
            raise UserError(f"nothing can be served at {listen}: {error.strerror}; set web.listen") from error
        opened.setblocking(False)
        yield opened
    finally:
        opened.close()


def address_of(listening: socket.socket, *, tls: bool) -> str:
    host, port = listening.getsockname()[:2]
    return f"{'https' if tls else 'http'}://{Listen(host, port)}"
