"""Kinds of test sets: the interface of a kind, and the list of known kinds.

Each kind is a file of this folder and a line in `fastneg.evaluation.sets`. A kind of one's own is a
class in any file, given to `register`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from fastneg import plugins
from fastneg.config import ConfigError, PretrainConfig
from fastneg.data.remote import is_remote
from fastneg.evaluation.context import Context, OpenedSet
from fastneg.evaluation.first_set import lines_of_first
from fastneg.evaluation.shared import mark_shared
from fastneg.evaluation.view import View, chosen_view, told_of_view
from fastneg.runs.results import refuse_other

KINDS: list[SetKind] = []
"""Instances of `SetKind`, in the order in which they are asked whether a path is theirs."""


class Figure(NamedTuple):
    """A row of the report's table of figures."""

    title: str
    kind: str
    """The kind of the line of evaluation.jsonl."""
    field: str
    """The field of that line, a number."""
    highest: bool | None = True
    """Whether the highest is the best; None: none is marked."""


class SetKind:
    """One kind of published test set: how it is stored, shown and scored.

    A kind overrides only what differs. A kind with its own layout on disk has `holds`, `open` and
    `score`. One with labels derives from `labelled.LabelledKind`, which scores it. A kind that is
    recognised by its content, in any layout, has `fits`, and `view` or `fields`.
    """

    metrics: tuple[str, ...] = ()
    """The words METRIC of --sets NAME=PATH:METRIC that it gives figures for."""
    kinds_of_lines: tuple[str, ...] = ()
    """The kinds of lines of evaluation.jsonl that `told` speaks of."""
    clean: bool = True
    """Whether its images are clean ones, of which --corruptions and --similarity may be asked."""
    figures: tuple[Figure, ...] = ()
    """A `Figure` for each number of its lines that the report shows in its table."""

    def holds(self, path: str) -> bool:
        """Whether a path holds a set of this kind: a folder, a file, or a glob or list of files."""
        return False

    def open(self, path: str, run: str, **options: Any) -> AbstractContextManager[Any]:
        """A context manager that returns an open `BetonReader` of the set.

        Args:
            run: the run folder, under which files may be made.
            options: keywords. `workers`: processes that encode, 0 for all cores. `report`: called
                with a message for the user. `known`: class names of which a set must have some, so
                that a wrong set is refused before it is encoded; None: any. `classes`: the
                classifier's class names, or None. `cache_dir`, only if the path is a URL: the
                folder of local copies, "" for the default.
        Raises:
            ConfigError, BetonError: there is no readable set.
        """
        raise NotImplementedError(f"{type(self).__name__} holds sets and cannot open them.")

    def fits(self, name: str, path: str, reader: Any) -> bool:
        """Whether an open set is of this kind by its content, in any layout.

        Args:
            name, path: those given for the set.
            reader: its open `BetonReader`, with labels or without.
        """
        return False

    def view(self, reader: Any, config: PretrainConfig) -> View | None:
        """The view in which others show such a set: a `fastneg.evaluation.view.View`.

        None: the run's resize and central crop.

        Args:
            config: PretrainConfig of the run.
        """

    def score(self, opened: OpenedSet) -> list[dict[str, Any]]:
        """The lines of evaluation.jsonl of an `OpenedSet`.

        They are dicts with `kind`, the fields of `opened.common()`, and figures.

        Raises:
            ConfigError: the set cannot be scored.
        """
        raise NotImplementedError(f"{type(self).__name__} holds sets and cannot score them.")

    def fields(self, reader: Any, index: Any, judged: Any, arg_max: str) -> dict[str, Any]:
        """Further fields for the line of accuracy of a set that fits this kind.

        Args:
            index: (N,) int64, positions in the file of the images that were answered.
            judged: `fastneg.evaluation.sets.labelled.Judged` of these images.
            arg_max: "all" or "present".
        """
        return {}

    def told(self, row: dict[str, Any]) -> list[str]:
        """A line of results as text for the terminal, a list of str.

        Empty if the table already shows the line.
        """
        return []

    def evaluate(
        self, name: str, asked: Any, context: Context
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """(lines of evaluation.jsonl, problems as texts) of a set with this layout.

        Args:
            name: of the set.
            asked: `fastneg.evaluation.sets.named.NamedSet`.
            context: `fastneg.evaluation.context.Context`.
        """
        head, config = context.head, context.config
        known = None if head.classes is None else {*head.classes, *context.categories}
        options = {"workers": config.threads, "report": context.report, "known": known}
        if is_remote(asked.path):
            options["cache_dir"] = config.cache_dir or context.loaded.config.cache_dir
        with self.open(asked.path, context.run, classes=head.classes, **options) as reader:
            published = published_view(self, name, asked.path, reader, context.loaded.config)
            view = chosen_view(asked.resize, published, context.loaded.config)
            refuse_other(context.run, name, "resize", str(view.resize), "with resize")
            opened = OpenedSet(name, asked.path, reader, view, asked.metric, context)
            if said := told_of_view(view, reader, context.loaded.config):
                opened.tell(said)
            rows = self.score(opened)
            problems = lines_of_first(opened, rows)
            mark_shared(name, rows, reader, head)
        return rows, problems


def register(kind: SetKind) -> SetKind:
    """Add a kind of test set to `fastneg evaluate` and to the report.

    It has priority over the kinds that are already registered.

    Args:
        kind: an instance of a class derived from `SetKind`.
    Raises:
        TypeError: it is something else.
    """
    if not isinstance(kind, SetKind):
        raise TypeError(
            f"register was given {kind!r}: an instance of a class derived from "
            "fastneg.evaluation.sets.SetKind was expected."
        )
    KINDS.insert(0, kind)
    return kind


def known():
    """All kinds, those of plugins among them, in the order in which they are asked."""
    plugins.load()
    return KINDS


def metrics():
    """The words METRIC that some kind gives figures for."""
    return tuple(dict.fromkeys(word for kind in reversed(known()) for word in kind.metrics))


def kind_of(path, metric=None):
    """The kind of the set at a path.

    Args:
        metric: one of `metrics`: only kinds that give it are asked; None: all.
    Raises:
        ConfigError: a URL that none of them holds.
    """
    able = [kind for kind in known() if metric is None or metric in kind.metrics]
    found = next((kind for kind in able if kind.holds(path)), None)
    if found is None and is_remote(path):
        raise ConfigError(
            f"{path} is a URL, and of those .beton files alone are read, without the metric "
            f"{metric}: copy the folder to this machine and name it here."
        )
    return found or able[-1]


def fitting(name, path, reader):
    """The kinds that an open set is of by its content; arguments as of `SetKind.fits`."""
    return [kind for kind in known() if kind.fits(name, path, reader)]


def published_view(kind, name, path, reader, config):
    """The `View` that others have of a set.

    None where nothing says that it is more than photographs.

    Args:
        kind: whose layout the set has.
    """
    for each in (kind, *fitting(name, path, reader)):
        if (view := each.view(reader, config)) is not None:
            return view
    return None


def told_of(row):
    """A line of evaluation.jsonl in words, as its kind of set says; [] where none does."""
    for kind in known():
        if row["kind"] in kind.kinds_of_lines:
            return kind.told(row)
    return []


def figures():
    """The rows of the report's table that the known kinds give, `Figure`s, each once."""
    return tuple(dict.fromkeys(each for kind in reversed(known()) for each in kind.figures))
