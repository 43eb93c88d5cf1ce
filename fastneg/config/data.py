"""The settings of the commands that make and check data sets: encode, textures, verify."""

from __future__ import annotations

from dataclasses import dataclass

from fastneg.config.base import Config
from fastneg.options import LARGEST_SEED, ConfigError, option


@dataclass(frozen=True)
class EncodeConfig(Config):
    """Encode a folder of images into one .beton file; JPEG bytes pass through untouched."""

    src: str = option(listed="paths")
    """The images: SRC/<class>/*.jpg or SRC/<split>/<class>/*.jpg; SRC/*.jpg (no labels); tar
    archives or WebDataset shards (one .tar, a comma list, a glob or a range {000..146} in quotes);
    or a list of paths and labels (.csv, .tsv, .txt, .jsonl). Each may be a URL (s3://, gs://,
    hf://, https://; with the extra remote)."""
    out: str
    """The .beton file to write, or its URL. OUT.json beside it holds the classes and the settings.
    With --holdout, OUT-holdout.beton is written too."""
    split: str | None = None
    """The folder below SRC to encode (train, val); upper or lower case does not matter if only one
    folder fits. With a last part "." (--split . or val/.) all folders there are classes, whatever
    they are called. With a list: the rows with this value in the column split; . takes all rows."""
    label_column: str | None = None
    """The column of a list that holds the labels, by name or by number from 1. none: use no labels.
    Default: the column is found."""
    subset: str | None = None
    """imagenet100 (the CMC split), or a text file of class names, one per line: only these classes
    are encoded."""
    holdout: float | None = option(None, above=0.0)
    """Hold images out into a second file, OUT-holdout.beton, as a validation set. Below 1: this
    fraction of each class. From 1 on: this number of images in all. Every class with two or more
    images has at least one in each file, and images with the same bytes go into the same file.
    --seed makes the choice."""
    class_names: str | None = None
    """A text file of lines "CLASS name" (as ImageNet's LOC_synset_mapping.txt) with readable class
    names, which are stored in OUT.json."""
    max_side: int | None = option(None, at_least=1)
    """Scale images with a longer side in pixels down to this size and encode them again. Other
    images are copied."""
    lossless: bool = False
    """Store images that cannot be copied (PNGs, images that are rotated or scaled down) as raw
    pixels, height × width × 3 bytes. Otherwise they become JPEGs: 4:4:4, except for JPEGs with less
    chroma."""
    quality: int | None = option(None, at_least=1, at_most=100, by=("lossless", {False: 90}))
    """JPEG quality of the images that must be encoded again; default 90. Not with --lossless."""
    check: str = option("decode", choices=("decode", "markers"))
    """How JPEGs that are copied are checked. decode: read all markers and decode every byte.
    markers: read only the markers, which finds nearly as much and is several times faster."""
    textures: str | None = None
    """A folder with the same structure as SRC: the image at the same path is stored with each
    sample as its texture, for texture negatives. synth: make the textures while encoding, with the
    defaults of fastneg textures and this --seed."""
    writer: str = option("passthrough", choices=("passthrough", "ffcv"))
    """passthrough: fastneg's writer of FFCV's format, which copies JPEG bytes. ffcv: FFCV's own
    DatasetWriter, which encodes every image again."""
    ffcv_mode: str | None = option(None, choices=("raw", "jpg", "proportion"))
    """FFCV's write_mode (with --writer ffcv); default proportion."""
    on_error: str = option("stop", choices=("stop", "skip"))
    """What to do with an unreadable image. stop: end the job. skip: list the image and leave it
    out."""
    seed: int = option(0, at_least=0, at_most=LARGEST_SEED)
    """Seeds the order of the samples in the file, which is shuffled so that neighbours on disk mix
    classes, and the choice of --holdout."""
    workers: int = option(0, at_least=0)
    """Worker processes; 0: one per core."""

    def __post_init__(self):
        super().__post_init__()
        if self.holdout is not None and self.holdout >= 1 and not self.holdout.is_integer():
            raise ConfigError(
                f"--holdout is {self.holdout}: a share below 1, or a whole number of images, was "
                "expected."
            )
        if self.writer != "ffcv" and self.ffcv_mode is not None:
            raise ConfigError(
                f"--ffcv_mode is {self.ffcv_mode}: it has an effect with --writer ffcv only."
            )
        if self.writer == "ffcv" and self.check != "decode":
            raise ConfigError(
                f"--check is {self.check}, which has no effect with --writer ffcv: it decodes "
                "every image."
            )
        if self.writer == "ffcv" and self.lossless:
            raise ConfigError(
                "--lossless has no effect with --writer ffcv: give --ffcv_mode raw, which stores "
                "the pixels of every image."
            )
        if self.writer == "ffcv" and self.textures is not None:
            raise ConfigError("--textures cannot be stored by --writer ffcv: leave --writer out.")


@dataclass(frozen=True)
class TexturesConfig(Config):
    """Make a texture of every image of a folder (an ImageNet-Texture tree).

    The same command resumes after a stop.
    """

    src: str
    """The images: SRC/<class>/*.jpg, or SRC/<split>/<class>/*.jpg."""
    out: str
    """The folder for the textures, at the same paths. Images that cannot be read are listed and
    skipped (exit code 1)."""
    split: str | None = None
    """The folder below SRC to use (train, val)."""
    subset: str | None = None
    """imagenet100 (the CMC split), or a text file of class names, one per line: only these classes
    are used."""
    size: int = option(224, at_least=1, at_most=4096)
    """Side in pixels of the textures."""
    patch: int = option(96, at_least=2, at_most=1024)
    """Side in pixels of the two source patches, one from the centre and one from a random place.
    For smaller images, smaller squares are enlarged to it."""
    block: int = option(32, at_least=2, at_most=64)
    """Side in pixels of the blocks of a texture; neighbouring blocks share a quarter of it."""
    candidates: int = option(128, at_least=1, at_most=1024)
    """Random candidates for each block."""
    quality: int = option(90, at_least=1, at_most=100)
    """JPEG quality of the textures."""
    seed: int = option(0, at_least=0, at_most=LARGEST_SEED)
    """Seeds the textures, each together with the image's path."""
    workers: int = option(0, at_least=0)
    """Worker processes; 0: one per core."""

    def __post_init__(self):
        super().__post_init__()
        if self.block > self.patch:
            raise ConfigError(
                f"--block is {self.block}, above --patch {self.patch}: a block must fit a source "
                "patch."
            )


@dataclass(frozen=True)
class VerifyConfig(Config):
    """Check every sample of a .beton file: its CRC32 and a full decode.

    Exit code 1 if any is bad.
    """

    file: str = option(listed="paths")
    """The .beton file; several as a comma list, a glob or a range {00..15} in quotes. Each may be a
    URL."""
    workers: int = option(0, at_least=0)
    """Worker processes; 0: one per core."""
    cache_dir: str = ""
    """The folder for local copies of files that are named by URL; default: FASTNEG_CACHE of the
    environment, or fastneg in the user's cache."""
