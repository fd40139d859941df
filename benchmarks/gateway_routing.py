"""How long a request waits for its lease, at half of the load that saturates the gateway.

That is from the question for an engine to the lease in hand, as the gateway's own metric
`mlx_serving_route_seconds` has it, so a share is told by the bucket that it is in. The load comes
from `wrk` at random times (a Poisson process), whatever the answers take.
Run: python -m benchmarks.gateway_routing [--seconds 10]
"""

import argparse
import re
import time
import urllib.request

from benchmarks.gateway import LOADS, fast_server, measure
from benchmarks.load import HEADERS, head, row, wrk

SATURATING = 128  # connections
CALM = 64
COUNTED_S = 1.5  # gateways hand over what they counted twice a second
GOAL_S = 0.001
SHARES = (0.5, 0.95, 0.99)
_BUCKET = re.compile(r'^mlx_serving_route_seconds_bucket\{le="([^"]+)".*\} (\S+)$', re.MULTILINE)
# One schedule for all connections: whichever is free takes the next moment on it. wrk waits whole
# milliseconds, which are right on the average.
_POISSON = """
local ffi = require("ffi")
ffi.cdef("typedef struct {{ long s, us; }} clock_now; int gettimeofday(clock_now *, void *);")
local now, next_ms = ffi.new("clock_now"), nil
function delay()
  ffi.C.gettimeofday(now, nil)
  local now_ms = tonumber(now.s) * 1e3 + tonumber(now.us) / 1e3
  next_ms = (next_ms or now_ms) - math.log(1 - math.random()) * {mean_ms}
  return math.max(0, math.floor(next_ms - now_ms + math.random()))
end
"""


def counts(url):
    """Leases that took so many seconds or less, of all requests until now."""
    time.sleep(COUNTED_S)
    request = urllib.request.Request(f"{url}/metrics", headers=HEADERS)
    with urllib.request.urlopen(request) as answer:
        found = _BUCKET.findall(answer.read().decode())
    return {float(bound): float(count) for bound, count in found}


def between(before, after):
    """The same, of the requests between two counts."""
    return {bound: count - before.get(bound, 0) for bound, count in sorted(after.items())}


def share_s(grown, share):
    """The bound of the bucket that this share of the leases is in."""
    wanted = share * max(grown.values())
    return next(bound for bound, count in grown.items() if count >= wanted)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10)
    seconds = parser.parse_args().seconds
    shares = (f"p{share * 100:g} up to ms" for share in SHARES)
    head("load", "saturated/s", "offered/s", *shares, f"within {GOAL_S * 1e3:g} ms", "failed")
    with fast_server() as server:
        for name, (path, body) in LOADS.items():
            full, _ = measure(server, path, body, SATURATING, seconds)
            before = counts(server.url)
            poisson = _POISSON.format(mean_ms=1e3 / (full.per_second / 2))
            half = wrk(server.url + path, body, CALM, seconds, script=poisson)
            grown = between(before, counts(server.url))
            times = [f"{share_s(grown, share) * 1e3:g}" for share in SHARES]
            within = f"{grown[GOAL_S] / max(grown.values()):.1%}"
            rates = [f"{found.per_second:.0f}" for found in (full, half)]
            row(name, *rates, *times, within, half.failed)


if __name__ == "__main__":
    main()
