"""Which texts are computed together, and when."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from actors.engine.embedding.waiting import FIRST_WIDTH, GROWTH, Text, Waiting, width_class

TOKEN_S = 0.001


def texts(owner, *sizes):
    return [Text(owner, place, np.zeros(size, np.int32)) for place, size in enumerate(sizes)]


def sizes(batch):
    return [len(text.tokens) for text in batch]


def batches(waiting, budget):
    found = []
    while batch := waiting.take(budget):
        found.append(batch)
    return found


@given(st.lists(st.lists(st.integers(1, 600), min_size=1), max_size=6), st.integers(1, 2000))
def test_every_text_is_taken_once_in_batches_within_the_budget(requests, budget):
    waiting = Waiting()
    every = [texts(i, *lengths) for i, lengths in enumerate(requests)]
    for due_at, request in enumerate(every):
        waiting.add(request, due_at, TOKEN_S)
    assert waiting.tokens == sum(map(sum, requests))
    found = batches(waiting, budget)
    taken = [text for batch in found for text in batch]
    assert len(taken) == len(set(taken)) == sum(map(len, requests))
    assert waiting.tokens == 0
    for batch in found:
        longest = max(sizes(batch))
        assert len(batch) == 1 or longest * len(batch) <= budget
        # Whatever their lengths, padding is no more than what one class allows.
        assert longest <= FIRST_WIDTH or longest <= GROWTH * min(sizes(batch)) + 1


def test_texts_of_like_length_go_together_whoever_they_are_of():
    waiting = Waiting()
    waiting.add(texts("a", 100, 10), 0.0, TOKEN_S)
    waiting.add(texts("b", 12, 98), 0.0, TOKEN_S)
    assert [sorted(sizes(batch)) for batch in batches(waiting, 1000)] == [[10, 12], [98, 100]]


def test_a_short_request_does_not_wait_for_a_huge_one_that_came_before():
    waiting = Waiting()
    waiting.add(texts("huge", *[100] * 50), 0.0, TOKEN_S)
    first = waiting.take(500)
    waiting.add(texts("short", 7), 0.55, TOKEN_S)  # when five of the texts would be done
    second = waiting.take(500)
    assert {text.owner for text in first + second} == {"huge"}
    assert [text.owner for text in waiting.take(500)] == ["short"]


def test_a_huge_request_gets_its_share_beside_short_ones():
    waiting = Waiting()
    waiting.add(texts("huge", *[100] * 4), 0.0, TOKEN_S)
    for second in range(20):
        waiting.add(texts(second, 20), 0.1 + second * 0.1, TOKEN_S)
    order = [batch[0].owner for batch in batches(waiting, 20)]
    assert order[:5] == ["huge", 0, "huge", 1, "huge"]


def test_later_parts_of_a_request_stand_behind_its_first():
    waiting = Waiting()
    waiting.add(texts("first part", 100), 0.0, TOKEN_S)
    waiting.add(texts("second part", 20), 0.0 + 100 * TOKEN_S, TOKEN_S)
    waiting.add(texts("another", 40), 0.05, TOKEN_S)
    owners = [batch[0].owner for batch in batches(waiting, 100)]
    assert owners == ["first part", "another", "second part"]


def test_what_is_dropped_is_not_taken():
    waiting = Waiting()
    gone, stays = texts("gone", 10, 200), texts("stays", 11)
    waiting.add(gone, 0.0, TOKEN_S)
    waiting.add(stays, 1.0, TOKEN_S)
    waiting.drop(gone)
    waiting.drop(gone)
    assert waiting.tokens == 11
    assert batches(waiting, 100) == [stays]


@given(st.integers(1, 10_000))
def test_a_class_is_not_much_wider_than_a_text(tokens):
    width = width_class(tokens)
    assert tokens <= width <= max(FIRST_WIDTH, GROWTH * tokens)
