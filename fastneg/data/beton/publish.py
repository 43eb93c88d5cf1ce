"""Gives finished .beton files and their sidecars their final names, together, after a check and a
sync."""

from __future__ import annotations

import contextlib
import json
import os

from fastneg.data.beton.reader import BetonReader
from fastneg.data.beton.sidecar import sidecar_path
from fastneg.data.errors import BetonError, told_when_full
from fastneg.data.file_names import readable
from fastneg.files import sync_to_disk, temporary_file


class Together:
    """Files that get their names at the end of a block, all of them or, where it is left by an
    exception, none.

    The writers' blocks lie within it and end inside out. The outermost writer's file gets its name
    first (see `publish`).
    """

    def __init__(self):
        self._stack, self._finished = contextlib.ExitStack(), []

    def add(self, stack, finished):
        """Take over a finished file.

        Args:
            stack: ExitStack that removes its temporary file.
            finished: as of `publish`.
        """
        self._stack.push(stack)
        self._finished.append(finished)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        with self._stack:
            if kind is None:
                with told_when_full(self._finished[-1][1]):
                    publish(*reversed(self._finished))


def publish(*finished):
    """Give finished .beton files their names. All are opened, checked and on the disk before the
    first is renamed.

    With several files, the second and later names are cleared first and given last. So a crash
    between the renames leaves these names missing, and never an old file beside a new one.

    Args:
        finished: (temporary, path, sidecar) each: two Paths in the same folder, and the dict for
            PATH.json.
    Raises:
        BetonError: a file is not whole. Or all are, but one cannot be given its name or a sidecar
            cannot be written: then what is finished stays in the folder, as the error tells.
    """
    sidecars = []
    for temporary, _, sidecar in finished:
        with BetonReader(temporary) as reader:
            sidecar = {"samples": len(reader), "fingerprint": reader.fingerprint, **sidecar}
        sidecars.append(json.dumps(_readable(sidecar), ensure_ascii=False).encode())
        sync_to_disk(temporary)
    try:
        _rename(finished, sidecars)
    except OSError as error:
        raise BetonError(_kept(finished, error)) from error
    _sync_folders(finished)


def _rename(finished, sidecars):
    with contextlib.ExitStack() as stack:
        renames = []
        for (temporary, path, _), sidecar in zip(finished, sidecars, strict=True):
            notes, file = stack.enter_context(temporary_file(sidecar_path(path)))
            file.write(sidecar)
            file.flush()
            sync_to_disk(notes)
            pair = [(temporary, path), (notes, sidecar_path(path))]
            renames += pair if not renames else pair[::-1]
        for _, path in renames[2:]:
            path.unlink(missing_ok=True)
        if len(finished) > 1:
            _sync_folders(finished)
        for written, path in renames:
            os.replace(written, path)


def _sync_folders(finished):
    for folder in {path.parent for _, path, _ in finished}:
        sync_to_disk(folder)


def _kept(finished, error):
    """Keep finished files that could not be published; returns what to say of them."""
    kept = []
    for temporary, path, _ in finished:
        place = path
        if temporary.exists():
            place = path.with_name(f"{path.stem}.kept{temporary.suffixes[-2]}{path.suffix}")
            os.replace(temporary, place)
        kept.append(str(place))
    path = finished[0][1]
    return (
        f"{path} is finished, but it or {sidecar_path(path).name} cannot be written: "
        f"{error.strerror or error}. Samples and labels are kept in {', '.join(kept)}, without the "
        "names of classes and samples: encode again where these are needed."
    )


def _readable(value):
    """A value for JSON with every text in it as `readable` has it."""
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, dict):
        return {_readable(key): _readable(each) for key, each in value.items()}
    return [_readable(each) for each in value] if isinstance(value, (list, tuple)) else value
