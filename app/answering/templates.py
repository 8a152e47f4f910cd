"""Templates of prompts: Jinja's syntax, cut down until every template ends soon and reaches nothing.

A sandbox keeps a template from Python's insides, but not from loops in loops or from doubling a text forty times. So
what a template may consist of is listed here: values, conditions, filters that make nothing long, and loops over a
collection's own metadata, none within another. What is left takes time and room in proportion to its own length.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from app.errors import InvalidTemplate

logger = logging.getLogger(__name__)

MOST_CHARACTERS = 40_000  # of what a template makes
_MOST_PIECES = 20_000
_FILTERS = frozenset(
    {"capitalize", "d", "default", "first", "int", "last", "length", "lower", "title", "trim", "upper"}
)
_TESTS = frozenset({"defined", "undefined", "none", "string", "number", "eq", "ne", "in", "true", "false"})
_NODES = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Getattr, nodes.Getitem),
    *(nodes.If, nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Concat),
    *(nodes.Filter, nodes.Test, nodes.For, nodes.Tuple, nodes.List, nodes.Keyword),
)  # fmt: skip


def _join(values: Any, between: str = "") -> str:
    """Of a list alone: to join a text's characters, again and again, makes it grow without bound."""
    if not isinstance(values, list | tuple):
        raise InvalidTemplate("Only a list can be joined.")
    return str(between).join(map(str, values))


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    environment.globals.clear()
    environment.filters = {**{name: environment.filters[name] for name in _FILTERS}, "join": _join}
    environment.tests = {name: environment.tests[name] for name in _TESTS}
    return environment


_ENVIRONMENT = _environment()


def render(source: str, variables: Mapping[str, Any]) -> str:
    """What the template makes of the variables. Raises `InvalidTemplate`, also where it makes too much."""
    try:
        pieces = list(islice(_compiled(source).generate(variables), _MOST_PIECES))
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        raise InvalidTemplate(f"The template cannot be filled in: {error}") from error
    text = "".join(pieces)
    if len(pieces) == _MOST_PIECES or len(text) > MOST_CHARACTERS:
        raise InvalidTemplate(f"The template makes more than {MOST_CHARACTERS} characters.")
    return text


def render_or_keep(source: str, variables: Mapping[str, Any]) -> str:
    """The same for a template that was saved before it was one: where it cannot be filled in, it is meant as it is."""
    try:
        return render(source, variables)
    except InvalidTemplate as error:
        logger.warning("a saved prompt is used as it stands: %s", error.message)
        return source


@lru_cache(maxsize=256)
def _compiled(source: str) -> Template:
    try:
        tree = _ENVIRONMENT.parse(source)
        _require_plain(tree)
        return _ENVIRONMENT.from_string(tree)
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        raise InvalidTemplate(f"Line {line or 1} of the template: {error.message}") from error
    except RecursionError as error:
        raise InvalidTemplate("The template is nested too deep.") from error


def _require_plain(tree: nodes.Template) -> None:
    for node in tree.find_all(nodes.Node):
        if not isinstance(node, _NODES):
            raise InvalidTemplate(f"Line {node.lineno} of the template: {type(node).__name__} is not allowed here.")
        if isinstance(node, nodes.For) and not _is_short(node):
            raise InvalidTemplate(
                f"Line {node.lineno} of the template: a loop goes over `metadata` or a field of it, and holds no other."
            )


def _is_short(loop: nodes.For) -> bool:
    over = loop.iter.node if isinstance(loop.iter, nodes.Getattr | nodes.Getitem) else loop.iter
    is_of_metadata = isinstance(over, nodes.Name) and over.name == "metadata"
    return is_of_metadata and not loop.recursive and loop.find(nodes.For) is None
