"""Templates of prompts: what they may do, and that they end."""

from __future__ import annotations

import pytest

from app.answering.prompt import prompt_variables, require_templates
from app.answering.templates import MOST_CHARACTERS, render, render_or_keep
from app.errors import InvalidTemplate
from tests.answering.samples import make_collection

VARIABLES = {
    "collection": "handbook",
    "language": None,
    "today": "2026-11-22",
    "metadata": {"team": "Night watch", "rooms": ["dome", "cellar"], "long": "x" * 1000, "list": ["y" * 1000] * 100},
}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("You answer for {{ metadata.team }} on {{ today }}.", "You answer for Night watch on 2026-11-22."),
        ("{% if language %}{{ language }}{% else %}any language{% endif %}", "any language"),
        ("{% for room in metadata.rooms %}- {{ room | upper }}\n{% endfor %}", "- DOME\n- CELLAR\n"),
        ("{{ metadata.rooms | join(', ') }} {{ metadata.size | default('?') }}", "dome, cellar ?"),
        ('Answer as {"a": 1}. 100 %, <b>&', 'Answer as {"a": 1}. 100 %, <b>&'),
    ],
)
def test_a_template_is_filled_in(source: str, text: str) -> None:
    """Variables, conditions, a loop over metadata, and filters that make nothing long."""
    assert render(source, VARIABLES) == text


@pytest.mark.parametrize(
    "source",
    [
        "{{ nothing }}",
        "{{ metadata.nothing }}",
        "{{ ",
        "{% if %}",
        "{{ metadata.__class__.__mro__ }}",
        "{{ ''.__class__ }}",
        "{{ metadata.pop('team') }}",
        "{{ range(10) }}",
        "{{ cycler }}",
        "{% set a = 1 %}",
        "{% macro a() %}{{ a() }}{% endmacro %}",
        "{% include '/etc/passwd' %}",
        "{{ 10 ** 10 }}",
        "{{ 'a' * 1000000000 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ metadata.team | format(1) }}",
        "{{ metadata.long | join(metadata.long) }}",
        "{{ 'x' | center(1000000000) }}",
        "{% for a in metadata %}{% for b in metadata %}x{% endfor %}{% endfor %}",
        "{% for a in metadata recursive %}{{ loop(metadata) }}{% endfor %}",
        "{% for a in 'long text' %}{% endfor %}",
        "{{ " + "(" * 2000 + "1" + ")" * 2000 + " }}",
        "{% for a in metadata.list %}{{ a }}{% endfor %}",
        "{% for a in metadata.long %}" + "{{ a }}" * 30 + "{% endfor %}",
    ],
    ids=lambda source: source[:30],
)
def test_what_a_template_may_not(source: str) -> None:
    """Whatever reaches further, or may not end, is refused with a reason that names no internals."""
    with pytest.raises(InvalidTemplate) as refused:
        render(source, VARIABLES)
    assert len(refused.value.message) < 300


def test_what_a_template_makes_is_bounded() -> None:
    """A result that is too long is refused, not cut."""
    with pytest.raises(InvalidTemplate, match=str(MOST_CHARACTERS)):
        render("{{ metadata.long }}" * 50, VARIABLES)


def test_a_prompt_from_before_there_were_templates_stays() -> None:
    """A saved text that is no template is used as it stands."""
    assert render_or_keep("Write {{name}}.", VARIABLES) == "Write {{name}}."


def test_templates_are_tried_when_they_are_saved() -> None:
    """With the collection's own values; the question must be in the template of the question."""
    metadata = {"team": "Night watch"}
    require_templates(make_collection(system_prompt="For {{ metadata.team }}", metadata=metadata), {})
    require_templates(make_collection(question_template="Q: {{ question }}", language="fr"), {})
    with pytest.raises(InvalidTemplate) as refused:
        require_templates(make_collection(system_prompt="For {{ metadata.team }}"), {})
    assert refused.value.param == "settings.system_prompt"
    with pytest.raises(InvalidTemplate, match="question"):
        require_templates(make_collection(question_template="Answer."), {})
    unchanged = make_collection(system_prompt="{{ broken")
    require_templates(unchanged, unchanged.settings)


def test_the_variables_of_a_prompt() -> None:
    """Those that are documented, the language by its name."""
    variables = prompt_variables(make_collection(language="zh-Hant", metadata={"year": 2026}))
    assert variables.keys() == {"collection", "language", "today", "metadata"}
    assert (variables["collection"], variables["language"]) == ("default", "Chinese (zh-Hant)")
    assert len(variables["today"]) == len("2026-11-22")
