"""fastneg textures tells what it made, and fails where it skipped an image."""

from fastneg.config import TexturesConfig
from fastneg.recipes.textures import run_textures
from helpers.odd_trees import tree


def test_what_was_made_and_skipped_is_printed(tmp_path, capsys):
    src = tree(tmp_path / "src", "cat/0.jpg", "dog/1.jpg")
    options = {"size": 32, "patch": 16, "block": 8, "workers": 1}
    assert run_textures(TexturesConfig(str(src), str(tmp_path / "out"), **options)) == 0
    assert "2 images, 2 textures made" in capsys.readouterr().out
    (src / "dog" / "2.jpg").write_bytes(b"nothing")
    assert run_textures(TexturesConfig(str(src), str(tmp_path / "out"), **options)) == 1
    printed = capsys.readouterr().out
    assert "2 were there before; skipped: 1." in printed and "2.jpg" in printed
