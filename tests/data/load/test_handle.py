"""A loader as a user's own loop has it: passes, labels, its place in a file, its end."""

import itertools
import json

import numpy as np
import pytest
import torch

import fastneg
from fastneg.data import BetonReader, BetonWriter
from fastneg.data.beton.identity import content_key, images_fingerprint, same_images
from fastneg.data.load import handle
from helpers.images import jpeg, photo

OPTIONS = {"batch_size": 8, "image_size": 32, "threads": 1}


def opened(path, kind=fastneg.TrainLoader, **changes):
    return kind(path, **{**OPTIONS, **changes})


def index(batches):
    return [batch.index.tolist() for batch in batches]


def test_a_path_is_enough_and_the_file_is_closed_with_the_loader(beton):
    with opened(str(beton)) as loader, BetonReader(beton) as reader:
        batch = next(iter(loader))
        assert loader.classes == ["a", "b", "c", "d"]
        assert np.array_equal(loader.labels, reader.labels)
        assert torch.equal(batch.label, torch.from_numpy(reader.labels)[batch.index])
        plain = opened(reader, seed=0)
        assert torch.equal(next(iter(plain)).query, batch.query)
        plain.close()
        assert len(reader.encoded(0))  # another's reader stays open
    with pytest.raises(RuntimeError, match="is closed"):
        next(iter(loader))
    with pytest.raises(ValueError, match=r"reader of .* is closed"):
        loader.reader.encoded(0)
    assert isinstance(loader, handle.Handle)


def test_each_pass_is_the_next_epoch(beton):
    with opened(beton) as loader:
        asked = [index(loader.epoch(e)) for e in (0, 1, 2, 3)]
    with opened(beton) as loader:
        passes = []
        for number in range(2):
            assert loader.next_epoch == number
            passes.append(index(loader))
            assert loader.iteration == len(loader) == 5
        assert passes == asked[:2]
        assert index(itertools.islice(loader, 2)) == asked[2][:2]  # left early
        assert loader.iteration == 2 and loader.next_epoch == 3
        assert index(loader) == asked[3]
        assert index(loader.epoch(1)) == asked[1] and index(loader) == asked[2]


@pytest.mark.parametrize("kind", [fastneg.TrainLoader, fastneg.EvalLoader])
@pytest.mark.parametrize("taken", [0, 2, 5])
def test_a_state_goes_on_within_a_pass(beton, kind, taken):
    with opened(beton, kind) as loader:
        assert len(list(loader)) == 5
        batches = iter(loader)
        for _ in range(taken):
            next(batches)
        state = json.loads(json.dumps(loader.state_dict()))
        rest = list(batches)
        after = index(loader)
    with opened(beton, kind) as other:
        other.load_state_dict(state)
        assert other.next_epoch == (2 if taken in (5,) else 1)
        if 0 < taken < 5:
            assert other.iteration == taken
            again = list(other)
            assert len(again) == 5 - taken
            for one, two in zip(rest, again, strict=True):
                assert torch.equal(one[0], two[0]) and torch.equal(one.index, two.index)
        elif taken == 0:
            assert len(list(other)) == 5
        assert index(other) == after


def test_a_state_of_another_loader_is_refused(beton, tmp_path):
    with opened(beton) as loader:
        state = loader.state_dict()
    for changes in ({"seed": 1}, {"batch_size": 4}, {"order": "sequential"}, {"last": "short"}):
        with opened(beton, **changes) as other, pytest.raises(ValueError, match="other settings"):
            other.load_state_dict(state)
    with opened(beton) as loader:
        for none in ({}, None, {**state, "iteration": 6}, {**state, "epoch": -1}):
            with pytest.raises(ValueError, match=r"The state (has|is)"):
                loader.load_state_dict(none)
        assert loader.batch_size == 8 and loader.next_epoch == 0
    images, rng = tmp_path / "other.beton", np.random.default_rng(5)
    with BetonReader(beton) as reader, BetonWriter(images) as writer:
        for height, width in reader.sizes.tolist():  # as many, and as large
            writer.add(jpeg(photo(rng, height, width)), height, width, label=0)
    with opened(images) as other, pytest.raises(ValueError, match="of other images"):
        other.load_state_dict(state)
    copied = tmp_path / "copied.beton"
    copied.write_bytes(beton.read_bytes())
    with opened(copied) as other:
        other.load_state_dict(state)


def test_the_same_images_are_told_wherever_they_lie(beton, tmp_path):
    copied = tmp_path / "copied.beton"
    with BetonReader(beton) as reader:
        with BetonWriter(copied, page_size=1 << 16) as writer:  # other labels and pages
            for i, (height, width) in enumerate(reader.sizes.tolist()):
                writer.add(bytes(reader.jpeg(i)), height, width, label=7)
        with BetonReader(copied) as other:
            one, two = (images_fingerprint(each, ["image"]) for each in (reader, other))
    assert one["records"] != two["records"] and same_images(one, two)
    assert not same_images({**one, "checksums": ""}, two)


def test_the_content_of_a_set_is_known_in_any_order_and_numbering(tmp_path):
    rng = np.random.default_rng(0)
    images = [np.asarray(photo(rng, 8, 9)) for _ in range(4)]

    def key(labels, classes, order=(0, 1, 2, 3), **options):
        with BetonWriter(tmp_path / "x.beton", classes=classes, **options) as writer:
            for i in order:
                writer.add_raw(images[i], label=labels[i])
        with BetonReader(tmp_path / "x.beton") as reader:
            return content_key(reader)

    one = key([0, 1, 1, 0], ["cat", "dog"])
    assert len(one) == 8 and key([0, 1, 1, 0], ["cat", "dog"], checksums=False) is None
    assert one == key([2, 0, 0, 2], ["dog", "none", "cat"], order=(3, 1, 0, 2))
    others = [key([1, 1, 1, 0], ["cat", "dog"]), key([0, 1, 1, 0], ["cat", "cow"])]
    others.append(key([0, 1, 1, 0], ["cat", "dog"], order=(0, 1, 2, 2)))
    assert len({one, *others, key([0, 1, 1, 0], None)}) == 5


def test_a_pass_that_another_one_or_the_end_cuts_short_says_so(beton):
    with opened(beton) as loader:
        first, second = iter(loader), iter(loader)
        next(first), next(second)
        with pytest.raises(RuntimeError, match=r"Another pass .* open a second loader"):
            next(first)
        assert len(list(loader)) == 5 and loader.next_epoch == 2
        batches = iter(loader)
        next(batches)
        loader.close()
        with pytest.raises(RuntimeError, match="was closed within a pass"):
            next(batches)


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        (
            "Train",
            {"image_size": (32, 32)},
            r"image_size is \(32, 32\): a whole number of at least",
        ),
        ("Eval", {"image_size": 0}, "image_size is 0"),
        ("Train", {"batch_size": 8.0}, "batch_size is 8.0"),
        ("Train", {"threads": -1}, "threads is -1"),
        ("Eval", {"device": "mps"}, "device is 'mps': 'cpu', 'cuda'"),
        ("Train", {"device": "gpu"}, "device is 'gpu': 'cpu', 'cuda'"),
        ("Train", {"crop_area": (0.5, 0.2)}, r"crop_area is \(0.5, 0.2\): two fractions"),
        ("Train", {"crop_area": 0.5}, "crop_area is 0.5: two fractions"),
        ("Train", {"num_workers": 2}, "TrainLoader has no option 'num_workers': threads is"),
        ("Eval", {"treads": 2}, "EvalLoader has no option 'treads'; did you mean threads"),
        ("Eval", {"samples": [-1]}, "samples has positions from -1 to -1: 0 to 39 were"),
        ("Eval", {"samples": [3, 40]}, "samples has positions from 3 to 40"),
        ("Eval", {"samples": [True, False]}, r"samples is bool \(2,\): .*np.flatnonzero"),
        ("Eval", {"samples": []}, "Process 0 of 1 has no image"),
        ("Eval", {"samples": [1], "rank": 1, "world_size": 2}, "Process 1 of 2 has no image"),
    ],
)
def test_arguments_that_cannot_be_are_refused_at_once(beton, kind, changes, said):
    with pytest.raises((TypeError, ValueError), match=said):
        opened(beton, getattr(fastneg, f"{kind}Loader"), **changes)


def test_data_that_is_no_file_is_refused():
    with pytest.raises(TypeError, match=r"data is of type int: the path of a .beton file"):
        opened(3)


def test_processes_share_each_batch(beton):
    with opened(beton) as whole:
        batches = list(whole)
    parts = []
    for rank in range(2):
        with opened(beton, rank=rank, world_size=2) as loader:
            parts.append(list(loader))
    for batch, *shares in zip(batches, *parts, strict=True):
        assert torch.equal(batch.query, torch.cat([share.query for share in shares]))
    with pytest.raises(ValueError, match="both or none"):
        opened(beton, world_size=2)
    shown = []
    for rank in range(3):
        with opened(beton, fastneg.EvalLoader, rank=rank, world_size=3) as loader:
            shown.append(torch.cat([batch.index for batch in loader]).tolist())
    assert shown == [list(range(rank, 40, 3)) for rank in range(3)]
    with pytest.raises(ValueError, match="rank is 3"):
        opened(beton, fastneg.EvalLoader, rank=3, world_size=3)


def test_processes_that_did_not_join_are_told(beton, monkeypatch):
    with opened(beton) as alone:
        monkeypatch.setenv("WORLD_SIZE", "2"), monkeypatch.setenv("RANK", "1")
        with pytest.raises(RuntimeError, match="2 processes were started"):
            opened(beton)
        with pytest.raises(RuntimeError, match="2 processes were started"):
            next(iter(alone))  # it would give both processes the same images
        with opened(beton, rank=1, world_size=2) as loader:
            assert len(next(iter(loader)).index) == 4
