import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.engine.grammar.compiler import MOST_COMPILED
from actors.engine.grammar.grammars import Grammars
from actors.engine.grammar.matcher import Matcher
from config.errors import EngineError, InvalidRequest
from gateway.text.grammar import choice, json_object, lark, regex
from tests.actors.engine.grammar.walks import (
    EOS,
    OBJECT,
    VOCAB,
    allowed,
    decode,
    encode,
    grammar_of,
    valid,
    walk,
)
from tests.gateway.scripted import DEMO_FOLDER
from transport.messages.data import Grammar

pytestmark = pytest.mark.mlx
THINK_END = 5  # any token does
NASTY = Grammar(
    '{"grammars":[{"lark_grammar":"start: /(.*a.{50}|.*b.{60}|.*c.{70}|.*d.{80}|.*e.{90})*f/"}]}'
)
LEAVES = st.sampled_from(
    [
        {"type": "string", "maxLength": 5},
        {"type": "string", "pattern": "^[a-c]{1,4}$"},
        {"type": "integer", "minimum": -12, "maximum": 345},
        {"type": "boolean"},
        {"type": "null"},
        {"enum": ["red", "green", 7, None, True]},
    ]
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda parts: (
        st.builds(
            lambda items: {"type": "array", "items": items, "minItems": 1, "maxItems": 3}, parts
        )
        | st.builds(lambda some: {"anyOf": some}, st.lists(parts, min_size=1, max_size=3))
        | st.builds(
            lambda some, closed: {
                "type": "object",
                "properties": some,
                "required": sorted(some)[:1],
                "additionalProperties": not closed and {"type": "boolean"},
            },
            st.dictionaries(st.sampled_from(["a", "b", "long name", 'q"']), parts, max_size=3),
            st.booleans(),
        )
    ),
    max_leaves=5,
)


def matcher_of(grammars, grammar, answer=()) -> Matcher:
    return grammars.compile(grammar, list(answer)).result(timeout=30)


def fails(grammars, grammar, answer=()):
    with pytest.raises(InvalidRequest) as caught:
        matcher_of(grammars, grammar, answer)
    return caught.value


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(schema=SCHEMAS, seed=st.integers(0, 2**32))
def test_whatever_is_chosen_satisfies_the_schema(grammars, schema, seed):
    matcher = matcher_of(grammars, grammar_of(schema))
    text = decode(walk(grammars, matcher, np.random.default_rng(seed)))
    assert matcher.stopped, text
    assert valid(json.loads(text), schema), text


@pytest.mark.parametrize("seed", range(3))
def test_any_object(grammars, seed):
    matcher = matcher_of(grammars, json_object(param="response_format"))
    text = decode(walk(grammars, matcher, np.random.default_rng(seed), longest=2000))
    assert isinstance(json.loads(text), dict)


def test_the_end_is_every_end_token_and_nothing_else(grammars):
    matcher = matcher_of(grammars, regex("a+", param="r"))
    matcher.accept(encode("a")[0])
    assert set(EOS) <= set(allowed(grammars.words([matcher])))
    for eos in EOS:
        copy = matcher_of(grammars, regex("a+", param="r"), encode("a"))
        assert not copy.stopped
        copy.accept(eos)
        assert (copy.stopped, copy.error) == (True, None)


def test_it_stops_where_nothing_may_follow(grammars):
    matcher = matcher_of(grammars, choice(["yes", "no"], param="c"))
    for token in encode("yes"):
        assert not matcher.stopped
        matcher.accept(token)
    assert (matcher.stopped, matcher.error) == (True, None)
    assert grammars.words([matcher]) is None


def test_a_token_that_cannot_come_breaks_it_and_raises_nothing(grammars):
    matcher = matcher_of(grammars, choice(["yes", "no"], param="c"))
    for token in (encode("x")[0], 10**6, 2):
        matcher.accept(token)
        assert matcher.error
        assert not matcher.stopped
    assert grammars.words([matcher]) is None


def test_resumed_anywhere_it_allows_what_it_would_have(grammars):
    grammar = grammar_of(OBJECT)
    tokens = encode('{"name": "Rex",\n "kind": "dog", "tags": [true, false]}')
    whole = matcher_of(grammars, grammar)
    for at, token in enumerate(tokens):
        resumed = matcher_of(grammars, grammar, tokens[:at])
        both = grammars.words([whole, resumed])
        assert both is not None
        assert both[0].tolist() == both[1].tolist()
        assert token in allowed(both)
        whole.accept(token)
    assert whole.stopped
    assert matcher_of(grammars, grammar, tokens).stopped
    assert matcher_of(grammars, grammar, [*tokens, 2]).error is None


def test_an_answer_that_does_not_fit_is_refused(grammars):
    assert "answer so far" in fails(grammars, grammar_of(OBJECT), encode("hello")).message


def test_it_may_begin_after_a_token(grammars):
    inner = choice(["yes"], param="c")
    grammar = Grammar(inner.source, starts_after=[THINK_END, 7])
    matcher = matcher_of(grammars, grammar)
    thoughts = [*encode("hm, no"), 2, *encode(" yes")]
    for token in thoughts:
        assert grammars.words([matcher]) is None
        matcher.accept(token)
    matcher.accept(THINK_END)
    begun = grammars.words([matcher])
    fresh = grammars.words([matcher_of(grammars, inner)])
    assert begun.tolist() == fresh.tolist()
    resumed = matcher_of(grammars, grammar, [*thoughts, THINK_END])
    assert grammars.words([resumed]).tolist() == fresh.tolist()
    thinking = matcher_of(grammars, grammar, thoughts)
    assert grammars.words([thinking]) is None
    for token in encode("yes"):
        resumed.accept(token)
    assert resumed.stopped


def test_a_mixed_batch_gives_each_row_its_own_mask(grammars):
    forms = [
        grammar_of(OBJECT),
        choice(["yes", "no"], param="c"),
        regex("[0-9]+", param="r"),
        Grammar(choice(["x"], param="c").source, starts_after=[THINK_END]),
        None,
    ]
    batch = [f and matcher_of(grammars, f) for f in (forms * 7)[:32]]
    words = grammars.words(batch)
    assert words.shape == (32, VOCAB // 32)
    for row, matcher in enumerate(batch):
        alone = grammars.words([matcher])
        if row % 5 > 2:
            assert alone is None
            assert (np.array(words[row]) == 0xFFFFFFFF).all()
        else:
            assert words[row].tolist() == alone[0].tolist()
    assert words.tolist() == np.array(words).tolist()


def test_words_that_were_given_out_do_not_change(grammars):
    first = grammars.words([matcher_of(grammars, choice(["yes"], param="c"))])
    before = np.array(first)
    grammars.words([matcher_of(grammars, regex("[0-9]+", param="r")), None])
    assert (np.array(first) == before).all()


def test_a_grammar_that_explodes_ends_alone(grammars):
    nasty, calm = matcher_of(grammars, NASTY), matcher_of(grammars, regex("[a-f]*", param="r"))
    rng = np.random.default_rng(1)
    letters = [encode(letter)[0] for letter in "abcde"]
    for _ in range(400):
        words = grammars.words([nasty, calm])
        if nasty.error:
            break
        nasty.accept(int(rng.choice(letters)))
        calm.accept(letters[0])
    assert nasty.error
    assert "non-verbose" not in nasty.error
    assert (np.array(words[0]) == 0xFFFFFFFF).all()
    assert set(letters) <= set(allowed(words, 1))
    assert calm.error is None
    assert matcher_of(grammars, NASTY).error is None


def test_compiling_what_is_wrong_fails_that_request_only(grammars):
    bad = [grammars.compile(Grammar(source), []) for source in ("start: nothing", "{", "", "{}")]
    endless = Grammar('{"grammars":[{"json_schema":{"$ref":"#"}}]}')
    assert all(isinstance(future.exception(timeout=30), InvalidRequest) for future in bad)
    assert fails(grammars, endless).param == "grammar"
    assert matcher_of(grammars, lark('start: "a"', param="l")).error is None


def test_the_same_grammar_is_compiled_once_and_its_matchers_are_independent(grammars):
    grammar = choice(["ab", "ac"], param="c")
    futures = [grammars.compile(grammar, []) for _ in range(8)]
    first, *others = [future.result(timeout=30) for future in futures]
    first.accept(encode("a")[0])
    words = grammars.words([first, *others])
    assert all(row == words[1].tolist() for row in words[1:].tolist())
    assert words[0].tolist() != words[1].tolist()


def test_only_so_many_grammars_are_kept(grammars):
    for number in range(MOST_COMPILED + 5):
        matcher_of(grammars, regex(f"x{number}", param="r"))
    assert len(grammars._compiler._compiled) == MOST_COMPILED


def test_logits_may_be_wider_than_the_vocabulary():
    wide = Grammars(DEMO_FOLDER, VOCAB + 100, EOS)
    words = wide.words([matcher_of(wide, regex("(?s:.*)", param="r")), None])
    assert words.shape == (2, (VOCAB + 100 + 31) // 32)
    assert not np.array(words[0, VOCAB // 32 :]).any()
    wide.close()


def test_logits_may_be_narrower_than_the_vocabulary():
    narrow = Grammars(DEMO_FOLDER, VOCAB - 40, EOS)
    words = narrow.words([matcher_of(narrow, regex("[a-z]*", param="r"))])
    assert words.shape == (1, (VOCAB - 40 + 31) // 32)
    narrow.close()


@pytest.mark.parametrize("content", [None, "{}"])
def test_a_model_without_a_usable_tokenizer_only_lacks_grammars(tmp_path, content):
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    without = Grammars(tmp_path, VOCAB, EOS)
    error = without.compile(Grammar('start: "a"'), []).exception(timeout=30)
    assert isinstance(error, EngineError)
    assert without.words([None]) is None
    without.close()
