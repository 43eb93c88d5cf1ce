"""The settings of pre-training; those of a run stand in its config.json."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

from fastneg.config.augmentation import augmentation_of, read_augmentation
from fastneg.config.base import Config, ConfigError, check_bounds, option
from fastneg.config.normalisation import IMAGENET, INTERPOLATIONS, Normalisation, three_numbers
from fastneg.counts import counted, ordinal

NEGATIVE_KINDS = ("patch", "texture", "blur", "random_image")
"""The names of `fastneg.negatives.NEGATIVES`."""
TEXTURE_SOURCES = ("image", "view", "file")
TEXTURE_FIELDS = ("texture_source", "texture_patch", "texture_block", "texture_candidates")


@dataclass(frozen=True)
class PretrainConfig(Config):
    """Pre-train an encoder with contrastive learning and non-semantic negatives."""

    data: str = ""
    """The .beton file to train on; several by a comma list or a glob in quotes."""
    out: str = ""
    """The run folder: config, metrics, checkpoints, TensorBoard events."""

    method: str = option("moco", choices=("moco", "byol", "simclr"))
    """moco: MoCo v2 with a queue; byol: prediction of a target network, no negatives but the
    non-semantic ones; simclr: in-batch."""
    backbone: str = "resnet50"
    """A torchvision classification model by name, timm:NAME, or resnet_tiny (0.3 M parameters, for
    CPUs)."""
    feature_dim: int | None = option(
        None, at_least=2, by=("method", {"moco": 128, "byol": 256, "simclr": 128})
    )
    """Dimension of the normalised features that the loss compares."""
    hidden_dim: int | None = option(None, at_least=1, by=("method", {"byol": 4096}))
    """Width of the hidden layer of projector and predictor."""
    temperature: float | None = option(None, above=0.0, by=("method", {"moco": 0.2, "simclr": 0.1}))
    """Softmax temperature T."""
    queue_size: int | None = option(None, at_least=1, by=("method", {"moco": 16384}))
    """Keys in the queue, K."""
    key_momentum: float | None = option(
        None, at_least=0.0, below=1.0, by=("method", {"moco": 0.999, "byol": 0.996})
    )
    """The key encoder (BYOL's target) follows the query encoder with this momentum each step."""
    momentum_schedule: str | None = option(
        None, choices=("constant", "cosine"), by=("method", {"moco": "constant", "byol": "cosine"})
    )
    """The momentum stays, or rises to 1 along a cosine over the run."""
    negatives: str = "patch"
    """Non-semantic negatives: patch (tiles of the query view), texture (quilted from patches), blur
    (low frequencies), random_image (the query view of another image: a control); several with
    commas, such as patch,texture; or none (the plain method)."""
    negatives_per_query: int = option(1, at_least=1, at_most=64)
    """Negatives of each kind for each query, M."""
    alpha: float | str = 2.0
    """Scale of the similarity to the non-semantic negatives: alpha q·t / T inside the exponent,
    alpha 2 p·t in BYOL's sum. One number, or one for each kind, such as patch=2,texture=1."""
    patch_min: int = option(16, at_least=1)
    """Smallest patch side in pixels of a patch negative."""
    patch_max: int = option(72, at_least=1)
    """Largest patch side in pixels of a patch negative."""
    texture_source: str | None = option(None, choices=TEXTURE_SOURCES)
    """Where textures come from (with texture negatives): image, made at every step from two patches
    of the image, then cropped and changed as the query view is; view, made from the query view;
    file, those that the .beton pairs with its images, changed as the query is."""
    texture_patch: int | None = option(None, at_least=2)
    """Side in pixels of the two source patches of a texture; default 3/7 of the view (96 at 224
    px)."""
    texture_block: int | None = option(None, at_least=2, at_most=64)
    """Side in pixels of the blocks of a texture; neighbours share a quarter of it; default 1/7 of
    the view (32 at 224 px), at most 64."""
    texture_candidates: int | None = option(None, at_least=1, at_most=1024)
    """Places tried for each block of a texture; default 128."""
    bn: str | None = option(
        None,
        choices=("split", "shuffle", "sync", "none"),
        by=("method", {"moco": "split", "byol": "none", "simclr": "none"}),
    )
    """How batch normalisation is kept from leaking the answer: split (statistics over groups, key
    batch permuted), shuffle (keys encoded by other processes), sync (statistics over all
    processes), or none."""
    bn_splits: int | None = option(None, at_least=1, by=("bn", {"split": 4}))
    """Groups of the batch on each device with their own batch statistics (with --bn split)."""
    key_pass: str | None = option(
        None, choices=("separate", "batched"), by=("method", {"moco": "separate"})
    )
    """Keys and negatives go through the key encoder in passes of their own, or in one that keeps
    their statistics apart: same numbers."""

    image_size: int = option(224, at_least=16)
    """Side in pixels of each view."""
    image_size_schedule: str | None = None
    """Another side of the views by epoch, EPOCH:SIZE[,EPOCH:SIZE…] beginning with epoch 0, such as
    0:128,100:224; evaluation takes --image_size."""
    eval_resize: int | None = option(None, at_least=16)
    """Side in pixels to which the shorter side is resized for evaluation, before the central crop;
    default image_size × 256/224."""
    eval_interpolation: str = option("bilinear", choices=INTERPOLATIONS)
    """How evaluation, and the probe's crops, resize; either averages over what a shrunken pixel
    covers."""
    mean: float | str | tuple[float, ...] = IMAGENET.mean
    """What is taken off red, green and blue, of pixels in 0 to 1, wherever the network sees images:
    ImageNet's, or three numbers such as 0.5,0.5,0.5, as weights of another origin were trained
    with."""
    std: float | str | tuple[float, ...] = IMAGENET.std
    """What they are divided by then; three numbers likewise."""
    crop_min: float = option(0.2, above=0.0, at_most=1.0)
    """Smallest share of the image's area that a random crop takes."""
    crop_max: float = option(1.0, above=0.0, at_most=1.0)
    """Largest share of the image's area that a random crop takes."""
    augmentation: str | tuple[dict, ...] = "moco_v2"
    """The recipe of random changes that makes each view: moco_v1, moco_v2, simclr,
    colour_invariant, crop_flip, or a file NAME.json that lists operations, whose contents the run
    keeps."""
    augment: str = option("dali", choices=("dali", "kernel"))
    """What changes colours, blurs and flips after DALI's decoding and crop: dali (its operators;
    contrast and hue differ a little from torchvision's), or kernel (torchvision's semantics)."""

    order: str = option("random", choices=("random", "page", "sequential"))
    """The order of the samples: random; page (for sets larger than memory: whole pages of the file
    in random order, their samples mixed); or sequential (the order of the file)."""
    max_bad_share: float = option(0.001, at_least=0.0, below=1.0)
    """Samples that cannot be decoded (or, with --check_crc, fail their checksum) are replaced and
    counted; above this share of them the run stops."""

    epochs: int = option(200, at_least=1)
    """Passes over the data."""
    batch_size: int = option(128, at_least=1)
    """Images a step over all processes."""
    optimizer: str = option("sgd", choices=("sgd", "lars"))
    """sgd, or lars: SGD with a rate for each layer, for batches of thousands."""
    lr: float = option(0.03, above=0.0)
    """Learning rate at its highest, for this batch size (no scaling is applied)."""
    lr_schedule: str = option("cosine_epoch", choices=("cosine_epoch", "cosine_step"))
    """Cosine decay to 0, set anew each epoch (as published for MoCo) or each step."""
    warmup_epochs: int = option(0, at_least=0)
    """Epochs at the start in which the learning rate rises linearly, step by step; the cosine takes
    the epochs after them."""
    sgd_momentum: float = option(0.9, at_least=0.0, below=1.0)
    """Momentum of the optimizer."""
    weight_decay: float = option(1e-4, at_least=0.0)
    """L2 penalty: of SGD on all parameters, of LARS on all but biases and normalisation."""
    lars_trust: float | None = option(None, above=0.0, by=("optimizer", {"lars": 0.001}))
    """Trust coefficient of LARS: the length of a layer's step, as a share of its weights' length,
    at learning rate 1."""
    seed: int = option(0, at_least=0)
    """Seeds the initial weights, the order, the views and, each from a stream of its own, the
    negatives."""

    device: str = option("auto", choices=("auto", "cpu", "cuda"))
    """auto: CUDA where there is a device, else the CPU."""
    precision: str = option("auto", choices=("auto", "fp32", "bf16"))
    """auto: bfloat16 autocast on CUDA, float32 on the CPU."""
    accumulate: int | None = option(None, at_least=1, by=("method", {"moco": 1, "byol": 1}))
    """Parts in which a batch passes through the networks, to save memory; each has batch statistics
    of its own. One step a batch."""
    compile: bool = False
    """Compile the encoders with torch.compile: minutes at the start."""
    cuda_graphs: bool = False
    """Replay the passes of keys and negatives as CUDA graphs, recorded at the first step of each
    view size; on a GPU only."""
    compress_gradients: bool = False
    """Send gradients between processes rounded to bfloat16: half the bytes."""
    threads: int = option(0, at_least=0)
    """Decoding threads of each process; 0: its share of the cores."""
    check_crc: bool = False
    """Check each sample's CRC32 while training: catches silent damage on disk, costs one more pass
    over the bytes."""

    log_every: int = option(10, at_least=1)
    """Steps between lines of metrics.jsonl."""
    checkpoint_every: int = option(1, at_least=1)
    """Epochs between checkpoints; the end of the run and a stop by signal always write one."""
    keep_checkpoints: int = option(3, at_least=1)
    """Newest checkpoints kept."""
    keep_every: int | None = option(None, at_least=1)
    """Also keep the checkpoint of every n-th epoch; a multiple of checkpoint_every."""
    wandb: str = ""
    """Log to this project of Weights & Biases too (needs the extra wandb)."""
    knn_every: int = option(0, at_least=0)
    """Epochs between measurements of kNN accuracy, and one after the last; 0: none.

    Needs labels, which training does not see.
    """
    knn_train: str = ""
    """The labelled .beton file whose images vote; default: the training file."""
    knn_val: str = ""
    """The labelled .beton file whose images are classified; default: every tenth of those that
    would vote."""
    resume: str = option("auto", choices=("auto", "never"))
    """auto: go on from the newest checkpoint in the run folder, if any; never: refuse a folder that
    has one."""
    init: str = ""
    """Weights to start from: a checkpoint of the MoCo family, or a state dict of torchvision or
    timm for this backbone."""
    probe: str = option("crops", choices=("crops", "features"))
    """The linear probe that `fastneg linear` takes by default: on augmented crops (as published) or
    on stored features (fast)."""

    def __post_init__(self):
        super().__post_init__()
        for name in Normalisation._fields:
            object.__setattr__(self, name, three_numbers(name, getattr(self, name)))
        if self.patch_min > self.patch_max:
            raise ConfigError(
                f"--patch_min is {self.patch_min}, above --patch_max {self.patch_max}."
            )
        smallest = min(size for _, size in self.view_sizes())
        self._check_negatives()
        if "patch" in self.negative_kinds() and self.patch_max > smallest:
            where = (
                f"--image_size {smallest}"
                if self.image_size_schedule is None
                else f"the {smallest} of --image_size_schedule"
            )
            raise ConfigError(
                f"--patch_max is {self.patch_max}: a patch cannot be larger than {where}."
            )
        if self.eval_resize is not None and self.eval_resize < self.image_size:
            raise ConfigError(
                f"--eval_resize is {self.eval_resize}, below --image_size {self.image_size}: the "
                "central crop would not fit."
            )
        self._check_augmentation()
        if self.crop_min > self.crop_max:
            raise ConfigError(f"--crop_min is {self.crop_min}, above --crop_max {self.crop_max}.")
        if self.bn in ("split", "shuffle") and self.method != "moco":
            raise ConfigError(
                f"--bn is {self.bn}, which is of no use to --method {self.method}: it keeps keys "
                "apart from queries (moco only)."
            )
        if self.key_pass == "batched" and (self.negatives == "none" or self.bn == "sync"):
            wherefore = (
                "there are no negatives"
                if self.negatives == "none"
                else "--bn is sync, with statistics over whole passes"
            )
            raise ConfigError(f"--key_pass is batched, but {wherefore}: take separate.")
        if self.cuda_graphs and (self.method == "simclr" or self.bn == "sync" or self.compile):
            wherefore = (
                "--compile makes kernels of its own"
                if self.compile
                else "with --bn sync a pass waits for other processes"
            )
            wherefore = (
                "--method simclr has no key encoder" if self.method == "simclr" else wherefore
            )
            raise ConfigError(f"--cuda_graphs is True, but {wherefore}: leave one of them out.")
        for name in ("knn_train", "knn_val"):
            if getattr(self, name) and not self.knn_every:
                raise ConfigError(
                    f"--{name} is {getattr(self, name)!r}, which has no effect without --knn_every."
                )
        if self.keep_every is not None and self.keep_every % self.checkpoint_every:
            raise ConfigError(
                f"--keep_every is {self.keep_every}: only every {ordinal(self.checkpoint_every)} "
                "epoch writes a checkpoint (--checkpoint_every), and it must be a multiple of "
                "that."
            )
        if self.warmup_epochs >= self.epochs:
            raise ConfigError(
                f"--warmup_epochs is {self.warmup_epochs}: it must be less than --epochs "
                f"{self.epochs}."
            )

    def recipe(self):
        """The `Augmentation` that makes each view."""
        return augmentation_of(self.augmentation)

    def normalisation(self):
        """The `Normalisation` of all that the network sees."""
        return Normalisation(self.mean, self.std)

    def evaluation_options(self):
        """How evaluation makes the network's images, as `CropLoader` and `EvalLoader` take it."""
        return {
            "normalisation": self.normalisation(),
            "interpolation": self.eval_interpolation,
            "max_bad_share": self.max_bad_share,
        }

    def view_options(self):
        """How views are made, as `TrainLoader` takes it."""
        return {
            "normalisation": self.normalisation(),
            "augmentation": self.recipe(),
            "augment": self.augment,
            "crop_area": (self.crop_min, self.crop_max),
            "texture": None if self.texture_source == "view" else self.texture_source,
            "texture_patch": lambda size: self.texture(size)["patch"],
        }

    def _check_augmentation(self):
        if isinstance(self.augmentation, str) and (
            self.augmentation.endswith(".json") or os.path.exists(self.augmentation)
        ):
            object.__setattr__(self, "augmentation", read_augmentation(self.augmentation))
        if self.recipe().area is not None:
            raise ConfigError(
                f"The crop of --augmentation has the area {list(self.recipe().area)}: leave it "
                "out, and give --crop_min and --crop_max."
            )

    def negative_kinds(self):
        """The kinds of non-semantic negatives, in order; empty for none."""
        return () if self.negatives == "none" else tuple(self.negatives.split(","))

    def alphas(self):
        """The scale of each non-semantic negative of a query, M for each kind in turn."""
        kinds = self.negative_kinds()
        return tuple(
            alpha for kind in kinds for alpha in [self._alpha_of()[kind]] * self.negatives_per_query
        )

    def texture(self, size):
        """How textures for views of `size` pixels a side are made: {"patch", "block", "overlap",
        "candidates"}."""
        block = self.texture_block or min(64, max(2, round(size / 7)))
        patch = self.texture_patch or max(block, round(size * 3 / 7))
        return {
            "patch": patch,
            "block": block,
            "overlap": max(1, block // 4),
            "candidates": self.texture_candidates or 128,
        }

    def _alpha_of(self):
        kinds = self.negative_kinds()
        if not isinstance(self.alpha, str):
            return dict.fromkeys(kinds, self.alpha)
        wrong = (
            f"--alpha is {self.alpha!r}: a number of at least 0, or one for each kind of "
            f"--negatives {self.negatives}"
        )
        try:
            pairs = [
                (name, float(value))
                for name, value in (entry.split("=") for entry in self.alpha.split(","))
            ]
        except ValueError:
            raise ConfigError(f"{wrong}, such as patch=2,texture=1, was expected.") from None
        if sorted(name for name, _ in pairs) != sorted(kinds):
            raise ConfigError(f"{wrong}, each named once, was expected.")
        return dict(pairs)

    def _check_negatives(self):
        kinds = self.negative_kinds()
        if len(set(kinds)) < len(kinds) or not set(kinds) <= set(NEGATIVE_KINDS):
            known = ", ".join(("none", *NEGATIVE_KINDS))
            raise ConfigError(
                f"--negatives is {self.negatives!r}: one of {known}, or several without none, "
                "each once, was expected."
            )
        if not isinstance(self.alpha, str):
            check_bounds("alpha", self.alpha, {"at_least": 0.0, "below": math.inf})
        for kind, alpha in self._alpha_of().items():
            check_bounds(f"alpha of {kind}", alpha, {"at_least": 0.0, "below": math.inf})
        if "random_image" in kinds and self.batch_size < 2:
            raise ConfigError(
                f"--batch_size is {self.batch_size}: random_image needs another image in the batch."
            )
        if "texture" not in kinds:
            for name in TEXTURE_FIELDS:
                if getattr(self, name) is not None:
                    raise ConfigError(
                        f"--{name} is {getattr(self, name)!r}: it has an effect with texture "
                        "among --negatives only."
                    )
            return
        object.__setattr__(self, "texture_source", self.texture_source or TEXTURE_SOURCES[0])
        if self.texture_source == "file":
            for name in ("texture_patch", "texture_block", "texture_candidates"):
                if getattr(self, name) is not None:
                    raise ConfigError(
                        f"--{name} is {getattr(self, name)}, which has no effect with "
                        "--texture_source file: leave it out."
                    )
            if self.negatives_per_query > 1:
                raise ConfigError(
                    f"--negatives_per_query is {self.negatives_per_query}: a file holds one "
                    "texture of each image."
                )
            return
        for _, size in self.view_sizes():
            made = self.texture(size)
            if made["block"] > made["patch"] or (
                self.texture_source == "view" and made["patch"] > size
            ):
                raise ConfigError(
                    f"textures for views of {counted(size, 'pixel')} would have blocks of "
                    f"{made['block']} (--texture_block) from patches of {made['patch']} "
                    "(--texture_patch): a block must fit a patch, and a patch the view."
                )

    def replace(self, **changes: Any) -> PretrainConfig:
        """As `Config.replace`; where the negatives change to kinds without texture, what was set up
        for textures goes too."""
        if "texture" not in str(changes.get("negatives", "texture")).split(","):
            changes = {**dict.fromkeys(TEXTURE_FIELDS), **changes}
        return super().replace(**changes)

    def without_effect(self):
        """Fields of the negatives that do nothing under this config: a command line that gives one
        is refused."""
        kinds = self.negative_kinds()
        return {
            *(() if kinds else ("alpha", "negatives_per_query")),
            *(() if "patch" in kinds else ("patch_min", "patch_max")),
        }

    def view_sizes(self):
        """[(epoch, side of the views in pixels from that epoch on)], the first from epoch 0 on."""
        if self.image_size_schedule is None:
            return [(0, self.image_size)]
        wrong = (
            f"--image_size_schedule is {self.image_size_schedule!r}: "
            "EPOCH:SIZE[,EPOCH:SIZE…] was expected"
        )
        try:
            sizes = [
                tuple(map(int, entry.split(":"))) for entry in self.image_size_schedule.split(",")
            ]
            epochs = [epoch for epoch, _ in sizes]
        except ValueError:
            raise ConfigError(f"{wrong}, such as 0:128,100:224.") from None
        if epochs[0] != 0 or epochs != sorted(set(epochs)):
            raise ConfigError(f"{wrong}, the first epoch 0 and each later than the one before.")
        if min(size for _, size in sizes) < 16:
            raise ConfigError(f"{wrong}, each size at least 16.")
        return sizes

    def view_size(self, epoch):
        """Side of the views in pixels in an epoch."""
        return next(size for start, size in reversed(self.view_sizes()) if start <= epoch)
