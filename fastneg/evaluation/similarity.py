"""How close a query is to its positive, to the queue and to its non-semantic negatives: distributions over a test set.

Legend: N images, S kinds of similarity, B bins.
"""

from __future__ import annotations

import torch
from tqdm import tqdm

from fastneg.config import ConfigError, PretrainConfig
from fastneg.data.loaders import TrainLoader
from fastneg.evaluation.features import uses_autocast
from fastneg.methods import METHODS
from fastneg.negatives import NEGATIVES
from fastneg.training import checkpoint
from fastneg.training.similarities import edges, histograms

KIND = "patch"
"""The negatives that are compared: any run can be asked about them, one trained without negatives too."""
IMAGES = 2048
BATCH = 128


@torch.no_grad()
def evaluate_similarity(run, name, reader, *, device="cpu", threads=0):
    """The line of evaluation.jsonl of kind similarity for one test set.

    Two views of each image, drawn as in the run's training, and patch negatives of the first, with the run's patch sizes and number, go
    through the whole method of its newest checkpoint in eval mode; the queue is the stored one. At most IMAGES images are taken.

    Args:
        run: the run folder.
        name: of the set.
        reader: its open `BetonReader`; labels are not needed.
    Returns:
        dict: edges (B + 1), positive, queue (None for a method without one), negative {kind}: B counts each, means, images.
    Raises:
        CheckpointError: the run holds no checkpoint. ConfigError: the set is empty.
    """
    found = checkpoint.load_newest(run)
    if found is None:
        raise checkpoint.CheckpointError(f"{run} holds no checkpoint: a folder that fastneg pretrain wrote was expected.")
    if not len(reader):
        raise ConfigError(f"{reader.path} holds no images.")
    path, device = found[0].name, torch.device(device)
    config = PretrainConfig(**found[1]["config"])
    size = config.image_size
    # Its alpha weighs the loss alone, and may name kinds that are not measured here.
    settings = config.replace(negatives=KIND, alpha=1.0, patch_max=min(config.patch_max, size), patch_min=min(config.patch_min, size))
    method = _restored(found[1], settings, device)
    batch_size = min(BATCH, len(reader))
    crops = {"augmentation": config.augmentation, "crop_area": (config.crop_min, config.crop_max)}
    loader = TrainLoader(reader, batch_size, size, **crops, device=device, threads=threads)
    draws, orders = torch.Generator(device).manual_seed(0), torch.Generator().manual_seed(0)
    counts, sums, images = 0, {}, 0
    try:
        for batch in tqdm(loader.epoch(0), desc=f"{name}, similarities", unit="batch", disable=None, leave=False, total=len(loader)):
            if images >= IMAGES:
                break
            negatives = NEGATIVES[KIND](batch, settings, draws)
            views = [view if uses_autocast(config, device) else view.float() for view in (batch.query, batch.key, negatives)]
            with torch.autocast(device.type, torch.bfloat16, enabled=uses_autocast(config, device)):
                similarities = method(*views, orders).similarities
            counts, images = counts + histograms(similarities), images + len(batch.query)
            for kind, values in similarities.items():
                total, seen = sums.get(kind, (0, 0))
                sums[kind] = total + values.double().sum(), seen + values.numel()
    finally:
        loader.close()
    by_kind = dict(zip(sums, counts.long().tolist(), strict=True))
    means = {kind: (total / seen).item() for kind, (total, seen) in sums.items()}
    row = {"kind": "similarity", "set": name, "path": str(reader.path), "checkpoint": path, "edges": edges(), "images": images}
    row |= {"positive": by_kind["positive"], "queue": by_kind.get("queue"), "negative": {KIND: by_kind["negative"]}}
    return {**row, "means": {"positive": means["positive"], "queue": means.get("queue"), "negative": {KIND: means["negative"]}}}


def _restored(state, config, device):
    """The whole method of a checkpoint in eval mode, built by a config that differs from the checkpoint's in its negatives alone."""
    method = METHODS[config.method](config)
    method.load_state_dict(state["method"])
    return method.eval().requires_grad_(False).to(device)
