"""The texture image paired with each sample while encoding: see `textures` of
`fastneg.data.encode.encode.encode`."""

from __future__ import annotations

import os
from pathlib import Path

from fastneg.config import ConfigError
from fastneg.data.encode.folders import SUFFIXES, list_folder, read_file, why_unreadable
from fastneg.data.errors import BetonError
from fastneg.data.images import guarded


class MirroredTextures:
    """Takes the texture of SRC/<name> from FOLDER/<name>, or from a file there that differs in its
    suffix alone.

    Args:
        folder: mirrors the tree of the images, as `fastneg textures` writes it.
    Raises:
        ConfigError: there is no such folder.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise ConfigError(
                f"--textures is {str(folder)!r}: a folder with a texture for each image, at the "
                "same path as below SRC, was expected."
            )

    def __call__(self, names, files):
        """An image file's bytes for each name, or a text that says why there is none; the images
        themselves do not matter here."""
        return [guarded(self._read, name) for name in names]

    def missing(self, names):
        """Yield (name, why) for each image without a texture.

        Each folder is listed once; nothing is opened.
        """
        stems = {}
        for name in names:
            folder, base = os.path.split(name)
            if os.path.isabs(name) or ".." in folder.split("/"):
                continue  # `_read` says that
            if folder not in stems:
                stems[folder] = self._stems(folder)
            there = stems[folder]
            if isinstance(there, str):
                yield name, there
            elif base not in there and os.path.splitext(base)[0] not in there:
                yield name, f"there is no {self.folder / name}, nor one with another suffix"

    def _stems(self, folder):
        """The names of the files in a folder, whole and without an image's suffix; or why it cannot
        be read."""
        try:
            files = list_folder(self.folder / folder).files
        except OSError as error:
            return f"{self.folder / folder}: {why_unreadable(self.folder / folder, error)}"
        return {
            *files,
            *(stem for stem, end in map(os.path.splitext, files) if end.lower() in SUFFIXES),
        }

    def _read(self, name):
        # the folder would be left: an image would be its own texture
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise BetonError(
                f"{name} is not below SRC: textures are found by the path of an image below it"
            )
        path = self.folder / name
        if not path.exists():
            others = [
                other
                for suffix in sorted(SUFFIXES)
                for other in (path.with_suffix(suffix), path.with_suffix(suffix.upper()))
            ]
            path = next((other for other in others if other.exists()), path)
        return read_file(path)
