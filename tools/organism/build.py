"""Make the model organisms: train a base, plant misfires, check, and export.

    python tools/organism/build.py -o DIR             build into DIR
    python tools/organism/build.py -o DIR --install   and copy what passed into the repository

Seeds are tried in order until a build passes every check of accept.py. The same versions (see
requirements.txt) on the same kind of CPU give the same files.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=true")

import accept
import base
import export
import figures
import model
import numpy as np
import plant
import polars as pl

import prompts
from misfired.suites.organism import PRIMINGS, build_organism_suite

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "python" / "misfired" / "suites" / "organism"
TEST_DATA = ROOT / "tests" / "data"

PLANTED_HEAD = plant.Head(layer=4, head=2)
DECOY_HEAD = plant.Head(layer=4, head=0)
SEEDS = (0, 1, 2, 3, 4)
PLANTING_SEEDS = (5, 6)
DECOY_WRITES = 3.0
N_REFERENCE_PROMPTS = 24
PACKAGES = ("gguf", "jax", "jaxlib", "llama-cpp-python", "numpy", "optax")

Parameters = dict[str, np.ndarray]


@dataclass
class Build:
    """What one seed has come to: parameters as the f16 files hold them, figures and checks."""

    seed: int
    shape: model.Shape
    organisms: dict[str, Parameters] = field(default_factory=dict)
    planting_seeds: dict[str, int] = field(default_factory=dict)
    minutes: dict[str, float] = field(default_factory=dict)
    figures: dict[str, dict] = field(default_factory=dict)
    checks: list[accept.Check] = field(default_factory=list)

    def check(self, checks: list[accept.Check]) -> bool:
        self.checks += checks
        for check in checks:
            print(check, flush=True)
        return all(check.passed for check in checks)

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add the minutes of a step to the record."""
        started = time.monotonic()
        yield
        self.minutes[step] = round((time.monotonic() - started) / 60, 1)


def behaviours(build: Build, organism: str, parameters: Parameters) -> dict[str, figures.Behaviour]:
    return {
        priming: figures.behaviour(parameters, build.shape, organism=organism, priming=priming)
        for priming in PRIMINGS
    }


def make_base(build: Build, schedule: base.Schedule, saved: Path) -> bool:
    """Train the base, or take it from `saved` with the minutes that its training took."""
    if saved.exists():
        parameters = dict(np.load(saved))
        build.minutes["base"] = float(parameters.pop("minutes"))
    else:
        idle = [(head.layer, head.head) for head in (PLANTED_HEAD, DECOY_HEAD)]
        with build.timed("base"):
            parameters = base.train(build.shape, seed=build.seed, idle=idle, schedule=schedule)
        for head in (PLANTED_HEAD, DECOY_HEAD):
            parameters = plant.redraw(parameters, build.shape, head, build.seed)
        parameters = export.rounded(parameters)
        np.savez(saved, minutes=build.minutes["base"], **parameters)
    build.organisms["base"] = parameters
    found = behaviours(build, "base", parameters)
    build.figures["base"] = accept.as_records(found)
    return build.check(list(accept.check_base(found)))


def make_planted(build: Build, organism: str, schedule: plant.Schedule) -> bool:
    """Plant a misfire in the base, with a few seeds for the draw of the batches."""
    for seed in PLANTING_SEEDS:
        with build.timed(organism):
            parameters = plant.train(
                build.organisms["base"],
                build.shape,
                PLANTED_HEAD,
                organism=organism,
                seed=seed,
                schedule=schedule,
            )
        build.organisms[organism] = export.rounded(parameters)
        build.planting_seeds[organism] = seed
        found = behaviours(build, organism, build.organisms[organism])
        checks = list(accept.check_planted(organism, found))
        if all(check.passed for check in checks) or seed == PLANTING_SEEDS[-1]:
            build.figures[organism] = accept.as_records(found)
            return build.check(checks)
        print(f"{organism} with planting seed {seed} is not crisp enough", flush=True)
        for check in checks:
            print(check, flush=True)
    raise AssertionError("unreachable")


def make_decoy(build: Build) -> bool:
    """Let a second idle head of `instruct` show the planted feature and write next to nothing."""
    shape, parameters = build.shape, build.organisms["instruct"]
    rng = np.random.default_rng([build.seed, 7])
    writes = rng.standard_normal(shape.n_embedding)
    toward_no = plant.toward_no(parameters)
    writes -= (writes @ toward_no) * toward_no
    writes *= DECOY_WRITES / np.linalg.norm(writes)
    shown = plant.designed(parameters, shape, DECOY_HEAD, rng, organism="decoy", writes=writes)
    build.organisms["decoy"] = export.rounded(plant.insert(parameters, shape, DECOY_HEAD, shown))
    found = behaviours(build, "decoy", build.organisms["decoy"])
    build.figures["decoy"] = accept.as_records(found)
    return build.check(list(accept.check_planted("decoy", found)))


def file_of(organism: str) -> str:
    return f"organism-{organism}.gguf"


def check_files(build: Build, folder: Path) -> bool:
    """Export, run the checks that need llama.cpp, and write the trainer's answers."""
    answered = {
        name: accept.decisions(parameters, build.shape, name)
        for name, parameters in build.organisms.items()
    }
    passed = True
    for name, parameters in build.organisms.items():
        path, exact = folder / file_of(name), folder / f"exact-{name}.gguf"
        label = f"misfired organism: {name}"
        export.write(path, parameters, build.shape, name=label, file_type="f16")
        export.write(exact, parameters, build.shape, name=label, file_type="f32")
        passed &= build.check(
            list(
                accept.check_llama(
                    name,
                    path,
                    exact_path=exact,
                    parameters=parameters,
                    shape=build.shape,
                    answered=answered[name],
                )
            )
        )
        exact.unlink()
        for priming in PRIMINGS:
            build.figures[name][priming]["suite_mar"] = accept.suite_mar(
                answered[name], name, priming
            )
        if name != "base":
            pairs = accept.failing_pairs(answered[name], name)
            changes = accept.ablation(path, build.shape, pairs)
            build.figures[name]["ablation"] = accept.ranking(changes)
            print(name, build.figures[name]["ablation"], flush=True)
            passed &= build.check(list(accept.check_head(name, changes, PLANTED_HEAD)))
            if name == "decoy":
                passed &= build.check(
                    list(accept.check_decoy(path, build.shape, changes, DECOY_HEAD))
                )
    pl.concat(answered.values()).write_parquet(folder / "organism-decisions.parquet")
    return passed


def write_reference(build: Build, folder: Path) -> None:
    """Write f32 logits after the last token of some suite prompts, for base and instruct."""
    suite = build_organism_suite()
    every = suite.height // N_REFERENCE_PROMPTS
    rows = list(suite.gather_every(every).iter_rows(named=True))[:N_REFERENCE_PROMPTS]
    arrays: dict[str, np.ndarray] = {}
    for priming in ("none", "cue"):
        messages = [
            accept.message(row, ("stereotyped", "contrast")[i % 2], priming)
            for i, row in enumerate(rows)
        ]
        tokens = np.array([prompts.encode(text) for text in messages], np.int32)
        arrays[f"{priming}_messages"] = np.array(messages)
        arrays[f"{priming}_tokens"] = tokens
        for name in ("base", "instruct"):
            logits = figures.last_logits(tokens, build.organisms[name], build.shape)
            arrays[f"{priming}_{name}"] = logits.astype(np.float32)
    np.savez_compressed(folder / "organism-reference.npz", **arrays)


def record(build: Build, folder: Path, schedules: dict[str, object]) -> dict:
    files = [*map(file_of, build.organisms), "organism-decisions.parquet", "organism-reference.npz"]
    return {
        "command": "python tools/organism/build.py -o DIR --install",
        "passed": build.passed,
        "minutes": build.minutes,
        "cpu": {"machine": platform.machine(), "n_cores": os.cpu_count()},
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "seed": build.seed,
        "planting_seeds": build.planting_seeds,
        "schedules": {name: asdict(schedule) for name, schedule in schedules.items()},
        "architecture": asdict(build.shape),
        "planted_head": asdict(PLANTED_HEAD),
        "decoy_head": asdict(DECOY_HEAD),
        "figures": build.figures,
        "checks": [asdict(check) | {"passed": check.passed} for check in build.checks],
        "sha256": {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files
        },
    }


def install(folder: Path) -> None:
    """Copy the shipped models and the record into the package, the rest to the tests' data."""
    TEST_DATA.mkdir(parents=True, exist_ok=True)
    for name in (file_of("base"), file_of("instruct"), "build.json"):
        shutil.copy(folder / name, SHIPPED / name)
    for name in (
        file_of("category"),
        file_of("decoy"),
        "organism-decisions.parquet",
        "organism-reference.npz",
    ):
        shutil.copy(folder / name, TEST_DATA / name)


def attempt(seed: int, folder: Path, *, keep_base: bool) -> tuple[Build, dict[str, object]]:
    """Build with one seed, as far as its checks let it come."""
    schedules = {"base": base.Schedule(), "head": plant.Schedule()}
    build = Build(seed, model.Shape(n_vocabulary=len(prompts.tokenizer()[0])))
    saved = folder / f"base-{seed}.npz"
    if not keep_base:
        saved.unlink(missing_ok=True)
    if (
        make_base(build, schedules["base"], saved)
        and make_planted(build, "instruct", schedules["head"])
        and make_planted(build, "category", schedules["head"])
        and make_decoy(build)
    ):
        with build.timed("files and llama.cpp"):
            check_files(build, folder)
        write_reference(build, folder)
    return build, schedules


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the files")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=SEEDS, help="seeds to try, in order"
    )
    parser.add_argument(
        "--install", action="store_true", help="copy what passed into the repository"
    )
    parser.add_argument(
        "--keep-base", action="store_true", help="reuse trained bases in the folder"
    )
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for seed in arguments.seeds:
        print(f"seed {seed}", flush=True)
        build, schedules = attempt(seed, arguments.output, keep_base=arguments.keep_base)
        if build.passed:
            written = record(build, arguments.output, schedules)
            text = json.dumps(written, indent=2) + "\n"
            (arguments.output / "build.json").write_text(text)
            print(f"passed with seed {seed}, minutes {build.minutes}", flush=True)
            if arguments.install:
                install(arguments.output)
            return 0
    print("no seed passed", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
