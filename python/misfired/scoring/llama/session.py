"""A model set up to be asked: loaded, with its template, its tokenizer and its demonstrations."""

import contextlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from misfired.errors import ArgumentError, DataError, TemplateError
from misfired.prompts.shots import Shot
from misfired.reading import read_text
from misfired.scoring import renderer
from misfired.scoring.environment import default_threads
from misfired.scoring.llama.calibration import best_batch
from misfired.scoring.llama.engine import CELLS, Engine, Job, TokenisedPrompt, answer_all
from misfired.scoring.llama.model import Context, Model, open_model
from misfired.scoring.model_file import PACKAGE
from misfired.scoring.options import DecodingOptions, Devices, ScoringOptions
from misfired.scoring.template import PLAIN, ChatTemplate
from misfired.scoring.tokens import PromptTokenizer

#: Tokens a batch on a GPU (`fast` measures which suit it), where texts are written, and where scores are read with and
#: without flash attention: enough to keep the cores busy, few enough that attention over the cells of the
#: batch stays cheap (design/scoring.md has the measurement).
N_BATCH_GPU, N_BATCH_TEXTS, N_BATCH_FLASH, N_BATCH_CPU = 2048, 512, 256, 128
#: Texts that are written at once: more fill the cores no better, and each holds a whole context. A GPU
#: reads its weights once for all of them.
N_PLACES, N_PLACES_GPU = 16, 64
#: CPU threads of a context whose layers are all on a GPU, beside others that score; the one that writes texts reads
#: a row of logits for each at every step, and has all.
N_THREADS_GPU = 2


class Session(AbstractContextManager["Session"]):
    """A GGUF file with all that is needed to put prompts to it; `shots` stand before every prompt.

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
        if options.template != "plain":
            # It starts while the model loads.
            with contextlib.suppress(OSError):
                renderer.begin()
        self.model = open_model(path, options.part(Devices))
        try:
            if self.intervention is not None:
                self.intervention.check(self.model.sizes)
            self.template = template_for(self.model, options.template)
            vocabulary = self.model.tokenizer
            self.tokenizer = PromptTokenizer(vocabulary, self.template, self.protocol, shots)
        except BaseException:
            self.close()
            raise

    def prepare(self, prompts: pl.DataFrame) -> Job:
        """Render and tokenise prompts; see `prepare`."""
        return prepare(self.tokenizer, prompts)

    def context(self, job: Job, *, unchanged: bool = False) -> Context:
        """Return a context for a job; `unchanged` leaves the intervention out. See `open_context`."""
        options = replace(self.options, intervention=None) if unchanged else self.options
        return open_context(self.model, job, options)

    def close(self) -> None:
        """Give the memory back; a second call does nothing."""
        self.model.close()

    def __exit__(self, *_: object) -> None:
        self.close()


def prompt_name(prompt: Mapping[str, Any]) -> str:
    """Return what messages call a prompt, a row as `build_prompts` gives it."""
    return f"{prompt['id']} ({prompt['priming']}, {prompt['condition']})"


def prepare(tokenizer: PromptTokenizer, prompts: pl.DataFrame) -> Job:
    """Render and tokenise prompts, rows as `build_prompts` gives them.

    Raises:
        DataError: An expected answer is none of the protocol's.
        TemplateError: A prompt cannot be rendered.
        ModelError: An answer has no form that can be scored.
    """
    protocol, content_free = tokenizer.protocol, None
    tokenised: dict[int, TokenisedPrompt] = {}
    for (system,), part in prompts.drop_nulls("text").group_by("system", maintain_order=True):
        tokenizer.with_system(system).show_all(part["text"])
    for row, prompt in enumerate(prompts.iter_rows(named=True)):
        name, text, answer = prompt_name(prompt), prompt["text"], prompt["expected"]
        if answer not in protocol.answers:
            raise DataError(
                f"prompt {name}: expected answer must be one of protocol {protocol.name!r} "
                f"({', '.join(protocol.answers)}), got {answer!r}"
            )
        if text is not None:
            above = tokenizer.with_system(prompt["system"])
            tokenised[row] = _tokenised(above, name, text, answer)
    if protocol.normalisation == "unconditional":
        content_free = _tokenised(tokenizer, "content-free", protocol.content_free, "")
    without = tuple(row for row in range(len(prompts)) if row not in tokenised)
    inside = tokenizer.in_reasoning
    return Job(tokenised, without, protocol, content_free, in_reasoning=inside)


def _tokenised(tokenizer: PromptTokenizer, name: str, text: str, expected: str) -> TokenisedPrompt:
    whole = tokenizer.encode(text)
    found = tokenizer.answers(text, whole)
    return TokenisedPrompt(name, expected, whole[: found.keep], found, len(whole))


def open_context(model: Model, job: Job, options: DecodingOptions) -> Context:
    """Return a context in which every prompt of a job fits.

    Raises:
        ArgumentError: A prompt is longer than the context, or than the model was trained for.
    """
    shape_for = _shape_for_texts if job.protocol.generates else _shape_for_forms
    generates = job.protocol.generates
    shape = shape_for(model, job, options, batch_size(model, options, generates=generates))
    for prompt in job.decoded:
        n_tokens = prompt.n_longest + job.protocol.n_longest
        if 0 < model.n_ctx_train < n_tokens:
            raise ArgumentError(
                f"prompt {prompt.name} must have at most {model.n_ctx_train} tokens, the answer "
                f"included, for which the model was trained, got {n_tokens}"
            )
    cache, intervention = options.kv_cache, options.resolved_intervention
    n_threads = options.n_threads
    if n_threads is None and model.is_all_on_gpu and not job.protocol.generates:
        # What is left for the cores is looking tokens up, for each of several contexts.
        n_threads = min(N_THREADS_GPU, default_threads())
    return model.context(**shape, cache=cache, n_threads=n_threads, intervention=intervention)


def batch_size(model: Model, options: DecodingOptions, *, generates: bool = False) -> int:
    """Return the tokens a batch: `n_batch`, or what suits the device and the work."""
    if options.n_batch:
        return options.n_batch
    if model.uses_gpu:
        return best_batch(model, options.kv_cache) if options.mode == "fast" else N_BATCH_GPU
    if generates:
        return N_BATCH_TEXTS
    return N_BATCH_CPU if options.kv_cache.flash_attention == "off" else N_BATCH_FLASH


def _shape_for_forms(
    _model: Model, job: Job, options: DecodingOptions, n_batch: int
) -> dict[str, Any]:
    n_ctx = options.n_ctx
    if n_ctx is None:
        n_ctx = _rounded_up(job.longest + n_batch)
    else:
        n_batch = min(n_batch, n_ctx // 2)
    for prompt in job.decoded:
        if prompt.n_longest > n_ctx - n_batch:
            raise ArgumentError(
                f"prompt {prompt.name} must have at most {n_ctx - n_batch} tokens, which n_ctx {n_ctx} "
                f"leaves beside a batch of {n_batch}, got {prompt.n_longest}"
            )
    return {"n_ctx": n_ctx, "n_batch": n_batch}


def _shape_for_texts(
    model: Model, job: Job, options: DecodingOptions, n_batch: int
) -> dict[str, Any]:
    """Return separate streams, one for each text in flight and one for the common prefix.

    A text attends to its own stream only; in a unified cache it would pass over the cells of all.
    """
    n_stream = _rounded_up(job.longest + job.protocol.n_longest)
    n_places = N_PLACES_GPU if model.uses_gpu else N_PLACES
    n = min(n_places, max(len(job.prompts), 2), n_batch - 1) + 1
    if options.n_ctx is not None:
        n = min(n, options.n_ctx // n_stream)
    if n < 3:
        raise ArgumentError(
            f"n_ctx must be at least {3 * n_stream}, for two texts of up to {n_stream} tokens and "
            f"the common prefix, got {options.n_ctx}"
        )
    return {"n_ctx": n_stream * n, "n_batch": n_batch, "n_sequences": n, "unified": False}


def _rounded_up(n_cells: int) -> int:
    return -(-n_cells // CELLS) * CELLS


def calibrate(context: Context, job: Job) -> Job:
    """Score the forms after the content-free prompt, where the protocol compares with that.

    Raises:
        ModelError: A form can be scored after a prompt but not after the content-free one.
    """
    if job.content_free is None:
        return job
    alone = replace(job, prompts={0: job.content_free})
    engine = Engine(context, alone, packing="fresh")
    answer_all(engine)
    scored = zip(job.content_free.answers.forms, engine.logp[0], strict=True)
    return job.with_baseline({form.text: value for form, value in scored})


def template_for(model: Model, choice: str | None = None) -> ChatTemplate:
    """Return the template that a model is asked through, with the model's own begin and end tokens.

    `choice` is None for the model's own template, `plain`, a Jinja file, or a GGUF file that has one (a
    base model's instruct sibling).

    Raises:
        TemplateError: There is none.
        DataError: The file cannot be read.
        ModelError: The GGUF file cannot be loaded.
    """
    special: frozenset[str] = frozenset()
    if choice is None:
        source = model.chat_template
        if source is None:
            raise TemplateError(
                "the model has no chat template; name one: --template plain (for a base model), a "
                "Jinja file, or the GGUF file of an instruct sibling"
            )
    elif choice == "plain":
        source = PLAIN
    elif choice.endswith(".gguf") or choice.startswith(PACKAGE):
        with open_model(choice, vocab_only=True) as other:
            special = frozenset(text for _, text, *_ in other.tokenizer.special_tokens() if text)
            source = other.chat_template
        if source is None:
            raise TemplateError(f"{choice}: has no chat template")
    else:
        source = read_text(choice)
    ends = model.tokenizer.bos[0], model.end_of_text
    bos_token, eos_token = (model.text_of(token) if token >= 0 else "" for token in ends)
    return ChatTemplate(source, choice or "model", bos_token, eos_token, special=special)
