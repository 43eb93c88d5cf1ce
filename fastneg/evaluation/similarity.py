"""Similarities of a query to its positive, to the queue and to its non-semantic negatives.

Distributions over a test set.

Legend: N images, M negatives of each kind, B bins.
"""

from __future__ import annotations

import contextlib

import torch

from fastneg.config import PretrainConfig, UnfitError
from fastneg.data.beton.format import TEXTURE_FIELD
from fastneg.data.load.train_loader import TrainLoader
from fastneg.methods import METHODS
from fastneg.negatives import NEGATIVES
from fastneg.progress import shown
from fastneg.runs import checkpoint
from fastneg.runs.embed import uses_autocast
from fastneg.training.meter import edges, histograms

IMAGES = 2048
BATCH = 128


def evaluate_similarity(run, name, reader, *, kinds=None, device="cpu", threads=0, report=print):
    """The line of evaluation.jsonl of kind similarity for one test set.

    Two views of each image, drawn as in the run's training, and negatives of the first, with the
    run's settings of them, go through the whole method of its newest checkpoint in eval mode. The
    queue is the stored one, of which 256 rows, evenly spaced, stand for all. A method without one
    compares each query with another image of its batch instead. Of a set of more than IMAGES images
    that many are taken.

    Args:
        run: the run folder.
        name: of the set.
        reader: its open `BetonReader`; labels are not needed.
        kinds: of negatives that are images, names of `NEGATIVES`; None: the run's own, and patch
            for a run without.
        report: called with lines for a person.
    Returns:
        dict: edges (B + 1), positive, queue or batch, negative {kind}: B counts each; means,
            images; patch_sizes and texture_source where such negatives were made.
    Raises:
        CheckpointError: the run holds no checkpoint. ConfigError: the set cannot be compared, or
            the run's head was never trained.
    """
    path, state = _newest_with_head(run)
    trained, device = PretrainConfig.read(state["config"]), torch.device(device)
    kinds = kinds or trained.image_kinds() or ("patch",)
    _refuse_too_few(reader, kinds, trained.method)
    paired = TEXTURE_FIELD in reader.image_fields
    config = settings_for(trained, kinds, paired, lambda text: report(f"{name}: {text}"))
    method = METHODS[config.method](config)
    method.load_state_dict(state["method"])
    method.eval().requires_grad_(False).to(device)
    loader, found = _loader(reader, config, device, threads), _Distributions()
    with contextlib.closing(loader):
        batches = shown(loader.epoch(0), f"{name}, similarities", total=len(loader))
        for images, similarities in _similarities(batches, method, config, kinds, device):
            found.add(images, similarities)
            if found.images >= IMAGES:
                break
    row = {
        "kind": "similarity",
        "set": name,
        "path": str(reader.path),
        "checkpoint": path.name,
        "edges": edges(),
        "images": found.images,
    }
    for kind in kinds:
        row |= NEGATIVES[kind].facts(config)
    return {**row, **_nested(found.counts(), kinds), "means": _nested(found.means(), kinds)}


def _newest_with_head(run):
    """(path, content) of a run's newest checkpoint.

    A ConfigError where its head was never trained.
    """
    path, state = checkpoint.newest_with(run, ("config", "method"))
    if "imported" in state and not state.get("head_imported"):
        raise UnfitError(
            f"{state['imported']} was imported without its projector, whose outputs are compared, "
            "so similarities cannot be measured."
        )
    return path, state


def _refuse_too_few(reader, kinds, method):
    if not len(reader):
        raise UnfitError(f"{reader.path} holds no images.")
    alone = METHODS[method].queue and not any(NEGATIVES[kind].needs_another_image for kind in kinds)
    if len(reader) < 2 and not alone:
        needy = ", ".join(name for name, kind in NEGATIVES.items() if kind.needs_another_image)
        raise UnfitError(
            f"{reader.path} holds one image: {needy} negatives, and methods without a queue, "
            "need at least two."
        )


@torch.no_grad()
def _similarities(batches, method, config, kinds, device):
    """Of each batch its images and {"positive", "queue" or "batch", ("negative", kind): cosines}.

    Args:
        batches: `ViewBatch`es.
        method: in eval mode, on `device`.
        kinds: of negatives.
    """
    autocast = uses_autocast(config, device)
    draws, orders = torch.Generator(device).manual_seed(0), torch.Generator().manual_seed(0)
    for batch in batches:
        negatives = [NEGATIVES[kind](batch, config, draws) for kind in kinds]
        views = (batch.query, batch.key, torch.cat(negatives, 1))
        with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            output = method(*(view if autocast else view.float() for view in views), orders)
        found = dict(output.similarities)
        # (N, kinds · M), the kinds in their order
        of_kinds = found.pop("negative").split([each.shape[1] for each in negatives], 1)
        for kind, cosines in zip(kinds, of_kinds, strict=True):
            found["negative", kind] = cosines
        yield len(batch.query), found


class _Distributions:
    """Histograms and means over batches, by what the query is compared with."""

    def __init__(self):
        self.images = 0
        self._counts, self._sums = {}, {}

    def add(self, images, similarities):
        """Add those of a batch of so many images, {kind: cosines}."""
        self.images += images
        new = histograms(similarities)
        for (kind, cosines), counts in zip(similarities.items(), new, strict=True):
            self._counts[kind] = self._counts.get(kind, 0) + counts.double()
            total, seen = self._sums.get(kind, (0, 0))
            self._sums[kind] = total + cosines.double().sum(), seen + cosines.numel()

    def counts(self):
        """{kind: B whole numbers}."""
        return {kind: values.long().tolist() for kind, values in self._counts.items()}

    def means(self):
        """{kind: float}."""
        return {kind: (total / seen).item() for kind, (total, seen) in self._sums.items()}


def settings_for(trained, kinds, paired, report):
    """The config of a run with which these negatives can be made for a test set.

    It also builds the run's method in one process.

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
        rank=0,
        world_size=1,
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
