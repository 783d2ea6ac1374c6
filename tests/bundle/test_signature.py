"""Signed bundles: whose they may be, what the signature says, and what is said of all others."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

import gyroscope
from gyroscope.bundle.bundle import Bundle, read_bundle
from gyroscope.bundle.keys import OWN, Keys, public_key
from gyroscope.bundle.signature import Signature, is_valid, read_signature, signature_file
from gyroscope.errors import BundleError, ConfigError, ConflictError, NotFoundError, UsageError
from gyroscope.testing.worlds import tiny_bundle

BUNDLE = tiny_bundle(kind="trees")
RUN = "60e6866af71b453bad1f0760d2130254"
# The public key of test 2 of RFC 8032, section 7.1.
GOLDEN_KEY = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "keys")


@pytest.fixture
def folder(tmp_path: Path, keys: Keys) -> Path:
    BUNDLE.save(tmp_path / "bundle", signer=keys.signer(), run=RUN)
    return tmp_path / "bundle"


def refusal(folder: Path, keys: Keys) -> str:
    with pytest.raises(BundleError) as caught:
        Bundle.load(folder, trusted=keys.trusted())
    return str(caught.value)


# -- what is signed -------------------------------------------------------------------------------


def test_a_signed_bundle_loads_and_says_by_whom_and_from_which_run(
    folder: Path, keys: Keys
) -> None:
    verified = read_bundle(folder, trusted=keys.trusted())
    assert verified.signer == OWN
    assert verified.signature is not None
    assert verified.signature.key == keys.signer().key
    assert verified.signature.run == RUN
    assert Bundle.load(folder, trusted=keys.trusted()).contract == BUNDLE.contract


def test_the_signature_is_ed25519_over_the_manifest_and_the_run(folder: Path, keys: Keys) -> None:
    message = b"gyroscope bundle 1\nrun " + RUN.encode() + b"\n"
    message += (folder / "manifest.json").read_bytes()
    last = (folder / "manifest.sig").read_text().splitlines()[-1]
    loaded = serialization.load_pem_public_key(keys.public.read_bytes())
    assert isinstance(loaded, Ed25519PublicKey)
    loaded.verify(bytes.fromhex(last.removeprefix("ed25519 ")), message)


def test_the_same_result_signed_twice_is_the_same_bytes(
    folder: Path, tmp_path: Path, keys: Keys
) -> None:
    BUNDLE.save(tmp_path / "again", signer=Keys(keys.folder).signer(), run=RUN)
    for file in folder.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


def test_another_run_changes_the_signature_and_nothing_else(
    folder: Path, tmp_path: Path, keys: Keys
) -> None:
    BUNDLE.save(tmp_path / "again", signer=keys.signer(), run="another")
    again = {file.name: file.read_bytes() for file in (tmp_path / "again").iterdir()}
    assert {f.name for f in folder.iterdir() if again[f.name] != f.read_bytes()} == {"manifest.sig"}


def test_a_signature_holds_for_no_other_manifest_run_or_key(keys: Keys) -> None:
    made = read_signature(signature_file(b"{}", keys.signer(), RUN), Path("s"))
    assert is_valid(made, b"{}")
    assert not is_valid(made, b"{ }")
    assert not is_valid(Signature(key=made.key, run="other", value=made.value), b"{}")
    assert not is_valid(Signature(key=GOLDEN_KEY, run=RUN, value=made.value), b"{}")


# -- the files of the keys ------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_private_key_that_others_can_read_signs_nothing(keys: Keys, mode: int) -> None:
    keys.signer()
    file = keys.folder / "signing.key"
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(mode)
    with pytest.raises(ConfigError, match=rf"\(mode {mode:o}\): chmod 600 {file}"):
        keys.signer()


def test_a_public_key_of_another_private_key_is_noticed_and_kept(
    keys: Keys, tmp_path: Path
) -> None:
    keys.signer()
    former = keys.public.read_bytes()
    (keys.folder / "signing.key").unlink()
    with pytest.raises(ConfigError, match=r"signing\.pub is not the public key of .*signing\.key"):
        keys.signer()
    assert keys.public.read_bytes() == former
    keys.public.rename(tmp_path / "former.pub")
    again = keys.signer().key
    keys.add("former", str(tmp_path / "former.pub"))
    assert keys.trusted()[again] == "this workspace"
    assert "former" in keys.trusted().values()


# -- what is refused ------------------------------------------------------------------------------


def test_an_unsigned_bundle_is_refused_where_keys_count(tmp_path: Path, keys: Keys) -> None:
    BUNDLE.save(tmp_path / "bundle")
    keys.signer()
    assert refusal(tmp_path / "bundle", keys) == (
        f"bundle {tmp_path / 'bundle'} is unsigned; if you know who made it, vouch for it with: "
        f"gyro bundle sign {tmp_path / 'bundle'}"
    )
    assert Bundle.load(tmp_path / "bundle").contract == BUNDLE.contract


def test_a_workspace_without_keys_trusts_nobody(folder: Path, tmp_path: Path) -> None:
    assert "is signed by an unknown key" in refusal(folder, Keys(tmp_path / "none"))


def test_a_bundle_of_somebody_else_is_refused_until_his_key_is_added(
    folder: Path, keys: Keys, tmp_path: Path
) -> None:
    ours = Keys(tmp_path / "ours")
    ours.signer()
    key = keys.signer().key
    assert refusal(folder, ours) == (
        f"bundle {folder} is signed by an unknown key; if you trust its holder: "
        f"gyro keys add NAME {key}"
    )
    assert ours.add("berlin", str(keys.public)) == key
    assert read_bundle(folder, trusted=ours.trusted()).signer == "berlin"
    ours.remove("berlin")
    assert "unknown key" in refusal(folder, ours)


def test_a_manifest_that_was_altered_is_named(folder: Path, keys: Keys) -> None:
    manifest = folder / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"0.5", b"0.1"))
    message = f"{manifest} was altered: it is not the manifest that was signed"
    assert refusal(folder, keys) == message
    with pytest.raises(BundleError, match="was altered"):  # also where anybody may have signed
        Bundle.load(folder)


def test_the_signature_of_another_key_cannot_be_put_under_a_trusted_name(
    folder: Path, keys: Keys, tmp_path: Path
) -> None:
    manifest = (folder / "manifest.json").read_bytes()
    forged = signature_file(manifest, Keys(tmp_path / "others").signer(), RUN)
    other = Keys(tmp_path / "others").signer().key.encode()
    (folder / "manifest.sig").write_bytes(forged.replace(other, keys.signer().key.encode()))
    assert "was altered" in refusal(folder, keys)


def test_a_newer_format_says_so_whoever_signed_it(folder: Path, keys: Keys) -> None:
    manifest = folder / "manifest.json"
    text = manifest.read_bytes().replace(b'"format": 2', b'"format": 7')
    ours = f'"gyroscope": "{gyroscope.__version__}"'.encode()
    manifest.write_bytes(text.replace(ours, b'"gyroscope": "4.0.1"'))
    assert refusal(folder, keys) == (
        f"bundle {folder} has format 7, made by a later release (gyroscope 4.0.1); "
        "this release reads up to 3: upgrade gyroscope"
    )


def test_a_newer_signature_says_so(folder: Path, keys: Keys) -> None:
    path = folder / "manifest.sig"
    path.write_bytes(path.read_bytes().replace(b"signature 1", b"signature 2"))
    assert refusal(folder, keys) == (
        f"{path} may be made by a later release of gyroscope: upgrade it"
    )


# -- keys -----------------------------------------------------------------------------------------


def test_the_private_key_is_for_its_owner_alone_and_the_public_one_for_all(keys: Keys) -> None:
    before = os.umask(0)
    try:
        keys.signer()
        keys.export_key()
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in keys.folder.iterdir()}
    assert modes["signing.key"] == modes["model-signing.key"] == 0o600
    assert modes["signing.pub"] & 0o444 == 0o444
    assert len(modes) == 4


def test_a_key_is_made_once(keys: Keys) -> None:
    first = keys.signer().key
    assert Keys(keys.folder).signer().key == first
    keys.public.unlink()
    assert Keys(keys.folder).signer().key == first
    assert keys.trusted() == {first: OWN}


MAKE = """
import sys
from pathlib import Path
from gyroscope.bundle.keys import Keys
print(Keys(Path(sys.argv[1])).signer().key)
"""


def test_processes_that_start_at_once_agree_on_one_key(keys: Keys) -> None:
    command = [sys.executable, "-c", MAKE, str(keys.folder)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
    assert len({process.communicate()[0] for process in started}) == 1
    assert sorted(path.name for path in keys.folder.iterdir()) == ["signing.key", "signing.pub"]


def test_a_key_can_be_added_by_its_digits(keys: Keys) -> None:
    assert keys.add("golden", f" {GOLDEN_KEY.upper()}\n") == GOLDEN_KEY
    assert keys.add("golden", GOLDEN_KEY) == GOLDEN_KEY
    assert keys.trusted() == {GOLDEN_KEY: "golden"}
    assert public_key(str(keys.folder / "trusted" / "golden.pub")) == GOLDEN_KEY


def test_a_name_means_one_key(keys: Keys) -> None:
    keys.add("golden", GOLDEN_KEY)
    with pytest.raises(ConflictError, match="another key is called golden"):
        keys.add("golden", keys.signer().key)


@pytest.mark.parametrize("name", ["../golden", "", "a/b", "a.b"])
def test_a_name_is_no_path(keys: Keys, name: str) -> None:
    with pytest.raises(UsageError, match="use 1 to 64 letters"):
        keys.add(name, GOLDEN_KEY)
    with pytest.raises(UsageError, match="use 1 to 64 letters"):
        keys.remove(name)


def test_what_is_no_key_is_refused(keys: Keys, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory; expected an ed25519 public"):
        keys.add("a", str(tmp_path / "nowhere"))
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ConfigError, match="holds no public key"):
        keys.add("a", str(tmp_path / "text"))
    pem = (
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    (tmp_path / "ec.pub").write_bytes(pem)
    with pytest.raises(ConfigError, match="holds a key of another kind"):
        keys.add("a", str(tmp_path / "ec.pub"))
    with pytest.raises(NotFoundError, match="no trusted key is called a"):
        keys.remove("a")


@pytest.mark.parametrize("content", [b"", b"hello"])
def test_a_damaged_private_key_is_named_and_kept(keys: Keys, content: bytes) -> None:
    keys.folder.mkdir()
    (keys.folder / "signing.key").write_bytes(content)
    (keys.folder / "signing.key").chmod(0o600)
    with pytest.raises(ConfigError, match=r"signing\.key holds no private key"):
        keys.signer()
    assert (keys.folder / "signing.key").read_bytes() == content
