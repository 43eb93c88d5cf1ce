"""Crop and resize of images on the device: the contract, the checks and the choice of backend.

The implementations are crop_resize_triton.py, crop_resize_cpu.py (numba) and crop_resize_torch.py.
Shapes: K images, R views, H W pixels of an image, S the side of a view.
"""

import torch

from .backend import NUMBA_BACKENDS, resolve_backend
from .checks import check_are_tensors, check_choice, check_whole


def crop_resize(images, index, windows, size, *, backend="auto"):
    """Cuts a window out of an image for each view and resizes it to size × size, as DALI's resize
    does with a region of interest, linear interpolation and antialiasing.

    Along each axis output pixel i, with scale = (end - start) / size and radius = max(1, scale), is
    the mean of the pixels j around centre = start + (i + 0.5) scale, each weighted with
    max(0, 1 - |j+0.5-centre|/radius). Pixels outside the window count if the image has them. Beyond
    the edge of the image its edge pixel is repeated. The result is rounded to whole levels. No
    gradient.

    numba repeats DALI's CPU operator bit for bit on x86-64, with its order of the axes and its
    rounding. Triton and torch differ from it by one level if a value is half-way between two
    levels.

    The caller must ensure, because checking would wait for the device: 0 ≤ index < K, and windows
    of at least a hundredth of a pixel within the image. On the CPU both are checked. On CUDA no
    pixel outside the image is read.

    Args:
        images: (K, 3, H, W) uint8, channels_last.
        index: (R,) int64, the image of each view.
        windows: (R, 4) float32, top, left, bottom and right in pixels, the ends exclusive.
        size: S, the side of the views in pixels.
        backend: "auto", "triton", "numba" or "torch". "auto" is Triton on CUDA, and on the CPU
            numba if it is installed, otherwise torch.
    Returns:
        (R, 3, S, S) uint8, channels_last.
    Raises:
        ValueError: shapes, dtypes, devices or the memory format disagree; on the CPU also an index
            or a window outside the images.
        RuntimeError: the requested backend cannot run here.
    Source: NVIDIA DALI, operators.Resize and its resampling filters.
    """
    _check(images, index, windows, size)
    check_choice("backend", backend, NUMBA_BACKENDS)
    windows = windows.detach()
    out = torch.empty(
        (len(index), 3, size, size),
        dtype=torch.uint8,
        device=images.device,
        memory_format=torch.channels_last,
    )
    if out.numel() == 0:
        return out
    # Not at the top: importing fastneg must import neither Triton nor numba.
    chosen = resolve_backend(images, backend, NUMBA_BACKENDS)
    if images.device.type == "cpu":
        _check_values(images, index, windows)
    if chosen == "triton":
        from . import crop_resize_triton as implementation
    elif chosen == "numba":
        from . import crop_resize_cpu as implementation
    else:
        from . import crop_resize_torch as implementation
    implementation.crop_resize(images, index, windows, out)
    return out


def _check(images, index, windows, size):
    check_are_tensors(images=images, index=index, windows=windows)
    check_whole("size", size, 1)
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.uint8:
        raise ValueError(
            f"images are {tuple(images.shape)} {images.dtype}: (K, 3, H, W) uint8 was expected."
        )
    if not images.is_contiguous(memory_format=torch.channels_last):
        raise ValueError(
            f"images have the strides {images.stride()}: channels_last was expected, convert them "
            "once with images.contiguous(memory_format=torch.channels_last)."
        )
    count = len(index) if index.ndim else 0
    for name, tensor, shape, dtype in (
        ("index", index, (count,), torch.int64),
        ("windows", windows, (count, 4), torch.float32),
    ):
        if tuple(tensor.shape) != shape or tensor.dtype != dtype or tensor.device != images.device:
            raise ValueError(
                f"{name} is {tuple(tensor.shape)} {tensor.dtype} on {tensor.device}: {shape} "
                f"{dtype} on {images.device} was expected."
            )


def _check_values(images, index, windows):
    if not ((index >= 0) & (index < len(images))).all():
        raise ValueError(
            f"index holds {index.min()} to {index.max()}: 0 to {len(images) - 1} was expected."
        )
    sides = torch.tensor(images.shape[2:], dtype=torch.float32)
    start, end = windows[:, :2], windows[:, 2:]
    if not ((start >= 0) & (end - start >= 0.01) & (end <= sides)).all():
        raise ValueError(
            f"windows reach from {windows[:, :2].min(0).values.tolist()} to "
            f"{windows[:, 2:].max(0).values.tolist()} (row, column): windows within the images, of "
            f"{images.shape[2]} by {images.shape[3]} pixels, each with its end behind its start, "
            "were expected."
        )
