"""encode from URLs and to URLs makes the file that it makes from and to local paths."""

import json
import tarfile

import fsspec
import numpy as np
import pytest

from fastneg.config import ConfigError, EncodeConfig
from fastneg.data import BetonError, BetonReader
from fastneg.data.encode.anywhere import encode_anywhere
from helpers.http_files import served
from helpers.images import jpeg, photo


@pytest.fixture
def tree(tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in ("cat", "dog [x]"):
            folder = tmp_path / "src" / split / name
            folder.mkdir(parents=True)
            for i in range(3):
                (folder / f"{i}.jpg").write_bytes(jpeg(photo(rng, 40, 48)))
    return tmp_path


@pytest.fixture
def memory(tree, request):
    files = fsspec.filesystem("memory")
    root = f"/{request.node.name.partition('[')[0]}"
    files.put(str(tree / "src"), f"{root}/src", recursive=True)
    yield f"memory:/{root}"
    files.rm(root, recursive=True)


def content(path):
    """What a .beton file holds."""
    with BetonReader(path, verify=True) as reader:
        samples = [bytes(reader.stored(i)) for i in range(len(reader))]
        return samples, reader.names, reader.classes, reader.labels.tolist()


def encoded(src, out, **changes):
    return encode_anywhere(EncodeConfig(str(src), str(out), **{"workers": 1, **changes}))


def fetched(url, folder):
    files = fsspec.filesystem("memory")
    for name in ("x.beton", "x.beton.json"):
        (folder / name).write_bytes(files.cat_file(f"{url}/{name}"))
    return folder / "x.beton"


def test_a_folder_in_memory(tree, memory):
    encoded(tree / "src", tree / "here.beton", split="train")
    encoded(f"{memory}/src", tree / "there.beton", split="train", workers=4)
    assert content(tree / "there.beton") == content(tree / "here.beton")
    told = json.loads((tree / "there.beton.json").read_text())
    assert told["encode"]["src"] == f"{memory}/src"


def test_a_folder_over_http(tree):
    encoded(tree / "src" / "train", tree / "here.beton")
    with served(tree / "src") as (url, _):
        summary = encoded(f"{url}/train", tree / "there.beton", workers=2)
        assert summary["images"] == 6
        with pytest.raises(ConfigError, match=rf"{url}.*--split"):
            encoded(url, tree / "none.beton")
    assert content(tree / "there.beton") == content(tree / "here.beton")


def test_out_may_be_a_url(tree, memory):
    encoded(tree / "src", tree / "here.beton", split="val")
    encoded(tree / "src", f"{memory}/out/x.beton", split="val")
    assert content(fetched(f"{memory}/out", tree)) == content(tree / "here.beton")
    assert len(fsspec.filesystem("memory").ls(f"{memory}/out", detail=False)) == 2


def test_archives_are_read_in_place(tree, memory):
    with tarfile.open(tree / "a.tar", "w") as archive:
        archive.add(tree / "src" / "train", "train")
    encoded(tree / "a.tar", tree / "here.beton")
    fsspec.filesystem("memory").put_file(str(tree / "a.tar"), f"{memory}/a.tar")
    encoded(f"{memory}/a.tar", tree / "there.beton")
    assert content(tree / "there.beton") == content(tree / "here.beton")


def test_a_list(tree, memory):
    text = "path,label\n" + "".join(f"train/cat/{i}.jpg,{'ab'[i % 2]}\n" for i in range(3))
    (tree / "src" / "list.csv").write_text(text)
    fsspec.filesystem("memory").pipe_file(f"{memory}/src/list.csv", text.encode())
    encoded(tree / "src" / "list.csv", tree / "here.beton")
    encoded(f"{memory}/src/list.csv", tree / "there.beton")
    assert content(tree / "there.beton") == content(tree / "here.beton")


def test_what_cannot_be_read_is_told_and_leaves_nothing(tree, memory):
    files = fsspec.filesystem("memory")
    files.pipe_file(f"{memory}/src/train/cat/broken.jpg", b"no image")
    with pytest.raises(BetonError, match=r"broken\.jpg.*--on_error skip"):
        encoded(f"{memory}/src", f"{memory}/out/x.beton", split="train")
    assert not files.exists(f"{memory}/out")
    summary = encoded(f"{memory}/src", f"{memory}/out/x.beton", split="train", on_error="skip")
    assert summary["images"] == 6 and "broken.jpg" in summary["skipped"][0]
    with pytest.raises(BetonError, match="holds no files"):
        encoded(f"{memory}/none", tree / "x.beton")
    with pytest.raises(ConfigError, match="ffcv reads local files"):
        encoded(f"{memory}/src", tree / "x.beton", split="train", writer="ffcv")
