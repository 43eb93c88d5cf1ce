"""The command line: from its words to an exit code.

Fire only builds a config, which checks itself; the work starts after. Until then neither torch nor
anything else that takes its time is imported.
Exit codes: 0 done, 1 the job failed, 2 the command line was wrong; 128 + signal where a signal
stopped a training that a second call would finish.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys

from fastneg import plugins
from fastneg.config import ConfigError
from fastneg.files import OutputError
from fastneg.recipes.arguments import build_config, nearest
from fastneg.recipes.commands import COMMANDS
from fastneg.recipes.dry_run import take_dry_run, tell
from fastneg.recipes.help import help_text, overview
from fastneg.recipes.once import Voice
from fastneg.version import __version__


def main(arguments=None):
    """Run one command; returns its exit code."""
    try:
        code = _answer(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _answer(arguments):
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if getattr(sys.stdout, "errors", None) == "strict":  # names of files may be no UTF-8
        sys.stdout.reconfigure(errors="backslashreplace")
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if arguments[0] == "--version":
        print(__version__)
        return 0
    # torch then asks for huge pages, which spares the page faults of its large blocks: a third of a
    # patch negative's time on a CPU.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    name, *rest = arguments
    try:
        plugins.load_named()
        if name not in COMMANDS:
            raise ConfigError(
                f"There is no command {name!r}{nearest(name, COMMANDS)} Commands: "
                f"{', '.join(COMMANDS)}."
            )
        if "-h" in rest or "--help" in rest:
            print(help_text(name))
            return 0
        dry_run, rest = take_dry_run(rest)
        with _missing_extras():
            config = build_config(name, rest)
    except ConfigError as error:
        Voice().error(f"fastneg: {error}")
        return 2
    return _run(name, config, dry_run)


def _run(name, config, dry_run=False):
    """Run a command whose config stands, or say what it would do; returns the exit code."""
    module, function = COMMANDS[name].run.split(":")
    voice = Voice()
    try:
        with voice.warnings(), _missing_extras():
            if dry_run:
                return tell(name, config)
            return getattr(importlib.import_module(f"fastneg.recipes.{module}"), function)(config)
    except OutputError as error:
        print(f"fastneg {name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        voice.error(f"fastneg {name}: interrupted.")
        return 130
    except Exception as error:
        # Imported here: it brings NumPy, which help and a wrong flag can do without.
        from fastneg.recipes.failures import JOB_FAILURES

        if not isinstance(error, JOB_FAILURES):
            raise
        voice.error(f"fastneg {name}: {error}")
        return 1


EXTRA_MODULES = {
    "fire",
    "nvidia",
    "torchvision",
    "tqdm",
    "PIL",
    "tensorboard",
    "matplotlib",
    "jinja2",
    "numba",
}
"""What the extra `train` brings."""


@contextlib.contextmanager
def _missing_extras():
    """Say which extra to install where a module of it is missing; any other missing module keeps
    its traceback."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in EXTRA_MODULES:
            raise
        raise ConfigError(
            f"{error.name} is not installed: commands need the extra train, pip install "
            "'fastneg[train]'."
        ) from error
