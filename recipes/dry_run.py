"""--dry_run: prints what a command would do, and does nothing.

Outputs are checked as by the command itself, inputs are opened where that is quick. Nothing is
written.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from fastneg.config import ConfigError, UnfitError, field_docs, flag_text
from fastneg.recipes.commands import COMMANDS
from fastneg.runs import paths

FLAGS = ("--dry_run", "--dry-run")


def take_dry_run(arguments):
    """(whether they ask for a dry run, the other arguments) of a command line.

    Raises:
        ConfigError: a value that is neither True nor False, or the flag twice.
    """
    asked, others, words = None, [], list(arguments)
    while words:
        flag, equals, value = words.pop(0).partition("=")
        if flag not in FLAGS:
            others.append(flag + equals + value)
            continue
        if not equals and words and words[0] in ("True", "False"):
            equals, value = "=", words.pop(0)
        if equals and value not in ("True", "False"):
            raise ConfigError(f"{flag} is {value!r}: write {flag}, or {flag} False.")
        if asked is not None:
            raise ConfigError(f"{flag} is given twice: one of them was expected.")
        asked = value != "False"
    return bool(asked), others


def tell(name, config):
    """Print what a command of this config would do; returns the exit code, 0.

    Raises:
        As the command, for what can be told beforehand.
    """
    for line in plan(name, config):
        print(line)
    return 0


def plan(name, config):
    """Lines that say what a command would do."""
    if name == "pretrain":
        return _pretrain(config)
    reads, writes = PLANS.get(name, _unknown)(config)
    lines = [f"Dry run: fastneg {name} is not run, nothing is written.", "Settings:"]
    lines += [f"  {field}: {value}" for field, value in _settings(name, config).items()]
    for title, entries in (("Reads:", reads), ("Would write:", writes)):
        lines += [title, *(f"  {entry}" for entry in entries or ["nothing"])]
    return lines


def _settings(name, config):
    """{field: value} of what is not as by default."""
    documented = field_docs(COMMANDS[name].config)
    return {
        field.name: flag_text(value)
        for field in dataclasses.fields(config)
        if field.name in documented and (value := getattr(config, field.name)) != field.default
    }


def _pretrain(config):
    import os

    from fastneg.distributed import World, choose_device, place_in
    from fastneg.training.forecast import forecast

    rank, size, local = place_in(os.environ)
    lines = forecast(config, World(rank, size, choose_device(config.device, local)))
    return lines if rank == 0 else []


def _data(spec, config):
    """What a .beton file holds, in words; BetonError where it cannot be read.

    Args:
        config: of the command: where copies of files by URL lie.
    """
    from fastneg.data.remote import is_remote
    from fastneg.recipes.settings_files import read_settings
    from fastneg.training.forecast import held_data

    folder, run = config.cache_dir, Path(getattr(config, "run", "")) / paths.CONFIG
    if is_remote(spec) and not folder and run.is_file():
        folder = read_settings(str(run)).get("cache_dir", "")
    return f"{spec}: {held_data(spec, folder)[1]}"


def _there(path):
    """A path that must be there; ConfigError where it is not."""
    from fastneg.options import refuse_url

    if not Path(path).exists():
        refuse_url(path, "An input")
        raise UnfitError(f"{path} is missing.")
    return str(path)


def _run(folder):
    """The newest checkpoint of a run; CheckpointError or ConfigError where there is none."""
    from fastneg.runs import checkpoint

    found = checkpoint.paths(_there(folder))
    if not found:
        raise UnfitError(f"{folder} holds no checkpoint.")
    return f"{found[-1]}: the encoder"


def _demo(config):
    from fastneg.files import output_folder

    out = output_folder(config.out, "--out")
    return ["the built-in set, which is drawn"], [f"{out}/: images, .beton files, runs, a report"]


def _encode(config):
    from fastneg.data.encode.outputs import encode_outputs, named
    from fastneg.data.remote import is_remote

    sources = [path if is_remote(path) else _there(path) for path in named(config.src)]
    outs = [config.out] if is_remote(config.out) else encode_outputs(config)
    more = [path for path in (config.subset, config.class_names) if path and Path(path).exists()]
    return [*sources, *more], [each for out in outs for each in (f"{out}", f"{out}.json")]


def _textures(config):
    from fastneg.data.encode.outputs import textures_output

    return [_there(config.src)], [f"{textures_output(config)}/: a tree of textures"]


def _verify(config):
    return [_data(config.file, config)], []


def _import(config):
    from fastneg.runs.outputs import run_output

    run = run_output(config.run, [config.weights], "RUN")
    files = (paths.CHECKPOINTS + "/", paths.CONFIG, paths.ENVIRONMENT)
    return [_there(config.weights)], [f"{run}/{name}" for name in files]


def _export(config):
    from fastneg.runs.outputs import export_output

    return [_run(config.run)], [str(export_output(config))]


def _labelled(*more):
    def told(config):
        from fastneg.data.encode.outputs import named_data
        from fastneg.runs.outputs import evaluation_output

        evaluation_output(config.run, named_data(config.train, config.val))
        files = [f"{paths.RESULTS} (a line is added)", *more]
        reads = [_run(config.run), _data(config.train, config), _data(config.val, config)]
        return reads, [f"{config.run}/{file}" for file in files]

    return told


def _evaluate(config):
    from fastneg.config import PretrainConfig
    from fastneg.evaluation.evaluate import check_sets
    from fastneg.evaluation.sets.named import parse_sets
    from fastneg.recipes.settings_files import read_settings
    from fastneg.runs.outputs import evaluation_output

    sets = parse_sets(config.sets)
    evaluation_output(config.run, predictions=sets)
    if (settings := Path(config.run) / paths.CONFIG).is_file():
        check_sets(sets, config, PretrainConfig.read(read_settings(str(settings))))
    files = (f"{paths.RESULTS} (lines are added)", paths.PREDICTIONS, paths.FEATURES, paths.SETS)
    classifier = Path(config.run) / paths.CLASSIFIER
    reads = [_run(config.run), f"{_there(classifier)}: the classifier", f"the sets {config.sets}"]
    return reads, [f"{config.run}/{file}" for file in files]


def _embed(config):
    from fastneg.recipes.embed import embed_output

    out = [str(embed_output(config))]
    if config.picture != "off":
        out.append(f"{config.run}/{paths.RESULTS} (a line is added)")
    return [_run(config.run), _data(config.data, config)], out


def _show(config):
    from fastneg.recipes.show import show_output

    return [_data(config.data, config)], [str(show_output(config))]


def _report(config):
    from fastneg.recipes.report import output, with_files

    out = output(config)
    files = " and a folder of figures and tables beside it" if with_files(config) else ""
    return [_there(run) for run in config.runs], [f"{out}{files}"]


def _bench(config):
    from fastneg.files import output_file, output_folder

    files = [
        str(output_file(path, flag))
        for flag, path in (("--json", config.json), ("--csv", config.csv))
        if path
    ]
    return [], files + ([f"{output_folder(config.out, '--out')}/"] if config.out else [])


def _study(config):
    from fastneg.files import output_folder
    from fastneg.recipes.study import named_arms

    out = output_folder(config.out, "--out")
    named_arms(config)
    reads = [_there(config.data)] if config.data else []
    return reads, [f"{out}/: data, runs, figures and the verdict"]


def _stencils(config):
    from fastneg.recipes.stencils import FACTS, places

    out, found = places(config)
    return [], [f"{out}/{FACTS}", *map(str, found.values())]


def _presets(config):
    return [], []


def _unknown(config):
    return ["what its settings name"], ["what its help says"]


PLANS = {
    "demo": _demo,
    "encode": _encode,
    "textures": _textures,
    "verify": _verify,
    "import": _import,
    "export": _export,
    "linear": _labelled(paths.CLASSIFIER, f"{paths.FEATURES}/ (where features are kept)"),
    "finetune": _labelled(),
    "knn": _labelled(f"{paths.FEATURES}/"),
    "evaluate": _evaluate,
    "embed": _embed,
    "show": _show,
    "report": _report,
    "bench": _bench,
    "stencils": _stencils,
    "study": _study,
    "presets": _presets,
    "completion": _presets,
}
"""{command: config → (what it reads, what it would write), in words}; pretrain has more to say."""
