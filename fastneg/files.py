"""Writes files that are complete or absent, and refuses outputs that are inputs of the command.

A file is written under a temporary name and renamed when it is complete. Before anything is opened,
`output_file` and `output_folder` refuse an output that is an input by any name, or not a file.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import stat
from pathlib import Path

from fastneg.options import ConfigError, refuse_url
from fastneg.writable import refuse_unwritable

KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class OutputError(ConfigError):
    """An output that cannot be, or that would destroy an input: the command line was wrong."""


# Whole or absent


@contextlib.contextmanager
def temporary_file(path):
    """Within it, a new file beside `path` that nobody else has; it is removed at the end unless it
    was renamed.

    Yields:
        (Path, open binary file). The file is locked, which tells a file that is being written from
        one whose writer was killed. It has the permissions of a file that is there at `path`.
    Raises:
        OutputError: `path` is a device, a FIFO, a socket or a folder.
    """
    path = Path(path)
    before = _status(path)
    _refuse_no_file(path, before, "The file to write")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    os.stat(path.parent)  # where it is missing, the error names it and not the temporary file
    file = open(temporary, "x+b")  # noqa: SIM115 it is closed below, where a failure to write its
    try:  # last bytes must not hide another
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if before is not None:
            with contextlib.suppress(OSError):  # of another owner, on a disk without permissions
                os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))
        yield temporary, file
    finally:
        temporary.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            file.close()


def write_atomically(path, write, *, sync=True):
    """Call write(file) on a temporary file and rename it: a file with the final name is whole.

    A link of that name is replaced; to write what it links to, pass what `output_file` returns.

    Args:
        write: called with an open binary file.
        sync: wait until the file is on the disk; without it a crash of the machine can lose it.
    Raises:
        OutputError: `path` is a device, a FIFO, a socket or a folder. OSError: it cannot be
            written; it names the path.
    """
    path = Path(path)
    with temporary_file(path) as (temporary, file):
        try:
            write(file)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        except OSError as error:
            if error.filename is not None or error.errno is None:
                raise
            raise OSError(error.errno, error.strerror, str(path)) from error
        os.replace(temporary, path)
    if sync:
        sync_to_disk(path.parent)


def write_json(path, content):
    """Write an object as an indented JSON file, atomically."""
    text = json.dumps(content, indent=2) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def append_json(path, row, sync=False):
    """Add a JSON object as one line to a file, which need not exist. A line that its writer was
    stopped in is closed first, so that readers lose that one alone.

    Args:
        sync: wait until the disk has it.
    """
    line = json.dumps(row) + "\n"
    with open(path, "a+b") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = "\n" + line
        file.write(line.encode())
        if sync:
            file.flush()
            os.fsync(file.fileno())


def json_rows(path):
    """The JSON objects of a file that holds one a line; none where there is no such file.

    A line that is something else is left out, as one that a process was stopped in.
    """
    path = Path(path)
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


def sync_to_disk(path):
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_stale(path):
    """Remove the temporary files that killed writers of `path` left; returns their names. Those of
    living writers stay."""
    path = Path(path)
    name, removed = re.compile(rf"\.{re.escape(path.name)}(\.json)?\.[0-9a-f]{{8}}\.tmp"), []
    for entry in sorted(path.parent.glob(".*.tmp")):
        if name.fullmatch(entry.name):
            try:
                with open(entry, "r+b") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    entry.unlink()
            except OSError:  # it is being written, or whether it is cannot be told
                continue
            removed.append(entry.name)
    return removed


# Is the output an input?


def output_file(path, flag="OUT", inputs=(), harmless=lambda name: False):
    """Where a file that a command was asked to write goes: `path`, or what it links to.

    Nothing is opened. A file that is not there yet costs a few look-ups, whatever the inputs are;
    for one that is, each input that is a file is asked for its number once, and folders are listed.

    Args:
        path: the file to write.
        flag: how the command line calls it.
        inputs: paths of what the command reads, files and folders; of a folder all files below.
        harmless: called with the name of a file below a folder; of those that it is true for, the
            output may be one.
    Returns:
        Path. Of a link, what it links to, so that the link stays.
    Raises:
        OutputError: the path is an input (by links, "..", hard links or another spelling of it), a
            folder, a device, a FIFO or a socket, a URL, or lies below a file. UnfitError: nothing
            can be written there.
    """
    refuse_url(path, flag)
    path = Path(path)
    status = _status(path, flag)
    _refuse_no_file(path, status, flag)
    real = Path(os.path.realpath(path)) if path.is_symlink() else path
    refuse_below_file(real, flag)
    if status is not None:
        found = _same_file((status.st_dev, status.st_ino), inputs, harmless)
        if found is not None:
            raise OutputError(
                f"{flag} is {path}, which is an input of the same command, {found}: it would be "
                "overwritten. Name another file."
            )
    return real


def output_folder(path, flag="OUT", inputs=(), apart_from=()):
    """The folder that a command was asked to write into, as a Path; it need not be there.

    Args:
        path, flag: as of `output_file`.
        inputs: paths that may not lie in the folder, however deep, nor be the folder.
        apart_from: folders in which it may not lie either.
    Raises:
        OutputError: it does, or the path is a URL, or is or lies below something that is no folder.
        UnfitError: nothing can be written there.
    """
    refuse_url(path, flag)
    path = Path(path)
    status = _status(path, flag)
    if status is not None and not stat.S_ISDIR(status.st_mode):
        raise OutputError(f"{flag} is {path}, {kind_of(status.st_mode)}: a folder was expected.")
    refuse_below_file(Path(os.path.realpath(path)), flag)
    for folder in apart_from:
        if is_below(path, folder):
            raise OutputError(
                f"{flag} is {path}, which is in the input {folder}: the output would become a part "
                "of the input. Name a folder outside it."
            )
    for each in inputs if status is not None else ():
        if is_below(each, path) or is_below(Path(os.path.abspath(each)).parent, path):
            raise OutputError(
                f"{flag} is {path}, which contains the input {each}: the output would mix with the "
                "input. Name another folder."
            )
    return path


def refuse_twice(outputs):
    """OutputError if two of {flag: path} are one file: the second would replace the first."""
    seen = {}
    for flag, path in outputs.items():
        status = _status(path)
        place = os.path.realpath(path) if status is None else (status.st_dev, status.st_ino)
        if place in seen:
            raise OutputError(
                f"{flag} is {path}, and so is {seen[place]}: one would replace the other. Name two "
                "different files."
            )
        seen[place] = flag


def refuse_below_file(path, flag):
    """OutputError if a part of the way to `path` is no folder, UnfitError if it is not writable."""
    above = Path(os.path.abspath(path)).parents
    parent = next((each for each in above if _status(each) is not None), Path("/"))
    if not parent.is_dir():
        raise OutputError(
            f"{flag} is {path}, but {parent} is {kind_of(os.stat(parent).st_mode)}: a folder was "
            "expected there. Name another place."
        )
    refuse_unwritable(path, flag)


def is_below(path, folder):
    """Whether a path is a folder or lies in it, however deep; links are followed. Either may be
    missing: what is not there holds nothing."""
    status = _status(folder)
    if status is None:
        return False
    real = Path(os.path.realpath(path))
    return any(
        (found := _status(each)) is not None and os.path.samestat(found, status)
        for each in (real, *real.parents)
    )


def linked_folders(folder):
    """The links below a folder that lead to folders, and those below what they lead to."""
    return [entry.path for entry, is_folder in _entries(folder) if is_folder and entry.is_symlink()]


def _same_file(identity, inputs, harmless):
    """The first of the inputs that is the file of an identity (device, number), or None."""
    for each in inputs:
        status = _status(each)
        if status is None:
            continue
        if not stat.S_ISDIR(status.st_mode):
            if (status.st_dev, status.st_ino) == identity:
                return each
            continue
        for entry, is_folder in _entries(each):
            # The folder tells the number of a file: only links and a match need a look-up.
            if is_folder or not (entry.is_symlink() or entry.inode() == identity[1]):
                continue
            found = _status(entry.path)
            same = found is not None and (found.st_dev, found.st_ino) == identity
            if same and not harmless(entry.name):
                return entry.path
    return None


def _entries(folder):
    """(entry, whether it is a folder) of all that lies below a folder, links followed, each folder
    once. What cannot be listed is skipped: whoever reads it tells of it."""
    seen, waiting = set(), [os.fspath(folder)]
    while waiting:
        here = waiting.pop()
        status = _status(here)
        if status is None or (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    is_folder = _is_folder(entry)
                    if is_folder:
                        waiting.append(entry.path)
                    yield entry, is_folder
        except OSError:
            continue


def _is_folder(entry):
    try:
        return entry.is_dir()
    except OSError:  # a link that leads round in a circle
        return False


def _status(path, flag=None):
    """What stands at a path, links followed, or None.

    Raises:
        OutputError: with a flag, a link that leads to itself, or a name that no file can have.
    """
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        if flag is None:
            return None
        said = getattr(error, "strerror", None) or error
        raise OutputError(f"{flag} is {os.fspath(path)!r}, which cannot be: {said}.") from error


def _refuse_no_file(path, status, flag):
    if status is not None and not stat.S_ISREG(status.st_mode):
        kind = kind_of(status.st_mode)
        raise OutputError(f"{flag} is {path}, {kind}: the name of a file was expected.")


def kind_of(mode):
    """What stands at a path, in words ("a FIFO"), by the mode that `os.stat` tells."""
    return next((word for test, word in KINDS if test(mode)), "a file")
