"""Small things that several test modules need."""

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl

from misfired.runs.finished import ANALYSES, ANSWERS, PAIRS, SUMMARY
from misfired.runs.manifest import MANIFEST

MakeModel = Callable[..., Path]

CATEGORIES = ("Age", "Religion")

#: Architecture and the vocabulary file that its real models resemble most.
ARCHITECTURES = {
    "llama": "llama-bpe",
    "mistral": "llama-spm",
    "qwen2": "qwen2",
    "qwen3": "qwen2",
    "gemma2": "llama-spm",
    "gemma3": "llama-spm",
    "phi3": "phi-3",
    "gpt2": "gpt-2",
}

#: Chat templates of real models, and the architecture whose vocabulary holds the special tokens of each.
CHAT_TEMPLATES = {
    "Qwen-Qwen2.5-7B-Instruct": "qwen2",
    "Qwen-Qwen3-0.6B": "qwen3",
    "meta-llama-Llama-3.1-8B-Instruct": "llama",
    "microsoft-Phi-3.5-mini-instruct": "phi3",
    "google-gemma-2-2b-it": "gemma2",
    "mistralai-Mistral-Nemo-Instruct-2407": "mistral",
}


#: An invented row in the form of BBQ's.
BBQ_ROW = {
    "example_id": 1,
    "question_index": "7",
    "question_polarity": "neg",
    "context_condition": "disambig",
    "category": "Age",
    "answer_info": {"ans0": ["a", "old"], "ans1": ["b", "nonOld"], "ans2": ["c", "unknown"]},
    "additional_metadata": {"stereotyped_groups": ["old"]},
    "context": "The cat drank the tea.",
    "question": "Who drank the tea?",
    "ans0": "The cat",
    "ans1": "The dog",
    "ans2": "Unknown",
    "label": 0,
}


def make_suite(n_pairs: int = 24, *, per_scenario: int = 4) -> pl.DataFrame:
    """Invented pairs in the suite schema: two categories, a few scenarios, cues."""
    towns = ("Norvik", "Sandel", "Ostra", "Pelm")
    rows = []
    for number in range(n_pairs):
        category = CATEGORIES[number * len(CATEGORIES) // n_pairs]
        one, other = towns[number % 4], towns[(number + 1 + number % 3) % 4]
        text = (
            "A baker from {a} met a baker from {b} on street {n}. The baker from {a} had lost a key. "
            "Did the baker from {a} lose a key?"
        )
        rows.append(
            {
                "id": f"pair_{number}",
                "suite": "invented@1.0.0",
                "category": category,
                "scenario": f"{category.lower()}_q{number // per_scenario}",
                "stereotyped_group": one,
                "contrast_group": other,
                "cue": f"It is not okay to assume bakers from {one} lost a key.",
                "stereotyped": text.format(a=one, b=other, n=number),
                "contrast": text.format(a=other, b=one, n=number),
                "expected_stereotyped": "yes",
                "expected_contrast": "yes",
            }
        )
    return pl.DataFrame(rows)


def prompts_of(texts: list[str]) -> pl.DataFrame:
    """Bare prompts as `build_prompts` gives them."""
    side = {"priming": "none", "condition": "stereotyped", "expected": "yes", "system": None}
    return pl.DataFrame([{"id": text, "text": text, **side} for text in texts])


def final_files(folder: Path) -> dict[str, object]:
    """Return all that must be equal: every byte of answers and tables, the manifest without times."""
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["times"]
    return {
        "answers": (folder / ANSWERS).read_bytes(),
        "summary": (folder / SUMMARY).read_bytes(),
        "analyses": (folder / ANALYSES).read_bytes(),
        "pairs": (folder / PAIRS).read_bytes(),
        "manifest": manifest,
        "others": sorted(
            {p.name for p in folder.iterdir()}
            - {ANALYSES, ANSWERS, SUMMARY, MANIFEST, PAIRS, ".lock"}
        ),
    }
