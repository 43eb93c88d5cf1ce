"""fastneg completion: a shell script that completes commands, flags and their choices.

The script is written from the configs, once: a shell that completes starts no Python.
"""

from __future__ import annotations

import dataclasses
import inspect
import textwrap
from typing import NamedTuple

from fastneg import plugins
from fastneg.config.base import field_docs
from fastneg.negatives import NEGATIVES
from fastneg.recipes.commands import COMMANDS
from fastneg.recipes.presets import PRESETS
from fastneg.recipes.words import is_switch


class Flag(NamedTuple):
    """A flag of a command, or a place of it."""

    name: str
    choices: tuple[str, ...] = ()
    """What it may be; () where that is a number, a path or a text."""
    about: str = ""
    """What it is, in short."""
    switch: bool = False
    """Whether it may stand without a value."""


def flags(name):
    """(the flags of a command, its places) as `Flag`s."""
    command = COMMANDS[name]
    docs = field_docs(command.config)
    found = {}
    for field in dataclasses.fields(command.config):
        switch = is_switch(command, field.name)
        choices = tuple(map(str, field.metadata.get("choices", ())))
        if field.name == "negatives":
            choices = ("none", *NEGATIVES)
        found[field.name] = Flag(field.name, choices, _short(docs.get(field.name, "")), switch)
    places = [found.pop(each) for each in command.positional]
    beside = [Flag("preset", tuple(PRESETS), "The preset")] if "preset" in command.beside else []
    everywhere = [
        Flag("config", about="A file of settings"),
        Flag("dry_run", about="Print what would be done, and do nothing", switch=True),
        Flag("help", about="Explain the command", switch=True),
    ]
    return [*beside, *found.values(), *everywhere], places


def _short(text):
    """The first sentence of a docstring, of at most 90 characters."""
    first = " ".join(text.split()).partition(". ")[0].rstrip(".")
    return textwrap.shorten(first, 90, placeholder=" …")


def _summaries():
    texts = {name: inspect.getdoc(command.config) for name, command in COMMANDS.items()}
    return {name: _short(text) for name, text in texts.items()}


BASH = """\
# Completion of fastneg for bash: eval "$(fastneg completion bash)" in ~/.bashrc.
_fastneg() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}} flags="" values="" flag
  # = parts words: of --flag=VALUE the flag stands before it
  if [[ $cur == "=" ]]; then flag=$prev cur=""
  elif [[ $prev == "=" ]]; then flag=${{COMP_WORDS[COMP_CWORD - 2]}}
  else flag=$prev; fi
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W "{commands} --help --version" -- "$cur"))
    return
  fi
  case ${{COMP_WORDS[1]}} in
{cases}
  esac
  if [[ -n $values ]]; then
    COMPREPLY=($(compgen -W "$values" -- "$cur"))
  elif [[ $cur == -* ]]; then
    COMPREPLY=($(compgen -W "$flags" -- "$cur"))
  else
    compopt -o filenames 2>/dev/null
    local IFS=$'\\n'
    COMPREPLY=($(compgen -f -- "$cur"))
  fi
}}
complete -F _fastneg fastneg"""

BASH_CASE = """\
    {name})
      flags="{flags}"
      case $flag in
{values}
      esac
      ;;"""


def bash():
    """The script of bash, from version 3 on."""
    cases = []
    for name in COMMANDS:
        known, places = flags(name)
        values = [
            f'        --{flag.name}) values="{" ".join(flag.choices)}" ;;'
            for flag in known
            if flag.choices
        ]
        if places and places[0].choices:
            values.append(f'        {name}) values="{" ".join(places[0].choices)}" ;;')
        words = " ".join(f"--{flag.name}" for flag in known)
        cases.append(BASH_CASE.format(name=name, flags=words, values="\n".join(values)))
    return BASH.format(commands=" ".join(COMMANDS), cases="\n".join(cases))


ZSH = """\
#compdef fastneg
# Completion of fastneg for zsh: eval "$(fastneg completion zsh)" in ~/.zshrc, after compinit.
_fastneg() {{
  if ((CURRENT == 2)); then
    local -a commands=(
{commands}
    )
    _describe command commands
    return
  fi
  local command=${{words[2]}}
  shift words
  ((CURRENT--))
  case $command in
{cases}
  esac
}}
compdef _fastneg fastneg"""


def _zsh_text(text):
    for special in "\\[]:":
        text = text.replace(special, f"\\{special}")
    return text.replace("'", "’")


def zsh():
    """The script of zsh."""
    cases = []
    for name in COMMANDS:
        known, places = flags(name)
        parts = []
        for flag in known:
            action = f"({' '.join(flag.choices)})" if flag.choices else "_files"
            value = "" if flag.switch else f":{flag.name}:{action}"
            equals = "" if flag.switch else "="
            parts.append(f"'--{flag.name}{equals}[{_zsh_text(flag.about)}]{value}'")
        first = f"({' '.join(places[0].choices)})" if places and places[0].choices else "_files"
        parts.append(f"'*:{places[0].name if places else 'file'}:{first}'")
        listed = " \\\n        ".join(parts)
        cases.append(f"    {name})\n      _arguments \\\n        {listed}\n      ;;")
    lines = [f"      '{name}:{_zsh_text(text)}'" for name, text in _summaries().items()]
    return ZSH.format(commands="\n".join(lines), cases="\n".join(cases))


def fish():
    """The script of fish."""
    quoted = lambda text: "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    first = "complete -c fastneg -n __fish_use_subcommand"
    lines = [
        "# Completion of fastneg for fish: fastneg completion fish | source in config.fish.",
        *(f"{first} -f -a {name} -d {quoted(text)}" for name, text in _summaries().items()),
    ]
    for name in COMMANDS:
        known, places = flags(name)
        start = f"complete -c fastneg -n '__fish_seen_subcommand_from {name}'"
        if places and places[0].choices:
            lines.append(f"{start} -f -a {quoted(' '.join(places[0].choices))}")
        for flag in known:
            values = f" -x -a {quoted(' '.join(flag.choices))}" if flag.choices else " -r"
            values = "" if flag.switch else values
            lines.append(f"{start} -l {flag.name}{values} -d {quoted(flag.about)}")
    return "\n".join(lines)


SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}


def run_completion(config):
    """Print the script."""
    plugins.load()
    print(SHELLS[config.shell]())
    return 0
