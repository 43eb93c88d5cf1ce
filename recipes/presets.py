"""Named settings: each preset is a function that returns a complete config.

The ImageNet-100 presets of MoCo are the settings of Ge et al. 2021 (arXiv:2110.14189): ResNet-50,
200 epochs, one negative per query. "ifm" stands for the settings that the paper takes over from
Robinson et al. 2021 (arXiv:2106.11230). Every preset with negatives has its baseline without them.
A preset says where its numbers come from; none of those for ImageNet has been trained to the end
here.
"""

from __future__ import annotations

from fastneg.config import PretrainConfig
from fastneg.recipes.presets_tiny import (
    tiny_byol,
    tiny_byol_patch,
    tiny_cpu,
    tiny_cpu_byol,
    tiny_cpu_moco,
    tiny_cpu_moco_v3,
    tiny_cpu_simclr,
    tiny_cpu_supcon,
    tiny_moco,
    tiny_moco_patch,
    tiny_simclr,
    tiny_simclr_patch,
)


def moco_in100():
    """Plain MoCo v2 on ImageNet-100, queue 16384: the baseline."""
    return PretrainConfig(negatives="none")


def moco_patch_in100():
    """MoCo v2 with one patch negative per query, alpha 2, queue 16384."""
    return PretrainConfig()


def moco_patch_alpha3_in100():
    """The same with alpha 3: better out of domain, worse in domain."""
    return moco_patch_in100().replace(alpha=3.0)


def moco_texture_in100():
    """MoCo v2 with one texture negative per query, alpha 2, queue 16384; textures are made while
    training, not beforehand as published."""
    return moco_patch_in100().replace(negatives="texture")


def moco_8k_in100():
    """Plain MoCo v2 with a queue of 8192."""
    return moco_in100().replace(queue_size=8192)


def moco_patch_8k_in100():
    """MoCo v2 with patch negatives and a queue of 8192."""
    return moco_patch_in100().replace(queue_size=8192)


def moco_ifm_in100():
    """Plain MoCo v2 in the IFM settings: learning rate 0.8, batch 512, queue 65536, key momentum
    0.99."""
    return PretrainConfig(
        negatives="none", lr=0.8, batch_size=512, queue_size=65536, key_momentum=0.99, bn_splits=8
    )


def moco_patch_ifm_in100():
    """MoCo v2 with patch negatives in the IFM settings, queue 16384: the paper's best in-domain
    row."""
    return moco_ifm_in100().replace(negatives="patch", queue_size=16384)


def moco_patch_ifm_64k_in100():
    """The same with a queue of 65536."""
    return moco_patch_ifm_in100().replace(queue_size=65536)


def moco_in1k():
    """MoCo v2 on ImageNet-1k, its published settings: 200 epochs, lr 0.03, batch 256, queue 65536.

    Source: Chen et al. 2020, arXiv:2003.04297.
    """
    return PretrainConfig(negatives="none", batch_size=256, queue_size=65536, bn_splits=8)


def moco_patch_in1k():
    """The same with one patch negative per query, alpha 2 as on ImageNet-100: the combination is
    ours, nobody has run it here."""
    return moco_in1k().replace(negatives="patch")


def _large_batch(**settings):
    """What SimCLR and BYOL publish alike for batches of 4096."""
    return PretrainConfig(
        negatives="none",
        crop_min=0.08,
        batch_size=4096,
        optimizer="lars",
        lr=4.8,
        lr_schedule="cosine_step",
        warmup_epochs=10,
        weight_decay=1e-6,
        **settings,
    )


def simclr_in1k():
    """SimCLR on ImageNet-1k: batch 4096, LARS, lr 4.8 (0.3 for each 256), weight decay 1e-6, 10
    epochs of warm-up, 100 epochs, T 0.1.

    Source of these and of the views: Chen et al. 2020, arXiv:2002.05709, sections 2.2 and 4,
    appendix A; its temperature is the best of its table 5. The head has no normalisation.
    """
    return _large_batch(method="simclr", epochs=100, views="simclr")


def simclr_patch_in1k():
    """The same with one patch negative per image, alpha 2: the combination and its alpha are ours,
    nobody has run it here."""
    return simclr_in1k().replace(negatives="patch")


def simclr_in100():
    """SimCLR on ImageNet-100: the ImageNet-1k settings with 200 epochs, batch 512 and lr 0.6 by the
    same rule. Ours, not run here."""
    return simclr_in1k().replace(epochs=200, batch_size=512, lr=0.6)


def simclr_patch_in100():
    """The same with one patch negative per image, alpha 2. Ours, not run here."""
    return simclr_in100().replace(negatives="patch")


def byol_in1k():
    """BYOL on ImageNet-1k in 300 epochs: batch 4096, LARS, lr 4.8 (0.3 for each 256), weight decay
    1e-6, target momentum from 0.99.

    Source of these: Grill et al. 2020, arXiv:2006.07733, appendix on shorter schedules; 10 epochs
    of warm-up, projections of 256 and hidden layers of 4096 as in its section 3.2. The views are
    MoCo v2's with crops from 8% of the image, without BYOL's solarisation.
    """
    return _large_batch(method="byol", epochs=300, key_momentum=0.99)


def byol_patch_in1k():
    """The same with one patch negative per image, alpha 0.5: our guess (above 1 the penalty
    outweighs the prediction), not run here."""
    return byol_in1k().replace(negatives="patch", alpha=0.5)


def byol_in100():
    """BYOL on ImageNet-100: the ImageNet-1k settings with 200 epochs, batch 512 and lr 0.6 by the
    same rule. Ours, not run here."""
    return byol_in1k().replace(epochs=200, batch_size=512, lr=0.6)


def byol_patch_in100():
    """The same with one patch negative per image, alpha 0.5. Ours, not run here."""
    return byol_in100().replace(negatives="patch", alpha=0.5)


def moco_v3_vit_in1k():
    """MoCo v3 of a ViT-S/16 (timm) on ImageNet-1k: batch 4096, AdamW, lr 2.4e-3 (1.5e-4 for each
    256), weight decay 0.1, 40 epochs of warm-up, 300 epochs, T 0.2, key momentum from 0.99.

    Source of these: Chen et al. 2021, arXiv:2104.02057, section 4.3. The views are MoCo v2's with
    crops from 8% of the image, alike for both, without solarisation; the position embedding is
    timm's, which is learned.
    """
    return PretrainConfig(
        method="moco_v3",
        backbone="timm:vit_small_patch16_224",
        negatives="none",
        crop_min=0.08,
        epochs=300,
        batch_size=4096,
        optimizer="adamw",
        lr=2.4e-3,
        lr_schedule="cosine_step",
        warmup_epochs=40,
        weight_decay=0.1,
    )


def moco_v3_patch_vit_in1k():
    """The same with one patch negative per image, alpha 2. Ours, not run here."""
    return moco_v3_vit_in1k().replace(negatives="patch")


def _small_images(side, **settings):
    return PretrainConfig(
        backbone="resnet18",
        stem="small",
        image_size=side,
        eval_resize=side,
        negatives="none",
        feature_dim=256,
        temperature=0.2,
        queue_size=32768,
        key_momentum=0.99,
        bn="none",
        batch_size=256,
        lr=0.3,
        lr_schedule="cosine_step",
        warmup_epochs=10,
        **settings,
    )


def cifar_resnet18():
    """MoCo v2 of a ResNet-18 with the small stem on CIFAR-10, 32 px: 11 M parameters.

    Source: solo-learn's mocov2plus on CIFAR-10 (scripts/pretrain/cifar/mocov2plus.yaml): batch 256,
    SGD, lr 0.3, weight decay 1e-4, 10 epochs of warm-up, 1,000 epochs, crops from 8% of the image,
    T 0.2, queue 32768, key momentum 0.99; da Costa et al. 2022 publish 92.94% for the linear probe.
    There the loss is symmetric, the hidden layer of the head has 2048 units and the momentum rises
    to 0.999. Not trained to the end here.
    """
    return _small_images(32, crop_min=0.08, epochs=1000)


def cifar_patch_resnet18():
    """The same with one patch negative per query, alpha 2, patches of 2 to 10 px. Ours."""
    return cifar_resnet18().replace(negatives="patch")


def cifar_cpu():
    """SimCLR of a ResNet-18 with a quarter of the channels (0.7 M parameters) on some 10,000 images
    of CIFAR-10, in minutes on two CPU cores. Ours.

    The views are SimCLR's for CIFAR-10 (Chen et al. 2020, arXiv:2002.05709, appendix B.9), made of
    images that stay in memory. What makes it fast: AdamW in the place of SGD, and views of 16 px,
    at last of 24 px; evaluation has 32 px. Longer runs: --image_size_schedule with --epochs.
    """
    return PretrainConfig(
        method="simclr",
        backbone="resnet18_w16",
        stem="small",
        image_size=32,
        image_size_schedule="0:16,6:24",
        eval_resize=32,
        views="simclr_small",
        augment_with="kernel",
        cache="device",
        negatives="none",
        temperature=0.2,
        epochs=8,
        batch_size=128,
        optimizer="adamw",
        lr=0.002,
        lr_schedule="cosine_step",
        probe="features",
    )


def cifar_patch_cpu():
    """The same with one patch negative per query, alpha 2, patches of 2 to 10 px. Ours; not
    tuned."""
    return cifar_cpu().replace(negatives="patch")


def small_resnet18():
    """MoCo v2 of a ResNet-18 with the small stem on images of 64 to 96 px, such as Tiny-ImageNet or
    STL-10: the CIFAR-10 settings with 64 px, 400 epochs and crops from 20% of the image. Ours, not
    run here."""
    return _small_images(64, epochs=400)


def small_patch_resnet18():
    """The same with one patch negative per query, alpha 2, patches of 5 to 21 px. Ours."""
    return small_resnet18().replace(negatives="patch")


PRESETS = {
    preset.__name__: preset
    for preset in (
        moco_in100,
        moco_patch_in100,
        moco_patch_alpha3_in100,
        moco_texture_in100,
        moco_8k_in100,
        moco_patch_8k_in100,
        moco_ifm_in100,
        moco_patch_ifm_in100,
        moco_patch_ifm_64k_in100,
        moco_in1k,
        moco_patch_in1k,
        simclr_in1k,
        simclr_patch_in1k,
        simclr_in100,
        simclr_patch_in100,
        byol_in1k,
        byol_patch_in1k,
        byol_in100,
        byol_patch_in100,
        moco_v3_vit_in1k,
        moco_v3_patch_vit_in1k,
        cifar_resnet18,
        cifar_patch_resnet18,
        cifar_cpu,
        cifar_patch_cpu,
        small_resnet18,
        small_patch_resnet18,
        tiny_simclr,
        tiny_simclr_patch,
        tiny_moco,
        tiny_moco_patch,
        tiny_byol,
        tiny_byol_patch,
        tiny_cpu,
        tiny_cpu_moco,
        tiny_cpu_simclr,
        tiny_cpu_byol,
        tiny_cpu_moco_v3,
        tiny_cpu_supcon,
    )
}
