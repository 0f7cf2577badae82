"""A Ray cluster that answers prompts: a task for each shard, each in a process with the model loaded."""

import functools
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import polars as pl

from misfired.background import TICK
from misfired.errors import MisfiredError, ModelError, ScoringError
from misfired.prompts.prompt_set import PromptSet
from misfired.prompts.shots import Shot
from misfired.scoring.answers import measured_columns
from misfired.scoring.backend import AnswerStream, Row, Tallies, drain
from misfired.scoring.llama.backend import LocalBackend
from misfired.scoring.llama.cluster import connect
from misfired.scoring.options import ScoringOptions

#: Workers that may be lost while a shard is answered, before the run gives up.
N_RETRIES = 5


class RayBackend:
    """Answers shards on a Ray cluster; every node reads the model under the same path.

    A task takes `n_threads` of a node's CPUs (one by default) and, if layers are offloaded, one of its
    GPUs. If a worker is lost, another one takes its shard. Nodes that hold different files are refused.
    """

    errors_may_pass = False

    def __init__(
        self, path: Path | str, options: ScoringOptions, address: str, shots: Sequence[Shot] = ()
    ) -> None:
        """Connect to a cluster, or with address `local` start one on this machine.

        Raises:
            ArgumentError: Ray is not installed, or no cluster answers at the address.
            MisfiredError: As `LocalBackend`, from a worker.
        """
        self._ray = connect(address)
        n_threads, n_gpus = options.n_threads or 1, self._gpus_of_a_task(options)
        self.path, self.options = Path(path), replace(options, n_threads=n_threads)
        self.columns = measured_columns(options.resolved_protocol)
        self._sample: tuple[pl.DataFrame, int] | None = None
        self._proof: Proof | None = None
        remote = self._ray.remote(num_cpus=n_threads, num_gpus=n_gpus, max_retries=N_RETRIES)
        setup = self.path, self.options, tuple(shots)
        self._work = functools.partial(remote(_work).remote, setup)
        self.n_parallel = max(1, int(self._ray.cluster_resources().get("CPU", 1)) // n_threads)

    def _gpus_of_a_task(self, options: ScoringOptions) -> int:
        """Return 1 if layers are to be offloaded, which by default they are where a node has GPUs."""
        if options.device == "cpu" or options.n_gpu_layers == 0:
            return 0
        asked = options.device == "gpu" or options.n_gpu_layers is not None
        return int(asked or self._ray.cluster_resources().get("GPU", 0) > 0)

    def settings(self) -> dict[str, Any]:
        """Return those of the same run on one machine, so that each resumes the other's run folder."""
        settings, self._proof = self._get("settings")
        return cast("dict[str, Any]", settings)

    def about(self) -> dict[str, str]:
        """Return where the work is done; what workers load, they do not tell."""
        return {"model": str(self.path), "device": f"{self.n_parallel} tasks on the cluster"}

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return what a worker counts."""
        return cast("list[int]", self._get("count_tokens", texts))

    def open(self, sample: pl.DataFrame, n_prompts: int) -> None:
        """Keep the sample; each worker looks at it when it loads the model."""
        self._sample = sample, n_prompts

    def answer(self, shard: pl.DataFrame, recorded: Mapping[int, Row]) -> AnswerStream:
        """Have a worker answer a shard; all its answers come at once."""
        rows, tallies = self._get("answer", shard, recorded)
        yield rows
        return cast("Tallies", tallies)

    def conclude(
        self, prompts: PromptSet, answers: pl.DataFrame
    ) -> tuple[pl.DataFrame, dict[str, Any]]:
        """Return what a worker checks and finds."""
        checked, facts = self._get("conclude", prompts, answers)
        return checked, facts

    def close(self) -> None:
        """Leave the cluster to whoever started it."""

    def _get(self, what: str, *arguments: Any) -> Any:
        task = self._work(self._proof, self._sample, what, *arguments)
        try:
            # One wait for the whole task would hold Ctrl-C up.
            while not self._ray.wait([task], timeout=TICK)[0]:
                pass
            return self._ray.get(task)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, MisfiredError):
                raise error.cause from None
            raise
        except self._ray.exceptions.RayError as error:
            raise ScoringError(f"{self.path}: the cluster lost this task: {error}") from None


#: Path of the model, options, demonstrations.
Setup = tuple[Path, ScoringOptions, tuple[Shot, ...]]


class Proof(NamedTuple):
    """What a worker has loaded, and where."""

    node: str
    sha256: str


_kept: list[tuple[Setup, LocalBackend]] = []


def _work(
    setup: Setup,
    proof: Proof | None,
    sample: tuple[pl.DataFrame, int] | None,
    what: str,
    *arguments: Any,
) -> Any:
    """Call a method of a backend, in a worker that keeps the last model it has loaded.

    The worker proves that it has loaded the file that the run's settings name.
    """
    backend = _kept[0][1] if _kept and _kept[0][0] == setup and _is_unchanged(_kept[0][1]) else None
    if backend is None:
        while _kept:
            _kept.pop()[1].close()
        backend = LocalBackend(*setup)
        _kept.append((setup, backend))
    own = Proof(platform.node(), backend.session.model.file.sha256)
    if proof is not None and proof.sha256 != own.sha256:
        raise ModelError(
            f"{setup[0]}: every node must hold the same file, got sha256 {proof.sha256[:12]}... on "
            f"{proof.node} and {own.sha256[:12]}... on {own.node}"
        )
    if sample is not None and not backend.is_open:
        backend.open(*sample)
    if what == "answer":
        rows: list[tuple[int, Row]] = []
        return rows, drain(backend.answer(*arguments), rows.extend)
    if what == "settings":
        return backend.settings(), own
    return getattr(backend, what)(*arguments)


def _is_unchanged(backend: LocalBackend) -> bool:
    try:
        backend.session.model.file.check()
    except ModelError:
        return False
    return True
