"""Whatever a server sends is a row that can be written, or a fault in one line without the key."""

import json
import math

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from misfired.errors import ServerError
from misfired.scoring.answers import measured_columns
from misfired.scoring.options import ServerOptions
from misfired.scoring.protocol import COT, GENERATE, LOGIT
from misfired.scoring.server.client import Client
from misfired.scoring.server.fault import Fault
from misfired.scoring.server.reply import read_identity, read_reply
from misfired.scoring.server.secret import Secrets
from misfired.stats.outcomes import OUTCOMES

KEY = "sk-ab/cd+efghijklmnop0123456789"
PROTOCOLS = (LOGIT, GENERATE, COT)

TOKENS = st.sampled_from(
    [
        *(
            "Yes",
            "No",
            " yes",
            "\u2581Yes",
            "\u0120No",
            "token_id:12",
            "9642",
            "<0x0A>",
            "",
            "\ufffd",
        ),
        *("bytes:\\x59", "b'No'", "</w>", KEY, "error", "\ud800", "\x1b[2J", 7, None, True),
    ]
)
NUMBERS = (
    st.floats() | st.integers() | st.sampled_from([0.0, -0.1, -0.7, -2.3, -9999.0, -100, 10**400])
)
NAMES = st.sampled_from(
    [
        *(
            "choices",
            "message",
            "content",
            "finish_reason",
            "error",
            "errors",
            "code",
            "type",
            "status",
        ),
        *(
            "logprobs",
            "top_logprobs",
            "tokens",
            "token_logprobs",
            "token",
            "logprob",
            "bytes",
            "text",
        ),
        *(
            "refusal",
            "reasoning",
            "usage",
            "prompt_tokens",
            "model",
            "base_resp",
            "success",
            "detail",
        ),
    ]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    NUMBERS,
    TOKENS,
    st.text(max_size=8),
    st.sampled_from(["stop", "length", "error", "content_filter", "refusal", f"sent {KEY}"]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(NAMES | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@st.composite
def replies(draw: st.DrawFn):
    """A completion of the right shape, in which a few things are replaced by any others."""

    def maybe(usual, among=VALUES):
        return draw(among) if draw(st.integers(0, 9)) == 0 else usual

    listed = draw(st.lists(st.tuples(TOKENS, NUMBERS), max_size=5))
    if draw(st.booleans()):
        listed = [("Yes", -0.5), ("No", -1.2), *listed[:1]]
    entries = [{"token": t, "logprob": v, "bytes": maybe(None)} for t, v in listed]
    own = entries[0] if entries else {}
    if draw(st.booleans()):
        logprobs = {"content": [{**own, "top_logprobs": maybe(entries)}]}
    else:
        top = {str(t): v for t, v in listed}
        logprobs = {"tokens": [own.get("token")], "token_logprobs": [own.get("logprob")]}
        logprobs["top_logprobs"] = [maybe(top)]
    message = {"content": maybe("Yes."), "refusal": maybe(None), "reasoning": maybe(None)}
    choice = {"finish_reason": maybe("stop"), "logprobs": maybe(logprobs), "error": maybe(None)}
    choice |= {"message": maybe(message)} if draw(st.booleans()) else {"text": maybe("No")}
    usage = {"prompt_tokens": maybe(3), "completion_tokens": maybe(1)}
    content = {"choices": maybe([maybe(choice)]), "usage": maybe(usage), "model": maybe("m")}
    return maybe(content | {draw(NAMES): draw(VALUES)} if draw(st.booleans()) else content)


def received(text: str):
    """What a client makes of the body of a response, as far as reading it."""
    client = Client("http://127.0.0.1:9/v1", ServerOptions())
    client._secrets = Secrets([KEY])
    content, problem = client._decode(text)
    assert problem is None or KEY not in problem
    return client, content, problem


def read(client: Client, content, reader):
    """Read as `Client.ask` does, without a connection."""
    client._exchange = lambda *_: content
    try:
        return client._attempt("chat/completions", reader, None)
    except (Fault, ServerError) as failed:
        said = str(failed)
        assert KEY not in said
        assert "\n" not in said
        return None


def check(text: str) -> None:
    client, content, problem = received(text)
    if problem is not None:
        return
    identity = read(client, content, read_identity)
    assert identity is None or KEY not in str(identity.fingerprint)
    for protocol in PROTOCOLS:
        row = read(client, content, lambda c, p=protocol: read_reply(c, p, "yes"))
        if row is None:
            continue
        columns = measured_columns(protocol, server=True)
        assert row.keys() <= columns.keys()
        assert row["outcome"] in OUTCOMES
        assert (row["answer"] is None) == (row["outcome"] not in {"correct", "wrong"})
        assert len(pl.DataFrame([{**dict.fromkeys(columns), **row}], schema=columns)) == 1
        assert json.loads(json.dumps(row).encode()) == row
        assert KEY not in json.dumps(row).replace("\\/", "/")
        numbers = [value for value in row.values() if isinstance(value, float)]
        assert all(map(math.isfinite, numbers))
        assert row.get("mass") is None or row["mass"] <= 1.001


@given(replies())
def test_any_reply_is_a_row_or_a_fault(reply) -> None:
    check(json.dumps(reply))


@given(VALUES)
def test_any_document_is_a_row_or_a_fault(document) -> None:
    check(json.dumps(document))


@given(st.data())
def test_a_damaged_reply_is_a_row_or_a_fault(data) -> None:
    text = json.dumps(data.draw(replies()))
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    check(text[:start] + data.draw(st.text(max_size=5) | st.just("[" * 3000)) + text[end:])
