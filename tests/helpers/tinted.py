"""Photos tinted by their class, so that even an untrained encoder tells the classes apart."""

import numpy as np

from fastneg.data import BetonReader, BetonWriter
from helpers.images import jpeg, photo, saved

SIZE = 32
TINTS = np.random.default_rng(99).integers(0, 256, (8, 3))


def make_beton(path, count=24, classes=("a", "b", "c", "d"), seed=0, **fields):
    """Photos tinted by their class, so that even an untrained encoder tells them apart; further int
    fields by function of the position."""
    rng = np.random.default_rng(seed)
    with BetonWriter(path, int_fields=("label", *fields), classes=list(classes)) as writer:
        for i in range(count):
            label = i % len(classes)
            tint = TINTS[sum(map(ord, classes[label])) % 8]
            pixels = (photo(rng, 40, 48) * 0.2 + 0.8 * tint).astype(np.uint8)
            writer.add(
                jpeg(pixels),
                40,
                48,
                label=label,
                **{name: value(i) for name, value in fields.items()},
            )
    return path


def damage(path, *samples):
    """Overwrite samples of a file with zeros."""
    with BetonReader(path) as reader:
        spoilt = [reader.jpeg(i).tobytes() for i in samples]
    data = path.read_bytes()
    for each in spoilt:
        assert data.count(each) == 1
        data = data.replace(each, bytes(len(each)))
    path.write_bytes(data)


def make_cell(folder, swapped=False, classes=("a", "b", "zebra"), images=2):
    """Tinted photos as `make_beton` tints them; swapped: a and b wear each other's tint."""
    rng = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        tint = (
            TINTS[ord({"a": "b", "b": "a"}.get(name, name) if swapped else name) % 8]
            if len(name) == 1
            else TINTS[0]
        )
        for i in range(images):
            (folder / name / f"{i}.JPEG").write_bytes(
                jpeg((photo(rng, SIZE, SIZE) * 0.2 + 0.8 * tint).astype(np.uint8))
            )


def tinted(rng, look, side=SIZE):
    """A photo tinted as `make_beton` tints a class."""
    tint = TINTS[sum(map(ord, look)) % 8]
    return (photo(rng, side, side) * 0.2 + 0.8 * tint).astype(np.uint8)


def make_images(places, side=SIZE):
    """PNGs at these paths, {path: the class whose look it has}."""
    rng = np.random.default_rng(0)
    for path, look in places.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(saved(tinted(rng, look, side), "PNG"))
