"""Load on a server of the OpenAI API, which cores who has, and what of them was used.

The load is from `wrk`, which must be installed (`apt install wrk`, `brew install wrk`).
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from gateway.auth.keys import new_key

TICKS = os.sysconf("SC_CLK_TCK")
KEY_ID, KEY = new_key()
HEADERS = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}


@dataclass(frozen=True)
class Measured:
    per_second: float
    latency_ms: dict  # by share
    failed: int


def wrk(url, body, connections, seconds, *, core=1, script=""):
    """Load from one thread on this core: as fast as the server answers, unless `script` has a
    function `delay`. What is `NEW_TEXT` in the body is other words in each request."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write('wrk.method = "POST"\n')
        file.writelines(f'wrk.headers["{name}"] = "{value}"\n' for name, value in HEADERS.items())
        file.write(f"wrk.body = [==[{json.dumps(body)}]==]\n")
        file.write((_NEW_TEXT if NEW_TEXT in json.dumps(body) else "") + script + _REPORT)
        file.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
        command = [*pinned(core), *command, "-s", file.name, url]
        out = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(re.search(r"\{.*\}", out.stdout).group())
    latency = {share: found[share] / 1e3 for share in ("p50", "p95", "p99")}
    return Measured(found["requests"] / found["us"] * 1e6, latency, found["failed"])


NEW_TEXT = "@new text@"
NEW_CHARS = 774
WORDS = (
    "the a fox hen river house lost found way home night day told asked why never always went came "
    "back over under old young red grey small great and but then while until friend wood stone"
)
_NEW_TEXT = f"""
local before, after = wrk.body:match("^(.*){NEW_TEXT}(.*)$")
local words = {{{", ".join(f"'{word}'" for word in WORDS.split())}}}
math.randomseed(os.time())
request = function()
  local said, chars = {{}}, 0
  while chars < {NEW_CHARS} do
    local word = words[math.random(#words)]
    said[#said + 1] = word
    chars = chars + #word + 1
  end
  local text = table.concat(said, " "):sub(1, {NEW_CHARS})
  return wrk.format(nil, nil, nil, before .. text .. after)
end
"""
_REPORT = """
done = function(summary, latency)
  local e = summary.errors
  print(string.format('{"requests": %d, "us": %d, "failed": %d, "p50": %d, "p95": %d, "p99": %d}',
    summary.requests, summary.duration, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(95), latency:percentile(99)))
end
"""


@dataclass(frozen=True)
class Cores:
    """Who has which core; only Linux can be told."""

    gateways: tuple = (0,)
    others: int = 1  # control and engine
    load: int = 1


def cores_for(gateways, count):
    """Each gateway alone on a core where there are so many, and the load too; else all on one."""
    if count >= gateways + 2:
        return Cores(tuple(range(gateways)), gateways, gateways + 1)
    return Cores((0,) * gateways)


def pinned(core):
    """What a command begins with so that it stays on this core."""
    return ["taskset", "-c", str(core)] if shutil.which("taskset") else []


def pin(pid, core):
    """Put all threads of a process on this core."""
    if shutil.which("taskset"):
        subprocess.run(["taskset", "-acp", str(core), str(pid)], capture_output=True, check=True)


def cpu_times(pid):
    """Seconds of CPU time so far: the process's own, and the kernel's for it. Their sum is exact,
    how it is divided is sampled, 100 times a second."""
    if not Path("/proc").exists():
        return float("nan"), float("nan")
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) / TICKS, int(fields[12]) / TICKS


def cpu_s(*pids):
    """Seconds of CPU time of these processes so far."""
    return sum(sum(cpu_times(pid)) for pid in pids)


def row(*cells):
    """A line of a table."""
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def head(*cells):
    """The head of a table."""
    row(*cells)
    print("|---" * len(cells) + "|", flush=True)
