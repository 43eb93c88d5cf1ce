"""The settings of the commands that evaluate a run: linear, finetune, knn, evaluate."""

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
    """The labelled .beton file to train the classifier on; several as a comma list or a glob in
    quotes. Each may be a URL."""
    val: str = option(listed="paths")
    """The labelled .beton file to report accuracy on; several in the same way."""
    mode: str = option("auto", choices=("auto", "crops", "features", "lbfgs"))
    """crops: SGD on augmented crops, the published protocol. features: SGD on features stored once.
    lbfgs: logistic regression on stored features, with the weight decay chosen on a held-out part
    of the training set. auto: the mode that the run's preset sets; with --share, lbfgs."""
    share: float = option(100.0, above=0.0, at_most=100.0)
    """Percent of the labels of each class to train on. Below 100 this is a few-shot probe, which
    does not replace the classifier of the run."""
    epochs: int | None = option(None, at_least=1)
    """Passes over the training set; default 60 with crops, 100 with features."""
    lr: float | None = option(None, above=0.0)
    """Learning rate; default 10, ×0.1 at 1/2, 2/3 and 5/6 of the epochs."""
    batch_size: int | None = option(None, at_least=1)
    """Images per step of SGD; default 128."""
    weight_decay: float | None = option(None, at_least=0.0)
    """L2 penalty on the classifier; default 0 with SGD, and a sweep with lbfgs."""
    seed: int = option(0, at_least=0, at_most=LARGEST_SEED)
    """Seeds the order and the crops, the held-out part, and the choice of labels with --share."""
    untrained: str = option("off", choices=("off", "on"))
    """on: also probe the network with its initial weights, and say if the trained network is not
    better. This takes the time of the probe once more."""
    device: str = option("auto", choices=("auto", "cpu", "cuda"))
    """auto: CUDA if there is a device, otherwise the CPU."""
    threads: int = option(0, at_least=0)
    """Decoding threads; 0: all cores."""
    cache_dir: str = ""
    """The folder for local copies of files that are named by URL; default: that of the run (see
    pretrain)."""

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
    """The run folder that `fastneg pretrain` wrote. Its checkpoints are not changed."""
    train: str = option(listed="paths")
    """The labelled .beton file (or several, or URLs) to train on."""
    val: str = option(listed="paths")
    """The labelled .beton file (or several, or URLs) to report accuracy on."""
    share: float = option(100.0, above=0.0, at_most=100.0)
    """Percent of the labels of each class to train on: few-shot fine-tuning, in a separate line of
    results. With fewer images use more epochs."""
    epochs: int = option(10, at_least=1)
    """Passes over the training set."""
    lr: float = option(0.01, above=0.0)
    """Learning rate of the encoder at the start; it decays along a cosine, step by step."""
    head_lr: float = option(0.1, above=0.0)
    """Learning rate of the classifier at the start."""
    batch_size: int = option(128, at_least=1)
    """Images per step."""
    weight_decay: float = option(1e-4, at_least=0.0)
    """L2 penalty on encoder and classifier."""
    seed: int = option(0, at_least=0, at_most=LARGEST_SEED)
    """Seeds the order, the crops, and the choice of labels with --share."""
    device: str = option("auto", choices=("auto", "cpu", "cuda"))
    """auto: CUDA if there is a device, otherwise the CPU."""
    threads: int = option(0, at_least=0)
    """Decoding threads; 0: all cores."""
    cache_dir: str = ""
    """The folder for local copies of files that are named by URL; default: that of the run (see
    pretrain)."""


@dataclass(frozen=True)
class KnnConfig(Config):
    """Classify images by the weighted votes of their nearest training features."""

    run: str
    """The run folder that `fastneg pretrain` wrote."""
    train: str = option(listed="paths")
    """The labelled .beton file whose features vote; several as a comma list or a glob in quotes.
    Each may be a URL."""
    val: str = option(listed="paths")
    """The labelled .beton file to classify; several in the same way."""
    k: int = option(200, at_least=1)
    """Neighbours that vote."""
    temperature: float = option(0.07, above=0.0)
    """A neighbour with cosine similarity s has the weight exp(s / temperature)."""
    device: str = option("auto", choices=("auto", "cpu", "cuda"))
    """auto: CUDA if there is a device, otherwise the CPU."""
    threads: int = option(0, at_least=0)
    """Decoding threads; 0: all cores."""
    cache_dir: str = ""
    """The folder for local copies of files that are named by URL; default: that of the run (see
    pretrain)."""


@dataclass(frozen=True)
class EvaluateConfig(Config):
    """Evaluate a run's linear classifier on further test sets: accuracy, corruption accuracy, shape
    bias."""

    run: str
    """The run folder. `fastneg linear` must have trained its classifier."""
    sets: str = option(listed="paths")
    """NAME=PATH[:METRIC][:resize=none|PIXELS][,NAME=PATH…]. PATH is a .beton file (several as a
    glob in quotes; URLs too), a folder of classes or of numbered ImageNet classes, model-vs-human's
    sessions, a folder of corruptions and severities, or CIFAR-10-C's arrays. A set in which shape
    and texture disagree (an int field `texture`, or file names such as cat7-elephant2.png) gets a
    shape bias too. METRIC (accuracy, shape_bias, texture, corruptions) computes only this metric;
    texture gives the accuracy by class on a set of textures. resize=none shows the whole images,
    without the run's resize and central crop. This is the default for sets published at 224 px (cue
    conflict, edges, silhouettes, stylized, ImageNet-C). resize=256 scales the shorter side to 256
    px."""
    corruptions: str = option("off", choices=("off", "on", "all"))
    """on: also evaluate the first set under ImageNet-C's 15 corruptions at five severities. all:
    also under its 4 extra ones."""
    similarity: str = option("off", listed="names")
    """on: also measure, on the first set, the similarities of queries to their positives, to the
    queue and to the run's kinds of negatives (patch if the run has none). Or kinds by name, such as
    patch,texture."""
    categories: str = "16"
    """The categories of sets whose classes are categories, such as cue conflict. 16: those of
    model-vs-human. Or a file: JSON {category: [class, …]} or CSV class,group."""
    groups: str | None = None
    """A file with groups of classes, for example fine-grained and coarse ones, over which sets with
    the metric texture are summed up. Format as --categories."""
    arg_max: str = option("all", choices=("all", "present"))
    """all: the best of all classes of the classifier. present: the best of the classes that occur
    in the set."""
    device: str = option("auto", choices=("auto", "cpu", "cuda"))
    """auto: CUDA if there is a device, otherwise the CPU."""
    threads: int = option(0, at_least=0)
    """Decoding threads; 0: all cores."""
    cache_dir: str = ""
    """The folder for local copies of files that are named by URL; default: that of the run (see
    pretrain)."""

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
