"""What every family must do, read in any pieces and held to by a grammar."""

import json
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llguidance import LLMatcher, LLTokenizer

from config.errors import InvalidRequest
from gateway.text.pieces import Piece
from tests.gateway.text.families import STYLES, joined, make_style, parsed, tool

PROPERTIES = {
    "city": {"type": "string", "maxLength": 30},
    "n": {"type": "integer"},
    "unit": {"enum": ["a b", "c"]},
    "on": {"type": "boolean"},
    "list": {"type": "array", "items": {"type": "string"}},
    "deep": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]},
}
TOOLS = [tool("get_weather", PROPERTIES, required=["city", "n"]), tool("other-1.b")]
WEATHER = {
    "city": 'Paris, "F" {é',
    "n": -3,
    "unit": "a b",
    "on": True,
    "list": ["p", "] q"],
    "deep": {"x": 1.5},
}
FAMILIES = sorted(STYLES)
LOSSLESS = {
    "hermes",
    "qwen3_coder",
    "glm4",
    "llama3",
    "mistral",
    "minimax_m2",
    "pythonic",
    "gemma4",
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Every family's model, and what its engine's grammar would see."""
    out = {}
    for name in FAMILIES:
        folder = tmp_path_factory.mktemp(name)
        model = make_style(name, folder)
        out[name] = model, LLTokenizer(str(folder / "tokenizer.json"), eos_token=2)
    return out


def calls_of(name):
    both = [("get_weather", WEATHER), ("other-1.b", {})]
    return both if STYLES[name].parallel else both[:1]


def made(piece):
    return [(name, json.loads(arguments)) for name, arguments in piece.tool_calls]


@pytest.mark.parametrize("name", FAMILIES)
def test_calls_are_read_in_any_pieces_and_a_grammar_takes_them(name, models):
    model, tokenizer = models[name]
    text = STYLES[name].write(calls_of(name))
    whole = parsed(model.parser([], TOOLS), [text])
    assert made(whole) == calls_of(name)
    assert not whole.content
    assert parsed(model.parser([], TOOLS), text) == whole
    rng = Random(1)
    for _ in range(5):
        cuts = sorted(rng.randrange(len(text)) for _ in range(6))
        pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        assert parsed(model.parser([], TOOLS), pieces) == whole
    tokens = model.encode(text, add_special_tokens=False)
    state = LLMatcher(tokenizer, model.tool_grammar([], TOOLS).source)
    assert state.try_consume_tokens(tokens) == len(tokens), state.get_error()
    assert state.is_accepting()


@pytest.mark.parametrize("name", FAMILIES)
def test_tokens_become_calls(name, models):
    """Special tokens of the family reach the parser, and only where one reads."""
    model, _ = models[name]
    text = STYLES[name].write(calls_of(name))
    tokens = [*model.encode(text, add_special_tokens=False), 2]
    parser, stream = model.parser([], TOOLS), model.stream([], parsed=True)
    pieces = [parser.feed(stream.feed([token])) for token in tokens]
    pieces += [parser.feed(stream.finish()), parser.finish()]
    assert made(joined(pieces)) == calls_of(name)
    plain = model.stream([])
    shown = plain.feed(tokens) + plain.finish()
    assert not any(token in shown for token in STYLES[name].tokens)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_walk_through_the_grammar_is_a_call_that_satisfies_the_schema(name, models):
    properties = {
        "s": {"type": "string", "minLength": 1, "maxLength": 3},
        "n": {"enum": [1, "two", None]},
        "b": {"type": "boolean"},
        "r": {"$ref": "#/$defs/r"},
    }
    tools = [
        tool("f", properties, required=["s", "r"], **{"$defs": {"r": {"type": "null"}}}),
        tool("g", {"s": {"const": "x"}}),
    ]
    model, tokenizer = models[name]
    rng = Random(name)
    for named in ("f", "g", None):
        grammar = model.tool_grammar([], tools, named=named, parallel=False)
        tokens = walk(LLMatcher(tokenizer, grammar.source), rng)
        stream, parser = model.stream([], parsed=True), model.parser([], tools)
        got = parsed(parser, [stream.feed(tokens), stream.finish()])
        ((called, arguments),) = made(got)
        assert called == (named or called)
        assert not got.content
        if called == "g":
            assert arguments in ({}, {"s": "x"})
        else:
            assert {"s", "r"} <= set(arguments) <= set(properties)
            assert isinstance(arguments["s"], str)
            assert 1 <= len(arguments["s"]) <= 3
            assert arguments.get("n") in (1, "two", None)
            assert isinstance(arguments.get("b", True), bool)
            assert arguments["r"] is None


def walk(state, rng):
    """Random tokens that a grammar allows, up to its end."""
    tokens = []
    while not state.is_stopped() and len(tokens) < 300:
        mask = state.compute_bitmask()
        allowed = [
            8 * place + bit
            for place, byte in enumerate(mask)
            for bit in range(8)
            if byte >> bit & 1
        ]
        if 2 in allowed:
            return tokens
        token = rng.choice([*allowed, *allowed[-1:] * len(allowed)])  # tags have high numbers
        assert state.consume_token(token)
        tokens.append(token)
    assert state.is_stopped(), "the grammar came to no end"
    assert not state.is_error(), state.get_error()
    return tokens


@pytest.mark.parametrize("name", FAMILIES)
def test_a_grammar_refuses_what_is_no_call(name, models):
    model, tokenizer = models[name]
    wrong = ["Hello", STYLES[name].write([("nobody", WEATHER)])]
    wrong.append(STYLES[name].write([("get_weather", WEATHER | {"n": "x"})]))
    wrong.append(STYLES[name].write([("get_weather", {"n": 1})]))
    for text in wrong:
        tokens = model.encode(text, add_special_tokens=False)
        state = LLMatcher(tokenizer, model.tool_grammar([], TOOLS).source)
        assert state.try_consume_tokens(tokens) < len(tokens)


@pytest.mark.parametrize("name", FAMILIES)
def test_one_call_means_one(name, models):
    model, tokenizer = models[name]
    if not STYLES[name].parallel:
        return
    two = STYLES[name].write(calls_of(name))
    tokens = model.encode(two, add_special_tokens=False)
    for options in ({"parallel": False}, {"named": "get_weather"}):
        state = LLMatcher(tokenizer, model.tool_grammar([], TOOLS, **options).source)
        assert state.try_consume_tokens(tokens) < len(tokens)
    for pieces in ([two], two):
        only = parsed(model.parser([], TOOLS, parallel=False), pieces)
        assert made(only) == calls_of(name)[:1]
        assert only.content == ""


@pytest.mark.parametrize("name", FAMILIES)
def test_where_one_call_is_allowed_nothing_more_is_waited_for(name, models):
    model, _ = models[name]
    first = STYLES[name].write(calls_of(name)[:1])
    text = STYLES[name].write(calls_of(name)) if STYLES[name].parallel else first
    parser = model.parser([], TOOLS, parallel=False)
    fed = iter(text)
    pieces = [parser.feed(next(fed)) for _ in text if not parser.over]
    assert parser.over
    assert len(pieces) <= len(first)
    rest = [parser.feed("".join(fed)), parser.feed(" and so on"), parser.finish()]
    assert not any(rest)
    assert made(joined(pieces)) == calls_of(name)[:1]


@pytest.mark.parametrize("name", FAMILIES)
def test_where_several_are_allowed_it_is_never_over(name, models):
    model, _ = models[name]
    parser = model.parser([], TOOLS)
    parser.feed(STYLES[name].write(calls_of(name)[:1]))
    assert not parser.over


def test_what_only_looks_like_the_end_of_a_call_is_none(models):
    model, _ = models["pythonic"]
    parser = model.parser([], TOOLS, parallel=False)
    assert not parser.feed('<|tool_call_start|>[get_weather(city="a),')
    assert not parser.over
    piece = parser.feed(' b", n=1), other')
    assert made(joined([piece])) == [("get_weather", {"city": "a), b", "n": 1})]
    assert parser.over


TAGS = sorted({tag for it in STYLES.values() for tag in it.tokens})
SCRAPS = st.sampled_from(
    [*TAGS, *TAGS, "<tool_call>", "</tool_call>", "<function=f>", "<parameter=a>", "</function>",
     "</parameter>", '{"name": "f", "arguments": {', '"a": 1}}', "<minimax:tool_call>", "call:f{",
     '{"name": "f"', "f", "[", "]", "{", "}", ",", " ", "\n", '"', "\\", "é", "<", "f(a=1)",
     " " * 40, "f" * 600,
     "<think>", "</think>"]
)  # fmt: skip


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(parts=st.lists(SCRAPS, max_size=12), data=st.data())
def test_rubbish_gives_the_same_in_any_pieces(parts, data, models):
    text = "".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    for name in FAMILIES:
        model, _ = models[name]
        whole = parsed(model.parser([], [tool("f")]), [text])
        assert parsed(model.parser([], [tool("f")]), pieces) == whole
        assert parsed(model.parser([], [tool("f")]), text) == whole
        if name in LOSSLESS and not whole.tool_calls:
            assert whole == Piece(text)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.text().filter(lambda it: "<" not in it and "[" not in it), cut=st.integers(0, 30))
def test_text_without_tags_passes_as_it_is(text, cut, models):
    for name in FAMILIES:
        model, _ = models[name]
        assert parsed(model.parser([], TOOLS), [text[:cut], text[cut:]]) == Piece(text)


def test_the_name_comes_first_and_arguments_as_they_grow(models):
    for name in ("hermes", "llama3", "mistral", "mistral_new", "deepseek", "kimi_k2", "harmony"):
        model, _ = models[name]
        parser = model.parser([], TOOLS)
        text = STYLES[name].write([("get_weather", {"city": "Rome", "n": 1})])
        deltas = [it for char in text for it in parser.feed(char).tool_calls]
        assert deltas[0].name == "get_weather"
        assert [it.arguments for it in deltas if it.arguments] == list('{"city": "Rome", "n": 1}')
        assert parser.called


def test_ids_are_those_that_templates_take(models):
    def first_id(name):
        model, _ = models[name]
        return model.parser([], TOOLS).feed(STYLES[name].write(calls_of(name))).tool_calls[0].id

    assert len(first_id("hermes")) == len("call_") + 24
    assert len(first_id("mistral")) == 9
    assert first_id("kimi_k2") == "functions.get_weather:0"


@pytest.mark.parametrize("name", ["qwen3_coder", "glm4", "minimax_m2", "pythonic", "gemma4"])
def test_a_schema_that_cannot_be_kept_is_refused(name, models):
    model, _ = models[name]
    tools = [TOOLS[0], tool("f", {"a": {"type": "string"}}, anyOf=[{"required": ["a"]}])]
    with pytest.raises(InvalidRequest, match="anyOf") as caught:
        model.tool_grammar([], tools)
    assert caught.value.param == "tools[1].function.parameters"


def test_what_llguidance_cannot_do_names_the_tool(models):
    model, _ = models["hermes"]
    tools = [TOOLS[0], tool("f", {"a": {"not": {}}})]
    with pytest.raises(InvalidRequest, match="not") as caught:
        model.tool_grammar([], tools)
    assert caught.value.param == "tools[1].function.parameters"
    model.tool_grammar([], tools, named="get_weather")
