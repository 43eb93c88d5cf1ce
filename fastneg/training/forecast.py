"""--dry_run of a training: its steps, its memory, what it would read and write."""

from __future__ import annotations

from pathlib import Path

import torch

from fastneg.config import UnfitError
from fastneg.counts import counted
from fastneg.data.beton.local_copy import cache_folder, not_copied
from fastneg.data.beton.shards import named_files, open_data
from fastneg.data.remote import is_remote
from fastneg.methods import METHODS
from fastneg.models.batch_norm import check_batch_norm
from fastneg.runs import checkpoint, paths
from fastneg.runs.embed import uses_autocast
from fastneg.runs.outputs import pretrain_output
from fastneg.training.build import begin_with, new_method
from fastneg.training.checks import check_data, check_length
from fastneg.training.optim import OPTIMIZERS


def forecast(config, world):
    """Lines that say what `fastneg pretrain` would do; nothing is trained or written.

    The network is made and sees a few images on the CPU; `--init` is read.

    Args:
        config: `PretrainConfig`.
        world: `World`; no process group is needed.
    Raises:
        As `fastneg.training.build.build` and `pretrain_output`, for what can be told beforehand.
    """
    folder = pretrain_output(config)
    method, told = new_method(config, world)
    data, said_of_data = held_data(config.data, config.cache_dir)
    check_data(data, config)
    iterations = len(data) // config.batch_size
    check_length(config, iterations)
    read = [f"  {config.data}: {said_of_data}"]
    told += check_batch_norm(method, config)
    said = [f"  {line}" for line in told]
    found = checkpoint.paths(folder)
    if config.init and not found:
        said += [f"  {line}" for line in begin_with(method, config)]
        read.append(f"  {config.init}: the weights to start from")
    for name in ("knn_train", "knn_val"):
        if getattr(config, name):
            _, words = held_data(getattr(config, name), config.cache_dir)
            read.append(f"  {getattr(config, name)}: {words}, for the kNN")
    return [
        "Dry run: nothing is trained or written.",
        *_steps(config, world, iterations),
        *_start(config, folder, found),
        *said,
        "Reads:",
        *read,
        *_memory(config, world, method),
        *_written(config, folder, method, iterations),
    ]


class _Data:
    """How many images a data set holds, and whether with labels, as `check_data` asks for it."""

    def __init__(self, images, labelled):
        self._images, self.labels = images, () if labelled else None

    def __len__(self):
        return self._images


def held_data(spec, cache_dir=""):
    """(`_Data`, what a data set holds in words); of URLs that were not copied yet, which stay where
    they are, by the .json beside them."""
    files = named_files(spec)
    waiting = [not_copied(file, cache_dir) for file in files if is_remote(file)]
    if not any(waiting):
        with open_data(spec, cache_dir=cache_dir) as reader:
            size = int(reader.stored_bytes.sum())
            classes = None if reader.classes is None else len(reader.classes)
            known = _Data(len(reader), reader.labels is not None)
            return known, _told_data(len(reader), size, classes)
    if None in waiting or len(waiting) < len(files):
        raise UnfitError(f"{spec}: some of its files were copied and others not: copy them all.")
    images = sum(facts["samples"] for facts in waiting)
    sizes, classes = [facts["bytes"] for facts in waiting], waiting[0]["classes"]
    words = _told_data(images, None if None in sizes else sum(sizes), classes)
    return _Data(
        images, classes is not None
    ), f"{words}, would be copied to {cache_folder(cache_dir)}"


def _told_data(images, size, classes):
    words = [counted(images, "image")]
    words += [] if size is None else [_size(size)]
    words += [] if classes is None else [counted(classes, "class")]
    return ", ".join(words)


def _steps(config, world, iterations):
    total, epochs = config.total_steps(iterations), config.total_epochs(iterations)
    whose = "" if world.size == 1 else f" over {counted(world.size, 'process')}"
    return [
        f"Steps: {iterations} an epoch of {counted(config.batch_size, 'image')}{whose}, "
        f"{total} in all ({counted(epochs, 'epoch')}), on "
        f"{world.device.type}."
    ]


def _start(config, folder, found):
    """Whether the run would begin or go on."""
    if not found:
        return [f"Start: from the beginning, {folder} holds no checkpoint."]
    if config.resume == "never":
        return [f"Start: REFUSED, {folder} holds checkpoints and --resume is never."]
    return [f"Start: resumes from {found[-1]}, if its settings and data are the same."]


def _memory(config, world, method):
    """What a process holds on its device, by part."""
    trained = [each for each in method.parameters() if each.requires_grad]
    parts = _parts(config, method, trained)
    local = config.batch_size // world.size // (config.accumulate or 1)
    kept = kept_activations(config, uses_autocast(config, world.device))
    lines = [f"  {name}: {_size(size)}" for name, size in parts.items()]
    return [
        f"Memory of a process, {counted(sum(each.numel() for each in trained), 'parameter')}:",
        *lines,
        f"  activations kept for backward: {_size(local * kept)} ({counted(local, 'image')} at a "
        f"time, {_size(kept)} each, measured in forward passes of few images)",
        f"  together: {_size(sum(parts.values()) + local * kept)}; not counted: the images, passes "
        "without gradient, and buffers of libraries",
    ]


def _parts(config, method, trained):
    """{part: bytes}"""
    own, moments = sum(map(_bytes, trained)), OPTIMIZERS[config.optimizer].moments
    kept = "a momentum" if moments == 1 else f"{moments} moments"
    others = [each for each in method.parameters() if not each.requires_grad]
    queue = sum(_bytes(each) for name, each in method.named_buffers() if name.endswith("queue"))
    buffers = sum(map(_bytes, method.buffers())) - queue
    parts = {
        "parameters": own,
        "gradients": own,
        f"optimizer ({kept} of each parameter)": moments * own,
        "parameters without gradient (key encoder)": sum(map(_bytes, others)),
        "queue": queue,
        "other buffers": buffers,
    }
    return {name: size for name, size in parts.items() if size}


def kept_activations(config, half=False):
    """Bytes that the forward pass of a method's step keeps for its backward, for each image of the
    batch: how much more twice as many images keep. The passes are made on the CPU, by torch's own
    layers: fused ones (--fused_bn) keep less.

    Args:
        config: `PretrainConfig`.
        half: under bfloat16 autocast.
    """
    config = config.replace(cuda_graphs=False)
    if config.bn in ("shuffle", "sync"):  # these need other processes, and keep as much
        config = config.replace(bn="none")
    method = METHODS[config.method](config).train()
    few = 2 * (config.bn_splits or 1)
    once, twice = (_kept(method, config, images, half) for images in (few, 2 * few))
    return (twice - once) // few


def _kept(method, config, images, half):
    """Bytes that are kept after a forward pass of so many images."""
    weights = {each.untyped_storage().data_ptr() for each in method.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    side = max(size for _, size in config.view_sizes())
    query, key = torch.rand(2, images, 3, side, side)
    several = len(config.image_kinds()) * config.negatives_per_query
    negatives = torch.rand(images, several, 3, side, side) if several else None
    labels = [torch.arange(images) // 2] if METHODS[config.method].labels else []
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=half),
    ):
        output = method(query, key, negatives, torch.Generator(), *labels)
    total = sum(kept.values())
    del output  # until here nothing that was kept is freed, so no address comes twice
    return total


def _written(config, folder, method, iterations):
    trained = sum(_bytes(each) for each in method.parameters() if each.requires_grad)
    moments = OPTIMIZERS[config.optimizer].moments * trained
    size = sum(map(_bytes, [*method.parameters(), *method.buffers()])) + moments
    epochs = config.total_epochs(iterations)
    kept = min(config.keep_checkpoints, -(-epochs // config.checkpoint_every))
    more = f", and that of every {config.keep_every}. epoch" if config.keep_every else ""
    rows = -(-config.total_steps(iterations) // config.log_every)
    lines = [
        f"  {paths.CHECKPOINTS}/: every {counted(config.checkpoint_every, 'epoch')}, the newest "
        f"{kept}{more}, {_size(size)} each",
        f"  {paths.METRICS}: {counted(rows, 'line')} of training; the same in {paths.TENSORBOARD}/",
        f"  {paths.CONFIG}, {paths.ENVIRONMENT}, {paths.GALLERY}/ of the first batch",
    ]
    if config.wandb:
        lines.append(f"  Weights & Biases: the project {config.wandb}")
    there = " (is there)" if Path(folder).exists() else ""
    return [f"Would write into {folder}{there}:", *lines]


def _bytes(tensor):
    return tensor.numel() * tensor.element_size()


def _size(count):
    """A number of bytes in words."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return ""
