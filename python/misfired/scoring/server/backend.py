"""A model behind an OpenAI-compatible server that answers prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import polars as pl

from misfired._core import __version__
from misfired.background import in_parallel
from misfired.errors import ArgumentError, ServerError
from misfired.prompts.prompt_set import PromptSet
from misfired.prompts.shots import Shot
from misfired.scoring.answers import NO_TEXT, measured_columns
from misfired.scoring.backend import AnswerStream, Row
from misfired.scoring.cache import AnswerCache, ShardCache, key_of, keyed
from misfired.scoring.options import DecodingOptions, Devices, ScoringOptions
from misfired.scoring.rows import RowCheck
from misfired.scoring.server.client import Client
from misfired.scoring.server.fault import Fault
from misfired.scoring.server.reply import Identity, abstained, read_identity, read_reply
from misfired.scoring.server.request import TRIAL, RequestTemplate

#: Reasons that may pass, so answers with them are not cached: the provider's filter, or a text that a
#: busy server left empty.
_PASSING = frozenset({"blocked", "empty"})

_PATIENCE = ("concurrency", "timeout", "n_attempts")
#: Failed prompts in a row that end a run: the server is gone, or was never there.
MOST_FAILED = 10


class ServerBackend:
    """Asks prompts at a server; see `misfired.scoring.backend.Backend`."""

    errors_may_pass = True
    n_parallel = 1

    def __init__(self, url: str, options: ScoringOptions, shots: Sequence[Shot] = ()) -> None:
        """Find the model; errors as `only_model`, `RequestTemplate` and `AnswerCache`."""
        if options.template not in {None, "plain"}:
            raise ArgumentError(
                "template must be left out, or plain for base models, with a server, which renders its "
                f"own; got {options.template!r}"
            )
        if local := [*options.given(DecodingOptions), *options.given(Devices)]:
            rule = "must go with a model file; a server decides it for itself"
            raise ArgumentError(f"{local[0]} {rule}")
        self.options, self.protocol = options, options.resolved_protocol
        self.client = Client(url, options)
        self.template = RequestTemplate(
            options.server_model or only_model(self.client),
            self.protocol,
            seed=options.seed,
            plain=options.template == "plain",
            shots=shots,
            extra_body=options.extra_body,
        )
        self.cache = None if options.cache is None else AnswerCache(options.cache)
        self._identity: Identity | None = None
        self._n_failed = self._n_answered = 0
        self._n_counted, self._faults_counted = self.client.n_requests, self.client.faults.copy()

    @property
    def columns(self) -> Mapping[str, pl.DataType]:
        """Names and types of what is measured of a prompt."""
        return measured_columns(self.protocol, server=True)

    def settings(self) -> dict[str, Any]:
        """Return address, model and fields of the requests."""
        about = {"url": self.client.url, "model": self.template.model, "path": self.template.path}
        return {"server": {**about, "extra_body": dict(self.options.extra_body)}}

    def about(self) -> dict[str, str]:
        """Return the model and where it is."""
        return {"model": f"{self.template.model} at {self.client.url}"}

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Refuse: the API does not tell the model's tokens."""
        raise ArgumentError(
            f"a server does not tell its tokens, which choose neutral sentences for {len(texts)} texts: "
            "give the suite a column 'neutral' (misfired.prompts.neutral.add_neutral)"
        )

    def open(self, sample: pl.DataFrame, n_prompts: int) -> None:  # noqa: ARG002  the question is its own
        """With a cache, ask for the fingerprint of the server as it is now."""
        if self.cache is not None:
            try:
                trial = self.template.body(TRIAL)
                self._identity = self.client.ask(self.template.path, read_identity, trial)
            except Fault as fault:
                raise ServerError(
                    f"{self.client.url}: asked for its fingerprint, which the cache needs: {fault}"
                ) from None
            self._n_answered += 1

    def answer(self, shard: pl.DataFrame, recorded: Mapping[int, Row]) -> AnswerStream:
        """Ask a shard; answers come in the order in which the server gives them.

        Raises:
            ServerError: `MOST_FAILED` prompts in a row failed, or every prompt would fail.
        """
        prompts = enumerate(shard.iter_rows(named=True))
        missing = {row: prompt for row, prompt in prompts if row not in recorded}
        asked = {row: prompt for row, prompt in missing.items() if prompt["text"] is not None}
        blank = dict.fromkeys(self.columns)
        nothing = {**blank, "outcome": "error", "reason": NO_TEXT}
        yield [(row, nothing) for row in missing if row not in asked]
        told = self._identity
        keys = {row: self._key_of(asked[row], told.fingerprint) for row in asked if told}
        check, expected = RowCheck(self.protocol, server=True), shard["expected"].to_list()
        cached = ShardCache(self.cache, keys, recorded, check, expected)
        yield list(cached.known.items())
        self._n_answered += len(recorded) + len(cached.known)
        unknown = [row for row in asked if row not in cached.known]
        try:
            for row, measured in in_parallel(
                lambda row: (row, self._ask(asked[row])), unknown, self.options.concurrency
            ):
                answer = {**blank, **measured}
                if answer["outcome"] != "error" and answer["reason"] not in _PASSING:
                    answer = keyed(answer, self._key_of(asked[row], answer["fingerprint"]))
                    cached.learn([answer])
                yield [(row, answer)]
        finally:
            cached.store()
        return {"times": {**self._count_requests(), **cached.counts}}

    def conclude(
        self, prompts: PromptSet, answers: pl.DataFrame
    ) -> tuple[pl.DataFrame, dict[str, Any]]:
        """Return the answers as they are; server and model, fingerprints, tokens and cost, an example."""
        fingerprints = answers["fingerprint"].drop_nulls().value_counts().sort("fingerprint")
        texts = prompts.spread(1)["text"].drop_nulls()
        facts = {
            "model": {"path": self.client.url, "description": f"{self.template.model}, server"},
            "fingerprints": dict(fingerprints.iter_rows()),
            **({"cache": asdict(self._identity)} if self._identity else {}),
            "example_request": self.template.body(texts[0]) if len(texts) else None,
            "patience": {name: getattr(self.options, name) for name in _PATIENCE},
            "usage": usage(answers, self.options.price),
        }
        return answers, facts

    def close(self) -> None:
        """Close connections and cache."""
        self.client.close()
        if self.cache is not None:
            self.cache.close()

    def _key_of(self, prompt: Mapping[str, Any], fingerprint: str | None) -> bytes:
        """Return the cache key of a prompt's answer that came with a fingerprint."""
        decides = {
            "server": self.client.url,
            "path": self.template.path,
            "fingerprint": fingerprint,
            "body": self.template.body(prompt["text"], prompt["system"]),
            "protocol": self.protocol.to_json(),
            "expected": prompt["expected"],
            "misfired": __version__,
        }
        return key_of(decides)

    def _ask(self, prompt: Mapping[str, Any]) -> Row:
        """Return one prompt's row, an error if the server gives no answer."""
        read = partial(read_reply, protocol=self.protocol, expected=prompt["expected"])
        body = self.template.body(prompt["text"], prompt["system"])
        try:
            row = self.client.ask(self.template.path, read, body)
            if self.protocol.leaves_undecided(row):
                longer = body | {"max_tokens": self.protocol.n_extended}
                row = self.client.ask(self.template.path, read, longer)
        except Fault as fault:
            if fault.is_block:
                row = abstained("blocked")
            elif fault.kind == "empty text":
                row = {"answer": None, "outcome": "unparseable", "reason": "empty"}
                row |= {"text": "", "stop": "end"}
            else:
                self._count_failure(fault)
                return {"answer": None, "outcome": "error", "reason": str(fault)}
        self._n_answered, self._n_failed = self._n_answered + 1, 0
        return row

    def _count_requests(self) -> dict[str, int]:
        """Return requests and faults since the last count."""
        n_requests, faults = self.client.n_requests, self.client.faults.copy()
        counts = {"n_requests": n_requests - self._n_counted}
        counts |= {f"n_faults: {k}": n for k, n in (faults - self._faults_counted).items()}
        self._n_counted, self._faults_counted = n_requests, faults
        return counts

    def _count_failure(self, fault: Fault) -> None:
        # A status such as 400 is about this prompt if others were answered.
        if self._n_answered and 400 <= fault.status < 500 and fault.n_attempts == 1:
            return
        self._n_failed += 1
        if self._n_failed >= MOST_FAILED:
            raise ServerError(
                f"{self.client.url}: {MOST_FAILED} prompts in a row failed, the last with {fault}; "
                "answers so far are kept, the same command resumes"
            )


def usage(answers: pl.DataFrame, price: tuple[float, float] | None) -> dict[str, Any]:
    """Return tokens as the server counted them, and their cost at a price per million.

    Attempts without an answer do not count, nor do texts that were asked for again, longer.
    """
    names = ("n_prompt_tokens", "n_generated")
    n_tokens = [int(answers[name].sum()) for name in names]
    cost = None if price is None else sum(n * p for n, p in zip(n_tokens, price, strict=True)) / 1e6
    answered = answers.filter(pl.col("outcome") != "error")
    return {
        **dict(zip(names, n_tokens, strict=True)),
        "n_answers_without_usage": answered["n_prompt_tokens"].null_count(),
        "price": price,
        "cost": cost,
        "n_reasoning": _sum_of_known(answers, "n_reasoning"),
    }


def _sum_of_known(answers: pl.DataFrame, name: str) -> int | None:
    """Return the sum of a column, None where it has no number."""
    known = answers[name].drop_nulls() if name in answers.columns else pl.Series()
    return int(known.sum()) if len(known) else None


def only_model(client: Client) -> str:
    """Return the name of a server's only model.

    Raises:
        ArgumentError: It has several, which the message lists.
        ServerError: It does not say.
    """
    try:
        content = client.ask("models", dict)
        names = [str(model["id"]) for model in content["data"]]
    except (Fault, KeyError, TypeError, ValueError) as error:
        said = str(error) if isinstance(error, Fault) else "no list of models"
        raise ServerError(f"{client.url}/models: {said}") from None
    if len(names) != 1:
        got = f"none of {len(names)} models ({', '.join(names[:20]) or 'none'})"
        raise ArgumentError(f"{client.url}: server_model must be given, got {got}")
    return names[0]
