"""Installs what `pip install ARGUMENTS…` would into the running virtual environment.

By uv, which unpacks and compiles on all cores, where PyPI has it. By pip where it has not, where
pip has a setting that uv does not know, or where uv fails.

python .ci/install.py ARGUMENTS…
"""

import ast
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
OPTIONS = {
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "constraint": "--constraint",
    "trusted-host": "--allow-insecure-host",
}
"""{a setting of pip: the option of uv, which takes one value each time}."""
VARIABLES = {"cert": "SSL_CERT_FILE", "default-timeout": "UV_HTTP_TIMEOUT"}
OF_PIP_ALONE = (
    "disable-pip-version-check",
    "quiet",
    "no-input",
    "progress-bar",
    "root-user-action",
)


def settings_for_uv():
    """(options, variables) that tell uv what pip's files and variables say; None where one of them
    means nothing to it."""
    said = subprocess.run([*PIP, "config", "list"], capture_output=True, text=True, check=True)
    options, variables = [], {}
    for line in said.stdout.splitlines():
        key, _, value = line.partition("=")
        name, value = key.rpartition(".")[2], ast.literal_eval(value)
        if name in OPTIONS:
            for each in value.split():
                options += [OPTIONS[name], each]
        elif name in VARIABLES:
            variables[VARIABLES[name]] = value
        elif name not in OF_PIP_ALONE:
            return None
    return options, variables


def by_uv(arguments):
    """Whether uv could install it."""
    settings = settings_for_uv()
    if settings is None:
        return False
    options, variables = settings
    with tempfile.TemporaryDirectory() as folder:
        got = [*PIP, "install", "--quiet", "--no-compile", "--target", folder, "uv"]
        if subprocess.run(got, stderr=subprocess.DEVNULL).returncode:
            return False
        command = [Path(folder) / "bin" / "uv", "pip", "install", "--quiet", *options]
        # as pip: the newest version of all indexes
        command += ["--index-strategy", "unsafe-best-match", "--compile-bytecode"]
        command += ["--python", sys.executable, *arguments]
        return not subprocess.run(command, env={**os.environ, **variables}).returncode


def main(arguments):
    if by_uv(arguments):
        return 0
    print("uv cannot install it here: pip does …", flush=True)
    return subprocess.run([*PIP, "install", "--quiet", *arguments]).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
