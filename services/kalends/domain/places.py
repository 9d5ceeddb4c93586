"""Where archives are: a folder, or a bucket with a prefix.

Belongs here: reading that out of a setting. Does not belong here: opening either (``adapters``). A newcomer would get wrong: a URL names no
server. A bucket is found where ``s3.url`` says, so that one place decides whom an installation speaks to.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from kalends.domain.errors import Misconfigured

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """An absolute path."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A bucket, and what the names in it begin with, without slashes at its ends; may be empty."""

    name: str
    prefix: str = ""


def place(text: str, *, setting: str) -> Folder | Bucket:
    """The place that *text* names: ``file:///folder`` or ``s3://bucket/prefix``.

    Raises:
        Misconfigured: it names none; the detail names the *setting*.
    """
    parts = urlsplit(text)
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/") and not parts.query and not parts.fragment:
        return Folder(path=unquote(parts.path))
    prefix = parts.path.strip("/")
    if parts.scheme == "s3" and _BUCKET.fullmatch(parts.netloc) and (not prefix or _PREFIX.fullmatch(prefix)) and not parts.query:
        return Bucket(name=parts.netloc, prefix=prefix)
    raise Misconfigured(f"{setting}: write file:///folder or s3://bucket/prefix")


def endpoint(bucket: Bucket, *, url: str, region: str, virtual: bool) -> str:
    """Where *bucket* is asked for: at the server *url*, or Amazon's of *region*; *virtual*: its name is part of the host's.

    Raises:
        Misconfigured: the URL is none of a server.
    """
    base = (url or f"https://s3.{region}.amazonaws.com").rstrip("/")
    scheme, _, rest = base.partition("://")
    if scheme not in {"http", "https"} or not rest or "/" in rest:
        raise Misconfigured("s3.url: write https://host or https://host:port")
    return f"{scheme}://{bucket.name}.{rest}" if virtual else base
