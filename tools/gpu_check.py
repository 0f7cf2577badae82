"""Check what misfired claims of a GPU, on the GPU of this machine; takes at most 8 minutes.

    python tools/gpu_check.py --out gpu-check

Needs a llama-cpp-python with a GPU backend, numpy, gguf, 10 GB of disk and 6 GB on the card. Each part runs
in a process of its own, so that a crash of one is a line of the table. Writes gpu_check.json and
gpu_check.md; please send both in with an issue if a line says MISSED.

The models have random weights: an answer means nothing, and a difference between two ways of computing
the same answer means as much as anywhere. Real weights move scores less.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from gpu_parts import SHAPES, Report, parts


def about(device: str) -> dict[str, Any]:
    """Return the card, the driver as nvidia-smi names it, and the versions."""
    from misfired.scoring import environment  # noqa: PLC0415
    from misfired.scoring.llama.device import found_devices  # noqa: PLC0415
    from misfired.scoring.llama.library import versions  # noqa: PLC0415

    ask = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        card = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        card = ""
    environment.before_loading()
    return {
        "device": device,
        "card": card,
        "devices": [str(each) for each in found_devices()],
        "versions": versions(),
        "n_cores": os.cpu_count(),
    }


def run_part(name: str, chosen: argparse.Namespace) -> None:
    """Run one part, in this process, and write what it found."""
    report = Report(chosen.models / f"part-{name}.json")
    work = dict(parts(chosen.small, chosen.large, chosen.n_prompts))[name]
    from misfired.scoring import environment  # noqa: PLC0415

    environment.before_loading()
    faulthandler.dump_traceback_later(chosen.part_seconds - 3)
    try:
        work(report, chosen.models, chosen.device)
    except Exception as found:
        report.error = f"{type(found).__name__}: {found}"
    report.write()


def main() -> int:
    """Run every part; return the exit code: 0 if every line holds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("gpu-check"))
    parser.add_argument("--models", type=Path, help="folder of the models; default: OUT")
    parser.add_argument("--device", default="gpu", help="cpu tries the script itself")
    parser.add_argument("--small", default="50m", choices=[*SHAPES])
    parser.add_argument("--large", default="1b", choices=[*SHAPES])
    parser.add_argument("--n-prompts", type=int, default=720)
    parser.add_argument("--seconds", type=float, default=460.0, help="begin no part after these")
    parser.add_argument("--part-seconds", type=float, default=120.0, help="most of one part")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    chosen.models = chosen.models or chosen.out
    for folder in (chosen.out, chosen.models):
        folder.mkdir(parents=True, exist_ok=True)
    if chosen.part == "about":
        (chosen.models / "part-about.json").write_text(json.dumps(about(chosen.device)))
        return 0
    if chosen.part:
        run_part(chosen.part, chosen)
        return 0
    started, lines, seconds = time.perf_counter(), [], {}
    for name in ("about", *dict(parts(chosen.small, chosen.large, chosen.n_prompts))):
        print(f"[{time.perf_counter() - started:.0f} s] {name}", flush=True)
        if time.perf_counter() - started > chosen.seconds:
            lines.append((name, "not begun", f"{chosen.seconds:.0f} s are over", None))
            continue
        result = child(name, chosen)
        seconds[name] = round(result.get("seconds", 0.0), 1)
        lines += result.get("lines", [])
        if result.get("error"):
            lines.append((name, result["error"], "no error", False))
        write(chosen.out, result if name == "about" else None, lines, seconds)
    print(f"{time.perf_counter() - started:.0f} s")
    return int(any(holds is False for *_, holds in lines))


def child(name: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """Run a part in a process of its own; a crash or a hang is its error."""
    file = chosen.models / f"part-{name}.json"
    file.unlink(missing_ok=True)
    command = [sys.executable, "-X", "faulthandler", __file__, *sys.argv[1:], "--part", name]
    error = ""
    try:
        code = subprocess.run(command, check=False, timeout=chosen.part_seconds).returncode  # noqa: S603
        error = f"the process ended with {code}" if code else ""
    except subprocess.TimeoutExpired:
        error = f"no end within {chosen.part_seconds:.0f} s"
    result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return result | {"error": error or result.get("error", "")}


def write(
    out: Path, machine: dict[str, Any] | None, lines: list[Any], seconds: dict[str, float]
) -> None:
    """Write what is known so far as JSON and as a table, and print new lines."""
    file = out / "gpu_check.json"
    known = json.loads(file.read_text()) if file.exists() and machine is None else {}
    whole = {"machine": machine or known.get("machine"), "seconds": seconds, "lines": lines}
    file.write_text(json.dumps(whole, indent=1), encoding="utf-8")
    verdict = {True: "holds", False: "MISSED", None: ""}
    table = [
        f"| {what} | {found} | {allowed} | {verdict[holds]} |"
        for what, found, allowed, holds in lines
    ]
    head = ["| check | found | allowed | |", "|---|---|---|---|"]
    (out / "gpu_check.md").write_text("\n".join([*head, *table, ""]), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
