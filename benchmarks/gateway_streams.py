"""What open streams cost a gateway: CPU time for each event, memory for each stream.

The `fast_engine` gives every stream a token at each of its steps; one raw client reads them all.
The gateway has core 0, all else shares core 1.
Run: python -m benchmarks.gateway_streams [--seconds 5]
"""

import argparse
import asyncio
import json
import os
import time
from pathlib import Path

from benchmarks.gateway import fast_server
from benchmarks.load import HEADERS, cpu_times, head, pin, row

STEPS = 20  # of the engine in a second
BEGIN_S = 30.0
BODY = {
    "model": "fast",
    "messages": [{"role": "user", "content": "Hello"}],
    "max_tokens": 4000,
    "stream": True,
}


class Reader(asyncio.Protocol):
    """Asks, and counts the events that come."""

    def __init__(self):
        self.events = 0
        self.begun = asyncio.Event()

    def connection_made(self, transport):
        self.transport = transport
        data = json.dumps(BODY).encode()
        lines = [f"{name}: {value}" for name, value in HEADERS.items()]
        lines += ["Host: localhost", f"Content-Length: {len(data)}", "", ""]
        transport.write("\r\n".join(["POST /v1/chat/completions HTTP/1.1", *lines]).encode() + data)

    def data_received(self, data):
        self.events += data.count(b"data: ")
        if self.events > 2:
            self.begun.set()


async def streams(port, count, seconds, pid):
    """Events a second, CPU microseconds for each, its own and the kernel's, and the MiB of all."""
    loop = asyncio.get_running_loop()
    before = resident(pid)
    readers = []
    for _ in range(count):
        _, reader = await loop.create_connection(Reader, "127.0.0.1", port)
        readers.append(reader)
    async with asyncio.timeout(BEGIN_S):
        await asyncio.gather(*(reader.begun.wait() for reader in readers))
    began, used, counted = time.monotonic(), cpu_times(pid), sum(r.events for r in readers)
    await asyncio.sleep(seconds)
    events = sum(r.events for r in readers) - counted
    took = time.monotonic() - began
    each = [(now - then) / events * 1e6 for now, then in zip(cpu_times(pid), used, strict=True)]
    grown = resident(pid) - before
    for reader in readers:
        reader.transport.abort()
    await asyncio.sleep(1.0)
    return events / took, each, grown


def resident(pid):
    """MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--streams", type=int, nargs="*", default=(50, 400, 1000))
    arguments = parser.parse_args()
    head(
        "streams", "events/s", "us an event", "its own", "the kernel's", "of a core", "MiB for all"
    )
    with fast_server(FAST_ENGINE_STEPS=str(STEPS)) as server:
        pin(os.getpid(), 1)
        port = int(server.url.rsplit(":", 1)[1])
        for count in arguments.streams:
            pid = server.gateways[0]
            rate, each, grown = asyncio.run(streams(port, count, arguments.seconds, pid))
            cost = [f"{us:.1f}" for us in (sum(each), *each)]
            row(count, f"{rate:.0f}", *cost, f"{sum(each) * rate / 1e6:.0%}", f"{grown:.1f}")


if __name__ == "__main__":
    main()
