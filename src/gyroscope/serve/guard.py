"""Who may ask: the Host header against DNS rebinding, the key against strangers."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from functools import lru_cache

import msgspec

from gyroscope.errors import RequestError

OPEN_PATHS = frozenset({"/healthz", "/readyz"})  # answered without a key
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})

_HOST = re.compile(r"(\[(?P<ipv6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))(:[0-9]{1,5})?")


class Guard(msgspec.Struct, frozen=True, kw_only=True):
    """What a request must show before anything of it is read."""

    hosts: frozenset[str] | None = LOOPBACK_HOSTS  # names the server answers to; None for any
    key: str | None = None  # expected as "Authorization: Bearer KEY"; None lets everybody in

    def check(self, path: str, headers: dict[bytes, bytes]) -> None:
        """Let the request pass.

        Raises:
            RequestError: 421 for a foreign Host header, 401 for a missing or wrong key.
        """
        if self.hosts is not None and _host_name(headers.get(b"host", b"")) not in self.hosts:
            # a page of another site whose name was pointed at this machine would send its own name
            raise RequestError(
                421, f"this server answers to {', '.join(sorted(self.hosts))} in the Host header"
            )
        if self.key is not None and path not in OPEN_PATHS and not self._knows_key(headers):
            raise RequestError(401, 'send the key of this server: "Authorization: Bearer KEY"')

    def _knows_key(self, headers: dict[bytes, bytes]) -> bool:
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        expected = (self.key or "").encode()
        # digests have one length, so the time taken does not tell the length of the key
        same = hmac.compare_digest(
            hashlib.sha256(given.strip()).digest(), hashlib.sha256(expected).digest()
        )
        return scheme.lower() == b"bearer" and same


LOOPBACK_ONLY = Guard()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@lru_cache(maxsize=64)  # clients say the same each time
def _host_name(header: bytes) -> str:
    """The host of a Host header without its port, in lower case; empty if it is none."""
    match = _HOST.fullmatch(header.decode("latin-1").lower())
    return "" if match is None else match["ipv6"] or match["name"]
