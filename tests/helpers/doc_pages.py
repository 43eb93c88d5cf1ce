"""The pages of the documentation, their blocks, and the commands in them."""

import re
import shlex

from helpers.modules import ROOT

DOCS = ROOT / "docs"
FIRST = ("README.md", "docs/getting-started", "docs/how-to")
GENERATED = ("reference/commands", "reference/presets.md", "reference/python.md", "topics.md")


def pages():
    """{path below the checkout: text} of README.md and docs, those that are read first, first."""
    paths = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
    named = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in paths}

    def place(name):
        return next((i for i, start in enumerate(FIRST) if name.startswith(start)), len(FIRST))

    return dict(sorted(named.items(), key=lambda item: place(item[0])))


def blocks(text, language):
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(block):
    """The words of each command of a shell block: lines joined at backslashes, without comments,
    with the variables that the block sets."""
    found, variables = [], {}
    for line in re.sub(r"\\\n\s*", "", block).splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        name, equals, value = words[0].partition("=")
        if len(words) == 1 and equals and name.isupper():
            variables[name] = value.split()
            continue
        found.append([each for word in words for each in _expanded(word, variables)])
    return found


def _expanded(word, variables):
    return variables.get(word[1:], [word]) if word.startswith("$") else [word]


def without_code(text):
    """A page's text without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(text):
    """The anchors of a page's headings, as GitHub and MkDocs name them."""
    found = []
    for heading in re.findall(r"^#{1,6} (.+)$", without_code(text), re.MULTILINE):
        words = re.sub(r"[^\w\s-]", "", heading.replace("`", "").lower()).strip()
        found.append(re.sub(r"\s", "-", words))
    return found
