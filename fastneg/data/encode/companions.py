"""The label of an image in a WebDataset shard: KEY.cls, or a field of KEY.json."""

from __future__ import annotations

import json
import sys
from collections import Counter

from fastneg.data.errors import BetonError
from fastneg.data.label_names import LABEL_NAMES, surest

COMPANIONS = (".cls", ".json")
LABEL_FIELDS = [name for name in LABEL_NAMES if name not in ("y", "predictionstring")]
"""Fields of a companion .json that hold a label, the surest first, as `label_names.plain` makes
them."""
SHOWN = 8


class Companions:
    """The labels that companions tell, by key, and what else they hold.

    A .cls goes before a .json of the same key. A companion that cannot be read is an error only if
    an image needs it. So the error is kept in the label's place.
    """

    def __init__(self):
        self._cls, self._json, self._told, self._fields = {}, {}, {}, {}
        self._left, self._unread = {}, Counter()

    def __len__(self):
        return len(self._cls.keys() | self._json.keys())

    def __contains__(self, key):
        return key in self._cls or key in self._json

    def add(self, key, suffix, data, where):
        """Note what a companion says; `where` names it in messages."""
        if suffix == ".cls":
            self._cls[key] = _cls_text(data, where)
        else:
            self._json[key] = self._field(data, where)

    def unread(self, suffix):
        """Count a file that is neither an image nor a companion."""
        self._unread[suffix] += 1

    def labels(self, keys):
        """The label of each key as text, None where there is none.

        Raises:
            BetonError: a companion of a key cannot be read or tells several classes, or the labels
                stand in several fields.
        """
        found = [self._cls.get(key) or self._json.get(key) for key in keys]
        for told in found:
            if isinstance(told, BetonError):
                raise told
        self._fields = dict.fromkeys(told[0] for told in found if isinstance(told, tuple))
        if len(self._fields) > 1:
            raise BetonError(
                f"The labels stand in the fields {', '.join(self._fields)} of .json files, in "
                "each file in one of them: are they of one kind? Write them into one field."
            )
        return [told[1] if isinstance(told, tuple) else told for told in found]

    def _field(self, data, where):
        """(field, its text) of a .json file; None, or the BetonError that it cannot be read."""
        try:
            content = json.loads(data)
        except ValueError as error:
            return BetonError(f"the companion .json {where} cannot be read: {error}.")
        if not isinstance(content, dict):
            return None
        names = [name for name, value in content.items() if value is not None]
        fields = [names[i] for i in surest(names, LABEL_FIELDS)]
        self._left.update(dict.fromkeys(content))
        if not fields:
            return None
        value = content[fields[0]]
        if isinstance(value, (list, dict)):
            return BetonError(
                f"the field {fields[0]} of {where} is {str(value)[:60]}: one class for each image "
                "was expected."
            )
        text = value.strip() if isinstance(value, str) else json.dumps(value)
        return self._told.setdefault((fields[0], text), (fields[0], text)) if text else None

    def source(self):
        """Where the labels that `labels` gave came from."""
        parts = [".cls files"] if any(self._cls.values()) else []
        parts += [f"the field {field} of .json files" for field in self._fields]
        return " and ".join(parts)

    def notes(self, by_folder):
        """Sentences about what may be labels and was not taken; `by_folder`: folders told the
        labels."""
        left = [field for field in self._left if field not in self._fields]
        notes = [f"Fields of the .json files that are not taken: {_some(left)}."] if left else []
        if self._unread and not by_folder and not self.source():
            some = [
                f"{suffix or 'no suffix'} ({count})" for suffix, count in self._unread.most_common()
            ]
            notes.append(
                f"No labels were found; files of the archives that are not read: {_some(some)}."
            )
        return notes


def _cls_text(data, where):
    """The text of a .cls file, None if it is blank, or a BetonError if it is no text."""
    try:
        text = data.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        text = "\0"
    if not text.isprintable():
        return BetonError(
            f"{where} holds {len(data)} bytes that are no text of one line ({data[:12]!r}): a "
            "class name or a number was expected. Write the labels as text."
        )
    return sys.intern(text) if text else None


def _some(names):
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
