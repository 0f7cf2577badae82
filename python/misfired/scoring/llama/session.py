"""A model set up to be asked: loaded, with its template, its tokenizer and its demonstrations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from misfired.errors import ArgumentError, DataError, ModelError, TemplateError
from misfired.scoring.forms import AnswerTokens, Ids
from misfired.scoring.llama.engine import CELLS, Engine, Job
from misfired.scoring.llama.guard import open_model
from misfired.scoring.llama.model import Context, Model
from misfired.scoring.options import DecodingOptions, Devices, ScoringOptions
from misfired.scoring.template import PLAIN, ChatTemplate
from misfired.scoring.tokens import PromptTokenizer

if TYPE_CHECKING:
    from misfired.prompts.shots import Shot

#: Tokens a batch where layers are offloaded, where texts are written, and where scores are read with and
#: without flash attention: large enough to keep the cores busy, small enough that attention over the
#: cells of the batch stays cheap (design/scoring.md has the measurement).
N_BATCH_GPU, N_BATCH_TEXTS, N_BATCH_FLASH, N_BATCH_CPU = 1024, 512, 256, 128

#: Texts that are written at once: more fill the cores no better, and each holds a whole context.
N_PLACES = 16


class Session(AbstractContextManager["Session"]):
    """A model with all that is needed to put prompts to it.

    Args:
        path: The GGUF file.
        options: How it is asked.
        shots: Demonstrations before every prompt.

    Raises:
        ModelError: The model cannot be loaded.
        DataError: It has no place for the intervention.
        TemplateError: It has no chat template, or one that cannot be used.
    """

    def __init__(
        self, path: Path | str, options: ScoringOptions, shots: Sequence[Shot] = ()
    ) -> None:
        self.options, self.protocol = options, options.resolved_protocol
        self.intervention = options.resolved_intervention
        self.model = open_model(path, options.part(Devices))
        try:
            if self.intervention is not None:
                self.intervention.check(self.model.sizes)
            self.template = template_for(self.model, options.template)
            self.tokenizer = PromptTokenizer(
                self.model.tokenizer, self.template, self.protocol, shots
            )
        except BaseException:
            self.close()
            raise

    def prepare(self, prompts: pl.DataFrame) -> Job:
        """Render and tokenise prompts, rows as `build_prompts` gives them."""
        names = prompts.select(
            pl.concat_str("id", pl.lit(" ("), "priming", pl.lit(", "), "condition", pl.lit(")"))
        ).to_series()
        return prepare(
            self.tokenizer,
            names.to_list(),
            prompts["text"].to_list(),
            prompts["expected"].to_list(),
            prompts["system"].to_list(),
        )

    def rendered(self, prompt: Mapping[str, Any]) -> str:
        """Return a whole prompt as text, from a row as `build_prompts` gives it."""
        return self.tokenizer.with_system(prompt["system"]).rendered(prompt["text"])

    def context(self, job: Job, *, changed: bool = True) -> Context:
        """Return a context in which every prompt of a job fits.

        Args:
            job: The prompts.
            changed: False leaves the intervention out.
        """
        options = self.options if changed else replace(self.options, intervention=None)
        return open_context(self.model, job, options)

    def close(self) -> None:
        """Give the memory back; a second call does nothing."""
        self.model.close()

    def __exit__(self, *_: object) -> None:
        self.close()


def prepare(
    tokenizer: PromptTokenizer,
    names: Sequence[str],
    texts: Sequence[str | None],
    expected: Sequence[str],
    systems: Sequence[str | None] | None = None,
) -> Job:
    """Render and tokenise every prompt, under its system message if it has one.

    Raises:
        DataError: An expected answer is none of the protocol's.
        TemplateError: A prompt cannot be rendered.
        ModelError: An answer has no form that can be scored.
    """
    protocol = tokenizer.protocol
    for name, answer in zip(names, expected, strict=True):
        if answer not in protocol.answers:
            raise DataError(
                f"prompt {name}: expected answer is {answer!r}, not one of those of protocol "
                f"{protocol.name!r}: {', '.join(protocol.answers)}"
            )
    asked = [
        None if text is None else _asked(tokenizer.with_system(system), text)
        for text, system in zip(texts, systems or [None] * len(texts), strict=True)
    ]
    calibrates = protocol.normalisation == "unconditional"
    return Job(
        list(names),
        list(expected),
        [None if found is None else found[0] for found in asked],
        [None if found is None else found[1] for found in asked],
        [0 if found is None else found[2] for found in asked],
        protocol=protocol,
        content_free=_asked(tokenizer, protocol.content_free)[:2] if calibrates else None,
        in_reasoning=tokenizer.in_reasoning,
    )


def _asked(tokenizer: PromptTokenizer, text: str) -> tuple[Ids, AnswerTokens, int]:
    """Tokens up to the scored position, what is read there, tokens of the whole prompt."""
    whole = tokenizer.encode(text)
    if tokenizer.protocol.generates:
        return whole, AnswerTokens(len(whole), (), []), len(whole)
    found = tokenizer.answers(text, whole)
    return whole[: found.keep], found, len(whole)


def open_context(model: Model, job: Job, settings: DecodingOptions) -> Context:
    """A context in which every prompt of the job fits.

    Raises:
        ArgumentError: A prompt is longer than the context, or than the model was trained for.
    """
    n_batch = batch_size(model, settings, generates=job.protocol.generates)
    if job.protocol.generates:
        return _open_for_texts(model, job, settings, n_batch)
    n_ctx = settings.n_ctx or -(-(job.longest + n_batch) // CELLS) * CELLS
    n_batch = min(n_batch, n_ctx // 2)
    for name, n_tokens in job.lengths():
        if n_tokens > n_ctx - n_batch:
            raise ArgumentError(
                f"prompt {name}: {n_tokens} tokens, but n_ctx {n_ctx} leaves {n_ctx - n_batch} "
                f"beside a batch of {n_batch}"
            )
        _check_trained(model, name, n_tokens)
    return model.context(
        n_ctx,
        n_batch=n_batch,
        cache=settings.kv_cache,
        n_threads=settings.n_threads,
        intervention=settings.resolved_intervention,
    )


def batch_size(model: Model, settings: DecodingOptions, *, generates: bool = False) -> int:
    """Tokens a batch: what was asked for, or what suits the device and the work."""
    if settings.n_batch:
        return settings.n_batch
    if model.devices.n_gpu_layers:
        return N_BATCH_GPU
    if generates:
        return N_BATCH_TEXTS
    return N_BATCH_CPU if settings.kv_cache.flash_attention == "off" else N_BATCH_FLASH


def _open_for_texts(model: Model, job: Job, settings: DecodingOptions, n_batch: int) -> Context:
    """A context of separate streams, one for each text in flight and one for the common prefix.

    A text attends to its own stream only; in a unified cache it would pass over the cells of all.
    """
    n_generate = job.protocol.n_generate
    n_stream = -(-(job.longest + n_generate) // CELLS) * CELLS
    n_places = min(N_PLACES, max(len(job.rows), 2), n_batch - 1)
    if settings.n_ctx is not None:
        n_places = min(n_places, settings.n_ctx // n_stream - 1)
    for name, n_tokens in job.lengths():
        if n_places < 2:
            raise ArgumentError(
                f"n_ctx is {settings.n_ctx}, but two texts of up to {n_stream} tokens and what their "
                f"prompts share need {3 * n_stream}"
            )
        _check_trained(model, f"{name} and a text of {n_generate}", n_tokens + n_generate)
    return model.context(
        n_stream * (n_places + 1),
        n_batch=n_batch,
        cache=settings.kv_cache,
        n_threads=settings.n_threads,
        n_sequences=n_places + 1,
        unified=False,
        intervention=settings.resolved_intervention,
    )


def _check_trained(model: Model, name: str, n_tokens: int) -> None:
    if 0 < model.n_ctx_train < n_tokens:
        raise ArgumentError(
            f"prompt {name}: {n_tokens} tokens, the model was trained for {model.n_ctx_train}"
        )


def calibrate(model: Model, context: Context, job: Job) -> Job:
    """Score the forms after the content-free prompt, where the protocol compares with that.

    Raises:
        ModelError: A form can be scored after a prompt but not after the content-free one.
    """
    if job.content_free is None:
        return job
    ids, answers = job.content_free
    alone = replace(
        job,
        names=["content-free"],
        expected=[""],
        ids=[ids],
        answers=[answers],
        n_prompt_tokens=[len(ids)],
    )
    ((_, _, logp),) = (
        row
        for batch in Engine(model, context, alone, packing="fresh").run_block_in_full(0)
        for row in batch
    )
    return with_baseline(
        job, {form.text: value for form, value in zip(answers.forms, logp, strict=True)}
    )


def with_baseline(job: Job, baseline: dict[str, float] | None) -> Job:
    """The job, its forms compared with what they score after the content-free prompt.

    Raises:
        ModelError: A form of the job has no such score.
    """
    if baseline is None:
        return job
    for name, found in zip(job.names, job.answers, strict=True):
        for form in found.forms if found else ():
            if form.text not in baseline:
                raise ModelError(f"prompt {name}: form {form.text!r} has no unconditional score")
    return replace(job, baseline=baseline)


def _source(choice: str | None, own: str | None) -> tuple[str, str, frozenset[str]]:
    if choice is None:
        if own is None:
            raise TemplateError(
                "the model has no chat template; name one: --template plain (for a base model) or "
                "--template FILE.jinja, or the GGUF of an instruct sibling"
            )
        return "model", own, frozenset()
    if choice == "plain":
        return "plain", PLAIN, frozenset()
    if choice.endswith(".gguf"):
        return choice, *_sibling(choice)
    try:
        return choice, Path(choice).read_text(encoding="utf-8"), frozenset()
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateError(f"{choice}: cannot be read as a chat template ({error})") from None


def _sibling(path: str) -> tuple[str, frozenset[str]]:
    """Chat template and special tokens of another model."""
    with open_model(path, vocab_only=True) as model:
        if model.chat_template is None:
            raise TemplateError(f"{path}: has no chat template")
        special = frozenset(text for _, text, *_ in model.tokenizer.special_tokens() if text)
        return model.chat_template, special


def template_for(model: Model, choice: str | None = None) -> ChatTemplate:
    """The template a model is asked through, with the model's own beginning and end tokens.

    Args:
        model: A loaded model.
        choice: None for the model's own template, `plain`, the path of a Jinja file, or that of a
            GGUF file whose template is taken (a base model's instruct sibling).

    Raises:
        TemplateError: The model has no template and no other was named, or the file cannot be read
            or has none.
        ModelError: The GGUF file cannot be loaded.
    """
    name, source, special = _source(choice, model.chat_template)
    bos, _ = model.tokenizer.bos
    bos_token, eos_token = (
        model.tokenizer.piece(token).decode(errors="replace") if token >= 0 else ""
        for token in (bos, model.end_of_text)
    )
    return ChatTemplate(source, name, bos_token, eos_token, special=special)
