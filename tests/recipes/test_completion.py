"""fastneg completion: what the shells make of the scripts (fastneg.recipes.completion)."""

import shlex
import shutil
import subprocess

import pytest

from fastneg.recipes.cli import main
from fastneg.recipes.commands import COMMANDS
from fastneg.recipes.completion import SHELLS, flags
from fastneg.recipes.presets import PRESETS

LINES = {
    "fastneg pre": {"pretrain", "presets"},
    "fastneg --v": {"--version"},
    "fastneg pretrain --pre": {"--precision", "--prefetch_queue_depth", "--preset"},
    "fastneg pretrain --preset tiny_cpu_moco_": {"tiny_cpu_moco_v3"},
    "fastneg pretrain --preset=tiny_cpu_moco_": {"tiny_cpu_moco_v3"},
    "fastneg pretrain --optimizer ": {"sgd", "lars", "adamw"},
    "fastneg pretrain --negatives ran": {"random_image"},
    "fastneg bench aug": {"augment"},
    "fastneg encode --lossless pho": {"photos", "photos two"},
    "fastneg evaluate --run pho": {"photos", "photos two"},
    "fastneg completion ": {"bash", "zsh", "fish"},
    "fastneg nothing --": set(),
}
CASE = """
complete_line() {{
  COMP_LINE=$1; COMP_POINT=${{#1}}; shift
  COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
  COMPREPLY=(); _fastneg fastneg
  printf '%s\\n' "${{COMPREPLY[@]}}" END
}}
{}
"""


def words_of(line):
    """As bash parts a line: a word of its own for =, and an empty one behind a space."""
    words = line.replace("=", " = ").split()
    return [*words, ""] if line.endswith(" ") else words


def test_bash_completes_commands_flags_choices_and_files(tmp_path, capsys):
    assert main(["completion", "bash"]) == 0
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos two").mkdir()
    calls = [f"complete_line {shlex.join([line, *words_of(line)])}" for line in LINES]
    script = capsys.readouterr().out + CASE.format("\n".join(calls))
    done = subprocess.run(
        ["bash", "--norc"],
        input=script,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=tmp_path,
    )
    assert not done.stderr
    told = [set(filter(None, part.split("\n"))) for part in done.stdout.split("END\n")]
    assert dict(zip(LINES, told, strict=False)) == LINES


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_knows_every_command_flag_and_choice(shell):
    script = SHELLS[shell]()
    for name in COMMANDS:
        assert name in script
        for flag in flags(name)[0]:
            assert flag.name in script and " ".join(flag.choices) in script
    assert " ".join(PRESETS) in script


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_reads_the_script(shell, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    path = tmp_path / "script"
    path.write_text(SHELLS[shell](), encoding="utf-8")
    subprocess.run([shell, "-n", str(path)], check=True, timeout=60)
