"""The command line. Fire only builds a config, which checks itself; the work starts after.

Exit codes: 0 done, 1 the job failed, 2 the command line was wrong; 128 + signal where a signal
stopped a training that a second call would finish.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import importlib
import inspect
import io
import os
import re
import sys
import textwrap
import typing
from collections.abc import Callable
from dataclasses import dataclass

from fastneg import config as configs
from fastneg.config import ConfigError, PretrainConfig, ReportConfig, field_docs, flag_text
from fastneg.files import OutputError
from fastneg.recipes.failures import JOB_FAILURES
from fastneg.recipes.once import Voice
from fastneg.recipes.presets import PRESETS
from fastneg.version import __version__


@dataclass(frozen=True)
class Command:
    build: Callable
    """Makes the config from the command line's values."""
    config: type
    """The class of that config; its fields are the flags."""
    run: str
    """module:function of fastneg.recipes, imported only when the config stands."""
    positional: tuple[str, ...] = ()
    """Fields that may be given without their names."""


def _pretrain(preset, **overrides):
    near = difflib.get_close_matches(str(preset), PRESETS, 1)
    if preset not in PRESETS:
        raise ConfigError(
            f"--preset is {preset!r}: one of {', '.join(PRESETS)} was expected"
            + (f"; did you mean {near[0]}?" if near else ".")
        )
    config = PRESETS[preset]().replace(**overrides)
    for name in sorted(overrides.keys() & config.without_effect()):
        raise ConfigError(
            f"--{name} is {overrides[name]!r}, which has no effect with --negatives "
            f"{config.negatives}: leave it out."
        )
    for name, meaning in (
        ("data", "the .beton file to train on"),
        ("out", "the folder of the run"),
    ):
        if not getattr(config, name):
            raise ConfigError(f"--{name} is missing: {meaning}.")
    return config


def _report(*runs, **options):
    if not runs:
        raise ConfigError(
            "report needs at least one run folder: fastneg report RUN [RUN…] --out report.html."
        )
    return ReportConfig(runs=tuple(map(str, runs)), **options)


COMMANDS = {
    "demo": Command(configs.DemoConfig, configs.DemoConfig, "demo:run_demo"),
    "encode": Command(
        configs.EncodeConfig, configs.EncodeConfig, "encode:run_encode", ("src", "out")
    ),
    "textures": Command(
        configs.TexturesConfig, configs.TexturesConfig, "textures:run_textures", ("src", "out")
    ),
    "verify": Command(configs.VerifyConfig, configs.VerifyConfig, "encode:run_verify", ("file",)),
    "pretrain": Command(_pretrain, PretrainConfig, "pretrain:run_pretrain"),
    "import": Command(
        configs.ImportConfig, configs.ImportConfig, "import_export:run_import", ("weights", "run")
    ),
    "export": Command(
        configs.ExportConfig, configs.ExportConfig, "import_export:run_export", ("out",)
    ),
    "linear": Command(configs.LinearConfig, configs.LinearConfig, "linear:run_linear"),
    "finetune": Command(configs.FinetuneConfig, configs.FinetuneConfig, "finetune:run_finetune"),
    "knn": Command(configs.KnnConfig, configs.KnnConfig, "knn:run_knn"),
    "evaluate": Command(configs.EvaluateConfig, configs.EvaluateConfig, "evaluate:run_evaluate"),
    "report": Command(_report, ReportConfig, "report:run_report", ("runs",)),
    "bench": Command(configs.BenchConfig, configs.BenchConfig, "bench.run:run_bench", ("name",)),
    "presets": Command(configs.PresetsConfig, configs.PresetsConfig, "show_presets:run_presets"),
}


def main(arguments=None):
    """Run one command; returns its exit code."""
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
        if name not in COMMANDS:
            raise ConfigError(
                f"There is no command {name!r}{_nearest(name, COMMANDS)} Commands: "
                f"{', '.join(COMMANDS)}."
            )
        if "-h" in rest or "--help" in rest:
            print(help_text(name))
            return 0
        with _missing_extras():
            config = build_config(name, rest)
    except ConfigError as error:
        Voice().error(f"fastneg: {error}")
        return 2
    module, function = COMMANDS[name].run.split(":")
    voice = Voice()
    try:
        with voice.warnings(), _missing_extras():
            return getattr(importlib.import_module(f"fastneg.recipes.{module}"), function)(config)
    except OutputError as error:
        print(f"fastneg {name}: {error}", file=sys.stderr)
        return 2
    except JOB_FAILURES as error:
        voice.error(f"fastneg {name}: {error}")
        return 1
    except KeyboardInterrupt:
        voice.error(f"fastneg {name}: interrupted.")
        return 130


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


def build_config(name, arguments):
    """The config of a command from its arguments; ConfigError if they are wrong."""
    command = COMMANDS[name]
    flags = _flags(command)
    for argument in arguments:
        if argument == "--":
            raise ConfigError("'--' has no meaning here.")
        if argument.startswith("-") and not re.match(r"-[\d.]", argument):
            flag = argument.lstrip("-").split("=", 1)[0].replace("-", "_")
            if flag not in flags:
                raise ConfigError(
                    f"{name} has no flag --{flag}{_nearest(flag, flags, '--')} fastneg {name} "
                    "--help lists them."
                )
    return _fire(name, command, _quoted(command, arguments))


def _quoted(command, arguments):
    """The arguments with every text in quotes, so that Fire leaves 007, 1e3, None and [a] as typed.

    A number may stand where a field takes a number or a text. All positional arguments are texts.
    """
    kinds, quoted, flag = _text_fields(command.config), [], None
    for argument in arguments:
        if argument.startswith("-") and not re.match(r"-[\d.]", argument):
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
    if command.build is not command.config:
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
    return fields | ({"preset"} if command.config is PretrainConfig else set())


def _nearest(word, known, prefix=""):
    near = difflib.get_close_matches(word, list(known), 1, cutoff=0.5)
    return f"; did you mean {prefix}{near[0]}?" if near else "."


def usage(name):
    """One line: how the command is called."""
    command = COMMANDS[name]
    words = ["RUN [RUN…]" if field == "runs" else field.upper() for field in command.positional]
    required = (
        []
        if command.config is PretrainConfig
        else [
            f"--{field.name} {field.name.upper()}"
            for field in dataclasses.fields(command.config)
            if field.default is dataclasses.MISSING and field.name not in command.positional
        ]
    )
    if command.config is PretrainConfig:
        required = ["--preset NAME", "--data X.beton", "--out RUN"]
    return " ".join(["fastneg", name, *words, *required, "[--<flag> VALUE …]"])


def overview():
    """What `fastneg --help` prints."""
    lines = [
        f"  {name:<10}{inspect.getdoc(command.config).splitlines()[0]}"
        for name, command in COMMANDS.items()
    ]
    return "\n".join(
        [
            f"fastneg {__version__}: contrastive pre-training with non-semantic negatives",
            "",
            *lines,
            "",
            "fastneg COMMAND --help explains one.",
        ]
    )


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
    lines = [inspect.getdoc(command.config), "", f"Usage: {usage(name)}", ""]
    if command.config is PretrainConfig:
        lines += [
            f"  --preset  one of {', '.join(PRESETS)}; the defaults below are those of "
            "moco_patch_in100",
            "",
        ]
    docs = field_docs(command.config)
    for field in dataclasses.fields(command.config):
        none = field.default in (dataclasses.MISSING, "", None)
        default = "" if none else f" = {flag_text(field.default)}"
        bounds = "; ".join(_bound_text(rule, bound) for rule, bound in field.metadata.items())
        label = field.name.upper() if field.name in command.positional else f"--{field.name}"
        lines.append(f"  {label}{default}" + (f"  ({bounds})" if bounds else ""))
        lines += textwrap.wrap(
            docs.get(field.name, ""), 100, initial_indent="      ", subsequent_indent="      "
        )
    return "\n".join(lines)
