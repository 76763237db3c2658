"""Which STUN and TURN servers a browser is told of, as the `Link` headers of WHEP (draft-ietf-wish-whep §4.4).

TURN credentials are made for each session from a secret shared with the TURN server and run out by themselves (coturn's
`use-auth-secret`, "TURN REST API"): the user name is the time of their end. Pure.
"""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass

from vms.timeline import SECOND_NS

CREDENTIAL_SECONDS = 3600  # needed while a session begins; one that goes on keeps its allocation


@dataclass(frozen=True)
class IceServers:
    """Empty texts: none."""

    stun_url: str = ""
    turn_url: str = ""
    turn_secret: str = ""

    def links(self, now_ns: int) -> list[str]:
        """Values of `Link` headers."""
        links = [f'<{self.stun_url}>; rel="ice-server"'] if self.stun_url else []
        if self.turn_url and self.turn_secret:
            name = str(now_ns // SECOND_NS + CREDENTIAL_SECONDS)
            mac = hmac.digest(self.turn_secret.encode(), name.encode(), "sha1")
            credential = base64.b64encode(mac).decode()
            links.append(
                f'<{self.turn_url}>; rel="ice-server"; username="{name}"; credential="{credential}"; '
                'credential-type="password"'
            )
        return links
