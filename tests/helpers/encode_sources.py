"""Folders and archives of images as sources of encode, and the classes that it finds in them."""

import io
import tarfile

import numpy as np

from fastneg.config import EncodeConfig
from fastneg.data import BetonReader
from fastneg.data.encode.encode import encode
from helpers.images import jpeg, photo, saved


def make_folder(root, classes=("b", "a"), images=3, suffix="jpg"):
    rng = np.random.default_rng(0)
    for name in classes:
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(images):
            data = jpeg(photo(rng, 40, 48)) if suffix == "jpg" else saved(photo(rng, 40, 48), "PNG")
            (
                root
                / name
                / f"{name}{i}-{classes[0] if name != classes[0] else classes[1]}{i}.{suffix}"
            ).write_bytes(data)
    return root


def tar(path, members):
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return str(path)


PHOTO = jpeg(photo(np.random.default_rng(0), 24, 24))


def labelled(src, tmp_path, **options):
    """{name: class} of what encode makes, and its summary."""
    out = tmp_path / "out.beton"
    summary = encode(EncodeConfig(str(src), str(out), workers=1, **options))
    with BetonReader(out) as reader:
        classes = (
            None if reader.labels is None else [reader.classes[label] for label in reader.labels]
        )
        return dict(zip(reader.names, classes or [None] * len(reader), strict=True)), summary
