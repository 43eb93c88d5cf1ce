"""The registry of benchmarks. Add one with a file and a line in BENCHES, or from outside with
`register` (see `fastneg.plugins`).

The file of a benchmark NAME is imported when it is measured, not before. It has:
    bench_NAME(**options), which yields rows of figures;
    plot_NAME(rows, file), if there is a picture to draw of them, as SVG into an open file;
    a docstring, whose first line is its help.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from fastneg.config import Config, ConfigError, option


@dataclass(frozen=True)
class Bench:
    """A benchmark, of which nothing is imported yet."""

    name: str
    module: str
    """The module of its file."""
    options: str | None = None
    """module:class of a Config whose fields `bench_NAME` takes, and become flags of the command.
    That module is imported for the help, so it should import no more than the configs."""
    alone: bool = False
    """Whether it is measured only when it is named, and not with all."""

    def help(self) -> str:
        """The first line of the file's docstring, without the command; the file is not
        imported."""
        found = importlib.util.find_spec(self.module)
        text = Path(found.origin).read_text(encoding="utf-8") if found and found.origin else ""
        line = " ".join((ast.get_docstring(ast.parse(text)) or "").partition("\n\n")[0].split())
        return line.removeprefix(f"fastneg bench {self.name}: ")

    def options_class(self) -> type[Config] | None:
        if self.options is None:
            return None
        module, _, name = self.options.partition(":")
        return getattr(importlib.import_module(module), name)

    def load(self) -> tuple[Callable[..., Iterator[dict]], Callable | None]:
        """(what measures, what draws or None)"""
        module: ModuleType = importlib.import_module(self.module)
        return getattr(module, f"bench_{self.name}"), getattr(module, f"plot_{self.name}", None)

    def arguments(self, config: Config) -> dict[str, object]:
        """What the command's config says of the options of this benchmark."""
        options = self.options_class()
        fields = () if options is None else dataclasses.fields(options)
        return {field.name: getattr(config, field.name) for field in fields}


HERE = "fastneg.recipes.bench"
BENCHES = {
    bench.name: bench
    for bench in (
        Bench("info_nce", f"{HERE}.info_nce", options=f"{HERE}.loss_options:InfoNCEOptions"),
        Bench("pairs", f"{HERE}.pairs", options=f"{HERE}.loss_options:PairsOptions"),
        Bench("patch_shuffle", f"{HERE}.patch_shuffle"),
        Bench("augment", f"{HERE}.augment"),
        Bench("crop_resize", f"{HERE}.crop_resize"),
        Bench("batch_norm", f"{HERE}.batch_norm"),
        Bench("loader", f"{HERE}.loader"),
        Bench("encode", f"{HERE}.encode"),
        Bench("checks", f"{HERE}.checks"),
        Bench("textures", f"{HERE}.textures"),
        Bench("order", f"{HERE}.order"),
        Bench("corruptions", f"{HERE}.corruptions"),
        Bench("compile", f"{HERE}.compile"),
        Bench(
            "first_hour",
            f"{HERE}.first_hour.run",
            options=f"{HERE}.first_hour.options:FirstHourOptions",
            alone=True,
        ),
        Bench("step", f"{HERE}.step", options=f"{HERE}.gpus:ModelOption"),
        Bench("scaling", f"{HERE}.scaling", options=f"{HERE}.scaling_model:ScalingOptions"),
    )
}
ALL = "all"


def register(name: str, module: str, options: str | None = None) -> None:
    """Add a benchmark from outside the package, with the arguments of `Bench`. The same module may
    be registered again.

    Raises:
        ConfigError: another module has that name.
    """
    there = BENCHES.get(name)
    if name == ALL or (there is not None and there.module != module):
        raise ConfigError(
            f"There is a benchmark {name} already: register {module} by another name."
        )
    BENCHES[name] = Bench(name, module, options)


def bench_option(name: str, default, **bounds):
    """An option of the benchmark `name`: under any other, a value is refused; bounds as in
    `fastneg.config.option`."""
    return option(None, by=("name", dict.fromkeys((name, ALL), default)), **bounds)


@dataclass(frozen=True)
class BenchConfig(Config):
    """Measure one part against its alternatives in the same run."""

    name: str
    """What to measure; without it fastneg bench lists what there is."""
    json: str | None = None
    """Also write the rows to this file, one JSON object a line."""
    csv: str | None = None
    """Also write the rows to this file as a table, with device, versions and commit; for a
    benchmark that draws its rows (info_nce, loader) a plot (.svg) beside it."""


def bench_config() -> type[BenchConfig]:
    """The config of the command: `BenchConfig` with all benchmarks for choices, and their
    options."""
    return _config_of(tuple(BENCHES.values()))


def bench_help() -> dict[str, str]:
    """{benchmark: what it measures}, and what all of them are."""
    alone = " and ".join(name for name, bench in BENCHES.items() if bench.alone)
    every = {ALL: f"each of these in turn, but for {alone}."}
    return {name: bench.help() for name, bench in BENCHES.items()} | every


@cache
def _config_of(benches):
    options = [found for bench in benches if (found := bench.options_class())]
    # A class whose options another takes over comes with that one.
    options = [
        one
        for one in options
        if not any(one is not each and issubclass(each, one) for each in options)
    ]

    @dataclass(frozen=True)
    class WithOptions(*options, BenchConfig):
        __doc__ = BenchConfig.__doc__

        name: str = option(choices=(*(bench.name for bench in benches), ALL))
        """What to measure; without it fastneg bench lists what there is."""

    return WithOptions
