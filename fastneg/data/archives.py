"""Images in tar archives, WebDataset shards among them: where each lies, so that it is read in place and nothing is unpacked."""

from __future__ import annotations

import glob
import json
import tarfile
from pathlib import Path, PurePosixPath

from fastneg.config import ConfigError
from fastneg.data.errors import BetonError

MARKS = frozenset("*?[")


class TarFiles:
    """Reads members by name, each from its archive at its offset. Picklable."""

    def __init__(self, places):
        self._places = places  # {name: (path of the archive, offset, bytes)}

    def __call__(self, name):
        path, offset, size = self._places[name]
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(size)


def archive_paths(text):
    """The archives that SRC names, one, a comma list or a glob, sorted; None where it names none.

    Raises:
        ConfigError: a compressed archive, which cannot be read in place; a pattern that fits nothing.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not any(Path(part).suffix == ".tar" or ".tar." in Path(part).name or Path(part).suffix == ".tgz" for part in parts):
        return None
    found = []
    for part in parts:
        if Path(part).suffix != ".tar":
            raise ConfigError(f"{part} is no plain .tar: a compressed archive cannot be read in place. Unpack it first (gunzip).")
        matches = sorted(glob.glob(part)) if MARKS & set(part) else [part]
        if not matches:
            raise ConfigError(f"No file fits {part}: tar archives were expected there.")
        found += matches
    if twice := sorted({path for path in found if found.count(path) > 1}):
        raise ConfigError(f"SRC names {twice[0]} twice.")
    return found


def list_archives(paths, suffixes):
    """What some archives hold.

    The class of an image is what its WebDataset companion says (KEY.cls, or the field label or cls of KEY.json, where KEY is its name
    up to the first dot), or else the folder that it lies in.

    Args:
        suffixes: those of images.
    Returns:
        (names in the order of the archives, {name: class as text} (empty where no image has one), TarFiles, other files).
    Raises:
        BetonError: an archive that cannot be read, a name that comes twice, or images with a class beside images without.
    """
    places, companions, folders, ignored = {}, {}, {}, 0
    for path in paths:
        prefix = f"{Path(path).stem}/" if len(paths) > 1 else ""
        for member, name in _members(path):
            where, suffix = prefix + name, PurePosixPath(name).suffix.lower()
            if suffix in suffixes:
                if where in places:
                    raise BetonError(f"{path} holds {name} twice: each sample needs a name of its own.")
                places[where] = (str(path), member.offset_data, member.size)
                if len(PurePosixPath(name).parts) > 1:
                    folders[where] = PurePosixPath(name).parts[-2]
            elif suffix in (".cls", ".json"):
                companions.setdefault(_key(where), {})[suffix] = (str(path), member.offset_data, member.size)
            else:
                ignored += 1
    told = {name: _told(companions[_key(name)]) for name in places if _key(name) in companions}
    told = {name: found for name, found in told.items() if found is not None}
    classes = told or folders
    if classes and len(classes) < len(places):
        odd = next(name for name in places if name not in classes)
        raise BetonError(
            f"{odd} has no class, {len(classes)} other images have one: a companion .cls or .json, or a folder, was expected for each."
        )
    return list(places), classes, TarFiles(places), ignored


def _members(path):
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                name = PurePosixPath(member.name).as_posix().removeprefix("./")
                if member.islnk() or member.issym() or member.issparse():
                    raise BetonError(f"{path} holds {name} as a link or a sparse file, which cannot be read in place: pack plain files.")
                if member.isreg() and not PurePosixPath(name).name.startswith("."):
                    yield member, name
        # tarfile takes a damaged header, and an archive cut between two members, for the end of the archive.
        with open(path, "rb") as file:
            file.seek(archive.offset)
            rest = file.read(tarfile.BLOCKSIZE)
            whole = len(rest) == tarfile.BLOCKSIZE and not any(rest)
            while whole and (rest := file.read(1 << 20)):
                whole = not any(rest)
        if not whole:
            raise BetonError(f"{path} is damaged or cut at byte {archive.offset}: a member or the zeros that end an archive were expected.")
    except (OSError, tarfile.TarError, EOFError, ValueError) as error:
        raise BetonError(f"{path} cannot be read as a tar archive: {error or type(error).__name__}.") from error


def _key(name):
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.split(".", 1)[0]


def _told(companion):
    """The class that a companion tells, as text, or None."""
    if ".cls" in companion:
        return _read(companion[".cls"]).decode("utf-8", "replace").strip() or None
    try:
        content = json.loads(_read(companion[".json"]))
    except ValueError as error:
        raise BetonError(f"a companion .json in {companion['.json'][0]} cannot be read: {error}.") from error
    found = next((content[name] for name in ("label", "cls") if name in content), None) if isinstance(content, dict) else None
    return None if found is None else str(found)


def _read(place):
    return TarFiles({"": place})("")
