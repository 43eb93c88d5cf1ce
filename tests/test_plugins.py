"""Modules from outside are imported once, and one that cannot be imported is told with who asked
for it (fastneg.plugins)."""

import importlib
import sys

import pytest

from fastneg import plugins
from fastneg.config import ConfigError
from fastneg.recipes.cli import main


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setattr(plugins, "_loaded", set())
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("one_plugin", "two_plugin"):
        (tmp_path / f"{name}.py").write_text(f"print('{name} is here')")
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def test_each_is_imported_once(here, monkeypatch, capsys):
    monkeypatch.setenv(plugins.VARIABLE, "two_plugin, one_plugin")
    for _ in range(2):
        plugins.load_named()
    assert capsys.readouterr().out == "two_plugin is here\none_plugin is here\n"


def test_entry_points_of_installed_packages_are_plugins(here, monkeypatch, capsys):
    folder = here / "other-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[fastneg.plugins]\nmine = one_plugin\n")
    importlib.invalidate_caches()
    for _ in range(2):
        plugins.load()
    assert capsys.readouterr().out == "one_plugin is here\n"


def test_a_plugin_that_cannot_be_imported_is_named(here, monkeypatch, capsys):
    (here / "bad_plugin.py").write_text("import nothing_of_this_name")
    monkeypatch.setenv(plugins.VARIABLE, "bad_plugin")
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"FASTNEG_PLUGINS names bad_plugin.*nothing_of"):
            plugins.load()
    assert main(["presets"]) == 2
    assert "bad_plugin" in capsys.readouterr().err


def test_a_file_is_run_once_and_takes_no_other_modules_name(here):
    path = here / "decimal.py"
    path.write_text("print('here')\nvalue = 3")
    decimal = sys.modules.setdefault("decimal", importlib.import_module("decimal"))
    found = plugins.module_of_file(path)
    assert found is plugins.module_of_file(path) and found.value == 3
    assert sys.modules["decimal"] is decimal
    (here / "broken_file.py").write_text("1 / 0")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            plugins.module_of_file(here / "broken_file.py")
