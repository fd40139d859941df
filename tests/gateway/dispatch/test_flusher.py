"""On a loop whose time the test says."""

from gateway.dispatch.flusher import AT_ONCE, Flusher


class Loop:
    def __init__(self):
        self.soon = []

    def call_soon(self, run):
        self.soon.append(run)

    def turn(self):
        runs, self.soon = self.soon, []
        for run in runs:
            run()


def flusher():
    loop, flushed = Loop(), []
    return loop, flushed, Flusher(loop, lambda: flushed.append(1))


def test_all_of_one_turn_goes_out_once():
    loop, flushed, it = flusher()
    it.soon()
    it.soon()
    assert flushed == []
    loop.turn()
    assert flushed == [1]


def test_now_is_instead_of_soon():
    loop, flushed, it = flusher()
    it.now()
    assert flushed == []  # there was nothing
    it.soon()
    it.now()
    assert flushed == [1]
    loop.turn()
    assert flushed == [1]


def test_answers_that_are_ready_go_out_before():
    loop, flushed, it = flusher()
    it.after_answers()
    it.after_answers()
    it.now()
    loop.call_soon(lambda: flushed.append("an answer"))
    loop.turn()
    loop.turn()
    assert flushed == ["an answer", 1]


def test_a_part_of_very_many_goes_out_before_the_turn_is_over():
    loop, flushed, it = flusher()
    for _ in range(AT_ONCE + 1):
        it.soon()
    assert flushed == [1]
    loop.turn()
    assert flushed == [1, 1]
