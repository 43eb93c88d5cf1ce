"""The commands: the config and the function of each.

A command that is added is one line of COMMANDS, its config and its file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fastneg import config as configs
from fastneg import plugins
from fastneg.config import ConfigError, PretrainConfig, ReportConfig
from fastneg.config.tools import show_config
from fastneg.options import nearest
from fastneg.recipes.bench.registry import ALL, BENCHES, bench_config, bench_help
from fastneg.recipes.preset_config import changed, of_preset, preset_config
from fastneg.recipes.presets import PRESETS
from fastneg.recipes.settings_files import read_settings
from fastneg.runs.paths import CONFIG

DEFAULT_PRESET = "moco_patch_in100"
"""The preset whose values are the defaults of `PretrainConfig`."""


@dataclass(frozen=True)
class Command:
    """One command of the program."""

    made: type | Callable[[], type]
    """The class of its config, whose fields are the flags; or what makes that class, where plugins
    add fields."""
    run: str
    """module:function of fastneg.recipes, imported only when the config stands."""
    positional: tuple[str, ...] = ()
    """Fields that may be given without their names."""
    builder: Callable | None = None
    """Makes the config from the command line's values, where its class does not do so alone."""
    beside: tuple[str, ...] = ()
    """Flags that the builder takes beside the config's fields."""
    required: tuple[str, ...] = ()
    """What a call must give, as `usage` shows it; default: the fields without a default."""
    more: Callable[[], dict[str, str]] = dict
    """{word: what it is}, for its help, before the flags."""
    alone: str = ""
    """The line under the words of `more`, where a call without arguments lists them; "": it is as
    any other call."""

    @property
    def config(self) -> type:
        return self.made if isinstance(self.made, type) else self.made()

    @property
    def build(self) -> Callable:
        return self.builder or self.config


def _show(source, out, preset=None, **overrides):
    own = {name: overrides.pop(name) for name in ("images",) if name in overrides}
    if (Path(source) / CONFIG).is_file():
        if preset is not None:
            raise ConfigError(f"--preset is {preset!r}, but the run {source} has its own settings.")
        run = PretrainConfig.read(read_settings(str(Path(source) / CONFIG)))
        config = changed(run, overrides)
    elif Path(source).is_dir():
        raise ConfigError(
            f"{source} is a folder without a {CONFIG}: no run. fastneg encode {source} OUT.beton "
            "makes a .beton file of a folder of images."
        )
    elif "data" in overrides:
        raise ConfigError(f"--data is {overrides['data']}, but {source} is what is shown.")
    else:
        config = of_preset(preset or DEFAULT_PRESET, data=source, **overrides)
    values = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    return show_config()(**{**values, "source": source, "out": out, **own})


def _bench(name, **options):
    if name not in (*BENCHES, ALL):
        plugins.load()
    if name not in (known := (*BENCHES, ALL)):
        raise ConfigError(
            f"There is no benchmark {name!r}{nearest(name, known)} Benchmarks: {', '.join(known)}."
        )
    return bench_config()(name, **options)


def _preset_help():
    defaults = f"the defaults below are those of {DEFAULT_PRESET}"
    return {"--preset": f"one of {', '.join(PRESETS)}; {defaults}"}


def _report(*runs, **options):
    if not runs:
        raise ConfigError(
            "report needs at least one run folder: fastneg report RUN [RUN…] --out report.html."
        )
    return ReportConfig(runs=tuple(map(str, runs)), **options)


def _stencils(out="", **options):
    return configs.StencilsConfig(out=str(out), **options)


COMMANDS = {
    "demo": Command(configs.DemoConfig, "demo:run_demo"),
    "encode": Command(configs.EncodeConfig, "encode:run_encode", ("src", "out")),
    "textures": Command(configs.TexturesConfig, "textures:run_textures", ("src", "out")),
    "stencils": Command(
        configs.StencilsConfig,
        "stencils:run_stencils",
        ("out",),
        builder=_stencils,
    ),
    "verify": Command(configs.VerifyConfig, "verify:run_verify", ("file",)),
    "pretrain": Command(
        PretrainConfig,
        "pretrain:run_pretrain",
        builder=preset_config,
        beside=("preset",),
        required=("--preset NAME", "--data X.beton", "--out RUN"),
        more=_preset_help,
    ),
    "import": Command(configs.ImportConfig, "import_weights:run_import", ("weights", "run")),
    "export": Command(configs.ExportConfig, "export:run_export", ("out",)),
    "embed": Command(configs.EmbedConfig, "embed:run_embed", ("out",)),
    "linear": Command(configs.LinearConfig, "linear:run_linear"),
    "finetune": Command(configs.FinetuneConfig, "finetune:run_finetune"),
    "knn": Command(configs.KnnConfig, "knn:run_knn"),
    "evaluate": Command(configs.EvaluateConfig, "evaluate:run_evaluate"),
    "show": Command(
        show_config,
        "show:run_show",
        ("source", "out"),
        builder=_show,
        beside=("preset",),
        more=_preset_help,
    ),
    "report": Command(ReportConfig, "report:run_report", ("runs",), builder=_report),
    "bench": Command(
        bench_config,
        "bench.run:run_bench",
        ("name",),
        builder=_bench,
        more=bench_help,
        alone="fastneg bench NAME measures one; fastneg bench --help tells the options.",
    ),
    "study": Command(configs.StudyConfig, "study:run_study"),
    "presets": Command(configs.PresetsConfig, "show_presets:run_presets"),
    "completion": Command(configs.CompletionConfig, "completion:run_completion", ("shell",)),
}
