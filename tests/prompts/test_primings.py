"""Primings as data: which sentence is put to which side, and files that hold one's own."""

import msgspec
import polars as pl
import pytest

from helpers import ARCHITECTURES, make_suite
from misfired import ArgumentError, DataError, build_pairs, build_prompts
from misfired.prompts.neutral import MAX_DIFFERENCE, add_neutral
from misfired.prompts.primings import (
    CONDITIONS,
    PRIMINGS,
    Priming,
    check_primings,
    default_primings,
    read_primings,
)
from misfired.scoring.llama.model import Model
from misfired.suites import VETO_CATEGORIES

#: (sentence, sides, role) of every built-in priming: the design table of design/priming.md.
DESIGN = {
    "none": (None, "both", "user"),
    "cue": ("cue", "stereotyped", "user"),
    "cue_both": ("cue", "both", "user"),
    "neutral": ("neutral", "stereotyped", "user"),
    "neutral_both": ("neutral", "both", "user"),
    "placebo": ("placebo", "stereotyped", "user"),
    "placebo_both": ("placebo", "both", "user"),
    "fairness_system": (None, "both", "system"),
}


@pytest.fixture
def suite():
    return make_suite(4).with_columns(
        neutral=pl.lit("It is noon."), placebo=pl.lit("It is not okay to assume cats lost a key.")
    )


def test_the_built_in_primings_are_the_design():
    found = {
        name: (one.column, "both" if one.sides == CONDITIONS else one.sides[0], one.role)
        for name, one in PRIMINGS.items()
    }
    assert found == DESIGN
    assert all(one.name == name for name, one in PRIMINGS.items())


@pytest.mark.parametrize("name", DESIGN)
def test_each_side_gets_what_the_design_says(suite, name):
    column, sides, role = DESIGN[name]
    prompts = build_prompts(suite, [name]).filter(priming=name)
    assert prompts["condition"].unique().sort(descending=True).to_list() == [
        side for side in ("stereotyped", "contrast") if sides in ("both", side)
    ]
    for id_, condition, text, system in prompts.select(
        "id", "condition", "text", "system"
    ).iter_rows():
        pair = suite.row(by_predicate=pl.col("id") == id_, named=True)
        sentence = f"{pair[column]} " if column else ""
        assert text == sentence + pair[condition]
        assert system == (PRIMINGS[name].text if role == "system" else None)


def test_order_and_what_is_added():
    names = [one.name for one in check_primings(["neutral_both", "cue"])]
    assert names == ["none", "cue", "neutral_both"]
    assert [one.name for one in check_primings(["cue_both"])] == ["cue_both"]
    own = Priming("mine", text="Hello.")
    assert check_primings([own, "none"]) == (PRIMINGS["none"], own)


@pytest.mark.parametrize(
    ("primings", "message"),
    [
        (["cu"], "priming must be none, cue, .* or a .toml file, got 'cu'"),
        ([Priming("cue", text="Be kind.")], "priming must not have a built-in name, got 'cue'"),
        (
            [Priming("a", text="A."), Priming("a", text="B.")],
            "primings must differ in name, got two named 'a'",
        ),
    ],
)
def test_bad_choices(primings, message):
    with pytest.raises(ArgumentError, match=message):
        check_primings(primings)


def test_a_missing_column_is_named_and_a_missing_sentence_is_no_prompt(suite):
    with pytest.raises(DataError, match="priming 'placebo' needs a column 'placebo'"):
        build_prompts(suite.drop("placebo"), ["placebo"])
    some = suite.with_columns(cue=pl.when(pl.col("id") != "pair_0").then("cue"))
    prompts = build_prompts(some, ["cue"]).filter(priming="cue")
    assert prompts.filter(pl.col("text").is_null())["id"].to_list() == ["pair_0"]
    as_system = Priming("rule", column="cue", role="system")
    prompts = build_prompts(some, [as_system])
    assert prompts.filter(pl.col("text").is_null())["id"].to_list() == ["pair_0", "pair_0"]
    assert prompts["system"].null_count() == 2


FILE = """
[be_fair]
text = "Please be fair."

[own_cue]
column = "cue"
sides = ["contrast"]

[rule]
text = "You read with care."
role = "system"
"""


def test_a_file_of_primings(tmp_path, suite):
    file = tmp_path / "own.toml"
    file.write_text(FILE)
    assert read_primings(file) == [
        Priming("be_fair", text="Please be fair."),
        Priming("own_cue", ("contrast",), column="cue"),
        Priming("rule", text="You read with care.", role="system"),
    ]
    prompts = build_prompts(suite, [str(file)])
    assert prompts["priming"].unique(maintain_order=True).to_list() == [
        *("none", "be_fair", "own_cue", "rule")
    ]
    assert set(prompts.filter(priming="own_cue")["condition"]) == {"contrast"}
    assert set(prompts.filter(priming="rule")["system"]) == {"You read with care."}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "must hold at least one priming, got none"),
        ("[a\n", "not TOML: "),
        ("a = 1", "a must be a table, got 1"),
        ("[cue]\ntext = 'x'", "priming 'cue': name must not be that of a built-in priming"),
        ("[a]", "priming 'a': text or column must be given, got neither"),
        ("[a]\ntext = 'x'\ncolumn = 'y'", "priming 'a': text or column must be given, got both"),
        ("[a]\ntext = ' '", "priming 'a': text must not be empty, got ' '"),
        ("[a]\ntext = 3", "a.text must be a text, got 3"),
        (
            "[a]\ntext = 'x'\nside = 'both'",
            "unknown key 'a.side', must be one of sides, text, column, role",
        ),
        (
            "[a]\ntext = 'x'\nrole = 'tool'",
            "priming 'a': role must be one of user, system, got 'tool'",
        ),
        ("[a]\ntext = 'x'\nsides = 'both'", "a.sides must be a list, got 'both'"),
        (
            "[a]\ntext = 'x'\nsides = []",
            r"priming 'a': sides must be some of stereotyped, contrast, each once, got \[\]",
        ),
        (
            "[a]\ntext = 'x'\nsides = ['left']",
            r"priming 'a': sides must be some of .*, got \['left'\]",
        ),
        (
            "[a]\ntext = 'x'\nsides = ['contrast', 'contrast']",
            r"priming 'a': sides must be some of .*, each once, got \['contrast', 'contrast'\]",
        ),
        ("['A b']\ntext = 'x'", "priming 'A b': name must be lower-case letters"),
    ],
)
def test_bad_files_are_refused_with_file_field_and_value(tmp_path, content, message):
    file = tmp_path / "own.toml"
    file.write_text(content)
    with pytest.raises(DataError, match=f"^{file}: {message}"):
        check_primings([str(file)])


def test_a_missing_file_is_named():
    with pytest.raises(DataError, match=r"nowhere\.toml: No such file or directory"):
        check_primings(["nowhere.toml"])


def test_neutral_sentences_are_as_long_as_their_cues():
    cues = [f"It is not okay to assume {'very ' * n}old people sing." for n in range(8)]
    pairs = pl.DataFrame({"cue": [*cues, None, cues[0], "Word. " * 500]})
    made = add_neutral(pairs, lambda texts: [len(text.split()) for text in texts])
    for cue, neutral, difference in made.head(8).iter_rows():
        assert len(neutral.split()) - len(cue.split()) == difference
        assert abs(difference) <= MAX_DIFFERENCE
    assert made["neutral"][9] == made["neutral"][0]
    assert made["neutral"][8] is made["neutral"][10] is None
    assert made["neutral_difference"][10] is None
    assert made["cue"].equals(pairs["cue"])


@pytest.mark.model
@pytest.mark.parametrize("arch", ["llama", "qwen2", "gpt2", "phi3"])
def test_every_cue_of_bbq_has_a_neutral_sentence(arch, real_vocabulary_model, test_data):
    assert arch in ARCHITECTURES
    pairs = build_pairs(test_data / "bbq", VETO_CATEGORIES, variant="strict")
    with Model(real_vocabulary_model(arch)) as model:
        encode = model.tokenizer.encode
        made = add_neutral(
            pairs, lambda texts: [len(encode(text, parse_special=False)) for text in texts]
        )
    assert made["neutral"].null_count() == 0
    assert made["neutral_difference"].abs().max() <= MAX_DIFFERENCE


def test_the_placebo_is_the_cue_about_a_group_that_does_not_occur(test_data):
    for variant in ("paper", "strict"):
        pairs = build_pairs(test_data / "bbq", ["Age", "Religion"], variant=variant)
        for side in CONDITIONS:
            assert not pairs[side].str.contains("left-handed", literal=True).any()
        assert pairs["placebo"].str.starts_with("It is not okay to assume left-handed people").all()
    assert pairs["placebo"][0].replace("left-handed", "old") == pairs["cue"][0]


def test_which_priming_is_a_control_stays_out_of_the_manifest():
    assert "control" not in PRIMINGS["neutral"].to_json()
    assert msgspec.convert(PRIMINGS["none"].to_json(), Priming) == PRIMINGS["none"]


def test_a_suite_without_cues_is_asked_without_priming(suite):
    assert default_primings(suite.with_columns(cue=None)) == (PRIMINGS["none"],)
    assert default_primings(suite.drop("cue")) == (PRIMINGS["none"],)
    some = suite.with_columns(cue=pl.when(pl.col("id") == "pair_0").then("cue"))
    assert default_primings(some) == (PRIMINGS["none"], PRIMINGS["cue"])
