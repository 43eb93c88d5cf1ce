"""Checks the words of a command line before a config is built: unknown flags, flags without a
value, misplaced words."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from typing import NamedTuple

from fastneg import plugins
from fastneg.config import ConfigError
from fastneg.config.base import field_types
from fastneg.config.pretrain import RENAMED
from fastneg.options import nearest
from fastneg.recipes.help import usage
from fastneg.recipes.presets import PRESETS

SWITCHED = {"true", "false", "yes", "no", "on", "off", "1", "0", "none"}
"""What is a switch's value, or is meant as one."""
SHORT = {"b": "batch_size", "d": "data", "l": "lr", "o": "out", "p": "preset", "s": "seed"}
ELSEWHERE = {
    "arch": "backbone",
    "model": "backbone",
    "learning_rate": "lr",
    "wd": "weight_decay",
    "output": "out",
    "output_dir": "out",
    "moco_k": "queue_size",
    "moco_m": "key_momentum",
    "moco_t": "temperature",
    "num_workers": "threads",
    "gpus": "device",
}
"""{what other projects call a flag: ours}"""


LISTED = {"negatives", "alpha", "dose", "mean", "std"}
"""Flags of several values that are no lists of names or paths."""


class Word(NamedTuple):
    """One argument of a command line."""

    text: str
    flag: str | None
    """The field that it names, or is the value of; None where it stands by itself."""
    is_flag: bool = False
    value: str | None = None
    """Of a flag, what stands behind its =."""


def words_of(arguments):
    """A `Word` for each argument. What follows a flag without = is its value."""
    words, flag = [], None
    for text in arguments:
        if is_flag(text):
            name, equals, value = text.partition("=")
            name = name.lstrip("-").replace("-", "_")
            words.append(Word(text, name, True, value if equals else None))
            flag = None if equals else name
        else:
            words.append(Word(text, flag))
            flag = None
    return words


def check_flags(name, command, arguments):
    """ConfigError where a flag is not one of the command's, or has no value where it needs one."""
    flags, words, seen = flags_of(command), words_of(arguments), set()
    for word, following in zip(words, [*words[1:], None], strict=False):
        if word.text == "--":
            raise ConfigError("'--' has no meaning here.")
        if not word.is_flag:
            continue
        flag, typed = word.flag, word.text.partition("=")[0]
        if flag not in flags:
            plugins.load()  # it may be an option of theirs
            flags = flags_of(command)
        if flag not in flags and RENAMED.get(flag) in flags:
            raise ConfigError(f"--{flag} is --{RENAMED[flag]} now.")
        if flag not in flags or not typed.startswith("--") or typed.startswith("---"):
            raise ConfigError(
                f"{name} has no flag {typed}{_nearest_flag(flag, flags)} fastneg {name} "
                "--help lists them."
            )
        alone = word.value is None and (following is None or following.is_flag)
        if alone and not is_switch(command, flag):
            raise ConfigError(f"{typed} needs a value: {typed} VALUE.")
        if flag in seen:
            raise ConfigError(f"{typed} is given twice: one of them was expected.")
        seen.add(flag)


def _nearest_flag(flag, flags):
    """As `nearest`, for a flag: a short one is guessed by its first letter."""
    meant = [ELSEWHERE.get(flag), SHORT.get(flag)]
    if len(flag) == 1:
        meant += sorted(other for other in flags if other.startswith(flag))
    known = [other for other in meant if other in flags]
    return f"; did you mean --{known[0]}?" if known else nearest(flag, flags, "--")


def is_switch(command, flag):
    """Whether a flag may stand without a value."""
    kind = field_types(command.config).get(flag)
    return bool in (typing.get_args(kind) or (kind,))


def switched(command, arguments):
    """The arguments with =True behind each switch that no value of one follows: in --lossless
    PHOTOS the word PHOTOS is none."""
    if not command.positional:
        return arguments
    words, found = words_of(arguments), []
    for word, following in zip(words, [*words[1:], None], strict=False):
        bare = word.is_flag and word.value is None and is_switch(command, word.flag)
        value = following is not None and following.text.lower() in SWITCHED
        found.append(f"{word.text}=True" if bare and not value else word.text)
    return found


def check_places(name, command, arguments):
    """ConfigError where a word stands at no place of the command's, or what it needs is missing."""
    words = words_of(arguments)
    given = {word.flag for word in words if word.is_flag}
    loose = [word.text for word in words if word.flag is None]
    places = [field for field in command.positional if field not in given]
    if "runs" not in places and len(loose) > len(places):
        word = loose[len(places)]
        if several := _values_of(command, words, places):
            raise ConfigError(
                f"{name} takes no argument {word!r}: several values of {several} take commas "
                "between them, and a pattern such as *.beton takes quotes."
            )
        guess = "."
        if "preset" in command.beside:
            guess = nearest(word, PRESETS, "--preset ")
        if guess == "." and places:
            guess = _told_places(command, loose, places)
        elif guess == ".":
            guess = nearest(word, flags_of(command), "--")
        raise ConfigError(f"{name} takes no argument {word!r}{guess} Usage: {usage(name)}")
    for field in needed(command):
        if field not in given and field not in places[: len(loose)]:
            listed = f" fastneg {name} lists what there is." if command.alone else ""
            raise ConfigError(
                f"{name}: {_label(command, field)} is missing. Usage: {usage(name)}{listed}"
            )


def _told_places(command, loose, places):
    """The end of a sentence about a word too many: what the words before it are taken for, and what
    it may have been meant as."""
    *taken, word = loose[: len(places) + 1]
    told = [f"{field.upper()} is {text!r}" for field, text in zip(places, taken, strict=True)]
    end = f"; did you mean --{word}?" if word in flags_of(command) else "."
    several = " and ".join(field.upper() for field in places if field in _listed(command))
    if several:
        end += (
            f" Several values of {several} are one word, with commas between them; a pattern such "
            "as *.tar takes quotes."
        )
    return f": {', '.join(told)}{end}"


def _values_of(command, words, places):
    """How a flag of several values is called that the first word without a place comes behind; None
    where it comes behind another one."""
    listed = LISTED | _listed(command)
    left, flag = list(places), None
    for word in words:
        if word.flag is None and not left:
            break
        flag = word.flag or left.pop(0)
    return _label(command, flag) if flag in listed else None


def _listed(command):
    """The fields of a command that take several names or paths."""
    return {f.name for f in dataclasses.fields(command.config) if "listed" in f.metadata}


def _label(command, flag):
    return flag.upper() if flag in command.positional else f"--{flag}"


def needed(command):
    """The parameters without which nothing can be built."""
    parameters = inspect.signature(command.build).parameters.values()
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return [p.name for p in named if p.default is p.empty]


def is_flag(argument):
    return argument.startswith("-") and not re.match(r"-[\d.]|-$", argument)


def flags_of(command):
    fields = {field.name for field in dataclasses.fields(command.config)} - {"runs"}
    return fields | {*command.beside}
