"""What 16, 8 and 4 bits in the live caches give and cost: sessions in a budget, steps per second.

All with the demo model in this process. Sessions are counted twice, by the price that admission
asks and by really admitting them and running them to their ends. Speed is that of decode steps,
all kinds of batches taking turns. (What becomes of the answers: benchmarks.quality.)
Run: python -m benchmarks.precision [--quick]
"""

import argparse
import random
import statistics
import time

import msgspec

from benchmarks.blas import with_engine_blas
from mlx_serving.tree import demo_folder
from transport.messages.data import Generate, Sampling

BITS = (16, 8, 4)
GREEDY = Sampling(temperature=0.0)
MIB = 1 << 20
PROMPT_TOKENS = 256  # of the rows whose speed is measured
MIXES = {"16": (16,), "8": (8,), "4": (4,), "half 16, half 8": (16, 8), "half 8, half 4": (8, 4)}
WAVES = 2  # so many times what fits is offered


def demo():
    from actors.engine.model import load

    return load(demo_folder(), "demo", None, lambda stage, fraction: None)


def make_generator(loaded, store=None):
    from actors.engine.generator import StepGenerator
    from actors.engine.reading_plan import Pace

    return StepGenerator(loaded, Pace(512, 60.0), store, lambda matchers: None)


def prompt(length, rng):
    return [rng.randrange(300, 3000) for _ in range(length)]


def in_16_bits(loaded):
    """The model as it is where it computes in 16 bits, as far as prices go."""
    import mlx.core as mx

    wide = loaded.shapes[0].dtype.size
    shapes = [msgspec.structs.replace(shape, dtype=mx.float16) for shape in loaded.shapes]
    cost = msgspec.structs.replace(loaded.cost, per_token=loaded.cost.per_token * 2 // wide)
    return msgspec.structs.replace(loaded, shapes=shapes, cost=cost)


def fitting(room, tokens, bits):
    """How many sequences of this final length admission lets in."""
    from actors.engine.admission import Need, admit

    most = room.budget_bytes // (room.bytes_per_token[bits] * tokens) + 1
    return len(admit([Need(tokens, bits)] * most, [], room))


def admitted(loaded, room, tokens, bits, rng):
    """Run twice what fits: the most that ran at once, and the peaks of their caches and of
    what the allocator had in use between steps, as shares of the budget."""
    import mlx.core as mx

    from actors.engine.request import Outputs
    from actors.engine.work import Work

    answer = min(64, tokens // 8)
    work = Work(make_generator(loaded), loaded.card, room, 10_000, None, bits=bits)
    out = Outputs()
    for i in range(WAVES * fitting(room, tokens, bits)):
        asked = prompt(tokens - answer, rng)
        generate = Generate(str(i), 1, asked, answer, 3600.0, GREEDY, ignore_eos=True)
        work.accept(generate, b"gateway:0#1", time.monotonic(), out)
    mx.clear_cache()
    before = mx.get_active_memory()
    most = held = active = 0
    while work.busy:
        work.step(time.monotonic(), out)
        most = max(most, work.running)
        held = max(held, work.kv_bytes)
        active = max(active, mx.get_active_memory() - before)
    return most, held / room.budget_bytes, active / room.budget_bytes


def sessions(loaded, budget_mib, lengths):
    from actors.engine.memory import room_for

    element = loaded.shapes[0].dtype.size
    room = room_for(loaded, budget_mib * MIB, None)
    narrow = room_for(in_16_bits(loaded), budget_mib * MIB, None)
    print(f"| budget {budget_mib} MiB, {element * 8}-bit model | " + " | ".join(
        f"{bits} bits: would fit | ran | caches, peak | in use, peak" for bits in BITS
    ) + " | a 16-bit model: 16, 8, 4 bits |")  # fmt: skip
    print("|---" * (len(BITS) * 4 + 2) + "|")
    rng = random.Random(1)
    for tokens in lengths:
        cells = []
        for bits in BITS:
            most, held, active = admitted(loaded, room, tokens, bits, rng)
            cells += [fitting(room, tokens, bits), most, f"{held:.0%}", f"{active:.0%}"]
        cells.append(", ".join(str(fitting(narrow, tokens, bits)) for bits in BITS))
        print(f"| {tokens} tokens | {' | '.join(map(str, cells))} |", flush=True)


class Decoding:
    """A batch of rows that were read, stepping."""

    def __init__(self, loaded, rows, bits, rng):
        from actors.engine.rows import Row

        self.generator = make_generator(loaded)
        for i in range(rows):
            # Alternating, so that both halves of a mixed batch are alike.
            mine = bits[i % len(bits)]
            self.generator.add(Row(prompt(PROMPT_TOKENS, rng), 10_000, GREEDY, bits=mine))
        while len(self.generator.batch.rows) < rows:
            self.generator.step()
        self.steps(3)

    def steps(self, n):
        """Milliseconds a step."""
        began = time.perf_counter()
        for _ in range(n):
            self.generator.step()
        return (time.perf_counter() - began) / n * 1e3


def speed(loaded, rounds, steps):
    print("\n| decoding | " + " | ".join(f"{name}: ms | speed" for name in MIXES) + " |")
    print("|---" * (2 * len(MIXES) + 1) + "|")
    for rows in (8, 32):
        rng = random.Random(rows)
        batches = {name: Decoding(loaded, rows, bits, rng) for name, bits in MIXES.items()}
        times = {name: [] for name in MIXES}
        for _ in range(rounds):
            for name in rng.sample(list(MIXES), len(MIXES)):
                times[name].append(batches[name].steps(steps))
        cells = []
        for name in MIXES:
            ratio = statistics.median(a / b for a, b in zip(times["16"], times[name], strict=True))
            cells.append(f"{statistics.median(times[name]):.1f} | {ratio:.2f}")
        print(f"| {rows} rows | {' | '.join(cells)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    with_engine_blas("benchmarks.precision")
    loaded = demo()
    sessions(loaded, 16 if quick else 64, (512,) if quick else (512, 2048))
    speed(loaded, 6 if quick else 30, 4 if quick else 10)


if __name__ == "__main__":
    main()
