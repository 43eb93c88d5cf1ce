"""fastneg bench step: samples/s of whole training steps, with each feature off in turn, against a
plain PyTorch step.

A step here is the trainer's own `train_step`: negatives, both encoders, loss, backward, optimizer,
momentum update, enqueue.
Legend: N batch, M negatives per query, K queue.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from fastneg.data import stencils
from fastneg.negatives.batch import make_negatives
from fastneg.recipes.bench.measuring import (
    bench_device,
    figures_of,
    flops_per_ms,
    milliseconds,
    take_turns,
    times_of,
)
from fastneg.recipes.bench.photos import write_photos
from fastneg.recipes.bench.plain_moco import PlainMoCo
from fastneg.recipes.bench.step_contenders import (
    Contender,
    EpochFigures,
    Variant,
    loader_in_a_process,
    variants,
)
from fastneg.recipes.presets import moco_patch_in100, tiny_cpu

LOADER_PROCESS = "with_loader_process"


def _settings(device):
    """The configs that are measured: the demo's on a CPU; ResNet-18 and -50 at 224 px over a sweep
    of batches on a GPU."""
    if device == "cpu":
        yield tiny_cpu().replace(batch_size=128, threads=0)
        yield tiny_cpu().replace(
            backbone="resnet18", image_size=64, eval_resize=64, patch_max=24, batch_size=32
        )
        return
    for backbone, batches in (("resnet18", (256, 512)), ("resnet50", (64, 128, 256, 512))):
        for batch in batches:
            yield moco_patch_in100().replace(
                backbone=backbone, batch_size=batch, queue_size=65536, lr_schedule="cosine_step"
            )


def bench_step(settings=None, rounds=15, images=None, only=None, model=None):
    """Yield a row per config and contender.

    step: ready tensors; epoch: the same step fed by the loader, by one in a process of its own, and
    on ready tensors right after, with the share of time in which the host waited for data and the
    processor time of all processes. flops_utilisation is the share of the rate of one large matrix
    product of this run that the multiplications of the networks' passes reach.

    Args:
        settings: configs to measure; None: those of this device.
        rounds: steps measured of each contender, after one that warms up.
        images: of the data set; None: eight batches.
        only: names of contenders, "fastneg" among them; None: all.
        model: a name in GPUS: model the step there, and measure nothing.
    """
    if model is not None:
        yield from _modelled(settings or [modelled_config()], model)
        return
    device = bench_device()
    for config in settings or _settings(device):
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            data = bench_data(
                Path(folder), images or 8 * config.batch_size, config.image_size, device
            )
            wanted = {
                name: variant
                for name, variant in variants(device).items()
                if only is None or name in only
            }
            contenders = {
                name: Contender(config, variant, Path(folder) / name, data, stack)
                for name, variant in wanted.items()
            }
            feeds = {"fastneg": contenders["fastneg"]}
            if only is None or LOADER_PROCESS in only:
                apart = Variant(prepare=loader_in_a_process)
                folder = Path(folder) / LOADER_PROCESS
                feeds[LOADER_PROCESS] = Contender(config, apart, folder, data, stack)
            yield from _rows(device, config, contenders, feeds, rounds, only)


def modelled_config():
    """What is modelled: ResNet-50 at 224 px, batch 256, queue 65,536, one patch negative."""
    return moco_patch_in100().replace(batch_size=256, queue_size=65536, lr_schedule="cosine_step")


def _modelled(settings, model):
    from fastneg.recipes.bench.step_model import step_model  # which takes torch's private parts

    for config in settings:
        yield from step_model(config, model)


def _rows(device, config, contenders, feeds, rounds, only):
    runners, ours = dict(contenders), contenders["fastneg"]
    if only is None or "plain" in only:
        runners["plain"] = plain_step(ours)
    times = take_turns(runners, rounds, device)
    peaks = {name: peak_mib(runner, device) for name, runner in runners.items()}
    flops, rate = flops_of(ours), flops_per_ms(device)
    common = {
        "bench": "step",
        "device": device,
        "backbone": config.backbone,
        "image_size": config.image_size,
        "N": config.batch_size,
    }
    common |= {"M": config.negatives_per_query, "K": config.queue_size}
    for name in runners:
        found = figures_of(times[name])
        row = {
            **common,
            "measured": "step",
            "contender": name,
            **found,
            "samples_per_s": 1000 * config.batch_size / found["ms_median"],
        }
        row |= {
            "times_of_fastneg": times_of(times[name], times["fastneg"]),
            "peak_mib": peaks[name],
        }
        if name == "fastneg":
            row["flops_utilisation"] = flops / found["ms_median"] / rate
        yield row
    for name, found in _epochs(feeds, min(rounds, 7)):
        yield {**common, "measured": "epoch", "contender": name, **found}


def _epochs(feeds, rounds):
    """(name, figures) of epochs through each loader in turn, and of as many steps on a ready batch
    right after."""
    ours, found = feeds["fastneg"], {name: [] for name in (*feeds, "ready_batches")}
    steps = len(ours.trainer.loader) - 2
    for number in range(1, 1 + rounds):
        for name, contender in feeds.items():
            found[name].append(contender.epoch(number))
        cpu = time.process_time()
        alone = milliseconds(lambda: [ours() for _ in range(steps)], ours.trainer.device.type)
        samples = steps * ours.config.batch_size
        spent = 1000 * (time.process_time() - cpu) / samples
        found["ready_batches"].append(EpochFigures(1000 * samples / alone, 0.0, spent))
    ready = found["ready_batches"]
    for name, figures in found.items():
        shares = [
            each.samples_per_s / alone.samples_per_s
            for each, alone in zip(figures, ready, strict=True)
        ]
        medians = map(statistics.median, zip(*figures, strict=True))
        yield (
            name,
            EpochFigures(*medians)._asdict() | {"share_of_step_alone": statistics.median(shares)},
        )


def plain_step(ours):
    """The published way on the same batch: float32, NCHW, its own negatives made before."""
    trainer, batch = ours.trainer, ours.batch
    negatives = make_negatives(batch, trainer.config, trainer.draws)
    negatives = None if negatives is None else negatives.float()
    query, key = batch.query.float().contiguous(), batch.key.float().contiguous()
    plain = PlainMoCo(trainer.config, trainer.device).train()
    return lambda: plain.step(query, key, negatives)


def flops_of(contender):
    """Floating-point operations of one step: those that PyTorch counts (convolutions and products),
    and the loss's 4 N (K + M) D."""
    config = contender.config
    with FlopCounterMode(display=False) as counter:
        contender()
    return (
        counter.get_total_flops()
        + 4
        * config.batch_size
        * (config.queue_size + config.negatives_per_query)
        * config.feature_dim
    )


def peak_mib(runner, device):
    if device == "cpu":
        return None
    torch.cuda.reset_peak_memory_stats()
    runner()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() / 2**20


def bench_data(folder, count, size, device):
    """A .beton file of JPEGs: photographs' weight for a GPU, small stencils for a CPU."""
    path = folder / "bench.beton"
    if device == "cuda":
        write_photos(path, count)
    else:
        stencils.write_beton(stencils.StencilsSpec(size=max(64, size)), "train", count, path)
    return path


def backward_ms(contender, rounds=5):
    """Milliseconds of a step's backward pass alone, the median of some rounds."""
    trainer, batch, times = contender.trainer, contender.batch, []
    for _ in range(rounds + 1):
        negatives = make_negatives(batch, trainer.config, trainer.draws)
        with torch.autocast(trainer.device.type, torch.bfloat16, enabled=trainer.autocast):
            loss = trainer.model(batch.query, batch.key, negatives, trainer.orders).loss
        times.append(milliseconds(loss.backward, bench_device()))
        trainer.optimizer.sgd.zero_grad(set_to_none=True)
    return statistics.median(times[1:])
