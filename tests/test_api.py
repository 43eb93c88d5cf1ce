"""docs/api.md names what `import fastneg` offers, as it is."""

import inspect

import fastneg
from helpers.modules import ROOT

PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


def test_every_public_name_is_on_the_page():
    for name in fastneg.__all__:
        assert name.startswith("__") or f"`{name}`" in PAGE or f"fastneg.{name}" in PAGE, name


def test_the_call_is_the_functions():
    signature = inspect.signature(fastneg.pretrain)
    bare = [each.replace(annotation=each.empty) for each in signature.parameters.values()]
    call = signature.replace(parameters=bare, return_annotation=signature.empty)
    assert f"`fastneg.pretrain{call}`" in PAGE
