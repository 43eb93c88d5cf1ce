"""The page of an own network shows the call of `fastneg.pretrain` as it is."""

import inspect

import fastneg
from helpers.modules import ROOT

PAGE = (ROOT / "docs" / "how-to" / "own-network.md").read_text(encoding="utf-8")


def test_the_call_is_the_functions():
    signature = inspect.signature(fastneg.pretrain)
    bare = [each.replace(annotation=each.empty) for each in signature.parameters.values()]
    call = signature.replace(parameters=bare, return_annotation=signature.empty)
    assert f"`fastneg.pretrain{call}`" in " ".join(PAGE.split())
