"""Canaries: which one serves beside the champion, and how it does."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from gyroscope.bundle.bundle import Bundle
from gyroscope.decisions import Action, Decision, Status
from gyroscope.findings import Finding, Window
from gyroscope.loop.logged import LoggedRows, Mask, labelled_rows
from gyroscope.loop.training import inside
from gyroscope.loop.world import World
from gyroscope.model import CANARY
from gyroscope.promote.canary import Served, compare_canary

_ALL = 10_000_000  # decisions


def canaries_beside(world: World, model: str, champion: int) -> frozenset[int]:
    """The versions that have ever been a canary of a model, but for its champion."""
    decided = world.store.decisions(model, limit=_ALL)
    canaries = {r.decision.version for r in decided if r.decision.action is Action.CANARY}
    return frozenset(canaries - {None, champion})  # type: ignore[arg-type]


def canary_decision(world: World, model: str) -> Decision | None:
    """The decision that gave the canary of a model its share; None if there is no canary."""
    canary = world.registry.aliases(model).get(CANARY)
    if canary is None:
        return None
    for recorded in reversed(world.store.decisions(model, limit=_ALL)):
        decision = recorded.decision
        if (decision.action, recorded.status) == (Action.CANARY, Status.DONE):
            return decision if decision.version == canary else None
    return None  # the alias was set elsewhere


def canary_finding(
    world: World, model: str, decided: Decision, until: datetime | None = None
) -> Finding:
    """How the canary does against the champion, each on the labelled rows that it served.

    Args:
        world: the workspace.
        model: name of the model.
        decided: what gave the canary its share; rows from then on count, since the share decides
            which rows are the canary's, and loss may change with time.
        until: the end of the rows, all that there are if None.
    """
    assert decided.version is not None
    assert decided.previous is not None
    bundle, log = world.bundle(model, decided.previous), world.log(model)
    span = log.span()
    end = until or (decided.at if span is None else span.end)
    window = Window(decided.at, max(decided.at, end))
    rows = labelled_rows(log, bundle.contract, window)
    keep = rows.labelled & rows.fits
    for quarantine in world.store.quarantines(model):
        keep &= ~inside(rows.time, quarantine.window)
    settings = world.config.model(model).settings
    return compare_canary(
        _served(rows, keep, decided.previous, bundle),
        _served(rows, keep, decided.version, bundle),
        window,
        alpha=settings["promotion_alpha"],
        min_rows=settings["min_rows"],
    )


def _served(rows: LoggedRows, keep: Mask, version: int, champion: Bundle) -> Served:
    """What a version served; a row without an entity is one of its own."""
    mine = np.flatnonzero(keep & (rows.version == version))
    return Served(
        version=version,
        y=rows.y[mine],
        score=rows.score[mine],
        entity=[rows.entity[i] or f"\0{i}" for i in mine.tolist()],
        task=champion.contract.task,
        rmse=champion.manifest.metrics.get("rmse"),
    )
