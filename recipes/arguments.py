"""From the words of a command line to a config: Fire only builds it, and it checks itself."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import inspect
import io
import os
import re
import typing
from typing import NamedTuple

from fastneg import plugins
from fastneg.config import ConfigError, PretrainConfig
from fastneg.config.base import field_types
from fastneg.config.renamed import RENAMED
from fastneg.recipes.commands import COMMANDS, DEFAULT_PRESET
from fastneg.recipes.help import usage
from fastneg.recipes.settings_files import read_settings

HOME = re.compile(r"(?:(?<=^)|(?<=[,=]))~(?=/|$)")


def build_config(name, arguments):
    """The config of a command from its arguments; ConfigError if they are wrong."""
    command = COMMANDS[name]
    path, arguments = _settings_file(arguments)
    _check_flags(name, command, arguments)
    filed = [] if path is None else _filed(name, command, path, arguments)
    if not arguments and not filed and _needs_nothing(command):
        return command.build()  # without Fire, which takes its time to load
    return _fire(name, command, [*_quoted(command, arguments), *filed])


def _settings_file(arguments):
    """(the FILE of --config or None, the other arguments)"""
    path, others, words = None, [], iter(arguments)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag != "--config":
            others.append(word)
            continue
        if path is not None:
            raise ConfigError("--config is given twice: one file was expected.")
        path = value if equals else next(words, None)
        if path is None or _is_flag(path):
            raise ConfigError("--config needs a value: --config FILE.")
    return None if path is None else HOME.sub(os.path.expanduser("~"), path), others


def _filed(name, command, path, arguments):
    """The settings of a file as further arguments, without those that the command line gives."""
    settings = read_settings(path)
    if settings.keys() - _flags(command):
        plugins.load()  # they may be options of theirs
    flags = _flags(command) | {*command.positional}
    if unknown := sorted(settings.keys() - flags):
        raise ConfigError(
            f"--config {path} has {unknown[0]}, which {name} does not know"
            f"{nearest(unknown[0], flags)} fastneg {name} --help lists what it does."
        )
    if issubclass(command.config, PretrainConfig):
        if "negatives" in settings:  # a whole config, as a run's own
            settings = _settings_with_effect(settings)
        if command.config is PretrainConfig:
            settings = {"preset": DEFAULT_PRESET} | settings
        else:
            settings.pop("data", None)  # show has it as its source
    words = _words(arguments)
    by_place = sum(word.flag is None for word in words)
    left_out = {word.flag for word in words if word.is_flag} | {*command.positional[:by_place]}
    runs = settings.pop("runs", ()) if "runs" not in left_out else ()
    filed = [f"--{field}={value!r}" for field, value in settings.items() if field not in left_out]
    return [*map(repr, runs), *filed]


def _settings_with_effect(settings):
    """Settings without what a run's own config.json says of options that its negatives do not
    take."""
    own = {field: value for field, value in settings.items() if field != "preset"}
    idle = PretrainConfig.read(own).without_effect()
    return {field: value for field, value in settings.items() if field not in idle}


class _Word(NamedTuple):
    """One argument of a command line."""

    text: str
    flag: str | None
    """The field that it names, or is the value of; None where it stands by itself."""
    is_flag: bool = False
    value: str | None = None
    """Of a flag, what stands behind its =."""


def _words(arguments):
    """A `_Word` for each argument. What follows a flag without = is its value."""
    words, flag = [], None
    for text in arguments:
        if _is_flag(text):
            name, equals, value = text.partition("=")
            name = name.lstrip("-").replace("-", "_")
            words.append(_Word(text, name, True, value if equals else None))
            flag = None if equals else name
        else:
            words.append(_Word(text, flag))
            flag = None
    return words


def _check_flags(name, command, arguments):
    """ConfigError where a flag is not one of the command's, or has no value where it needs one."""
    flags, words = _flags(command), _words(arguments)
    for word, following in zip(words, [*words[1:], None], strict=False):
        if word.text == "--":
            raise ConfigError("'--' has no meaning here.")
        if not word.is_flag:
            continue
        flag, typed = word.flag, word.text.partition("=")[0]
        if flag not in flags:
            plugins.load()  # it may be an option of theirs
            flags = _flags(command)
        if flag not in flags and RENAMED.get(flag) in flags:
            raise ConfigError(f"--{flag} is --{RENAMED[flag]} now.")
        if flag not in flags:
            raise ConfigError(
                f"{name} has no flag {typed}{nearest(flag, flags, '--')} fastneg {name} "
                "--help lists them."
            )
        alone = word.value is None and (following is None or following.is_flag)
        kind = field_types(command.config).get(flag)
        if alone and bool not in (typing.get_args(kind) or (kind,)):
            raise ConfigError(f"{typed} needs a value: {typed} VALUE.")


def _is_flag(argument):
    return argument.startswith("-") and not re.match(r"-[\d.]|-$", argument)


def _needs_nothing(command):
    parameters = inspect.signature(command.build).parameters.values()
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return all(p.default is not p.empty for p in named)


def _quoted(command, arguments):
    """The arguments with every text in quotes, so that Fire leaves 007, 1e3, None and [a] as typed.

    A number may stand where a field takes a number or a text. All positional arguments are texts.
    A ~ is the home folder also where the shell leaves it: in --out=~/run and in a=~/x,b=~/y.
    """
    kinds, quoted = _text_fields(command.config), []
    for word in _words(arguments):
        kind = "text" if word.flag is None else kinds.get(word.flag)
        if not word.is_flag:
            quoted.append(_quote(kind, word.text))
        elif word.value is None:
            quoted.append(word.text)
        else:
            quoted.append(f"{word.text.partition('=')[0]}={_quote(kind, word.value)}")
    return quoted


def _text_fields(config):
    """{field that takes a text: "text", or "number or text" where it takes a number too}."""
    kinds = {"preset": "text"}
    for name, hint in typing.get_type_hints(config).items():
        options = typing.get_args(hint) or (hint,)
        if str in options:
            kinds[name] = "number or text" if {int, float} & {*options} else "text"
    return kinds


def _quote(kind, value):
    value = value if kind is None else HOME.sub(os.path.expanduser("~"), value)
    if kind == "number or text":
        try:
            float(value)
        except ValueError:
            return repr(value)
    return repr(value) if kind == "text" else value


def _fire(name, command, arguments):
    import fire

    built = []

    def build(*values, **flags):
        built.append(command.build(*values, **flags))
        return _Built()

    build.__signature__ = _signature(command)
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            fire.Fire(
                {name: build}, command=[name, *arguments], name="fastneg", serialize=lambda _: None
            )
    except fire.core.FireExit as stopped:
        said = re.search(r"ERROR:\S* (.*)", errors.getvalue())
        reason = said.group(1) if said else f"the arguments do not fit ({stopped.code})"
        raise ConfigError(f"{name}: {reason.strip()} Usage: {usage(name)}") from None
    return built[0]


def _signature(command):
    """The builder's parameters, of which only the positional ones may come without their names."""
    signature = inspect.signature(command.build)
    if command.builder is not None:
        return signature
    parameters = [
        p if p.name in command.positional else p.replace(kind=p.KEYWORD_ONLY)
        for p in signature.parameters.values()
    ]
    return signature.replace(parameters=parameters)


class _Built:
    """What Fire is given back: nothing that leftover words of a command line could be looked up
    in."""

    __slots__ = ()


def _flags(command):
    fields = {field.name for field in dataclasses.fields(command.config)} - {"runs"}
    return fields | {*command.beside}


def nearest(word, known, prefix=""):
    """The end of a sentence about a word that is not among the known ones: the one that is most
    like it, if any is."""
    near = difflib.get_close_matches(word, list(known), 1, cutoff=0.5)
    if len(word) == 1:  # a short flag, which there are none of
        near = sorted(other for other in known if other.startswith(word))[:1]
    return f"; did you mean {prefix}{near[0]}?" if near else "."
