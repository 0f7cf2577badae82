"""One pair under the lens: what the model is shown, and which numbers its answer comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from misfired.errors import ArgumentError
from misfired.options import takes_options
from misfired.prompts.neutral import with_neutral
from misfired.prompts.prompt_set import build_prompts
from misfired.prompts.shots import draw_shots
from misfired.scoring.backend import Row
from misfired.scoring.llama.engine import Engine, Job, without_text
from misfired.scoring.llama.session import Session, calibrate
from misfired.scoring.options import ScoringOptions

#: Tokens shown at either end of a prompt.
N_SHOWN = 8


@takes_options(ScoringOptions)
def explain(
    model: Path | str, pairs: pl.DataFrame, *, n_pairs: int = 1, **keywords: Any
) -> list[dict[str, Any]]:
    """Score the prompts of the first pairs and keep everything that a run throws away.

    Args:
        model: A GGUF file.
        pairs: Contrastive pairs.
        n_pairs: How many of them.
        keywords: As for `misfired.score`.

    Returns:
        For each prompt of each priming: `name`, `rendered`, `n_prompt_tokens`, `tokens` (place, id,
        text) of both ends, `scored_at` (place of the token after which the answer is read), `forms`
        (id, text, log-probability for each answer), `dropped_forms`, `expected`, and the `answer` row.
        A prompt without text has `name`, `expected` and `answer` alone.

    Raises:
        MisfiredError: As `misfired.score`; also a protocol that scores no forms.
    """
    options = ScoringOptions.of(keywords)
    protocol = options.resolved_protocol
    if protocol.generates:
        raise ArgumentError(
            f"protocol must score answer forms to be explained, got {protocol.name!r}"
        )
    shots, measured_pairs = draw_shots(
        pairs, options.n_shots, seed=options.shots_seed, hold_out=options.hold_out
    )
    with Session(model, options, shots) as session:
        shown = with_neutral(
            measured_pairs.head(n_pairs), options.primings, session.tokenizer.count_tokens
        )
        prompts = build_prompts(shown, options.primings)
        job = session.prepare(prompts)
        found: dict[int, dict[str, Any]] = {
            row: {"expected": job.expected[row], "answer": measured}
            for row, measured in without_text(job)
        }
        if job.rows:
            with session.context(job) as context:
                job = calibrate(session.model, context, job)
                engine = Engine(session.model, context, job, packing="fresh")
                for block in range(engine.scorer.n_blocks):
                    for batch in engine.run_block_in_full(block):
                        for row, measured, logp in batch:
                            found[row] = _scored(session, job, row, measured, logp) | {
                                "rendered": session.rendered(prompts.row(row, named=True))
                            }
        return [{"name": job.names[row], **found[row]} for row in range(len(prompts))]


def _scored(
    session: Session, job: Job, row: int, measured: Row, logp: list[float]
) -> dict[str, Any]:
    """The tokens around the scored position of one prompt, and the forms behind its answer."""
    ids, found = job.ids[row], job.answers[row]
    assert ids is not None  # noqa: S101  it has been scored
    assert found is not None  # noqa: S101

    def text_of(token: int) -> str:
        return session.model.tokenizer.piece(token).decode(errors="replace")

    return {
        "n_prompt_tokens": job.n_prompt_tokens[row],
        "tokens": [
            (place, int(ids[place]), text_of(int(ids[place])))
            for place in range(len(ids))
            if _near_an_end(place, len(ids))
        ],
        "scored_at": len(ids) - 1,
        "forms": {
            answer: [
                (form.tokens[0], "".join(map(text_of, form.tokens)), value)
                for form, value in zip(found.forms, logp, strict=True)
                if form.answer == answer
            ]
            for answer in found.ids
        },
        "dropped_forms": found.dropped,
        "expected": job.expected[row],
        "answer": measured,
    }


def _near_an_end(place: int, n_tokens: int) -> bool:
    return place < N_SHOWN or place >= n_tokens - N_SHOWN
