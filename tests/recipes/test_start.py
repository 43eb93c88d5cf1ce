"""What asks for no work is answered at once: fastneg.recipes.cli, fastneg.recipes.commands,
fastneg.recipes.arguments and fastneg.recipes.help import no library that takes its time."""

import os
import pty
import resource
import shlex
import subprocess
import sys

import pytest

LIBRARIES = ("torch", "numpy", "fire", "tqdm", "matplotlib", "PIL", "torchvision", "nvidia")
ANSWERED = {
    "overview": (["--help"], 0, "fastneg COMMAND --help explains one."),
    "version": (["--version"], 0, ""),
    "pretrain": (["pretrain", "--help"], 0, "--temperature"),
    "bench": (["bench", "--help"], 0, "the kernel against a plain copy"),
    "encode": (["encode", "--help"], 0, "--max_side"),
    "flag": (["pretrain", "--tempurature", "1"], 2, "did you mean --temperature?"),
    "bench alone": (["bench"], 0, "each of these in turn, but for first_hour."),
    "bench without a name": (["bench", "--json", "x"], 2, "NAME is missing"),
    "bench flag": (["bench", "--inside_gbs", "1"], 2, "did you mean --inside_gb_s?"),
    "command": (["pretrian"], 2, "did you mean pretrain?"),
    "presets": (["presets"], 0, "moco_patch_in100"),
    "completion": (["completion", "bash"], 0, "complete -F _fastneg"),
}
CODE = f"""
import sys
from fastneg.recipes.cli import main
code = main()
print("loaded:", *[name for name in {LIBRARIES} if name in sys.modules])
sys.exit(code)
"""


@pytest.mark.parametrize(("words", "code", "said"), ANSWERED.values(), ids=ANSWERED)
def test_no_library_is_loaded_for_what_needs_none(words, code, said):
    before = processor_seconds()
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code and said in done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "loaded:"
    assert processor_seconds() - before < 2  # it takes 0.2; with torch it would be five


def processor_seconds():
    """Of the processes that this one has started and that have ended: unlike the time, it does not
    depend on what else runs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_every_name_of_the_package_is_there_when_it_is_asked_for():
    code = "import fastneg; print(*[getattr(fastneg, name) for name in dir(fastneg)])"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, capture_output=True)
    import fastneg

    assert {*fastneg.__all__, "data", "losses"} <= {*dir(fastneg)}
    with pytest.raises(AttributeError, match="'fastneg' has no attribute 'infonce'"):
        fastneg.infonce  # noqa: B018


def test_a_reader_that_leaves_ends_it_quietly():
    """`fastneg pretrain --help | head -1`."""
    command = f"{shlex.quote(sys.executable)} -m fastneg pretrain --help | head -1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and not done.stderr
    assert done.stdout.startswith("Pre-train an encoder")


UNREAD = """
import os, sys
from fastneg.recipes.cli import main
from fastneg.recipes.commands import COMMANDS
errors = os.dup(2)
for words in [[], ["--version"], *([name, "--help"] for name in COMMANDS), ["presets"]]:
    read, write = os.pipe()
    os.close(read)
    os.dup2(write, 1)
    os.close(write)
    sys.stdout = os.fdopen(os.dup(1), "w", buffering=1 if words == ["presets"] else -1)
    code = main(words)
    os.write(errors, f"{' '.join(words)}: {code}\\n".encode())
"""


def test_every_command_ends_quietly_where_nobody_reads():
    done = subprocess.run(
        [sys.executable, "-c", UNREAD], capture_output=True, text=True, timeout=120
    )
    *helps, presets = done.stderr.splitlines()
    assert all(line.endswith(": 0") for line in helps) and len(helps) > 15
    assert presets == "presets: 141"  # 128 + SIGPIPE: a job that did not come to its end


@pytest.mark.parametrize(
    ("words", "where", "code", "said"),
    [
        ("--help", ">&-", 0, ""),
        ("presets", ">&-", 0, ""),
        ("presets", "2>&-", 0, ""),
        ("--help", ">/dev/full", 1, "fastneg: the output cannot be written: No space left on"),
        ("presets", ">/dev/full", 1, "fastneg presets: No space left on device."),
    ],
)
def test_output_that_goes_nowhere(words, where, code, said):
    """It was closed by the caller, or its disk is full: no traceback."""
    command = f"{shlex.quote(sys.executable)} -m fastneg {words} {where}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == code and done.stderr.startswith(said)
    assert done.stderr.count("\n") == bool(said)


@pytest.mark.parametrize("words", [["--help"], ["pretrain", "--wrong"]])
def test_a_terminal_gets_no_colours(words):
    """So NO_COLOR has nothing to switch off."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "fastneg", *words]
    done = subprocess.run(command, stdout=theirs, stderr=theirs, timeout=60, check=False)
    os.close(theirs)
    shown = os.read(ours, 1 << 16)
    os.close(ours)
    assert done.returncode in (0, 2) and b"fastneg" in shown and b"\x1b" not in shown
