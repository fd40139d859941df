import msgspec
import pytest

from actors.engine.generator import StepGenerator
from actors.engine.model import load
from actors.engine.reading_plan import Pace
from actors.engine.rows import Row
from actors.engine.store.store import PrefixStore, stored_bits
from tests.actors.engine.generate import greedy, make_generator, row, run
from tests.models import TINY_GEMMA3, TINY_JAMBA, TINY_LLAMA4, TINY_MAMBA2, TINY_WIDE, make_model
from transport.messages.data import Sampling

pytestmark = pytest.mark.mlx


def quiet(stage, fraction):
    """Nobody watches."""


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Its caches can be quantised."""
    return load(make_model(tmp_path_factory.mktemp("wide") / "m", TINY_WIDE), "m", None, quiet)


@pytest.fixture(scope="module", params=[TINY_GEMMA3, TINY_MAMBA2, TINY_JAMBA, TINY_LLAMA4])
def special(request, tmp_path_factory):
    """Models whose caches cannot be cut, or not even batched."""
    name = request.param["model_type"]
    return load(make_model(tmp_path_factory.mktemp(name) / "m", request.param), "m", None, quiet)


@pytest.mark.parametrize("grouped", [True, False])
def test_tokens_are_the_same_alone_together_and_staggered(tiny, grouped):
    def fresh():
        return make_generator(tiny, chunk=64, grouped=grouped)

    alone = [run(fresh(), [row(i)])[0] for i in range(8)]
    assert run(fresh(), [row(i) for i in range(8)]) == alone
    assert run(fresh(), [row(i) for i in range(8)], stagger=True) == alone


def test_rows_of_every_length_class_decode_in_one_batch(tiny):
    lengths = [5, 700, 90, 30]
    alone = [run(make_generator(tiny), [row(i, n)], steps=900)[0] for i, n in enumerate(lengths)]
    generator = make_generator(tiny)
    rows = [row(i, n) for i, n in enumerate(lengths)]
    assert run(generator, rows, steps=900) == alone
    assert generator.kv_bytes == 0


def test_the_size_of_prompt_chunks_does_not_matter(tiny):
    small, large = make_generator(tiny, chunk=16), make_generator(tiny, chunk=512)
    assert run(small, [row(5)]) == run(large, [row(5)])


@pytest.mark.parametrize("cut", [1, 7, 19])
@pytest.mark.parametrize("i", range(5))
def test_a_resumed_row_goes_on_as_the_undisturbed_one(tiny, i, cut):
    whole = run(make_generator(tiny), [row(i)])[0]
    again = row(i, max_tokens=20 - cut, resumed=cut)
    again.tokens = again.tokens + whole[:cut]
    assert run(make_generator(tiny), [again])[0] == whole[cut:]


def test_a_stop_token_ends_its_row_only(tiny):
    whole = run(make_generator(tiny), [row(0)])[0]
    stopping = row(0, stop_ids=frozenset([whole[5]]))
    first = whole.index(whole[5])
    both = run(make_generator(tiny), [stopping, row(1)])
    assert both[0] == whole[: first + 1]
    assert len(both[1]) == 20


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_a_row_can_be_dropped_at_any_stage(tiny, steps):
    generator = make_generator(tiny, chunk=16)
    gone, stays = row(6), row(1)
    generator.add(gone)
    generator.add(stays)
    for _ in range(steps):
        generator.step()
    generator.drop([gone])
    expected = run(make_generator(tiny), [row(1)])[0]
    while len(stays.answer) < len(expected):
        assert all(step.row is stays for step in generator.step())
    assert stays.answer == expected


def test_an_empty_generator_steps_to_nothing(tiny):
    assert make_generator(tiny).step() == []


def test_several_answers_to_one_prompt_read_it_once(tiny):
    generator = make_generator(tiny)
    rows = [Row(list(range(100)), 10, Sampling(seed=s)) for s in range(4)]
    alone = [run(make_generator(tiny), [Row(r.tokens, 10, r.sampling)])[0] for r in rows]
    for one in rows:
        generator.add(one)
    assert len(generator.reader.prompts) == 1
    left = len(rows)
    while left:
        left -= sum(step.finished is not None for step in generator.step())
    assert [r.answer for r in rows] == alone
    assert len({tuple(r.answer) for r in rows}) > 1


@pytest.mark.parametrize("bits", [8, 4])
def test_quantised_rows_decode_beside_full_ones_join_and_leave(wide, bits):
    prompts = [[(11 * i + j) % 500 for j in range(20 + 30 * i)] for i in range(4)]
    alone = [run(make_generator(wide), [greedy(p)])[0] for p in prompts]
    generator = make_generator(wide)
    rows = [greedy(p, bits=bits if i % 2 else 16) for i, p in enumerate(prompts)]
    mixed = run(generator, rows, stagger=True)
    assert mixed[::2] == alone[::2]
    assert [len(answer) for answer in mixed[1::2]] == [8, 8]
    quantised = [run(make_generator(wide), [greedy(p, bits=bits)])[0] for p in prompts[1::2]]
    assert mixed[1::2] == quantised


def test_quantised_rows_take_less_memory(wide):
    def held(bits):
        generator = make_generator(wide)
        generator.add(greedy(range(240), bits=bits))
        generator.step()
        generator.step()
        return generator.kv_bytes

    assert held(8) < 0.35 * held(16)
    assert held(4) < 0.6 * held(8)


def test_memory_can_be_asked_for_at_any_stage_of_quantised_rows(wide):
    generator = make_generator(wide, chunk=16)
    rows = [greedy([i] * 60, bits=8) for i in (1, 2)]
    for one in rows:
        generator.add(one)
    while rows[1].sampled == 0:
        generator.step()
        assert generator.kv_bytes >= 0


def stored(loaded, bits="16"):
    return PrefixStore(loaded.model, bits=stored_bits(bits))


def test_a_conversation_goes_on_from_what_was_stored(tiny):
    store = stored(tiny)
    generator = make_generator(tiny, store=store)
    system = [(3 * i) % 500 for i in range(150)]
    first = greedy([*system, 7, 8], 80)
    run(generator, [first])
    turn = [*first.tokens, *first.answer, 1, 2, 3]
    second = greedy(turn)
    assert run(generator, [second]) == run(make_generator(tiny), [greedy(turn)])
    assert second.cached == len([*first.tokens, *first.answer]) // 64 * 64


def test_a_shared_beginning_is_read_once_even_by_those_who_come_together(tiny):
    store = stored(tiny)
    generator = make_generator(tiny, store=store, chunk=64)
    system = [(3 * i) % 500 for i in range(200)]
    rows = [greedy([*system, i, 5]) for i in range(6)]
    alone = [run(make_generator(tiny), [greedy(r.tokens)])[0] for r in rows]
    assert run(generator, rows) == alone
    assert [r.cached for r in rows] == [0, *[192] * 5]


@pytest.mark.parametrize(("bits", "cached"), [("16", 192), ("8", 0)])
def test_a_resumed_answer_is_computed_anew_where_stored_prefixes_are_quantised(wide, bits, cached):
    generator = make_generator(wide, store=stored(wide, bits))
    prompt = [(3 * i) % 500 for i in range(200)]
    whole = run(generator, [greedy(prompt)])[0]
    again = greedy([*prompt, *whole[:3]], 5, resumed=3)
    assert run(generator, [again])[0] == whole[3:]
    assert again.cached == cached


@pytest.mark.parametrize(("bits", "cached"), [(16, 192), (8, 192), (4, 0)])
def test_what_was_quantised_more_than_stored_blocks_are_is_not_stored(wide, bits, cached):
    store = stored(wide, "8")
    generator = make_generator(wide, store=store)
    prompt = [(3 * i) % 500 for i in range(200)]
    run(generator, [greedy(prompt, bits=bits)])
    second = greedy(prompt)
    run(generator, [second])
    assert second.cached == cached


def test_tenants_share_nothing(tiny):
    generator = make_generator(tiny, store=stored(tiny))
    prompt = [(3 * i) % 500 for i in range(200)]
    rows = [greedy(prompt, salt=salt) for salt in "ab"]
    run(generator, rows)
    assert [r.cached for r in rows] == [0, 0]


def test_special_caches_give_the_same_alone_together_and_stored(special):
    prompts = [[(5 * i + j) % 500 for j in range(50 + 8 * i)] for i in range(3)]
    alone = [run(make_generator(special, chunk=64), [greedy(p)])[0] for p in prompts]
    together = make_generator(special, chunk=64)
    if special.batching == "serial":
        assert [run(together, [greedy(p)])[0] for p in prompts] == alone
        return
    assert run(together, [greedy(p) for p in prompts], stagger=True) == alone
    generator = make_generator(special, store=stored(special))
    first = greedy(prompts[0], 20)
    run(generator, [first])
    turn = [*first.tokens, *first.answer, 9, 9]
    second = greedy(turn)
    assert run(generator, [second]) == run(make_generator(special), [greedy(turn)])
    assert second.cached == len(turn) - 2


def test_running_rows_are_given_their_tokens_between_the_chunks_of_a_long_prompt(tiny):
    generator = StepGenerator(tiny, Pace(64, 60.0), None, lambda matchers: None)
    running, long = greedy(range(5), 100), greedy([i % 500 for i in range(700)], 2)
    generator.add(running)
    for _ in range(5):
        generator.step()
    generator.add(long)
    while not long.sampled:
        before = len(running.answer)
        generator.step()
        assert len(running.answer) == before + 1


class Counted:
    """A model that counts its forward passes."""

    def __init__(self, model):
        self.model, self.passes = model, 0

    def __call__(self, *args, **kwargs):
        self.passes += 1
        return self.model(*args, **kwargs)

    def __getattr__(self, name):
        return getattr(self.model, name)


@pytest.mark.parametrize(("prompt_tokens", "passes"), [(1, 1), (60, 1), (90, 2)])
def test_who_comes_alone_gets_the_first_token_from_the_pass_that_reads_the_prompt(
    tiny, prompt_tokens, passes
):
    model = Counted(tiny.model)
    generator = make_generator(msgspec.structs.replace(tiny, model=model))
    rows = [Row(list(range(prompt_tokens)), 1, Sampling(seed=i)) for i in range(3)]
    tokens = run(generator, rows)
    assert model.passes == passes
    beside = make_generator(tiny)
    beside.add(greedy([7, 8, 9], 50))
    for _ in range(3):
        beside.step()
    again = [Row(list(range(prompt_tokens)), 1, Sampling(seed=i)) for i in range(3)]
    assert run(beside, again) == tokens
