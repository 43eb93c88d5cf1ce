"""Quilting on the CPU: loops that numba compiles, an image at a time, spread over torch's number of
threads.

Shapes: N images, S source patches of an image, M textures of it, C channels, P side of a source
patch, B blocks, K candidates. The definition is in texture.py.
"""

import numpy as np
from numba import njit

from .cpu_threads import spread


def quilt(levels, corners, shown, rows, columns, block, overlap, seam):
    """Fills shown (N, M, rows · step + overlap, columns · step + overlap) from levels (N, S, P, P,
    C) and corners (N, M, B, K)."""
    images, count, patch, _, channels = levels.shape
    lines = levels.view(images, count * patch, patch * channels).numpy()
    corners, shown, copies = corners.numpy(), shown.numpy(), corners.shape[1]

    def work(items):
        for item in items:
            n, m = divmod(item, copies)
            _quilt_one(
                lines[n], channels, corners[n, m], shown[n, m], rows, columns, block, overlap, seam
            )

    spread(work, images * copies)


@njit(cache=True, nogil=True)
def _quilt_one(lines, channels, corners, shown, rows, columns, block, overlap, seam):
    """One texture: lines (S·P, P·C) uint8, corners (B, K) int32 → shown (H', W') int32."""
    patch = lines.shape[1] // channels
    step = block - overlap
    canvas = np.empty((shown.shape[0], shown.shape[1] * channels), np.uint8)
    forward, onward = np.empty((block, overlap), np.int32), np.empty((block, overlap), np.int32)
    cost = np.empty((block, overlap), np.int32)
    left, top = np.zeros(block, np.int32), np.zeros(block, np.int32)
    for i in range(rows):
        for j in range(columns):
            old = canvas[
                i * step : i * step + block, j * step * channels : (j * step + block) * channels
            ]
            corner = _best(
                lines, channels, corners[i * columns + j], old, block, overlap, i > 0, j > 0
            )
            y0, x0 = corner // patch, corner % patch
            new = lines[y0 : y0 + block, x0 * channels : (x0 + block) * channels]
            left[:] = 0
            top[:] = 0
            if seam and j > 0:
                for along in range(block):
                    for across in range(overlap):
                        cost[along, across] = _difference(new, old, along, across, channels)
                _cut(cost, forward, onward, left)
            if seam and i > 0:
                for along in range(block):
                    for across in range(overlap):
                        cost[along, across] = _difference(new, old, across, along, channels)
                _cut(cost, forward, onward, top)
            place = shown[i * step : i * step + block, j * step : j * step + block]
            _lay(new, old, channels, left, top, corner, patch, place)


@njit(cache=True, nogil=True)
def _lay(new, old, channels, left, top, corner, patch, place):
    """Put the new pixels of a block that lie right of the one cut and below the other over the old
    ones; `place` takes their positions."""
    block = len(left)
    for y in range(block):
        for x in range(left[y], block):
            if y >= top[x]:
                place[y, x] = corner + y * patch + x
                for c in range(channels):
                    old[y, x * channels + c] = new[y, x * channels + c]


@njit(cache=True, nogil=True)
def _best(lines, channels, candidates, old, block, overlap, above, before):
    """The first of the candidates that differ least from the old pixels in the strips at the top
    (if above) and left (if before)."""
    patch, stride = lines.shape[1] // channels, lines.shape[1]
    pixels = lines.reshape(-1)
    top, left = old[:overlap].copy().reshape(-1), old[:, : overlap * channels].copy().reshape(-1)
    skipped = overlap if above else 0
    best, lowest = candidates[0], np.int32(2**31 - 1)
    for corner in candidates:
        first = corner // patch * stride + corner % patch * channels
        total = np.int32(0)
        if above:
            for y in range(overlap):
                total = _add_line(
                    total, pixels, first + y * stride, top, y * block * channels, block * channels
                )
        # A sum that is not below the lowest already will not be so at the end.
        if before and total < lowest:
            for y in range(skipped, block):
                total = _add_line(
                    total,
                    pixels,
                    first + y * stride,
                    left,
                    y * overlap * channels,
                    overlap * channels,
                )
        if total < lowest:
            best, lowest = corner, total
    return best


@njit(cache=True, nogil=True)
def _add_line(total, new, at, old, start, length):
    """The total with the squared differences of new[at : at + length] and old[start : start +
    length] added."""
    # Unsigned positions and 32-bit sums are what lets LLVM use vector instructions: a signed one
    # could count from the end.
    at, start = np.uint64(at), np.uint64(start)
    for x in range(np.uint64(length)):
        difference = np.int32(new[at + x]) - np.int32(old[start + x])
        total = np.int32(total + np.int32(difference * difference))
    return total


@njit(cache=True, nogil=True)
def _difference(new, old, y, x, channels):
    total = 0
    for c in range(x * channels, (x + 1) * channels):
        difference = np.int32(new[y, c]) - np.int32(old[y, c])
        total += difference * difference
    return total


@njit(cache=True, nogil=True)
def _cut(cost, forward, onward, cut):
    """cut[row] = the first place of that row that lies on a path of least cost through the rows.

    forward: cost of the best path from the first row to here, this place included; onward: from
    here to the last row, this place not included. Their sum is the cost of the best path through
    here. The first places of all rows together are a path of least cost themselves: where two such
    paths cross, they can exchange their ends.
    """
    rows, width = cost.shape
    for x in range(width):
        forward[0, x] = cost[0, x]
        onward[rows - 1, x] = 0
    for row in range(1, rows):
        back = rows - 1 - row
        for x in range(width):
            low, high = max(0, x - 1), min(width - 1, x + 1)
            before, after = forward[row - 1, x], onward[back + 1, x] + cost[back + 1, x]
            for other in range(low, high + 1):
                before = min(before, forward[row - 1, other])
                after = min(after, onward[back + 1, other] + cost[back + 1, other])
            forward[row, x] = before + cost[row, x]
            onward[back, x] = after
    for row in range(rows):
        lowest = forward[row, 0] + onward[row, 0]
        cut[row] = 0
        for x in range(1, width):
            total = forward[row, x] + onward[row, x]
            if total < lowest:
                lowest = total
                cut[row] = x
