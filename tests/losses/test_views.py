"""What the losses of views refuse, by the names that their callers gave
(fastneg.losses.views)."""

import pytest
import torch
from torch.nn.functional import normalize

from fastneg.losses import clip_loss, nt_xent, siglip_loss, supervised_contrastive

FIRST, SECOND = normalize(torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0)), dim=2)
FEATURES, LABELS = torch.stack([FIRST, SECOND], 1), torch.tensor([0, 0, 1, 1, 2, -1])


@pytest.mark.parametrize("loss", [clip_loss, nt_xent, siglip_loss])
@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([1.0], SECOND, r"first is list: a tensor \(n, D\)"),
        (FIRST, SECOND[0], r"second is \(8,\)"),
        (FIRST, SECOND[:4], r"first is \(6, 8\) but second is \(4, 8\)"),
        (FIRST[:0], SECOND[:0], r"first is \(0, 8\): .* at least one row"),
        (FIRST, SECOND.int(), "second has dtype torch.int32"),
        (FIRST, SECOND.to("meta"), r"first is \(6, 8\) on cpu but second are \(6, 8\) on meta"),
    ],
)
def test_views_that_are_no_pair(loss, first, second, message):
    with pytest.raises(ValueError, match=message):
        loss(first, second)


@pytest.mark.parametrize("loss", [clip_loss, nt_xent])
@pytest.mark.parametrize(
    ("everyone", "message"),
    [
        (FIRST, "everyone is a Tensor"),
        ((FIRST, SECOND, SECOND), "everyone is a tuple"),
        ((FIRST, [1]), "everyone's second is list"),
        ((FIRST[:3], SECOND[:3]), r"everyone's first is \(3, 8\) but first is \(6, 8\)"),
        ((FIRST, SECOND[:, :4]), r"everyone's second is \(6, 4\)"),
        ((FIRST, SECOND.repeat(2, 1)), r"first is \(6, 8\) but its second is \(12, 8\)"),
        ((FIRST.to("meta"), SECOND), "everyone's first is torch.float32 on meta"),
        ((FIRST, SECOND.int()), "everyone's second is torch.int32 on cpu"),
    ],
)
def test_rows_of_all_processes_that_are_none(loss, everyone, message):
    with pytest.raises(ValueError, match=message):
        loss(FIRST, SECOND, everyone)


@pytest.mark.parametrize(
    ("labels", "everyone", "message"),
    [
        (None, FEATURES, "everyone is a Tensor"),
        (None, (FEATURES[:3], None), r"everyone's features is \(3, 2, 8\)"),
        (None, (FEATURES[:, :1], None), r"everyone's features is \(6, 1, 8\)"),
        (LABELS, (FEATURES, None), "labels are given but those of everyone are not"),
        (None, (FEATURES, LABELS), "labels are not given but those of everyone are"),
        (LABELS, (FEATURES, LABELS[:4]), r"everyone's labels is torch.int64 \(4,\)"),
        (LABELS, (FEATURES, LABELS.float()), "everyone's labels is torch.float32"),
        (LABELS.to("meta"), None, "labels are on meta, features on cpu"),
        (None, (FEATURES.to("meta"), None), "everyone's features is torch.float32 on meta"),
        (None, (FEATURES.int(), None), "everyone's features is torch.int32 on cpu"),
    ],
)
def test_images_of_all_processes_that_are_none(labels, everyone, message):
    with pytest.raises(ValueError, match=message):
        supervised_contrastive(FEATURES, labels, everyone)


@pytest.mark.parametrize(
    "loss",
    [
        lambda **options: nt_xent(FIRST, SECOND, **options),
        lambda **options: nt_xent(FIRST[:1], SECOND[:1], **options),
        lambda **options: supervised_contrastive(FEATURES, **options),
    ],
)
@pytest.mark.parametrize("extra", [[1.0], torch.ones(8), torch.ones(6, 8)])
def test_extra_negatives_that_are_none(loss, extra):
    with pytest.raises(ValueError, match="extra_negatives are"):
        loss(extra_negatives=extra)


def test_a_factor_on_nothing():
    for call in (
        lambda: nt_xent(FIRST, SECOND, extra_scale=2.0),
        lambda: supervised_contrastive(FEATURES, extra_scale=2.0),
    ):
        with pytest.raises(ValueError, match="no extra_negatives for it to scale"):
            call()


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32, torch.bool])
def test_labels_of_any_whole_dtype(dtype):
    labels = torch.tensor([1, 0, 1, 0, 0, 1])
    expected = supervised_contrastive(FEATURES, labels)
    assert torch.equal(supervised_contrastive(FEATURES, labels.to(dtype)), expected)


def test_options_that_are_neither_true_nor_false():
    for call in (
        lambda: clip_loss(FIRST, SECOND, ring="no"),
        lambda: siglip_loss(FIRST, SECOND, ring=None),
        lambda: nt_xent(FIRST, SECOND, return_stats=1),
    ):
        with pytest.raises(ValueError, match="True or False was expected"):
            call()
