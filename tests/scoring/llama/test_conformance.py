"""Each chat template on its vocabulary: pinned ids, and the text of an independent renderer."""

import datetime

import pytest
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from helpers import MakeModel
from misfired.scoring.llama.model import Model
from misfired.scoring.llama.session import template_for
from misfired.scoring.protocol import COT, LOGIT, Protocol
from misfired.scoring.template import CLOSED_REASONING
from misfired.scoring.tokens import PromptTokenizer

pytestmark = pytest.mark.model

TEXT = "The baker lost a key. Did the baker lose a key?"

#: For each template an architecture whose vocabulary is nearest to that of its models, and of the prompt
#: for `TEXT` by protocol logit: the first and last four ids, the number of tokens, and how often the
#: beginning-of-sequence token stands in it.
PINNED = {
    "Qwen-Qwen2.5-7B-Instruct": (
        "qwen2",
        ([151644, 8948, 198, 2610], [198, 151644, 77091, 198], 58, 0),
    ),
    "Qwen-Qwen3-0.6B": ("qwen3", ([151644, 872, 198, 4418], [1339, 522, 26865, 1339], 43, 0)),
    "deepseek-ai-DeepSeek-R1-Distill-Llama-8B": (
        "llama",
        ([128000, 27, 104926, 1502], [1363, 524, 27963, 1363], 44, 1),
    ),
    "google-gemma-2-2b-it": ("gemma2", ([1, 529, 2962, 29918], [685, 29958, 4299, 13], 60, 1)),
    "meta-llama-Llama-3.1-8B-Instruct": (
        "llama",
        ([128000, 128006, 9125, 128007], [128006, 78191, 128007, 271], 64, 1),
    ),
    "microsoft-Phi-3.5-mini-instruct": (
        "phi3",
        ([1, 32010, 7523, 278], [1820, 29973, 32007, 32001], 37, 1),
    ),
    "mistralai-Mistral-Nemo-Instruct-2407": (
        "mistral",
        ([1, 518, 25580, 29962], [29961, 29914, 25580, 29962], 41, 1),
    ),
}
TEMPLATES = {name: arch for name, (arch, _) in PINNED.items()}


def tokenizer_of(model: Model, test_data, name: str, protocol: Protocol) -> PromptTokenizer:
    template = template_for(model, str(test_data / "chat_templates" / f"{name}.jinja"))
    return PromptTokenizer(model.tokenizer, template, protocol)


def independent(tokenizer: PromptTokenizer) -> str:
    """The same message through llama-cpp-python's formatter, with the same clock."""
    template = tokenizer.template
    formatter = Jinja2ChatFormatter(
        template.source,
        eos_token=template.eos_token,
        bos_token=template.bos_token,
        add_generation_prompt=True,
    )
    # Its clock cannot be set by an argument, since it passes its own under that name.
    date = datetime.datetime.combine(template.date, datetime.time())
    formatter.strftime_now = date.strftime
    return formatter(
        messages=[{"role": "user", "content": tokenizer.protocol.user_message(TEXT)}],
        enable_thinking=template.thinking,
    ).prompt


@pytest.mark.parametrize("protocol", [LOGIT, COT], ids=lambda protocol: protocol.name)
@pytest.mark.parametrize(("name", "arch"), TEMPLATES.items())
def test_the_text_of_an_independent_renderer(
    name: str, arch: str, protocol: Protocol, real_vocabulary_model: MakeModel, test_data
) -> None:
    with Model(real_vocabulary_model(arch)) as model:
        tokenizer = tokenizer_of(model, test_data, name, protocol)
        expected = independent(tokenizer)
        if name.startswith("deepseek") and protocol is LOGIT:
            # The one difference: the reasoning block that this template opens is closed
            # (docs/footguns.md).
            expected += CLOSED_REASONING
        assert tokenizer.rendered(TEXT) == expected
        assert tokenizer.in_reasoning == (name.startswith("deepseek") and protocol is COT)


@pytest.mark.parametrize("name", PINNED)
def test_pinned_tokens(name: str, real_vocabulary_model: MakeModel, test_data) -> None:
    arch, (first, last, n_tokens, n_bos) = PINNED[name]
    with Model(real_vocabulary_model(arch)) as model:
        ids = tokenizer_of(model, test_data, name, LOGIT).encode(TEXT)
        bos, _ = model.tokenizer.bos
    assert ids[:4].tolist() == first
    assert ids[-4:].tolist() == last
    assert len(ids) == n_tokens
    assert int((ids == bos).sum()) == n_bos
