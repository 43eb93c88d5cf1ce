"""Writes the generated pages of docs/reference: commands and their flags, presets, and the Python
interface, each from the place in the code where it is explained.

    python .ci/make_reference.py            write the pages
    python .ci/make_reference.py --check    exit code 1 if one of them is not what it would write
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
import sys
import textwrap
from pathlib import Path

from fastneg.config import PretrainConfig, field_docs, flag_text
from fastneg.config.pretrain import PARTS
from fastneg.recipes.commands import COMMANDS, DEFAULT_PRESET
from fastneg.recipes.help import DRY_RUN, IN_A_FILE, usage
from fastneg.recipes.presets import PRESETS

DOCS = Path(__file__).resolve().parents[1] / "docs"
REFERENCE = DOCS / "reference"
MADE = "<!-- Made by .ci/make_reference.py: change the docstrings that it reads, not this page. -->"
PARTS_TITLES = ("Data", "Method", "Negatives", "Views", "Optimisation", "The run")

PYTHON = {
    "Training and runs": ("fastneg", ("pretrain", "load_run", "TrainLoader", "EvalLoader")),
    "Losses": (
        "fastneg",
        (
            *("info_nce", "InfoNCEOutput", "InfoNCELoss", "nt_xent", "clip_loss", "siglip_loss"),
            "supervised_contrastive",
        ),
    ),
    "Negatives": ("fastneg", ("patch_negatives",)),
    "Textures": ("fastneg.negatives.texture_torch", ("texture_negatives", "view_sources")),
    ".beton files": ("fastneg.data", ("BetonReader", "open_data", "BetonWriter", "BetonError")),
    "Encoding from a program": ("fastneg.data.encode.samples", ("encode_samples",)),
    "The built-in set": (
        "fastneg.data.stencils",
        ("StencilsSpec", "render", "samples", "write_beton", "write_folder"),
    ),
    "Kernels: batch normalisation": ("fastneg.kernels.batch_norm", ("batch_norm",)),
    "Kernels: patches": ("fastneg.kernels.patch_shuffle", ("patch_shuffle",)),
    "Kernels: augmentation": (
        "fastneg.kernels.augment",
        ("augment", "draw_augment_params", "AugmentParams"),
    ),
    "Kernels: crop and resize": ("fastneg.kernels.crop_resize", ("crop_resize",)),
    "Kernels: textures": ("fastneg.kernels.texture", ("quilt",)),
    "Fused batch normalisation of a network": ("fastneg.models.fused_norms", ("fuse",)),
    "Gathering features of several processes": ("fastneg.distributed", ("gather_own_first",)),
    "Error consistency": ("fastneg.evaluation.consistency", ("error_consistency",)),
    "Steps that were not finite": ("fastneg.training.nonfinite", ("replay",)),
    "A method of your own": ("fastneg.methods", ("Method", "register")),
    "A kind of negatives of your own": ("fastneg.negatives", ("Negative", "register")),
    "A kind of test set of your own": (
        "fastneg.evaluation.sets",
        ("SetKind", "Figure", "register"),
    ),
    "A kernel of your own": ("fastneg.kernels.registry", ("register",)),
    "A benchmark of your own": ("fastneg.recipes.bench.registry", ("register",)),
}
"""{title of a section: (module, names)}"""


def wrapped(text, indent=""):
    """A paragraph in lines of at most 100 characters."""
    return textwrap.fill(
        " ".join(text.split()),
        100,
        initial_indent=indent,
        subsequent_indent=" " * len(indent),
        break_long_words=False,
        break_on_hyphens=False,
    )


def plain(text):
    """Text in which Markdown sees no tags."""
    return re.sub(r"(`[^`]*`)|<", lambda found: found[1] or "&lt;", text)


def bounds_text(field, positional=()):
    """The bounds of a field, in words; empty where there are none."""
    found = []
    for rule, bound in field.metadata.items():
        if rule == "choices":
            found.append("one of " + ", ".join(f"`{choice}`" for choice in bound))
        elif rule == "by":
            found += _by(*bound, positional)
        elif rule == "listed":
            found.append("several as a comma list")
        else:
            found.append(f"{rule.replace('_', ' ')} {bound:g}")
    return "; ".join(found)


def _by(governor, defaults, positional):
    """The defaults of a field that another one governs, those that are alike together."""
    name = f"`{governor.upper()}`" if governor in positional else f"`--{governor}`"
    choices = {}
    for choice, default in defaults.items():
        choices.setdefault(str(default), []).append(f"`{choice}`")
    for default, group in choices.items():
        head = "" if default in ("None", "False", "") else f"`{default}` "
        yield f"{head}with {name} {', '.join(group)}"


def flag(command, field, docs):
    """The entry of one flag."""
    name = field.name.upper() if field.name in command.positional else f"--{field.name}"
    default = field.default
    head = f"- **`{name}`**"
    if default not in (dataclasses.MISSING, "", None):
        head += f" = `{flag_text(default)}`"
    if bounds := bounds_text(field, command.positional):
        head += f" ({bounds})"
    return "\n".join([wrapped(head, ""), wrapped(plain(docs.get(field.name, "")), "  ")])


def command_page(name):
    """The page of one command."""
    command = COMMANDS[name]
    summary = inspect.getdoc(command.config)
    lines = [MADE, f"# fastneg {name}", "", *paragraphs(summary), "```text", usage(name), "```", ""]
    everywhere = {**command.more(), "--config FILE": IN_A_FILE, "--dry_run": DRY_RUN}
    for word, text in everywhere.items():
        lines += [wrapped(f"- **`{word}`**"), wrapped(plain(text), "  ")]
    lines += [""]
    docs, fields = field_docs(command.config), dataclasses.fields(command.config)
    placed = set()
    if issubclass(command.config, PretrainConfig):
        for title, part in zip(PARTS_TITLES, PARTS, strict=True):
            own = [f for f in fields if f.name in {each.name for each in dataclasses.fields(part)}]
            lines += [f"## {title}", "", *(flag(command, f, docs) for f in own), ""]
            placed |= {f.name for f in own}
    left = [field for field in fields if field.name not in placed]
    if left:
        lines += ["## Flags", "", *(flag(command, field, docs) for field in left), ""]
    return "\n".join(lines)


def overview_page():
    """The list of the commands."""
    lines = [
        MADE,
        "# Commands",
        "",
        wrapped(
            "`fastneg COMMAND --help` prints the page of a command. Every command takes "
            "`--config FILE` and `--dry_run`. Values, exit codes and output are described under "
            "[the command line](../command-line.md)."
        ),
        "",
        "| command | what it does |",
        "|---|---|",
    ]
    for name, command in COMMANDS.items():
        summary = " ".join(inspect.getdoc(command.config).partition("\n\n")[0].split())
        lines.append(f"| [{name}]({name}.md) | {plain(summary)} |")
    return "\n".join([*lines, ""])


def presets_page():
    """All presets with the settings in which they differ from the defaults."""
    defaults = PretrainConfig().as_dict()
    given = {field: value for field, value in defaults.items() if value not in ("", None)}
    lines = [
        MADE,
        "# Presets",
        "",
        wrapped(
            "A preset is a complete set of settings for `fastneg pretrain --preset NAME`. Each "
            f"entry lists the flags in which it differs from `{DEFAULT_PRESET}`. `fastneg presets "
            "--all True` prints every flag of every preset."
        ),
        "",
    ]
    for name, preset in PRESETS.items():
        settings = preset().as_dict()
        told = {
            field: value
            for field, value in settings.items()
            if value != defaults[field] and value is not None
        }
        lines += [f"## {name}", "", *paragraphs(inspect.getdoc(preset))]
        if told:
            lines += ["```text", *flag_lines(told), "```", ""]
    lines += [f"## The defaults: {DEFAULT_PRESET}", "", "```text", *flag_lines(given), "```", ""]
    return "\n".join(lines)


def flag_lines(settings):
    text = " ".join(f"--{field}\0{flag_text(value)}" for field, value in settings.items())
    lines = textwrap.wrap(text, 98, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\0", " ") for line in lines]


def paragraphs(text):
    """A docstring's prose as Markdown: its paragraphs, and its indented blocks as code."""
    lines = []
    for block in re.split(r"\n\s*\n", text.strip()):
        if block.startswith("    "):
            lines += ["```text", *textwrap.dedent(block).splitlines(), "```", ""]
        else:
            lines += [wrapped(plain(block)), ""]
    return lines


SECTION = re.compile(r"^(Args|Returns|Raises|Yields|Source|Attributes):[ \t]*(.*)$", re.MULTILINE)


def docstring(text):
    """A docstring in the project's style as Markdown: prose, then a list for each section."""
    parts = SECTION.split(text)
    lines = paragraphs(parts[0]) if parts[0].strip() else []
    for title, first, body in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        if title == "Source" or first.strip():
            prose, _, rest = (first + body).partition("\n\n")
            lines += [wrapped(plain(f"**{title}**: {prose}")), ""]
            lines += paragraphs(rest) if rest.strip() else []
            continue
        entries, _, rest = re.sub(r"\n\n(?=    )", "\n", body.strip("\n")).partition("\n\n")
        lines += [f"**{title}**:", ""]
        for entry in re.split(r"\n(?=    \S)", entries):
            lines.append(wrapped(plain(entry.strip()), "- "))
        lines += ["", *(paragraphs(rest) if rest.strip() else [])]
    return lines


def signature(name, thing):
    """How it is called, without annotations, as a line or several."""
    try:
        found = inspect.signature(thing)
    except ValueError:
        return name
    every = [
        parameter.replace(annotation=parameter.empty)
        for parameter in found.parameters.values()
        if parameter.name != "self"
    ]
    call = f"{name}{found.replace(parameters=every, return_annotation=found.empty)}"
    return "\n".join(textwrap.wrap(call, 96, subsequent_indent="    ", break_long_words=False))


def python_page():
    """The public names, with their docstrings."""
    lines = [
        MADE,
        "# Python interface",
        "",
        "`from fastneg import …` gives the names of the first three sections. Importing `fastneg`",
        "loads neither torch nor DALI: a name is loaded when it is first used.",
        "",
    ]
    for title, (module, names) in PYTHON.items():
        lines += [f"## {title}", "", wrapped(f"`from {module} import {', '.join(names)}`"), ""]
        for name in names:
            thing = getattr(importlib.import_module(module), name)
            lines += [f"### {module}.{name}", "", *described(name, thing)]
            if inspect.isclass(thing) and not issubclass(thing, BaseException):
                for method, own in public_methods(thing):
                    lines += [f"#### {name}.{method}", "", *described(method, own)]
    return "\n".join(lines)


def public_methods(thing):
    """(name, function) of what a class itself defines and explains."""
    for name, own in vars(thing).items():
        own = own.fget if isinstance(own, property) else getattr(own, "__func__", own)
        if not name.startswith("_") and inspect.isfunction(own) and own.__doc__:
            yield name, own


def described(name, thing):
    shape = ["```text", signature(name, thing), "```", ""] if callable(thing) else []
    own = thing.__doc__ or ""
    if inspect.isclass(thing) and own.startswith(f"{thing.__name__}("):
        own = ""  # what dataclass and NamedTuple write where there is none
    return [*shape, *(docstring(inspect.cleandoc(own)) if own else [])]


def navigation():
    """The settings of MkDocs with each command's page in the navigation."""
    text = (REFERENCE / "../../.ci/mkdocs.yml").resolve().read_text(encoding="utf-8")
    first = "          - reference/commands/README.md\n"
    before, after = text.split(first)
    rest = re.sub(r"^( {10}- \w+: reference/commands/\w+\.md\n)*", "", after)
    lines = (f"          - {name}: reference/commands/{name}.md\n" for name in COMMANDS)
    return before + first + "".join(lines) + rest


def _sorted_by(heading):
    """A heading without number, article and signs."""
    return re.sub(r"^(\d+\. )?((a|an|the|on|of|and) )*", "", heading.strip("`_-.").lower())


def index_page():
    """All headings of the pages that are written by hand, in alphabetical order."""
    found = []
    for path in sorted(DOCS.rglob("*.md")):
        text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
        if text.startswith("<!--"):
            continue
        title = re.search(r"^# (.+)$", text, re.M)[1]
        place = path.relative_to(DOCS).as_posix()
        found.append((title, title, place))
        for heading in re.findall(r"^##+ (.+)$", text, re.M):
            words = re.sub(r"[^\w\s-]", "", heading.replace("`", "").lower()).strip()
            found.append((heading, title, f"{place}#{re.sub(r'[ ]', '-', words)}"))
    lines = [MADE, "# Index", "", "All headings of the pages, by their first letter.", ""]
    letter = ""
    for heading, title, place in sorted(found, key=lambda each: _sorted_by(each[0])):
        if (first := _sorted_by(heading)[0].upper()) != letter and first.isalpha():
            letter = first
            lines += ["", f"## {letter}", ""]
        heading = re.sub(r"^\d+\. ", "", heading)
        lines.append(f"- [{heading}]({place})" + (f", {title}" if heading != title else ""))
    return "\n".join(lines)


def pages():
    """{path below docs/reference: text} of all that is generated: pages, and the navigation."""
    made = {f"commands/{name}.md": command_page(name) for name in COMMANDS}
    made["commands/README.md"] = overview_page()
    made["../../.ci/mkdocs.yml"] = navigation()
    made["../topics.md"] = index_page()
    made["presets.md"] = presets_page()
    made["python.md"] = python_page()
    return {
        path: re.sub(r"\n{3,}", "\n\n", text).rstrip("\n") + "\n" for path, text in made.items()
    }


def main(arguments):
    """Write the pages, or name those that are not up to date; returns the exit code."""
    stale = []
    for path, text in pages().items():
        file = REFERENCE / path
        if file.is_file() and file.read_text(encoding="utf-8") == text:
            continue
        stale.append(path)
        if "--check" not in arguments:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            print(f"docs/reference/{path}")
    if "--check" in arguments and stale:
        print(f"Not up to date: {', '.join(stale)}. Run python .ci/make_reference.py.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
