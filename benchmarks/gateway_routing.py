"""How long a request waits for its lease, at half of the load that saturates the gateway.

That is from the question for an engine to the lease in hand, as the gateway's own metric
`mlx_serving_route_seconds` has it, so a share is told by the bucket that it is in. The load comes
from `wrk` at random times (a Poisson process), whatever the answers take.
Run: python -m benchmarks.gateway_routing [--seconds 10]
"""

import argparse
import re
import urllib.request

from benchmarks.gateway import LOADS, fast_server, measure
from benchmarks.load import HEADERS, head, row, wrk

SATURATING = 128  # connections
CALM = 64
SHARES = (0.5, 0.95, 0.99)
_BUCKET = re.compile(r'^mlx_serving_route_seconds_bucket\{le="([^"]+)".*\} (\S+)$', re.MULTILINE)
# Integers are all that wrk waits, in milliseconds.
_DELAY = """
function delay()
  return math.floor(-{mean_ms} * math.log(1 - math.random()) + 0.5)
end
"""


def counts(url):
    """Leases that took so many seconds or less."""
    request = urllib.request.Request(f"{url}/metrics", headers=HEADERS)
    with urllib.request.urlopen(request) as answer:
        found = _BUCKET.findall(answer.read().decode())
    return {float(bound): float(count) for bound, count in found}


def share_s(before, after, share):
    """The bound of the bucket that this share of the leases in between is in."""
    grown = {bound: count - before.get(bound, 0) for bound, count in sorted(after.items())}
    wanted = share * max(grown.values())
    return next(bound for bound, count in grown.items() if count >= wanted)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10)
    seconds = parser.parse_args().seconds
    head("load", "saturated/s", "offered/s", *(f"p{share * 100:g} up to ms" for share in SHARES))
    with fast_server() as server:
        for name, (path, body) in LOADS.items():
            full, _ = measure(server, path, body, SATURATING, seconds)
            mean_ms = CALM / (full.per_second / 2) * 1e3
            before = counts(server.url)
            delay = _DELAY.format(mean_ms=mean_ms)
            half = wrk(server.url + path, body, CALM, seconds, script=delay)
            after = counts(server.url)
            times = [f"{share_s(before, after, share) * 1e3:g}" for share in SHARES]
            row(name, f"{full.per_second:.0f}", f"{half.per_second:.0f}", *times)


if __name__ == "__main__":
    main()
