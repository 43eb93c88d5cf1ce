"""Local copies of remote .beton files, shared by all processes of a machine and by all calls."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

from fastneg.data.beton.format import VERSION
from fastneg.data.beton.reader import BetonReader
from fastneg.data.errors import BetonError, NoFileError
from fastneg.data.remote import beside, file_name, filesystem, is_remote, read_remote, told
from fastneg.files import write_atomically, write_json
from fastneg.options import ConfigError
from fastneg.progress import Progress

CHUNK_BYTES = 1 << 23
RECORD = "copied.json"
VERIFIED = "samples_verified"
CACHE_VARIABLE = "FASTNEG_CACHE"
"""The environment variable that names the folder of copies."""
STAMPS = (
    "size", "ETag", "etag", "Content-MD5", "md5Hash", "Digest", "Last-Modified", "LastModified",
    "last_modified", "mtime", "updated", "created", "sha256", "blob_id",
)  # fmt: skip
"""What file systems say of a file that changes when the file does."""
_ELSEWHERE = f"Name another --cache_dir, or {CACHE_VARIABLE}."
_EXPECTED = (
    "a .beton file was expected. fastneg encode makes one of images by URL: folders, archives, "
    "lists."
)


def cache_folder(given=""):
    """The folder of copies: what is given, or FASTNEG_CACHE, or fastneg in the user's cache."""
    if is_remote(given):
        raise ConfigError(f"--cache_dir is {given}: a folder of this machine was expected.")
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    named = os.path.expanduser(os.environ.get(CACHE_VARIABLE, ""))
    return Path(given or named or os.path.join(home, "fastneg"))


def local_copy(url, folder="", checked=True):
    """The path of a local copy of a .beton file and of the .json beside it, made at the first call.

    Processes of one machine that ask for the same file at once wait for the one that copies it. A
    file that has changed at its URL (size, tag or time) is copied anew, beside the old copy. The
    copy is whole or absent; its bytes are compared with the MD5 that the store tells, if it does,
    and each sample with its checksums, if the file holds those of all its image fields.

    Args:
        url: of a .beton file.
        folder: where copies lie; as of `cache_folder`.
        checked: compare samples with checksums; False leaves that to whoever asks next.
    Raises:
        ConfigError: the folder is a URL. BetonError: the file cannot be read or is no .beton file,
            the copy is damaged, there is no room for it, or nothing can be written into the folder.
    """
    files, path, info, stamp, place = _place(url, folder)
    copy, record = place / (file_name(url) or "data.beton"), place / RECORD
    if copy.is_file() and record.is_file():
        facts = json.loads(record.read_text("utf-8"))
        if VERIFIED in facts or not checked:
            return os.fspath(copy)  # also of a folder that is for reading alone
    try:
        place.mkdir(parents=True, exist_ok=True)
        open(place / "copying", "ab").close()
    except OSError as error:
        raise BetonError(f"{place}, for a copy of {url}: {error.strerror}. {_ELSEWHERE}") from error
    with _alone(place / "copying", url):
        if not (copy.is_file() and record.is_file()):
            facts = _copy(files, path, url, info, copy)
            write_json(record, {"url": url, **stamp, **facts})
        facts = json.loads(record.read_text("utf-8"))
        if checked and VERIFIED not in facts:
            write_json(record, {**facts, VERIFIED: _verified(copy, url)})
    return os.fspath(copy)


def _place(url, folder):
    """(file system, path in it, what it says of the file, what of that tells another file, the
    folder of the copy)"""
    files, path = filesystem(url)
    with told(url):
        info = files.info(path)
    if info.get("type") == "directory":
        raise NoFileError(f"{url} is a folder: {_EXPECTED}")
    stamp = {name: str(info[name]) for name in STAMPS if info.get(name) is not None}
    key = hashlib.sha256(json.dumps([url, stamp]).encode()).hexdigest()[:24]
    return files, path, info, stamp, cache_folder(folder) / key


def not_copied(url, folder=""):
    """What is known of a file of which there is no local copy yet: {"samples", "bytes" (None where
    the store does not tell), "classes" (a count, or None)}; None where there is one.

    Raises:
        BetonError: it cannot be read, or has no .json beside it.
    """
    _, _, info, _, place = _place(url, folder)
    if (place / RECORD).is_file():
        return None
    notes = json.loads(read_remote(beside(url, ".json")) or b"{}")
    if "samples" not in notes:
        raise BetonError(
            f"{beside(url, '.json')}, which says how many samples the file holds, is missing."
        )
    classes = notes.get("classes")
    count = None if classes is None else len(classes)
    return {"samples": notes["samples"], "bytes": info.get("size"), "classes": count}


@contextlib.contextmanager
def _alone(path, url):
    """Within it, no other process of this machine is; where the file system keeps no locks, others
    may copy the file too, and the last one's copy stays."""
    with open(path, "w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{url}: another process copies it, waiting.", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            print(f"{path}: no lock ({error.strerror}).", file=sys.stderr, flush=True)
        yield


def _copy(files, path, url, info, copy):
    """Copy a file and its sidecar; what is written down of them."""
    size = info.get("size")
    free = shutil.disk_usage(copy.parent).free
    if size is not None and size > free:
        raise BetonError(
            f"{url} has {size / 2**30:.1f} GiB, {copy.parent} has {free / 2**30:.1f} GiB free. "
            f"{_ELSEWHERE}"
        )
    notes = read_remote(beside(url, ".json"))
    digests = {}

    def fill(file):
        digests.update(_stream(files, path, url, size, file))
        _check_md5(info, digests["md5"], url)
        if notes is not None:
            Path(f"{copy}.json").write_bytes(notes)

    write_atomically(copy, fill)
    return {"sha256": digests["sha256"]}


def _verified(copy, url):
    """Whether the samples of a copy were compared with checksums, which not every file holds; a
    damaged one is removed."""
    try:
        with BetonReader(copy) as reader:
            verified = all(reader.checksums_of(field) is not None for field in reader.image_fields)
        if verified:
            BetonReader(copy, verify=True).close()
    except BetonError as error:
        copy.unlink()
        raise BetonError(f"the copy of {url} is damaged, or it is: {error}") from error
    return verified


def _stream(files, path, url, size, out):
    """Copy bytes with progress; their {"sha256", "md5"}."""
    digests = {"sha256": hashlib.sha256(), "md5": hashlib.md5(usedforsecurity=False)}
    print(f"{url}: copying to {Path(out.name).parent}.", file=sys.stderr, flush=True)
    done = 0
    with told(url), files.open(path, "rb") as source, Progress(url, size, "byte") as progress:
        while chunk := source.read(CHUNK_BYTES):
            if not done:
                _check_start(chunk, url)
            for digest in digests.values():
                digest.update(chunk)
            out.write(chunk)
            done += len(chunk)
            progress.advance(len(chunk), len(chunk))
    if size is not None and done != size:
        raise BetonError(f"{url} gave {done} of {size} bytes: try again.")
    return {name: digest.hexdigest() for name, digest in digests.items()}


def _check_start(chunk, url):
    """BetonError where the first bytes of a file are no .beton file's."""
    if int.from_bytes(chunk[:2], "little") != VERSION:
        raise BetonError(f"{url} is no .beton file, it begins with {chunk[:16]!r}: {_EXPECTED}")


def _check_md5(info, found, url):
    """BetonError where a store tells an MD5, in base64, that is another one."""
    wanted = info.get("md5Hash") or info.get("Content-MD5")
    if wanted and base64.b64decode(wanted).hex() != found:
        raise BetonError(f"{url} came with the MD5 {found}, the store says {wanted}: try again.")
