"""Do two profiles speak of the same columns and cells?"""

from __future__ import annotations

from gyroscope.data.contract import Contract
from gyroscope.data.profile import Profile
from gyroscope.errors import DataError


def check_agreement(reference: Profile, current: Profile, contract: Contract | None = None) -> None:
    """Raise DataError unless two profiles can be compared, as columns of ``contract`` if given."""
    if reference.spec != current.spec:
        raise DataError(
            "the window was counted on other cells than the reference; "
            "profile it with the spec of the reference"
        )
    if contract is None:
        return
    names = [spec.name for spec in reference.spec.columns]
    if names != [column.name for column in contract.features]:
        raise DataError(
            "the profiles do not have the features of the contract as columns; "
            "profile with a spec made from this contract"
        )
