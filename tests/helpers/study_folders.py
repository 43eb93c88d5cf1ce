"""Folders of studies whose figures are made up."""

import json
import random

from fastneg.study.plan import SETS, arms_of

EFFECTS = {"patch": 5.0, "patch_higher": 6.0, "random_image": 1.0}


def row_of(stage, arm, seed, effect=0.0, **changes):
    draw = random.Random(f"{stage} {arm.name} {seed}")
    block = random.Random(seed).gauss(0, 2)  # what the runs of a seed share
    base = {"in_domain": 84, "decorrelated": 38, "swapped": 30, "unseen_texture": 50}
    figures = {
        name: round(
            base.get(name, 60) + block + effect * (name == "swapped") + draw.gauss(0, 0.7), 2
        )
        for name in SETS
    }
    steps = list(range(100, 2500, 400))
    return {
        "stage": stage,
        "arm": arm.name,
        "seed": seed,
        "dose": arm.dose,
        "method": "simclr",
        "steps": 2400,
        **figures,
        "shape_bias": round(48 + block + 2 * effect + draw.gauss(0, 0.7), 2),
        "coverage": 61.0,
        "untrained": 38.5,
        "negative_share": 0.1 if arm.dose else None,
        "curve": {
            "step": steps,
            "negative_share": [round(0.3 - 0.0001 * step * (1 + effect), 4) for step in steps],
            "negative_similarity": [round(0.8 - 0.0002 * step, 4) for step in steps],
        },
        "train_seconds": 200.0,
        "seconds": 230.0,
        "cache": "none",
        "jobs": 1,
        "device": "x86_64 CPU",
        "cores": 2,
        "commit": "abc1234",
        "versions": {"torch": "2.11.0"},
        **changes,
    }


def study_folder(folder, seeds=range(5), stages=("dose", "main", "explore"), dose=12.5):
    """A study of made-up figures in which patch negatives help."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"size": "cpu", "method": "simclr", "augment_with": "dali", "plan": {}}
    (folder / "study.json").write_text(json.dumps(facts))
    rows = [
        row_of(stage, arm, seed, EFFECTS.get(arm.name, 0.0))
        for stage in stages
        for seed in (seeds if stage != "dose" else (100, 101))
        for arm in arms_of(stage, dose)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "results.jsonl").write_text(lines)
    return folder
