"""Crop and resize: on a CPU DALI's own pixels, bit for bit; elsewhere those of its definition."""

import math

import numpy as np
import pytest
import torch
from nvidia.dali import fn, pipeline_def, types

from fastneg.data.load.augmentation import draw_crops
from fastneg.kernels.crop_resize import crop_resize

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SHAPES = [(64, 64, 32), (32, 32, 32), (48, 48, 56), (40, 90, 23), (150, 100, 64), (16, 16, 33)]


@pipeline_def(num_threads=1, device_id=None, exec_dynamic=True, prefetch_queue_depth=1)
def resizing(size):
    images = fn.external_source(name="images", dtype=types.UINT8, ndim=3, layout="HWC")
    start = fn.external_source(name="start", dtype=types.FLOAT, ndim=1)
    end = fn.external_source(name="end", dtype=types.FLOAT, ndim=1)
    return fn.resize(
        images,
        size=[float(size), float(size)],
        roi_start=start,
        roi_end=end,
        interp_type=types.INTERP_LINEAR,
        antialias=True,
    )


def dali(images, windows, size):
    pipe = resizing(size, batch_size=len(images))
    pipe.build()
    pipe.feed_input("images", list(images))
    pipe.feed_input("start", np.ascontiguousarray(windows[:, :2]))
    pipe.feed_input("end", np.ascontiguousarray(windows[:, 2:]))
    return np.array(pipe.run()[0].as_array())


def definition(image, window, size):
    """The docstring's formula for one view, in float64."""

    def taps(start, end, length):
        scale = (end - start) / size
        radius, rows = max(1.0, scale), np.zeros((size, length))
        for i in range(size):
            centre = start + (i + 0.5) * scale
            for j in range(math.floor(centre - radius) - 1, math.ceil(centre + radius) + 1):
                weight = max(0.0, 1 - abs(j + 0.5 - centre) / radius)
                rows[i, min(max(j, 0), length - 1)] += weight
        return rows / rows.sum(1, keepdims=True)

    top, left, bottom, right = map(float, window)
    down, across = taps(top, bottom, image.shape[0]), taps(left, right, image.shape[1])
    return np.einsum("yh,hwc,xw->yxc", down, image.astype(np.float64), across)


def draw(count, height, width, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    sizes = np.tile([height, width], (count, 1))
    start, end = draw_crops(sizes, (0.02, 1.0), (3 / 4, 4 / 3), rng)
    start[0], end[0] = 0, sizes[0]  # the whole image
    start[1::4] += 0.37  # windows that do not lie on pixels
    end[1::4] -= np.float32(0.21)
    return images, np.concatenate([start, end], 1).astype(np.float32)


def views(images, index, windows, size, backend, device="cpu"):
    made = crop_resize(
        torch.from_numpy(images).permute(0, 3, 1, 2).to(device),
        torch.as_tensor(index).to(device),
        torch.from_numpy(windows).to(device),
        size,
        backend=backend,
    )
    assert made.dtype == torch.uint8 and made.is_contiguous(memory_format=torch.channels_last)
    return made.permute(0, 2, 3, 1).cpu().numpy()


@pytest.mark.parametrize(("height", "width", "size"), SHAPES)
def test_a_cpu_gives_the_bits_of_dali(height, width, size):
    images, windows = draw(60, height, width)
    expected = dali(images, windows, size)
    assert np.array_equal(views(images, np.arange(60), windows, size, "auto"), expected)


@pytest.mark.parametrize("backend", ["numba", "torch", "triton"])
@pytest.mark.parametrize(("height", "width", "size"), [(48, 30, 20), (17, 24, 33), (90, 70, 12)])
def test_every_backend_keeps_to_the_definition(backend, height, width, size):
    images, windows = draw(3, height, width, seed=1)
    index = np.array([2, 0, 2])  # a repeat, and in another order
    device = DEVICE if backend == "triton" else "cpu"
    made = views(images, index, windows, size, backend, device)
    for view, number, window in zip(made, index, windows, strict=True):
        exact = definition(images[number], window, size)
        assert np.abs(view - exact).max() <= 0.5 + 2e-3


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_change_nothing(threads):
    images, windows = draw(9, 40, 40)
    expected = views(images, np.arange(9), windows, 32, "numba")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    assert np.array_equal(views(images, np.arange(9), windows, 32, "numba"), expected)
    torch.set_num_threads(before)


@pytest.mark.parametrize("backend", ["torch", "numba", "triton"])
def test_windows_that_ask_for_a_gradient_get_none(backend):
    images, windows = draw(3, 20, 24)
    asking = torch.from_numpy(windows).requires_grad_()
    out = crop_resize(
        torch.from_numpy(images).permute(0, 3, 1, 2), torch.arange(3), asking, 8, backend=backend
    )
    assert not out.requires_grad


def test_no_view_is_no_work():
    images, windows = draw(3, 20, 20)
    assert views(images, np.arange(0), windows[:0], 16, "auto").shape == (0, 16, 16, 3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: {"images": a["images"].float()}, "uint8 was expected"),
        (lambda a: {"images": a["images"].contiguous()}, "channels_last was expected"),
        (lambda a: {"images": a["images"][:, :1]}, r"\(K, 3, H, W\)"),
        (lambda a: {"index": a["index"].int()}, "index is .*int32"),
        (lambda a: {"index": a["index"] + 3}, "index holds 3 to 5: 0 to 2"),
        (lambda a: {"windows": a["windows"].double()}, "windows is .*float64"),
        (lambda a: {"windows": a["windows"][:2]}, r"windows is \(2, 4\)"),
        (lambda a: {"windows": a["windows"] + 30}, "windows within the images"),
        (lambda a: {"windows": a["windows"].flip(1)}, "windows within the images"),
        (lambda a: {"size": 0}, "size is 0"),
        (lambda a: {"size": (16, 16)}, r"size is \(16, 16\): a whole number"),
        (lambda a: {"images": a["images"].numpy()}, "images is a ndarray"),
        (lambda a: {"index": [0, 1, 2]}, "index is a list"),
        (lambda a: {"index": a["index"][0]}, r"index is \(\)"),
        (lambda a: {"index": a["index"].to("meta")}, "index is .* on meta"),
        (lambda a: {"windows": a["windows"] * float("nan")}, "windows within the images"),
        (lambda a: {"backend": None}, "backend is None"),
    ],
)
def test_what_cannot_be_is_refused(change, said):
    images, windows = draw(3, 20, 24)
    arguments = {
        "images": torch.from_numpy(images).permute(0, 3, 1, 2),
        "index": torch.arange(3),
        "windows": torch.from_numpy(windows),
        "size": 16,
    }
    with pytest.raises(ValueError, match=said):
        crop_resize(**{**arguments, **change(arguments)})
