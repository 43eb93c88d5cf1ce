"""Crop and resize on a CPU: loops that numba compiles, a view at a time, spread over torch's number
of threads.

They repeat DALI's operator for CPUs operation by operation, in float32 and without fused
multiplications: which axis comes first, how a tap's weight is computed, and where halves round to
even (runs of 16 values, which DALI takes through SSE registers) or away from zero (the rest).
Shapes: H W pixels of an image, S the side of a view, T taps of an output pixel.
"""

import math

import numpy as np
from numba import njit

from .cpu_threads import spread

LANES = 16
"""Values that DALI rounds at a time."""
F32 = np.float32


def crop_resize(images, index, windows, out):
    """As `crop_resize_torch.crop_resize`, on the CPU."""
    pixels, views = images.permute(0, 2, 3, 1).numpy(), out.permute(0, 2, 3, 1).numpy()
    index, windows = index.numpy(), np.ascontiguousarray(windows.numpy())

    def work(numbers):
        for number in numbers:
            _view(pixels[index[number]], windows[number], views[number])

    spread(work, len(views))


@njit(cache=True, nogil=True)
def _view(image, window, out):
    """image (H, W, 3) uint8 → out (S, S, 3) uint8."""
    height, width, _ = image.shape
    size = out.shape[0]
    rows, columns = (
        _reach(window[0], window[2], size, height),
        _reach(window[1], window[3], size, width),
    )
    if _columns_first(rows, columns, size):
        first, taps = _filter(window[1], window[3], size)
        between = np.zeros((rows[2] - rows[1], size, 3), np.float32)
        _across(image[rows[1] : rows[2]], first, taps, between)
        first, taps = _filter(window[0] - F32(rows[1]), window[2] - F32(rows[1]), size)
        _down_rounded(between, first, taps, out)
    else:
        first, taps = _filter(window[0], window[2], size)
        between = np.zeros((size, columns[2] - columns[1], 3), np.float32)
        _down(image, columns[1], first, taps, between)
        first, taps = _filter(window[1] - F32(columns[1]), window[3] - F32(columns[1]), size)
        _across_rounded(between, first, taps, out)


@njit(cache=True, nogil=True)
def _width(start, end, size):
    """(taps, radius in pixels) of the filter along one axis."""
    extent = end - start
    radius = extent / F32(size) if F32(size) < extent else F32(1)
    scale = F32(2) / max(F32(1), F32(2) * radius)
    return math.ceil(F32(2) / scale), F32(1) / scale


@njit(cache=True, nogil=True)
def _reach(start, end, size, length):
    """(taps, first, end) of the pixels along one axis that a window's views are made of."""
    taps, radius = _width(start, end, size)
    first = max(0, min(length, math.floor(start - radius)))
    last = max(0, min(length, math.ceil(end - radius + F32(taps))))
    return taps, first, last


@njit(cache=True, nogil=True)
def _columns_first(rows, columns, size):
    """Whether the pass along each row comes first: DALI's estimate of the costs."""
    taps_y, high = rows[0], rows[2] - rows[1]
    taps_x, wide = columns[0], columns[2] - columns[1]
    one = _cost(high * size, taps_x, F32(1.4)) + _cost(size * size, taps_y, F32(1))
    other = _cost(size * wide, taps_y, F32(1)) + _cost(size * size, taps_x, F32(1.4))
    return one <= other


@njit(cache=True, nogil=True)
def _cost(values, taps, factor):
    return factor * F32(taps * values) + F32(values) * F32(3)


@njit(cache=True, nogil=True)
def _filter(start, end, size):
    """((S,) first pixel of each output pixel, (S, T) weights) along one axis."""
    count, radius = _width(start, end, size)
    scale = F32(2) / max(F32(1), F32(2) * radius)
    first, taps = np.empty(size, np.int32), np.zeros((size, count), np.float32)
    step = (end - start) / F32(size)
    origin = start + (F32(0.5) * step - F32(0.5) - radius)
    for x in range(size):
        place = F32(x) * step + origin
        first[x] = math.ceil(place)
        offset, total = F32(first[x]) - place, F32(0)
        for k in range(count):
            at = (offset + F32(k)) * scale
            weight = at if at < F32(1) else F32(1) - (at - F32(1))
            taps[x, k] = max(weight, F32(0))
            total += taps[x, k]
        if total != 0:
            for k in range(count):
                taps[x, k] /= total
    return first, taps


@njit(cache=True, nogil=True)
def _across(image, first, taps, out):
    """image (h, W, 3) uint8 → out (h, S, 3), along each row."""
    last = image.shape[1] - 1
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            for k in range(taps.shape[1]):
                source, weight = min(max(first[x] + k, 0), last), taps[x, k]
                for c in range(3):
                    out[y, x, c] += weight * F32(image[y, source, c])


@njit(cache=True, nogil=True)
def _down(image, left, first, taps, out):
    """image (H, W, 3) uint8, its columns from `left` on → out (S, w, 3), along each column."""
    last, wide = image.shape[0] - 1, out.shape[1]
    for y in range(out.shape[0]):
        for k in range(taps.shape[1]):
            source, weight = image[min(max(first[y] + k, 0), last)], taps[y, k]
            for x in range(wide):
                for c in range(3):
                    out[y, x, c] += weight * F32(source[left + x, c])


@njit(cache=True, nogil=True)
def _down_rounded(between, first, taps, out):
    """between (h, S, 3) → out (S, S, 3), along each column."""
    last, size = between.shape[0] - 1, out.shape[1]
    even = 3 * size - 3 * size % LANES
    line = np.empty((size, 3), np.float32)
    for y in range(out.shape[0]):
        line[:] = 0
        for k in range(taps.shape[1]):
            source, weight = between[min(max(first[y] + k, 0), last)], taps[y, k]
            for x in range(size):
                for c in range(3):
                    line[x, c] += weight * source[x, c]
        for x in range(size):
            for c in range(3):
                out[y, x, c] = _level(line[x, c], 3 * x + c < even)


@njit(cache=True, nogil=True)
def _across_rounded(between, first, taps, out):
    """between (S, w, 3) → out (S, S, 3), along each row."""
    last, count, size = between.shape[1] - 1, taps.shape[1], out.shape[1]
    even = _in_lanes(first, count, between.shape[1])
    for y in range(out.shape[0]):
        for x in range(size):
            red, green, blue = F32(0), F32(0), F32(0)
            for k in range(count):
                source, weight = between[y, min(max(first[x] + k, 0), last)], taps[x, k]
                red += weight * source[0]
                green += weight * source[1]
                blue += weight * source[2]
            out[y, x, 0] = _level(red, even[x])
            out[y, x, 1] = _level(green, even[x])
            out[y, x, 2] = _level(blue, even[x])


@njit(cache=True, nogil=True)
def _in_lanes(first, count, width):
    """(S,) whether DALI rounds an output column among LANES: it takes the columns that reach over
    the left edge, over both, over none and over the right one as runs of their own."""
    size = len(first)
    begin, end = 0, size - 1
    while begin < size and first[begin] < 0:
        begin += 1
    while end >= 0 and first[end] + count > width:
        end -= 1
    even, x = np.zeros(size, np.bool_), 0
    for bound in (min(begin, end + 1), begin, end + 1, size):
        while x + LANES <= bound:
            even[x : x + LANES] = True
            x += LANES
        x = max(x, bound)
    return even


@njit(cache=True, nogil=True)
def _level(value, even):
    value = min(max(value, F32(0)), F32(255))
    if even:
        return np.uint8(np.rint(value))
    whole = np.floor(value)
    return np.uint8(whole + F32(1) if value - whole >= F32(0.5) else whole)
