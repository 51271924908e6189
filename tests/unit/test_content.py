"""Text for each recipient: right, equal to what Jinja says, and a fault where a value is missing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from broadcaster.domain.addresses import Channel
from broadcaster.domain.content import (
    Content,
    ContentError,
    Rendered,
    RenderError,
    compile_content,
)
from broadcaster.domain.templates import Text

TEMPLATE_SID = "HX" + "0a" * 16
JINJA = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
NAMES = ("name", "city", "größe", "x1", "class", "range")


def body(text: str, **variables: str) -> str | None:
    return compile_content(Content(body=text)).render(variables).body


@pytest.mark.parametrize(
    ("text", "variables", "expected"),
    [
        ("Hi {{ name }}, the water is rising", {"name": "Ann"}, "Hi Ann, the water is rising"),
        ("{{name}}{{ name }} 100%", {"name": "50%s"}, "50%s50%s 100%"),
        ("{{ name }}", {"name": " Ann "}, " Ann "),
        ("no variables: 100% {not} one", {}, "no variables: 100% {not} one"),
        ("{{ name }}{# not said #}!", {"name": "Ann"}, "Ann!"),
        ("{{ name }}\n{%- raw %} {{ x }}{% endraw %}\n", {"name": "Ann"}, "Ann {{ x }}\n"),
        ("{{ range }} km", {"range": "5"}, "5 km"),
        ("<{{ name }}>", {"name": "<b> & 'c'"}, "<<b> & 'c'>"),
        ("{{ name | upper }}", {"name": "Ann"}, "ANN"),
        ("{{ name[0] }}.", {"name": "Ann"}, "A."),
        ("{{ (minutes | int) * 60 }} s", {"minutes": "2"}, "120 s"),
        ('Hi {{ nick or "friend" }}', {}, "Hi friend"),
        ('Hi {{ nick or "friend" }}', {"nick": "  "}, "Hi friend"),
        ('Hi {{ nick | default("friend") }}', {"nick": ""}, "Hi friend"),
        ("Hi{% if nick %} {{ nick }}{% endif %}!", {"nick": ""}, "Hi!"),
        ("Hi{% if nick is defined %} {{ nick }}{% endif %}!", {"nick": "Bo"}, "Hi Bo!"),
        ("{% if plan == 'a' %}A{% else %}B{% endif %}", {"plan": "b"}, "B"),
        ("{% set n = name %}{{ n }}", {"name": "Ann"}, "Ann"),
    ],
)
def test_rendering(text: str, variables: dict[str, str], expected: str) -> None:
    assert body(text, **variables) == expected


@pytest.mark.parametrize(
    ("text", "variables", "variable"),
    [
        ("Hi {{ name }}", {}, "name"),
        ("Hi {{ name }}", {"name": ""}, "name"),
        ("Hi {{ name }}", {"name": " \t\N{NO-BREAK SPACE}"}, "name"),
        ("{{ a }} {{ b }}", {"a": "1"}, "b"),
        ("{{ a }} {{ b }}", {"a": "1", "b": " "}, "b"),
        ("{{ a }} {{ b }}", {}, "a"),
        ("{{ name | upper }}", {"name": ""}, "name"),
        ("{{ a or b }}", {}, "b"),
        ("{{ a }}{{ name ~ 'x' }}", {"a": "1"}, "name"),
        ("{% if plan == 'a' %}A{% endif %}", {}, "plan"),
        ("{% for c in letters %}{{ c }}{% endfor %}", {}, "letters"),
        ("{{ name[9] }}", {"name": "Ann"}, None),
        ("{{ name.first }}", {"name": "Ann"}, None),
        ("{{ name + 1 }}", {"name": "Ann"}, None),
        ("{{ 1 // (name | int) }}", {"name": "Ann"}, None),
        ("{{ name.__class__ }}", {"name": "Ann"}, None),
        ("{{ name.__class__.__mro__ }}", {"name": "Ann"}, None),
        ("{% if name == 'Bo' %}Hi{% endif %}", {"name": "Ann"}, None),
    ],
)
def test_faults_of_a_row(text: str, variables: dict[str, str], variable: str | None) -> None:
    with pytest.raises(RenderError) as caught:
        body(text, **variables)
    assert caught.value.variable == variable
    assert caught.value.reason == "missing or empty" if variable else caught.value.reason


def test_a_value_of_none_is_missing() -> None:
    with pytest.raises(RenderError, match="name: missing or empty"):
        compile_content(Content(body="Hi {{ name }}")).render({"name": None})  # type: ignore[dict-item]


def test_a_body_too_long_after_rendering_is_the_rows_fault() -> None:
    renderer = compile_content(Content(body="{{ name }}!"))
    assert renderer.render({"name": "x" * 1599}).body == "x" * 1599 + "!"
    with pytest.raises(RenderError, match=r"1,601 characters"):
        renderer.render({"name": "x" * 1600})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Hi {{ first name }}", r"line 1, column 4: .*got 'name' .*one word"),
        ("Hi\n {{ ok }} {{ | }}", r"line 2, column 11: "),
        ("Hi\r\n {{ ok }} {{ | }}", r"line 2, column 11: "),
        ("{{ name", r"line 1, column 1: .*end of print statement"),
        ("{{ ok }} {{ name }", r"line 1, column 10: "),
        ("a\n\n  {% if x %}b", r"line 3, column 3: .*'if'"),
        ("{% nope %}", r"line 1, column 1: .*unknown tag 'nope'"),
        ("{{ name | shout }}", r"line 1, column 1: .*'shout'"),
        ("{% include 'x' %}", r"line 1: .*include"),
        ("\n{% import 'x' as y %}", r"line 2: .*import"),
        ("{{ self }}", "self"),
        ("", "empty"),
        (" \n", "empty"),
        ("{# nothing said #}", "nothing is left"),
        ("{{ 1 // 0 }}", "cannot be worked out"),
        pytest.param("{{ " + "(" * 3000 + "a" + ")" * 3000 + " }}", "nested", id="parentheses"),
        pytest.param("{% for a in b %}" * 30 + "{% endfor %}" * 30, "nested", id="loops"),
        pytest.param("{{ " + "9" * 5000 + " }}", "too long", id="digits"),
        ("{{ 'x' * 10 ** 10 }}", "only two numbers can be multiplied"),
        ("{{ 'x' * 10000000000 }}", "only two numbers can be multiplied"),
        pytest.param("x" * 1601, r"1,601 characters", id="1601 characters"),
    ],
)
def test_faults_of_the_text_itself(text: str, says: str) -> None:
    with pytest.raises(ContentError, match=says):
        compile_content(Content(body=text))


def test_variables_and_columns() -> None:
    renderer = compile_content(
        Content(
            body="{{ name }} {% set a = b %}{{ a }}",
            content_sid=TEMPLATE_SID,
            content_variables={"1": "{{ city }}"},
        )
    )
    assert renderer.variables == {"name", "b", "city"}
    renderer.check_columns(["to", "b", "city", "name"])
    with pytest.raises(
        ContentError, match=r"no such column: city, name \(did you mean City\?\).* has: to, City, b"
    ):
        renderer.check_columns(["to", "City", "b"])
    with pytest.raises(ContentError, match="has: none"):
        renderer.check_columns([])


def test_content_variables_are_rendered_to_a_json_object() -> None:
    variables = {"1": "{{ name }}", "time": "at {{ hour | default('noon') }}", "3": "same"}
    renderer = compile_content(Content(content_sid=TEMPLATE_SID, content_variables=variables))
    rendered = renderer.render({"name": 'A "quoted" Ä'})
    assert rendered == Rendered(None, '{"1":"A \\"quoted\\" Ä","time":"at noon","3":"same"}')
    assert renderer.cost(rendered) == 1
    with pytest.raises(RenderError, match="name: missing or empty"):
        renderer.render({"hour": "9"})


def test_a_syntax_error_in_a_content_variable_names_it() -> None:
    with pytest.raises(ContentError, match="content variable 2, line 1, column 3"):
        compile_content(Content(content_sid=TEMPLATE_SID, content_variables={"1": "x", "2": "a {{ }}"}))


@pytest.mark.parametrize(
    ("content", "says"),
    [(Content(), "nothing to send"), (Content(body="x", content_variables={"1": "x"}), "content sid")],
)
def test_contents_that_are_no_content(content: Content, says: str) -> None:
    with pytest.raises(ContentError, match=says):
        compile_content(content)


def test_media_alone_needs_no_text() -> None:
    renderer = compile_content(Content(media_urls=("https://example.com/a.png",)))
    assert renderer.render({}) == Rendered(None, None)
    assert renderer.cost(renderer.render({})) == 1


def test_the_same_for_everybody_is_rendered_once() -> None:
    renderer = compile_content(Content(body="The water is rising"))
    assert renderer.variables == frozenset()
    assert renderer.render({"a": "1"}) is renderer.render({}) is renderer.over_rows(["a"])(["1"])


@pytest.mark.parametrize(
    ("content", "channel", "cost"),
    [
        (Content(body="x" * 161), Channel.SMS, 2),
        (Content(body="ж" * 71), Channel.SMS, 2),
        (Content(body="x" * 161), Channel.WHATSAPP, 1),
        (Content(body="x" * 161, media_urls=("https://example.com/a.png",)), Channel.SMS, 1),
        (Content(body="x" * 161, options={"SendAsMms": "true"}), Channel.SMS, 1),
        (Content(body="x" * 161, options={"SendAsMms": "false"}), Channel.SMS, 2),
        (Content(content_sid=TEMPLATE_SID), Channel.SMS, 1),
    ],
)
def test_cost(content: Content, channel: Channel, cost: int) -> None:
    renderer = compile_content(content)
    assert renderer.cost(renderer.render({}), channel) == cost


LITERAL = st.text(alphabet=st.sampled_from("ab %s{}#-\n\r\"'\\ä🌊€"), max_size=8)
VARIABLE = st.builds(
    "{}{}{}{}{}".format,
    st.sampled_from(["{{", "{{-", "{{ "]),
    st.just(" "),
    st.sampled_from(NAMES),
    st.just(" "),
    st.sampled_from(["}}", "-}}", "\n}}"]),
)
SOURCE = st.lists(st.one_of(LITERAL, VARIABLE, st.just("{# c #}")), max_size=6).map("".join)
VALUES = st.dictionaries(st.sampled_from(NAMES), st.text(max_size=12))


@given(SOURCE, VALUES)
def test_the_short_cut_says_what_jinja_says(source: str, variables: dict[str, str]) -> None:
    try:
        text = Text(source, "body")
    except ContentError:
        return
    needed = set(text.variables)
    columns = [*variables, "to"]
    row = [*variables.values(), "+14155550100"]
    if all(variables.get(name, "").strip() for name in needed):
        expected = JINJA.from_string(source).render(variables)
        if not expected.strip():
            return
        assert text.over_mapping()(variables) == expected
        assert text.over_rows(columns)(row) == expected
    else:
        with pytest.raises(RenderError) as by_name:
            text.over_mapping()(variables)
        with pytest.raises(RenderError) as by_place:
            text.over_rows(columns)(row)
        assert by_name.value.variable == by_place.value.variable
        assert by_name.value.variable in needed
        assert not variables.get(by_name.value.variable or "", "").strip()


@given(st.lists(st.one_of(LITERAL.filter(lambda text: "{" not in text), VARIABLE), max_size=6).map("".join))
def test_variables_and_literals_alone_take_the_short_cut(source: str) -> None:
    assert Text(source, "body").is_plain


@pytest.mark.parametrize(
    "source", ["{{ a | upper }}", "{% if a %}b{% endif %}", "{{ a.b }}", "{{ 'x' }}", "{{ ﬁ }}"]
)
def test_everything_else_is_jinjas(source: str) -> None:
    assert not Text(source, "body").is_plain


@given(st.text())
def test_any_text_compiles_or_says_why_not(source: str) -> None:
    try:
        compile_content(Content(body=source))
    except ContentError as error:
        assert str(error)  # noqa: PT017 -- both ends are right


def test_rows_shorter_than_the_columns_and_repeated_columns() -> None:
    render = compile_content(Content(body="{{ a }} {{ b }}")).over_rows(["a", "b"])
    with pytest.raises(RenderError, match="b: missing or empty"):
        render(["1"])
    last_wins = compile_content(Content(body="{{ a }} {{ b }}")).over_rows(["a", "b", "a"])
    assert last_wins(["1", "2", "3"]).body == "3 2"
    missing = compile_content(Content(body="{{ a }} {{ b }}")).over_rows(["a"])
    with pytest.raises(RenderError, match="b: missing or empty"):
        missing(["1"])
