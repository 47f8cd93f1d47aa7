"""A collection from its settings to the file of runs."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from router.dispatch.capabilities import plan_limits
from router.dispatch.usage import EnergyRates
from router.errors import ConfigError
from router.eval.collect.adaptive import AdaptiveSettings
from router.eval.collect.chat import ChatClient, key_headers
from router.eval.collect.collector import Budget, Collector, Limits
from router.eval.collect.estimate import (
    CollectionEstimate,
    RequestForecast,
    estimate_collection,
)
from router.eval.collect.grades import (
    Graders,
    GradeStore,
    GradingOutcome,
    check_references,
    grade_answers,
)
from router.eval.collect.judge_calls import JudgeCalls
from router.eval.collect.limits import RateLimiter
from router.eval.collect.progress import Progress, duration_text
from router.eval.collect.result import CollectResult
from router.eval.collect.runs_file import check_out, run_rows, write_runs
from router.eval.collect.session import (
    Saved,
    by_energy,
    collect_adaptively,
    collect_all,
    in_random_order,
    saved,
)
from router.eval.collect.settings import AskSettings, is_local
from router.eval.collect.store import AnswerStore
from router.eval.grading import Grader, make_grader
from router.eval.grading.agreement import Agreement, judge_agreement
from router.eval.grading.judge import PairwiseJudge, ReferenceFreeJudge
from router.eval.measured_energy import EnergyMeter, NoMeterError, open_meter
from router.eval.suites import ReasoningGymVerifier, SuitePrompt
from router.pool import load_pool

__all__ = ["CollectJob", "KeyLimits", "run_collect"]

_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """Requests that one API key may send.

    Attributes
    ----------
    per_minute, per_day : int, optional
        None where there is no limit.
    max_completion_tokens : int, optional
        Longest answer that the plan gives.
    """

    per_minute: int | None = None
    per_day: int | None = None
    max_completion_tokens: int | None = None

    @classmethod
    def of(cls, plan: str | None, per_minute: int | None, per_day: int | None) -> KeyLimits:
        """Return the limits of one of Oxlo's plans, or those given where they differ."""
        if plan is None:
            return cls(per_minute, per_day)
        known = plan_limits(plan)
        return cls(
            per_minute or known.requests_per_minute,
            per_day or known.requests_per_day,
            known.max_completion_tokens,
        )


@dataclass(frozen=True, slots=True)
class CollectJob:
    """All settings of a collection.

    Attributes
    ----------
    out : Path
        Folder for the runs.
    prompts : tuple of SuitePrompt
        What to ask.
    source : str
        Where they come from.
    models : mapping of str to AskSettings
        Whom to ask; empty with `regrade`.
    key_envs : mapping of str to str
        By model, the environment variable with its key.
    grader : str, optional
        For prompts that name none.
    gold : str, optional
        Grader to measure the other's agreement with.
    judges : mapping of str to AskSettings
        How models are asked as judges.
    limits : KeyLimits
        Of each key.
    timeout_s : float
        Seconds for one request.
    max_requests, max_energy_j : optional
        Budget of the folder.
    pool_file : str, optional
        Pool file with the joules per token of models.
    adaptive : AdaptiveSettings, optional
        Leave out questions whose outcome is plain.
    measure_energy : bool
        Meter this machine.
    regrade, grade_truncated, accept_changes, estimate_only : bool
        As the command's options say.
    form : {"jsonl", "parquet"}
        Of the runs.
    seed : int
        Seed of all chance.
    """

    out: Path
    prompts: tuple[SuitePrompt, ...]
    source: str
    models: Mapping[str, AskSettings]
    key_envs: Mapping[str, str] = field(default_factory=dict)
    grader: str | None = None
    gold: str | None = None
    judges: Mapping[str, AskSettings] = field(default_factory=dict)
    limits: KeyLimits = field(default_factory=KeyLimits)
    timeout_s: float = 600.0
    max_requests: int | None = None
    max_energy_j: float | None = None
    pool_file: str | None = None
    adaptive: AdaptiveSettings | None = None
    measure_energy: bool = False
    regrade: bool = False
    grade_truncated: bool = False
    accept_changes: bool = False
    estimate_only: bool = False
    form: Literal["jsonl", "parquet"] = "jsonl"
    seed: int = 0


def run_collect(job: CollectJob, confirm: Callable[[str], bool]) -> CollectResult:
    """Ask, grade and write the runs.

    Parameters
    ----------
    job : CollectJob
        What to do.
    confirm : callable
        Shown the estimate; returns whether to begin.

    Returns
    -------
    CollectResult
        What was done and what is missing.

    Raises
    ------
    ConfigError
        If a setting cannot be used, the folder holds something else, or nothing has a grade.
    DataError
        If a prompt's reference cannot be used, or a stored line is damaged.
    UpstreamError
        If a key is refused.
    """
    check_out(job.out, job.form)
    _check_plan(job)
    for name, how in {**job.models, **job.judges}.items():
        key_headers(job.key_envs.get(name), how.base_url)
    meter = _open_meter(job)
    with ExitStack() as stack:
        run = _Run(job, stack)
        run.progress.say(f"{len(job.prompts):,} prompts, {len(job.models)} models, {job.out}")
        if job.regrade:
            return run.finish()
        if meter is not None:
            run.progress.say(f"energy: {meter.basis}; one request at a time")
        estimate = run.estimate(one_at_a_time=meter is not None)
        text = _estimate_text(estimate, job)
        if job.estimate_only:
            run.progress.say(text)
            return CollectResult.of_estimate(job.out, estimate)
        if estimate.n_requests and not confirm(text):
            raise ConfigError("not begun: nothing was asked")
        run.collect(meter)
        return run.finish()


class _Run:
    """One run of a job: the folder, the graders, and what they have found so far."""

    def __init__(self, job: CollectJob, stack: ExitStack) -> None:
        self.job = job
        self.store = stack.enter_context(AnswerStore(job.out))
        self.progress = Progress()
        for note in self.store.notes:
            self.progress.say(note)
        key = _limiters(job, self.store)
        self._key_limiters = key
        self.make_grader = partial(_make_grader, job, stack, key)
        self.graders = Graders(self.make_grader, job.grader)
        stack.callback(self.graders.close)
        check_references(job.prompts, self.graders)
        if not job.regrade or job.source:
            source = job.source or self.store.state.source
            self.store.begin(job.prompts, source, accept_changes=job.accept_changes)
        for how in job.models.values():
            self.store.use_model(how)
        self.grade_store = GradeStore(self.store.folder / "grades.jsonl")
        stack.callback(self.grade_store.close)
        if self.grade_store.torn is not None:
            self.progress.say(f"grades.jsonl: {self.grade_store.torn}")
        self.by_key = {prompt.key: prompt for prompt in job.prompts}
        rates = EnergyRates(_pool_models(job.pool_file))
        self.forecast = RequestForecast(rates, self.store.state.answers.values())
        self.ordered = in_random_order(job.prompts, job.seed)
        self.collector: Collector | None = None

    def pending(self) -> dict[str, list[SuitePrompt]]:
        """Return what each model is still to be asked."""
        done = set(self.store.state.answers)
        if self.job.adaptive is not None:
            done |= self.store.state.skips.keys()
        return {m: [p for p in self.ordered if (m, p.key) not in done] for m in self.job.models}

    def estimate(self, *, one_at_a_time: bool) -> CollectionEstimate:
        """Return what is left to do will take."""
        now = time.time()
        recent = sum(t > now - _DAY_S for t in self.store.state.asked_at)
        return estimate_collection(
            self.pending(),
            self.job.models,
            self.forecast,
            per_minute=self.job.limits.per_minute,
            per_day=self.job.limits.per_day,
            sent_today=recent,
            one_at_a_time=one_at_a_time,
        )

    def collect(self, meter: EnergyMeter | None) -> None:
        """Ask what is pending."""
        if any(self.pending().values()):
            asyncio.run(self._collect(meter))

    async def _collect(self, meter: EnergyMeter | None) -> None:
        job = self.job
        client = ChatClient(job.timeout_s, job.key_envs)
        of_model = {m: RateLimiter(how.requests_per_minute) for m, how in job.models.items()}
        of_key = {m: self._key_limiters[job.key_envs.get(m, "")] for m in job.models}
        self.collector = Collector(
            self.store,
            client,
            job.models,
            Limits(of_key, of_model),
            self.forecast,
            budget=Budget(job.max_requests, job.max_energy_j),
            meter=meter,
            progress=self.progress,
            seed=job.seed,
        )
        self.collector.count_spent(job.prompts)
        try:
            if job.adaptive is None:
                await collect_all(self.collector, self.ordered, tuple(job.models))
            else:
                await collect_adaptively(
                    self.collector,
                    self.store,
                    self.ordered,
                    self._small_to_large(),
                    self._qualities,
                    job.adaptive,
                    seed=job.seed,
                    say=self.progress.say,
                )
        finally:
            self.progress.close()
            await client.close()

    def finish(self) -> CollectResult:
        """Grade, write the runs and say what came of it."""
        job = self.job
        outcome = self._grade(again=job.regrade)
        models = tuple(dict.fromkeys((*self.store.state.models, *job.models)))
        rows = list(run_rows(outcome, job.prompts, models))
        path = write_runs(job.out, rows, job.form)
        collector = self.collector
        counts = Counter(row["model"] for row in rows)
        missing = {m: len(prompts) for m, prompts in self.pending().items() if prompts}
        return CollectResult(
            out=path,
            n_prompts=len(job.prompts),
            n_runs={model: counts[model] for model in models},
            n_asked=0 if collector is None else collector.n_asked,
            n_answered=0 if collector is None else collector.n_answered,
            energy_j=0.0 if collector is None else collector.spent_j,
            missing=missing,
            dropped={} if collector is None else dict(collector.dropped),
            stopped=None if collector is None else collector.stopped,
            n_truncated=dict(outcome.n_truncated),
            n_graded=outcome.n_new,
            ungraded=tuple(outcome.ungraded),
            agreement=self._agreement(outcome),
            saved=self._saved(outcome),
        )

    def _grade(self, *, again: bool = False) -> GradingOutcome:
        return grade_answers(
            self.store.answers(),
            self.by_key,
            self.graders,
            self.grade_store,
            again=again,
            grade_truncated=self.job.grade_truncated,
            baseline_answers=self._baselines(),
            progress=self.progress.say,
        )

    def _qualities(self) -> dict[tuple[str, str], float]:
        return {pair: grade.quality for pair, grade in self._grade().grades.items()}

    def _baselines(self) -> dict[str, str] | None:
        name = _setting(self.job.grader, "baseline")
        if name is None:
            return None
        return {answer.key: answer.text for answer in self.store.answers() if answer.model == name}

    def _agreement(self, outcome: GradingOutcome) -> Agreement | None:
        """Return how far the grades agree with those of the gold grader."""
        if self.job.gold is None:
            return None
        verifies = self.job.gold == "reasoning_gym"
        with_gold = {
            key: replace(prompt, grader=self.job.gold)
            for key, prompt in self.by_key.items()
            if prompt.reference is not None or verifies
        }
        graders = Graders(self.make_grader)
        try:
            gold = grade_answers(
                self.store.answers(),
                with_gold,
                graders,
                self.grade_store,
                grade_truncated=self.job.grade_truncated,
            )
        finally:
            graders.close()
        pairs = sorted(gold.grades.keys() & outcome.grades.keys())
        if not pairs:
            self.progress.say("no graded answer has a reference: agreement cannot be measured")
            return None
        return judge_agreement(
            [outcome.grades[pair].quality for pair in pairs],
            [gold.grades[pair].quality for pair in pairs],
        )

    def _saved(self, outcome: GradingOutcome) -> tuple[Saved, ...]:
        if self.job.adaptive is None:
            return ()
        return saved(
            self.store,
            self.ordered,
            self._small_to_large(),
            self.job.models,
            self.forecast,
            {pair: grade.quality for pair, grade in outcome.grades.items()},
            self.job.adaptive,
            seed=self.job.seed,
        )

    def _small_to_large(self) -> tuple[str, ...]:
        """Return the models by energy; by their order in the command where it is not known."""
        fresh = RequestForecast(EnergyRates(_pool_models(self.job.pool_file)))
        models, unknown = by_energy(self.job.models, fresh)
        if unknown and len(unknown) < len(models):
            self.progress.say(
                f"energy not known, so asked last: {', '.join(unknown)} (give a --pool)"
            )
        return models


def _limiters(job: CollectJob, store: AnswerStore) -> dict[str, RateLimiter]:
    """Return one limiter for each key; earlier requests of the folder count for all of them."""
    names = {job.key_envs.get(model, "") for model in (*job.models, *job.judges)}
    earlier = store.state.asked_at
    return {
        name: RateLimiter(job.limits.per_minute, job.limits.per_day, earlier=earlier)
        for name in names
    }


def _make_grader(
    job: CollectJob, stack: ExitStack, limiters: Mapping[str, RateLimiter], text: str
) -> Grader:
    name = text.partition(":")[0]
    if name == "reasoning_gym":
        return ReasoningGymVerifier()
    if name not in ("judge", "pairwise"):
        return make_grader(text)
    judge = _setting(text, "model")
    if judge is None or judge not in job.judges:
        raise ConfigError(f"grader {text!r}: name a judge with --grader {name}:model=NAME")
    key = job.key_envs.get(judge, "")
    calls = stack.enter_context(
        JudgeCalls(ChatClient(job.timeout_s, job.key_envs), job.judges[judge], limiters[key])
    )
    if name == "judge":
        return ReferenceFreeJudge(calls, judge)
    baseline = _setting(text, "baseline")
    if baseline is None:
        raise ConfigError(f"grader {text!r}: name the baseline, as in {text},baseline=NAME")
    return PairwiseJudge(calls, judge, baseline)


def _setting(text: str | None, key: str) -> str | None:
    for part in (text or "").partition(":")[2].split(","):
        name, _, value = part.partition("=")
        if name == key and value:
            return value
    return None


def _pool_models(pool_file: str | None) -> dict[str, Any]:
    if pool_file is None:
        return {}
    return {model.name: model for model in load_pool(pool_file).models}


def _check_plan(job: CollectJob) -> None:
    most = job.limits.max_completion_tokens
    for how in job.models.values():
        if most is not None and how.max_tokens > most:
            raise ConfigError(
                f"model {how.model!r}: max_tokens is {how.max_tokens:,}, the plan gives {most:,}: "
                f"use --max-tokens {most}"
            )
    if job.max_energy_j is not None and not job.regrade:
        rates = RequestForecast(EnergyRates(_pool_models(job.pool_file)))
        unknown = by_energy(job.models, rates)[1]
        if unknown:
            raise ConfigError(
                f"--max-energy needs the energy of {', '.join(unknown)}: give a --pool file"
            )


def _open_meter(job: CollectJob) -> EnergyMeter | None:
    if not job.measure_energy or job.regrade:
        return None
    elsewhere = [m for m, how in job.models.items() if not is_local(how.base_url)]
    if elsewhere:
        raise ConfigError(
            f"--measure-energy meters this machine, and {', '.join(elsewhere)} is elsewhere: "
            "leave it out"
        )
    try:
        return open_meter()
    except NoMeterError as error:
        Progress().say(f"energy is not measured: {error}")
        return None


def _estimate_text(estimate: CollectionEstimate, job: CollectJob) -> str:
    lines = [f"{'model':28}{'requests':>10}{'tokens each':>13}{'time':>14}{'energy':>26}"]
    for model in estimate.models:
        energy = model.energy_j
        joules = "not known"
        if energy is not None:
            joules = f"{energy.value_j:,.0f} J ({energy.low_j:,.0f} to {energy.high_j:,.0f})"
        mark = "" if model.observed else "*"
        lines.append(
            f"{model.model[:27]:28}{model.n_requests:>10,}"
            f"{f'{model.completion_tokens:,.0f}{mark}':>13}"
            f"{duration_text(model.seconds):>14}{joules:>26}"
        )
    total = estimate.energy_j
    lines.append(
        f"In all {estimate.n_requests:,} requests, about {duration_text(estimate.seconds)}, "
        f"{total.value_j:,.0f} J ({total.low_j:,.0f} to {total.high_j:,.0f} J, {total.basis})"
        + (f" without {', '.join(estimate.unknown_energy)}" if estimate.unknown_energy else "")
    )
    if any(not model.observed for model in estimate.models):
        lines.append("* length of answers assumed; the next estimate knows more")
    if job.judges:
        per_answer = 2 if (job.grader or "").startswith("pairwise") else 1
        n = per_answer * estimate.n_requests
        lines.append(f"and about {n:,} requests to the judge, which no budget counts")
    if estimate.days:
        lines.append(f"The key's limit of a day spreads this over {estimate.days + 1:.0f} days.")
    return "\n".join(lines)
