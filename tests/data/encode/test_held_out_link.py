"""A link of the held-out file's name stays, and what it links to is written: as for OUT itself."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from fastneg.config import EncodeConfig
from fastneg.data import BetonReader
from fastneg.data.encode.encode import encode
from fastneg.files import OutputError


@pytest.fixture
def config(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (tmp_path / "src" / name).mkdir(parents=True)
        for number in range(6):
            file = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(file, "JPEG")
            (tmp_path / "src" / name / f"{number}.jpg").write_bytes(file.getvalue())
    (tmp_path / "store").mkdir()
    os.symlink("store/apart.beton", tmp_path / "x-holdout.beton")
    return EncodeConfig(str(tmp_path / "src"), str(tmp_path / "x.beton"), holdout=0.3, workers=1)


def test_a_link_stays_and_its_target_is_written(config, tmp_path):
    for _ in range(2):  # not there yet, and there
        done = encode(config)
        assert os.readlink(tmp_path / "x-holdout.beton") == "store/apart.beton"
        assert sorted(os.listdir(tmp_path / "store")) == ["apart.beton", "apart.beton.json"]
        assert not (tmp_path / "x-holdout.beton.json").exists()
        with BetonReader(tmp_path / "x-holdout.beton") as held, BetonReader(config.out) as train:
            assert len(held) + len(train) == 12 and not {*held.names} & {*train.names}
            assert held.info["holdout"]["other"] == "x.beton"
        assert done["holdout"]["path"] == str(tmp_path / "store" / "apart.beton")


def test_a_link_to_the_other_file_is_refused(config, tmp_path):
    os.remove(tmp_path / "x-holdout.beton")
    os.symlink("x.beton", tmp_path / "x-holdout.beton")
    with pytest.raises(OutputError, match="one would replace the other"):
        encode(config)
    assert not (tmp_path / "x.beton").exists()


def test_a_link_to_an_image_is_refused(config, tmp_path):
    os.remove(tmp_path / "x-holdout.beton")
    os.symlink("src/ant/0.jpg", tmp_path / "x-holdout.beton")
    before = (tmp_path / "src/ant/0.jpg").read_bytes()
    with pytest.raises(OutputError, match=r"the held-out file is .*which is an input"):
        encode(config)
    assert (tmp_path / "src/ant/0.jpg").read_bytes() == before
