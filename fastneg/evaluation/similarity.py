"""How close a query is to its positive, to the queue and to its non-semantic negatives:
distributions over a test set.

Legend: N images, M negatives of each kind, B bins.
"""

from __future__ import annotations

import torch
from tqdm import tqdm

from fastneg.config import ConfigError, PretrainConfig
from fastneg.data.beton.format import TEXTURE_FIELD
from fastneg.data.load.loaders import TrainLoader
from fastneg.errors import CheckpointError
from fastneg.evaluation.features import uses_autocast
from fastneg.methods import METHODS
from fastneg.negatives import NEGATIVES
from fastneg.runs import checkpoint
from fastneg.training.similarities import edges, histograms

IMAGES = 2048
BATCH = 128


@torch.no_grad()
def evaluate_similarity(run, name, reader, *, kinds=None, device="cpu", threads=0, report=print):
    """The line of evaluation.jsonl of kind similarity for one test set.

    Two views of each image, drawn as in the run's training, and negatives of the first, with the
    run's settings of them, go through the whole method of its newest checkpoint in eval mode. The
    queue is the stored one, of which 256 rows, evenly spaced, stand for all; a method without one
    compares each query with another image of its batch instead. Of a set of more than IMAGES images
    that many are taken.

    Args:
        run: the run folder.
        name: of the set.
        reader: its open `BetonReader`; labels are not needed.
        kinds: of negatives, names of `NEGATIVES`; None: the run's own, and patch for a run without.
        report: called with lines for a person.
    Returns:
        dict: edges (B + 1), positive, queue or batch, negative {kind}: B counts each, means,
            images; patch_sizes and texture_source where
        such negatives were made.
    Raises:
        CheckpointError: the run holds no checkpoint. ConfigError: the set cannot be compared, or
            the run's head was never trained.
    """
    found = checkpoint.load_newest(run)
    if found is None:
        raise CheckpointError(
            f"{run} holds no checkpoint: a folder that fastneg pretrain wrote was expected."
        )
    (path, state), device = found, torch.device(device)
    checkpoint.require(path, state, ("config", "method"))
    if "imported" in state and not state.get("head_imported"):
        raise ConfigError(
            f"{state['imported']} came without the head whose outputs are compared: there are no "
            "similarities to be had."
        )
    if not len(reader):
        raise ConfigError(f"{reader.path} holds no images.")
    trained = PretrainConfig.read(state["config"])
    kinds = kinds or trained.negative_kinds() or ("patch",)
    alone = METHODS[trained.method].queue and not any(
        NEGATIVES[kind].needs_another_image for kind in kinds
    )
    if len(reader) < 2 and not alone:
        needy = ", ".join(name for name, kind in NEGATIVES.items() if kind.needs_another_image)
        raise ConfigError(
            f"{reader.path} holds one image: {needy} negatives, and methods without a queue, "
            "need another one."
        )
    config = settings_for(
        trained, kinds, TEXTURE_FIELD in reader.image_fields, lambda text: report(f"{name}: {text}")
    )
    autocast = uses_autocast(config, device)
    method = METHODS[config.method](config)
    method.load_state_dict(state["method"])
    method.eval().requires_grad_(False).to(device)
    draws, orders = torch.Generator(device).manual_seed(0), torch.Generator().manual_seed(0)
    counts, sums, images = {}, {}, 0
    loader = _loader(reader, config, device, threads)
    try:
        for batch in tqdm(
            loader.epoch(0),
            desc=f"{name}, similarities",
            unit="batch",
            disable=None,
            leave=False,
            total=len(loader),
        ):
            if images >= IMAGES:
                break
            negatives = [NEGATIVES[kind](batch, config, draws) for kind in kinds]
            views = (batch.query, batch.key, torch.cat(negatives, 1))
            with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
                similarities = dict(
                    method(
                        *(view if autocast else view.float() for view in views), orders
                    ).similarities
                )
            # (N, kinds · M), the kinds in their order
            of_kinds = similarities.pop("negative").split([each.shape[1] for each in negatives], 1)
            similarities |= {
                ("negative", kind): values for kind, values in zip(kinds, of_kinds, strict=True)
            }
            images += len(batch.query)
            for (kind, values), new in zip(
                similarities.items(), histograms(similarities), strict=True
            ):
                counts[kind] = counts.get(kind, 0) + new.double()
                total, seen = sums.get(kind, (0, 0))
                sums[kind] = total + values.double().sum(), seen + values.numel()
    finally:
        loader.close()
    counts = {kind: values.long().tolist() for kind, values in counts.items()}
    means = {kind: (total / seen).item() for kind, (total, seen) in sums.items()}
    row = {
        "kind": "similarity",
        "set": name,
        "path": str(reader.path),
        "checkpoint": path.name,
        "edges": edges(),
        "images": images,
    }
    for kind in kinds:
        row |= NEGATIVES[kind].facts(config)
    return {**row, **_nested(counts, kinds), "means": _nested(means, kinds)}


def settings_for(trained, kinds, paired, report):
    """The config of a run as it must be to make these negatives for a test set, and to build its
    method in one process.

    What the method holds stays as trained; eval mode knows no statistics of batches, so their
    settings do not matter. Patch sizes that do not fit, of a run that made no patches, give way to
    the published ones, scaled to the views.

    Args:
        trained: the run's config.
        paired: whether the test set pairs its images with textures.
        report: called with lines for a person.
    Returns:
        PretrainConfig.
    """
    changes = {"negatives": ",".join(kinds), "alpha": 1.0, "image_size_schedule": None}
    if METHODS[trained.method].shuffles_keys:
        changes |= {"bn": "none"}
    if trained.key_pass is not None:
        changes |= {"key_pass": "separate"}
    for kind in kinds:
        changes |= NEGATIVES[kind].evaluation_changes(trained, paired, report)
    return trained.replace(**changes)


def _loader(reader, config, device, threads):
    count = len(reader)
    # Batches of nearly equal size: a last one of a single image would have no other image beside
    # it.
    batch = BATCH if count > IMAGES else -(-count // -(-count // BATCH))
    return TrainLoader(
        reader,
        batch,
        config.image_size,
        **config.view_options(),
        last="short",
        device=device,
        threads=threads,
    )


def _nested(by_kind, kinds):
    """The fields of a row: positive, queue (None without one) or batch, negative {kind}."""
    others = {kind: values for kind, values in by_kind.items() if not isinstance(kind, tuple)}
    return {
        **others,
        "queue": others.get("queue"),
        "negative": {kind: by_kind["negative", kind] for kind in kinds},
    }
