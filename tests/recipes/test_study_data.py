"""The data of a study: what is made, once, and what --data must hold."""

import dataclasses
import io
import tarfile

import numpy as np
import pytest

from fastneg.config import ConfigError
from fastneg.data import BetonReader
from fastneg.recipes.study_data import DOMAINS, PHOTOGRAPHS, UNBIASED_TRAIN, file_of, make_data
from fastneg.study.plan import SETS, SIZES, Size
from helpers.images import jpeg, photo

SMALL = Size(
    train_images=24, test_images=12, swapped_images=12, epochs=1, warmup_epochs=0, batch_size=12,
    queue_size=24, seeds={},
)  # fmt: skip


def archive(path, names):
    rng = np.random.default_rng(0)
    with tarfile.open(path, "w") as file:
        for name in names:
            data = jpeg(photo(rng, 20, 20))
            entry = tarfile.TarInfo(f"{path.stem}/{name}")
            entry.size = len(data)
            file.addfile(entry, io.BytesIO(data))


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "archives"
    folder.mkdir()
    classes = ("n01443537", "n02123045")
    for name, parts in PHOTOGRAPHS.items():
        files = [f"{part}/{one}/{i}.jpg" for part in parts for one in classes for i in range(3)]
        if parts == ("",):
            files = ["cat/cat1-dog2.jpg", "cat/cat2-dog1.jpg", "dog/dog1-cat1.jpg"]
        archive(folder / name, files)
    return folder


def test_the_built_in_set_is_made_once(tmp_path):
    make_data(tmp_path, SMALL, "")
    times = {name: file_of(tmp_path, name).stat().st_mtime_ns for name in ("train", *SETS)}
    make_data(tmp_path, SMALL, "")
    assert times == {name: file_of(tmp_path, name).stat().st_mtime_ns for name in times}
    with BetonReader(file_of(tmp_path, "train")) as reader:
        assert len(reader) == 24


def test_the_second_training_set_has_textures_that_tell_nothing(tmp_path):
    size = dataclasses.replace(SMALL, train_images=240)
    make_data(tmp_path, size, "")
    own = {}
    for name in ("train", UNBIASED_TRAIN):
        with BetonReader(file_of(tmp_path, name)) as reader:
            own[name] = (reader.labels == reader.ints["texture"]).mean()
    assert own["train"] > 0.85 and own[UNBIASED_TRAIN] < 0.15  # by chance 1 in 12


def test_photographs_are_encoded_by_set(tmp_path, photographs):
    make_data(tmp_path / "out", SIZES["gpu"], str(photographs))
    names = ("train", "val", "cue_conflict", *(f"pacs_{domain}" for domain in DOMAINS))
    for name in names:
        with BetonReader(file_of(tmp_path / "out", name)) as reader:
            assert len(reader) == (3 if name == "cue_conflict" else 6) and len(reader.classes) == 2
    assert len(list((tmp_path / "out" / "data").glob("*.beton"))) == len(names)


@pytest.mark.parametrize(
    ("size", "folder", "said"),
    [
        ("cpu", "photos", "--data has no effect with the built-in set"),
        ("gpu", "", "--data is missing"),
        ("imagenet100", "", "--data is missing"),
        ("gpu", "photos", "holds no tiny-imagenet-67.tar"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, size, folder, said):
    with pytest.raises(ConfigError, match=said):
        make_data(tmp_path, SIZES[size], folder and str(tmp_path / folder))
