"""``gyro keys``: whose bundles may serve."""

from __future__ import annotations

from typing import Annotated

import typer

from gyroscope.cli.options import HERE, JsonOption, WorkspaceOption, console, print_json, table

app = typer.Typer(no_args_is_help=True, help="Show and choose the keys whose bundles may serve.")


@app.command(name="list")
def list_keys(workspace: WorkspaceOption = HERE, json: JsonOption = False) -> None:
    """List the keys that are trusted: the workspace's own and those added."""
    from gyroscope.app import Workspace

    keys = Workspace(workspace).keys
    trusted = keys.trusted()
    if json:
        print_json({"keys": [{"name": n, "key": k} for k, n in trusted.items()]})
        return
    shown = table("Keys whose bundles may serve", ("name", "public key"))
    for key, name in trusted.items():
        shown.add_row(name, key)
    out = console()
    out.print(shown)
    if keys.public.is_file():
        out.print(f"The public key of this workspace as a file to hand on: {keys.public}")
    else:
        out.print("This workspace has no key of its own yet; gyro train makes it.")


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What to call the holder of the key.")],
    key: Annotated[
        str, typer.Argument(help="64 hexadecimal digits, or a PEM file with an ed25519 public key.")
    ],
    workspace: WorkspaceOption = HERE,
) -> None:
    """Trust a key: bundles that it signed may serve from now on."""
    from gyroscope.app import Workspace

    added = Workspace(workspace).keys.add(name, key)
    console().print(f"Bundles signed by {name} (key {added}) may serve.")


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="What the holder of the key is called.")],
    workspace: WorkspaceOption = HERE,
) -> None:
    """Trust a key no more; bundles of its holder that serve already do so until the next load."""
    from gyroscope.app import Workspace

    Workspace(workspace).keys.remove(name)
    console().print(f"Bundles signed by {name} are refused from their next load on.")
