"""The command line, from its words to an exit code.

Fire only builds a config, which checks itself; the work starts after. Until then neither torch nor
anything else that takes its time is imported.
Exit codes: 0 done, 1 the job failed, 2 the command line was wrong; 128 + signal where a signal
stopped a training that a second call would finish, or a job whose output nobody reads any more.
Nothing is printed in colour, so there is nothing that NO_COLOR would switch off.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import select
import signal
import sys

from fastneg import plugins
from fastneg.config import ConfigError, UnfitError
from fastneg.options import nearest
from fastneg.recipes.arguments import build_config
from fastneg.recipes.commands import COMMANDS
from fastneg.recipes.dry_run import take_dry_run, tell
from fastneg.recipes.help import help_text, listing, overview
from fastneg.recipes.once import Voice
from fastneg.version import __version__

UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""What a full or broken disk says to output that is printed."""
HELP = ("-h", "--help", "help")
LINUX_ALONE = (
    "fastneg: commands run on Linux alone, this is {}: DALI, which decodes the images, is made for "
    "no other system. On Windows take WSL 2. The losses and patch_negatives, from Python, need "
    "PyTorch alone."
)


def main(arguments=None):
    """Run one command; returns its exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    _open_closed()
    try:
        code = _answer(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        if not _unread():
            raise
        # Whoever read the output has seen enough, as `head` has. Of a help that is all there is to
        # do, a job ends before its end.
        _silence(sys.stdout, sys.stderr)
        return 0 if _asks_for_help(arguments) else 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        _silence(sys.stdout)
        print(f"fastneg: the output cannot be written: {error.strerror}.", file=sys.stderr)
        return 1
    return code


def _open_closed():
    """Give the output a place where the caller has closed it: as if it went to /dev/null."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            setattr(sys, name, os.fdopen(nowhere, "w", encoding="utf-8"))


def _silence(*streams):
    """Let what streams still hold go nowhere."""
    for stream in streams:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _unread():
    """Whether the output goes into a pipe that nobody reads any more."""
    with contextlib.suppress(OSError, ValueError):
        poll = select.poll()
        for stream in (sys.stdout, sys.stderr):
            poll.register(stream.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    return False


def _asks_for_help(arguments):
    first = arguments[:1]
    return not first or first[0] in (*HELP, "--version") or not {*HELP[:2]}.isdisjoint(arguments)


def _answer(arguments):
    if getattr(sys.stdout, "errors", None) == "strict":  # names of files may be no UTF-8
        sys.stdout.reconfigure(errors="backslashreplace")
    if not arguments or arguments[0] in HELP:
        arguments = [*arguments[1:2], "--help"] if arguments[1:] else []
    if not arguments:
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
            raise ConfigError(_no_command(name))
        if not {*HELP[:2]}.isdisjoint(rest):
            print(help_text(name))
            return 0
        if sys.platform != "linux":
            print(LINUX_ALONE.format(sys.platform), file=sys.stderr)
            return 1
        dry_run, rest = take_dry_run(rest)
        if not rest and COMMANDS[name].alone:
            print(listing(name))
            return 0
        with _missing_extras():
            config = build_config(name, rest)
    except ConfigError as error:
        Voice().error(f"fastneg: {error}")
        return error.exit_code
    return _run(name, config, dry_run)


def _no_command(name):
    if name.startswith("-"):
        meant = {"-v": "--version"}.get(name.lower(), name)
        guess = nearest(meant, ("--help", "--version"))
        return f"a command comes first, before {name}{guess} Commands: {', '.join(COMMANDS)}."
    guess = nearest(name, [*COMMANDS, "--version"])
    return f"There is no command {name!r}{guess} Commands: {', '.join(COMMANDS)}."


def _run(name, config, dry_run=False):
    """Run a command whose config stands, or say what it would do; returns the exit code."""
    module, function = COMMANDS[name].run.split(":")
    voice = Voice()
    try:
        with voice.warnings(), _missing_extras():
            if dry_run:
                return tell(name, config)
            return getattr(importlib.import_module(f"fastneg.recipes.{module}"), function)(config)
    except ConfigError as error:
        voice.error(f"fastneg {name}: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        voice.error(f"fastneg {name}: interrupted.")
        return 130
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _unread():
            raise
        # Imported here: it brings NumPy, which help and a wrong flag can do without.
        from fastneg.recipes.failures import JOB_FAILURES, out_of_memory

        if isinstance(error, JOB_FAILURES):
            said = _told(error)
        elif not (said := out_of_memory(error)):
            raise
        voice.error(f"fastneg {name}: {said}")
        return 1


def _told(error):
    """An error in words, a system's with the path first and without its number."""
    if isinstance(error, OSError) and error.strerror:
        named = "" if error.filename is None else f"{error.filename}: "
        return f"{named}{error.strerror}."
    return str(error)


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
        raise UnfitError(
            f"{error.name} is not installed: commands need the extra train, pip install "
            "'fastneg[train]'."
        ) from error
