"""The built client as files: the page itself, never kept by browsers, and hashed assets, kept for ever.

Owns which files may be had (those that are in the folder when the process starts, by exact name), in which form (as the build
compressed them, where the browser takes that), and the policy under which the page runs. Any other address that is no
interface's gives the page too: the client has its own routes.
"""

from __future__ import annotations

import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from starlette.responses import Response

from web.api.problems import problem
from web.identity.refusals import Code

DIST = Path(__file__).parents[1] / "client" / "dist"
ASSETS = "assets/"  # names in here carry a hash of their content
# Only our own origin; no inline script and no inline style.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "font-src 'self'; connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'"
)
CODINGS = {"br": "br", "gz": "gzip"}  # by suffix, the smallest first
_TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}


@dataclass(frozen=True)
class Kept:
    """A file as it was when the process started. `encoded`: its smaller forms by content coding, the smallest first."""

    kind: str
    plain: bytes
    encoded: dict[str, bytes]
    digest: str

    @classmethod
    def of(cls, file: Path) -> Kept:
        plain = file.read_bytes()
        beside = ((coding, file.with_name(f"{file.name}.{suffix}")) for suffix, coding in CODINGS.items())
        encoded = {coding: there.read_bytes() for coding, there in beside if there.is_file()}
        kind = _TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        return cls(kind, plain, encoded, hashlib.sha256(plain).hexdigest()[:32])

    def form_for(self, accepted: str) -> tuple[str, bytes]:
        """Content coding and bytes for an Accept-Encoding (RFC 9110 §12.5.3); the coding of plain bytes is empty."""
        wanted = _weights(accepted)
        fits = (coding for coding in self.encoded if wanted.get(coding, wanted.get("*", 0.0)) > 0)
        coding = next(fits, "")
        return coding, self.encoded.get(coding, self.plain)


@dataclass(frozen=True)
class ClientFiles:
    """The files of one build."""

    files: dict[str, Kept]

    @classmethod
    def of(cls, folder: Path = DIST) -> ClientFiles:
        """What is in the folder now; nothing where it was not built. Smaller forms go by the name of the file they are of."""
        found = [p for p in folder.rglob("[!.]*") if p.is_file() and not p.is_symlink()] if folder.is_dir() else []
        own = [p for p in found if p.suffix[1:] not in CODINGS or not p.with_suffix("").is_file()]
        return cls({p.relative_to(folder).as_posix(): Kept.of(p) for p in own})

    def answer(self, path: str, *, accepted: str = "", known: str = "") -> Response:
        """The file under this path without its leading slash, the page for a path of the client's own, or 404.

        `accepted`, `known`: the request's Accept-Encoding and If-None-Match.
        """
        file = self.files.get(path)
        if file is not None and path != "index.html":
            return _file(path, file, accepted, known)
        page = self.files.get("index.html")
        if page is None or path.startswith(ASSETS) or ("." in path.rpartition("/")[2] and path != "index.html"):
            return problem(Code.NOT_FOUND)
        headers = {"Cache-Control": "no-store", "Content-Security-Policy": PAGE_POLICY}
        return Response(page.plain, media_type="text/html; charset=utf-8", headers=headers)


def _file(path: str, file: Kept, accepted: str, known: str) -> Response:
    coding, content = file.form_for(accepted)
    etag = f'"{file.digest}{coding and "-" + coding}"'
    kept = path.startswith(ASSETS)
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable" if kept else "no-cache",
        "ETag": etag,
        "Vary": "Accept-Encoding",
    }
    if etag in known or known.strip() == "*":
        return Response(status_code=304, headers=headers)
    if coding:
        headers["Content-Encoding"] = coding
    return Response(content, media_type=file.kind, headers=headers)


def _weights(accepted: str) -> dict[str, float]:
    """The q of each coding that an Accept-Encoding names; one that cannot be read counts as refused."""
    found = {}
    for one in accepted.lower().split(","):
        name, _, parameter = one.partition(";")
        weight = parameter.strip().removeprefix("q=")
        try:
            found[name.strip()] = float(weight) if parameter.strip() else 1.0
        except ValueError:
            found[name.strip()] = 0.0
    return found
