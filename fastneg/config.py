"""What every command takes: one frozen dataclass each, a docstring under each field, checked when it is built.

A config that exists is valid: types, ranges and choices are checked in `__post_init__`, so no work starts on a wrong one.
A field that belongs to particular choices of another one (the queue to MoCo, say) is None under any other: an option that would have
no effect is refused, and never stands in a config as if it had one.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import math
import os
import textwrap
import types
import typing
from dataclasses import dataclass
from functools import cache


class ConfigError(ValueError):
    """A setting that cannot be: names the field, the value that came and what was expected."""


def option(default, *, choices=None, at_least=None, above=None, at_most=None, below=None, by=None):
    """A dataclass field with the bounds that `Config` checks.

    by: (name of an earlier field, {choice of it: the default there}): under these choices None stands for that default; under any other
    one the field has no effect, must be None, and a value is refused.
    """
    bounds = {"choices": choices, "at_least": at_least, "above": above, "at_most": at_most, "below": below, "by": by}
    return dataclasses.field(default=default, metadata={name: bound for name, bound in bounds.items() if bound is not None})


class Config:
    """Checks each field of a dataclass against its annotation and its bounds."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = _fit(field.name, getattr(self, field.name), _types(type(self))[field.name])
            if "by" in field.metadata:
                value = _governed(field.name, value, *self._governor(field))
            object.__setattr__(self, field.name, value)
            if value is not None:
                _check_bounds(field.name, value, field.metadata)

    def _governor(self, field):
        name, defaults = field.metadata["by"]
        return name, getattr(self, name), defaults

    def replace(self, **changes):
        """A copy with some fields changed, checked again. Fields that belong to another choice of a changed field take its defaults."""
        for field in dataclasses.fields(self):
            if "by" in field.metadata:
                name, value, _ = self._governor(field)
                if changes.get(name, value) != value:
                    changes.setdefault(field.name, None)
        return dataclasses.replace(self, **changes)

    def as_dict(self):
        """The fields as plain JSON types."""
        return dataclasses.asdict(self)


@cache
def _types(cls):
    return typing.get_type_hints(cls)


def _fit(name, value, expected):
    """`value` as the annotated type: an int serves where a float is due; nothing else is converted."""
    options = typing.get_args(expected) if typing.get_origin(expected) in (typing.Union, types.UnionType) else (expected,)
    for kind in options:
        origin = typing.get_origin(kind) or kind
        if origin is tuple and isinstance(value, (tuple, list)):
            element = typing.get_args(kind)[0]
            return tuple(_fit(name, item, element) for item in value)
        if origin is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, bool) != (origin is bool):
            continue
        if isinstance(value, origin):
            return value
    if str in options and isinstance(value, os.PathLike):
        return os.fspath(value)
    if bool in options and isinstance(value, str):
        raise ConfigError(f"--{name} is the text {value!r}: write --{name} True or --{name} False.")
    wanted = " or ".join("nothing" if kind is type(None) else _type_name(kind) for kind in options)
    raise ConfigError(f"--{name} is {value!r} ({type(value).__name__}): {wanted} was expected.")


def _type_name(kind):
    names = {int: "a whole number", float: "a number", str: "a text", bool: "True or False"}
    return names.get(kind, "a list" if typing.get_origin(kind) is tuple else getattr(kind, "__name__", str(kind)))


def _governed(name, value, governor, choice, defaults):
    """The value of a field that has an effect under some choices of another one only."""
    if choice in defaults:
        return defaults[choice] if value is None else value
    if value is not None:
        served = " or ".join(str(each) for each in defaults)
        raise ConfigError(f"--{name} is {value!r}, which has no effect with --{governor} {choice} (only with {served}): leave it out.")
    return None


def _check_bounds(name, value, bounds):
    rules = {
        "choices": (lambda bound: value in bound, lambda bound: "one of " + ", ".join(map(str, bound))),
        "at_least": (lambda bound: value >= bound, lambda bound: f"at least {bound}"),
        "above": (lambda bound: value > bound, lambda bound: f"more than {bound}"),
        "at_most": (lambda bound: value <= bound, lambda bound: f"at most {bound}"),
        "below": (lambda bound: value < bound, lambda bound: f"less than {bound}"),
    }
    for rule, (holds, wording) in rules.items():
        if rule not in bounds:
            continue
        bound = bounds[rule]
        if not holds(bound):  # a NaN fails every comparison, so it is refused wherever there is a bound
            raise ConfigError(f"--{name} is {value!r}: it must be {wording(bound)}.")


@cache
def field_docs(cls):
    """{field: its docstring}, read from the source: the text under each field is the one place where it is explained."""
    docs = {}
    for parent in reversed(cls.__mro__):
        if dataclasses.is_dataclass(parent):
            body = ast.parse(textwrap.dedent(inspect.getsource(parent))).body[0].body
            for statement, following in itertools.pairwise(body):
                if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                    docs[statement.target.id] = inspect.cleandoc(following.value.value)
    return docs


def default_workers():
    """Processes or threads that this process may use."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class EncodeConfig(Config):
    """Encode a folder of images into one .beton file; JPEG bytes pass through untouched."""

    src: str
    """The images: SRC/<class>/*.jpg or SRC/<split>/<class>/*.jpg; SRC/*.jpg (no labels); tar archives or WebDataset shards (one .tar, a
    comma list, a glob in quotes); or a .csv of paths and labels."""
    out: str
    """The .beton file to write; OUT.json beside it holds the classes and what was done."""
    split: str | None = None
    """The folder below SRC to take (train, val)."""
    subset: str | None = None
    """imagenet100 (the CMC split), or a text file of class names, one a line: only these classes are encoded."""
    class_names: str | None = None
    """A text file of lines "CLASS name" (as ImageNet's LOC_synset_mapping.txt): what people call the classes, kept in OUT.json."""
    max_side: int | None = option(None, at_least=1)
    """Images with a longer side in pixels are scaled down to it and encoded again; the others stay untouched."""
    quality: int = option(90, at_least=1, at_most=100)
    """JPEG quality of the images that must be encoded again."""
    textures: str | None = None
    """A folder that mirrors SRC: the image at the same path there is stored with each sample as its texture, for texture negatives; or
    synth: textures are made while encoding, with the defaults of fastneg textures and this --seed."""
    writer: str = option("passthrough", choices=("passthrough", "ffcv"))
    """passthrough: our writer of FFCV's format; ffcv: FFCV's own DatasetWriter, which encodes every image again."""
    ffcv_mode: str | None = option(None, choices=("raw", "jpg", "proportion"))
    """FFCV's write_mode (with --writer ffcv); default proportion."""
    on_error: str = option("stop", choices=("stop", "skip"))
    """What an unreadable image does: stop the job, or be listed and skipped."""
    seed: int = option(0, at_least=0)
    """Samples are written in an order shuffled with this seed, so that neighbours on disk mix classes."""
    workers: int = option(0, at_least=0)
    """Worker processes; 0: one a core."""

    def __post_init__(self):
        super().__post_init__()
        if self.writer != "ffcv" and self.ffcv_mode is not None:
            raise ConfigError(f"--ffcv_mode is {self.ffcv_mode}: it has an effect with --writer ffcv only.")
        if self.writer == "ffcv" and self.textures is not None:
            raise ConfigError("--textures cannot be stored by --writer ffcv: leave --writer out.")


@dataclass(frozen=True)
class TexturesConfig(Config):
    """Make a texture of every image of a folder (an ImageNet-Texture tree). Run again, it goes on where it was stopped."""

    src: str
    """The images: SRC/<class>/*.jpg, or SRC/<split>/<class>/*.jpg."""
    out: str
    """The folder for the textures, at the same paths; images that cannot be read are skipped and listed (exit code 1)."""
    split: str | None = None
    """The folder below SRC to take (train, val)."""
    subset: str | None = None
    """imagenet100 (the CMC split), or a text file of class names, one a line: only these classes are taken."""
    size: int = option(224, at_least=1, at_most=4096)
    """Side in pixels of the textures."""
    patch: int = option(96, at_least=2, at_most=1024)
    """Side in pixels of the two source patches, one centred and one at a random place; squares of smaller images are enlarged to it."""
    block: int = option(32, at_least=2, at_most=64)
    """Side in pixels of the blocks that a texture is laid of; neighbours share a quarter of it."""
    candidates: int = option(128, at_least=1, at_most=1024)
    """Places tried for each block."""
    quality: int = option(90, at_least=1, at_most=100)
    """JPEG quality of the textures."""
    seed: int = option(0, at_least=0)
    """Seeds the textures, each together with the image's path."""
    workers: int = option(0, at_least=0)
    """Worker processes; 0: one a core."""

    def __post_init__(self):
        super().__post_init__()
        if self.block > self.patch:
            raise ConfigError(f"--block is {self.block}, above --patch {self.patch}: a block must fit a source patch.")


@dataclass(frozen=True)
class VerifyConfig(Config):
    """Check every sample of a .beton file: its CRC32 and a full decode. Exit code 1 if any is bad."""

    file: str
    """The .beton file; several by a comma list or a glob in quotes."""
    workers: int = option(0, at_least=0)
    """Worker processes; 0: one a core."""


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
    """moco: MoCo v2 with a queue; byol: prediction of a target network, no negatives but the non-semantic ones; simclr: in-batch."""
    backbone: str = "resnet50"
    """A torchvision classification model by name, timm:NAME, or resnet_tiny (0.3 M parameters, for CPUs)."""
    feature_dim: int | None = option(None, at_least=2, by=("method", {"moco": 128, "byol": 256, "simclr": 128}))
    """Dimension of the normalised features that the loss compares."""
    hidden_dim: int | None = option(None, at_least=1, by=("method", {"byol": 4096}))
    """Width of the hidden layer of projector and predictor."""
    temperature: float | None = option(None, above=0.0, by=("method", {"moco": 0.2, "simclr": 0.1}))
    """Softmax temperature T."""
    queue_size: int | None = option(None, at_least=1, by=("method", {"moco": 16384}))
    """Keys in the queue, K."""
    key_momentum: float | None = option(None, at_least=0.0, below=1.0, by=("method", {"moco": 0.999, "byol": 0.996}))
    """The key encoder (BYOL's target) follows the query encoder with this momentum each step."""
    momentum_schedule: str | None = option(None, choices=("constant", "cosine"), by=("method", {"moco": "constant", "byol": "cosine"}))
    """The momentum stays, or rises to 1 along a cosine over the run."""
    negatives: str = "patch"
    """Non-semantic negatives: patch (tiles of the query view), texture (quilted from patches), blur (low frequencies), random_image (the
    query view of another image: a control); several with commas, such as patch,texture; or none (the plain method)."""
    negatives_per_query: int = option(1, at_least=1, at_most=64)
    """Negatives of each kind for each query, M."""
    alpha: float | str = 2.0
    """Scale of the similarity to the non-semantic negatives: alpha q·t / T inside the exponent, alpha 2 p·t in BYOL's sum. One number,
    or one for each kind, such as patch=2,texture=1."""
    patch_min: int = option(16, at_least=1)
    """Smallest patch side in pixels of a patch negative."""
    patch_max: int = option(72, at_least=1)
    """Largest patch side in pixels of a patch negative."""
    texture_source: str | None = option(None, choices=TEXTURE_SOURCES)
    """Where textures come from (with texture negatives): image, made at every step from two patches of the image, then cropped and changed
    as the query view is; view, made from the query view; file, those that the .beton pairs with its images, changed as the query is."""
    texture_patch: int | None = option(None, at_least=2)
    """Side in pixels of the two source patches of a texture; default 3/7 of the view (96 at 224 px)."""
    texture_block: int | None = option(None, at_least=2, at_most=64)
    """Side in pixels of the blocks of a texture; neighbours share a quarter of it; default 1/7 of the view (32 at 224 px), at most 64."""
    texture_candidates: int | None = option(None, at_least=1, at_most=1024)
    """Places tried for each block of a texture; default 128."""
    bn: str | None = option(
        None, choices=("split", "shuffle", "sync", "none"), by=("method", {"moco": "split", "byol": "none", "simclr": "none"})
    )
    """How batch normalisation is kept from leaking the answer: split (statistics over groups, key batch permuted), shuffle (keys encoded by
    other processes), sync (statistics over all processes), or none."""
    bn_splits: int | None = option(None, at_least=1, by=("bn", {"split": 4}))
    """Groups of the batch on each device with their own batch statistics (with --bn split)."""
    key_pass: str | None = option(None, choices=("separate", "batched"), by=("method", {"moco": "separate"}))
    """Keys and negatives go through the key encoder in passes of their own, or in one that keeps their statistics apart: same numbers."""

    image_size: int = option(224, at_least=16)
    """Side in pixels of each view."""
    image_size_schedule: str | None = None
    """Another side of the views by epoch, EPOCH:SIZE[,EPOCH:SIZE…] beginning with epoch 0, such as 0:128,100:224; evaluation takes
    --image_size."""
    eval_resize: int | None = option(None, at_least=16)
    """Side in pixels to which the shorter side is resized for evaluation, before the central crop; default image_size × 256/224."""
    crop_min: float = option(0.2, above=0.0, at_most=1.0)
    """Smallest share of the image's area that a random crop takes."""
    crop_max: float = option(1.0, above=0.0, at_most=1.0)
    """Largest share of the image's area that a random crop takes."""
    augmentation: str = option("moco_v2", choices=("moco_v1", "moco_v2", "simclr", "colour_invariant", "crop_flip"))
    """The recipe of random changes that makes each view."""
    augment: str = option("dali", choices=("dali", "kernel"))
    """What changes colours, blurs and flips after DALI's decoding and crop: dali (its operators; contrast and hue differ a little from
    torchvision's), or kernel (torchvision's semantics)."""

    order: str = option("random", choices=("random", "page", "sequential"))
    """The order of the samples: random; page (for sets larger than memory: whole pages of the file in random order, their samples mixed);
    or sequential (the order of the file)."""
    max_bad_share: float = option(0.001, at_least=0.0, below=1.0)
    """Samples that cannot be decoded (or, with --check_crc, fail their checksum) are replaced and counted; above this share of them the
    run stops."""

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
    """Epochs at the start in which the learning rate rises linearly, step by step; the cosine takes the epochs after them."""
    sgd_momentum: float = option(0.9, at_least=0.0, below=1.0)
    """Momentum of the optimizer."""
    weight_decay: float = option(1e-4, at_least=0.0)
    """L2 penalty: of SGD on all parameters, of LARS on all but biases and normalisation."""
    lars_trust: float | None = option(None, above=0.0, by=("optimizer", {"lars": 0.001}))
    """Trust coefficient of LARS: the length of a layer's step, as a share of its weights' length, at learning rate 1."""
    seed: int = option(0, at_least=0)
    """Seeds the initial weights, the order, the views and, each from a stream of its own, the negatives."""

    device: str = option("auto", choices=("auto", "cpu", "cuda"))
    """auto: CUDA where there is a device, else the CPU."""
    precision: str = option("auto", choices=("auto", "fp32", "bf16"))
    """auto: bfloat16 autocast on CUDA, float32 on the CPU."""
    accumulate: int | None = option(None, at_least=1, by=("method", {"moco": 1, "byol": 1}))
    """Parts in which a batch passes through the networks, to save memory; each has batch statistics of its own. One step a batch."""
    compile: bool = False
    """Compile the encoders with torch.compile: minutes at the start."""
    compress_gradients: bool = False
    """Send gradients between processes rounded to bfloat16: half the bytes."""
    threads: int = option(0, at_least=0)
    """Decoding threads of each process; 0: its share of the cores."""
    check_crc: bool = False
    """Check each sample's CRC32 while training: catches silent damage on disk, costs one more pass over the bytes."""

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
    """Epochs between measurements of kNN accuracy, and one after the last; 0: none. Needs labels, which training does not see."""
    knn_train: str = ""
    """The labelled .beton file whose images vote; default: the training file."""
    knn_val: str = ""
    """The labelled .beton file whose images are classified; default: every tenth of those that would vote."""
    resume: str = option("auto", choices=("auto", "never"))
    """auto: go on from the newest checkpoint in the run folder, if any; never: refuse a folder that has one."""
    init: str = ""
    """Weights to start from: a checkpoint of the MoCo family, or a state dict of torchvision or timm for this backbone."""
    probe: str = option("crops", choices=("crops", "features"))
    """The linear probe that `fastneg linear` takes by default: on augmented crops (as published) or on stored features (fast)."""

    def __post_init__(self):
        super().__post_init__()
        if self.patch_min > self.patch_max:
            raise ConfigError(f"--patch_min is {self.patch_min}, above --patch_max {self.patch_max}.")
        smallest = min(size for _, size in self.view_sizes())
        self._check_negatives()
        if "patch" in self.negative_kinds() and self.patch_max > smallest:
            where = f"--image_size {smallest}" if self.image_size_schedule is None else f"the {smallest} of --image_size_schedule"
            raise ConfigError(f"--patch_max is {self.patch_max}: a patch cannot be larger than {where}.")
        if self.eval_resize is not None and self.eval_resize < self.image_size:
            raise ConfigError(f"--eval_resize is {self.eval_resize}, below --image_size {self.image_size}: the central crop would not fit.")
        if self.crop_min > self.crop_max:
            raise ConfigError(f"--crop_min is {self.crop_min}, above --crop_max {self.crop_max}.")
        if self.bn in ("split", "shuffle") and self.method != "moco":
            raise ConfigError(
                f"--bn is {self.bn}, which is of no use to --method {self.method}: it keeps keys apart from queries (moco only)."
            )
        if self.key_pass == "batched" and (self.negatives == "none" or self.bn == "sync"):
            wherefore = "there are no negatives" if self.negatives == "none" else "--bn is sync, with statistics over whole passes"
            raise ConfigError(f"--key_pass is batched, but {wherefore}: take separate.")
        for name in ("knn_train", "knn_val"):
            if getattr(self, name) and not self.knn_every:
                raise ConfigError(f"--{name} is {getattr(self, name)!r}, which has no effect without --knn_every.")
        if self.keep_every is not None and self.keep_every % self.checkpoint_every:
            raise ConfigError(
                f"--keep_every is {self.keep_every}: only every {self.checkpoint_every}th epoch writes a checkpoint (--checkpoint_every), "
                "and it must be a multiple of that."
            )
        if self.warmup_epochs >= self.epochs:
            raise ConfigError(f"--warmup_epochs is {self.warmup_epochs}: it must be less than --epochs {self.epochs}.")

    def negative_kinds(self):
        """The kinds of non-semantic negatives, in order; empty for none."""
        return () if self.negatives == "none" else tuple(self.negatives.split(","))

    def alphas(self):
        """The scale of each non-semantic negative of a query, M for each kind in turn."""
        kinds = self.negative_kinds()
        return tuple(alpha for kind in kinds for alpha in [self._alpha_of()[kind]] * self.negatives_per_query)

    def texture(self, size):
        """How textures for views of `size` pixels a side are made: {"patch", "block", "overlap", "candidates"}."""
        block = self.texture_block or min(64, max(2, round(size / 7)))
        patch = self.texture_patch or max(block, round(size * 3 / 7))
        return {"patch": patch, "block": block, "overlap": max(1, block // 4), "candidates": self.texture_candidates or 128}

    def _alpha_of(self):
        kinds = self.negative_kinds()
        if not isinstance(self.alpha, str):
            return dict.fromkeys(kinds, self.alpha)
        wrong = f"--alpha is {self.alpha!r}: a number of at least 0, or one for each kind of --negatives {self.negatives}"
        try:
            pairs = [(name, float(value)) for name, value in (entry.split("=") for entry in self.alpha.split(","))]
        except ValueError:
            raise ConfigError(f"{wrong}, such as patch=2,texture=1, was expected.") from None
        if sorted(name for name, _ in pairs) != sorted(kinds):
            raise ConfigError(f"{wrong}, each named once, was expected.")
        return dict(pairs)

    def _check_negatives(self):
        kinds = self.negative_kinds()
        if len(set(kinds)) < len(kinds) or not set(kinds) <= set(NEGATIVE_KINDS):
            known = ", ".join(("none", *NEGATIVE_KINDS))
            raise ConfigError(f"--negatives is {self.negatives!r}: one of {known}, or several without none, each once, was expected.")
        if not isinstance(self.alpha, str):
            _check_bounds("alpha", self.alpha, {"at_least": 0.0, "below": math.inf})
        for kind, alpha in self._alpha_of().items():
            _check_bounds(f"alpha of {kind}", alpha, {"at_least": 0.0, "below": math.inf})
        if "random_image" in kinds and self.batch_size < 2:
            raise ConfigError(f"--batch_size is {self.batch_size}: random_image needs another image in the batch.")
        if "texture" not in kinds:
            for name in TEXTURE_FIELDS:
                if getattr(self, name) is not None:
                    raise ConfigError(f"--{name} is {getattr(self, name)!r}: it has an effect with texture among --negatives only.")
            return
        object.__setattr__(self, "texture_source", self.texture_source or TEXTURE_SOURCES[0])
        if self.texture_source == "file":
            for name in ("texture_patch", "texture_block", "texture_candidates"):
                if getattr(self, name) is not None:
                    raise ConfigError(f"--{name} is {getattr(self, name)}, which has no effect with --texture_source file: leave it out.")
            if self.negatives_per_query > 1:
                raise ConfigError(f"--negatives_per_query is {self.negatives_per_query}: a file holds one texture of each image.")
            return
        for _, size in self.view_sizes():
            made = self.texture(size)
            if made["block"] > made["patch"] or (self.texture_source == "view" and made["patch"] > size):
                raise ConfigError(
                    f"textures for views of {size} pixels would have blocks of {made['block']} (--texture_block) from patches of "
                    f"{made['patch']} (--texture_patch): a block must fit a patch, and a patch the view."
                )

    def replace(self, **changes):
        """As `Config.replace`; where the negatives change to kinds without texture, what was set up for textures goes too."""
        if "texture" not in str(changes.get("negatives", "texture")).split(","):
            changes = {**dict.fromkeys(TEXTURE_FIELDS), **changes}
        return super().replace(**changes)

    def without_effect(self):
        """Fields of the negatives that do nothing under this config: a command line that gives one is refused."""
        kinds = self.negative_kinds()
        return {
            *(() if kinds else ("alpha", "negatives_per_query")),
            *(() if "patch" in kinds else ("patch_min", "patch_max")),
        }

    def view_sizes(self):
        """[(epoch, side of the views in pixels from that epoch on)], the first from epoch 0 on."""
        if self.image_size_schedule is None:
            return [(0, self.image_size)]
        wrong = f"--image_size_schedule is {self.image_size_schedule!r}: EPOCH:SIZE[,EPOCH:SIZE…] was expected"
        try:
            sizes = [tuple(map(int, entry.split(":"))) for entry in self.image_size_schedule.split(",")]
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


@dataclass(frozen=True)
class ImportConfig(Config):
    """Make a run folder of other projects' weights, for linear, knn, evaluate and report."""

    weights: str
    """A checkpoint of the MoCo family, or a state dict of torchvision or timm (.pth, .pt or .safetensors)."""
    run: str
    """The run folder to make."""
    backbone: str = "resnet50"
    """The network that the weights are of."""
    image_size: int = option(224, at_least=16)
    """Side in pixels of the images that the network is evaluated on."""


@dataclass(frozen=True)
class ExportConfig(Config):
    """Write a run's weights in the form of another project."""

    out: str
    """The file to write."""
    run: str
    """The run folder that `fastneg pretrain` wrote."""
    format: str = option("torchvision", choices=("torchvision", "timm", "moco", "safetensors"))
    """torchvision, timm: the backbone's state dict; safetensors: the same in that format; moco: encoders and queue, as MoCo saves them."""


@dataclass(frozen=True)
class LinearConfig(Config):
    """Train a linear classifier on the frozen encoder of a run and report its accuracy after the last epoch."""

    run: str
    """The run folder that `fastneg pretrain` wrote."""
    train: str
    """The labelled .beton file to train the classifier on; several by a comma list or a glob in quotes."""
    val: str
    """The labelled .beton file to report accuracy on; several likewise."""
    mode: str = option("auto", choices=("auto", "crops", "features", "lbfgs"))
    """crops: SGD on augmented crops, as published; features: SGD on features stored once; lbfgs: logistic regression on them, its weight
    decay chosen on a held-out part of the training set; auto: what the run's preset names, with --share lbfgs."""
    share: float = option(100.0, above=0.0, at_most=100.0)
    """Percent of the labels of each class to train on; below 100 a few-shot probe, which does not take the classifier's place."""
    epochs: int | None = option(None, at_least=1)
    """Passes over the training set; default 60 with crops, 100 with features."""
    lr: float | None = option(None, above=0.0)
    """Learning rate; default 10, ×0.1 at 1/2, 2/3 and 5/6 of the epochs."""
    batch_size: int | None = option(None, at_least=1)
    """Images a step of SGD; default 128."""
    weight_decay: float | None = option(None, at_least=0.0)
    """L2 penalty on the classifier; default 0 with SGD, and with lbfgs a sweep."""
    seed: int = option(0, at_least=0)
    """Seeds the classifier's order and crops, the held-out part and the share of the labels."""
    device: str = option("auto", choices=("auto", "cpu", "cuda"))
    """auto: CUDA where there is a device, else the CPU."""
    threads: int = option(0, at_least=0)
    """Decoding threads; 0: all cores."""


@dataclass(frozen=True)
class FinetuneConfig(Config):
    """Train the encoder of a run together with a linear classifier for a few epochs and report the accuracy after the last one."""

    run: str
    """The run folder that `fastneg pretrain` wrote; its checkpoints stay as they are."""
    train: str
    """The labelled .beton file (or several) to train on."""
    val: str
    """The labelled .beton file (or several) to report accuracy on."""
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
    seed: int = option(0, at_least=0)
    """Seeds order and crops."""
    device: str = option("auto", choices=("auto", "cpu", "cuda"))
    """auto: CUDA where there is a device, else the CPU."""
    threads: int = option(0, at_least=0)
    """Decoding threads; 0: all cores."""


@dataclass(frozen=True)
class KnnConfig(Config):
    """Classify by the weighted votes of the nearest training features."""

    run: str
    """The run folder that `fastneg pretrain` wrote."""
    train: str
    """The labelled .beton file whose features vote; several by a comma list or a glob in quotes."""
    val: str
    """The labelled .beton file to classify; several likewise."""
    k: int = option(200, at_least=1)
    """Neighbours that vote."""
    temperature: float = option(0.07, above=0.0)
    """A neighbour of cosine similarity s weighs exp(s / temperature)."""
    device: str = option("auto", choices=("auto", "cpu", "cuda"))
    """auto: CUDA where there is a device, else the CPU."""
    threads: int = option(0, at_least=0)
    """Decoding threads; 0: all cores."""


@dataclass(frozen=True)
class EvaluateConfig(Config):
    """Evaluate a run's linear classifier on further test sets: accuracy, corruption accuracy, shape bias."""

    run: str
    """The run folder; `fastneg linear` must have been run on it."""
    sets: str
    """NAME=PATH[:METRIC][,NAME=PATH[:METRIC]…]: .beton files (a glob in quotes takes several as one set), folders of classes, or
    ImageNet-C's folders. A set in which shape and texture disagree (an int field `texture`, or file names such as cat7-elephant2.png)
    gets a shape bias too. METRIC (accuracy, shape_bias, texture, corruptions) asks for that alone; texture gives accuracy by class on a
    set of textures."""
    corruptions: str = option("off", choices=("off", "on", "all"))
    """on: also evaluate the first set under ImageNet-C's 15 corruptions at five severities; all: and under its 4 extra ones."""
    similarity: str = option("off", choices=("off", "on"))
    """on: also count, on the first set, the similarities of queries to their positives, to the queue and to patch negatives."""
    categories: str = "16"
    """The categories of cue-conflict sets: 16 (those of model-vs-human), or a file: JSON {category: [class, …]} or CSV class,group."""
    groups: str | None = None
    """A file of groups by which sets with the metric texture are summed up, fine-grained against coarse, say: as --categories."""
    arg_max: str = option("all", choices=("all", "present"))
    """all: over every class of the classifier; present: over the classes that occur in the set."""
    device: str = option("auto", choices=("auto", "cpu", "cuda"))
    """auto: CUDA where there is a device, else the CPU."""
    threads: int = option(0, at_least=0)
    """Decoding threads; 0: all cores."""


@dataclass(frozen=True)
class ReportConfig(Config):
    """Write one self-contained HTML page about one or more runs."""

    runs: tuple[str, ...]
    """The run folders to show side by side."""
    out: str = "report.html"
    """The file to write."""
    group: str = option("seeds", choices=("seeds", "none"))
    """seeds: runs that differ in their seed alone stand as one, with mean and standard deviation; none: each run stands alone."""
    files: str = option("off", choices=("off", "on"))
    """on: also write each plot as SVG and PNG and each table as CSV and LaTeX, into a folder beside the page (report-files)."""


@dataclass(frozen=True)
class DemoConfig(Config):
    """The whole road on the built-in data set: make it, encode, pre-train, probe, evaluate, report."""

    out: str = "demo-run"
    """The folder for the images, .beton files, the run and report.html."""
    size: str = option("small", choices=("tiny", "small"))
    """small: a few minutes on two cores; tiny: seconds, to see that everything works."""
    seed: int = option(0, at_least=0)
    """Seeds the data set and the training."""
    device: str = option("auto", choices=("auto", "cpu", "cuda"))
    """auto: CUDA where there is a device, else the CPU."""


@dataclass(frozen=True)
class BenchConfig(Config):
    """Measure one part against its alternatives in the same run."""

    name: str = option(
        "all",
        choices=(
            "loader",
            "encode",
            "order",
            "patch_shuffle",
            "augment",
            "info_nce",
            "textures",
            "corruptions",
            "compile",
            "step",
            "scaling",
            "all",
        ),
    )
    """What to measure."""
    json: str | None = None
    """Also write the rows to this file, one JSON object a line."""
    csv: str | None = None
    """Also write the rows to this file as a table, with device, versions and commit; for info_nce a plot (.svg) beside it."""
    inside_gb_s: float | None = option(None, above=0.0, by=("name", {"scaling": 450.0, "all": 450.0}))
    """Bandwidth of a GPU to others of its machine that the model assumes, in 1e9 bytes/s and one direction; default that of NVLink 4."""
    between_gb_s: float | None = option(None, above=0.0, by=("name", {"scaling": 50.0, "all": 50.0}))
    """Bandwidth of a GPU to other machines that the model assumes; default one 400 Gbit/s adapter for each GPU."""
    latency_us: float | None = option(None, at_least=0.0, by=("name", {"scaling": 5.0, "all": 5.0}))
    """Latency of one hop of a collective that the model assumes, in microseconds."""


@dataclass(frozen=True)
class PresetsConfig(Config):
    """List the presets with their settings."""

    all: bool = False
    """Show every field, not only those that differ from the defaults."""
