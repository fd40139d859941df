"""Numbers that nobody has to guess: ids of requests and answers, seeds."""

import random
import secrets

_random = random.Random(secrets.randbits(256))


def random_hex(digits: int) -> str:
    """So many hexadecimal digits."""
    return f"{_random.getrandbits(4 * digits):0{digits}x}"


def random_bits(count: int) -> int:
    """A number of so many bits."""
    return _random.getrandbits(count)
