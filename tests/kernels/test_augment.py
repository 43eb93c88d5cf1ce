"""The augmentation against torchvision, image by image with the same parameters, and the Triton
kernels against the torch twin."""

import math

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as TF
from torchvision.transforms import ColorJitter

import fastneg.kernels.augment_torch
from fastneg.kernels.augment import AugmentParams, augment, draw_augment_params
from helpers.images import photo

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BACKENDS = ["auto", "torch", "triton"]  # on a CPU "auto" is numba
MOCO = {
    "brightness": 0.4,
    "contrast": 0.4,
    "saturation": 0.4,
    "hue": 0.1,
    "jitter_p": 0.8,
    "gray_p": 0.2,
    "blur_p": 0.5,
}


def photos(count, height, width, seed=0):
    rng = np.random.default_rng(seed)
    return torch.stack(
        [torch.from_numpy(photo(rng, height, width)).permute(2, 0, 1) for _ in range(count)]
    )


def draw(count, seed=0, **settings):
    return draw_augment_params(
        count, generator=torch.Generator().manual_seed(seed), **{**MOCO, **settings}
    )


def the_same(
    count, factors=(1.0, 1.0, 1.0, 0.0), order=(0, 1, 2, 3), gray=False, sigma=0.0, flip=False
):
    """One setting for all images."""
    rows = lambda value, dtype: torch.tensor([value] * count, dtype=dtype)
    return AugmentParams(
        rows(order, torch.int32),
        rows(factors, torch.float32),
        rows(gray, torch.bool),
        rows(sigma, torch.float32),
        rows(flip, torch.bool),
    )


def torchvision(image, params, row):
    """One image (3, H, W), uint8 or float in 0..1, through torchvision's functions with the
    parameters of a row."""
    operations = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)
    for number in params.order[row].tolist():
        image = operations[number](image, params.factors[row, number].item())
    if params.gray[row]:
        image = TF.rgb_to_grayscale(image, 3)
    if params.sigma[row] > 0:
        sigma = params.sigma[row].item()
        image = TF.gaussian_blur(image, 2 * math.ceil(3 * sigma) + 1, sigma)
    return image.flip(2) if params.flip[row] else image


def run(images, params, **options):
    """The result on the CPU in float32, × 255."""
    return 255 * augment(images.to(DEVICE), params.to(DEVICE), **options).float().cpu()


def mean_differences(result, images, params):
    """(N,) mean |difference| to torchvision, of 255."""
    full = 1 if images.dtype == torch.uint8 else 255
    expected = (
        torch.stack([torchvision(image, params, row) for row, image in enumerate(images)]).float()
        * full
    )
    return (result - expected).abs().mean((1, 2, 3))


# the parameters, and the bound on the mean |difference| to torchvision on 8-bit images
OPERATIONS = {
    # torchvision cuts to whole numbers after each operation, and the gray within contrast and
    # saturation once more; we never do
    "brightness": ({"factors": (1.3, 1, 1, 0)}, 0.5),
    "less brightness": ({"factors": (0.7, 1, 1, 0)}, 0.5),
    "contrast": ({"factors": (1, 1.4, 1, 0)}, 0.5),
    "less contrast": ({"factors": (1, 0.6, 1, 0)}, 0.9),
    "saturation": ({"factors": (1, 1, 1.4, 0)}, 0.5),
    "less saturation": ({"factors": (1, 1, 0.6, 0)}, 0.7),
    "hue": ({"factors": (1, 1, 1, 0.1)}, 0.5),
    "hue to the other side": ({"factors": (1, 1, 1, -0.5)}, 0.01),
    "grayscale": ({"gray": True}, 0.55),
    "blur": ({"sigma": 1.7}, 0.3),
    "a blur of nothing": ({"sigma": 0.1}, 0.01),
    "flip": ({"flip": True}, 0.01),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_is_torchvisions(operation):
    settings, bound_of_8_bit = OPERATIONS[operation]
    images, params = photos(6, 40, 46), the_same(6, **settings)
    result = run(images, params)
    rounding = 0.001 if DEVICE == "cpu" else 0.03  # a GPU's blur multiplies in float16
    assert mean_differences(result, images.float() / 255, params).max() < rounding
    assert mean_differences(result, images, params).max() < max(bound_of_8_bit, rounding)
    assert (
        operation in ("hue to the other side", "a blur of nothing")
        or (result - images.float()).abs().mean() > 1
    )


def test_random_views_are_torchvisions_image_by_image():
    images, params = photos(100, 33, 41), draw(100)
    assert len(params.order.unique(dim=0)) > 20 and 20 < (params.sigma > 0).sum() < 80
    assert mean_differences(run(images, params), images.float() / 255, params).max() < (
        0.001 if DEVICE == "cpu" else 0.05
    )


@pytest.mark.parametrize("shape", [(5, 40, 70), (3, 64, 53), (2, 130, 9), (1, 7, 7)])
def test_the_kernels_equal_the_torch_twin(shape):
    """On one tile, several, ragged ones; the blur's products are in float16."""
    images, params = photos(*shape), draw(shape[0], seed=3)
    params.sigma[0] = 2.0
    difference = (
        run(images, params, backend="triton") - run(images, params, backend="torch")
    ).abs()
    assert difference.max() < 0.15 and difference.mean() < 0.02


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("backend", BACKENDS)
def test_dtypes_normalisation_and_memory(backend, dtype):
    images, params = photos(4, 30, 37), draw(4, seed=1)
    plain = run(images, params, backend=backend) / 255
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    mean_t, std_t = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))
    for source in (images, images.to(memory_format=torch.channels_last), images.float() / 255):
        out = augment(
            source.to(DEVICE), params.to(DEVICE), mean=mean, std=std, dtype=dtype, backend=backend
        )
        assert out.dtype == dtype and out.is_contiguous(memory_format=torch.channels_last)
        # The interpreter cuts bfloat16 where a GPU rounds: one unit in the last place instead of
        # half of one. A blurred value may round to the next float16 where the image came as
        # float32: 2^-11 over std.
        atol = 2**-11 / 0.2 if backend == "triton" or DEVICE == "cuda" else 1e-5
        torch.testing.assert_close(
            out.float().cpu(), (plain - mean_t) / std_t, rtol=torch.finfo(dtype).eps, atol=atol
        )


@pytest.mark.parametrize("backend", BACKENDS)
def test_half_precision_images_and_strides(backend):
    images, params = photos(3, 24, 60).half() / 255, draw(3, seed=2)
    wide = torch.full((3, 3, 24, 120), math.nan, dtype=torch.float16)
    wide[..., ::2] = images
    assert torch.equal(
        run(wide[..., ::2], params, backend=backend), run(images.float(), params, backend=backend)
    )


@pytest.mark.skipif(DEVICE != "cpu", reason="the loops for CPUs")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", [torch.uint8, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_on_a_cpu_numbas_loops_and_plain_torch_are_the_same(kind, dtype, threads):
    """The other tests hold the loops to torchvision; this one plain torch to the loops."""
    images, params = photos(7, 26, 33), draw(7, seed=4, jitter_p=0.9, hue=0.5)
    images = images if kind == torch.uint8 else (images.float() / 255).to(kind)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        given = images.contiguous(memory_format=memory_format)
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        loops = run(
            given, params, backend="numba", dtype=dtype, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4)
        )
        torch.set_num_threads(before)
        plain = run(
            given, params, backend="torch", dtype=dtype, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4)
        )
        torch.testing.assert_close(
            loops,
            plain,
            rtol=1e-3 if dtype == torch.float16 else 0,
            atol=2e-3 if dtype == torch.float32 else 1e-2,
        )


def test_the_block_size_does_not_matter(monkeypatch):
    images, params = photos(12, 20, 24), draw(12)
    whole = run(images, params, backend="torch")
    monkeypatch.setattr(fastneg.kernels.augment_torch, "CPU_BLOCK_PIXELS", 1)
    torch.testing.assert_close(run(images, params, backend="torch"), whole, rtol=0, atol=1e-3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_changes_the_image_passes(backend):
    images = photos(2, 20, 24)
    torch.testing.assert_close(
        run(images, the_same(2), max_sigma=0, backend=backend), images.float(), rtol=0, atol=1e-4
    )


def test_the_same_parameters_on_other_images():
    """Rows of a batch, on their own and repeated: an image's view depends on its own parameters
    only."""
    images, params = photos(6, 20, 24), draw(6)
    whole = run(images, params)
    torch.testing.assert_close(run(images[2:4], params.rows(slice(2, 4))), whole[2:4])
    twice = torch.arange(6).repeat_interleave(2)
    torch.testing.assert_close(run(images[twice], params.rows(twice)), whole[twice])


def test_the_parameters_follow_the_settings():
    count = 20000
    params = draw(count)
    torch.manual_seed(0)
    theirs = [
        ColorJitter.get_params((0.6, 1.4), (0.6, 1.4), (0.6, 1.4), (-0.1, 0.1)) for _ in range(2000)
    ]
    jittered = (params.factors != torch.tensor([1.0, 1.0, 1.0, 0.0])).any(1)
    shares = [jittered, params.gray, params.sigma > 0, params.flip]
    assert [
        abs(share.float().mean() - p) < 0.015
        for share, p in zip(shares, (0.8, 0.2, 0.5, 0.5), strict=True)
    ] == [True] * 4
    at = torch.linspace(0.05, 0.95, 10)
    for column in range(4):
        expected = torch.tensor([factors[1 + column] for factors in theirs]).quantile(at)
        torch.testing.assert_close(
            params.factors[jittered, column].quantile(at), expected, rtol=0, atol=0.03
        )
    permutations, counts = params.order.unique(dim=0, return_counts=True)
    assert (
        len(permutations) == 24
        and counts.min() > 0.8 * count / 24
        and counts.max() < 1.2 * count / 24
    )
    blurred = params.sigma[params.sigma > 0]
    torch.testing.assert_close(blurred.quantile(at), 0.1 + 1.9 * at, rtol=0, atol=0.05)


def test_one_generator_one_draw():
    assert all(torch.equal(one, two) for one, two in zip(draw(9), draw(9), strict=True))
    assert not torch.equal(draw(9).factors, draw(9, seed=1).factors)
    other = draw(9, hue=0.0, blur_p=1.0)
    # one setting changes alone
    assert torch.equal(other.flip, draw(9).flip) and torch.equal(other.order, draw(9).order)


def test_compiles_without_a_graph_break():
    images, params = photos(3, 20, 24), draw(3)
    compiled = torch.compile(
        lambda images, params: augment(images, params) + 1, fullgraph=True, backend="aot_eager"
    )
    torch.testing.assert_close(compiled(images, params), augment(images, params) + 1)


def test_the_operator_is_registered_well():
    args = (photos(3, 20, 24), *draw(3), [0.5] * 3, [0.5] * 3, torch.float16, 2.0, "torch")
    torch.library.opcheck(torch.ops.fastneg.augment, args)


def test_an_empty_batch():
    assert augment(torch.empty(0, 3, 20, 20, dtype=torch.uint8), draw(0)).shape == (0, 3, 20, 20)


def mistakes():
    images, params = photos(3, 20, 24), draw(3)
    yield (images[:, :2], params), {}, "images are .3, 2, 20, 24.: .N, 3, H, W."
    yield (images.int(), params), {}, "images have dtype torch.int32"
    yield (images, params), {"dtype": torch.uint8}, "dtype is torch.uint8"
    yield (
        (images, params.rows(slice(2))),
        {},
        "params.order is .2, 4. torch.int32 on cpu: .3, 4. torch.int32 on cpu",
    )
    yield (
        (images, params._replace(gray=params.gray.float())),
        {},
        "params.gray is .3,. torch.float32",
    )
    yield (
        (images, params._replace(flip=params.flip.to("meta"))),
        {},
        "params.flip is .3,. torch.bool on meta",
    )
    yield (images, params), {"std": (1.0, 0.0, 1.0)}, "std is .1.0, 0.0, 1.0."
    yield (images, params), {"max_sigma": 9.0}, "max_sigma is 9.0: a number from 0.0 to 5.0"
    yield (images[..., :6], params), {}, "reads 6 pixels beyond each edge"
    yield (images, params), {"max_sigma": 0.05}, "params.sigma holds .* raise max_sigma"
    yield (
        (images, params._replace(order=params.order.clamp_max(2))),
        {},
        "params.order holds a row that is no permutation",
    )
    yield (images, params._replace(factors=-params.factors)), {}, "params.factors holds a negative"
    yield (images, params), {"backend": "dali"}, "backend is 'dali'"
    yield (images.numpy(), params), {}, "images is a ndarray"
    yield (images, None), {}, "params is a NoneType: an AugmentParams"
    yield (images, params[:4]), {}, "params is a tuple: an AugmentParams"
    yield (images, params._replace(gray=[True] * 3)), {}, "params.gray is a list"
    yield (images, params), {"mean": 0.5}, "mean is 0.5: 3 numbers"
    yield (images, params), {"mean": (math.nan, 0.0, 0.0)}, "three finite numbers"
    yield (images, params), {"max_sigma": None}, "max_sigma is None"


@pytest.mark.parametrize(("args", "options", "message"), list(mistakes()))
def test_a_callers_mistake_is_named(args, options, message):
    with pytest.raises(ValueError, match=message):
        augment(*args, **options)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hue": 0.6}, "hue is 0.6: a number from 0.0 to 0.5"),
        ({"brightness": -1.0}, "brightness is -1.0"),
        ({"contrast": math.nan}, "contrast is nan"),
        ({"blur_p": 1.1}, "blur_p is 1.1"),
        ({"blur_sigma": (2.0, 1.0)}, "blur_sigma is .2.0, 1.0."),
        ({"blur_sigma": 1.0}, "blur_sigma is 1.0: 2 numbers"),
        ({"saturation": "a"}, "saturation is 'a'"),
    ],
)
def test_a_wrong_setting_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        draw_augment_params(4, **settings)


@pytest.mark.parametrize("count", [-1, 2.0, None])
def test_a_wrong_count_is_named(count):
    with pytest.raises(ValueError, match=f"count is {count}: a whole number of at least 0"):
        draw_augment_params(count)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_large_batch_on_the_gpu(dtype):
    images, params = photos(64, 224, 224).to(memory_format=torch.channels_last), draw(64)
    twin = augment(images, params)
    out = augment(images.to(DEVICE), params.to(DEVICE), dtype=dtype)
    assert (out.float().cpu() - twin).abs().max() < 0.15 / 255 + torch.finfo(dtype).eps


@pytest.mark.gpu
def test_in_a_cuda_graph_and_without_waiting_for_the_device():
    images = photos(8, 96, 96).to(DEVICE)
    generator = torch.Generator(DEVICE).manual_seed(0)
    draw_on_device = lambda: draw_augment_params(8, device=DEVICE, generator=generator, **MOCO)
    eager = augment(images, params := draw_on_device(), dtype=torch.float16)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = augment(images, params, dtype=torch.float16)
    graph.replay()
    assert torch.equal(captured, eager)
    torch.cuda.set_sync_debug_mode("error")
    try:
        augment(images, draw_on_device(), dtype=torch.float16)
    finally:
        torch.cuda.set_sync_debug_mode("default")
