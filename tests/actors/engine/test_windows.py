"""Models whose layers keep a part of a sequence: what they hold, and what they are charged for."""

import random

import pytest

from actors.engine.adapter import new_caches, read_alone, read_together
from actors.engine.admission import Need, reserved_bytes
from actors.engine.memory import room_for
from actors.engine.model import load
from tests.actors.engine.generate import greedy, make_generator, run
from tests.models import TINY_GEMMA3, TINY_JAMBA, TINY_LLAMA4, TINY_MAMBA2, make_model

pytestmark = pytest.mark.mlx
LONG_WINDOW = TINY_GEMMA3 | {"sliding_window": 800}
KINDS = {
    "window": TINY_GEMMA3,
    "long window": LONG_WINDOW,
    "recurrent": TINY_MAMBA2,
    "hybrid": TINY_JAMBA,
    "chunked": TINY_LLAMA4,
}


@pytest.fixture(scope="module")
def model_of(tmp_path_factory):
    """Models by kind, each made and loaded once."""
    loaded = {}

    def get(kind):
        if kind not in loaded:
            folder = make_model(tmp_path_factory.mktemp("models") / "m", KINDS[kind])
            loaded[kind] = load(folder, kind, None, lambda stage, fraction: None)
        return loaded[kind]

    return get


def prompt(i, length):
    return [(5 * i + j) % 500 for j in range(length)]


def rows(rng, count):
    """Of all lengths; most of them end long before or after the others."""
    lengths = [rng.choice([1, 10, 60, 100, 500, 900]) for _ in range(count)]
    return [greedy(prompt(i, n), rng.choice([1, 8, 40, 90])) for i, n in enumerate(lengths)]


def test_each_kind_of_layer_has_its_price(model_of):
    each = 2 * 32 * 4  # keys and values, one head of 32, 4 bytes
    cost = model_of("window").cost
    assert (cost.per_token, cost.windows, cost.per_row) == (each, {32: 3 * each}, 0)
    assert model_of("window").card.kv_bytes_per_token == 4 * each
    hybrid = model_of("hybrid").cost
    assert (hybrid.per_token > 0, hybrid.windows, hybrid.per_row > 0) == (True, {}, True)
    assert model_of("recurrent").cost.per_token == 0
    assert model_of("recurrent").cost.per_row > 0
    assert list(model_of("chunked").cost.windows) == [64 + 256]


def test_a_long_row_is_charged_for_its_windows_only_once(model_of):
    room = room_for(model_of("window"), 1 << 30, None)
    grown = reserved_bytes([Need(900)], room) - reserved_bytes([Need(300)], room)
    assert grown == 600 * model_of("window").cost.per_token


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunk", [48, 512])
def test_what_is_held_is_never_more_than_what_was_charged(model_of, kind, chunk):
    loaded, rng = model_of(kind), random.Random(7)
    room = room_for(loaded, 1 << 30, None)
    generator, todo, live = make_generator(loaded, chunk=chunk), rows(rng, 16), []
    while todo or live:
        while todo and len(live) < (room.max_rows or 6) and rng.random() < 0.7:
            live.append(todo.pop())
            generator.add(live[-1])
        ended = [step.row for step in generator.step() if step.finished]
        if live and rng.random() < 0.05:
            generator.drop([live[0]])
            ended.append(live[0])
        live = [row for row in live if row not in ended]
        assert generator.kv_bytes <= reserved_bytes([Need(r.final_tokens) for r in live], room)


def test_rows_go_on_as_alone_when_a_long_one_has_left_them(model_of):
    loaded = model_of("long window")
    asked = [(prompt(1, 900), 6), (prompt(2, 20), 40), (prompt(3, 90), 40), (prompt(4, 5), 150)]
    alone = [run(make_generator(loaded), [greedy(*one)])[0] for one in asked]
    assert run(make_generator(loaded), [greedy(*one) for one in asked], stagger=True) == alone
    assert run(make_generator(loaded, chunk=64), [greedy(*one) for one in asked]) == alone


def test_a_batch_is_as_narrow_as_its_rows_when_a_long_one_has_left(model_of):
    loaded = model_of("long window")
    room, generator = room_for(loaded, 1 << 30, None), make_generator(loaded)
    short = [greedy(prompt(i, 20), 60) for i in range(3)]
    for one in [greedy(prompt(9, 900), 4), *short]:
        generator.add(one)
    while not any(step.finished for step in generator.step()):
        continue
    assert generator.kv_bytes <= reserved_bytes([Need(r.final_tokens) for r in short], room)


def test_no_more_than_the_window_is_kept_of_what_was_read(model_of):
    model = model_of("window").model
    alone = new_caches(model)
    read_alone(model, prompt(1, 300), alone)
    together = read_together(
        model, [prompt(1, 300), prompt(2, 280)], [new_caches(model), new_caches(model)]
    )
    for caches in (alone, together):
        assert [cache.keys.shape[2] for cache in caches[:3]] == [32, 32, 32]
