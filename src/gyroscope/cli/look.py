"""Commands that look: ``status``, ``monitor``, ``budget``, ``decisions`` and so on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gyroscope.cli.options import (
    HERE,
    STYLES,
    JsonOption,
    ModelArgument,
    WorkspaceOption,
    console,
    opened,
    print_json,
    table,
)

if TYPE_CHECKING:
    from rich.table import Table

    from gyroscope.app import Workspace
    from gyroscope.bundle.deployment import Canary
    from gyroscope.findings import Finding

LimitOption = Annotated[int, typer.Option(min=1, help="Show the newest so many.")]


def status(workspace: WorkspaceOption = HERE, json: JsonOption = False) -> None:
    """Show every model: its state, champion, canary, incidents and what the pilot has seen."""
    from gyroscope.loop.locks import holder
    from gyroscope.serve.address import read_address

    with opened(workspace) as space:
        cares = [space.store.care(name) for name in space.config.models]
        canaries = {name: _canary(space, name) for name in space.config.models}
        pilot, address = holder(space.pilot_lock), read_address(space.state)
    if json:
        print_json({"models": cares, "canaries": canaries, "pilot": pilot, "server": address})
        return
    shown = table(
        f"Models in {space.config.root}",
        ("model", "state", "serves", "incident", "quarantine", "checked until", "judged until"),
    )
    for care in cares:
        shown.add_row(
            care.model,
            f"{care.state}{' (paused)' if care.paused else ''}",
            _who_serves(care.champion, canaries[care.model]),
            care.incident or "",
            care.quarantine or "",
            f"{care.closed_until:%Y-%m-%d %H:%M}" if care.closed_until else "",
            f"{care.labelled_until:%Y-%m-%d %H:%M}" if care.labelled_until else "",
        )
    out = console()
    out.print(shown)
    if address is None:
        out.print("No server runs here; start it and the pilot with: gyro up")
    else:
        out.print(f"The server listens at http://{address.host}:{address.port}/docs")
        out.print("No pilot runs here." if pilot is None else f"The pilot is process {pilot}.")


def _canary(space: Workspace, model: str) -> Canary | None:
    """The canary that servers see; none if their file is damaged, which the pilot mends."""
    from gyroscope.bundle.deployment import Deployment
    from gyroscope.errors import BundleError

    try:
        deployed = Deployment(space.state / "serving" / model).read()
    except BundleError:
        return None
    return None if deployed is None else deployed.canary


def _who_serves(champion: int | None, canary: Canary | None) -> str:
    if champion is None:
        return "nothing yet"
    beside = ""
    if canary is not None:
        beside = f", {canary.percent:g} %: version {canary.deployed.version}"
    return f"version {champion}{beside}"


def versions(
    model: ModelArgument = None, workspace: WorkspaceOption = HERE, json: JsonOption = False
) -> None:
    """List the registered versions of a model and their aliases."""
    from gyroscope.registry.publisher import aliases_in_words

    with opened(workspace) as space:
        found = space.registry.versions(space.model(model))
    if json:
        print_json(found)
        return
    shown = table("Versions", ("version", "aliases", "family", "trained on", "purpose", "made"))
    for version in found:
        shown.add_row(
            str(version.version),
            ", ".join(aliases_in_words(version)),
            version.tags.get("family", ""),
            version.tags.get("span", ""),
            version.tags.get("purpose", ""),
            f"{version.created:%Y-%m-%d %H:%M}",
        )
    console().print(shown)


def decisions(
    model: ModelArgument = None,
    workspace: WorkspaceOption = HERE,
    limit: LimitOption = 50,
    json: JsonOption = False,
) -> None:
    """List what was decided, by whom, why, and how far it has been carried out."""
    with opened(workspace) as space:
        found = space.store.decisions(None if model is None else space.model(model), limit=limit)
    if json:
        print_json(found)
        return
    shown = table("Decisions", ("at", "model", "action", "status", "by", "reason"))
    for recorded in found:
        decision = recorded.decision
        shown.add_row(
            f"{decision.at:%Y-%m-%d %H:%M}",
            decision.model,
            decision.action,
            recorded.status,
            decision.actor,
            f"{decision.reason} ({recorded.note})" if recorded.note else decision.reason,
        )
    console().print(shown)


def findings(
    model: ModelArgument = None,
    workspace: WorkspaceOption = HERE,
    limit: LimitOption = 50,
    everything: Annotated[bool, typer.Option("--all", help="Also those with verdict ok.")] = False,
    json: JsonOption = False,
) -> None:
    """List what the pilot found in the windows it has checked."""
    with opened(workspace) as space:
        found = space.store.findings(space.model(model), limit=100_000)
    found = [f for f in found if everything or f.verdict != "ok"][-limit:]
    _show(found, "Findings", json)


def monitor(
    model: ModelArgument = None,
    workspace: WorkspaceOption = HERE,
    last: Annotated[
        str | None, typer.Option(help="Span up to the newest prediction, e.g. 7d; default: all.")
    ] = None,
    joint: Annotated[
        bool,
        typer.Option("--joint", help="Also train a classifier to tell the rows from the training."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Check the logged predictions of a span now: data quality, drift, performance."""
    from gyroscope.config import duration
    from gyroscope.loop.windows import check_now

    with opened(workspace) as space:
        name = space.model(model)
        found = check_now(space.world, name, None if last is None else duration(last), joint=joint)
    _show(found, f"{name}, {found[0].window}", json)


def budget(
    model: ModelArgument = None, workspace: WorkspaceOption = HERE, json: JsonOption = False
) -> None:
    """Show how the budget of false alarms is shared and what the last year has used of it."""
    from gyroscope.loop.windows import year_of

    with opened(workspace) as space:
        name = space.model(model)
        spent = year_of(space.world, name)
    if json:
        print_json({"model": name, "families": spent})
        return
    numbers = ("allowed a year", "chance a window", "windows", "expected", "flagged")
    shown = table(f"{name}: false alarms of the last year", ("family", *numbers), numbers=numbers)
    for one in spent:
        chance = "by run length" if one.per_window is None else f"{one.per_window:.2g}"
        shown.add_row(
            one.family,
            f"{one.allowed:.2f}",
            chance,
            str(one.windows),
            f"{one.expected:.2f}",
            str(one.flagged),
        )
    out = console()
    out.print(shown)
    out.print(
        f"Without any change, at most {sum(one.expected for one in spent):.2f} windows were to be "
        f"flagged; {sum(one.flagged for one in spent)} were, with cause or without."
    )


def _show(found: list[Finding], title: str, json: bool) -> None:
    if json:
        print_json(found)
    else:
        console().print(_findings_table(found, title))


def _findings_table(found: list[Finding], title: str) -> Table:
    """What was found, with a column for the window only if there are several."""
    from rich.text import Text

    several = len({finding.window for finding in found}) > 1
    shown = table(title, (*(("window",) if several else ()), "verdict", "about", "what"))
    for finding in found:
        start = f"{finding.window.start:%Y-%m-%d %H:%M}" if finding.window else ""
        shown.add_row(
            *((start,) if several else ()),
            Text(finding.verdict, style=STYLES.get(finding.verdict, "dim")),
            f"{finding.kind}: {finding.subject}",
            finding.detail,
        )
    return shown


def verify(
    model: ModelArgument = None, workspace: WorkspaceOption = HERE, json: JsonOption = False
) -> None:
    """Score every logged row again and compare bit for bit; check the chain of decisions."""
    from gyroscope.loop.verification import replay_scores

    with opened(workspace) as space:
        name = space.model(model)
        replayed = replay_scores(space.world, name)
        damage, links = space.log(name).damage(), space.store.verify_chain()
    if json:
        print_json({"model": name, "replayed": replayed, "damage": damage, "links": links})
    else:
        out = console()
        out.print(f"{replayed.rows:,} logged predictions scored again, {replayed.different} differ")
        for place in damage:
            out.print(f"The log is damaged: {place}")
        out.print(f"{links:,} links in the chain of decisions, none altered")
    if replayed.different or damage:
        raise typer.Exit(1)
