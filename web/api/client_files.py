"""The built client as files: the page itself, never kept by browsers, and hashed assets, kept for ever.

Owns which files may be had (those that are in the folder when the process starts, by exact name) and the policy under
which the page runs. `__CSP_NONCE__` in the page becomes a fresh nonce at each delivery, for the style elements that the
component kit makes. Any other address that is no interface's gives the page too: the client has its own routes.
"""

from __future__ import annotations

import mimetypes
import secrets
from dataclasses import dataclass
from pathlib import Path

from starlette.responses import Response

from web.api.problems import problem
from web.identity.refusals import Code

DIST = Path(__file__).parents[1] / "client" / "dist"
ASSETS = "assets/"  # names in here carry a hash of their content
NONCE = "__CSP_NONCE__"
_TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}


def page_policy(nonce: str) -> str:
    """Only our own origin; no inline script; styles of our own, or with this delivery's nonce."""
    return (
        "default-src 'none'; script-src 'self'; "
        f"style-src 'self' 'nonce-{nonce}'; img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self'; "
        "connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'; object-src 'none'"
    )


@dataclass(frozen=True)
class ClientFiles:
    """The files of one build."""

    files: dict[str, Path]

    @classmethod
    def of(cls, folder: Path = DIST) -> ClientFiles:
        """What is in the folder now; nothing where it was not built."""
        found = [p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()] if folder.is_dir() else []
        return cls({p.relative_to(folder).as_posix(): p for p in found})

    def answer(self, path: str) -> Response:
        """The file under this path without its leading slash, the page for a path of the client's own, or 404."""
        file = self.files.get(path)
        if file is not None and path != "index.html":
            return self._file(path, file)
        page = self.files.get("index.html")
        if page is None or path.startswith(ASSETS) or ("." in path.rpartition("/")[2] and path != "index.html"):
            return problem(Code.NOT_FOUND)
        nonce = secrets.token_urlsafe(18)
        content = page.read_text(encoding="utf-8").replace(NONCE, nonce)
        headers = {"Cache-Control": "no-store", "Content-Security-Policy": page_policy(nonce)}
        return Response(content, media_type="text/html; charset=utf-8", headers=headers)

    def _file(self, path: str, file: Path) -> Response:
        kept = path.startswith(ASSETS)
        headers = {"Cache-Control": "public, max-age=31536000, immutable" if kept else "no-cache"}
        kind = _TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        return Response(file.read_bytes(), media_type=kind, headers=headers)
