"""Processes that would not train the same run are refused, each of them."""

import pytest
import torch

from fastneg import distributed
from fastneg.data import BetonReader, BetonWriter
from fastneg.distributed import World
from fastneg.errors import TrainingError
from fastneg.recipes.presets import tiny_cpu
from fastneg.training import checks
from helpers.images import jpeg, photo
from helpers.processes import train

WORKER = """
import os, sys
import torch
from fastneg.errors import TrainingError
from fastneg.training.trainer import pretrain
from helpers.pretraining import settings

data, folder = sys.argv[2:]
whole = settings(data, os.path.join(folder, "shared"), bn="none", bn_splits=None, epochs=1)
stopped = pretrain(whole, stop_after=2)
rank, said = stopped.first, ""
own = whole.replace(out=os.path.join(folder, "shared" if stopped.first else "own"))
try:
    pretrain(own)
except TrainingError as error:
    said = str(error)
found = [None] * 2
torch.distributed.all_gather_object(found, said)
if stopped.first:
    torch.save(found, sys.argv[1])
"""


def test_a_machine_that_does_not_see_the_run_folder_does_not_begin_anew(beton, tmp_path):
    said = train(tmp_path, 2, WORKER, str(beton), str(tmp_path))
    for rank, name in enumerate(("shared", "own")):
        assert said[rank] == (
            "Process 0 of this run goes on from step 2, process 1 found no checkpoint: --out "
            f"{tmp_path / name} must be a folder that all machines share."
        )


@pytest.fixture
def told(monkeypatch, beton):
    """told(change of what the other process gives): the error, or ""."""
    config, ours = tiny_cpu().replace(data=str(beton), out="run", threads=3), World(0, 2, "cpu")

    def told(change=lambda given: given, config=config, found=(None, {"step": 5})):
        def everyone(mine, world):
            return [mine, change(mine)]

        monkeypatch.setattr(distributed, "everyone", everyone)
        with BetonReader(config.data) as reader:
            try:
                checks.check_agreement(config, found, reader, ours)
            except TrainingError as error:
                return str(error)
        return ""

    return told


def changed(**parts):
    return lambda given: {**given, **parts}


def test_what_processes_must_agree_on(told):
    assert told() == ""
    assert told(changed(version="0.0")).endswith("install the same version on all machines.")
    assert told(lambda mine: {**mine, "settings": {**mine["settings"], "lr": 7.0}}) == (
        "Process 0 of this run has --lr 0.12, process 1 has --lr 7.0: give all processes the same "
        "settings."
    )
    assert "process 1 goes on from step 4: --out run must be a folder" in told(changed(step=4))
    assert "reads 40 images, process 1 reads 39 images: --data" in told(changed(samples=39))


def test_the_same_number_of_other_images_is_other_data(told, beton, tmp_path):
    import numpy as np

    rng = np.random.default_rng(1)
    with BetonWriter(tmp_path / "other.beton") as writer:
        for _ in range(40):
            writer.add(jpeg(photo(rng, 50, 50)), 50, 50, label=0)
    with BetonReader(tmp_path / "other.beton") as other:
        images = checks.data_fingerprint(other, tiny_cpu())
    assert "reads 40 images, process 1 reads as many others: --data" in told(changed(images=images))


def test_places_and_threads_are_each_machine_s_own(told, beton):
    here = tiny_cpu().replace(data=str(beton), out="here", threads=3, cache_dir="/disk/a")
    settings = {}
    told(lambda mine: settings.update(mine["settings"]) or mine)
    assert told(changed(settings=settings), config=here) == ""


def test_one_process_asks_nobody(monkeypatch):
    monkeypatch.setattr(distributed, "everyone", None)
    checks.check_agreement(None, None, None, World(0, 1, torch.device("cpu")))
