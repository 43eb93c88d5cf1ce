"""Checks the options of `TrainLoader`."""

from __future__ import annotations

from fastneg.config.augmentation import Augmentation, augmentation_of


def check_options(augment_with, texture, last, rank, world_size):
    """ValueError for arguments that cannot be."""
    if rank is None or world_size is None:
        raise ValueError(f"rank is {rank}, world_size {world_size}: both or none were expected.")
    if augment_with not in ("auto", "dali", "kernel"):
        raise ValueError(
            f"augment_with is {augment_with!r}: 'auto', 'dali' or 'kernel' was expected."
        )
    if texture not in (None, "file", "image"):
        raise ValueError(f"texture is {texture!r}: None, 'file' or 'image' was expected.")
    if last not in ("drop", "short") or (last == "short" and world_size > 1):
        raise ValueError(
            f"last is {last!r}, world_size {world_size}: 'drop' was expected, or 'short' in "
            "one process."
        )


def recipes_of(augmentation, views):
    """One `Augmentation` for each view."""
    if views < 2:
        raise ValueError(f"views is {views}: at least 2 were expected, a query and a key.")
    each = augmentation if isinstance(augmentation, (list, tuple)) else [augmentation] * views
    if len(each) != views:
        raise ValueError(
            f"augmentation has {len(each)} recipes: one for each of {views} views was expected."
        )
    return [one if isinstance(one, Augmentation) else augmentation_of(one) for one in each]


def check_cache(augment_with, cache=None, interpolation="bilinear", hw_decoder_load=None, **_):
    """ValueError where views cannot be cut from images that lie on the device."""
    if cache not in (None, "device"):
        raise ValueError(f"cache is {cache!r}: None or 'device' was expected.")
    if cache is None:
        return
    if (augment_with, interpolation, hw_decoder_load) != ("kernel", "bilinear", None):
        raise ValueError(
            f"cache is 'device', augment_with {augment_with!r}, interpolation {interpolation!r}, "
            f"hw_decoder_load {hw_decoder_load}: DALI cannot make views of cached images; "
            "'kernel', 'bilinear' and None were expected."
        )
