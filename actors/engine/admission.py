"""Which waiting requests enter the batch now: by the memory their caches will need.

Pure. Rows of one precision and similar length share a group that is padded to its longest, so a
row's price is the width of its group; what is admitted must fit even when every row runs to its
`max_tokens`.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct

CACHE_STEP_TOKENS = 256  # caches grow in steps of this many tokens
SMALLEST_BUCKET_TOKENS = 512
BUCKET_FACTOR = 4
NEVER_OVERTAKEN_S = 5.0
MAX_PASSED = 16


class Need(Struct, frozen=True):
    """What one request will hold: its final length and in how many bits."""

    tokens: int
    bits: int = 16
    waited_s: float = 0.0


class Room(Struct, frozen=True):
    """What an engine may use; `bytes_per_token` is one row's cache, by bits.

    Layers with a sliding window do not grow beyond it: they are in `windows`, with what a token
    takes in those of each length in tokens, and not in `bytes_per_token`.
    """

    budget_bytes: int
    bytes_per_token: Mapping[int, int]
    max_rows: int | None = None
    open: bool = True  # False: the node is above its hard watermark
    grouped: bool = True  # False: all rows are padded to the longest
    bytes_per_row: int = 0  # of caches that do not grow at all
    windows: Mapping[int, int] = {}

    def row_bytes(self, tokens: int, bits: int) -> int:
        """What a row takes that is padded to this length."""
        # Groups have whole steps; what mlx-lm batches takes one from wherever it ends.
        grouped = -(-tokens // CACHE_STEP_TOKENS) * CACHE_STEP_TOKENS
        width = grouped if self.grouped else tokens + CACHE_STEP_TOKENS - 1
        windows = sum(min(width, window) * each for window, each in self.windows.items())
        return width * self.bytes_per_token[bits] + windows + self.bytes_per_row


def bucket(tokens: int) -> int:
    """The length class of a sequence: an upper bound of its final length."""
    bound = SMALLEST_BUCKET_TOKENS
    while bound < tokens:
        bound *= BUCKET_FACTOR
    return bound


class Reserved:
    """What rows of these final lengths take at their fullest."""

    def __init__(self, needs: Iterable[Need], room: Room) -> None:
        self._room = room
        self._groups: dict[tuple[int, int], tuple[int, int]] = {}  # rows, longest
        self.rows = 0
        self.bytes = 0
        for need in needs:
            self.add(need)

    def add(self, need: Need) -> None:
        """One more row."""
        key, rows, longest = self._with(need)
        self.bytes += self.price(need)
        self._groups[key] = (rows + 1, max(longest, need.tokens))
        self.rows += 1

    def price(self, need: Need) -> int:
        """What one more row costs: its own place, and wider ones for its group."""
        (bits, _), rows, longest = self._with(need)
        before = rows * self._room.row_bytes(longest, bits)
        return (rows + 1) * self._room.row_bytes(max(longest, need.tokens), bits) - before

    def _with(self, need: Need) -> tuple[tuple[int, int], int, int]:
        key = (need.bits, bucket(need.tokens) if self._room.grouped else 0)
        return key, *self._groups.get(key, (0, 0))


def reserved_bytes(needs: Iterable[Need], room: Room) -> int:
    """What rows of these final lengths take at their fullest."""
    return Reserved(needs, room).bytes


def admit(waiting: Iterable[Need], running: Iterable[Need], room: Room) -> list[int]:
    """The places of those that enter now.

    What does not fit is passed by smaller ones, but not for ever.
    """
    reserved, entering, passed = Reserved(running, room), [], 0
    for place, need in enumerate(waiting):
        full = room.max_rows is not None and reserved.rows >= room.max_rows
        if full or not room.open:
            break
        if reserved.bytes + reserved.price(need) <= room.budget_bytes:
            reserved.add(need)
            entering.append(place)
            continue
        passed += 1
        if need.waited_s >= NEVER_OVERTAKEN_S or passed >= MAX_PASSED:
            break
    return entering


def ever_fits(need: Need, room: Room) -> bool:
    """Whether a request would be admitted to an empty batch."""
    return reserved_bytes([need], room) <= room.budget_bytes
