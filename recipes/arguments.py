"""From the words of a command line to a config. Fire builds the config, which checks itself."""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import re
import typing

from fastneg import plugins
from fastneg.config import ConfigError, PretrainConfig, UnfitError
from fastneg.options import nearest
from fastneg.recipes.commands import COMMANDS, DEFAULT_PRESET
from fastneg.recipes.help import usage
from fastneg.recipes.settings_files import read_settings
from fastneg.recipes.words import (
    check_flags,
    check_places,
    flags_of,
    is_flag,
    switched,
    words_of,
)

HOME = re.compile(r"(?:(?<=^)|(?<=[,=\[])|(?<=, ))~(?=[/,\]]|$)")
"""A ~ that stands for the home folder: at the beginning of a path, alone or in a list."""


def build_config(name, arguments):
    """The config of a command from its arguments; ConfigError if they are wrong."""
    command = COMMANDS[name]
    path, arguments = _settings_file(arguments)
    check_flags(name, command, arguments)
    arguments = switched(command, arguments)
    filed = [] if path is None else _filed(name, command, path, arguments)
    check_places(name, command, [*arguments, *filed])
    if not filed and not any(map(is_flag, arguments)):
        # texts alone: without Fire, which takes its time to load
        return command.build(*map(_at_home, arguments))
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
        if path is None or is_flag(path):
            raise ConfigError("--config needs a value: --config FILE.")
    return None if path is None else _at_home(path), others


def _filed(name, command, path, arguments):
    """The settings of a file as further arguments, without those that the command line gives."""
    settings = read_settings(path)
    if settings.keys() - flags_of(command):
        plugins.load()  # they may be options of theirs
    flags = flags_of(command) | {*command.positional}
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
    words = words_of(arguments)
    by_place = sum(word.flag is None for word in words)
    left_out = {word.flag for word in words if word.is_flag} | {*command.positional[:by_place]}
    runs = settings.pop("runs", ()) if "runs" not in left_out else ()
    kept = {field: value for field, value in settings.items() if field not in left_out}
    filed = [f"--{field}={_at_home(value)!r}" for field, value in kept.items()]
    return [*(repr(_at_home(run)) for run in runs), *filed]


def _at_home(value):
    """A value with the home folder for each ~ in it, in lists and mappings too."""
    if isinstance(value, str):
        return HOME.sub(os.path.expanduser("~"), value)
    if isinstance(value, list):
        return [_at_home(each) for each in value]
    if isinstance(value, dict):
        return {name: _at_home(each) for name, each in value.items()}
    return value


def _settings_with_effect(settings):
    """Settings without what a run's own config.json says of options that its negatives do not
    take."""
    own = {field: value for field, value in settings.items() if field != "preset"}
    try:
        idle = PretrainConfig.read(own).without_effect()
    except UnfitError as error:  # a file of settings is a part of the command line
        raise ConfigError(str(error)) from error
    return {field: value for field, value in settings.items() if field not in idle}


def _quoted(command, arguments):
    """The arguments with every text in quotes, so that Fire leaves 007, 1e3, None and [a] as typed.

    A number may stand where a field takes a number or a text. All positional arguments are texts.
    A ~ is the home folder also where the shell leaves it: in --out=~/run and in a=~/x,b=~/y.
    """
    kinds, quoted = _text_fields(command.config), []
    for word in words_of(arguments):
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
    value = value if kind is None else _at_home(value)
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
