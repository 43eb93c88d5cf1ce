"""fastneg bench compile: what the assembler says about each kernel and shipped configuration, on
any machine.

Legend: N batch, K shared negatives, D feature dimension, M private negatives.
"""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import torch

TEMPERATURE = 0.2
TARGETS = {"sm_80": 80, "sm_90": 90, "sm_100": 100}


def bench_compile(targets=("sm_80", "sm_90", "sm_100"), contains=""):
    """Yield what the assembler says about each kernel and shipped configuration, for GPUs that need
    not be there.

    Args:
        targets: among "sm_80", "sm_90", "sm_100".
        contains: only configurations whose name holds this text.
    Raises:
        RuntimeError: TRITON_INTERPRET is set.
    """
    from fastneg.kernels.backend import interpreting

    if interpreting():
        raise RuntimeError(
            "TRITON_INTERPRET is set: Triton would interpret the kernels; unset it to compile them."
        )
    jobs = [
        (index, target)
        for target in targets
        for index, (config, _) in enumerate(_launches())
        if contains in config
    ]
    with ProcessPoolExecutor(
        len(os.sched_getaffinity(0)), mp_context=multiprocessing.get_context("spawn")
    ) as pool:
        yield from pool.map(_compile, jobs)


def _compile(job):
    from fastneg.kernels.launch import compile_launch

    index, target = job
    config, (kernel, args, constants, options) = list(_launches())[index]
    row = {
        "bench": "compile",
        "contender": "fastneg",
        "kernel": kernel.__name__,
        "config": config,
        "target": target,
    }
    compiled = compile_launch(kernel, args, constants, options, TARGETS[target])
    return {**row, **compiled.__dict__}


def _launches():
    """(name of the configuration, recorded launch) of every tile size that the kernels choose, and
    of their variants at D 128."""
    from fastneg.kernels import info_nce_triton

    for operand in ("bfloat16", "tf32", "float32"):
        for dim in info_nce_triton.HALF_TILES:
            few, many = (info_nce_triton.tiles_for(rows, dim, operand) for rows in (1, 4096))
            for rows, tiles in [(4096, many)] + ([(few.rows, few)] if few != many else []):
                name = (
                    f"{operand} D={dim} {tiles.rows}x{tiles.keys} warps={tiles.warps} "
                    f"stages={tiles.stages}"
                )
                yield from _info_nce_launches(name, operand, rows, 65536, dim)
    unaligned = (("unaligned", 65000, 125), ("unaligned", 65000, 1023))
    for name, count, dim in (
        ("ragged", 65000, 128),
        ("in-batch", None, 128),
        ("forward", 65536, 128),
        *unaligned,
    ):
        yield from _info_nce_launches(
            f"bfloat16 D={dim} {name}", "bfloat16", 4096, count, dim, with_grad=name != "forward"
        )
    yield from _info_nce_launches("float16 D=128", "float16", 4096, 65536, 128)
    for dim in (128, 256, 512, 1024):
        yield from _info_nce_launches(
            f"bfloat16 D={dim} dk", "bfloat16", 4096, 65536, dim, layout="dk"
        )
    yield from _info_nce_launches("bfloat16 D=128 M=64", "bfloat16", 4096, 65536, 128, private=64)
    yield from _patch_shuffle_launches()
    yield from _augment_launches()
    yield from _quilt_launches()


def _info_nce_launches(name, operand, rows, count, dim, with_grad=True, layout="kd", private=1):
    from fastneg.kernels import info_nce_triton
    from fastneg.kernels.launch import Recorder

    dtype = getattr(torch, operand.replace("tf32", "float32"))
    empty = lambda *shape, dtype=dtype: torch.empty(shape, dtype=dtype, device="meta")
    query, extras = empty(rows, dim), empty(rows, private, dim)
    keys, alone = (
        (query, True)
        if count is None
        else (empty(count, dim) if layout == "kd" else empty(dim, count).t(), False)
    )
    recorder = Recorder()
    info_nce_triton.forward(
        query, query, keys, extras, TEMPERATURE, 2.0, alone, operand, with_grad, launch=recorder
    )
    if with_grad:
        row = empty(rows, dtype=torch.float32)
        info_nce_triton.negatives_grad(
            query,
            query if alone else keys[:rows],
            row,
            row,
            TEMPERATURE,
            alone,
            operand,
            launch=recorder,
        )
    return ((name, launch) for launch in recorder.launches)


def _patch_shuffle_launches():
    from fastneg.kernels import patch_shuffle_triton
    from fastneg.kernels.launch import Recorder

    for dtype in (torch.uint8, torch.bfloat16, torch.float32):
        for memory_format in (torch.contiguous_format, torch.channels_last):
            images = torch.empty(
                (8, 3, 224, 224), dtype=dtype, device="meta", memory_format=memory_format
            )
            offsets, sides = (
                torch.empty(shape, dtype=torch.int32, device="meta")
                for shape in ((8, 1, 14, 14, 2), (8, 1))
            )
            recorder = Recorder()
            patch_shuffle_triton.patch_shuffle(
                images, offsets, sides, images[:, None], launch=recorder
            )
            for launch in recorder.launches:
                yield (
                    f"{str(dtype).removeprefix('torch.')} "
                    f"{'nchw' if images.is_contiguous() else 'channels_last'}",
                    launch,
                )


def _augment_launches():
    from fastneg.kernels import augment_triton
    from fastneg.kernels.augment import draw_augment_params, taps
    from fastneg.kernels.launch import Recorder

    params = draw_augment_params(8, device="meta")
    images, views = (
        {
            dtype: torch.empty(
                (8, 3, 224, 224), dtype=dtype, device="meta", memory_format=torch.channels_last
            )
            for dtype in dtypes
        }
        for dtypes in (
            (torch.uint8, torch.bfloat16, torch.float32),
            (torch.float16, torch.bfloat16, torch.float32),
        )
    )
    for source, view, sigma in (
        *((torch.uint8, view, sigma) for view in views for sigma in (0.0, 2.0, 5.0)),
        *((source, torch.bfloat16, 2.0) for source in (torch.bfloat16, torch.float32)),
    ):
        recorder = Recorder()
        augment_triton.augment(
            images[source],
            params,
            (0.5,) * 3,
            (0.2,) * 3,
            taps(sigma),
            views[view],
            launch=recorder,
        )
        name = f"{source} to {view} sigma<={sigma:g}".replace("torch.", "")
        yield from ((name, launch) for launch in recorder.launches)


def _quilt_launches():
    from fastneg.kernels import texture_triton
    from fastneg.kernels.launch import Recorder
    from fastneg.kernels.texture import block_grid

    # (side of the texture, of the source patches, of the blocks, overlap, candidates, seam): the
    # defaults, then every other branch
    shapes = (
        (224, 96, 32, 8, 128, True),
        (224, 96, 32, 8, 128, False),
        (32, 28, 12, 4, 32, True),
        (224, 112, 64, 16, 256, True),
    )
    for side, patch, block, overlap, candidates, seam in shapes:
        rows, columns = block_grid((side, side), block, overlap)
        empty = lambda *shape, dtype=torch.int32: torch.empty(shape, dtype=dtype, device="meta")
        levels, corners = (
            empty(8, 2, patch, patch, 3, dtype=torch.uint8),
            empty(8, 1, rows * columns, candidates),
        )
        recorder = Recorder()
        texture_triton.quilt(
            levels,
            corners,
            empty(8, 1, side, side),
            rows,
            columns,
            block,
            overlap,
            seam,
            launch=recorder,
        )
        for launch in recorder.launches:
            yield (
                f"P={patch} block={block} overlap={overlap} "
                f"K={candidates}{'' if seam else ' no seam'}",
                launch,
            )
