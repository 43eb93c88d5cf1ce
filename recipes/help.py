"""What `--help` prints, read from the configs: each field's docstring is the one place where it is
explained."""

from __future__ import annotations

import dataclasses
import inspect
import textwrap

from fastneg import plugins
from fastneg.config import field_docs, flag_text
from fastneg.recipes.commands import COMMANDS
from fastneg.version import __version__

IN_A_FILE = (
    "read settings from a YAML, TOML or JSON file, such as a run's config.json; flags override it"
)
DRY_RUN = "print what would be read and written, and do nothing"


def usage(name):
    """One line: how the command is called."""
    command = COMMANDS[name]
    words = ["RUN [RUN…]" if field == "runs" else field.upper() for field in command.positional]
    required = command.required or [
        f"--{field.name} {field.name.upper()}"
        for field in dataclasses.fields(command.config)
        if field.default is dataclasses.MISSING and field.name not in command.positional
    ]
    return " ".join(["fastneg", name, *words, *required, "[--<flag> VALUE …]"])


def _told(words):
    """{word: what it is} as lines of at most 100 characters, in two columns."""
    width = max(map(len, words), default=0) + 4
    for word, text in words.items():
        start = f"  {word}".ljust(width)
        yield textwrap.fill(text, 100, initial_indent=start, subsequent_indent=" " * width)


def overview():
    """What `fastneg --help` prints."""
    summaries = {
        name: inspect.getdoc(command.config).partition("\n\n")[0]
        for name, command in COMMANDS.items()
    }
    return "\n".join(
        [
            f"fastneg {__version__}: contrastive pre-training with non-semantic negatives",
            "",
            *_told(summaries),
            "",
            "fastneg COMMAND --help explains one.",
        ]
    )


def listing(name):
    """What a command prints that is called without arguments and has `Command.alone` to say: a
    line for each word."""
    command = COMMANDS[name]
    plugins.load()
    more = command.more()
    width = 100 - max(map(len, more)) - 4
    lines = {word: textwrap.shorten(text, width, placeholder=" …") for word, text in more.items()}
    return "\n".join([*_told(lines), "", command.alone])


def _bound_text(rule, bound):
    if rule == "by":
        governor, defaults = bound
        return "; ".join(
            f"= {default} with --{governor} {choice}" for choice, default in defaults.items()
        )
    return f"{rule.replace('_', ' ')} {' | '.join(map(str, bound)) if rule == 'choices' else bound}"


def help_text(name):
    """What `fastneg COMMAND --help` prints: each field with its default, its bounds and its
    docstring."""
    command = COMMANDS[name]
    plugins.load()  # what they register has its options and its name among the choices
    lines = [inspect.getdoc(command.config), "", f"Usage: {usage(name)}", ""]
    everywhere = {"--config FILE": IN_A_FILE, "--dry_run": DRY_RUN}
    lines += [*_told({**command.more(), **everywhere}), ""]
    docs = field_docs(command.config)
    for field in dataclasses.fields(command.config):
        none = field.default in (dataclasses.MISSING, "", None)
        default = "" if none else f" = {flag_text(field.default)}"
        bounds = "; ".join(
            _bound_text(rule, bound) for rule, bound in field.metadata.items() if rule != "listed"
        )
        label = field.name.upper() if field.name in command.positional else f"--{field.name}"
        lines.append(f"  {label}{default}" + (f"  ({bounds})" if bounds else ""))
        lines += textwrap.wrap(
            docs.get(field.name, ""), 100, initial_indent="      ", subsequent_indent="      "
        )
    return "\n".join(lines)
