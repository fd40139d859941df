"""All benchmarks one after the other: `make bench`, or `make bench ARGS=--quick`."""

import subprocess
import sys

OF_THE_ENGINE = ("throughput", "stall", "precision", "quality", "overload", "embeddings")
NEXT_TO_PEER = ("grid", "conversation", "footprint")
FULL = {
    "benchmarks.overhead": [],
    "benchmarks.recovery": [],
    "benchmarks.actors": [],
    **{f"benchmarks.{name}": [] for name in OF_THE_ENGINE + NEXT_TO_PEER},
}
QUICK = {
    "benchmarks.overhead": ["--rounds", "2", "--tokens", "64", "--first-token-rounds", "20"],
    "benchmarks.recovery": ["--rounds", "2"],
    "benchmarks.actors": ["--rounds", "20"],
    **{f"benchmarks.{name}": ["--quick"] for name in OF_THE_ENGINE + NEXT_TO_PEER},
}


def main():
    for module, arguments in (QUICK if "--quick" in sys.argv else FULL).items():
        print(f"\n## {module}\n", flush=True)
        subprocess.run([sys.executable, "-m", module, *arguments], check=True)


if __name__ == "__main__":
    main()
