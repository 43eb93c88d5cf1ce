"""The pages say what is there: links lead somewhere, generated pages are up to date, quoted
messages are those of the code, Python parses, lines are short."""

import ast
import importlib.util
import os.path
import re
import shutil
import subprocess
import sys

import pytest

from helpers.doc_pages import DOCS, GENERATED, anchors, blocks, pages, without_code
from helpers.modules import MODULES, ROOT

PAGES = pages()
LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    for target in LINK.findall(without_code(PAGES[name])):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        place = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
        assert (ROOT / place).exists(), f"{name}: {target}"
        if anchor:
            assert anchor in anchors(PAGES[place]), f"{name}: {target}"


@pytest.mark.parametrize("name", PAGES)
def test_headings_are_there_once_and_lines_are_short(name):
    found = anchors(PAGES[name])
    if not name.startswith(tuple(f"docs/{part}" for part in GENERATED)):
        assert len(found) == len(set(found)), f"{name}: {found}"
    for line in PAGES[name].splitlines():
        assert len(line) <= 100 or line.startswith("|") or "](" in line, f"{name}: {line}"


@pytest.mark.parametrize("name", PAGES)
def test_python_blocks_parse_and_their_imports_are_there(name):
    for block in blocks(PAGES[name], "python"):
        tree = ast.parse(block.replace("…", "..."))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "fastneg":
                module = importlib.import_module(node.module)
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{name}: {node.module}.{alias.name}"


def test_every_page_is_in_the_navigation():
    listed = re.findall(r"[\w/-]+\.md", (ROOT / ".ci/mkdocs.yml").read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("reference", ROOT / ".ci/make_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_pages_are_what_the_code_says(reference):
    for path, text in reference.pages().items():
        own = (DOCS / "reference" / path).read_text(encoding="utf-8")
        assert own == text, f"docs/reference/{path} is not up to date: make docs"


def test_every_public_name_is_in_the_reference(reference):
    import fastneg

    listed = {name for _, names in reference.PYTHON.values() for name in names}
    assert set(fastneg.__all__) - {"__version__"} <= listed


def templates():
    """The texts of the code, with … for what is put into them."""
    for path in MODULES.values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (
                    part.value if isinstance(part, ast.Constant) else "…" for part in node.values
                )
                yield "".join(parts)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_quoted_messages_are_those_of_the_code():
    """Each ends where the code's does, or is a part of it."""
    known = "\n".join(" ".join(text.split()) for text in templates())
    quoted = blocks(PAGES["docs/faq.md"], "text")
    missing = [each for each in quoted if " ".join(each.split()).strip("…") not in known]
    assert len(quoted) > 30 and not missing, missing


def test_every_message_has_a_heading_of_its_own():
    sections = re.split(r"^### ", PAGES["docs/faq.md"], flags=re.MULTILINE)[1:]
    assert all(len(blocks(section, "text")) <= 1 for section in sections)


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("material")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", ROOT / ".ci/mkdocs.yml"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [*map(str, command), "-d", str(tmp_path / "site")],
        capture_output=True, text=True, timeout=600, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "site" / "faq" / "index.html").is_file()
    shutil.rmtree(tmp_path / "site")
