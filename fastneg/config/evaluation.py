"""The commands that judge a run: linear, finetune, knn, evaluate."""

from __future__ import annotations

from dataclasses import dataclass

from fastneg import plugins
from fastneg.config.base import Config
from fastneg.negatives import NEGATIVES
from fastneg.options import LARGEST_SEED, ConfigError, nearest, option


@dataclass(frozen=True)
class LinearConfig(Config):
    """Train a linear classifier on the frozen encoder of a run and report its accuracy after the
    last epoch."""

    run: str
    """The run folder that `fastneg pretrain` wrote."""
    train: str = option(listed="paths")
    """The labelled .beton file to train the classifier on; several by a comma list or a glob in
    quotes; each may be a URL."""
    val: str = option(listed="paths")
    """The labelled .beton file to report accuracy on; several likewise."""
    mode: str = option("auto", choices=("auto", "crops", "features", "lbfgs"))
    """crops: SGD on augmented crops, as published; features: SGD on features stored once; lbfgs:
    logistic regression on them, its weight decay chosen on a held-out part of the training set;
    auto: the mode that the run's preset sets; with --share lbfgs."""
    share: float = option(100.0, above=0.0, at_most=100.0)
    """Percent of the labels of each class to train on; below 100 a few-shot probe, which does not
    take the classifier's place."""
    epochs: int | None = option(None, at_least=1)
    """Passes over the training set; default 60 with crops, 100 with features."""
    lr: float | None = option(None, above=0.0)
    """Learning rate; default 10, ×0.1 at 1/2, 2/3 and 5/6 of the epochs."""
    batch_size: int | None = option(None, at_least=1)
    """Images a step of SGD; default 128."""
    weight_decay: float | None = option(None, at_least=0.0)
    """L2 penalty on the classifier; default 0 with SGD, and with lbfgs a sweep."""
    seed: int = option(0, at_least=0, at_most=LARGEST_SEED)
    """Seeds the classifier's order and crops, the held-out part and the share of the labels."""
    untrained: str = option("off", choices=("off", "on"))
    """on: also probe the same network with the weights that its seed gave it before training, and
    say where the trained one is not above it; takes the probe's time once more."""
    device: str = option("auto", choices=("auto", "cpu", "cuda"))
    """auto: CUDA where there is a device, else the CPU."""
    threads: int = option(0, at_least=0)
    """Decoding threads; 0: all cores."""
    cache_dir: str = ""
    """The folder of local copies of what is named by URL; default the run's, as of pretrain."""

    def __post_init__(self):
        super().__post_init__()
        if self.untrained == "on" and self.share < 100:
            raise ConfigError(
                f"--untrained is on with --share {self.share:g}: an untrained encoder is probed on "
                "all labels; leave one of them out."
            )


@dataclass(frozen=True)
class FinetuneConfig(Config):
    """Train the encoder of a run together with a linear classifier for a few epochs and report the
    accuracy after the last one."""

    run: str
    """The run folder that `fastneg pretrain` wrote; its checkpoints stay as they are."""
    train: str = option(listed="paths")
    """The labelled .beton file (or several, or URLs) to train on."""
    val: str = option(listed="paths")
    """The labelled .beton file (or several, or URLs) to report accuracy on."""
    share: float = option(100.0, above=0.0, at_most=100.0)
    """Percent of the labels of each class to train on: few-shot fine-tuning, as a line of its own.

    Fewer images take more epochs.
    """
    epochs: int = option(10, at_least=1)
    """Passes over the training set."""
    lr: float = option(0.01, above=0.0)
    """Learning rate of the encoder at the start; it decays along a cosine, step by step."""
    head_lr: float = option(0.1, above=0.0)
    """Learning rate of the classifier at the start."""
    batch_size: int = option(128, at_least=1)
    """Images a step."""
    weight_decay: float = option(1e-4, at_least=0.0)
    """L2 penalty on encoder and classifier."""
    seed: int = option(0, at_least=0, at_most=LARGEST_SEED)
    """Seeds order, crops and the share of the labels."""
    device: str = option("auto", choices=("auto", "cpu", "cuda"))
    """auto: CUDA where there is a device, else the CPU."""
    threads: int = option(0, at_least=0)
    """Decoding threads; 0: all cores."""
    cache_dir: str = ""
    """The folder of local copies of what is named by URL; default the run's, as of pretrain."""


@dataclass(frozen=True)
class KnnConfig(Config):
    """Classify by the weighted votes of the nearest training features."""

    run: str
    """The run folder that `fastneg pretrain` wrote."""
    train: str = option(listed="paths")
    """The labelled .beton file whose features vote; several by a comma list or a glob in quotes;
    each may be a URL."""
    val: str = option(listed="paths")
    """The labelled .beton file to classify; several likewise."""
    k: int = option(200, at_least=1)
    """Neighbours that vote."""
    temperature: float = option(0.07, above=0.0)
    """A neighbour of cosine similarity s weighs exp(s / temperature)."""
    device: str = option("auto", choices=("auto", "cpu", "cuda"))
    """auto: CUDA where there is a device, else the CPU."""
    threads: int = option(0, at_least=0)
    """Decoding threads; 0: all cores."""
    cache_dir: str = ""
    """The folder of local copies of what is named by URL; default the run's, as of pretrain."""


@dataclass(frozen=True)
class EvaluateConfig(Config):
    """Evaluate a run's linear classifier on further test sets: accuracy, corruption accuracy, shape
    bias."""

    run: str
    """The run folder; `fastneg linear` must have been run on it."""
    sets: str = option(listed="paths")
    """NAME=PATH[:METRIC][:resize=none|PIXELS][,NAME=PATH…]: .beton files (a glob in quotes takes
    several as one set; URLs too), folders of classes or of their places in ImageNet,
    model-vs-human's sessions, folders of corruptions and severities, or CIFAR-10-C's. A set in
    which shape and texture disagree (an int field `texture`, or file names such as
    cat7-elephant2.png) gets a shape bias too. METRIC (accuracy, shape_bias, texture, corruptions)
    asks for that alone; texture gives accuracy by class on a set of textures. resize=none shows the
    images whole, without the run's resize and central crop, as sets published at 224 px (cue
    conflict, edges, silhouettes, stylized, ImageNet-C) are by themselves; resize=256 scales the
    shorter side to 256 px."""
    corruptions: str = option("off", choices=("off", "on", "all"))
    """on: also evaluate the first set under ImageNet-C's 15 corruptions at five severities; all:
    and under its 4 extra ones."""
    similarity: str = option("off", listed="names")
    """on: also count, on the first set, the similarities of queries to their positives, to the
    queue and to the run's kinds of negatives (patch for a run without any); or kinds by name, such
    as patch,texture."""
    categories: str = "16"
    """The categories of sets whose classes are categories, such as cue conflict: 16 (those of
    model-vs-human), or a file: JSON {category: [class, …]} or CSV class,group."""
    groups: str | None = None
    """A file of groups by which sets with the metric texture are summed up, fine-grained against
    coarse, say: as --categories."""
    arg_max: str = option("all", choices=("all", "present"))
    """all: over every class of the classifier; present: over the classes that occur in the set."""
    device: str = option("auto", choices=("auto", "cpu", "cuda"))
    """auto: CUDA where there is a device, else the CPU."""
    threads: int = option(0, at_least=0)
    """Decoding threads; 0: all cores."""
    cache_dir: str = ""
    """The folder of local copies of what is named by URL; default the run's, as of pretrain."""

    def __post_init__(self):
        super().__post_init__()
        kinds = self.similarity_kinds() or ()
        if not set(kinds) <= set(NEGATIVES):
            plugins.load()
        images = [name for name, kind in NEGATIVES.items() if not kind.from_queue]
        if not set(kinds) <= set(images) or len(set(kinds)) < len(kinds):
            unknown = [kind for kind in kinds if kind not in images]
            raise ConfigError(
                f"--similarity is {self.similarity!r}: off, on, or some of {', '.join(images)}, "
                "each once, was expected"
                + (nearest(unknown[0], ["off", "on", *images]) if unknown else ".")
            )

    def similarity_kinds(self):
        """The kinds of negatives whose similarities are asked for by name; None for those of the
        run, or for no similarities."""
        return None if self.similarity in ("off", "on") else tuple(self.similarity.split(","))
