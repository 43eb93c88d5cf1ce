"""Textures on the way from the loader to a step: each is treated as its query view was, whichever
way it comes.

Serves fastneg.data.load.train_loader, fastneg.data.load.batch and fastneg.negatives together.
"""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from fastneg.data import BetonError, BetonReader, BetonWriter
from fastneg.data.load.augmentation import IMAGENET_STD, draw_patches
from fastneg.data.load.train_loader import TrainLoader
from fastneg.negatives.batch import make_negatives
from fastneg.negatives.texture_torch import texture_views
from fastneg.recipes.presets import tiny_cpu
from helpers.images import jpeg, photo


def written(path, images, textures=None):
    with BetonWriter(path, paired_fields=() if textures is None else ("texture",)) as writer:
        for i, pixels in enumerate(images):
            pair = {} if textures is None else {"paired": {"texture": textures[i]}}
            writer.add(jpeg(pixels), *pixels.shape[:2], label=0, **pair)
    return path


def first(path, **changes):
    options = {
        "batch_size": 8,
        "image_size": 32,
        "augmentation": "moco_v2",
        "seed": 3,
        "threads": 1,
    }
    with BetonReader(path) as reader:
        loader = TrainLoader(reader, **{**options, **changes})
        try:
            return next(iter(loader.epoch(1))), [decoded(reader, i) for i in range(len(reader))]
        finally:
            loader.close()


def decoded(reader, index):
    return np.array(Image.open(io.BytesIO(reader.encoded(index).tobytes())).convert("RGB"))


def photos(*sizes):
    rng = np.random.default_rng(0)
    return [photo(rng, *size) for size in sizes]


@pytest.mark.parametrize("augment", ["dali", "kernel"])
def test_a_paired_texture_gets_the_very_numbers_of_the_query(tmp_path, augment):
    """With the image itself as its texture, both views are one."""
    images = photos(*[(50 + i, 70 - i) for i in range(8)])
    path = written(
        tmp_path / "x.beton", images, [(jpeg(image), *image.shape[:2]) for image in images]
    )
    batch, _ = first(path, texture="file", augment_with=augment)
    assert torch.equal(batch.texture, batch.query) and not torch.equal(batch.texture, batch.key)
    plain, _ = first(path, augment_with=augment)
    assert (
        torch.equal(plain.query, batch.query)
        and plain.texture is None
        and plain.texture_sources is None
    )


def test_a_paired_texture_of_another_size_is_cropped_in_shares_of_it(tmp_path):
    images = photos(*[(48, 64)] * 8)
    doubled = [
        np.asarray(Image.fromarray(image).resize((128, 96), Image.Resampling.NEAREST))
        for image in images
    ]
    textures = [(jpeg(image, 100), *image.shape[:2]) for image in doubled]
    batch, _ = first(
        written(tmp_path / "x.beton", images, textures), texture="file", augmentation="crop_flip"
    )
    error = (batch.texture - batch.query).abs().mean((1, 2, 3)) * min(IMAGENET_STD)
    shuffled = (batch.texture - batch.query.roll(1, 0)).abs().mean((1, 2, 3)) * min(IMAGENET_STD)
    assert error.max() < 0.05 < shuffled.min()


@pytest.mark.parametrize("augment", ["dali", "kernel"])
def test_source_patches_are_exact_pixels_of_the_image(tmp_path, augment):
    path = written(tmp_path / "x.beton", photos(*[(50 + i, 70 - i) for i in range(8)]))
    batch, images = first(path, texture="image", texture_patch=20, augment_with=augment)
    patches = batch.texture_sources.patches
    assert patches.shape == (8, 2, 3, 20, 20) and patches.dtype == torch.uint8
    for row, index in enumerate(batch.index.tolist()):
        image = torch.from_numpy(images[index]).permute(2, 0, 1)
        top, left = (image.shape[1] - 20) // 2, (image.shape[2] - 20) // 2
        assert torch.equal(patches[row, 0], image[:, top : top + 20, left : left + 20])
        windows = image.unfold(1, 20, 1).unfold(2, 20, 1)
        assert (windows == patches[row, 1][:, None, None]).all(-1).all(-1).all(0).any()
    plain, _ = first(path, augment_with=augment)
    assert torch.equal(plain.query, batch.query) and torch.equal(plain.key, batch.key)


def test_the_random_patch_reaches_every_place_and_small_images_give_what_they_have():
    sizes = np.array([[5, 4]] * 2000 + [[2, 9]])
    drawn = draw_patches(sizes, 3, np.random.default_rng(0))
    places = {tuple(place) for place in drawn["roi_start_patch1"][:2000].astype(int).tolist()}
    assert places == {(y, x) for y in range(3) for x in range(2)}
    for number in range(2):
        side = drawn[f"roi_end_patch{number}"] - drawn[f"roi_start_patch{number}"]
        assert (side[:2000] == 3).all() and (side[2000] == 2).all()
        assert (
            drawn[f"roi_start_patch{number}"][2000, 0] == 0
            and drawn[f"roi_end_patch{number}"][2000, 1] <= 9
        )


def test_an_image_smaller_than_a_patch_is_enlarged(tmp_path):
    images = [*photos(*[(60, 60)] * 6), np.full((1, 1, 3), 77, np.uint8), photos((8, 60))[0]]
    batch, images = first(written(tmp_path / "x.beton", images), texture="image", texture_patch=24)
    patches = batch.texture_sources.patches[batch.index.argsort()]
    assert (patches[6] == patches[6, 0, :, :1, :1]).all()
    strip = torch.from_numpy(images[7]).permute(2, 0, 1)[None, :, :, 26:34].float()
    expected = torch.nn.functional.interpolate(strip, (24, 24), mode="bilinear")[0]
    # at the window's sides the resize sees the pixels beyond it
    inner = (slice(None), slice(None), slice(2, -2))
    assert (patches[7, 0].float() - expected)[inner].abs().max() <= 1


def test_a_texture_of_the_image_itself_would_be_the_query_view(tmp_path):
    """Images as large as the views, taken for their own textures: crop, colours, blur, flip and
    normalisation are those of the query."""
    path = written(tmp_path / "x.beton", photos(*[(32, 32)] * 8))
    batch, images = first(path, texture="image", texture_patch=20, augment_with="kernel")
    textures = torch.from_numpy(np.stack([images[i] for i in batch.index.tolist()])).permute(
        0, 3, 1, 2
    )[:, None]
    views = texture_views(textures.expand(-1, 2, -1, -1, -1), batch.texture_sources, torch.float32)
    assert views.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    for copy in range(2):  # the query was rounded to 8 bits after the crop, this was not
        assert ((views[:, copy] - batch.query).abs() * 255 * min(IMAGENET_STD)).max() < 2.5


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize(("augment", "tolerance"), [("kernel", 1.5), ("dali", 40)])
def test_the_texture_of_a_flat_image_is_its_query_view(tmp_path, augment, tolerance, device):
    """From the file to the negatives of a step.

    DALI's contrast and hue differ from the kernel's, which textures get in either case.
    """
    colours = np.random.default_rng(0).integers(40, 215, (8, 3), dtype=np.uint8)
    path = written(
        tmp_path / "x.beton", [np.broadcast_to(colour, (40, 50, 3)).copy() for colour in colours]
    )
    batch, _ = first(path, texture="image", texture_patch=14, augment_with=augment, device=device)
    config = tiny_cpu().replace(negatives="texture", negatives_per_query=2)
    made = make_negatives(batch, config, torch.Generator(device).manual_seed(0))
    assert made.shape == (8, 2, 3, 32, 32) and made.dtype == batch.query.dtype
    difference = (made - batch.query[:, None]).abs().mean((1, 2, 3, 4)) * 255 * min(IMAGENET_STD)
    assert difference.max() < tolerance


def test_a_file_without_textures_is_refused(tmp_path):
    with pytest.raises(BetonError, match="holds no textures"):
        first(written(tmp_path / "x.beton", photos(*[(40, 40)] * 8)), texture="file")
    with pytest.raises(ValueError, match="texture is 'synth'"):
        first(tmp_path / "x.beton", texture="synth")


@pytest.mark.parametrize("check_crc", [False, True])
def test_a_damaged_texture_is_a_bad_sample(tmp_path, check_crc):
    images = photos(*[(40, 40)] * 8)
    path = written(tmp_path / "x.beton", images, [(jpeg(image, 80), 40, 40) for image in images])
    with BetonReader(path) as reader:
        place = path.read_bytes().index(reader.jpeg(5, "texture").tobytes())
    data = bytearray(path.read_bytes())
    data[place : place + 40] = bytes(40)
    path.write_bytes(data)
    with pytest.raises(BetonError, match="checksum" if check_crc else "its texture"):
        first(path, texture="file", check_crc=check_crc)
    batch, _ = first(path, texture="file", check_crc=check_crc, max_bad_share=0.2)
    assert 5 not in batch.index
