"""Files of a user's own that register a method or negatives."""

import sys

from fastneg import plugins


def name_plugin(monkeypatch, folder, files):
    """Write {module: its text} into a folder and name the first in FASTNEG_PLUGINS, for one test;
    what it registers is the caller's to take out again."""
    for module, text in files.items():
        (folder / f"{module}.py").write_text(text)
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setenv(plugins.VARIABLE, str(folder / f"{next(iter(files))}.py"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(plugins, "_loaded", set())
