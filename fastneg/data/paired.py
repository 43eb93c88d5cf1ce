"""The texture image paired with each sample while encoding: see `textures` of `fastneg.data.encode.encode`."""

from __future__ import annotations

from pathlib import Path

from fastneg.config import ConfigError
from fastneg.data.errors import BetonError
from fastneg.data.image_files import guarded
from fastneg.data.sources import SUFFIXES


class MirroredTextures:
    """Takes the texture of SRC/<name> from FOLDER/<name>, or from a file there that differs in its suffix alone.

    Args:
        folder: mirrors the tree of the images, as `fastneg textures` writes it.
    Raises:
        ConfigError: there is no such folder.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise ConfigError(
                f"--textures is {str(folder)!r}: a folder with a texture for each image, at the same path as below SRC, was expected."
            )

    def __call__(self, names, files):
        """An image file's bytes for each name, or a text that says why there is none; the images themselves do not matter here."""
        return [guarded(self._read, name) for name in names]

    def _read(self, name):
        if Path(name).is_absolute() or ".." in Path(name).parts:  # the folder would be left: an image would be its own texture
            raise BetonError(f"{name} is not below SRC: textures are found by the path of an image below it")
        path = self.folder / name
        if not path.exists():
            others = [other for suffix in sorted(SUFFIXES) for other in (path.with_suffix(suffix), path.with_suffix(suffix.upper()))]
            path = next((other for other in others if other.exists()), path)
        return path.read_bytes()
