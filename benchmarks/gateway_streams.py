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

from benchmarks.gateway import cpu_s, fast_server, pin

STEPS = 20  # of the engine in a second
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
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        transport.write(head.encode() + data)

    def data_received(self, data):
        self.events += data.count(b"data: ")
        if self.events > 2:
            self.begun.set()


async def streams(port, count, seconds, pid):
    """CPU microseconds for each event, the events, and the MiB that the streams took."""
    loop = asyncio.get_running_loop()
    before = resident(pid)
    readers = []
    for _ in range(count):
        _, reader = await loop.create_connection(Reader, "127.0.0.1", port)
        readers.append(reader)
    await asyncio.gather(*(reader.begun.wait() for reader in readers))
    began, spent, counted = time.monotonic(), cpu_s(pid), sum(r.events for r in readers)
    await asyncio.sleep(seconds)
    events = sum(r.events for r in readers) - counted
    took, spent = time.monotonic() - began, cpu_s(pid) - spent
    grown = resident(pid) - before
    for reader in readers:
        reader.transport.abort()
    await asyncio.sleep(1.0)
    return spent / events * 1e6, events / took, spent / took, grown


def resident(pid):
    """MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--streams", type=int, nargs="*", default=(50, 400, 1000))
    arguments = parser.parse_args()
    print("| streams | events/s | us an event | of a core | MiB for all |\n|---|---|---|---|---|")
    with fast_server(FAST_ENGINE_STEPS=str(STEPS)) as server:
        pin(os.getpid(), 1)
        port = int(server.url.rsplit(":", 1)[1])
        for count in arguments.streams:
            pid = server.gateways[0]
            each, rate, share, grown = asyncio.run(streams(port, count, arguments.seconds, pid))
            print(f"| {count} | {rate:.0f} | {each:.1f} | {share:.0%} | {grown:.1f} |", flush=True)


if __name__ == "__main__":
    main()
