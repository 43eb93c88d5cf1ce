"""Textures made before training, on the CPU: a folder of them, or the texture field of a .beton
file.

A texture depends on the pixels of its image, the settings, the seed and the image's name: not on
the order or the number of processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from fastneg.config import ConfigError
from fastneg.data.encode.folders import read_file
from fastneg.data.encode.outputs import refuse_linked_back, textures_output
from fastneg.data.encode.sources import find_images
from fastneg.data.errors import BetonError
from fastneg.data.images import guarded, jpeg_of, load_rgb, pillow
from fastneg.data.jpeg import FULL_CHROMA
from fastneg.data.pool import CHUNK, chunks, in_order
from fastneg.files import write_atomically, write_json
from fastneg.kernels.texture import block_grid, quilt
from fastneg.progress import Progress

JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe")


@dataclass(frozen=True)
class SynthesisedTextures:
    """Makes the texture of an image file: called with names and files' bytes, as `encode` calls it,
    in worker processes."""

    size: int = 224
    """Side in pixels of the textures."""
    patch: int = 96
    """Side in pixels of the two source patches, one centred and one at a random place.

    Of an image with a shorter side they are squares of that side, enlarged to `patch`: a texture of
    a 1×1 image is of its colour.
    """
    block: int = 32
    """Side in pixels of the blocks; neighbours share a quarter of it."""
    candidates: int = 128
    """Places tried for each block."""
    quality: int = 90
    """JPEG quality."""
    seed: int = 0
    chroma: str = FULL_CHROMA
    """Chroma subsampling of the JPEG."""

    def __call__(self, names, files):
        """The JPEG bytes of a texture for each image, or a text that says why there is none."""
        return [
            guarded(partial(self.make, name), file) for name, file in zip(names, files, strict=True)
        ]

    def make(self, name, file):
        """JPEG bytes of the texture of one image file's bytes; BetonError if it cannot be
        decoded."""
        image, _ = load_rgb(file)
        seed = np.random.SeedSequence([self.seed, 3, zlib.crc32(os.fsencode(name))]).generate_state(
            3, np.uint64
        )
        places = (np.full(2, 0.5), np.random.Generator(np.random.PCG64(int(seed[0]))).random(2))
        sources = torch.from_numpy(np.stack([self._cut(image, place) for place in places])).permute(
            0, 3, 1, 2
        )[None]
        blocks = {"block": self.block, "overlap": max(1, self.block // 4)}
        size = (self.size, self.size)
        generator = torch.Generator().manual_seed(int(seed[1] >> np.uint64(1)))
        corners = self._draw_corners(block_grid(size, **blocks), len(places), generator)
        texture = quilt(sources, corners, size, **blocks)
        return jpeg_of(
            pillow().fromarray(texture[0, 0].permute(1, 2, 0).numpy()), self.quality, self.chroma
        )

    def _draw_corners(self, grid, sources, generator):
        """(1, 1, B, K) int32: the places tried for each block, as `quilt` takes them.

        They are those of `draw_corners` of fastneg.negatives for the same generator, and a test
        keeps it so: a texture does not depend on when it is made.
        """
        room = self.patch - self.block + 1
        shape = (1, 1, grid[0] * grid[1], self.candidates)
        place = torch.randint(0, sources * room**2, shape, dtype=torch.int32, generator=generator)
        source, row, column = place // room**2, place // room % room, place % room
        return (source * self.patch + row) * self.patch + column

    def _cut(self, image, place):
        """(P, P, 3) uint8: a square of the image, of `patch` pixels where it has as many."""
        side = min(self.patch, *image.size)
        left, top = (
            int(share * (length - side + 1))
            for share, length in zip(place, image.size, strict=True)
        )
        square = image.crop((left, top, left + side, top + side))
        return np.asarray(
            square
            if side == self.patch
            else square.resize((self.patch, self.patch), pillow().Resampling.BILINEAR)
        )


def write_textures(config):
    """Write the texture of every image of a folder to the same path below another one.

    A texture that is there already stays: the same command goes on where it was stopped. Files
    appear whole or not at all.

    Args:
        config: TexturesConfig.
    Returns:
        dict: images, made, kept (there before), bytes, seconds, skipped [str], ignored (files that
        are no images by their suffix), notes [str] (sentences about what was found).
    Raises:
        ConfigError: src, split or subset name what does not exist, or out holds textures of other
            settings. OutputError, one of them: out is src, lies in it or holds it.
        BetonError: there are no images, or two whose textures would have one name.
    """
    began, out = time.perf_counter(), textures_output(config)
    make = SynthesisedTextures(
        config.size, config.patch, config.block, config.candidates, config.quality, config.seed
    )
    sources = find_images(config, labels_matter=False)
    targets = {}
    for name in sources.names:
        other = targets.setdefault(_target(name), name)
        if other != name:
            raise BetonError(
                f"{other} and {name} would have one texture, {_target(name)}: rename one of them."
            )
    refuse_linked_back(out, config.src, targets)
    _claim(out, make)
    missing = [name for target, name in targets.items() if not (out / target).exists()]
    done = {"images": len(targets), "made": 0, "kept": len(targets) - len(missing), "bytes": 0}
    done |= {
        "skipped": list(sources.skipped),
        "ignored": sources.ignored,
        "notes": list(sources.notes),
    }
    results = in_order(
        partial(_write_chunk, make, config.src, config.out), chunks(missing, CHUNK), config.workers
    )
    with Progress("textures", len(missing)) as progress, contextlib.closing(results):
        for name, result in zip(
            missing, (result for chunk in results for result in chunk), strict=True
        ):
            if isinstance(result, str):
                done["skipped"].append(f"{name}: {result}")
            else:
                done["made"] += 1
                done["bytes"] += result
            progress.advance(1, 0 if isinstance(result, str) else result)
    return {**done, "seconds": time.perf_counter() - began}


def _target(name):
    path = Path(name)
    return (path if path.suffix.lower() in JPEG_SUFFIXES else path.with_suffix(".jpg")).as_posix()


def _claim(out, make):
    """Write the settings into the folder, or refuse one that holds textures of others."""
    note, settings = out / "textures.json", dict(make.__dict__)
    if note.exists():
        found = json.loads(note.read_text(encoding="utf-8"))
        if found != settings:
            differing = ", ".join(
                f"{name} {found.get(name)} → {value}"
                for name, value in settings.items()
                if found.get(name) != value
            )
            raise ConfigError(
                f"{out} holds textures of other settings ({differing}): keep them, or choose "
                "another folder."
            )
        return
    out.mkdir(parents=True, exist_ok=True)
    write_json(note, settings)


def _write_chunk(make, src, out, names):
    torch.set_num_threads(1)  # the processes share the cores
    return [guarded(partial(_write_one, make, Path(src), Path(out)), name) for name in names]


def _write_one(make, src, out, name):
    """The size of the texture's file, which is written under a temporary name first."""
    jpeg, path = make.make(name, read_file(src / name)), out / _target(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda file: file.write(jpeg), sync=False)  # the next call makes it anew
    return len(jpeg)
