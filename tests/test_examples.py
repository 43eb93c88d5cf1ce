"""The scripts of docs/examples run, with the packages that they are about, on two processes."""

import importlib.util
import re
import subprocess
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

import fastneg
from helpers.images import jpeg
from helpers.ready import ready_environment, ready_python
from helpers.tinted import tinted

EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "examples"
SMALL = ["--epochs", "1", "--batch_size", "8", "--image_size", "32"]


def one_core():
    return ready_environment(OMP_NUM_THREADS="1", ACCELERATE_USE_CPU="1")


def in_two(script, *arguments):
    """What a script prints, run by two gloo processes of torchrun."""
    torchrun = [ready_python(), "-m", "torch.distributed.run", "--standalone"]
    command = [*torchrun, "--nproc_per_node", "2", EXAMPLES / script, *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, env=one_core(), check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def losses(said):
    """{epoch: its loss} of the lines that a script prints."""
    found = re.findall(r"epoch (\d+): loss ([\d.]+), acc1 [\d.]+%", said)
    return {int(epoch): float(loss) for epoch, loss in found}


def test_plain_pytorch_goes_on_where_it_stopped(beton, tmp_path):
    out = tmp_path / "state.pt"
    often = ["--out", out, "--save_every", "3", *SMALL]
    assert losses(in_two("plain_pytorch.py", beton, *often)).keys() == {0}
    state = torch.load(out)
    assert (state["loader"]["epoch"], state["loader"]["iteration"]) == (0, 5)
    state["loader"]["iteration"] = 3
    torch.save(state, out)
    alone = [ready_python(), EXAMPLES / "plain_pytorch.py", beton, "--out", out, *SMALL]
    done = subprocess.run([*map(str, alone)], capture_output=True, text=True, env=one_core())
    assert losses(done.stdout).keys() == {0}, done.stderr  # by one process what two began
    assert torch.load(out)["loader"]["iteration"] == 5


def test_accelerate_keeps_the_state_of_the_loader(beton, tmp_path):
    out = tmp_path / "run"
    options = ["--out", out, "--save_every", "3", *SMALL]
    assert losses(in_two("accelerate_loop.py", beton, *options)).keys() == {0}
    (kept,) = out.glob("custom_checkpoint_*.pkl")
    state = torch.load(kept)
    assert (state["epoch"], state["iteration"], state["world_size"]) == (0, 5, 2)


def test_an_own_network_on_an_own_folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):  # tinted by class: even coarse features tell them apart
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(25):
            (tmp_path / "photos" / name / f"{i}.jpg").write_bytes(jpeg(tinted(rng, name)))
    command = [ready_python(), EXAMPLES / "own_network.py", tmp_path / "photos", tmp_path / "out"]
    done = subprocess.run(
        [*map(str, command), "2", "32"],
        capture_output=True, text=True, timeout=600, env=one_core(), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = re.search(r"on 15 held-out images: ([\d.]+)%, chance 33.3%", done.stdout)
    assert float(found[1]) > 60, done.stdout
    assert "0.29 M parameters, features (N, 128), the mean over a map of 2×2" in done.stdout


def test_lightning_trains_in_two_processes(beton, tmp_path):
    said = in_two("lightning_loop.py", beton, "--devices", 2, "--out", tmp_path, *SMALL)
    assert re.search(r"^loss \d+\.\d+$", said, re.MULTILINE)


def test_lightning_goes_on_within_an_epoch(beton, tmp_path):
    spec = importlib.util.spec_from_file_location("loop", EXAMPLES / "lightning_loop.py")
    loop = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loop)

    class Recorded(loop.Contrastive):
        def training_step(self, batch, number):
            seen.append(batch.index.tolist())
            return super().training_step(batch, number)

    args = loop.parser.parse_args([str(beton), *SMALL])

    def fit(resume=None, **options):
        quiet = {"enable_progress_bar": False, "logger": False, "enable_model_summary": False}
        trainer = lightning.Trainer(
            default_root_dir=tmp_path, accelerator="cpu", devices=1, **quiet, **options
        )
        trainer.fit(Recorded(args), ckpt_path=resume)
        return trainer

    seen = []
    # as it trains: what is saved afterwards has lost the loader's place
    saving = ModelCheckpoint(tmp_path, filename="middle", every_n_train_steps=3)
    fit(max_steps=3, callbacks=[saving])
    fit(tmp_path / "middle.ckpt", max_epochs=2)
    with fastneg.TrainLoader(beton, 8, 32, threads=1) as loader:
        whole = [batch.index.tolist() for batch in (*loader, *loader)]
    assert seen == whole


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_examples_are_short(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) < 60 and max(map(len, lines)) <= 100
