"""Files by URL: names, bytes, parts of files, and errors that name the URL."""

import pickle
import sys

import fsspec
import pytest

from fastneg.config import ConfigError
from fastneg.data import BetonError, remote
from fastneg.data.file_names import split_names
from fastneg.data.remote import RemoteFiles, RemotePlaces, names_below, open_source
from helpers.http_files import served

ODD = "a b/ü [1]*?#%41.jpg"


@pytest.fixture
def memory(request):
    files = fsspec.filesystem("memory")
    root = f"/{request.node.name}"
    files.pipe({f"{root}/x/1.jpg": b"one", f"{root}/x/y/2.jpg": b"two", f"{root}/3.txt": b"three"})
    yield f"memory:/{root}"
    files.rm(root, recursive=True)


def test_what_is_a_url():
    for url in ("s3://b/x", "https://h/x", "memory://x", "hf://datasets/a/b"):
        assert remote.is_remote(url)
    for path in ("/data/x", "x.beton", "c:x", "a//b", "", "3://x", None):
        assert not remote.is_remote(path)
    assert remote.in_this_process_alone("memory://x")
    assert not remote.in_this_process_alone("https://memory")


def test_names_and_bytes(memory):
    assert names_below(memory) == ["3.txt", "x/1.jpg", "x/y/2.jpg"]
    read = pickle.loads(pickle.dumps(RemoteFiles(memory)))
    assert read("x/1.jpg") == b"one"
    one, none, two = read.many(["x/1.jpg", "none", "x/y/2.jpg"])
    assert (one, two) == (b"one", b"two") and "none" in none
    with pytest.raises(BetonError, match="none"):
        read("none")
    with open_source(f"{memory}/3.txt") as file:
        assert file.read() == b"three"
    assert remote.read_remote(f"{memory}/3.txt") == b"three"
    assert remote.read_remote(f"{memory}/none") is None


def test_parts_of_files(memory):
    url = f"{memory}/3.txt"
    read = pickle.loads(pickle.dumps(RemotePlaces()))
    assert read((url, 1, 3)) == b"hre"
    places = [(url, 0, 2), (f"{memory}/x/1.jpg", 1, 1), (url, 4, 1)]
    assert read.many(places) == [b"th", b"n", b"e"]
    with pytest.raises(BetonError, match="gave 1 of 5 bytes"):
        read((url, 4, 5))


def test_http_with_odd_names(tmp_path):
    for name in (ODD, "plain.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
    with served(tmp_path) as (url, _):
        assert names_below(url) == sorted([ODD, "plain.jpg"])
        assert RemoteFiles(url).many([ODD, "plain.jpg"]) == [ODD.encode(), b"plain.jpg"]
        # a server without ranges gives the whole file for a part of it
        with pytest.raises(BetonError, match="whole files alone"):
            RemotePlaces()((f"{url}/plain.jpg", 1, 2))
        (tmp_path / "empty").mkdir()
        with pytest.raises(BetonError, match="holds no files"):
            names_below(f"{url}/empty")
    with pytest.raises(BetonError, match=r"http://127\.0\.0\.1"):
        names_below(url)  # nobody serves it any more


def test_upload(memory, tmp_path):
    (tmp_path / "f").write_bytes(b"content")
    remote.upload(tmp_path / "f", f"{memory}/new/f")
    assert remote.read_remote(f"{memory}/new/f") == b"content"


def test_patterns(memory):
    (_, found), (_, numbered) = split_names(f"{memory}/x/*.jpg,{memory}/in1k-{{08..10}}.tar")
    assert found == [f"{memory}/x/1.jpg"] or found == [f"{memory.replace(':///', '://')}/x/1.jpg"]
    assert numbered == [f"{memory}/in1k-{number}.tar" for number in ("08", "09", "10")]
    ((_, whole),) = split_names("https://h/x.beton?token=[1]")
    assert whole == ["https://h/x.beton?token=[1]"]


def test_what_is_missing_is_named(monkeypatch):
    with pytest.raises(BetonError, match="nowhere://x cannot be read or written"):
        names_below("nowhere://x")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ConfigError, match=r"pip install 'fastneg\[remote\]'"):
        names_below("s3://bucket/x")
