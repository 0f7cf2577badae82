"""The lines of design/scoring.md that check a score with llama-cpp-python alone find the same number."""

import re
from pathlib import Path

import numpy as np
import pytest
from llama_cpp import llama_cpp as capi

from helpers import make_suite
from misfired.scoring.llama.explain import explain
from random_model import make_model

pytestmark = pytest.mark.model

PAGE = Path(__file__).parents[3] / "design" / "scoring.md"


#: Largest difference, as the table of that page has it: q4_K sums in an order that depends on the batch.
BOUNDS = {"f32": 1e-9, "q8_0": 1e-9, "q4_K": 1e-5}


@pytest.mark.parametrize("quantisation", BOUNDS)
def test_the_printed_lines_find_the_same_number(quantisation, tmp_path, monkeypatch) -> None:
    template = "<s>{{ messages[0].content }}\nAnswer:"
    shape = {"n_embd": 256, "n_ff": 256, "quantisation": quantisation}
    make_model(tmp_path / "model.gguf", "llama", chat_template=template, **shape)
    (lines,) = re.findall(r"```python\n(import llama_cpp, .*?)```", PAGE.read_text(), re.S)
    # They change the library, which is mended after the test.
    monkeypatch.setattr(capi, "llama_model_default_params", capi.llama_model_default_params)
    monkeypatch.chdir(tmp_path)
    for shown in explain(tmp_path / "model.gguf", make_suite(1)):
        found = {"prompt": shown["rendered"]}
        exec(lines, found)  # noqa: S102  our own page
        forms = [form for each in shown["forms"].values() for form in each]
        assert forms
        for token, _, logp in forms:
            assert abs(found["logp"][token] - logp) <= BOUNDS[quantisation]
        assert not np.isnan(found["logp"]).any()
