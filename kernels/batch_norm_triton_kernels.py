"""The kernels of batch normalisation on the GPU; batch_norm_triton.py starts them.

Shapes: N batch, G groups, C channels, A pixels of an image, R = N / G · A rows of a group, S splits
of these rows. A tile is some rows times some channels. NHWC: whether the channels of a row lie side
by side; if not, those of an image lie A elements apart. Everything is float32 in registers.
"""

import triton
import triton.language as tl


@triton.jit
def _tile(values, row, channels_here, channels, area, NHWC: tl.constexpr, ROWS: tl.constexpr):
    """Pointers (ROWS, BLOCK) to the rows of the batch from `row` on."""
    below = tl.arange(0, ROWS)
    if NHWC:
        # The large part of the distance is a scalar of 64 bits.
        return values + row.to(tl.int64) * channels + below[:, None] * channels + channels_here
    rows = row + below
    image = (rows // area).to(tl.int64) * channels * area
    return values + (image + rows % area)[:, None] + channels_here * area


@triton.jit
def _row_of(values, group, channels_here, channels):
    """A row of (G, C), as (1, BLOCK)."""
    at = group * channels + channels_here
    return tl.load(values + at, mask=channels_here < channels, other=0.0).to(tl.float32)


@triton.jit
def _affine(weight, bias, mean, var, group, channels_here, channels, eps):
    """Mean, 1 / deviation, weight and bias of these channels of a group, (1, BLOCK) each."""
    centre = _row_of(mean, group, channels_here, channels)
    inverse = 1.0 / tl.sqrt(_row_of(var, group, channels_here, channels) + eps)
    slope = tl.full(centre.shape, 1.0, tl.float32)
    if weight is not None:
        slope = _row_of(weight, 0, channels_here, channels)
    start = tl.zeros(centre.shape, tl.float32)
    if bias is not None:
        start = _row_of(bias, 0, channels_here, channels)
    return centre, inverse, slope, start


@triton.jit
def _joined(mean, deviation, count, total):
    """(mean, summed squared deviation) of all rows, (1, BLOCK) each, from those of parts, of which
    each has `count` of the `total` rows."""
    joined = tl.sum(mean * count, 0)[None, :] / total
    apart = mean - joined
    return joined, tl.sum(deviation + count * apart * apart, 0)[None, :]


@triton.jit
def _move(running, value, momentum, channel, inside):
    """A running statistic moves towards the value by `momentum`."""
    old = tl.load(running + channel, mask=inside, other=0.0).to(tl.float32)
    tl.store(running + channel, (1.0 - momentum) * old + momentum * value, mask=inside)


@triton.jit
def statistics_kernel(
    images, means, deviations, rows, channels, area, rows_per_split,
    NHWC: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Mean and summed squared deviation of each split, (G, S, C) each.

    Every element of the tile keeps its own running mean and deviation (Welford); only at the end
    are they joined, so the loop needs no exchange between threads and subtracts no large squares.
    """
    split, group = tl.program_id(1), tl.program_id(2)
    channel = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))[None, :]
    begin = split * rows_per_split
    here = tl.minimum(rows_per_split, rows - begin)
    first = group * rows + begin
    inside = channel < channels
    mean = tl.zeros((ROWS, BLOCK), tl.float32)
    deviation = tl.zeros((ROWS, BLOCK), tl.float32)
    full = here // ROWS
    for number in range(full):
        at = _tile(images, first + number * ROWS, channel, channels, area, NHWC, ROWS)
        value = tl.load(at, mask=inside, other=0.0).to(tl.float32)
        distance = value - mean
        mean += distance * (1.0 / (number + 1))
        deviation += distance * (value - mean)
    # What is left is less than a tile: some elements have one value more than others.
    more = (full * ROWS + tl.arange(0, ROWS) < here)[:, None]
    at = _tile(images, first + full * ROWS, channel, channels, area, NHWC, ROWS)
    value = tl.load(at, mask=inside & more, other=0.0).to(tl.float32)
    count = full + more.to(tl.float32)
    distance = tl.where(more, value - mean, 0.0)
    mean += distance / tl.maximum(count, 1.0)
    deviation += tl.where(more, distance * (value - mean), 0.0)
    mean, deviation = _joined(mean, deviation, count, here)
    place = (group * tl.num_programs(1) + split) * channels + channel
    tl.store(means + place, mean, mask=inside)
    tl.store(deviations + place, deviation, mask=inside)


@triton.jit
def merge_statistics_kernel(
    means, deviations, mean_out, var_out, running_mean, running_var, tracked,
    group_step, split_step, groups, splits, channels, rows, rows_per_split, deviation_of,
    momentum,
    SPLITS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """(G, C) mean and biased variance from those of the splits; the running ones move.

    The mean of split s of group g stands at g · group_step + s · split_step. `deviation_of`: what a
    deviation is multiplied by to be a sum of squares (1, or the rows of a split).
    """
    channel = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))[None, :]
    split = tl.arange(0, SPLITS)[:, None]
    inside = channel < channels
    there = inside & (split < splits)
    count = tl.maximum(tl.minimum(rows_per_split, rows - split * rows_per_split), 0)
    count = count.to(tl.float32)
    mean_sum = tl.zeros((1, BLOCK), tl.float32)
    var_sum = tl.zeros((1, BLOCK), tl.float32)
    total = rows * 1.0
    for group in range(groups):
        place = group * group_step + split * split_step + channel
        mean = tl.load(means + place, mask=there, other=0.0)
        deviation = tl.load(deviations + place, mask=there, other=0.0) * deviation_of
        joined, deviation = _joined(mean, deviation, count, total)
        tl.store(mean_out + group * channels + channel, joined, mask=inside)
        tl.store(var_out + group * channels + channel, deviation / total, mask=inside)
        mean_sum += joined
        var_sum += deviation / (total - 1.0)
    if running_mean is not None:
        _move(running_mean, mean_sum / groups, momentum, channel, inside)
        _move(running_var, var_sum / groups, momentum, channel, inside)
    if tracked is not None:
        tl.store(tracked, tl.load(tracked) + 1, mask=tl.program_id(0) == 0)


@triton.jit
def normalise_kernel(
    images, residual, weight, bias, mean, var, out, rows, channels, area, blocks, tiles, eps,
    RELU: tl.constexpr, NHWC: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out = relu((images - mean) / sqrt(var + eps) · weight + bias + residual), `tiles` tiles a
    program."""
    group = tl.program_id(1)
    channel = ((tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK))[None, :]
    begin = tl.program_id(0) // blocks * tiles * ROWS
    centre, inverse, slope, start = _affine(weight, bias, mean, var, group, channel, channels, eps)
    scale = inverse * slope
    inside = channel < channels
    for number in range(tl.minimum(tiles, tl.cdiv(rows - begin, ROWS))):
        below = begin + number * ROWS
        there = inside & (below + tl.arange(0, ROWS) < rows)[:, None]
        row = group * rows + below
        at = _tile(images, row, channel, channels, area, NHWC, ROWS)
        value = (tl.load(at, mask=there, other=0.0).to(tl.float32) - centre) * scale + start
        if residual is not None:
            at = _tile(residual, row, channel, channels, area, NHWC, ROWS)
            value += tl.load(at, mask=there, other=0.0).to(tl.float32)
        if RELU:
            value = tl.where(value < 0.0, 0.0, value)  # NaN stays, as in torch
        at = _tile(out, row, channel, channels, area, NHWC, ROWS)
        tl.store(at, value.to(out.dtype.element_ty), mask=there)


@triton.jit
def _passed(
    gradient, shown, value, centre, scale, start, row, there, channel, channels, area,
    RELU: tl.constexpr, NHWC: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """The gradient of a tile where the ReLU let pass: where `shown` is above 0, or what `value`
    gave."""
    at = _tile(gradient, row, channel, channels, area, NHWC, ROWS)
    passed = tl.load(at, mask=there, other=0.0).to(tl.float32)
    if shown is not None:
        at = _tile(shown, row, channel, channels, area, NHWC, ROWS)
        passed = tl.where(tl.load(at, mask=there, other=0.0).to(tl.float32) <= 0.0, 0.0, passed)
    elif RELU:
        passed = tl.where((value - centre) * scale + start <= 0.0, 0.0, passed)
    return passed


@triton.jit
def sums_kernel(
    gradient, shown, images, weight, bias, mean, var, masked, sums, rows, channels, area,
    rows_per_split, eps,
    RELU: tl.constexpr, NHWC: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Σ dy and Σ dy x^ of each split, (2, G, S, C); with `shown` also dy itself, to `masked`."""
    split, group = tl.program_id(1), tl.program_id(2)
    channel = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))[None, :]
    begin = split * rows_per_split
    here = tl.minimum(rows_per_split, rows - begin)
    centre, inverse, slope, start = _affine(weight, bias, mean, var, group, channel, channels, eps)
    inside = channel < channels
    total = tl.zeros((ROWS, BLOCK), tl.float32)
    products = tl.zeros((ROWS, BLOCK), tl.float32)
    for below in range(0, here, ROWS):
        there = inside & (below + tl.arange(0, ROWS) < here)[:, None]
        row = group * rows + begin + below
        at = _tile(images, row, channel, channels, area, NHWC, ROWS)
        value = tl.load(at, mask=there, other=0.0).to(tl.float32)
        passed = _passed(
            gradient, shown, value, centre, inverse * slope, start, row, there, channel,
            channels, area, RELU, NHWC, ROWS,
        )  # fmt: skip
        if shown is not None:
            at = _tile(masked, row, channel, channels, area, NHWC, ROWS)
            tl.store(at, passed.to(masked.dtype.element_ty), mask=there)
        total += passed
        # 0 where nothing is, for the gradient is 0 there
        products += passed * (value - centre)
    splits = tl.num_programs(1)
    place = (group * splits + split) * channels + channel
    tl.store(sums + place, tl.sum(total, 0)[None, :], mask=inside)
    place += tl.num_programs(2) * splits * channels
    tl.store(sums + place, tl.sum(products, 0)[None, :] * inverse, mask=inside)


@triton.jit
def merge_sums_kernel(parts, sums, splits, channels, SPLITS: tl.constexpr, BLOCK: tl.constexpr):
    """(2, G, C) from (2, G, S, C), in a fixed order."""
    channel = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))[None, :]
    split, row = tl.arange(0, SPLITS)[:, None], tl.program_id(1)
    there = (channel < channels) & (split < splits)
    value = tl.load(parts + (row * splits + split) * channels + channel, mask=there, other=0.0)
    total = tl.sum(value, 0)[None, :]
    tl.store(sums + row * channels + channel, total, mask=channel < channels)


@triton.jit
def input_kernel(
    gradient, images, weight, bias, mean, var, sums, out, rows, channels, area, blocks, tiles,
    inverse_rows, eps,
    RELU: tl.constexpr, NHWC: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """dx, from Σ dy and Σ dy x^ (2, G, C), or from the gradient alone without them."""
    group = tl.program_id(1)
    channel = ((tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK))[None, :]
    begin = tl.program_id(0) // blocks * tiles * ROWS
    centre, inverse, slope, start = _affine(weight, bias, mean, var, group, channel, channels, eps)
    scale = inverse * slope
    shift = tl.zeros((1, BLOCK), tl.float32)
    tilt = tl.zeros((1, BLOCK), tl.float32)
    if sums is not None:
        shift = _row_of(sums, group, channel, channels) * inverse_rows
        tilt = _row_of(sums, tl.num_programs(1) + group, channel, channels) * inverse_rows
        tilt *= inverse
    inside = channel < channels
    for number in range(tl.minimum(tiles, tl.cdiv(rows - begin, ROWS))):
        below = begin + number * ROWS
        there = inside & (below + tl.arange(0, ROWS) < rows)[:, None]
        row = group * rows + below
        at = _tile(images, row, channel, channels, area, NHWC, ROWS)
        value = tl.load(at, mask=there, other=0.0).to(tl.float32)
        passed = _passed(
            gradient, None, value, centre, scale, start, row, there, channel, channels, area,
            RELU, NHWC, ROWS,
        )  # fmt: skip
        if sums is not None:
            passed = passed - shift - (value - centre) * tilt
        at = _tile(out, row, channel, channels, area, NHWC, ROWS)
        tl.store(at, (passed * scale).to(out.dtype.element_ty), mask=there)
