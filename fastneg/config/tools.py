"""The commands around training and evaluation: import, export, embed, report, demo, presets,
completion, stencils, show."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cache

from fastneg.config.base import Config
from fastneg.config.normalisation import INTERPOLATIONS, Normalisation, three_numbers
from fastneg.config.pretrain import PretrainConfig
from fastneg.options import LARGEST_SEED, ConfigError, option

FAMILIES = 16
"""Shapes that the stencils have, and textures."""
PICTURES = (".png", ".html")
"""What `fastneg show` writes."""


@dataclass(frozen=True)
class ImportConfig(Config):
    """Make a run folder from weights of other projects, for linear, knn, evaluate and report."""

    weights: str
    """A checkpoint or state dict (.pth, .pt, .ckpt, .bin or .safetensors) of any project that holds
    the backbone's tensors under one prefix, or another run folder."""
    run: str
    """The run folder to make."""
    backbone: str = ""
    """The network of the weights, as in pretrain; default: the one that a fastneg run or export
    names, otherwise resnet50."""
    stem: str = option("auto", choices=("auto", "small", "standard"))
    """The network's first layers, as in pretrain."""
    prefix: str = ""
    """The prefix of the backbone in the file, such as student.module.backbone; . for an empty
    prefix. Default: it is found."""
    by_order: bool = False
    """Match tensors by their order instead of by name. They must be as many, of the same kinds and
    shapes."""
    classifier: str = option("off", choices=("off", "on"))
    """on: also import the network's linear classifier, so that evaluate works without fastneg
    linear. A classifier with 1000 classes is assumed to be ImageNet's."""
    image_size: int | None = option(None, at_least=16)
    """Side in pixels of the images on which the network is evaluated; default: timm's setting for
    timm:NAME, otherwise 224."""
    eval_resize: int | None = option(None, at_least=16)
    """Side in pixels to which the shorter side is resized for evaluation, before the central crop;
    default: image_size divided by timm's crop_pct, otherwise image_size × 256/224."""
    eval_interpolation: str | None = option(None, choices=INTERPOLATIONS)
    """Interpolation of this resize; default: timm's setting, otherwise bilinear."""
    mean: float | str | tuple[float, ...] | None = None
    """Mean of red, green and blue, for pixels in 0 to 1: three numbers, such as 0.5,0.5,0.5.
    Default: what the file says, if fastneg export made it; for timm:NAME or timm:NAME.TAG, timm's
    settings (pretrained_cfg); otherwise ImageNet's."""
    std: float | str | tuple[float, ...] | None = None
    """Standard deviation of red, green and blue, in the same way."""

    def __post_init__(self):
        super().__post_init__()
        for name in Normalisation._fields:
            if getattr(self, name) is not None:
                object.__setattr__(self, name, three_numbers(name, getattr(self, name)))
        if self.by_order and self.prefix:
            raise ConfigError(
                f"--prefix is {self.prefix!r}, which has no effect with --by_order: leave one out."
            )
        if (self.mean is None) != (self.std is None):
            given, missing = ("mean", "std") if self.std is None else ("std", "mean")
            raise ConfigError(f"--{given} is given without --{missing}: they belong together.")


@dataclass(frozen=True)
class ExportConfig(Config):
    """Write a run's weights in the format of another project."""

    out: str
    """The file to write; with --format huggingface, the folder."""
    run: str
    """The run folder that `fastneg pretrain` wrote."""
    format: str = option(
        "torchvision",
        choices=("torchvision", "timm", "moco", "safetensors", "huggingface", "onnx"),
    )
    """torchvision, timm: the backbone's state dict. safetensors: the same in that format.
    huggingface: a folder of config.json and model.safetensors, which timm reads as local-dir:OUT.
    onnx: the backbone as a graph. moco: encoders and queue, as MoCo saves them."""


@dataclass(frozen=True)
class EmbedConfig(Config):
    """Write the features that a run's encoder gives the images of a file, with labels and names."""

    out: str
    """The file to write: NAME.npz or NAME.parquet (with the extra parquet)."""
    run: str
    """The run folder that `fastneg pretrain` wrote."""
    data: str = option(listed="paths")
    """The .beton file of the images; several as a comma list or a glob in quotes. Each may be a
    URL."""
    picture: str = option("off", choices=("off", "pca", "umap"))
    """pca, umap (with the extra umap): also compute a two-dimensional picture of the images for the
    report."""
    set: str = ""
    """The name of the images in the report; default: that of the file."""
    resize: int | None = option(None, at_least=16)
    """Side in pixels to which the shorter side is resized before the central crop; default: that of
    the run."""
    batch_size: int = option(256, at_least=1)
    """Images at a time."""
    device: str = option("auto", choices=("auto", "cpu", "cuda"))
    """auto: CUDA if there is a device, otherwise the CPU."""
    threads: int = option(0, at_least=0)
    """Decoding threads; 0: all cores."""
    cache_dir: str = ""
    """The folder for local copies of files that are named by URL; default: that of the run (see
    pretrain)."""

    def __post_init__(self):
        super().__post_init__()
        if self.set and self.picture == "off":
            raise ConfigError(
                f"--set is {self.set!r}, which has no effect without --picture: leave it out."
            )


@dataclass(frozen=True)
class ReportConfig(Config):
    """Write one self-contained HTML page about one or more runs, or about a study."""

    runs: tuple[str, ...]
    """The run folders to show side by side, or the folder of one fastneg study."""
    out: str = "report.html"
    """The file to write."""
    group: str = option("seeds", choices=("seeds", "none"))
    """seeds: runs that differ only in their seed form one column, with mean and standard deviation.
    none: each run has its own column."""
    files: str = option("off", choices=("off", "on"))
    """on: also write each plot as SVG and PNG and each table as CSV and LaTeX, into a folder beside
    the page (report-files)."""


@dataclass(frozen=True)
class DemoConfig(Config):
    """Run the whole pipeline on the built-in set: draw, encode, pre-train with and without
    negatives, probe, evaluate, report."""

    out: str = "demo-run"
    """The folder for the images, .beton files, the runs and report.html."""
    size: str = option("small", choices=("tiny", "small"))
    """small: a few minutes on two cores; tiny: seconds, to see that everything works."""
    seed: int = option(0, at_least=0, at_most=LARGEST_SEED)
    """Seeds the data set and the training."""
    device: str = option("auto", choices=("auto", "cpu", "cuda"))
    """auto: CUDA if there is a device, otherwise the CPU."""


@dataclass(frozen=True)
class PresetsConfig(Config):
    """List the presets with their settings."""

    all: bool = False
    """Show every field, not only those that differ from the defaults."""


@dataclass(frozen=True)
class CompletionConfig(Config):
    """Print a shell script that completes commands, flags and their choices."""

    shell: str = option(choices=("bash", "zsh", "fish"))
    """The shell. In its start file: eval "$(fastneg completion bash)", likewise for zsh, and
    fastneg completion fish | source."""


@dataclass(frozen=True)
class StencilsSpec(Config):
    """Everything that decides the pixels of the stencils, except the set and the index."""

    size: int = option(64, at_least=48, at_most=224)
    """Side in pixels of the square images."""
    shapes: int = option(12, at_least=2, at_most=FAMILIES)
    """Classes: this number of shapes from the beginning of CLASSES. The own texture of a class has
    the same position in TEXTURES."""
    textures: int | None = option(None, at_least=2, at_most=FAMILIES)
    """Textures in use: this number from the beginning of TEXTURES. Textures beyond `shapes` belong
    to no class. Default: one for each shape."""
    rho: float = option(0.9, at_least=0.0, at_most=1.0)
    """Correlation of shape and texture in train and in_domain. With this probability an object has
    its class's own texture, otherwise one drawn from all in use (including its own). 0:
    independent. 1: texture always gives the shape."""
    seed: int = option(0, at_least=0, at_most=LARGEST_SEED)
    """Seeds every image, together with the set and the index."""

    def __post_init__(self):
        super().__post_init__()
        if self.textures is not None and self.textures < self.shapes:
            raise ConfigError(
                f"--textures is {self.textures}, below --shapes {self.shapes}: each class has a "
                "texture of its own, by which a conflict of cues is told."
            )

    def textures_used(self) -> int:
        """How many textures objects wear."""
        return self.textures or self.shapes


@dataclass(frozen=True)
class StencilsConfig(StencilsSpec):
    """Write the built-in set, whose images have known shapes and textures."""

    out: str = ""
    """The folder to write into: OUT/<set>.beton, or OUT/<set>/<class>/*.jpg."""
    to: str = option("beton", choices=("beton", "folders"))
    """beton: one file for each set, with the fields label and texture. folders: class folders of
    JPEGs; those of the swapped set are named like cue-conflict images."""
    sets: str = option("", listed="names")
    """The sets to write, as a comma list; default: train and all test sets."""
    train: int = option(6000, at_least=1)
    """Images of the training set."""
    test: int = option(1320, at_least=1)
    """Images of each test set. With a multiple of shapes × (shapes - 1) the swapped set has each
    pair of cues equally often."""
    workers: int = option(0, at_least=0)
    """Worker processes; 0: one per core."""

    def __post_init__(self):
        super().__post_init__()
        if not self.out:
            raise ConfigError("OUT is missing: the folder to write into.")

    def spec(self) -> StencilsSpec:
        """What decides about the pixels."""
        return StencilsSpec(self.size, self.shapes, self.textures, self.rho, self.seed)


def show_config():
    """The config of `fastneg show`: its own fields, and those of `PretrainConfig` that are
    registered by now."""
    return _show_class(tuple(field.name for field in dataclasses.fields(PretrainConfig)))


@cache
def _show_class(names):
    @dataclasses.dataclass(frozen=True)
    class ShowConfig(PretrainConfig):
        """Draw the first images of a run with their views and negatives.

        For a run folder the settings are those of the run. For a .beton file they are those of
        --preset, by default moco_patch_in100. The flags of fastneg pretrain change them.
        """

        source: str = ""
        """The .beton file, which may be a URL, or a run folder."""
        out: str = ""
        """The file to write: NAME.png or NAME.html."""
        images: int = option(8, at_least=1, at_most=256)
        """Number of images to draw, from the beginning of the first batch."""

        def __post_init__(self):
            super().__post_init__()
            if not self.out.lower().endswith(PICTURES):
                raise ConfigError(
                    f"OUT is {self.out}: a name that ends in {' or '.join(PICTURES)} was expected."
                )

        @property
        def run(self):
            """The run folder, "" where the source is a .beton file."""
            return "" if self.source == self.data else self.source

        def settings(self):
            """The `PretrainConfig` of the run that is shown."""
            return PretrainConfig(**{name: getattr(self, name) for name in names})

    return ShowConfig
