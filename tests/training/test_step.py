"""A batch taken in parts has the gradient, the keys and the statistics of the whole."""

import copy
import functools

import pytest
import torch

from fastneg.errors import TrainingError
from fastneg.methods.output import MethodOutput
from fastneg.training.step import accumulate
from fastneg.training.trainer import pretrain
from helpers.moco_method import build, views
from helpers.pretraining import rows, settings, weights


@pytest.mark.parametrize("parts", [2, 4])
def test_parts_add_up_to_the_whole(float64, parts):
    whole = build().eval()  # running statistics: those of a part are its own by design
    split, inputs = copy.deepcopy(whole), views()
    expected = accumulate(whole, inputs, torch.Generator())
    output = accumulate(split, inputs, torch.Generator(), parts)
    for one, other in zip(split.parameters(), whole.parameters(), strict=True):
        if other.requires_grad:
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(output.loss, expected.loss)
    torch.testing.assert_close(output.keys, expected.keys)
    for name, value in expected.stats.items():
        torch.testing.assert_close(output.stats[name], value, msg=name)
    for name, value in expected.similarities.items():
        torch.testing.assert_close(output.similarities[name], value, msg=name)


def test_parts_have_batch_statistics_of_their_own():
    method, inputs = build().train(), views()
    output = accumulate(copy.deepcopy(method), inputs, torch.Generator(), parts=2)
    first, second = (method(*(images.chunk(2)[part] for images in inputs)) for part in range(2))
    torch.testing.assert_close(output.keys, torch.cat([first.keys, second.keys]))
    torch.testing.assert_close(output.loss, (first.loss + second.loss) / 2)


def test_a_part_may_give_one_number_of_a_kind():
    weight = torch.ones((), requires_grad=True)

    def method(query, *others):
        loss = weight * query.mean()
        return MethodOutput(loss, None, {}, {"mean": loss.detach()})

    images = torch.arange(4.0).view(4, 1, 1, 1)
    output = accumulate(method, (images, images, None), torch.Generator(), parts=2)
    assert output.similarities["mean"].tolist() == [0.5, 2.5]


def test_the_trainer_takes_one_step_a_batch(beton, tmp_path):
    """In parts of a batch, with as many groups of batch normalisation in all: the queries'
    statistics are the same."""
    plain = {"epochs": 1, "negatives": "none"}
    assert (
        pretrain(settings(beton, tmp_path / "parts", accumulate=2, bn_splits=2, **plain)).step == 5
    )
    pretrain(settings(beton, tmp_path / "whole", bn_splits=4, **plain))
    ours, theirs = rows(tmp_path / "parts"), rows(tmp_path / "whole")
    assert ours[0]["loss"] != theirs[0]["loss"]  # the keys' groups are drawn within a part
    assert ours[0]["loss"] == pytest.approx(theirs[0]["loss"], rel=0.3)
    assert weights(tmp_path / "parts")["_extra_state"]["pointer"] == 5 * 8 % 20


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"accumulate": 3}, "--accumulate is 3: it must divide the batch, 8"),
        ({"accumulate": 4, "bn_splits": 4}, "must divide each of the 4 parts"),
        ({"compress_gradients": True}, "no effect in one process"),
    ],
)
def test_what_cannot_be_is_refused(beton, tmp_path, changes, said):
    with pytest.raises(TrainingError, match=said):
        pretrain(settings(beton, tmp_path / "run", **changes))


def test_compiled_encoders_train_alike_and_keep_their_names(beton, tmp_path, monkeypatch):
    """The tracing part of torch.compile; generating code for the CPU would take minutes."""
    pretrain(settings(beton, tmp_path / "plain", epochs=1))
    calls, plain = [], torch.compile
    monkeypatch.setattr(
        torch,
        "compile",
        lambda *a, **k: calls.append(1) or functools.partial(plain, backend="eager")(*a, **k),
    )
    pretrain(settings(beton, tmp_path / "compiled", epochs=1, compile=True))
    assert len(calls) == 2  # query encoder and key encoder
    ours, theirs = weights(tmp_path / "compiled"), weights(tmp_path / "plain")
    assert ours.keys() == theirs.keys()
    for one, other in zip(rows(tmp_path / "compiled"), rows(tmp_path / "plain"), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)


def test_views_in_half_precision_suit_weights_in_float32():
    """A GPU's views, with --precision fp32; labels stay whole numbers."""

    class Told(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(()))

        def forward(self, query, key, negatives, generator, labels):
            self.seen = [query.dtype, key.dtype, negatives, labels.dtype]
            return MethodOutput((query * self.weight).mean(), None, {}, {})

    model = Told()
    halves = torch.rand(4, 3, 2, 2).half()
    accumulate(model, (halves, halves.bfloat16(), None, torch.arange(4)), torch.Generator())
    assert model.seen == [torch.float32, torch.float32, None, torch.int64]
    assert model.weight.grad.item() == pytest.approx(halves.float().mean().item())
