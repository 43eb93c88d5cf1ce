"""Quilting on the GPU: one program makes one texture, block by block.

Shapes: N images, S source patches of an image, M textures of it, C channels, P side of a source
patch, B blocks, K candidates. The definition is in texture.py.
"""

import torch
import triton
import triton.language as tl

from .launch import Recorder, next_power_of_2
from .launch import launch as launch_now
from .registry import Shipped
from .texture import block_grid

NUM_WARPS = 4
FAR = tl.constexpr(1 << 29)  # above the cost of any path; twice it still fits 32 bits


def quilt(levels, corners, shown, rows, columns, block, overlap, seam, launch=launch_now):
    """Fills shown (N, M, rows · step + overlap, columns · step + overlap) from levels (N, S, P, P,
    C) and corners (N, M, B, K)."""
    images, count, patch, _, channels = levels.shape
    # A pixel is one word, so that it is one load.
    words = torch.nn.functional.pad(levels, (0, 4 - channels)).view(torch.int32)
    copies, candidates = corners.shape[1], corners.shape[3]
    launch(
        quilt_kernel,
        (images * copies,),
        (words, corners, shown, copies),
        {
            "CHANNELS": channels,
            "PATCH": patch,
            "PIXELS": count * patch * patch,
            "ROWS": rows,
            "COLUMNS": columns,
            "BLOCK": block,
            "OVERLAP": overlap,
            "CANDIDATES": candidates,
            "SEAM": bool(seam),
            "BLOCK_PAD": next_power_of_2(block),
            "OVERLAP_PAD": next_power_of_2(overlap),
            "CANDIDATES_PAD": next_power_of_2(candidates),
            # Pixels of the shared strips that are compared at a time. With 16, four of the large
            # programs fit a multiprocessor of sm_90.
            "CHUNK": 16 if seam and candidates >= 128 else 32,
        },
        num_warps=NUM_WARPS,
        num_stages=1,  # no load may move ahead of the barrier below
    )


@triton.jit
def quilt_kernel(
    words, corners, shown, copies,
    CHANNELS: tl.constexpr, PATCH: tl.constexpr, PIXELS: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, BLOCK: tl.constexpr, OVERLAP: tl.constexpr,
    CANDIDATES: tl.constexpr, SEAM: tl.constexpr,
    BLOCK_PAD: tl.constexpr, OVERLAP_PAD: tl.constexpr, CANDIDATES_PAD: tl.constexpr,
    CHUNK: tl.constexpr,
):  # fmt: skip
    STEP: tl.constexpr = BLOCK - OVERLAP
    WIDTH: tl.constexpr = COLUMNS * STEP + OVERLAP
    HEIGHT: tl.constexpr = ROWS * STEP + OVERLAP
    LAST: tl.constexpr = PIXELS - (BLOCK - 1) * PATCH - BLOCK
    item = tl.program_id(0).to(tl.int64)
    words += item // copies * PIXELS
    corners += item * (ROWS * COLUMNS * CANDIDATES)
    shown += item * (HEIGHT * WIDTH)
    candidate = tl.arange(0, CANDIDATES_PAD)
    y, x = tl.arange(0, BLOCK_PAD), tl.arange(0, BLOCK_PAD)
    for i in range(ROWS):
        for j in range(COLUMNS):
            place = shown + (i * STEP * WIDTH + j * STEP)
            tried = tl.load(
                corners + (i * COLUMNS + j) * CANDIDATES + candidate,
                mask=candidate < CANDIDATES,
                other=0,
            )
            # Nothing checks them on a GPU: whatever they are, no pixel outside is read.
            tried = tl.minimum(tl.maximum(tried, 0), LAST)
            corner = _best_candidate(
                words, place, tried, i, j, CHANNELS, PATCH, WIDTH, BLOCK, OVERLAP,
                CANDIDATES, CANDIDATES_PAD, CHUNK,
            )  # fmt: skip
            new = (y < BLOCK)[:, None] & (x < BLOCK)[None, :]
            if SEAM:
                left, top = _cuts(
                    words, place, corner, i, j, CHANNELS, PATCH, WIDTH, BLOCK, OVERLAP,
                    BLOCK_PAD, OVERLAP_PAD,
                )  # fmt: skip
                new = new & (x[None, :] >= left[:, None]) & (y[:, None] >= top[None, :])
            tl.store(
                place + y[:, None] * WIDTH + x[None, :],
                corner + y[:, None] * PATCH + x[None, :],
                mask=new,
            )
            # The blocks to come read what other threads stored.
            tl.debug_barrier()


@triton.jit
def _best_candidate(
    words, place, tried, i, j,
    CHANNELS: tl.constexpr, PATCH: tl.constexpr, WIDTH: tl.constexpr,
    BLOCK: tl.constexpr, OVERLAP: tl.constexpr,
    CANDIDATES: tl.constexpr, CANDIDATES_PAD: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """The corner of the first of the candidates that differ least from the old pixels."""
    candidate = tl.arange(0, CANDIDATES_PAD)
    sums = tl.zeros([CANDIDATES_PAD, CHUNK], tl.int32)
    # The strip at the top; then the one at the left, without the corner that was counted before.
    # Both are empty at the border.
    for start in range(0, tl.where(i > 0, OVERLAP * BLOCK, 0), CHUNK):
        p = start + tl.arange(0, CHUNK)
        y, x, valid = p // BLOCK, p % BLOCK, p < OVERLAP * BLOCK
        sums += _differences(words, place, tried, y, x, valid, CHANNELS, PATCH, WIDTH)
    begin = tl.where(i > 0, OVERLAP * OVERLAP, 0)
    for start in range(begin, tl.where(j > 0, BLOCK * OVERLAP, 0), CHUNK):
        p = start + tl.arange(0, CHUNK)
        y, x, valid = p // OVERLAP, p % OVERLAP, p < BLOCK * OVERLAP
        sums += _differences(words, place, tried, y, x, valid, CHANNELS, PATCH, WIDTH)
    total = tl.where(candidate < CANDIDATES, tl.sum(sums, 1), 2147483647)
    first = tl.min(tl.where(total == tl.min(total, 0), candidate, CANDIDATES_PAD), 0)
    return tl.sum(tl.where(candidate == first, tried, 0), 0)


@triton.jit
def _differences(
    words, place, tried, y, x, valid,
    CHANNELS: tl.constexpr, PATCH: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """(K, pixels) squared difference of each candidate and what is shown, at the pixels (y, x) of
    the block; 0 where not valid."""
    old = tl.load(words + tl.load(place + y * WIDTH + x, mask=valid, other=0), mask=valid, other=0)
    new = tl.load(words + tried[:, None] + (y * PATCH + x)[None, :], mask=valid[None, :], other=0)
    return _squared(new, old[None, :], CHANNELS)


@triton.jit
def _squared(one, other, CHANNELS: tl.constexpr):
    total = ((one & 255) - (other & 255)) * ((one & 255) - (other & 255))
    for channel in tl.static_range(1, CHANNELS):
        difference = ((one >> (8 * channel)) & 255) - ((other >> (8 * channel)) & 255)
        total += difference * difference
    return total


@triton.jit
def _cuts(
    words, place, corner, i, j,
    CHANNELS: tl.constexpr, PATCH: tl.constexpr, WIDTH: tl.constexpr,
    BLOCK: tl.constexpr, OVERLAP: tl.constexpr,
    BLOCK_PAD: tl.constexpr, OVERLAP_PAD: tl.constexpr,
):  # fmt: skip
    """The first new pixel of each row (BLOCK_PAD,) and of each column (BLOCK_PAD,); 0 where there
    is no old block.

    A place lies on a path of least cost if the best path from the first row to it and the best one
    from it to the last row make the least sum. So no path is traced: four sweeps run in the same
    loop, forward and backward in the left strip, then in the top strip.
    """
    sweep = tl.arange(0, 4)
    across = tl.arange(0, OVERLAP_PAD)
    along_table = tl.arange(0, BLOCK_PAD)
    inside = across < OVERLAP
    # Blocks in place of scalars, for the interpreter of Triton 3.2 has no scalar truth values.
    column, row = sweep * 0 + j, sweep * 0 + i
    valid = inside[None, :] & (((sweep < 2) & (column > 0)) | ((sweep >= 2) & (row > 0)))[:, None]
    near = tl.abs(across[:, None] - across[None, :]) <= 1
    state = tl.where(inside[None, :] & (sweep < 4)[:, None], 0, FAR)
    table = tl.zeros([4, BLOCK_PAD, OVERLAP_PAD], tl.int32)
    for step in range(BLOCK):
        along = tl.where(sweep % 2 == 0, step, BLOCK - 1 - step)
        y = tl.where((sweep < 2)[:, None], along[:, None], across[None, :])
        x = tl.where((sweep < 2)[:, None], across[None, :], along[:, None])
        old = tl.load(
            words + tl.load(place + y * WIDTH + x, mask=valid, other=0), mask=valid, other=0
        )
        new = tl.load(words + corner + y * PATCH + x, mask=valid, other=0)
        before = tl.min(tl.where(near[None, :, :], state[:, None, :], FAR), 2)
        before = tl.where(inside[None, :], before, FAR)
        state = tl.where(inside[None, :], before + _squared(new, old, CHANNELS), FAR)
        # Backward sweeps leave out the place itself, which the forward ones count.
        cost = tl.where((sweep % 2 == 0)[:, None], state, before)
        table = tl.where(
            along_table[None, :, None] == along[:, None, None], cost[:, None, :], table
        )
    through = tl.sum(tl.reshape(table, [2, 2, BLOCK_PAD, OVERLAP_PAD]), 1)
    least = tl.min(through, 2)
    cut = tl.min(tl.where(through == least[:, :, None], across[None, None, :], OVERLAP_PAD), 2)
    strip = tl.arange(0, 2)
    left = tl.sum(tl.where((strip == 0)[:, None], cut, 0), 0)
    top = tl.sum(tl.where((strip == 1)[:, None], cut, 0), 0)
    return left, top


def shipped():
    """The defaults, then every other branch of the kernel."""
    # Sides of the texture, of the source patches and of the blocks, overlap, candidates, seam.
    for side, patch, block, overlap, candidates, seam in (
        (224, 96, 32, 8, 128, True),
        (224, 96, 32, 8, 128, False),
        (32, 28, 12, 4, 32, True),
        (224, 112, 64, 16, 256, True),
    ):
        rows, columns = block_grid((side, side), block, overlap)
        empty = lambda *shape, dtype=torch.int32: torch.empty(shape, dtype=dtype, device="meta")
        levels = empty(8, 2, patch, patch, 3, dtype=torch.uint8)
        corners, shown = empty(8, 1, rows * columns, candidates), empty(8, 1, side, side)
        recorder = Recorder()
        quilt(levels, corners, shown, rows, columns, block, overlap, seam, launch=recorder)
        config = f"P={patch} block={block} overlap={overlap} K={candidates}"
        for launch in recorder.launches:
            yield Shipped(config if seam else f"{config} no seam", launch)
