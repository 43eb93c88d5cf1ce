"""fastneg embed."""

from __future__ import annotations

import contextlib
from pathlib import Path

from fastneg.config import ConfigError
from fastneg.data.beton.shards import open_data
from fastneg.data.encode.outputs import named_data
from fastneg.distributed import choose_device
from fastneg.evaluation.embedding import Picture
from fastneg.evaluation.features import told_of
from fastneg.files import output_file
from fastneg.runs.embed import central_crops, feature_parts, refuse_not_finite, uses_autocast
from fastneg.runs.feature_files import write_features, writer_of
from fastneg.runs.load import load_run
from fastneg.runs.outputs import evaluation_output, refuse_among, run_inputs
from fastneg.runs.results import append_result


def embed_output(config):
    """Where `fastneg embed` writes, as a Path; OutputError if that is an input or of the run."""
    data = named_data(config.data)
    out = output_file(config.out, "OUT", [*run_inputs(config.run), *data])
    refuse_among(config.out, config.run)
    if config.picture != "off":
        evaluation_output(config.run, data)
    writer_of(config.out)
    return out


def run_embed(config):
    """Write the features of a file's images, and a picture of them into the run where asked."""
    out = embed_output(config)
    device = choose_device(config.device)
    loaded = load_run(config.run, device)
    autocast = uses_autocast(loaded.config, device)
    options = {"device": device, "threads": config.threads, "batch_size": config.batch_size}
    with contextlib.ExitStack() as stack:
        cache_dir = config.cache_dir or loaded.config.cache_dir
        reader = stack.enter_context(open_data(config.data, cache_dir=cache_dir))
        _check_resize(config, loaded)
        picture = None
        if config.picture != "off":
            picture = Picture(config.picture, len(reader), reader.classes)
        crops = central_crops(reader, loaded.config, resize=config.resize, **options)
        loader = stack.enter_context(crops)
        parts = feature_parts(loaded.backbone, loader, device, autocast, Path(reader.path).name)
        about = _about(config, loaded, reader)
        facts = {"names": reader.names, "classes": reader.classes, "about": about}
        images, width = write_features(out, _seen(parts, picture), **facts)
        print(
            f"{config.out}: {images} × {width} features of {reader.path}, by {loaded.checkpoint}."
            f"{told_of(loader.quarantine, reader)}"
        )
        if picture is not None:
            name = config.set or Path(config.data).stem
            common = {"set": name, "path": str(config.data), "checkpoint": loaded.checkpoint}
            append_result(config.run, {"kind": "embedding", **common, **picture.figures()})
            print(f"{config.run}: {config.picture} of {name}, drawn by fastneg report.")
    return 0


def _check_resize(config, loaded):
    if config.resize is not None and config.resize < loaded.config.image_size:
        raise ConfigError(
            f"--resize is {config.resize}, below the {loaded.config.image_size} px of the network: "
            "the central crop would not fit."
        )


def _seen(parts, picture):
    for part in parts:
        refuse_not_finite(part.features)
        if picture is not None:
            picture.add(part)
        yield part


def _about(config, loaded, reader):
    """Where the features come from."""
    return {
        "run": str(config.run),
        "checkpoint": loaded.checkpoint,
        "weights_sha256": loaded.digest,
        "backbone": str(loaded.config.backbone),
        "data": list(map(str, reader.files)),
        "image_size": loaded.config.image_size,
        "resize": config.resize or loaded.config.eval_resize,
    }
