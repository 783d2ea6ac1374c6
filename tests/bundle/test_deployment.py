from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gyroscope.bundle.deployment import Canary, Deployed, Deployment, Versions
from gyroscope.errors import BundleError


def version(number: int) -> Deployed:
    return Deployed(model="churn", version=number, bundle=f"/bundles/{number}")


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path / "serving" / "churn")


def test_nothing_is_deployed_at_first(deployment: Deployment) -> None:
    assert deployment.read() is None


def test_what_was_written_last_is_read(deployment: Deployment) -> None:
    deployment.write(version(1), None)
    assert deployment.read() == Versions(champion=version(1))
    canary = Canary(deployed=version(3), percent=12.5)
    deployment.write(version(2), version(1), canary)
    whole = Versions(champion=version(2), previous=version(1), canary=canary)
    assert deployment.read() == whole
    assert [file.name for file in deployment.folder.iterdir()] == ["deployed.json"]


def test_a_reader_meanwhile_sees_one_or_the_other_whole(deployment: Deployment) -> None:
    deployment.write(version(0), None)
    pairs = [
        Versions(champion=version(k), previous=version(k - 1) if k else None) for k in range(300)
    ]
    with ThreadPoolExecutor(3) as threads:
        writes = [
            threads.submit(deployment.write, version(k), version(k - 1)) for k in range(1, 300)
        ]
        while not all(write.done() for write in writes):
            assert deployment.read() in pairs
        for write in writes:
            write.result()
    assert deployment.read() in pairs


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff", b"{}", b'{"champion": {"model": "churn"}}', b"[" * 10**5]
)
def test_a_damaged_file_is_an_error_that_names_it(deployment: Deployment, content: bytes) -> None:
    deployment.write(version(1), None)
    deployment.path.write_bytes(content)
    with pytest.raises(BundleError, match=f"{deployment.path} is damaged"):
        deployment.read()
