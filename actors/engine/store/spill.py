"""Blocks to files and back: from arrays to bytes on the engine's thread, which no other touches.

Copying a block out is one pass over its memory; writing it there would make every stream wait for
the disk, so a thread does that with the copy, and another one reads.
"""

import math
import time
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import mlx.core as mx

from actors.engine.store.disk import DiskTier, Offer
from actors.engine.store.fetch import Fetcher, File, Reading
from actors.engine.store.layout import Block, Layout
from actors.engine.store.record import Spec, head
from transport.prefix import root_digest, tokens_in

FORMAT = "mlx-serving prefix block 1"
_USE_STEP_S = 1e-3  # between the times of last use of blocks that are written together
_KINDS = {mx.float32: "F32", mx.float16: "F16", mx.bfloat16: "BF16", mx.uint32: "U32"}


class Place(NamedTuple):
    """Which block: its name (`block_digests`), its tokens, its tenant."""

    digest: bytes
    key: bytes
    salt: str


def model_identity(folder: Path) -> str:
    """Tells a model's files from any others: the configuration, and names and times of weights."""
    found = blake2b((folder / "config.json").read_bytes(), digest_size=16)
    for path in sorted(folder.glob("*.safetensors")):
        real = path.resolve()  # in the hub's cache the content names the file
        stat = real.stat()
        found.update(f"{path.name} {real.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return found.hexdigest()


class Spill:
    """Writes blocks of one model to a tier and finds them there again. Engine thread only."""

    def __init__(self, tier: DiskTier, layout: Layout) -> None:
        self.tier = tier
        self.fetcher = Fetcher(tier.load)
        self._layout = layout
        text = f"{FORMAT}; {tier.identity}; {layout.describe()}"
        self._fingerprint = blake2b(text.encode(), digest_size=32)

    def keep(self, blocks: Iterable[tuple[Place, Block]], until: float | None = None) -> None:
        """Have these blocks written as far as the tier takes them, the most useful first.

        So what goes in one go should be in one call. `until` as in `DiskTier.offer`.
        """
        now = time.time()
        for i, (place, block) in enumerate(blocks):
            self.tier.offer(self._offer(place, block, now - i * _USE_STEP_S), until)

    def _offer(self, place: Place, block: Block, used_time: float) -> Offer:
        return Offer(
            self._name(place, block.bits),
            self._size(block.bits),
            used_time,
            lambda: [self._head(place, block.bits), *map(_bytes_of, block.arrays)],
        )

    def has(self, place: Place, bits: int) -> bool:
        """Whether there is a file for this block; it may still be a bad one."""
        return self.tier.has(self._name(place, bits))

    def begin(self, wanted: Iterable[tuple[Place, int]]) -> Reading:
        """Have the blocks at these places, with these bits, read up to the first that is not right
        there. `wanted` is gone through in the reading thread."""
        return self.fetcher.begin(
            File(self._name(place, bits), self._head(place, bits), self._size(bits))
            for place, bits in wanted
        )

    def block(self, body: memoryview, bits: int) -> Block:
        """The block that a file holds; a copy, being computed."""
        arrays, at = [], 0
        for (_, _, size), (shape, dtype) in zip(
            self._specs(bits), self._layout.shapes(bits), strict=True
        ):
            flat = mx.array(body[at : at + size])  # type: ignore[arg-type]
            arrays.append(flat.view(dtype).reshape(shape))
            at += size
        mx.async_eval(arrays)  # type: ignore[no-untyped-call]
        return Block(tuple(arrays), bits)

    def _name(self, place: Place, bits: int) -> str:
        key = self._fingerprint.digest()
        return blake2b(place.digest + bytes([bits]), digest_size=16, key=key).hexdigest()

    def _head(self, place: Place, bits: int) -> bytes:
        metadata = {
            "format": FORMAT,
            "fingerprint": self._fingerprint.hexdigest(),
            "block": place.digest.hex(),
            "salt": root_digest(place.salt).hex(),
            "bits": str(bits),
            "tokens": " ".join(map(str, tokens_in(place.key))),
        }
        return head(metadata, self._specs(bits))

    def _size(self, bits: int) -> int:
        return sum(size for _, _, size in self._specs(bits))

    def _specs(self, bits: int) -> list[Spec]:
        return [
            (_KINDS[dtype], shape, math.prod(shape) * dtype.size)
            for shape, dtype in self._layout.shapes(bits)
        ]


def _bytes_of(values: mx.array) -> bytes:
    if values.dtype == mx.bfloat16:  # which the buffer protocol does not know
        # On the CPU's stream: on the GPU's this would wait for the step that runs now.
        values = mx.view(values, mx.uint16, stream=mx.cpu)
    return bytes(memoryview(values))  # type: ignore[arg-type]
