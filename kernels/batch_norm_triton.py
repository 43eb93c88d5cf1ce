"""Batch normalisation of groups on the GPU: two passes over the images forward, two backward.

The kernels are in batch_norm_triton_kernels.py. Sums go over splits of the rows, as many as fill
the GPU; a small launch joins them in a fixed order, so the same call on the same GPU gives the same
bits. Shapes: N batch, G groups, C channels, A pixels of an image, R = N / G · A rows of a group, S
splits, P processes. `affine` is (weight (C,) or None, bias (C,) or None, mean (G, C), var (G, C),
eps).
"""

from functools import cache
from typing import NamedTuple

import torch

from .batch_norm_checks import is_channels_last
from .batch_norm_triton_kernels import (
    input_kernel,
    merge_statistics_kernel,
    merge_sums_kernel,
    normalise_kernel,
    statistics_kernel,
    sums_kernel,
)
from .launch import Recorder, cdiv, next_power_of_2, processors
from .launch import launch as launch_now
from .registry import Shipped

TILE = 4096
"""Elements of a tile."""
MOST_CHANNELS = {True: 128, False: 8}
"""Channels of a tile, where they lie side by side and where not."""
NUM_WARPS = 8
TILES = 4
"""Tiles in turn of a program that normalises: what it reads of a channel serves all of them."""
PROGRAMS = 4
"""Programs to a processor that take sums."""
MOST_SPLITS = 512
MERGED = 8192
"""Elements that a program joins at once."""


class _Plan(NamedTuple):
    """How the images are divided."""

    rows: int
    """Of a group."""
    channels: int
    area: int
    blocks: int
    """Of channels."""
    constants: dict
    splits: int
    rows_per_split: int
    chunks: int
    """Of TILES tiles, in a group."""


def _plan(images, groups):
    batch, channels = images.shape[:2]
    area = images.numel() // (batch * channels)
    nhwc, held = is_channels_last(images), processors(images.device)
    return _divided(batch // groups * area, channels, area, nhwc, groups, held)


@cache
def _divided(rows, channels, area, nhwc, groups, processors):
    block = min(MOST_CHANNELS[nhwc], next_power_of_2(channels))
    tile_rows = TILE // block
    blocks, tiles = cdiv(channels, block), cdiv(rows, tile_rows)
    wanted = cdiv(processors * PROGRAMS, blocks * groups)
    tiles_per_split = cdiv(tiles, min(wanted, MOST_SPLITS))
    return _Plan(
        rows,
        channels,
        area,
        blocks,
        {"NHWC": nhwc, "ROWS": tile_rows, "BLOCK": block},
        cdiv(tiles, tiles_per_split),
        tiles_per_split * tile_rows,
        cdiv(tiles, TILES),
    )


def statistics(images, running, groups, momentum, launch=launch_now):
    """As batch_norm_torch.statistics."""
    plan = _plan(images, groups)
    parts = _empty(images, 2, groups, plan.splits, plan.channels)
    launch(
        statistics_kernel,
        (plan.blocks, plan.splits, groups),
        (images, *parts, plan.rows, plan.channels, plan.area, plan.rows_per_split),
        plan.constants,
        num_warps=NUM_WARPS,
    )
    steps = plan.splits * plan.channels, plan.channels
    return _merge(parts, running, steps, (plan.rows, plan.rows_per_split), 1.0, momentum, launch)


def merge(statistics, running, rows, momentum, launch=launch_now):
    """As batch_norm_torch.merge."""
    processes, _, _, channels = statistics.shape
    parts = statistics.permute(1, 2, 0, 3)  # (2, 1, P, C)
    steps = 0, 2 * channels
    counts = processes * rows, rows
    return _merge(parts, running, steps, counts, float(rows), momentum, launch)


def _merge(parts, running, steps, counts, deviation_of, momentum, launch):
    """parts (2, G, S, C): means and deviations."""
    _, groups, splits, channels = parts.shape
    mean, var = _empty(parts, 2, groups, channels)
    constants, blocks = _merging(splits, channels)
    launch(
        merge_statistics_kernel,
        (blocks,),
        (
            *(*parts, mean, var, *running, *steps, groups, splits, channels, *counts),
            *(deviation_of, momentum),
        ),
        constants,
        num_warps=NUM_WARPS,
    )
    return mean, var


def _merging(splits, channels):
    """(constants, blocks of channels) of a launch that joins splits."""
    splits = next_power_of_2(splits)
    block = min(next_power_of_2(channels), max(1, MERGED // splits), 32)
    return {"SPLITS": splits, "BLOCK": block}, cdiv(channels, block)


def normalise(images, residual, affine, relu, launch=launch_now):
    """As batch_norm_torch.normalise."""
    weight, bias, mean, var, eps = affine
    plan, out = _plan(images, len(mean)), torch.empty_like(images)
    launch(
        normalise_kernel,
        (plan.blocks * plan.chunks, len(mean)),
        (
            *(images, residual, weight, bias, mean, var, out),
            *(plan.rows, plan.channels, plan.area, plan.blocks, TILES, eps),
        ),
        {"RELU": relu, **plan.constants},
        num_warps=NUM_WARPS,
    )
    return out


def sums(gradient, shown, images, affine, relu, launch=launch_now):
    """As batch_norm_torch.sums."""
    weight, bias, mean, var, eps = affine
    groups = len(mean)
    plan = _plan(images, groups)
    parts = _empty(images, 2, groups, plan.splits, plan.channels)
    total = _empty(images, 2, groups, plan.channels)
    masked = gradient.new_empty(0) if shown is None else torch.empty_like(gradient)
    launch(
        sums_kernel,
        (plan.blocks, plan.splits, groups),
        (
            *(gradient, shown, images, weight, bias, mean, var, masked, parts),
            *(plan.rows, plan.channels, plan.area, plan.rows_per_split, eps),
        ),
        {"RELU": relu, **plan.constants},
        num_warps=NUM_WARPS,
    )
    constants, blocks = _merging(plan.splits, plan.channels)
    launch(
        merge_sums_kernel,
        (blocks, 2 * groups),
        (parts, total, plan.splits, plan.channels),
        constants,
        num_warps=NUM_WARPS,
    )
    return total, masked


def to_images(gradient, images, affine, sums, rows, relu, launch=launch_now):
    """As batch_norm_torch.to_images."""
    weight, bias, mean, var, eps = affine
    plan, out = _plan(images, len(mean)), torch.empty_like(images)
    launch(
        input_kernel,
        (plan.blocks * plan.chunks, len(mean)),
        (
            *(gradient, images, weight, bias, mean, var, sums, out),
            *(plan.rows, plan.channels, plan.area, plan.blocks, TILES, 1.0 / rows, eps),
        ),
        {"RELU": relu, **plan.constants},
        num_warps=NUM_WARPS,
    )
    return out


def _empty(like, *shape):
    return torch.empty(shape, dtype=torch.float32, device=like.device)


# --- what ships -----------------------------------------------------------------------------------


def shipped():
    """ResNet-50's layers in bfloat16, whole and in groups; one of them in other dtypes and formats;
    channels that are no multiple of 16."""
    last, plain = torch.channels_last, torch.contiguous_format
    for channels, side in ((64, 112), (256, 56), (2048, 7)):
        yield from _launches(torch.bfloat16, (256, channels, side, side), last, 4)
    for dtype in (torch.float16, torch.float32):
        yield from _launches(dtype, (256, 256, 56, 56), last, 1)
    yield from _launches(torch.bfloat16, (256, 256, 56, 56), plain, 4)
    yield from _launches(torch.bfloat16, (256, 100, 14, 14), last, 4)


def _launches(dtype, shape, memory_format, groups):
    empty = lambda *shape, dtype=torch.float32: torch.empty(shape, dtype=dtype, device="meta")
    images = empty(*shape, dtype=dtype).contiguous(memory_format=memory_format)
    row = empty(shape[1])
    running = row, row, empty(dtype=torch.int64)
    affine = row, row, *empty(2, groups, shape[1]), 1e-5
    name = f"{dtype} {shape} {memory_format} G={groups}".replace("torch.", "")
    for variant, residual, relu in (("relu", None, True), ("add relu", images, True)):
        recorder = Recorder()
        if residual is None:
            statistics(images, running, groups, 0.1, launch=recorder)
        normalise(images, residual, affine, relu, launch=recorder)
        shown, rows = residual, images.numel() // shape[1] // groups
        total, _ = sums(images, shown, images, affine, relu, launch=recorder)
        # what the gradient has been masked by already is not masked again
        masked = residual is not None
        to_images(images, images, affine, total, rows, relu and not masked, launch=recorder)
        for launch in recorder.launches:
            if residual is None or launch[0] is not merge_sums_kernel:
                yield Shipped(f"{name} {variant}", launch)
