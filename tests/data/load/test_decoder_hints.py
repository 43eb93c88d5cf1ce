"""Sizes that a GPU's JPEG engines are told; that DALI gets them: test_gpu_pipeline.py."""

import numpy as np

from fastneg.data.load.decoder_hints import PREALLOCATED, decoder_hint, decoder_options


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
