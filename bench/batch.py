"""A study on 50 loopback servers that keep ComfyUI's contract, against the servers' own limit; `batch.py 100 1000`.

The limit is the time that the servers' jobs take, shared out over the servers: no client can be faster. Every job takes
a random time, every hundredth connection breaks or is answered by somebody else. In the middle the client is killed
(kill -9) and started again. The servers share the processor with the client.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import harness
from pack.client.batch.table import Result, Table
from pack.tests.toy.studies import arguments, rows, write

SIZES = (100, 1000, 5000, 20_000)
SERVERS = 50
SECONDS = (1.5, 4.5)  # that a job takes, each as likely
FAULTS = {"unheard": 0.005, "unanswered": 0.002, "between": 0.005}
LOOK = 0.2  # seconds between two looks at the servers, which meanwhile serve nobody


class Emulated:
    """The servers, in a process of their own."""

    def __init__(self) -> None:
        command = [str(harness.ROOT / "tests" / "toy" / "serve_comfies.py"), str(SERVERS), "1", *map(str, SECONDS)]
        self.process = subprocess.Popen(
            [sys.executable, *command, json.dumps(FAULTS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.addresses: list[str] = self.hear()

    def hear(self) -> Any:
        """Returns what they say next."""
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def look(self) -> dict[str, float]:
        """Returns what was posted and made so far."""
        assert self.process.stdin is not None
        self.process.stdin.write("look\n")
        self.process.stdin.flush()
        return self.hear()

    def wait_for(self, name: str, count: float) -> float:
        """Waits until a count is reached, and returns how long that took."""
        began = time.monotonic()
        while self.look()[name] < count:
            time.sleep(LOOK)
        return time.monotonic() - began

    def close(self) -> None:
        """Ends them."""
        self.process.kill()
        self.process.communicate()


class Client:
    """The command, at work."""

    def __init__(self, command: list[str]):
        self.began = time.monotonic()
        self.pid = os.posix_spawn(sys.executable, command, os.environ)

    def end(self, kill: bool = False) -> tuple[float, float, float]:
        """Waits for its end, and returns the seconds on the clock and of the processor, and its peak memory in MB."""
        if kill:
            os.kill(self.pid, 9)
        _, status, used = os.wait4(self.pid, 0)
        assert kill or status == 0, status
        return time.monotonic() - self.began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3


def measure(jobs: int) -> dict[str, float | str]:
    """Runs a study of so many jobs, killed in the middle."""
    servers = Emulated()
    with tempfile.TemporaryDirectory() as folder:
        path, out = write(Path(folder), jobs, pictures=10), Path(folder) / "out"
        command = arguments(path, out, servers.addresses, "--quiet", "--no-report")
        first = Client(command)
        servers.wait_for("made", jobs // 2)
        ended = [first.end(kill=True)]
        before = servers.look()["posted"]
        second = Client(command)
        resumed = servers.wait_for("posted", before + 1)
        ended.append(second.end())
        found = rows(out)
    told = servers.look()
    servers.close()
    assert {row["state"] for row in found} == {"done"}
    assert told["jobs"] == told["made"] == len({row["clips"] for row in found}) == jobs
    seconds, processor = (sum(each[part] for each in ended) for part in (0, 1))
    limit = told["drawn"] / SERVERS
    return {
        "time ratio": round(seconds / limit, 3),
        "seconds": round(seconds, 1),
        "seconds of the limit": round(limit, 1),
        "jobs a second": round(jobs / seconds, 1),
        "peak MB": round(max(each[2] for each in ended)),
        "seconds from the start after a kill to the first new job": round(resumed, 2),
        "processor ms a job": round(1000 * processor / jobs, 1),
        "done twice": int(told["made"] - told["jobs"]),
    }


def table_ms(jobs: int = 500) -> float:
    """Returns the milliseconds that the table takes for a job, each written down as sent and as done."""
    result = Result(("clips/x.mp4",), 1, 1.0, 1.0, {"Sampler": 1.0}, 0.0, {}, ("text",))
    with tempfile.TemporaryDirectory() as folder:
        table = Table(Path(folder))
        with table.together():
            for number in range(jobs):
                table.rows.execute(
                    "INSERT INTO jobs (digest, variant, graph, picture, prompt, settings) VALUES (?,'','','','','')",
                    (str(number),),
                )
        taken = []
        for number in range(1, jobs + 1):
            began = time.perf_counter()
            table.posted(number, "http://127.0.0.1:8188", "id")
            table.done(number, result)
            taken.append(time.perf_counter() - began)
        table.close()
    return 1000 * statistics.median(taken)


def main(sizes: list[str]) -> None:
    """Measures and saves."""
    for jobs in map(int, sizes or SIZES):
        harness.save({f"batch: {jobs} jobs on {SERVERS} servers / the servers' own limit": measure(jobs)})
    harness.save({"batch: the table, a job written down as sent and as done": {"ms": round(table_ms(), 2)}})


if __name__ == "__main__":
    main(sys.argv[1:])
