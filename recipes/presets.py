"""Named settings: each preset is a function that returns a complete config.

The ImageNet-100 presets are the settings of Ge et al. 2021 (arXiv:2110.14189): ResNet-50, 200 epochs, one negative per query. "ifm" stands
for the settings that the paper takes over from Robinson et al. 2021 (arXiv:2106.11230).
"""

from __future__ import annotations

from fastneg.config import PretrainConfig


def moco_in100():
    """Plain MoCo v2 on ImageNet-100, queue 16384: the baseline."""
    return PretrainConfig(negatives="none")


def moco_patch_in100():
    """MoCo v2 with one patch negative per query, alpha 2, queue 16384."""
    return PretrainConfig()


def moco_patch_alpha3_in100():
    """The same with alpha 3: better out of domain, worse in domain."""
    return moco_patch_in100().replace(alpha=3.0)


def moco_8k_in100():
    """Plain MoCo v2 with a queue of 8192."""
    return moco_in100().replace(queue_size=8192)


def moco_patch_8k_in100():
    """MoCo v2 with patch negatives and a queue of 8192."""
    return moco_patch_in100().replace(queue_size=8192)


def moco_ifm_in100():
    """Plain MoCo v2 in the IFM settings: learning rate 0.8, batch 512, queue 65536, key momentum 0.99."""
    return PretrainConfig(negatives="none", lr=0.8, batch_size=512, queue_size=65536, key_momentum=0.99, bn_splits=8)


def moco_patch_ifm_in100():
    """MoCo v2 with patch negatives in the IFM settings, queue 16384: the paper's best in-domain row."""
    return moco_ifm_in100().replace(negatives="patch", queue_size=16384)


def moco_patch_ifm_64k_in100():
    """The same with a queue of 65536."""
    return moco_patch_ifm_in100().replace(queue_size=65536)


def tiny_cpu():
    """A 0.3 M-parameter network on views of 32 px: minutes on two CPU cores. The demo's settings."""
    return PretrainConfig(
        backbone="resnet_tiny",
        image_size=32,
        eval_resize=32,
        augmentation="colour_invariant",
        crop_min=0.4,
        temperature=0.1,
        queue_size=1024,
        key_momentum=0.99,
        alpha=1.0,
        patch_min=4,
        patch_max=12,
        epochs=18,
        batch_size=100,
        lr=0.12,
        lr_schedule="cosine_step",
        probe="features",
    )


def tiny_cpu_moco():
    """The same without non-semantic negatives: the baseline of `tiny_cpu`."""
    return tiny_cpu().replace(negatives="none")


PRESETS = {
    preset.__name__: preset
    for preset in (
        moco_in100,
        moco_patch_in100,
        moco_patch_alpha3_in100,
        moco_8k_in100,
        moco_patch_8k_in100,
        moco_ifm_in100,
        moco_patch_ifm_in100,
        moco_patch_ifm_64k_in100,
        tiny_cpu,
        tiny_cpu_moco,
    )
}
