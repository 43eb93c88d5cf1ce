"""Files of torch.save and of safetensors, read without running any code they might hold.

What cannot be read is told in our own words. torch's would often advise to read the file with
`weights_only=False`, which runs whatever code is in it.
"""

from __future__ import annotations

import os
import pickle
import re
import stat
import zipfile
from pathlib import Path

import torch

from fastneg.counts import counted
from fastneg.options import URL
from fastneg.runs.paths import is_run

WEB_PAGE, LFS_POINTER = (b"<!doctype", b"<html", b"<?xml"), b"version https://git-lfs"
OTHERS = {
    b"\x1f\x8b": "it is compressed by gzip: unpack it first",
    b"BZh": "it is compressed by bzip2: unpack it first",
    b"\xfd7zXZ": "it is compressed by xz: unpack it first",
    b"(\xb5/\xfd": "it is compressed by zstd: unpack it first",
    b"\x89HDF": "it is an HDF5 file, such as Keras writes: save the weights with torch.save",
    b"\x93NUMPY": "it is a NumPy array: save the weights with torch.save",
}
"""{first bytes: what such a file is}."""


class UnreadableError(Exception):
    """A file that holds nothing we can read; its text is a clause that follows a colon."""


def load_file(path, device="cpu", also=()):
    """What a file of torch.save or safetensors holds: tensors, and plain values around them.

    Args:
        path: the file; safetensors are known by their content, whatever the name.
        device: where the tensors go.
        also: classes besides torch's own that may stand in it.
    Raises:
        UnreadableError: it is missing, no file, empty, cut short, of another kind, or holds
            objects whose loading could run code.
    """
    path = Path(path)
    try:
        head = _head(path)
        if _is_safetensors(head):
            return _load_safetensors(path, device)
        if head.startswith(b"PK"):
            _refuse_foreign_archive(path)
        with torch.serialization.safe_globals(list(also)):
            return torch.load(path, map_location=device, weights_only=True)
    except (UnreadableError, MemoryError, torch.OutOfMemoryError):
        raise
    except OSError as error:
        raise UnreadableError(error.strerror or str(error)) from error
    except Exception as error:  # of damaged bytes torch raises nearly anything
        raise UnreadableError(_told(error)) from error


def _head(path):
    """The first bytes of a file, after those that tell that it is none of ours."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if URL.match(str(path)):
            raise UnreadableError("it is a URL: copy the file to this machine first") from None
        raise UnreadableError("there is no such file") from None
    if stat.S_ISDIR(mode):
        if is_run(path):
            raise UnreadableError(
                "it is a folder of a run: export its weights first, fastneg export --run"
            )
        raise UnreadableError("it is a folder: name a file in it")
    if not stat.S_ISREG(mode):
        raise UnreadableError("it is a device, a pipe or a socket, no regular file")
    with open(path, "rb") as file:
        head = file.read(512)
    if not head:
        raise UnreadableError("it is empty, 0 bytes: fetch it again")
    if head.startswith(LFS_POINTER):
        raise UnreadableError("it is a pointer of Git LFS, not the file: run git lfs pull")
    if head.lstrip(b"\xef\xbb\xbf \r\n\t").lower().startswith(WEB_PAGE):
        raise UnreadableError("it is a web page: the address gave no file; fetch it again")
    for first, said in OTHERS.items():
        if head.startswith(first):
            raise UnreadableError(said)
    if _is_text(head):
        raise UnreadableError(f"it is a text that begins with {head[:40].decode().strip()!r}")
    return head


def _is_text(head):
    try:
        head[:400].decode("ascii")
    except UnicodeDecodeError:
        return False
    # Pickles of protocol 0 are text too, but no tensor can be in one.
    return all(byte >= 32 or byte in b"\r\n\t" for byte in head[:400])


def is_safetensors(path):
    """Whether a file holds safetensors, by its content; False also where it cannot be read."""
    try:
        return _is_safetensors(_head(Path(path)))
    except (OSError, UnreadableError):
        return False


def _is_safetensors(head):
    """Whether eight bytes come first that count those of a JSON object, then the object."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32


def _load_safetensors(path, device):
    try:
        import safetensors.torch
    except ImportError as error:
        said = "it is a file of safetensors, which is not installed: pip install safetensors"
        raise UnreadableError(said) from error
    try:
        return safetensors.torch.load_file(path, device=str(device))
    except Exception as error:
        if type(error).__name__ != "SafetensorError":
            raise
        raise UnreadableError(f"it is a damaged file of safetensors: {_size(path)}") from error


def _refuse_foreign_archive(path):
    """torch.save writes a zip archive; others do too."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, EOFError, ValueError) as error:
        raise UnreadableError(f"it is cut short or damaged: {_size(path)}") from error
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
        raise UnreadableError(
            "it is a TorchScript program, which holds code: save the state dict alone, "
            "torch.save(torch.jit.load(FILE).state_dict(), OUT)"
        )
    if "data.pkl" not in inner:
        raise UnreadableError("it is a zip archive of another kind, not one of torch.save")


def _size(path):
    return (
        f"only {counted(os.path.getsize(path), 'byte', ',')} of it are here, or some are "
        "wrong; fetch it again"
    )


def _told(error):
    """What went wrong within torch.load, without a word of its advice."""
    if isinstance(error, pickle.UnpicklingError):
        if found := re.search(r"GLOBAL (\S+)", str(error)):
            return (
                f"it holds an object of {found[1]}, and loading that could run code: save the "
                "state dict alone, torch.save(model.state_dict(), OUT)"
            )
        return (
            "it is no file of torch.save or safetensors, or holds objects whose loading could "
            "run code"
        )
    return f"it is cut short or damaged ({type(error).__name__}): fetch it again"


def not_finite(tensors):
    """The names of a dict's tensors that hold a NaN or an infinity."""
    return [
        name
        for name, value in tensors.items()
        if isinstance(value, torch.Tensor)
        and value.is_floating_point()
        and not value.isfinite().all()
    ]
