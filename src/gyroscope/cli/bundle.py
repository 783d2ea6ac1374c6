"""``gyro bundle``: look at bundles, verify, compare and sign them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from gyroscope.cli.options import (
    HERE,
    JsonOption,
    WorkspaceOption,
    console,
    opened,
    print_json,
    table,
)
from gyroscope.errors import GyroscopeError, UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from gyroscope.app import Workspace
    from gyroscope.bundle.base import Matrix
    from gyroscope.bundle.bundle import Bundle, Contents
    from gyroscope.bundle.difference import Change, Difference
    from gyroscope.bundle.verified import Verified

app = typer.Typer(no_args_is_help=True, help="Look at bundles; verify, compare and sign them.")

TargetArgument = Annotated[
    str,
    typer.Argument(
        help="Folder of a bundle, or MODEL, MODEL@ALIAS, MODEL@VERSION; a model alone is its "
        "champion.",
        show_default=False,
    ),
]

_MOST_ROWS = 20_000  # that two bundles are compared on
_SHOWN = 60  # characters of a value in a table
_DIGEST = re.compile(r"[0-9a-f]{64}")


class _Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a bundle lies, and what the registry calls it."""

    folder: Path
    name: str
    version: int | None = None


@app.command()
def inspect(
    bundle: TargetArgument, workspace: WorkspaceOption = HERE, json: JsonOption = False
) -> None:
    """Show what a bundle says of itself; it must be intact, but may be anybody's.

    Nothing is built of it: of an estimator of somebody's own the types are told.
    """
    from gyroscope.bundle.bundle import Contents, read_bundle
    from gyroscope.bundle.trust import trust_in

    place = _place(bundle, workspace)
    verified = read_bundle(place.folder)
    said = Contents.read(verified, place.folder)
    summary = _summary(place, verified, said, trust_in(workspace).keys)
    if json:
        print_json(summary)
        return
    console().print(_summary_table(place, summary))


@app.command()
def verify(
    bundle: TargetArgument,
    key: Annotated[
        list[str] | None,
        typer.Option(
            help="Public key that must have signed it, as hexadecimal digits or PEM file; "
            "repeatable. Default: the keys that the workspace trusts."
        ),
    ] = None,
    workspace: WorkspaceOption = HERE,
    json: JsonOption = False,
) -> None:
    """Check signature and files as a server does; exit code 1 if it would refuse them."""
    from gyroscope.app import Workspace
    from gyroscope.bundle.bundle import Bundle, read_bundle
    from gyroscope.bundle.keys import public_key
    from gyroscope.bundle.trust import trust_in

    trusted = {public_key(k): "the key given" for k in key or ()}
    trusted = trusted or Workspace(workspace).keys.trusted()
    place = _place(bundle, workspace)
    try:
        verified = read_bundle(place.folder, trusted=trusted)
        Bundle.parse(verified, place.folder, trusted_types=trust_in(workspace).types)
    except GyroscopeError as error:
        if not json:
            raise
        print_json({"bundle": str(place.folder), "verified": False, "reason": str(error)})
        raise typer.Exit(error.exit_code) from None
    signed = _signed(verified, trusted)
    if json:
        intact = {"bundle": str(place.folder), "verified": True, "digest": verified.digest}
        print_json({**intact, **signed})
        return
    size = sum(map(len, verified.contents.values()))
    console().print(
        f"{place.name}: {len(verified.contents)} files, {size:,} bytes, all as signed by "
        f"{verified.signer} (key {signed['key']})"
    )


@app.command()
def diff(
    before: TargetArgument,
    after: TargetArgument,
    workspace: WorkspaceOption = HERE,
    json: JsonOption = False,
) -> None:
    """Show what changed between two bundles; exit code 0 if nothing, 1 if anything, 2 if trouble.

    Both are scored on the rows that the later one was trained on, if the workspace has them.
    """
    from gyroscope.bundle.difference import difference

    try:
        places = [_place(target, workspace) for target in (before, after)]
        old, new = (_parsed(place, workspace) for place in places)
    except GyroscopeError as error:
        raise UsageError(str(error)) from None
    rows, reason = _rows(old, new, workspace)
    found = difference(old, new, rows)
    if json:
        print_json(
            {
                "before": str(places[0].folder),
                "after": str(places[1].folder),
                "same": found.same,
                "changes": found.changes,
                "scores": found.scores,
                "why_no_scores": reason,
            }
        )
    else:
        _tell(found, places[0].name, places[1].name, reason)
    if not found.same:
        raise typer.Exit(1)


@app.command()
def sign(bundle: TargetArgument, workspace: WorkspaceOption = HERE) -> None:
    """Vouch for an unsigned bundle, such as one of an older release, with the workspace's key.

    It is loaded before it is signed, also an estimator of somebody's own: you vouch for that too.
    """
    from gyroscope.app import Workspace
    from gyroscope.bundle.bundle import Bundle, read_bundle
    from gyroscope.bundle.keys import OWN
    from gyroscope.bundle.signature import SIGNATURE, signature_file
    from gyroscope.bundle.trust import trust_in
    from gyroscope.bundle.verified import MANIFEST
    from gyroscope.data.files import write_atomically

    place = _place(bundle, workspace)
    verified = read_bundle(place.folder)
    if verified.signature is not None:
        raise UsageError(
            f"{place.name} is signed already; to trust who signed it: "
            f"gyro keys add NAME {verified.signature.key}"
        )
    vouched = msgspec.structs.replace(verified, signer=OWN)
    Bundle.parse(vouched, place.folder, trusted_types=trust_in(workspace).types)
    signer = Workspace(workspace).keys.signer()
    content = signature_file(verified.contents[MANIFEST], signer)
    write_atomically(place.folder / SIGNATURE, content)
    console().print(f"{place.name} is signed by this workspace now (digest {verified.digest}).")


@app.command()
def export_signature(
    bundle: TargetArgument,
    output: Annotated[Path, typer.Argument(help="File to write, outside the bundle.")],
    workspace: WorkspaceOption = HERE,
) -> None:
    """Write a signature in the format of OpenSSF Model Signing 1.0, for tools that verify it.

    That format has no ed25519, so it is made with an ECDSA key that is only for exports.
    """
    from gyroscope.app import Workspace
    from gyroscope.bundle.bundle import read_bundle
    from gyroscope.bundle.model_signing import model_signature
    from gyroscope.data.files import write_atomically

    keys = Workspace(workspace).keys
    place = _place(bundle, workspace)
    if output.resolve().is_relative_to(place.folder.resolve()):
        raise UsageError(f"{output} lies in the bundle, which has only the files of its manifest")
    verified = read_bundle(place.folder, trusted=keys.trusted())
    signature = model_signature(place.name.split()[0], verified.contents, keys.export_key())
    write_atomically(output, signature)
    out = console()
    out.print(f"{output} signs the files in {place.folder}. To verify it:")
    public = keys.folder / "model-signing.pub"
    out.print(
        f"  model_signing verify key {place.folder} --signature {output} --public_key {public}",
        soft_wrap=True,
    )


def _place(target: str, workspace: Path) -> _Place:
    """The bundle meant by a path, or by a model with alias or version; raises NotFoundError."""
    from gyroscope.bundle.verified import MANIFEST

    if (Path(target) / MANIFEST).exists() or "/" in target or target in (".", ".."):
        return _Place(folder=Path(target), name=target)
    name, _, which = target.partition("@")
    with opened(workspace) as space:
        model = space.model(name)
        version = int(which) if which.isdecimal() else _holder(space, model, which or "champion")
        folder = space.registry.bundle_folder(model, version)
    return _Place(folder=folder, name=f"{model} version {version}", version=version)


def _holder(space: Workspace, model: str, alias: str) -> int:
    from gyroscope.errors import NotFoundError

    holder = space.registry.holder(model, alias)
    if holder is None:
        raise NotFoundError(
            f"no version of {model} has alias {alias!r}; see: gyro versions {model}"
        )
    return holder.version


def _parsed(place: _Place, workspace: Path) -> Bundle:
    """The bundle, whoever made it, but an estimator of somebody's own only of a trusted key."""
    from gyroscope.bundle.bundle import Bundle, read_bundle
    from gyroscope.bundle.trust import trust_in

    trust = trust_in(workspace)
    verified = read_bundle(place.folder, trusted=trust.keys, anyone=True)
    return Bundle.parse(verified, place.folder, trusted_types=trust.types)


def _signed(verified: Verified, names: dict[str, str]) -> dict[str, Any]:
    found = verified.signature
    if found is None:
        return {"key": None, "signer": None, "run": None}
    return {"key": found.key, "signer": names.get(found.key), "run": found.run or None}


def _summary(
    place: _Place, verified: Verified, said: Contents, names: dict[str, str]
) -> dict[str, Any]:
    return {
        "bundle": str(place.folder),
        "version": place.version,
        "digest": verified.digest,
        "bytes": sum(map(len, verified.contents.values())),
        "signature": _signed(verified, names),
        "manifest": said.manifest,
        "contract": said.contract,
        "own_types": said.own_types,
    }


def _summary_table(place: _Place, summary: dict[str, Any]) -> Table:
    manifest, signed = summary["manifest"], summary["signature"]
    shown = table(place.name, ("what", "value"))
    if signed["key"] is None:
        by = "nobody"
    else:
        by = f"{signed['signer'] or 'a key that is not trusted here'}, {signed['key']}"
    shown.add_row("signed by", by)
    shown.add_row("run", signed["run"] or "not said")
    shown.add_row("digest", summary["digest"])
    for name in ("model", "family", "scorer", "link", "threshold", "snapshot"):
        shown.add_row(name, str(getattr(manifest, name)))
    shown.add_row("trained on", f"{manifest.trained_from} to {manifest.trained_until}")
    shown.add_row("gyroscope", f"{manifest.gyroscope}, format {manifest.format}")
    if manifest.environment is not None:
        built = manifest.environment
        libraries = (f"{name} {version}" for name, version in built.libraries.items())
        shown.add_row("built with", ", ".join((built.python, built.platform, *libraries)))
    for name in summary["own_types"]:
        shown.add_row("type in the estimator", name)
    for name, value in manifest.metrics.items():
        shown.add_row(name, f"{value:.4f}")
    for name, entry in manifest.files.items():
        shown.add_row(name, f"{entry.bytes:,} bytes, sha256 {entry.sha256}")
    for column in summary["contract"].columns:
        about = f"{column.type}, {column.role}"
        if column.categories:
            about += f", {len(column.categories)} categories"
        shown.add_row(f"column {column.name}", about)
    return shown


def _rows(old: Bundle, new: Bundle, workspace: Path) -> tuple[Matrix | None, str]:
    """Rows to score both on, or why there are none."""
    import numpy as np

    from gyroscope.bundle.difference import same_encoding
    from gyroscope.config import FILE, load_config
    from gyroscope.data.training_set import load_snapshot

    if not same_encoding(old, new):
        return None, "the features are not encoded alike, so no row can be scored by both"
    if not (workspace / FILE).is_file():
        return None, "there is no workspace here with the rows that they were trained on"
    folder = load_config(workspace).state / "snapshots"
    for digest in (new.manifest.snapshot, old.manifest.snapshot):
        if _DIGEST.fullmatch(digest) and (folder / f"{digest}.safetensors").is_file():
            X = load_snapshot(digest, folder).X
            some = np.linspace(0, len(X) - 1, min(len(X), _MOST_ROWS)).astype(np.intp)
            return X[some], ""
    return None, "the workspace has not kept the rows that they were trained on"


def _tell(found: Difference, before: str, after: str, reason: str) -> None:
    out = console()
    if found.same:
        out.print(f"{before} and {after} hold the same training result")
        return
    shown = table("What changed", ("part", "what", before, after))
    for change in found.changes:
        shown.add_row(change.part, change.what, *_cells(change))
    out.print(shown)
    if found.scores is None:
        out.print(f"Scores were not compared: {reason}.")
        return
    s = found.scores
    labels = (
        "" if s.decisions_changed is None else f"; {s.decisions_changed:.1%} are labelled otherwise"
    )
    out.print(
        f"Scores on {s.rows:,} training rows: {s.mean:+.4f} on average, {s.mean_absolute:.4f} in "
        f"absolute terms, {s.largest:.4f} at most{labels}"
    )


def _cells(change: Change) -> tuple[str, str]:
    if change.part == "categories" and not change.what.endswith(": order"):
        return f"only here: {_text(change.before)}", f"only here: {_text(change.after)}"
    return _text(change.before), _text(change.after)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
