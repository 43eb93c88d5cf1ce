"""Every command of README.md and docs runs: on tiny data in one folder, one after the other, as a
reader would give them. What needs a GPU, ImageNet, SLURM, a network or hours is parsed: its flags
are those that the command has. HOW says which, and a command that it does not name fails."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import setuptools

from fastneg.recipes.arguments import build_config
from fastneg.recipes.cli import main
from fastneg.recipes.dry_run import take_dry_run
from helpers.doc_pages import blocks, commands, pages
from helpers.doc_sources import copy_run, lay_out
from helpers.modules import ROOT

FROM_NOTHING = "docs/getting-started/own-photographs.md"
"""The page whose reader has an empty folder."""
PAGES = {name: text for name, text in pages().items() if blocks(text, "sh")}

SMALL = {
    "encode": {"workers": 1},
    "textures": {"workers": 1, "size": 32, "patch": 16, "block": 8, "candidates": 4},
    "verify": {"workers": 1},
    "stencils": {"workers": 1, "train": 36, "test": 12},
    "pretrain": {
        "image_size": 32,
        "batch_size": 8,
        "epochs": None,
        "steps": 4,
        "warmup_epochs": 0,
        "threads": 1,
        "device": "cpu",
        "log_every": 2,
    },
    "show": {"images": 2, "threads": 1, "device": "cpu"},
    **{
        name: {"threads": 1, "device": "cpu"}
        for name in ("linear", "finetune", "knn", "evaluate", "embed")
    },
}
"""{command: {flag: what takes its place or is added; None: it is left out}}, to be done in
seconds."""


def runs(words):
    """It runs, with the flags of SMALL."""
    assert main(small(words[1:])) == 0


def parses(words):
    """Its command line is right."""
    _, arguments = take_dry_run(words[2:])
    build_config(words[1], arguments)


def parses_afterwards(words):
    """Its command line is right where the benchmark has left rows."""
    rows = Path(words[words.index("--out") + 1]) / "rows.jsonl"
    rows.parent.mkdir()
    rows.touch()
    parses(words)
    shutil.rmtree(rows.parent)


def launched(words):
    """Several processes: what each of them gets is right, and so are the launcher's own flags."""
    own = words[: words.index("-m")]
    parses(words[words.index("fastneg") :])
    if own[0] == "torchrun":
        from torch.distributed.run import get_args_parser

        parsed = get_args_parser().parse_args([*own[1:], "script"])
        assert parsed.training_script == "script"


def plugged(words):
    """A module of a user's own is named: apart, so that what it registers stays there."""
    variable, *words = words
    code = "import sys; from fastneg import plugins; from fastneg.recipes.arguments import *;"
    code += "plugins.load_named(); build_config(sys.argv[1], sys.argv[2:])"
    name, value = variable.split("=")
    environment = {name: value, "PATH": "", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr


def files_are_there(words):
    """A script or a test of this repository."""
    named = [word for word in words if word.endswith(".py")]
    assert named and all((ROOT / name).is_file() for name in named)


def in_a_container(words):
    """The recipe of the image is there, and what runs in it is right."""
    assert (ROOT / "docs/docker/Dockerfile").is_file()
    if "pretrain" in words:
        parses(words[words.index("pretrain") - 1 :])


def makes(words):
    """The Makefile has the target."""
    assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)


def installs(words):
    """setup.py has the extras."""
    wanted = re.findall(r"[\w]+", words[2].partition("[")[2])
    assert set(wanted) <= set(extras())


HOW = (
    (r"make ", makes),
    (r"docker ", in_a_container),
    (r"pip install \.", installs),
    (r"(torchrun|srun) .*-m fastneg pretrain ", launched),
    (r"torchrun .* docs/examples/", files_are_there),
    (r"FASTNEG_FUZZ_EXAMPLES=\d+ python -m pytest ", files_are_there),
    (r"FASTNEG_PLUGINS=", plugged),
    # minutes or hours, or a GPU
    (r"fastneg bench first_hour .*--(page|resume)", parses_afterwards),
    (r"fastneg (bench|study) ", parses),
    (r"fastneg (evaluate|report) .*runs/patch", parses),
    (r"fastneg pretrain .*(--profile|--cache device)", parses),
    (r"fastneg (pretrain|show) .*(_in1k|_in100)", parses),
    # a network
    (r"fastneg \w+ .*s3://", parses),
    (r"fastneg \w+ .*cifar", parses),
    # weights and sets of others
    (r"fastneg \w+ .*(moco_v2_800ep|lite0|stylized|imagenet_c)", parses),
    (r"fastneg export --run runs/patch ", parses),  # of a ResNet-50
    (r"fastneg ", runs),
)
"""(how a command begins, what is done with it): the first that fits."""


def extras():
    found, own = {}, setuptools.setup
    try:
        setuptools.setup = lambda **given: found.update(given["extras_require"])
        text = (ROOT / "setup.py").read_text(encoding="utf-8")
        exec(compile(text, "setup.py", "exec"), {"__file__": str(ROOT / "setup.py")})
    finally:
        setuptools.setup = own
    return found


def small(words):
    """A command line with the flags of SMALL."""
    name, *rest = words
    for flag, value in SMALL.get(name, {}).items():
        if f"--{flag}" in rest:
            at = rest.index(f"--{flag}")
            del rest[at : at + 2]
        if value is not None:
            rest += [f"--{flag}", str(value)]
    return [name, *rest]


def treatment(words):
    command = " ".join(words)
    found = [treat for begins, treat in HOW if re.match(begins, command)]
    assert found, f"HOW does not say what is to be done with: {command}"
    return found[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The reader's working folder, with what a first session left there."""
    place = tmp_path_factory.mktemp("reader")
    lay_out(place, pages())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("FASTNEG_CACHE", str(place / "cache"))
        for line in (
            "encode photos photos.beton --holdout 0.1",
            "encode data/imagenet in100-train.beton --split train --subset imagenet100",
            "encode data/imagenet in100-val.beton --split val --subset imagenet100",
            "pretrain --preset tiny_simclr_patch --cache none --data photos.beton "
            "--out runs/photos",
            "linear --run runs/photos --train photos.beton --val photos-holdout.beton",
        ):
            assert main(small(line.split())) == 0
        copy_run(place, "runs/photos", "runs/patch", "runs/moco")
        yield SimpleNamespace(path=place, done=set())


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page(page, folder, capfd, monkeypatch, tmp_path):
    done = folder.done
    if page == FROM_NOTHING:
        monkeypatch.chdir(tmp_path)
        done = set()
    for block in blocks(PAGES[page], "sh"):
        if block.startswith("#!"):
            check_script(block)
            continue
        for words in commands(block):
            words = [re.sub(r"(^|=)/data/", r"\1data/", word) for word in words]
            command = " ".join(words)
            if command in done:
                continue
            try:
                treatment(words)(words)
            except (AssertionError, Exception) as error:
                said = capfd.readouterr()
                raise AssertionError(f"{page}: {command}\n{said.out}{said.err}") from error
            done.add(command)


def check_script(text):
    """A script of a scheduler: bash can read it, and each command of fastneg in it is right."""
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0
    own = [words for words in commands(text) if "fastneg" in words]
    assert own
    for words in own:
        launched(words)


def test_a_command_that_is_not_named_fails():
    with pytest.raises(AssertionError, match="HOW does not say"):
        treatment(["curl", "https://example.org"])


def test_a_mistyped_flag_fails():
    with pytest.raises(ValueError, match="no flag"):
        parses(["fastneg", "study", "--sise", "cpu"])


def test_every_page_has_marked_blocks():
    """A block without a language would be run by nobody."""
    for name, text in pages().items():
        fences = re.findall(r"^```(.*)$", text, re.MULTILINE)
        opened = fences[::2]
        assert set(opened) <= {"sh", "python", "text", "json", "bibtex"}, f"{name}: {opened}"
