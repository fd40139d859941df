"""What batching of texts by length is worth, in the engine and through a server.

Run: python -m benchmarks.embeddings [--texts 400] [--model FOLDER]
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import aiohttp
import numpy as np
from tokenizers import Tokenizer

from actors.engine.embedding.model import load_embedder
from actors.engine.embedding.waiting import Text, Waiting
from benchmarks.blas import with_engine_blas
from tests.embedding_models import minilm

WORDS = "the report says that prices of wood and steel rose again while grain fell"
ROWS = 32
READY_S = 120


def texts_of(count):
    """Of 3 to 200 words, most of them short."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(3.0, 1.0, count), 3, 200).astype(int)
    return [" ".join(rng.choice(WORDS.split(), length)) for length in lengths]


def timed(label, tokens, work):
    began = time.perf_counter()
    work()
    took = time.perf_counter() - began
    print(f"| {label} | {took:.2f} | {tokens / took:.0f} |", flush=True)


def by_length(embedder, texts):
    waiting = Waiting()
    waiting.add([Text(None, i, text) for i, text in enumerate(texts)], 0.0, 0.0)
    while batch := waiting.take(embedder.batch_tokens):
        embedder.embed([text.tokens for text in batch])


def in_the_engine(folder, texts):
    embedder = load_embedder(folder, "m", None, lambda stage, share: None)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    ids = [np.array(one.ids, np.int32) for one in tokenizer.encode_batch_fast(texts)]
    tokens = sum(map(len, ids))
    print(f"\n{len(ids)} texts, {tokens} tokens\n\n| | s | tokens/s |\n|---|---|---|")
    embedder.embed(ids[:ROWS])
    timed("one text at a time", tokens, lambda: [embedder.embed([one]) for one in ids])
    groups = [ids[i : i + ROWS] for i in range(0, len(ids), ROWS)]
    timed(f"{ROWS} at a time as they come", tokens, lambda: [embedder.embed(it) for it in groups])
    timed("by length and token budget", tokens, lambda: by_length(embedder, ids))


async def ask(session, url, given):
    began = time.perf_counter()
    body = {"model": "m", "input": given, "encoding_format": "base64"}
    async with session.post(f"{url}/v1/embeddings", json=body) as answer:
        assert answer.status == 200, await answer.text()
        await answer.read()
    return time.perf_counter() - began


async def through_a_server(url, texts):
    print("\n| through a server | s | texts/s | p50 ms |\n|---|---|---|---|")
    async with aiohttp.ClientSession() as session:

        async def clients(count):
            queue = iter(texts)

            async def client():
                return [await ask(session, url, text) for text in queue]

            return [it for times in await asyncio.gather(*(client() for _ in range(count)))
                    for it in times]  # fmt: skip

        async def whole():
            return [await ask(session, url, texts)]

        for label, run in [
            ("1 client, a text a request", lambda: clients(1)),
            ("32 clients, a text a request", lambda: clients(32)),
            ("one request of all", whole),
        ]:
            began = time.perf_counter()
            times = await run()
            took = time.perf_counter() - began
            p50 = statistics.median(times) * 1e3
            print(f"| {label} | {took:.2f} | {len(texts) / took:.0f} | {p50:.1f} |", flush=True)
        large = asyncio.create_task(ask(session, url, texts * 2))
        await asyncio.sleep(0.2)
        short = [await ask(session, url, "a short one") for _ in range(5) if not large.done()]
        beside_ms = statistics.median(short) * 1e3
        print(f"\nA short request beside a large one: {beside_ms:.0f} ms", end="")
        print(f"; the large one: {await large:.1f} s")


def serve(folder, texts):
    with tempfile.TemporaryDirectory(prefix="mlxb-", dir="/tmp") as place:
        command = [sys.executable, "-m", "mlx_serving", "serve", f"{folder}=m", "--port", "18189"]
        command += ["--runtime-dir", f"{place}/run"]
        server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        url = "http://127.0.0.1:18189"
        try:
            wait_ready(url)
            asyncio.run(through_a_server(url, texts))
        finally:
            server.terminate()
            server.wait(60)


def wait_ready(url):
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/ready", timeout=5) as answer:
                if json.load(answer)["status"] == "ready":
                    return
        except OSError:
            time.sleep(0.2)
    raise SystemExit("the server is not ready")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=400)
    parser.add_argument("--model", type=Path, help="a folder; default: all-MiniLM-L6-v2")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    with_engine_blas("benchmarks.embeddings")
    folder = arguments.model or minilm()
    texts = texts_of(60 if arguments.quick else arguments.texts)
    in_the_engine(folder, texts)
    serve(folder, texts)


if __name__ == "__main__":
    main()
