"""fastneg study: trains arms on seeds, in complete blocks, and gives a verdict on the method."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import statistics
import sys

from fastneg.config import ConfigError, StudyConfig, UnfitError, default_workers
from fastneg.counts import counted
from fastneg.files import append_json, output_folder, write_json
from fastneg.methods import METHODS
from fastneg.options import nearest
from fastneg.progress import time_left
from fastneg.recipes.study_data import make_data
from fastneg.recipes.study_jobs import run_all
from fastneg.recipes.study_runs import Task, log_of, train_and_evaluate
from fastneg.report.blocks import pretty
from fastneg.report.study import write_study_report
from fastneg.study.folder import (
    FACTS,
    RESULTS,
    VERDICT,
    conditions,
    facts_of,
    results_of,
    rows_of,
)
from fastneg.study.plan import PLAIN, SIZES, arms_of, choose_dose, figures_of, size_for
from fastneg.study.verdict import judge, sentence


def run_study(config: StudyConfig):
    """Train and evaluate what is missing, block by block, and judge.

    Returns:
        0 when all runs that were asked for are there; 128 + signal where one stopped it; 1 where
        another process trains the rest.
    """
    names = named_arms(config)
    out, size = output_folder(config.out, "--out"), size_for(config.size, config.method)
    _same_study(out, config, size)
    dose = None if config.stage == "dose" else _dose(out, config)
    queue = METHODS[config.method].queue
    arms = [arm for arm in arms_of(config.stage, dose, size, queue) if arm.name in names]
    seeds = config.seed_numbers() or size.seeds[config.stage]
    make_data(out, size, config.data)
    plan = [(seed, arm) for seed in seeds for arm in arms]
    if single := config.single_runs():
        arm_of = {arm.name: arm for arm in arms}
        plan = [(seed, arm_of[name]) for name, seed in single]
    left = _missing(out, config, plan)
    seeds = {seed for seed, _ in plan}
    print(
        f"{config.stage.capitalize()}: {counted(len(arms), 'arm')} on "
        f"{counted(len(seeds), 'seed')}, {len(plan) - len(left)} of {counted(len(plan), 'run')} "
        "are there.",
        flush=True,
    )
    stopped = _train(out, config, size, left)
    if stopped:
        return 128 + stopped
    if missing := _missing(out, config, plan):
        print(
            f"{counted(len(missing), 'run')} of another process, which trains in {out} too: when "
            "it has ended, the same command goes on.",
            flush=True,
        )
        return 1
    _tell(out, config, dose)
    return 0


def _missing(out, config, plan):
    """Those of [(seed, arm)] that results.jsonl has no line of."""
    done = {(row["stage"], row["arm"], row["seed"], row["dose"]) for row in results_of(out)}
    return [
        (seed, arm) for seed, arm in plan if (config.stage, arm.name, seed, arm.dose) not in done
    ]


def _train(out, config, size, left):
    """Train and evaluate [(seed, arm)], writing down each; the signal that stopped it, or None."""
    threads = 0 if config.jobs == 1 else max(1, default_workers() // config.jobs)
    tasks, signal = _tasks(out, config, size, left, threads), None
    with contextlib.closing(run_all(train_and_evaluate, tasks, config.jobs, threads)) as runs:
        for task, (row, stopped) in runs:
            who = f"{task.arm.name}, seed {task.seed}"
            if stopped:
                print(f"Stopped in {who}; the same command resumes from here.", flush=True)
                signal = stopped
                if config.jobs == 1:
                    return signal
                continue
            if row is None:
                print(f"Left out {who}: another process trains it.", flush=True)
                continue
            append_json(out / RESULTS, row, sync=True)
            missing = _missing(out, config, left)
            told = ", ".join(f"{pretty(name)} {row[name]:.1f}" for name in figures_of([row])[:3])
            print(
                f"{len(left) - len(missing)} of {len(left)}  {who}: {told}, "
                f"{row['seconds']:.0f} s; {time_left(_rest(out, config, missing))} left",
                flush=True,
            )
    return signal


def _tasks(out, config, size, left, threads):
    """`Task`s of [(seed, arm)], each made when a process is free for it: a run knows what those
    before it have measured, and another process may have made one meanwhile."""
    for seed, arm in left:
        if not _missing(out, config, [(seed, arm)]):
            continue
        untrained = {row["seed"]: row["untrained"] for row in results_of(out)}
        task = Task(config, size, arm, seed, untrained.get(seed), threads)
        print(f"Begins: {arm.name}, seed {seed}; what it prints is in {log_of(task)}.", flush=True)
        yield task


def _rest(out, config, left):
    """Seconds that the runs [(seed, arm)] take, by those of their arms that are there."""
    seconds = {}
    for row in results_of(out):
        if (row["stage"], row.get("jobs")) == (config.stage, config.jobs):
            seconds.setdefault(row["arm"], []).append(row["seconds"])
    means = {name: statistics.fmean(found) for name, found in seconds.items()}
    usual = statistics.fmean(means.values())
    return sum(means.get(arm.name, usual) for _, arm in left) / min(config.jobs, len(left) or 1)


def _same_study(out, config, size):
    """Write down what all runs of a folder share; ConfigError where it is another study's."""
    path, wanted = out / FACTS, {"size": config.size, "method": config.method}
    # Views that DALI makes and those of the kernel differ a little.
    wanted["augment_with"] = "kernel" if config.cache == "device" else "dali"
    wanted["plan"] = json.loads(json.dumps(dataclasses.asdict(size)))
    del wanted["plan"]["seeds"]  # which seeds there are by default changes nothing in a run
    if path.exists():
        there = json.loads(path.read_text(encoding="utf-8"))
        # What an earlier version's plan says must agree: fields that are younger had no effect.
        plan = {**wanted["plan"], **there.get("plan", {})}
        plan.pop("seeds", None)
        old = {**there, "plan": plan}
        if {"augment_with": "dali", **old} != wanted:
            raise ConfigError(
                f"{path} is of another study ({there.get('method')}, size {there.get('size')}, "
                f"views of {there.get('augment_with')}, or another version's plan): choose another "
                "--out."
            )
        return
    out.mkdir(parents=True, exist_ok=True)
    write_json(path, wanted)


def _dose(out, config):
    size = SIZES[config.size]
    if config.dose is not None or size.dose is not None:
        return config.dose or size.dose
    rows = [row for row in results_of(out) if row["stage"] == "dose"]
    complete = {(arm.name, seed) for arm in arms_of("dose") for seed in size.seeds["dose"]}
    if missing := complete - {(row["arm"], row["seed"]) for row in rows}:
        raise ConfigError(
            f"{out} lacks {counted(len(missing), 'run')} of the stage dose: run fastneg study "
            f"--out {out} --size {config.size} --method {config.method} --stage dose first, or "
            "give --dose."
        )
    dose = choose_dose(rows)
    if dose is None:
        raise UnfitError(
            f"No dose of {out}/results.jsonl fits the rules of the stage dose: give --dose, and "
            "say so where you show the result."
        )
    return dose


def named_arms(config):
    """The names in --arms or --only; all arms of the stage where these name none.

    Raises:
        ConfigError: one of them is no arm of the stage.
    """
    size, queue = SIZES[config.size], METHODS[config.method].queue
    known = [arm.name for arm in arms_of(config.stage, 1.0, size, queue)]  # whatever the dose
    single = dict(config.single_runs())
    flag, given = ("only", single) if single else ("arms", config.arms.split(","))
    names = [name.strip() for name in given if name.strip()] or known
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(
            f"--{flag} has {unknown[0]!r}: {', '.join(known)} are the arms of --stage "
            f"{config.stage}{nearest(unknown[0], known)}"
        )
    return names


def _tell(out, config, dose):
    """Print the means of the arms; judge the main stage, write the verdict down, and the page."""
    rows = rows_of(results_of(out), config.stage, dose, SIZES[config.size])
    fields = (*figures_of(rows), "negative_share")
    print(f"{'arm':<16}{'seeds':>6}" + "".join(f"{name[:12]:>15}" for name in fields))
    for arm in dict.fromkeys(row["arm"] for row in rows):
        own = [row for row in rows if row["arm"] == arm]
        means = []
        for name in fields:
            values = [row[name] for row in own if row.get(name) is not None]
            means.append(f"{statistics.fmean(values):.3g}" if values else "")
        print(f"{arm:<16}{len(own):>6}" + "".join(f"{mean:>15}" for mean in means))
    if config.stage == "dose":
        chosen = choose_dose(rows)
        print("No dose fits the rules." if chosen is None else f"Dose alpha / T: {chosen:g}.")
    judged = config.stage == "main" and SIZES[config.size].judged
    if judged and any(row["arm"] == PLAIN for row in rows):
        verdict = judge(rows)
        told = sentence(verdict, conditions(facts_of(out), rows, dose))
        write_json(out / VERDICT, {"sentence": told, "dose": dose, **dataclasses.asdict(verdict)})
        print(told)
        if config.size == "tiny":
            said = "The size tiny shows that everything works, and nothing of the method."
            print(said, file=sys.stderr)
    if rows:
        made = write_study_report(out, out / "report.html", doses={config.stage: dose})
        print(f"Report: {made}")
