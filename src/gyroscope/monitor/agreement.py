"""Do two profiles speak of the same columns and cells?"""

from __future__ import annotations

from gyroscope.data.profile import Profile
from gyroscope.errors import DataError


def check_agreement(reference: Profile, current: Profile) -> None:
    """Raise DataError unless two profiles can be compared."""
    if reference.spec is not current.spec and reference.spec != current.spec:
        raise DataError(
            "the window was counted on other cells than the reference; "
            "profile it with the spec of the reference"
        )
