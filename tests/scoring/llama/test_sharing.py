"""Several users of one context, signals and failures in the middle of a call, objects closed elsewhere."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from llama_cpp import llama_cpp as capi

from misfired import _core
from misfired.errors import ArgumentError, ModelError, ScoringError
from misfired.scoring.llama import library
from misfired.scoring.llama.engine import ragged
from misfired.scoring.llama.model import Model

pytestmark = pytest.mark.model

ROWS = [np.array([*range(3, 30), *range(40 + i, 44 + 2 * i)], np.int32) for i in range(8)]
TAKEN = "another has taken its cache"


@contextmanager
def open_context(path: Path, *, unified: bool = True, n_batch: int = 64) -> Iterator[_core.Context]:
    with (
        Model(path) as model,
        model.context(
            16 * 256,
            n_batch=n_batch,
            n_sequences=16,
            unified=unified,
            watched=not unified,
            n_threads=1,
        ) as context,
    ):
        yield context.handle


def make_scorer(context: _core.Context, packing: str = "packed") -> _core.Scorer:
    wanted = ragged([np.array([5, 9], np.int32)] * len(ROWS))
    return _core.Scorer(context, ragged(ROWS), wanted, n_block=60, packing=packing)


def make_generator(context: _core.Context) -> _core.Generator:
    rows, rules = ragged(ROWS), {"n_generate": 6, "stop": [], "n_places": 1}
    return _core.Generator(context, rows, **rules, n_block=60, packing="fresh")


def block(run: _core.Scorer | _core.Generator, index: int) -> list[object]:
    """Return what a block gives, as values that compare bit by bit."""
    run.start(index)
    found = []
    while (step := run.step()) is not None:
        found.append([getattr(column, "tolist", lambda c=column: c)() for column in step])
    return found


def patched(context: _core.Context) -> list[object]:
    """Return the logits of a prompt in a slot, and of its last token with another residual."""
    prober = _core.Prober(context, n_slots=2)
    held, changed = _core.ProbeRequest(), _core.ProbeRequest()
    wanted, last = np.array([5, 9], np.int32), len(ROWS[1]) - 1
    held.add(ROWS[1], wanted, keep=0)
    changed.add(ROWS[1][-1:], wanted, parent=0, n_shared=last)
    width = prober.shape[2][0]
    changed.write(0, "residual", 0, last, np.linspace(-1, 1, width).astype(np.float32))
    return [prober.run(request)[0][0].tolist() for request in (held, changed)]


@pytest.mark.parametrize("make", [make_scorer, make_generator])
def test_the_older_of_two_users_is_told_so(small_model: Path, make: Callable) -> None:
    with open_context(small_model) as context:
        expected = block(make_scorer(context), 0)
        older = make_scorer(context)
        older.start(0)
        make(context)
        with pytest.raises(ArgumentError, match=TAKEN):
            older.step()
        with pytest.raises(ArgumentError, match="must follow the start of a block"):
            older.step()
        assert block(older, 0) == expected


def test_a_slot_that_another_job_fills(small_model: Path) -> None:
    with open_context(small_model, unified=False) as context:
        prober, request = _core.Prober(context, n_slots=2), _core.ProbeRequest()
        nothing = np.zeros(0, np.int32)
        request.add(ROWS[0], nothing, keep=0)
        request.add(ROWS[1], nothing, parent=0)
        with pytest.raises(ArgumentError, match="job 1: slot 0 must not be one that another job"):
            prober.run(request)


def test_a_prober_needs_a_batch_of_56(small_model: Path) -> None:
    with (
        open_context(small_model, unified=False, n_batch=55) as context,
        pytest.raises(ArgumentError, match="n_batch must be at least 56, got 55"),
    ):
        _core.Prober(context, n_slots=2)


class StopError(Exception):
    pass


def test_a_signal_stops_a_decode(small_model: Path) -> None:
    def stop(*_: object) -> None:
        raise StopError

    rows = ragged([np.resize(np.arange(3, 60, dtype=np.int32), 12_000)])
    before = signal.signal(signal.SIGALRM, stop)
    try:
        with Model(small_model) as model, model.context(24_576, n_batch=12_288) as context:
            scorer = _core.Scorer(context.handle, rows, rows, n_block=1, packing="fresh")
            scorer.start(0)
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(StopError):
                scorer.step()
            # The one batch was not decoded to its end.
            assert scorer.n_decoded_tokens == 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def injected(probability: float) -> tuple[Callable[[int], None], Callable[[], None]]:
    """Return what makes batches of a context stop at random, through Python, and what ends that."""
    generator, active = random.Random(1), True

    def abort(_: object) -> bool:
        return active and generator.random() < probability

    callback = capi.ggml_abort_callback(abort)

    def inject(address: int) -> None:
        capi.llama_set_abort_callback(address, callback, None)

    def end() -> None:
        nonlocal active
        active = False

    return inject, end


def raw_context(model: Model, *, inject: Callable[[int], None]) -> _core.Context:
    """Return a watched context that can be made to fail."""
    params = capi.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch, params.n_seq_max = 16 * 256, 64, 64, 16
    params.n_threads = params.n_threads_batch = 1
    params.flash_attn_type = library.FLASH_ATTENTION["off"]
    watcher = _core.Watcher(library.load_library())
    callback, user_data = watcher.callback
    params.cb_eval = capi.ggml_backend_sched_eval_callback(callback)
    params.cb_eval_user_data = user_data
    pointer = model.pointer
    address = capi.llama_init_from_model(pointer, params)
    context = _core.Context(pointer.handle, int(address), watcher)
    inject(address)
    return context


def share(path: Path, seconds: str) -> dict[str, int]:
    """Let scorer, generator and prober take a context from one another while batches stop at random.

    Every result is that of the same work alone, or an error that says why there is none.
    """
    inject, end = injected(0.002)
    failures = (TAKEN, "must follow the start", "aborted")
    n_good: dict[str, int] = {}
    wrong: list[object] = []

    def work(name: str, make: Callable, use: Callable, expected: list[object]) -> None:
        user, until = make(), time.monotonic() + float(seconds)
        n_good[name] = number = 0
        while time.monotonic() < until or not n_good[name]:
            number += 1
            try:
                found = use(user, number % len(expected))
            except (ArgumentError, ScoringError) as error:
                if not any(text in str(error) for text in failures):
                    wrong.append(error)
                    return
                time.sleep(0.001 * (number % 5))
                continue
            if found != expected[number % len(expected)]:
                wrong.append((name, found))
                return
            n_good[name] += 1

    with Model(path) as model:
        alone = raw_context(model, inject=lambda _: None)
        shared = raw_context(model, inject=inject)
        makers = {
            "scorer": lambda context: make_scorer(context, "solo"),
            "generator": make_generator,
        }
        threads = []
        for name, make in makers.items():
            one = make(alone)
            expected = [block(one, index) for index in range(one.n_blocks)]
            arguments = (name, lambda make=make: make(shared), block, expected)
            threads.append(threading.Thread(target=work, args=arguments))
        probing = ("prober", lambda: shared, lambda context, _: patched(context), [patched(alone)])
        threads.append(threading.Thread(target=work, args=probing))
        for thread in threads:
            thread.start()
        # A getter that waited for a decode would stop the aborts, which need the GIL: for good.
        while any(thread.is_alive() for thread in threads):
            time.sleep(0.001)
        end()
    assert wrong == []
    assert set(n_good) == {"scorer", "generator", "prober"}
    return n_good


def poll(path: Path) -> None:
    """Read a getter while a decode calls back into Python."""
    inject, end = injected(0.0)
    with Model(path) as model:
        scorer = make_scorer(raw_context(model, inject=inject), "solo")
        thread = threading.Thread(target=lambda: [block(scorer, 0) for _ in range(50)])
        thread.start()
        while thread.is_alive():
            assert scorer.n_decoded_tokens >= 0
            assert scorer.n_blocks > 0
        end()


def close_early(path: Path) -> None:
    """Close models while another thread makes contexts of them."""
    for number in range(30):
        model = Model(path)
        made: list[object] = []

        def make(model: Model = model, made: list[object] = made) -> None:
            try:
                made.append(model.context(4096, n_batch=512).n_ctx)
            except ModelError as error:
                made.append(str(error))

        thread = threading.Thread(target=make)
        thread.start()
        time.sleep(0.0003 * (number % 8))
        model.close()
        thread.join()
        assert made == [4096] or "closed" in str(made[0])


def in_child(name: str, *arguments: object, timeout: float = 120) -> None:
    """Run one of the functions above where a hang or a crash ends nothing else."""
    call = f"{name}{(*map(str, arguments),)!r}"
    program = f"import runpy; run = runpy.run_path({__file__!r}); eval({call!r}, run)"
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", program],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_getters_do_not_wait_for_a_decode(small_model: Path) -> None:
    in_child("poll", small_model)


def test_a_model_that_is_closed_while_a_context_is_made(small_model: Path) -> None:
    in_child("close_early", small_model)


def test_three_threads_share_a_context(small_model: Path) -> None:
    in_child("share", small_model, 1.5)


@pytest.mark.slow
def test_three_threads_share_a_context_for_ten_minutes(small_model: Path) -> None:
    in_child("share", small_model, 600.0, timeout=900)
