"""Presets for the built-in set and two CPU cores; `presets` lists them."""

from __future__ import annotations

from fastneg.config import PretrainConfig


def _tiny(**settings):
    """What the presets for the built-in set share, of 6,000 images of 64 px: a network that two
    CPU cores train in minutes.

    Source: found here by trying; docs/benchmarks/study.md has what was tried and what each reached.
    """
    return PretrainConfig(
        backbone="vgg_tiny",
        image_size=32,
        eval_resize=32,
        views="colour_invariant",
        crop_min=0.4,
        augment_with="kernel",
        cache="device",
        patch_min=4,
        patch_max=12,
        epochs=24,
        warmup_epochs=2,
        batch_size=100,
        lr=0.3,
        lr_schedule="cosine_step",
        probe="features",
        **settings,
    )


def tiny_simclr():
    """SimCLR on the built-in set, in minutes on two CPU cores: the demo's arm without negatives.

    Ten seeds reached 84.2% in domain in the mean (untrained 34.6%), in four minutes each.
    """
    return _tiny(method="simclr", negatives="none")


def tiny_simclr_patch():
    """The same with one patch negative per image, dose 12.5: the demo's arm with negatives."""
    return tiny_simclr().replace(negatives="patch", dose=12.5)


def tiny_moco():
    """MoCo v2 on the built-in set, in minutes on two CPU cores.

    Three seeds reached 83.3%, 81.2% and 80.0% in domain (untrained 32.4% in the mean).
    """
    moco = _tiny(method="moco", negatives="none", temperature=0.1, bn="none")
    return moco.replace(queue_size=1024, key_momentum=0.99, epochs=32)


def tiny_moco_patch():
    """The same with one patch negative per query, dose 12.5."""
    return tiny_moco().replace(negatives="patch", dose=12.5)


def tiny_byol():
    """BYOL on the built-in set, in minutes on two CPU cores.

    Three seeds reached 82.1%, 79.3% and 78.7% in domain (untrained 32.4% in the mean). The target
    follows fast, with momentum 0.9 from the first step to the last: with 0.99 the network hardly
    learned in this time.
    """
    byol = _tiny(method="byol", negatives="none", feature_dim=64, hidden_dim=256)
    target = {"key_momentum": 0.9, "momentum_schedule": "constant"}
    return byol.replace(batch_size=50, epochs=32, warmup_epochs=1, lr=0.1, **target)


def tiny_byol_patch():
    """The same with one patch negative per image, alpha 0.5: our guess, not tried."""
    return tiny_byol().replace(negatives="patch", alpha=0.5)


def tiny_cpu():
    """MoCo v2 with patch negatives of a 0.3 M-parameter network on views of 32 px.

    The network and views of benchmarks. Here MoCo hardly learns in the time of the demo:
    `tiny_moco` does.
    """
    return PretrainConfig(
        backbone="resnet_tiny",
        image_size=32,
        eval_resize=32,
        views="colour_invariant",
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


def tiny_cpu_moco_v3():
    """MoCo v3 on the network and views of `tiny_cpu`, with a small head and alpha 1; not tuned."""
    return tiny_cpu().replace(
        method="moco_v3",
        feature_dim=64,
        hidden_dim=256,
        projector_layers=2,
        temperature=0.2,
        key_momentum=0.99,
    )


def tiny_cpu_supcon():
    """SupCon, which learns from the labels, on the network and views of `tiny_cpu`; not tuned."""
    return tiny_cpu().replace(method="supcon")


def tiny_cpu_simclr():
    """SimCLR on the network and views of `tiny_cpu`; not tuned."""
    return tiny_cpu().replace(method="simclr")


def tiny_cpu_byol():
    """BYOL on the network and views of `tiny_cpu`, with a small head and alpha 0.5; not tuned."""
    return tiny_cpu().replace(
        method="byol", feature_dim=64, hidden_dim=256, key_momentum=0.99, alpha=0.5
    )
