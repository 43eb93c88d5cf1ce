"""The settings of `fastneg study`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fastneg.config.base import Config
from fastneg.options import ConfigError, option

STAGES = ("dose", "main", "explore")
MOST_SEEDS = 1000


@dataclass(frozen=True)
class StudyConfig(Config):
    """Train several arms on several seeds and judge whether the negatives help."""

    out: str = "study"
    """The folder of the study: data, runs, results.jsonl, verdict.json."""
    size: str = option("cpu", choices=("tiny", "cpu", "gpu", "imagenet100"))
    """cpu: the built-in set on two cores, some hours per stage. tiny: two minutes, which only show
    that everything works. gpu: photographs of 64 px, ResNet-18, 20,000 steps. imagenet100: the
    paper's setting, ResNet-50, 200 epochs."""
    data: str = ""
    """With gpu: the folder that holds tiny-imagenet-67.tar, pacs-96px.tar and
    cue-conflict-96px.tar. With imagenet100: the folder of ImageNet, with train and val."""
    method: str = option("simclr", choices=("simclr", "moco"))
    """The method of all arms."""
    stage: str = option("main", choices=STAGES)
    """dose: how strong the negatives may be, on separate seeds. main: the arms of the verdict.
    explore: further arms, without a verdict."""
    arms: str = option("", listed="names")
    """Arms of the stage to train, as a comma list; default: all."""
    seeds: str = option("", listed="names")
    """Seeds, such as 0-9 or 0,3; default: those of the stage."""
    only: str = option("", listed="names")
    """Single runs, such as patch-3 or none-3,patch-3, by arm and seed; in place of --arms and
    --seeds."""
    dose: float | None = option(None, above=0.0)
    """alpha / T of the negatives in main and explore; default: the one that the stage dose has
    chosen in --out."""
    device: str = option("auto", choices=("auto", "cpu", "cuda"))
    """auto: CUDA if there is a device, otherwise the CPU."""
    cache: str = option("none", choices=("none", "device"))
    """device: the training images stay on the device as pixels, and fastneg's kernel makes the
    views, as in fastneg pretrain. none: DALI makes the views, which differ a little."""
    jobs: int = option(1, at_least=1)
    """Runs at a time, each in its own process with its share of the cores."""

    def __post_init__(self):
        super().__post_init__()
        self.seed_numbers()
        if self.single_runs() and (self.arms or self.seeds):
            raise ConfigError(
                f"--only is {self.only!r}, which names arms and seeds: leave --arms and --seeds "
                "out."
            )
        if self.dose is not None and self.stage == "dose":
            raise ConfigError(
                f"--dose is {self.dose}, which has no effect with --stage dose: leave it out."
            )

    def seed_numbers(self) -> tuple[int, ...]:
        """The seeds that --seeds names, rising; () for none."""
        found = set()
        for part in filter(str.strip, self.seeds.split(",")):
            match = re.fullmatch(r"\s*(\d{1,18})\s*(?:-\s*(\d{1,18})\s*)?", part)
            first, last = map(int, (match[1], match[2] or match[1])) if match else (1, 0)
            if last < first:
                raise ConfigError(
                    f"--seeds is {self.seeds!r}: whole numbers or ranges, such as 0-9 or 0,3, were "
                    "expected."
                )
            if last - first >= MOST_SEEDS:
                raise ConfigError(
                    f"--seeds is {self.seeds!r}, {last - first + 1:,} seeds: at most "
                    f"{MOST_SEEDS:,} were expected."
                )
            found.update(range(first, last + 1))
        return tuple(sorted(found))

    def single_runs(self) -> tuple[tuple[str, int], ...]:
        """(arm, seed) of the runs that --only names, each once; () for none."""
        found = {}
        for part in filter(str.strip, self.only.split(",")):
            match = re.fullmatch(r"\s*(\w[\w.]*)-(\d{1,18})\s*", part)
            if match is None:
                raise ConfigError(
                    f"--only has {part.strip()!r}: an arm and a seed, such as patch-3, were "
                    "expected."
                )
            found[match[1], int(match[2])] = None
        return tuple(found)
