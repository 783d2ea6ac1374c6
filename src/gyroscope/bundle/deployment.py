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


class Canary(msgspec.Struct, frozen=True, kw_only=True):
    """A version that serves a share of the entities beside the champion."""

    deployed: Deployed
    percent: float  # 0 to 100


class Versions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The versions of a model that servers keep in memory."""

    champion: Deployed
    previous: Deployed | None = None  # what a rollback goes to
    canary: Canary | None = None
    challenger: Deployed | None = None  # on trial: serves nothing, and can be asked to explain


class Deployment:
    """The deployed versions of one model, in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / _FILE

    def read(self) -> Versions | None:
        """What is deployed; None while nothing is.

        Raises:
            BundleError: the file is not what :meth:`write` wrote.
        """
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=Versions)
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BundleError(f"{self.path} is damaged: {error}") from None

    def write(
        self,
        champion: Deployed,
        previous: Deployed | None,
        canary: Canary | None = None,
        challenger: Deployed | None = None,
    ) -> None:
        """Replace the file in one atomic step; raises OSError if it cannot be written."""
        versions = Versions(
            champion=champion, previous=previous, canary=canary, challenger=challenger
        )
        write_atomically(self.path, msgspec.json.encode(versions))
