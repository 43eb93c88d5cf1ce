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

from fastneg import plugins
from fastneg.config import ConfigError
from fastneg.config.base import field_types
from fastneg.config.renamed import RENAMED
from fastneg.recipes.commands import COMMANDS
from fastneg.recipes.help import usage

HOME = re.compile(r"(?:(?<=^)|(?<=[,=]))~(?=/|$)")


def build_config(name, arguments):
    """The config of a command from its arguments; ConfigError if they are wrong."""
    command = COMMANDS[name]
    _check_flags(name, command, arguments)
    if not arguments and _needs_nothing(command):
        return command.build()  # without Fire, which takes its time to load
    return _fire(name, command, _quoted(command, arguments))


def _check_flags(name, command, arguments):
    """ConfigError where a flag is not one of the command's, or has no value where it needs one."""
    flags = _flags(command)
    for argument, following in zip(arguments, [*arguments[1:], None], strict=False):
        if argument == "--":
            raise ConfigError("'--' has no meaning here.")
        if not _is_flag(argument):
            continue
        word, equals, _ = argument.partition("=")
        flag = word.lstrip("-").replace("-", "_")
        if flag not in flags:
            plugins.load()  # it may be an option of theirs
            flags = _flags(command)
        if flag not in flags and RENAMED.get(flag) in flags:
            raise ConfigError(f"--{flag} is --{RENAMED[flag]} now.")
        if flag not in flags:
            raise ConfigError(
                f"{name} has no flag {word}{nearest(flag, flags, '--')} fastneg {name} "
                "--help lists them."
            )
        alone = not equals and (following is None or _is_flag(following))
        if alone and field_types(command.config).get(flag) is not bool:
            raise ConfigError(f"{word} needs a value: {word} VALUE.")


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
    kinds, quoted, flag = _text_fields(command.config), [], None
    for argument in arguments:
        if _is_flag(argument):
            word, equals, value = argument.partition("=")
            flag = word.lstrip("-").replace("-", "_")
            if equals:
                argument, flag = f"{word}={_quote(kinds.get(flag), value)}", None
        else:
            argument = _quote("text" if flag is None else kinds.get(flag), argument)
            flag = None
        quoted.append(argument)
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
