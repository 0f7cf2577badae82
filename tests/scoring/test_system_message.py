"""System messages: shown where a template takes them, refused by name where it does not."""

import polars as pl
import pytest

from helpers import CHAT_TEMPLATES, make_suite
from misfired import DataError, TemplateError, run
from misfired.prompts.primings import PRIMINGS, Priming
from misfired.prompts.shots import Shot
from misfired.scoring.llama.model import Model
from misfired.scoring.llama.session import template_for
from misfired.scoring.protocol import LOGIT
from misfired.scoring.template import PLAIN, ChatTemplate
from misfired.scoring.tokens import PromptTokenizer

pytestmark = pytest.mark.model

TEXT = "The baker lost a key. Did the baker lose a key?"
RULE = "You read with care."

TAKES = {name: arch for name, arch in CHAT_TEMPLATES.items() if arch != "gemma2"}


def tokenizer_of(model, source, **options):
    return PromptTokenizer(model.tokenizer, ChatTemplate(source, **options), LOGIT)


@pytest.mark.parametrize(("name", "arch"), TAKES.items())
def test_a_real_template_shows_the_system_message_once(
    name, arch, real_vocabulary_model, test_data
):
    with Model(real_vocabulary_model(arch)) as model:
        template = template_for(model, str(test_data / "chat_templates" / f"{name}.jinja"))
        bare = PromptTokenizer(model.tokenizer, template, LOGIT)
        ruled = bare.with_system(RULE)
        assert bare.with_system(RULE) is ruled
        assert bare.with_system(None) is bare
        shown = ruled.rendered(TEXT)
        assert shown.count(RULE) == 1
        assert shown.index(RULE) < shown.index(TEXT)
        assert RULE not in bare.rendered(TEXT)
        assert len(ruled.encode(TEXT)) != len(bare.encode(TEXT))


def test_gemma_refuses_and_is_named(real_vocabulary_model, test_data):
    file = test_data / "chat_templates" / "google-gemma-2-2b-it.jinja"
    with Model(real_vocabulary_model("gemma2")) as model:
        tokenizer = PromptTokenizer(model.tokenizer, template_for(model, str(file)), LOGIT)
        message = (
            r"gemma-2-2b-it.jinja\).*System role not supported \(it was given a system message\)"
        )
        with pytest.raises(TemplateError, match=message):
            tokenizer.with_system(RULE)


def test_a_template_that_drops_it_is_refused_and_one_that_folds_it_is_not(small_model):
    drops = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}"
    folds = "User: {% for m in messages %}{{ m.content }} {% endfor %}Answer:"
    with Model(small_model) as model:
        tokenizer = tokenizer_of(model, drops, name="deaf")
        with pytest.raises(TemplateError, match=r"\(deaf\): shows the system message 0 times"):
            tokenizer.with_system(RULE)
        folded = tokenizer_of(model, folds).with_system(RULE).rendered(TEXT)
        assert folded == f"User: {RULE} {LOGIT.instruction}\n\n{TEXT} Answer:"
        plain = tokenizer_of(model, PLAIN)
        assert plain.rendered(TEXT) == f"{LOGIT.instruction}\n\n{TEXT}\n\nAnswer:"
        assert plain.with_system(RULE).rendered(TEXT) == f"{RULE}\n\n" + plain.rendered(TEXT)


def test_special_text_in_a_message_stays_text(real_vocabulary_model, test_data):
    with Model(real_vocabulary_model("qwen2")) as model:
        file = test_data / "chat_templates" / "Qwen-Qwen2.5-7B-Instruct.jinja"
        tokenizer = PromptTokenizer(model.tokenizer, template_for(model, str(file)), LOGIT)
        specials = {row[0] for row in model.tokenizer.special_tokens()}
        n_special = [
            sum(int(token) in specials for token in tokenizer.with_system(rule).encode(TEXT))
            for rule in (RULE, f"{RULE}<|im_end|>")
        ]
        assert n_special[0] == n_special[1]


def test_demonstrations_stand_between_the_message_and_the_prompt(real_vocabulary_model, test_data):
    shot = Shot("p", "c", "s", "contrast", "The cook sang. Did the cook sing?", "yes")
    for name, arch, order in (
        ("Qwen-Qwen2.5-7B-Instruct", "qwen2", [RULE, shot.text, TEXT]),
        # This template moves the message to the last question.
        ("mistralai-Mistral-Nemo-Instruct-2407", "mistral", [shot.text, RULE, TEXT]),
    ):
        with Model(real_vocabulary_model(arch)) as model:
            template = template_for(model, str(test_data / "chat_templates" / f"{name}.jinja"))
            tokenizer = PromptTokenizer(model.tokenizer, template, LOGIT, [shot])
            shown = tokenizer.with_system(RULE).rendered(TEXT)
            places = [shown.index(text) for text in order]
            assert places == sorted(places)


def test_a_run_under_a_system_message(small_model, tmp_path):
    found = run(
        small_model,
        make_suite(4),
        template="plain",
        priming=["none", "fairness_system", Priming("shorter", text="Be fair.", role="system")],
        n_resamples=50,
        out=tmp_path / "run",
    )
    answers = found.scores.answers
    lengths = {
        name: rows["n_prompt_tokens"].sum()
        for (name,), rows in answers.group_by("priming", maintain_order=True)
    }
    assert list(lengths) == ["none", "fairness_system", "shorter"]
    assert lengths["none"] < lengths["shorter"] < lengths["fairness_system"]
    assert answers["reason"].null_count() == len(answers)
    assert not {"text", "system"} & set(answers.columns)
    settings = found.scores.manifest["settings"]
    assert settings["primings"][1]["text"] == PRIMINGS["fairness_system"].text
    assert found.scores.manifest["batch_invariance"]["n_checked"] > 0


def test_neutral_sentences_are_chosen_with_the_model_and_counted(small_model):
    found = run(
        small_model,
        make_suite(4),
        template="plain",
        priming=["cue_both", "neutral_both"],
        n_resamples=50,
    )
    lengths = found.scores.answers.pivot(
        "priming", index=["id", "condition"], values="n_prompt_tokens"
    )
    assert (lengths["neutral_both"] - lengths["cue_both"]).abs().max() <= 2
    facts = found.scores.manifest["neutral"]
    assert (facts["n_matched"], facts["n_unmatched"]) == (4, 0)
    assert facts["largest_difference"] <= 2


def test_cues_that_no_neutral_sentence_matches_are_unscored_and_counted(small_model):
    suite = make_suite(4)
    long = suite["cue"].to_list()
    long[1] = "It is not okay to assume. " * 60
    found = run(
        small_model,
        suite.with_columns(cue=pl.Series(long)),
        template="plain",
        priming=["neutral_both"],
        n_resamples=50,
    )
    assert found.scores.manifest["neutral"]["n_unmatched"] == 1
    lost = found.scores.answers.filter(outcome="error")
    assert lost["id"].unique().to_list() == ["pair_1"]
    assert set(lost["reason"]) == {"the suite has no text for this priming"}
    with pytest.raises(DataError, match="needs a column 'placebo'"):
        run(small_model, suite, template="plain", priming=["placebo"])
