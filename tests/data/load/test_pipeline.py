"""The pipeline against torchvision given the same numbers; its batches come in the order in which
they were given; what a decoder is told beforehand."""

import math

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as TF
from nvidia.dali import fn, pipeline_def, types
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, Resize

from fastneg.config.augmentation import Augmentation, augmentation_of
from fastneg.data import BetonReader, BetonWriter
from fastneg.data.load.augmentation import (
    batch_generator,
    draw_jitter_order,
    draw_view,
)
from fastneg.data.load.labelled_loaders import EvalLoader
from fastneg.data.load.pipeline import PREALLOCATED, FedPipeline, decoder_hint, decoder_options
from helpers.images import jpeg
from helpers.loading import picture, pixels, train_loader


def test_views_are_torchvisions_with_the_same_numbers(reader):
    """Crop, resize, flip exactly as torchvision; brightness, saturation and blur within a rounding;
    gray within one."""
    loader = train_loader(reader, augmentation="crop_flip", image_size=48)
    batch = next(iter(loader.epoch(2)))
    generator = batch_generator(3, 2, 0)
    for images in (batch.query, batch.key):
        view = draw_view(
            augmentation_of("crop_flip"), reader.sizes[batch.index.numpy()], (0.2, 1.0), generator
        )
        for row, index in enumerate(batch.index.tolist()):
            top, left = view["roi_start"][row].astype(int)
            height, width = (view["roi_end"][row] - view["roi_start"][row]).astype(int)
            crop = (
                picture(reader, index)
                .crop((left, top, left + width, top + height))
                .resize((48, 48), Image.Resampling.BILINEAR)
            )
            expected = torch.from_numpy(np.array(crop)).permute(2, 0, 1)
            expected = expected.flip(2) if view["mirror"][row] else expected
            assert (pixels(images[row]) - expected).abs().mean() < 1.0
    loader.close()


@pytest.mark.parametrize(
    ("changes", "reference", "bound"),
    [
        ({"brightness": 1.3}, lambda image: TF.adjust_brightness(image, 1.3), 0.6),
        ({"brightness": 0.7}, lambda image: TF.adjust_brightness(image, 0.7), 0.6),
        ({"saturation": 0.6}, lambda image: TF.adjust_saturation(image, 0.6), 0.7),
        ({"saturation": 0.0}, lambda image: TF.rgb_to_grayscale(image, 3), 0.7),
        ({"sigma": 1.7}, lambda image: TF.gaussian_blur(image, 13, 1.7), 0.6),
    ],
)
def test_colour_changes_against_torchvision(reader, changes, reference, bound, monkeypatch):
    """Contrast and hue differ by design (see Augmentation); the others are torchvision's."""

    def drawn(recipe, sizes, crop_area, generator):
        count = len(sizes)
        view = {
            name: np.ones(count, np.float32)
            for name in ("brightness", "contrast", "saturation", "sigma")
        }
        view.update(
            hue=np.zeros(count, np.float32),
            mirror=np.zeros(count, np.int32),
            roi_start=np.zeros((count, 2), np.float32),
        )
        view.update(
            roi_end=sizes.astype(np.float32),
            gray=np.full(count, False),
            blur=np.full(count, "sigma" in changes),
        )
        view.update({name: np.full(count, value, np.float32) for name, value in changes.items()})
        return view

    monkeypatch.setattr("fastneg.data.load.train_loader.draw_view", drawn)
    loader = train_loader(reader, image_size=64)
    batch = next(iter(loader.epoch(0)))
    for row, index in enumerate(batch.index.tolist()):
        plain = torch.from_numpy(
            np.array(picture(reader, index).resize((64, 64), Image.Resampling.BILINEAR))
        ).permute(2, 0, 1)
        assert (pixels(batch.query[row]) - reference(plain).float()).abs().mean() < bound
    loader.close()


def test_the_kernel_augments_in_torchvisions_semantics(reader):
    """The whole view, contrast and hue included, from the decoded image on; the bound is that of
    decoding and resizing."""
    loader = train_loader(reader, augment_with="kernel", image_size=48)
    batch = next(iter(loader.epoch(1)))
    generator = batch_generator(3, 1, 0)
    sizes = reader.sizes[batch.index.numpy()]
    views = [draw_view(augmentation_of("moco_v2"), sizes, (0.2, 1.0), generator) for _ in range(2)]
    (orders,) = generator.spawn(1)
    operations = {
        "brightness": TF.adjust_brightness,
        "contrast": TF.adjust_contrast,
        "saturation": TF.adjust_saturation,
    }
    for images, view in zip((batch.query, batch.key), views, strict=True):
        assert images.dtype == torch.float32 and images.is_contiguous(
            memory_format=torch.channels_last
        )
        order = draw_jitter_order(len(sizes), orders)
        for row, index in enumerate(batch.index.tolist()):
            (top, left), (bottom, right) = (
                view["roi_start"][row].tolist(),
                view["roi_end"][row].tolist(),
            )
            crop = (
                picture(reader, index)
                .crop((left, top, right, bottom))
                .resize((48, 48), Image.Resampling.BILINEAR)
            )
            image = torch.from_numpy(np.array(crop)).permute(2, 0, 1).float() / 255
            for number in order[row]:
                name = ("brightness", "contrast", "saturation", "hue")[number]
                image = (
                    TF.adjust_hue(image, view["hue"][row] / 360)
                    if name == "hue"
                    else operations[name](image, view[name][row])
                )
            image = TF.rgb_to_grayscale(image, 3) if view["gray"][row] else image
            if view["blur"][row]:
                image = TF.gaussian_blur(
                    image, 2 * math.ceil(3 * view["sigma"][row]) + 1, view["sigma"][row].item()
                )
            image = image.flip(2) if view["mirror"][row] else image
            assert (pixels(images[row]) - 255 * image).abs().mean() < 1.0
    loader.close()


def test_dali_and_kernel_take_the_same_crops_and_numbers(reader):
    """A recipe without contrast and hue comes out alike, but for rounding to 8 bits between DALI's
    operators."""
    recipe = Augmentation(brightness=0.4, jitter_p=0.8, gray_p=0.2, blur_p=0.5)
    batches = [
        next(iter(train_loader(reader, augment_with=augment, augmentation=recipe).epoch(0)))
        for augment in ("dali", "kernel")
    ]
    for one, other in zip(batches[0][:2], batches[1][:2], strict=True):
        assert (pixels(one) - pixels(other)).abs().mean() < 1.0 and (
            pixels(one) - pixels(one.flip(3))
        ).abs().mean() > 5
    with pytest.raises(ValueError, match="augment_with is 'torch'"):
        train_loader(reader, augment_with="torch")


def test_evaluation_is_resize_and_center_crop(tmp_path):
    path, rng = tmp_path / "smooth.beton", np.random.default_rng(0)
    # without fine grain: a crop that falls between pixels would blur it
    with BetonWriter(path) as writer:
        for height, width in ((60, 90), (100, 64), (64, 64)):
            small = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
            image = np.array(
                Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
            )
            writer.add(jpeg(image), height, width, label=0)
    with BetonReader(path) as opened:
        loader = EvalLoader(opened, 2, 56, threads=1)
        images = torch.cat([batch.images for batch in loader])
        for index in range(3):
            expected = Compose([Resize(64), CenterCrop(56)])(picture(opened, index))
            assert (
                pixels(images[index]) - torch.from_numpy(np.array(expected)).permute(2, 0, 1)
            ).abs().mean() < 2.0
        loader.close()


@pipeline_def(exec_dynamic=True, batch_size=2, num_threads=1, device_id=None)
def _sums():
    first, second = (
        fn.external_source(name=name, dtype=types.FLOAT, ndim=0, batch=True) for name in "ab"
    )
    return first + second


def fed(depth):
    pipe = _sums(prefetch_queue_depth=depth)
    pipe.build()
    return FedPipeline(pipe, depth)


def batch(number):
    return {"a": np.full(2, number, np.float32), "b": np.array([0, 0.5], np.float32)}


def taken(pipe):
    (sums,) = pipe.outputs()
    return float(sums.as_array()[0])


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("ahead", [1, 2, 3, 5])
def test_each_batch_comes_once_in_its_order(depth, ahead):
    """Also where the first is taken before DALI's queue is full, and in a second round."""
    pipe, found, given = fed(depth), [], 0
    for _ in range(2):
        pending = 0
        for _ in range(7):
            pipe.run(batch(given))
            given, pending = given + 1, pending + 1
            if pending == ahead:
                found.append(taken(pipe))
                pending -= 1
        found += [taken(pipe) for _ in range(pending)]
    assert found == list(range(given))


def test_the_hint_is_of_nearly_all_images_and_of_none_where_they_are_huge():
    sizes = np.full((1000, 2), (300, 400))
    sizes[:5] = 6000, 9000
    assert decoder_hint(sizes, 256) == (300, 400)
    sizes[:20] = 6000, 9000
    assert decoder_hint(sizes, 256) is None and PREALLOCATED < 3 * 6000 * 9000 * 256
    assert decoder_hint(sizes, 1) == (6000, 9000)
    found = decoder_hint(np.array([(50, 40)]), 256)
    assert found == (50, 40)


def test_each_decoder_has_the_options_of_its_images():
    sides = {"preallocate_height_hint": 30, "preallocate_width_hint": 40}
    assert decoder_options(None, [(30, 40), None]) == [sides, {}]
    load = {"hw_decoder_load": 0.0}
    assert decoder_options(0.0, [None, (30, 40)]) == [load, load | sides]
