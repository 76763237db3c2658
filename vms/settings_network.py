"""Addresses, ports, servers and mail addresses as texts of settings: what they mean, and what is wrong with them.

`check_…` returns what is wrong, or nothing, as `vms.settings.Limits.check` wants it.
"""

from __future__ import annotations

import ipaddress
import re

from vms.errors import UserError


def ip_addresses(text: str) -> tuple[str, ...]:
    """`10.0.0.5, fd00::5` as addresses in their usual form. UserError when it is something else."""
    found = []
    for part in text.split(",") if text.strip() else ():
        try:
            address = ipaddress.ip_address(part.strip())
        except ValueError as error:
            raise UserError('must be IP addresses with commas between them, such as "10.0.0.5, fd00::5"') from error
        if address.is_unspecified or address.is_multicast:
            raise UserError("must name addresses of this machine, not all of them or a group's")
        found.append(str(address))
    return tuple(dict.fromkeys(found))


def check_ip_addresses(text: str) -> str | None:
    try:
        ip_addresses(text)
    except UserError as error:
        return str(error)
    return None


def port_range(text: str) -> range | None:
    """`50000-50199` as ports; None for an empty text. UserError when it is something else."""
    if not text:
        return None
    match = re.fullmatch(r"(\d{1,5})-(\d{1,5})", text, re.ASCII)
    if match is None or not 1024 <= int(match[1]) <= int(match[2]) <= 65_535:
        raise UserError('must be ports from 1024 to 65535, such as "50000-50199"')
    return range(int(match[1]), int(match[2]) + 1)


def check_port_range(text: str) -> str | None:
    try:
        port_range(text)
    except UserError as error:
        return str(error)
    return None


def _ice_url(text: str, schemes: str, example: str) -> str | None:
    host = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)"
    if text and not re.fullmatch(rf"({schemes}):{host}(:\d{{1,5}})?(\?transport=(udp|tcp))?", text):
        return f"must be such as {example}"
    return None


def check_stun_url(text: str) -> str | None:
    return _ice_url(text, "stuns?", "stun:10.0.0.9:3478")


def check_turn_url(text: str) -> str | None:
    return _ice_url(text, "turns?", "turn:10.0.0.9:3478?transport=tcp")


def check_endpoint(text: str) -> str | None:
    if not text:
        return None
    if "://" in text or "/" in text:
        return 'must be "host:port" without scheme and path; TLS is switched by store.tls'
    return None if re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?", text) else 'must be "host:port"'


def check_mail_address(text: str) -> str | None:
    return check_mail_addresses(text) if "," not in text else "must be one address, such as stroz@example.pl"


def check_mail_addresses(text: str) -> str | None:
    for address in text.split(",") if text else ():
        if len(address) > 254 or not re.fullmatch(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9.-]+", address.strip()):
            return "must be mail addresses with commas between them, such as it@example.pl, dyzurny@example.pl"
    return None
