"""What stands beside the code for whom wants to cite, report or change it."""

import re

import pytest

from fastneg.version import __version__
from helpers.packages import ROOT

yaml = pytest.importorskip("yaml")
FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_citation_is_of_this_version_and_names_the_paper():
    found = yaml.safe_load(text_of("CITATION.cff"))
    assert {"cff-version", "message", "title", "authors"} <= found.keys()
    assert (found["version"], found["license"]) == (__version__, "MIT")
    paper = found["preferred-citation"]
    names = [author["family-names"] for author in paper["authors"]]
    bibtex = re.search(r"author\s*=\s*\{(.*)\}", text_of("README.md"))[1]
    assert names == [author.split(",")[0] for author in bibtex.split(" and ")]
    assert f"{{{paper['title']}}}" in text_of("README.md")


def test_the_changelog_has_its_form():
    lines = text_of("CHANGELOG.md").splitlines()
    versions = [line.removeprefix("## ") for line in lines if line.startswith("## ")]
    assert versions[0] == "Unreleased"
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", each) for each in versions[1:])
    kinds = {line.removeprefix("### ") for line in lines if line.startswith("### ")}
    allowed = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert {"Added", "Changed"} <= kinds <= allowed | {"Measured, and not"}


def test_contributing_names_places_that_there_are():
    text = text_of("CONTRIBUTING.md")
    places = set(re.findall(r"`((?:fastneg|kernels|recipes|tests)/[\w./]+)`", text))
    assert len(places) > 8
    for name in places:
        if "NAME" not in name:
            assert (ROOT / name).exists(), name
    for registry, name in re.findall(r"`([A-Z_]{5,})`\s+of\s+`([\w/.]+)`", text):
        assert re.search(rf"^{registry}\b", text_of(name), re.MULTILINE), (registry, name)
    for link in re.findall(r"\]\(([\w/.]+)\)", text):
        assert (ROOT / link).exists(), link


@pytest.mark.parametrize("form", FORMS, ids=[form.stem for form in FORMS])
def test_an_issue_form_asks_for_what_is_needed(form):
    found = yaml.safe_load(form.read_text(encoding="utf-8"))
    if form.stem == "config":
        return
    assert {"name", "description", "body"} <= found.keys()
    fields = {part["id"]: part for part in found["body"]}
    assert all(part["type"] in ("input", "textarea") for part in fields.values())
    assert all(part["attributes"]["label"] for part in fields.values())
    labels = " ".join(part["attributes"]["label"] for part in fields.values())
    assert "fastneg --version" in labels
    assert form.stem == "question" or "environment.json" in labels


def test_the_forms_are_those():
    assert {form.stem for form in FORMS} == {"bug", "performance", "question", "config"}
