"""Ask a server two harmless questions to see what it can do."""

import contextlib
import time
from dataclasses import replace
from functools import partial

from misfired.errors import MisfiredError
from misfired.scoring.backend import Finding, Row
from misfired.scoring.options import ServerOptions
from misfired.scoring.protocol import GENERATE, LOGIT, Protocol
from misfired.scoring.server.backend import only_model
from misfired.scoring.server.client import Client
from misfired.scoring.server.fault import Fault
from misfired.scoring.server.reply import read_reply
from misfired.scoring.server.request import TRIAL, RequestTemplate

#: What to do without log-probabilities.
_TEXTS = "--protocol generate, or cot"


def examine_server(url: str, options: ServerOptions) -> list[Finding]:
    """Find out if a server answers, how fast, and if it gives log-probabilities and token counts."""
    try:
        client = Client(url, replace(options, n_attempts=2))
        with contextlib.closing(client):
            model = options.server_model or only_model(client)
            found = [Finding("server", f"{client.url}, model {model}")]
            text, row = _ask("texts", client, model, GENERATE, options)
            first, _ = _ask("log-probabilities", client, model, LOGIT, options)
    except MisfiredError as error:
        return [Finding("server", str(error), "problem")]
    found += [text, first]
    if row:
        fingerprint, counted = row["fingerprint"], row["n_prompt_tokens"] is not None
        level = "ok" if fingerprint else "note"
        found.append(Finding("fingerprint", fingerprint or "none told", level))
        told = ("told", "ok") if counted else ("not told", "note")
        found.append(Finding("token counts", *told))
    return found


def _ask(
    name: str, client: Client, model: str, protocol: Protocol, options: ServerOptions
) -> tuple[Finding, Row | None]:
    template = RequestTemplate(model, protocol, extra_body=options.extra_body)
    read = partial(read_reply, protocol=protocol, expected="yes")
    started = time.monotonic()
    try:
        row = client.ask(template.path, read, template.body(TRIAL))
    except (Fault, MisfiredError) as error:
        # A server that sends no reply fails in whatever it is asked.
        if protocol.generates or (isinstance(error, Fault) and error.kind != "bad answer"):
            return Finding(name, str(error), "problem"), None
        return Finding(name, str(error), "note", _TEXTS), None
    seconds = time.monotonic() - started
    if protocol.generates:
        said = " ".join(row["text"].split())[:60] if "text" in row else row["reason"]
        return Finding(name, f"{said!r} in {seconds:.2f} s"), row
    if row["answer"] is None:
        return Finding(name, row["reason"], "note", _TEXTS), row
    return Finding(name, f"answer {row['answer']}, mass {row['mass']:.3f}"), row
