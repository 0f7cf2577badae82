"""One pair under the lens: what the model is shown, and which numbers its answer comes from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from misfired import _core
from misfired.errors import ArgumentError
from misfired.prompts.prompt_set import build_prompts
from misfired.prompts.shots import draw_shots
from misfired.scoring.backend import Row
from misfired.scoring.llama.engine import Engine, Job, open_context, prepare
from misfired.scoring.llama.guard import open_model
from misfired.scoring.options import AskingOptions, asking_of
from misfired.scoring.template import template_for
from misfired.scoring.tokens import PromptTokenizer

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: Tokens shown at either end of a prompt.
N_SHOWN = 8


def explain(
    model: Path | str,
    pairs: pl.DataFrame,
    *,
    n_pairs: int = 1,
    **options: Unpack[AskingOptions],
) -> list[dict[str, Any]]:
    """Score the prompts of the first pairs and keep everything that is usually thrown away.

    Returns:
        For each unprimed prompt: `name`, `rendered`, `n_prompt_tokens`, `tokens` (place, id, text)
        of both ends, `scored_at` (place of the token after which the answer is read), `forms` (id,
        text, log-probability for each answer), `dropped_forms`, `expected`, and the `answer` row.

    Raises:
        As `misfired.score`.
    """
    asking = asking_of(options)
    if asking.protocol.generates:
        raise ArgumentError(f"protocol {asking.protocol.name!r} scores no answer forms to explain")
    shots, measured_pairs = draw_shots(
        pairs, asking.n_shots, seed=asking.shots_seed, hold_out=asking.hold_out
    )
    prompts = build_prompts(measured_pairs.head(n_pairs))
    with open_model(model, asking.devices) as loaded:
        if asking.settings.intervention is not None:
            asking.settings.intervention.check(loaded.sizes)
        chat = template_for(loaded, asking.template)
        tokenizer = PromptTokenizer(loaded.tokenizer, chat, asking.protocol, shots)
        names = prompts.select(pl.concat_str("id", pl.lit(" "), "condition")).to_series().to_list()
        texts = prompts["text"].to_list()
        job = prepare(tokenizer, names, texts, prompts["expected"].to_list())
        with open_context(loaded, job, asking.settings) as context:
            engine = Engine(loaded, context, job, packing="fresh")
            answers = {
                row: (measured, logp)
                for block in range(engine.scorer.n_blocks)
                for batch in engine.run_block_in_full(block)
                for row, measured, logp in batch
            }

        return [
            {"name": names[row], "rendered": tokenizer.rendered(texts[row])}
            | _scored(job, row, measured, logp, loaded.tokenizer)
            for row, (measured, logp) in sorted(answers.items())
        ]


def _scored(
    job: Job, row: int, measured: Row, logp: list[float], tokenizer: _core.Tokenizer
) -> dict[str, Any]:
    """The tokens around the scored position of one prompt, and the forms behind its answer."""
    ids, found = job.ids[row], job.answers[row]
    assert ids is not None  # noqa: S101  it has been scored
    assert found is not None  # noqa: S101

    def text_of(token: int) -> str:
        return tokenizer.piece(token).decode(errors="replace")

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
