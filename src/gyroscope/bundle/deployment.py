"""Which bundle serves: a small file that the registry's side writes and servers watch.

The alias in the registry is the truth; this file is its copy beside the servers, so that they
need neither the registry nor its libraries and go on when it is down.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from gyroscope.data.files import write_atomically
from gyroscope.errors import BundleError

_FILE = "deployed.json"


class Deployed(msgspec.Struct, frozen=True, kw_only=True):
    """A version and where its bundle lies."""

    model: str
    version: int
    bundle: str  # absolute path of the bundle's folder


class _Content(msgspec.Struct, frozen=True, kw_only=True):
    champion: Deployed
    previous: Deployed | None = None


class Deployment:
    """The deployed champion of one model and the version before it, in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / _FILE

    def read(self) -> tuple[Deployed, Deployed | None] | None:
        """The champion and the previous version; None while nothing is deployed.

        Raises:
            BundleError: the file is not what :meth:`write` wrote.
        """
        try:
            content = msgspec.json.decode(self.path.read_bytes(), type=_Content)
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BundleError(f"{self.path} is damaged: {error}") from None
        return content.champion, content.previous

    def write(self, champion: Deployed, previous: Deployed | None) -> None:
        """Replace the file in one atomic step; raises OSError if it cannot be written."""
        content = msgspec.json.encode(_Content(champion=champion, previous=previous))
        write_atomically(self.path, content)
