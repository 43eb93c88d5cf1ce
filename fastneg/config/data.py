"""The commands that make and check data sets: encode, textures, verify."""

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
    """The .beton file to write, or a URL of it; OUT.json beside it holds the classes and what was
    done.

    With --holdout OUT-holdout.beton is written too.
    """
    split: str | None = None
    """The folder below SRC to take (train, val), in any case where only one is called so.

    A last part "." takes a folder as it is (--split . or val/.): its folders are classes, whatever
    they are called. Of a list: the rows with this value in its column split; . takes all rows.
    """
    label_column: str | None = None
    """The column of a list that holds the labels, by name or number from 1; none: take no labels.

    Default: it is found.
    """
    subset: str | None = None
    """imagenet100 (the CMC split), or a text file of class names, one a line: only these classes
    are encoded."""
    holdout: float | None = option(None, above=0.0)
    """Hold images out into a second file, OUT-holdout.beton, as a validation set: below 1 this
    share of each class, from 1 on so many images in all. Every class with two images has one in
    each file; images of the same bytes go into the same one; --seed decides."""
    class_names: str | None = None
    """A text file of lines "CLASS name" (as ImageNet's LOC_synset_mapping.txt): what people call
    the classes, kept in OUT.json."""
    max_side: int | None = option(None, at_least=1)
    """Images with a longer side in pixels are scaled down to it and encoded again; the others stay
    untouched."""
    lossless: bool = False
    """Images that cannot pass through (PNGs, what is turned or scaled down) are stored as raw
    pixels, height × width × 3 bytes; else they become JPEGs: 4:4:4, but for JPEGs with less
    chroma."""
    quality: int | None = option(None, at_least=1, at_most=100, by=("lossless", {False: 90}))
    """JPEG quality of the images that must be encoded again; default 90, none with --lossless."""
    check: str = option("decode", choices=("decode", "markers"))
    """How JPEGs that stay untouched are checked. decode: all markers, and every byte is decoded;
    markers: the former alone, which finds nearly as much and is several times faster."""
    textures: str | None = None
    """A folder that mirrors SRC: the image at the same path there is stored with each sample as its
    texture, for texture negatives; or synth: textures are made while encoding, with the defaults of
    fastneg textures and this --seed."""
    writer: str = option("passthrough", choices=("passthrough", "ffcv"))
    """passthrough: our writer of FFCV's format; ffcv: FFCV's own DatasetWriter, which encodes every
    image again."""
    ffcv_mode: str | None = option(None, choices=("raw", "jpg", "proportion"))
    """FFCV's write_mode (with --writer ffcv); default proportion."""
    on_error: str = option("stop", choices=("stop", "skip"))
    """What an unreadable image does: stop the job, or be listed and skipped."""
    seed: int = option(0, at_least=0, at_most=LARGEST_SEED)
    """Samples are written in an order shuffled with this seed, so that neighbours on disk mix
    classes; it also decides what --holdout takes."""
    workers: int = option(0, at_least=0)
    """Worker processes; 0: one a core."""

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

    Run again, it goes on where it was stopped.
    """

    src: str
    """The images: SRC/<class>/*.jpg, or SRC/<split>/<class>/*.jpg."""
    out: str
    """The folder for the textures, at the same paths; images that cannot be read are skipped and
    listed (exit code 1)."""
    split: str | None = None
    """The folder below SRC to take (train, val)."""
    subset: str | None = None
    """imagenet100 (the CMC split), or a text file of class names, one a line: only these classes
    are taken."""
    size: int = option(224, at_least=1, at_most=4096)
    """Side in pixels of the textures."""
    patch: int = option(96, at_least=2, at_most=1024)
    """Side in pixels of the two source patches, one centred and one at a random place; squares of
    smaller images are enlarged to it."""
    block: int = option(32, at_least=2, at_most=64)
    """Side in pixels of the blocks that a texture is laid of; neighbours share a quarter of it."""
    candidates: int = option(128, at_least=1, at_most=1024)
    """Places tried for each block."""
    quality: int = option(90, at_least=1, at_most=100)
    """JPEG quality of the textures."""
    seed: int = option(0, at_least=0, at_most=LARGEST_SEED)
    """Seeds the textures, each together with the image's path."""
    workers: int = option(0, at_least=0)
    """Worker processes; 0: one a core."""

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
    """The .beton file; several by a comma list, a glob or a range {00..15} in quotes; each may be a
    URL."""
    workers: int = option(0, at_least=0)
    """Worker processes; 0: one a core."""
    cache_dir: str = ""
    """The folder of local copies of what is named by URL; default FASTNEG_CACHE of the
    environment, or fastneg in the user's cache."""
