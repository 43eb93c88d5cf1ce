"""fastneg presets shows the settings in which a preset differs from the defaults."""

from fastneg.config import PresetsConfig, PretrainConfig, flag_text
from fastneg.recipes.presets import PRESETS
from fastneg.recipes.show_presets import run_presets


def test_the_flags_shown_are_those_that_differ(capsys):
    assert run_presets(PresetsConfig()) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, preset in PRESETS.items():
        at = lines.index(name)
        settings, defaults = preset().as_dict(), PretrainConfig().as_dict()
        differing = [
            field
            for field, value in settings.items()
            if value != defaults[field] and value is not None
        ]
        expected = " ".join(f"--{field} {flag_text(settings[field])}" for field in differing)
        assert expected in "\n".join(lines[at : at + 40]).replace("\n    ", " ")


def test_what_is_said_of_a_preset_is_indented(capsys):
    assert run_presets(PresetsConfig()) == 0
    lines = capsys.readouterr().out.splitlines()
    told = [line for line in lines if line and line not in PRESETS]
    assert all(line.startswith(("    ", "The defaults: --")) for line in told)
    assert not any(line.endswith(" None") or " None " in line for line in told)
