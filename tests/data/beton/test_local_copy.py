"""A .beton file by URL is copied once, whole, by one process for all."""

import json
import multiprocessing
import os
import shutil
import zlib

import numpy as np
import pytest

from fastneg.data import BetonError, BetonReader, BetonWriter, open_data
from fastneg.data.beton import local_copy
from fastneg.data.load.train_loader import TrainLoader
from fastneg.options import ConfigError
from helpers.http_files import served
from helpers.images import jpeg
from helpers.tinted import damage, make_beton


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setenv(local_copy.CACHE_VARIABLE, str(tmp_path / "cache"))
    (tmp_path / "site").mkdir()
    make_beton(tmp_path / "site" / "x.beton")
    with served(tmp_path / "site") as (url, asked):
        yield tmp_path, f"{url}/x.beton", asked


def copy_and_tell(url, barrier, answers):
    barrier.wait()
    answers.put(local_copy.local_copy(url))


def test_it_is_copied_once(site, capsys):
    folder, url, asked = site
    with open_data(url) as reader, BetonReader(folder / "site" / "x.beton") as there:
        assert reader.classes == there.classes == ["a", "b", "c", "d"]
        assert all(np.array_equal(reader.jpeg(i), there.jpeg(i)) for i in range(24))
        place = os.path.dirname(reader.path)
    assert f"{url}: copying to" in capsys.readouterr().err
    assert json.loads((folder / "cache" / place / "copied.json").read_text())["samples_verified"]
    with TrainLoader(url, 8, 32, threads=1) as loader:
        assert len(next(iter(loader)).index) == 8
    assert asked["/x.beton"] == asked["/x.beton.json"] == 1
    with open_data(url, cache_dir=str(folder / "other")) as reader:
        assert reader.path.startswith(str(folder / "other"))


def test_a_signed_address_keeps_its_signature_at_the_end(site, capsys):
    _, url, asked = site
    asked.forbidden = {"/x.beton.json?signature=2"}
    for number, classes in ((1, ["a", "b", "c", "d"]), (2, None)):
        with open_data(f"{url}?signature={number}") as reader:
            assert reader.classes == classes and os.path.basename(reader.path) == "x.beton"
        assert asked[f"/x.beton.json?signature={number}"] == 1
    assert "signature=2: it may not be read (403" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="cache_dir is memory://c: a folder of this machine"):
        open_data(url, cache_dir="memory://c")
    asked.forbidden = {"/x.beton"}
    with pytest.raises(BetonError, match="cannot be read or written: 403"):
        open_data(url)


def test_processes_wait_for_the_one_that_copies(site):
    _, url, asked = site
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(3), context.Queue()
    workers = [
        context.Process(target=copy_and_tell, args=(url, barrier, answers)) for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    assert len({answers.get(timeout=100) for _ in workers}) == 1
    for worker in workers:
        worker.join(100)
    assert asked["/x.beton"] == 1


def test_a_file_that_changed_is_copied_anew(site):
    folder, url, asked = site
    first = local_copy.local_copy(url)
    make_beton(folder / "site" / "x.beton", 30)
    second = local_copy.local_copy(url)
    assert first != second and asked["/x.beton"] == 2
    assert len(BetonReader(first)) == 24 and len(BetonReader(second)) == 30


def test_a_copy_is_whole_or_absent(site, monkeypatch):
    folder, url, _ = site
    damage(folder / "site" / "x.beton", 5)
    with pytest.raises(BetonError, match="damaged"):
        local_copy.local_copy(url)
    make_beton(folder / "site" / "x.beton")
    with monkeypatch.context() as patched:
        patched.setattr(local_copy, "_check_md5", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            local_copy.local_copy(url)
    left = [path.name for path in (folder / "cache").rglob("*") if path.is_file()]
    assert not [name for name in left if "beton" in name and not name.endswith(".json")]
    assert len(BetonReader(local_copy.local_copy(url))) == 24
    with pytest.raises(BetonError, match=r"none\.beton cannot be read"):
        local_copy.local_copy(url.replace("x.beton", "none.beton"))


def test_a_file_whose_textures_have_no_checksums_is_taken(site):
    folder, url, _ = site
    image, texture = (jpeg(np.full((40, 48, 3), value, np.uint8)) for value in (60, 200))
    options = {"paired_fields": ("texture",), "checksums": False}
    with BetonWriter(folder / "site" / "x.beton", ("label", "crc32"), **options) as writer:
        paired = {"texture": (texture, 40, 48)}
        writer.add(image, 40, 48, label=0, crc32=zlib.crc32(image), paired=paired)
    copy = local_copy.local_copy(url)
    with BetonReader(copy) as reader:
        assert reader.checksums is not None and reader.checksums_of("texture") is None
        assert reader.jpeg(0, "texture").tobytes() == texture
    told = json.loads((folder / "cache" / os.path.dirname(copy) / "copied.json").read_text())
    assert not told["samples_verified"]


def test_a_wrong_md5_and_a_full_disk_are_told(site, monkeypatch):
    with pytest.raises(BetonError, match="the store says"):
        local_copy._check_md5({"md5Hash": "1B2M2Y8AsgTpgAmY7PhCfg=="}, "0" * 32, "gs://b/x")
    local_copy._check_md5(
        {"md5Hash": "1B2M2Y8AsgTpgAmY7PhCfg=="}, "d41d8cd98f00b204e9800998ecf8427e", "gs://b/x"
    )
    _, url, _ = site
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 8, 1))
    with pytest.raises(BetonError, match="--cache_dir"):
        local_copy.local_copy(url)


def test_where_copies_lie(monkeypatch):
    monkeypatch.delenv(local_copy.CACHE_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert str(local_copy.cache_folder()) == "/c/fastneg"
    monkeypatch.setenv(local_copy.CACHE_VARIABLE, "/v")
    assert str(local_copy.cache_folder()) == "/v"
    assert str(local_copy.cache_folder("/given")) == "/given"


def test_a_folder_that_cannot_be_written_serves_the_copies_that_are_in_it(site, monkeypatch):
    folder, url, _ = site
    copy = local_copy.local_copy(url)
    opened = open

    def read_only(path, mode="r", *more, **options):
        if "r" not in mode and str(path).startswith(str(folder / "cache")):
            raise OSError(30, "Read-only file system", str(path))
        return opened(path, mode, *more, **options)

    monkeypatch.setattr(local_copy, "open", read_only, raising=False)
    assert local_copy.local_copy(url) == copy
    os.remove(os.path.join(os.path.dirname(copy), local_copy.RECORD))
    with pytest.raises(BetonError, match=r"Read-only file system\. Name another --cache_dir"):
        local_copy.local_copy(url)
