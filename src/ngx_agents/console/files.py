"""The console's static files, read once and held in memory, ready to be sent.

A request can only reach what was found at start, so no path it names can leave the folder. All files share one
release name, a digest of every byte: pages link to `/static/<release>/…`, which may be cached for ever.
"""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import msgspec

CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
    "": "text/plain; charset=utf-8",  # the licences
}
COMPRESS_FROM_BYTES = 1024
RELEASE_MARK = b"{{release}}"


class StaticFile(msgspec.Struct, frozen=True, kw_only=True):
    """`zipped` is the gzip form, where that is smaller. Entity tags are quoted, as the header wants them."""

    body: bytes
    zipped: bytes | None
    content_type: str
    etag: str


class StaticFiles(msgspec.Struct, frozen=True, kw_only=True):
    """`files` maps a path below the folder, with forward slashes, to its file."""

    release: str
    files: dict[str, StaticFile]

    def find(self, path: str) -> tuple[StaticFile | None, bool]:
        """The file, and whether the path names this very release, so that the answer never changes.

        Another release's path finds today's file: during a rollout a page may meet a server of the other version.
        """
        release, _, rest = path.partition("/")
        if release == self.release:
            return self.files.get(rest), True
        if len(release) == len(self.release) and set(release) <= set("0123456789abcdef"):
            return self.files.get(rest), False
        return self.files.get(path), False


def load(folder: Path) -> StaticFiles:
    """Every file of a known type below `folder`; hidden ones are left out."""
    bodies = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in CONTENT_TYPES and not path.name.startswith(".")
    }
    digest = hashlib.sha256()
    for name, body in bodies.items():
        digest.update(f"{name}\0{len(body)}\0".encode())
        digest.update(body)
    release = digest.hexdigest()[:16]
    return StaticFiles(release=release, files={n: _file(n, b, release) for n, b in bodies.items()})


def _file(name: str, body: bytes, release: str) -> StaticFile:
    suffix = Path(name).suffix
    if suffix == ".html":
        body = body.replace(RELEASE_MARK, release.encode())
    zipped = gzip.compress(body, 9, mtime=0) if len(body) >= COMPRESS_FROM_BYTES else None
    return StaticFile(
        body=body,
        zipped=zipped if zipped is not None and len(zipped) < len(body) else None,
        content_type=CONTENT_TYPES[suffix],
        etag=f'"{hashlib.sha256(body).hexdigest()[:20]}"',
    )
