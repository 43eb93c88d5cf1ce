"""Finds the images of a list that are not at the given paths."""

from __future__ import annotations

import os

from fastneg.counts import counted
from fastneg.data.encode.folders import is_image, list_folder, why_no_file
from fastneg.data.encode.list_rows import is_image_name
from fastneg.data.errors import BetonError


class ListedFiles:
    """The files that a list names, relative to its folder.

    Args:
        path: the list's.
    Attributes:
        folder: the list's, as written, or the current one.
    """

    def __init__(self, path):
        self.path, self.folder = path, os.path.dirname(path) or os.getcwd()
        self._places = self._failed = None

    def at(self, name):
        """Whether a name is the path of a regular file."""
        name = name.strip()
        return bool(name) and "\0" not in name and os.path.isfile(os.path.join(self.folder, name))

    def knows(self, name):
        """Whether a name, or an id without a suffix, is that of an image somewhere below the
        folder."""
        return bool(self._below(name.strip()))

    def _below(self, name):
        """The images below the folder that a name may mean: of its base name; for an id, of its
        stem."""
        if self._places is None:
            self._look()
        name = os.path.normpath(name.replace("\\", "/")).lstrip("/")
        folder, base = os.path.split(name)
        exact = is_image_name(base)
        found = self._places.get(os.path.splitext(base)[0] if exact else base, [])
        return [
            place
            for place in found
            if (not exact or os.path.basename(place) == base)
            and _ends_with(os.path.dirname(place), folder)
        ]

    def _look(self):
        """Note the place of every image below the folder, by its stem.

        A folder is looked into once.
        """
        self._places, self._failed, seen, todo = {}, {}, set(), [""]
        while todo:
            start = todo.pop()
            real = os.path.realpath(os.path.join(self.folder, start))
            if real in seen:
                continue
            seen.add(real)
            try:
                listing = list_folder(os.path.join(self.folder, start))
            except OSError as error:
                self._failed[start] = error.strerror
                continue
            for file in filter(is_image, listing.files):
                place = os.path.join(start, file)
                self._places.setdefault(os.path.splitext(file)[0], []).append(place)
            todo += [os.path.join(start, name) for name in reversed(listing.folders)]

    def resolve(self, names, lines, notes):
        """Find each image: where its name says, or, if none lies there, by its name below the
        folder.

        An id without a suffix is looked for by itself: the one image of that stem is taken.

        Args:
            names: as the list gives them.
            lines: where each stands, for messages.
            notes: list to which sentences are added.
        Returns:
            (names of the files, "NAME: reason" of what is nowhere or no file, positions of the
            former).
        Raises:
            BetonError: a name fits several files.
        """
        reasons = [why_no_file(os.path.join(self.folder, name)) for name in names]
        none_there = all(reasons)
        found, missing, kept, looked = [], [], [], 0
        for i, (name, reason) in enumerate(zip(names, reasons, strict=True)):
            place = name
            if reason is not None:
                is_id = not is_image_name(name)
                places = self._below(name) if is_id or none_there else []
                if len(places) > 1:
                    raise BetonError(
                        f"line {lines[i]} of {self.path} names {name}, which may be {places[0]} "
                        f"or {places[1]}{f' or {len(places) - 2} more' * (len(places) > 2)}, "
                        f"below {self.folder}: write where the image lies, or put the list into "
                        "the folder that is meant."
                    )
                if not places:
                    where = f"no image of that stem lies below {self.folder}" if is_id else reason
                    missing.append(f"{name} (line {lines[i]}): {where}")
                    continue
                place, looked = places[0], looked + 1
            found.append(place)
            kept.append(i)
        if looked:
            notes.append(
                f"Found below {self.folder} by their names, for they are not where {self.path} "
                f"says: {looked} of {counted(len(names), 'image')}, such as {found[-1]}."
            )
        if missing and self._failed:
            notes.append(f"Could not be looked into: {', '.join(list(self._failed)[:5])}.")
        return found, missing, kept


def _ends_with(folder, end):
    return not end or folder == end or folder.endswith("/" + end)
