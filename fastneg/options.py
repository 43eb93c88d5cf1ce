"""What an option is: a dataclass field with bounds and a docstring.

Methods and negatives declare their options with it; `fastneg.config` makes one config of them all.
Nothing here imports torch.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import itertools
import math
import os
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

LARGEST_SEED = 2**63 - 1
"""The largest seed that every generator takes."""
SYNONYMS = {"gpu": "cuda", "float32": "fp32", "bfloat16": "bf16"}
"""{what others call a choice: ours}, where the letters alone would give another one."""


class ConfigError(ValueError):
    """A setting that cannot be: names the field, the value that came and what was expected.

    Whenever it is found, the command line was wrong.
    """

    exit_code = 2


class UnfitError(ConfigError):
    """A setting that may be, and names what does not serve: data, a run, this machine.

    The job failed.
    """

    exit_code = 1


def nearest(word: object, known: Iterable[str], prefix: str = "") -> str:
    """The end of a sentence about a word that is not among the known ones.

    Returns:
        "; did you mean PREFIX…?" with the known word that begins with it, or is most like it; "."
        where none is.
    """
    lower, typed = {name.lower(): name for name in map(str, known)}, str(word).lower()
    typed = SYNONYMS[typed] if SYNONYMS.get(typed) in lower else typed
    longer = sorted((name for name in lower if name.startswith(typed)), key=len)
    near = longer if len(typed) > 2 and longer else difflib.get_close_matches(typed, lower, 1, 0.5)
    return f"; did you mean {prefix}{lower[near[0]]}?" if near else "."


def reason_of(error: Exception) -> str:
    """Why something cannot be read, without an error's number and path."""
    return getattr(error, "strerror", None) or str(error).rstrip(".")


def option(
    default: Any = dataclasses.MISSING,
    *,
    choices: Sequence[Any] | None = None,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    by: tuple[str, Mapping[Any, Any]] | None = None,
    listed: str | None = None,
) -> Any:
    """A dataclass field with the bounds that `Config` checks.

    by: (name of an earlier field, {choice of it: the default there}): under these choices None
    stands for that default; under any other one the field has no effect, must be None, and a value
    is refused.
    listed: "names" or "paths": the field is a text of several, with commas between them, and takes
    a list too, as `comma_text` does.
    """
    bounds = {
        "choices": choices,
        "at_least": at_least,
        "above": above,
        "at_most": at_most,
        "below": below,
        "by": by,
        "listed": listed,
    }
    return dataclasses.field(
        default=default,
        metadata={name: bound for name, bound in bounds.items() if bound is not None},
    )


def check_bounds(name: str, value: Any, bounds: Mapping[str, Any]) -> None:
    """ConfigError if a value breaks one of the bounds of `option`."""
    rules = {
        "choices": (
            lambda bound: value in bound,
            lambda bound: "one of " + ", ".join(map(str, bound)),
        ),
        "at_least": (lambda bound: value >= bound, lambda bound: f"at least {bound}"),
        "above": (lambda bound: value > bound, lambda bound: f"more than {bound}"),
        "at_most": (lambda bound: value <= bound, lambda bound: f"at most {bound}"),
        "below": (
            lambda bound: value < bound,
            lambda bound: "finite" if bound == math.inf else f"less than {bound}",
        ),
    }
    for rule, (holds, wording) in rules.items():
        if rule not in bounds:
            continue
        bound = bounds[rule]
        # a NaN fails every comparison, so it is refused wherever there is a bound
        if not holds(bound):
            guess = nearest(value, bound) if rule == "choices" else "."
            raise ConfigError(f"--{name} is {value!r}: it must be {wording(bound)}{guess}")


def comma_text(value: Any, kind: str = "names") -> Any:
    """Several names, paths or NAME=VALUE parts as one text with commas between them.

    A list ["a", "b"], a mapping {"a": 1, "b": 2}, "[a, b]" and "a, b" become "a,b", "a=1,b=2",
    "a,b" and "a,b". Anything else stays. Of paths the brackets may be a pattern, [ab], or a part of
    one: they mean a list where commas or = stand between them and no further bracket.
    """
    if isinstance(value, Mapping):
        value = [f"{name}={each}" for name, each in value.items()]
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    if not isinstance(value, str):
        return value
    inner = value[1:-1] if value.startswith("[") and value.endswith("]") else None
    if kind == "paths" and not (inner and re.fullmatch(r"[^][]*[,=][^][]*", inner)):
        return value
    parts = (value if inner is None else inner).split(",")
    return ",".join(part.strip(" '\"") for part in parts)


@cache
def source_docs(cls: type) -> dict[str, str]:
    """{field: the docstring under it} of one dataclass, without its parents.

    The text is read from the source, the one place where a field is explained. Empty where there is
    no source, as of a class that was typed into a shell.
    """
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0].body
    except (OSError, TypeError):
        return {}
    return {
        statement.target.id: inspect.cleandoc(following.value.value)
        for statement, following in itertools.pairwise(body)
        if isinstance(statement, ast.AnnAssign)
        and isinstance(following, ast.Expr)
        and isinstance(following.value, ast.Constant)
    }


URL = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
"""How a URL begins, also one of which a Path has made one slash of two."""


def refuse_url(path: Any, flag: str, instead: str = "name a place on this machine") -> None:
    """ConfigError if a path is a URL, which would be taken for folders of such a name here.

    Args:
        path: str or Path.
        flag: how the command line calls it.
        instead: what to do.
    """
    text = os.fspath(path)
    if URL.match(text) and not os.path.exists(text[: text.index(":") + 1]):
        raise ConfigError(f"{flag} is {text}, a URL, which is not taken here: {instead}.")
