"""For each rule that a reply must keep to, replies that break it, asked in three ways of reading."""

import json
import math
from dataclasses import replace

import pytest

from helpers import make_suite
from loopback_server import serving
from misfired import score
from misfired.errors import ServerError
from misfired.scoring.protocol import COT, GENERATE, LOGIT
from misfired.scoring.server import check, client
from misfired.scoring.server.fault import Fault
from misfired.scoring.server.reply import read_reply

JSON_TEXT = replace(GENERATE, name="json-text", instruction='Answer as {"answer": "yes"}.')
TEXTS = {"logit": "No", "generate": "No", "json-text": '{"answer": "no"}', "cot": "So. No."}
ASKED = {protocol.name: protocol for protocol in (LOGIT, GENERATE, JSON_TEXT, COT)}


@pytest.fixture(params=ASKED)
def protocol(request):
    return ASKED[request.param]


def entries(listed):
    return [{"token": token, "logprob": logp} for token, logp in listed]


SOUND = [("No", math.log(0.6)), ("Yes", math.log(0.3)), ("The", math.log(0.02))]


def reply(protocol, listed=SOUND, **choice):
    """A sound reply, with another list or other fields of its choice."""
    top = entries(listed)
    own = {"logprobs": {"content": [{**top[0], "top_logprobs": top}]}} if protocol is LOGIT else {}
    message = {"role": "assistant", "content": TEXTS[protocol.name]}
    finish = "length" if protocol is LOGIT else "stop"
    return {"choices": [{"message": message, "finish_reason": finish, **own, **choice}]}


def with_message(protocol, **fields):
    content = reply(protocol)
    content["choices"][0]["message"] |= fields
    return content


#: Replies that break each rule, by the rule; made for a protocol.
BROKEN = {
    "_no_error": {
        "error of the choice": lambda p: reply(p, error={"code": 502, "message": "gone"}),
        "error of the choice, empty text": lambda p: reply(
            p, error={"code": 502}, message={"content": ""}
        ),
        "error as a text": lambda p: reply(p, error="upstream disconnected"),
        "error of the message": lambda p: with_message(p, error={"message": "gone"}),
        "error at the top beside an answer": lambda p: reply(p) | {"error": {"message": "gone"}},
        "errors": lambda p: reply(p) | {"errors": [{"message": "gone"}]},
        "object error": lambda _: {"object": "error", "message": "gone", "code": 400},
        "status": lambda p: reply(p) | {"status": "failed"},
        "status as a number": lambda p: reply(p) | {"status": 500, "message": "gone"},
        "success": lambda p: reply(p) | {"success": False},
        "another provider's": lambda p: reply(p) | {"error_code": 336003, "error_msg": "gone"},
        "error at a deep level": lambda p: with_message(p, metadata={"steps": [{"error": "gone"}]}),
        "error of the list": lambda p: reply(p, logprobs={"error": "gone"}),
        "error of the usage": lambda p: reply(p) | {"usage": {"error": "gone"}},
        "part that is an error": lambda p: with_message(p, content=[{"type": "error"}]),
        "capital letters": lambda p: reply(p) | {"Error": "gone"},
        "errorMessage": lambda p: reply(p) | {"errorMessage": "gone"},
        "status as digits": lambda p: reply(p) | {"status": "500"},
        "code of six digits": lambda p: reply(p) | {"code": 336003},
        "statusCode": lambda p: reply(p) | {"statusCode": 500},
        "ok": lambda p: reply(p) | {"ok": False},
        "success as a text": lambda p: reply(p) | {"success": "false"},
        "status of the choice": lambda p: reply(p, status="error"),
        "native_finish_reason": lambda p: reply(p, native_finish_reason="error"),
        "base_resp": lambda _: {"base_resp": {"status_code": 1004, "status_msg": "gone"}},
    },
    "_one_choice": {
        "none": lambda _: {"choices": []},
        "no object": lambda _: {"choices": ["No"]},
        "a piece of a stream": lambda _: {"choices": [{"delta": {"content": "No"}}]},
        "no message": lambda p: reply(p, message=None),
    },
    "_known_finish": {
        f"{finish}": lambda p, finish=finish: reply(p, finish_reason=finish)
        for finish in ("error", "abort", "insufficient_system_resource", "tool_calls", 1, {"a": 1})
    },
    "_readable_text": {
        "a number": lambda p: with_message(p, content=1),
        "an object": lambda p: with_message(p, content={"text": "No"}),
        "parts that are none": lambda p: with_message(p, content=[1]),
    },
}


def listed_as(values):
    return lambda p: reply(p, list(zip(("No", "Yes", "The", "A"), values, strict=False)))


def generated(token, logp):
    def made(protocol):
        content = reply(protocol)
        content["choices"][0]["logprobs"]["content"][0] |= {"token": token, "logprob": logp}
        return content

    return made


#: Lists that break each rule.
BROKEN_LISTS = {
    "_numbers_are_logarithms": {
        "probabilities": listed_as([0.6, 0.3]),
        "one above 0": listed_as([0.25, -1.2]),
        "NaN": listed_as([math.nan, -1.2]),
        "infinite": listed_as([math.inf, -1.2]),
    },
    "_not_divided": {
        "by a temperature of 0": listed_as([0.0, -9999.0, -9999.0]),
        "the same as infinity": listed_as([0.0, -math.inf]),
    },
    "_no_placeholders": {
        "-100": listed_as([-0.6, -1.0, -100.0]),
        "-9999": listed_as([-0.6, -1.0, -9999.0]),
        "all -9999": listed_as([-9999.0, -9999.0]),
        "-infinity": listed_as([-0.6, -1.0, -math.inf]),
    },
    "_sum_to_one": {
        "base 10": listed_as([math.log10(0.6), math.log10(0.3)]),
        "base 10, one likely": listed_as([math.log10(p) for p in (0.97, 0.01, 0.005)]),
        "all 0": listed_as([0.0, 0.0, 0.0]),
    },
    "_leave_room": {
        "base 2": listed_as([math.log2(p) for p in (0.6, 0.39999, 1e-7)]),
        "a placeholder": listed_as([-0.6, -2.0, -50.0]),
    },
    "_generated_is_listed": {
        "another token": generated("Perhaps", -0.3),
        "two tokens with one text, the less likely kept": generated("Yes", math.log(0.5)),
    },
    "_text_holds_it": {
        "the list of another token": lambda p: reply(p, message={"content": "Yes"}),
    },
}


def test_every_rule_has_replies_that_break_it():
    assert list(BROKEN) == [rule.__name__ for rule in check.REPLY_RULES]
    assert list(BROKEN_LISTS) == [rule.__name__ for rule in check.LIST_RULES]


@pytest.mark.parametrize("kind", [(rule, kind) for rule in BROKEN for kind in BROKEN[rule]])
def test_a_reply_that_breaks_a_rule_is_no_answer(kind, protocol):
    rule, name = kind
    content = json.loads(json.dumps(BROKEN[rule][name](protocol)))
    with pytest.raises(Fault, match="bad answer: ") as caught:
        read_reply(content, protocol, "yes")
    if "gone" in json.dumps(content):
        assert "gone" in str(caught.value)


@pytest.mark.parametrize(
    "kind", [(rule, kind) for rule in BROKEN_LISTS for kind in BROKEN_LISTS[rule]]
)
def test_a_list_that_breaks_a_rule_is_no_answer(kind):
    rule, name = kind
    content = json.loads(json.dumps(BROKEN_LISTS[rule][name](LOGIT)))
    refused = ServerError if rule == "_not_divided" else Fault
    with pytest.raises(refused) as caught:
        read_reply(content, LOGIT, "yes")
    if name.startswith("base "):
        assert f"logarithms in {name[:7].strip(',')}" in str(caught.value)


def test_a_sound_reply_is_an_answer(protocol):
    cut = ("length", "max_tokens") if protocol is not COT else ()
    for finish in ("stop", None, "eos_token", "STOP", "end_turn", *cut):
        row = read_reply(reply(protocol, finish_reason=finish), protocol, "yes")
        assert (row["answer"], row["outcome"]) == ("no", "wrong"), finish
    for nothing in (None, "", {}, [], False, 0, "none"):
        row = read_reply(reply(protocol, error=nothing) | {"error": nothing}, protocol, "yes")
        assert row["answer"] == "no"


@pytest.mark.parametrize("finish", ["content_filter", "SAFETY", "sensitive"])
def test_the_filters_of_providers(finish, protocol):
    row = read_reply(reply(protocol, finish_reason=finish), protocol, "yes")
    assert (row["answer"], row["outcome"], row["reason"]) == (None, "abstained", "blocked")


def test_a_filter_that_reports_an_error_blocks():
    with pytest.raises(Fault) as caught:
        read_reply(reply(LOGIT) | {"error": {"code": "content_filter"}}, LOGIT, "yes")
    assert caught.value.is_block


def test_what_only_looks_like_a_failure(protocol):
    """A filter that was down, an error's name as a token, counts of none, parts of a text."""
    content = reply(protocol, content_filter_results={"error": {"code": "content_filter_error"}})
    content |= {"usage": {"errors": 0}, "error": None, "status": "success", "code": 200}
    message = content["choices"][0]["message"]
    message["content"] = [message["content"], {"type": "text", "text": ""}]
    assert read_reply(content, protocol, "no")["outcome"] == "correct"
    named = {"text": "No", "logprobs": {"top_logprobs": [{"No": -0.6, "error": -2.0}]}}
    assert read_reply({"choices": [named]}, LOGIT, "no")["outcome"] == "correct"


def test_refusals_of_the_model(protocol):
    parts = [{"type": "refusal", "refusal": "I must decline."}]
    for content in (
        with_message(protocol, refusal="I must decline."),
        with_message(protocol, content=parts),
        reply(protocol, finish_reason="refusal"),
    ):
        row = read_reply(content, protocol, "yes")
        assert (row["outcome"], row["reason"]) == ("abstained", "refused")


def test_rounded_lists_are_possible():
    for digits in (3, 5):
        probabilities = [0.5, 0.3, 0.1, 0.05, 0.03, 0.01, 0.005, 0.004, 0.001]
        values = [round(math.log(p), digits) for p in probabilities]
        row = read_reply(listed_as(values)(LOGIT), LOGIT, "yes")
        assert row["answer"] == "no"


def test_several_tokens_with_one_text_add_up():
    listed = [("Yes", math.log(0.4)), ("No", math.log(0.3)), ("No", math.log(0.2)), ("I", -5.0)]
    row = read_reply(reply(LOGIT, listed, message={"content": "Yes"}), LOGIT, "yes")
    assert row["answer"] == "no"
    assert row["logp_no"] == pytest.approx(math.log(0.5))
    assert row["logit_diff"] == pytest.approx(math.log(0.4) - math.log(0.5))
    assert row["top_logp"] == math.log(0.4)


def plain(listed, token, logp):
    """A plain completion, whose list is an object."""
    logprobs = {"tokens": [token], "token_logprobs": [logp], "top_logprobs": [listed]}
    return {"choices": [{"text": token, "finish_reason": "length", "logprobs": logprobs}]}


def test_a_plain_completion_that_lost_a_token():
    """Decoded alone, two tokens have one text, and an object keeps the last."""
    flip = {"Yes": math.log(0.02), "No": math.log(0.3), "The": math.log(0.005)}
    same = {"Yes": math.log(0.02), "No": math.log(0.01), "The": math.log(0.005)}
    for listed in (flip, same):
        with pytest.raises(Fault, match=r"the generated token 'Yes' has log-probability -0\.5978"):
            read_reply(plain(listed, "Yes", math.log(0.55)), LOGIT, "yes")
    sound = {"Yes": math.log(0.55), "No": math.log(0.3), "error": math.log(0.005)}
    assert read_reply(plain(sound, "Yes", math.log(0.55)), LOGIT, "yes")["answer"] == "yes"
    assert read_reply(plain(sound, "rare", -9999.0), LOGIT, "yes")["answer"] == "yes"


def test_an_object_that_names_a_token_twice_adds_up():
    text = '{"Yes": -1.2, "No": -1.0, "Yes": -1.3, "I": -4}'
    content = plain(json.loads(text, object_pairs_hook=client.members), "No", -1.0)
    row = read_reply(content, LOGIT, "yes")
    assert row["logp_yes"] == pytest.approx(math.log(math.exp(-1.2) + math.exp(-1.3)))
    assert row["answer"] == "yes"


@pytest.mark.parametrize(
    ("yes", "no", "other"),
    [
        ("\u2581Yes", "\u2581No", "\u2581The"),
        ("\u0120Yes", "\u0120No", "\u0120The"),
        ("Yes</w>", "No</w>", "The</w>"),
        (" Yes", " No", " The"),
        ("\\x59\\x65\\x73", "bytes:\\x4e\\x6f", "The"),
        ("b'Yes'", "b'No'", "b'\\xe2'"),
        ("' Yes'", "' No'", "'The'"),
    ],
)
def test_spellings_of_other_servers(yes, no, other):
    yes = f"bytes:{yes}" if yes.startswith("\\x") else yes
    row = read_reply(reply(LOGIT, [(no, -0.5), (yes, -1.5), (other, -4.0)]), LOGIT, "yes")
    assert (row["answer"], row["logit_diff"]) == ("no", -1.0)
    assert row["top_token"].strip() == "No"


def test_forms_in_another_script_that_are_listed_byte_by_byte():
    protocol = LOGIT.with_answers({"yes": (" \u662f",), "no": (" \u5426",)})
    listed = [("\u0120\u00e6\u013a\u00af", -0.5), ("\u0120\u00e5\u0132\u00a6", -1.5), ("x", -4.0)]
    content = reply(LOGIT, listed, message={"content": " \u662f"})
    row = read_reply(content, protocol, "yes")
    assert (row["answer"], row["top_token"]) == ("yes", " \u662f")


@pytest.mark.parametrize(
    "ids", [("token_id:9642", "token_id:2822"), (9642, 2822), ("9642", "45"), ("<9642>", "<45>")]
)
def test_ids_are_refused_with_the_option_that_helps(ids):
    with pytest.raises(ServerError, match=r"by id \(.*--extra-body '{\"return_tokens_as_token_"):
        read_reply(reply(LOGIT, list(zip(ids, (-0.5, -1.5), strict=True))), LOGIT, "yes")


def test_ids_with_bytes_are_read_by_these():
    listed = [
        {"token": f"token_id:{n}", "logprob": logp, "bytes": list(text.encode())}
        for n, (text, logp) in enumerate(SOUND)
    ]
    content = reply(LOGIT)
    content["choices"][0]["logprobs"]["content"] = [{**listed[0], "top_logprobs": listed}]
    assert read_reply(content, LOGIT, "yes")["answer"] == "no"


def test_a_text_without_its_list_is_refused():
    content = reply(LOGIT, logprobs={"content": []})
    with pytest.raises(ServerError, match="gives no log-probabilities"):
        read_reply(content, LOGIT, "yes")


@pytest.mark.parametrize("name", ["logit", "generate"])
def test_a_broken_reply_is_asked_again_and_an_error_if_it_lasts(name):
    protocol = ASKED[name]
    broken = {"error": {"code": 502, "message": "upstream disconnected"}, "finish_reason": "error"}
    with serving(lambda _, n: "raw" if n == 0 else None) as server:
        server.raw = json.dumps(reply(protocol, **broken)).encode()
        rows = score(server.url, make_suite(2), protocol=name).answers
        assert set(server.seen.values()) == {2}
        assert not set(rows["outcome"]) & {"error"}
    with serving(lambda *_: "raw") as server:
        server.raw = json.dumps(reply(protocol, **broken)).encode()
        rows = score(server.url, make_suite(2), protocol=name, n_attempts=2).answers
    assert set(rows["outcome"]) == {"error"}
    assert rows["answer"].null_count() == len(rows)
    said = "bad answer: an error under status 200: choices.0.error: upstream disconnected"
    assert set(rows["reason"]) == {said}
