"""Several contexts at once give the bits of one, in any order of blocks; an error of one ends all."""

from contextlib import ExitStack
from functools import partial

import pytest

from helpers import make_suite
from misfired.errors import ScoringError
from misfired.prompts.prompt_set import build_prompts
from misfired.scoring.llama import lanes
from misfired.scoring.llama.engine import engine_for
from misfired.scoring.llama.lanes import open_engines, run_blocks
from misfired.scoring.llama.model import Model
from misfired.scoring.llama.session import Session
from misfired.scoring.options import ScoringOptions

pytestmark = pytest.mark.model


def engines_of(stack: ExitStack, session: Session, n: int, packing: str) -> list:
    job = session.prepare(build_prompts(make_suite(), session.options.primings))
    contexts = [stack.enter_context(session.context(job)) for _ in range(n)]
    return [engine_for(each, job, packing=packing, n_block=300, seed=5) for each in contexts]


@pytest.mark.parametrize("packing", ["fresh", "stable"])
def test_lanes_change_no_bit(packing: str, small_model) -> None:
    options = ScoringOptions(template="plain", n_threads=1, mode="stable")
    found = []
    with Session(small_model, options) as session:
        for n in (1, 3):
            with ExitStack() as stack:
                engines = engines_of(stack, session, n, packing)
                blocks = range(engines[0].scorer.n_blocks)
                assert len(blocks) > 3
                batches = list(run_blocks(engines, blocks))
                found.append(sorted((row for batch in batches for row in batch), key=str))
    assert found[0] == found[1]


def test_an_error_in_one_lane_ends_all(small_model, monkeypatch) -> None:
    options = ScoringOptions(template="plain", n_threads=1)
    with Session(small_model, options) as session, ExitStack() as stack:
        engines = engines_of(stack, session, 2, "fresh")

        def fails(_block: int) -> None:
            raise ScoringError("made up")

        monkeypatch.setattr(engines[1], "run_block", fails)
        with pytest.raises(ScoringError, match="made up"):
            list(run_blocks(engines, range(engines[0].scorer.n_blocks)))


def test_a_prompt_whose_positions_lie_in_blocks_of_two_lanes_is_answered(
    small_model, monkeypatch
) -> None:
    monkeypatch.setattr(lanes, "N_BLOCK_FRESH", 100)
    options = ScoringOptions(template="plain", n_threads=1, protocol="logit-whole")
    found = []
    with Session(small_model, options) as session:
        job = session.prepare(build_prompts(make_suite(), session.options.primings))
        another = partial(session.context, job)
        for on_gpu in (False, True):
            monkeypatch.setattr(Model, "is_all_on_gpu", on_gpu)
            with another() as context, open_engines(context, another, job, "fresh") as engines:
                assert len(engines) == (4 if on_gpu else 1)
                blocks = list(engines[0].blocks())
                batches = list(run_blocks(engines, range(len(blocks))))
            found.append(sorted((row for batch in batches for row in batch), key=str))
    assert sum(map(len, blocks)) > len(job.prompts), "no prompt lies in two blocks"
    assert len(found[0]) == len(job.prompts)
    assert found[0] == found[1]
