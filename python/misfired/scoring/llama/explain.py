"""One pair in detail: the prompt that the model sees, and the numbers that its answer comes from."""

from pathlib import Path
from typing import Any

import polars as pl

from misfired.errors import ArgumentError
from misfired.options import takes_options
from misfired.prompts.neutral import with_neutral
from misfired.prompts.prompt_set import build_prompts
from misfired.scoring.llama.engine import Engine, TokenisedPrompt, answer_all, without_text
from misfired.scoring.llama.session import Session, calibrate, prompt_name
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
        (id, text, log-probability for each answer), `dropped_forms`, `partial_forms` (form: the first of
        its tokens, by which it is read), `expected`, and the `answer` row.
        A prompt without text has `name`, `expected` and `answer` alone.

    Raises:
        MisfiredError: As `misfired.score`; also a protocol that scores no forms.
    """
    options = ScoringOptions.of(keywords)
    if (protocol := options.resolved_protocol).generates:
        message = f"protocol must score answer forms to be explained, got {protocol.name!r}"
        raise ArgumentError(message)
    shots, pairs = options.choose_shots(pairs)
    with Session(model, options, shots) as session:
        count = session.tokenizer.count_tokens
        primed = with_neutral(pairs.head(n_pairs), options.primings, count)
        prompts = build_prompts(primed, options.primings)
        job = session.prepare(prompts)
        found = {row: {"answer": measured} for row, measured in without_text(job)}
        if job.prompts:
            with session.context(job) as context:
                engine = Engine(context, calibrate(context, job), packing="fresh")
                for row, measured in answer_all(engine).items():
                    scored = _scored(session, job.prompts[row], engine.logp[row])
                    found[row] = {"answer": measured} | scored
        shown = []
        for row, prompt in enumerate(prompts.iter_rows(named=True)):
            name = {"name": prompt_name(prompt)}
            if (text := prompt["text"]) is not None:
                name["rendered"] = session.tokenizer.with_system(prompt["system"]).rendered(text)
            shown.append({**name, "expected": prompt["expected"], **found[row]})
        return shown


def _scored(session: Session, prompt: TokenisedPrompt, logp: list[float]) -> dict[str, Any]:
    """Return the tokens at both ends of a prompt, and the forms behind its answer."""
    ids, answers, text_of = prompt.ids.tolist(), prompt.answers, session.model.text_of
    return {
        "n_prompt_tokens": prompt.n_tokens,
        "tokens": [
            (place, token, text_of(token))
            for place, token in enumerate(ids)
            if not N_SHOWN <= place < len(ids) - N_SHOWN
        ],
        "scored_at": len(ids) - 1,
        "forms": {
            answer: [
                (form.tokens[0], "".join(map(text_of, form.tokens)), value)
                for form, value in zip(answers.forms, logp, strict=True)
                if form.answer == answer
            ]
            for answer in answers.ids
        },
        "dropped_forms": answers.dropped,
        "partial_forms": {
            form.text: text_of(form.tokens[0])
            for form in answers.forms
            if form.text in answers.partial
        },
    }
