"""The pilot of one model: gather, decide, act, one step of work a tick.

A step reads what happened in a window, decides by pure functions, puts the decisions on record,
carries them out and saves the state with the window counted as done. Killed anywhere, it first
finishes or undoes the decisions that were on their way, then does the step again: ids of findings
and decisions are the same the second time, and what was carried out already is not done twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
import numpy as np

from gyroscope.config import Settings
from gyroscope.data.contract import Task
from gyroscope.decide.policy import (
    PolicySettings,
    decide_canary,
    decide_labelled,
    decide_trial,
    decide_unlabelled,
)
from gyroscope.decisions import Action, Care, Decision, Trial, decision_id
from gyroscope.errors import ConflictError
from gyroscope.findings import Finding, Kind, Window
from gyroscope.loop.actions import Actor
from gyroscope.loop.canaries import canaries_beside, canary_decision, canary_finding
from gyroscope.loop.clock import due_window, row_counts, usual_arrival
from gyroscope.loop.logged import labelled_rows
from gyroscope.loop.training import Retrained, inside
from gyroscope.loop.windows import (
    budget_of,
    check_labelled,
    check_unlabelled,
    profiled,
    served_by,
    stored,
)
from gyroscope.loop.world import World
from gyroscope.monitor.performance import performance_alarm, update_detector
from gyroscope.promote.promotion import champion_of
from gyroscope.promote.trial import Rows, Rules, judge_trial
from gyroscope.store.base import JobStatus

_PAST_WINDOWS = 30  # whose findings say what is usual
_MOST = 100_000  # findings of these


class Pilot:
    """Watches one model and keeps it right."""

    def __init__(self, world: World, model: str) -> None:
        self.model = model
        self._world = world
        self._actor = Actor(world)
        self._settings: Settings = world.config.model(model).settings
        self._waiting: tuple[Window, datetime] | None = None  # for the labels of a window, until
        self._policy = PolicySettings(
            cooldown=self._settings["cooldown"],
            retrainings_per_year=self._settings["retrainings_per_year"],
            retrain_rows=self._settings["retrain_rows"],
            trial_length=self._settings["trial_length"],
            probation=self._settings["probation"],
        )

    def tick(self, *, look_at_registry: bool = True) -> bool:
        """Do the step that is due first; whether there was one.

        ``look_at_registry`` may be False if surely nobody has moved an alias since the last tick:
        asking the registry is most of what a tick without work costs.
        """
        try:
            return self._tick(look_at_registry)
        except ConflictError:  # somebody decided by hand meanwhile: look again
            return True

    def _tick(self, look_at_registry: bool) -> bool:
        care = self._care(look_at_registry)
        if care.champion is None:
            return False
        if care.job is not None and self._collect(care):
            return True
        log, now = self._world.log(self.model), self._world.now(self.model)
        length, lag = self._settings["window"], self._settings["label_lag"]
        if care.closed_until is not None:
            labelled = min(care.closed_until, now - lag)
            judging = due_window(log, care.labelled_until, length, labelled)
            if judging is not None and self._labels_are_due(judging, now):
                self._judge_window(care, judging, now)
                return True
        closing = due_window(log, care.closed_until, length, now)
        if closing is not None:
            self._close_window(care, closing, now)
        return closing is not None

    def _labels_are_due(self, window: Window, now: datetime) -> bool:
        """Whether labels have had their time, which begins with the prediction.

        Rows of the past that are predicted now have no labels yet. The clock of the log knows of
        no arrivals.
        """
        if self._world.config.settings["clock"] == "log":
            return True
        if self._waiting is not None and self._waiting[0] == window and now < self._waiting[1]:
            return False
        arrival = usual_arrival(self._world.log(self.model), window)
        if arrival is None:
            return True
        self._waiting = (window, arrival + self._settings["label_lag"])
        return now >= self._waiting[1]

    def _care(self, look_at_registry: bool) -> Care:
        """The state of the model, with nothing left undone and in line with the registry."""
        care, registry = self._world.store.care(self.model), self._world.registry
        in_line = not look_at_registry or champion_of(registry, self.model) == care.champion
        if in_line and not self._actor.unfinished(self.model):
            return care
        with self._actor.alone(self.model) as care:
            return care

    # -- windows --------------------------------------------------------------------------------

    def _close_window(self, care: Care, window: Window, now: datetime) -> None:
        """Check a window before its labels."""
        assert care.champion is not None
        bundle = self._world.bundle(self.model, care.champion)
        rows = labelled_rows(self._world.log(self.model), bundle.contract, window)
        history = row_counts(self._world.log(self.model), window)
        canaries = canaries_beside(self._world, self.model, care.champion)
        found = profiled(rows, bundle.reference, canaries)
        self._world.store.save_profile(self.model, care.champion, window, stored(found))
        findings = check_unlabelled(
            bundle,
            rows,
            found,
            window,
            settings=self._settings,
            history=history,
            canaries=canaries,
        )
        decisions = decide_unlabelled(care, findings, window, now)
        done = msgspec.structs.replace(care, closed_until=window.end)
        self._finish(care, done, window, findings, decisions)

    def _judge_window(self, care: Care, window: Window, now: datetime) -> None:
        """Check a window once its labels are in, and look at the trial or probation."""
        assert care.champion is not None
        done = msgspec.structs.replace(care, labelled_until=window.end)
        findings: list[Finding] = []
        decisions: tuple[Decision, ...] = ()
        if not self._is_quarantined(window):
            bundle = self._world.bundle(self.model, care.champion)
            rows = labelled_rows(self._world.log(self.model), bundle.contract, window)
            mine = served_by(rows, care.champion)
            past = self._world.store.findings(
                self.model, since=window.start - _PAST_WINDOWS * window.length, limit=_MOST
            )
            findings = check_labelled(bundle, mine, window, self._settings, past)
            done, detected = self._detect(done, findings, window, bundle.contract.task)
            findings += detected
            decisions = decide_labelled(done, findings, window, self._policy, now)
        trial, found = self._look_at_trial(done, window, now)
        done = trial[0]
        ended, seen = self._look_at_canary(done, now)
        self._finish(
            care, done, window, [*findings, *found, *seen], (*decisions, *ended, *trial[1])
        )

    def _detect(
        self, care: Care, findings: Sequence[Finding], window: Window, task: Task
    ) -> tuple[Care, list[Finding]]:
        """Carry the detector on, if the window has evidence."""
        excess = next((f for f in findings if f.check == "excess_loss"), None)
        if excess is None:
            return care, []
        run_length = budget_of(self._settings).run_length
        detector = update_detector(care.detector, excess, window, run_length=run_length)
        alarm = performance_alarm(detector, window, run_length=run_length, task=task)
        return msgspec.structs.replace(care, detector=detector), [alarm]

    def _is_quarantined(self, window: Window) -> bool:
        quarantines = self._world.store.quarantines(self.model)
        return any(q.window.overlaps(window) for q in quarantines)

    def _look_at_canary(
        self, care: Care, now: datetime
    ) -> tuple[tuple[Decision, ...], tuple[Finding, ...]]:
        decided = canary_decision(self._world, self.model)
        if decided is None:
            return (), ()
        finding = canary_finding(self._world, self.model, decided, care.labelled_until)
        return decide_canary(care, finding, decided, now), (finding,)

    # -- trials ---------------------------------------------------------------------------------

    def _look_at_trial(
        self, care: Care, window: Window, now: datetime
    ) -> tuple[tuple[Care, tuple[Decision, ...]], tuple[Finding, ...]]:
        under_way = care.trial or care.probation
        if under_way is None or care.labelled_until is None:
            return (care, ()), ()
        probation = care.trial is None
        rules = Rules(
            alpha=self._settings["promotion_alpha"],
            minimum_improvement=0.0 if probation else self._settings["minimum_improvement"],
            min_rows=self._settings["min_rows"],
        )
        outcome = judge_trial(
            under_way,
            self._rows_of(under_way, care.labelled_until),
            rules,
            kind=Kind.PROBATION if probation else Kind.TRIAL,
            now=now,
            window=Window(under_way.since, max(under_way.since, care.labelled_until)),
        )
        changes = {"probation" if probation else "trial": outcome.trial}
        judged = msgspec.structs.replace(care, **changes)
        decision = decide_trial(judged, outcome, self._policy, now)
        return (judged, () if decision is None else (decision,)), outcome.findings

    def _rows_of(self, trial: Trial, until: datetime) -> Rows:
        """The labelled rows of a trial so far, scored by both versions."""
        incumbent = self._world.bundle(self.model, trial.incumbent)
        candidate = self._world.bundle(self.model, trial.candidate)
        log = self._world.log(self.model)
        window = Window(trial.since, max(trial.since, until))
        ours, theirs = (labelled_rows(log, b.contract, window) for b in (incumbent, candidate))
        keep = ours.labelled & ours.fits & theirs.fits
        comparable = incumbent.contract.predicts_as(candidate.contract)
        keep &= comparable  # else there is no row on which to compare, and probation just ends
        for quarantine in self._world.store.quarantines(self.model):
            keep &= ~inside(ours.time, quarantine.window)
        length = self._settings["window"].total_seconds()
        return Rows(
            y=ours.y[keep],
            incumbent=incumbent.scores(ours.X[keep]),
            candidate=(candidate if comparable else incumbent).scores(theirs.X[keep]),
            batch=np.floor(ours.time[keep] / length).astype(np.int64),
            incumbent_threshold=incumbent.manifest.threshold,
            candidate_threshold=candidate.manifest.threshold,
            task=incumbent.contract.task,
            rmse=incumbent.manifest.metrics.get("rmse"),
        )

    # -- retraining -----------------------------------------------------------------------------

    def _collect(self, care: Care) -> bool:
        """Take up what a retraining job has brought; whether it has ended."""
        assert care.job is not None
        job = self._world.store.job(care.job)
        polled = self._world.executor.poll(job)
        if polled != job:
            self._world.store.save_job(polled)
        if polled.status not in (JobStatus.DONE, JobStatus.FAILED):
            return False
        now = self._world.now(self.model)
        if polled.status is JobStatus.FAILED:
            decision = self._rejection(care, now, f"The retraining failed: {polled.error}")
        else:
            decision = self._challenge(care, msgspec.convert(polled.result, Retrained), now)
        started = self._finish(care, care, None, (), (decision,))
        if started.trial is not None and started.labelled_until is not None:
            window = Window(started.trial.since, max(started.trial.since, started.labelled_until))
            (judged, decisions), findings = self._look_at_trial(started, window, now)
            self._finish(started, judged, window, findings, decisions)
        return True

    def _challenge(self, care: Care, made: Retrained, now: datetime) -> Decision:
        if not made.passed:
            failed = "; ".join(f.detail for f in made.gates if f.verdict == "alarm")
            return self._rejection(care, now, f"Version {made.version} failed: {failed}")
        return Decision(
            id=decision_id(self.model, Action.START_TRIAL, made.version),
            model=self.model,
            at=now,
            action=Action.START_TRIAL,
            reason=f"Version {made.version} ({made.family} on {made.span}) passed its gates; it is "
            f"compared with version {care.champion} on rows since {made.trial_from:%Y-%m-%d %H:%M} "
            "that it has not seen.",
            findings=made.gates,
            window=Window(made.trial_from, now + self._policy.trial_length),
            version=made.version,
            previous=care.champion,
        )

    def _rejection(self, care: Care, now: datetime, reason: str) -> Decision:
        return Decision(
            id=decision_id(self.model, Action.REJECT, care.job),
            model=self.model,
            at=now,
            action=Action.REJECT,
            reason=reason,
        )

    # -- the end of a step ----------------------------------------------------------------------

    def _finish(
        self,
        before: Care,
        done: Care,
        window: Window | None,
        findings: Sequence[Finding],
        decisions: Sequence[Decision],
    ) -> Care:
        """Record and carry out what a step has come to, if nobody has changed the state since."""
        with self._actor.alone(self.model) as care:
            if care != before:
                raise ConflictError(f"the state of model {self.model} has changed")
            if window is not None:
                self._world.store.add_findings(self.model, window, findings)
            return self._actor.carry_out(before, done, decisions)
