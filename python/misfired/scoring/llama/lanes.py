"""Blocks of a job on several contexts at once, for devices that wait between small batches.

A GPU computes a batch of one prompt faster than the next can be handed to it. Every context has a stream
of its own there; which of them decodes a block changes no bit, since blocks do not depend on one another.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from queue import SimpleQueue

from misfired.background import next_of
from misfired.scoring.backend import Row
from misfired.scoring.llama.engine import Engine, Job, Packing, TextEngine, engine_for
from misfired.scoring.llama.model import Context

#: Contexts on a GPU, by packing (design/scoring.md says why).
N_LANES: dict[Packing, int] = {"fresh": 4, "packed": 2, "stable": 2}
#: Decoded tokens after which a block of `fresh` may end there: the shorter the blocks, the more alike are the
#: times at which the contexts are done. Other packings pay for the end of a block, so theirs hold a batch.
N_BLOCK_FRESH = 1024

_Batch = list[tuple[int, Row]]


@contextmanager
def open_engines(
    context: Context,
    another: Callable[[], Context],
    job: Job,
    packing: Packing,
    *,
    noise: float = 0.0,
    seed: int = 0,
) -> Iterator[list[Engine] | list[TextEngine]]:
    """Make the engine for a job; with all layers on a GPU several for its forms, each with a context."""
    on_gpu, n_block = context.model.is_all_on_gpu, None
    if on_gpu:
        n_block = N_BLOCK_FRESH if packing == "fresh" else context.n_batch
    first = engine_for(context, job, packing=packing, noise=noise, seed=seed, n_block=n_block)
    if isinstance(first, TextEngine):
        yield [first]
        return
    with ExitStack() as stack:
        n_lanes = min(N_LANES.get(packing, 1) if on_gpu else 1, first.scorer.n_blocks)
        more = [first.on(stack.enter_context(another())) for _ in range(n_lanes - 1)]
        yield [first, *more]


def run_blocks(engines: Sequence[Engine | TextEngine], blocks: Sequence[int]) -> Iterator[_Batch]:
    """Run blocks of a job on engines that were all made for it; yield batches as they are done.

    One engine runs them in order, in this thread. An error in one ends the others after their batch.
    """
    if len(engines) == 1:
        for block in blocks:
            yield from engines[0].run_block(block)
        return
    done: SimpleQueue[_Batch | BaseException | None] = SimpleQueue()
    left, taking, stopped = iter(blocks), threading.Lock(), threading.Event()

    def work(engine: Engine | TextEngine) -> None:
        try:
            while True:
                with taking:
                    block = next(left, None)
                if block is None:
                    break
                for batch in engine.run_block(block):
                    if stopped.is_set():
                        return
                    done.put(batch)
        except BaseException as error:
            # Raised again by whoever reads.
            done.put(error)
        finally:
            done.put(None)

    threads = [threading.Thread(target=work, args=(engine,), daemon=True) for engine in engines]
    for thread in threads:
        thread.start()
    try:
        n_working = len(threads)
        while n_working:
            found = next_of(done)
            if isinstance(found, BaseException):
                raise found
            if found is None:
                n_working -= 1
            else:
                yield found
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
