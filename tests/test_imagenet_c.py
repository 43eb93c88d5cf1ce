"""ImageNet-C's files: folders or .beton files by corruption and severity; what is missing is told, the rest is evaluated."""

import json

import numpy as np
import pytest
from conftest import jpeg, photo
from test_evaluate import evaluate, lines, probed  # noqa: F401 fixtures
from test_features import SIZE, make_beton

from fastneg.evaluation import imagenet_c as module
from fastneg.evaluation.imagenet_c import find_cells, is_imagenet_c

TINTS = np.random.default_rng(99).integers(0, 256, (8, 3))


def make_cell(folder, swapped=False, classes=("a", "b", "zebra"), images=2):
    """Tinted photos as `make_beton` tints them; swapped: a and b wear each other's tint."""
    rng = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        tint = TINTS[ord({"a": "b", "b": "a"}.get(name, name) if swapped else name) % 8] if len(name) == 1 else TINTS[0]
        for i in range(images):
            (folder / name / f"{i}.JPEG").write_bytes(jpeg((photo(rng, SIZE, SIZE) * 0.2 + 0.8 * tint).astype(np.uint8)))


@pytest.fixture
def tree(tmp_path):
    """fog whole (severities 1 to 4 right, 5 swapped), snow as .beton, frost without severity 3, blur of no name."""
    root = tmp_path / "imagenet-c"
    for severity in range(1, 6):
        make_cell(root / "fog" / str(severity), swapped=severity == 5)
        (root / "snow").mkdir(exist_ok=True)
        make_beton(root / "snow" / f"{severity}.beton", 4, classes=("a", "b"))
        if severity != 3:
            make_cell(root / "frost" / str(severity))
    (root / "blur").mkdir()
    return root


def test_what_is_there_and_what_is_missing(tree, tmp_path):
    assert is_imagenet_c(tree) and not is_imagenet_c(tree / "fog") and not is_imagenet_c(tmp_path / "none")
    cells, missing = find_cells(tree)
    assert set(cells) == {(name, severity) for name in ("fog", "snow") for severity in range(1, 6)}
    assert "12 of the 15 corruptions have no folder" in missing[0] and "gaussian_noise" in missing[0]
    assert "frost is left out: it lacks severity 3" in missing[1] and "frost/3/<class>/ or" in missing[1]


def test_whole_corruptions_are_evaluated_and_the_rest_is_told(probed, lines, tree, tmp_path, capsys):  # noqa: F811
    val = make_beton(tmp_path / "val.beton", 8)
    assert evaluate(probed, f"c={tree},val={val}") == 1
    rows = {(row["kind"], row["set"]): row for row in lines()}
    assert ("accuracy", "val") in rows
    row = rows["corruptions", "c"]
    assert list(row["by_corruption"]) == ["snow", "fog"] and row["of_the_15"] == ["fog", "snow"] and row["images"] == 4
    assert row["by_corruption"]["fog"][:4] == [100.0] * 4 and row["by_corruption"]["fog"][4] == 0.0
    assert row["mean_top1"] == pytest.approx(90) and row["mce"] is None and row["source"].startswith("files of ImageNet-C")
    streams = capsys.readouterr()
    assert "frost is left out" in streams.err and "1 of 2 sets" in streams.err and "see below" in streams.out
    assert not list(probed.glob(".imagenet-c-*")), "nothing is left of the files made for a moment"


def test_the_central_crop_is_taken_without_a_resize(probed, tree, monkeypatch):  # noqa: F811
    seen, real = [], module.EvalLoader

    def recorded(*args, **options):
        seen.append(options["resize"])
        return real(*args, **options)

    monkeypatch.setattr(module, "EvalLoader", recorded)
    evaluate(probed, f"c={tree}:corruptions")
    assert seen == [SIZE] * 10


@pytest.mark.parametrize("options", [{"corruptions": "on"}, {}])
def test_what_cannot_be_is_told(probed, tree, tmp_path, options, capsys):  # noqa: F811
    path = tree if options else tmp_path / "imagenet-c" / "frost"
    assert evaluate(probed, f"c={path}:corruptions", **options) == 1
    assert ("so name those first" if options else "holds no whole corruption") in capsys.readouterr().err
    assert json.loads((probed / "evaluation.jsonl").read_text().splitlines()[0])["kind"] == "linear"
