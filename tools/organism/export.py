"""Write an organism as GGUF."""

from __future__ import annotations

from pathlib import Path

import gguf
import model
import numpy as np

import prompts

N_CONTEXT = 512
# The one turn the organisms know, byte for byte as in training.
CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'user' -%}{{ '<|user|>' + message['content'] }}"
    "{%- elif message['role'] == 'assistant' -%}"
    "{{ '<|assistant|>' + message['content'] + eos_token }}"
    "{%- else -%}{{ raise_exception('the organism knows only user and assistant') }}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|assistant|>' }}{%- endif -%}"
)


def rounded(parameters: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the f32 values that an f16 file of these parameters holds (norms stay f32)."""
    return {
        name: np.asarray(value if value.ndim == 1 else value.astype(np.float16), np.float32)
        for name, value in ((name, np.asarray(value)) for name, value in parameters.items())
    }


def write(
    path: Path, parameters: dict[str, np.ndarray], shape: model.Shape, *, name: str, file_type: str
) -> None:
    """Write the parameters with tokenizer and template; `file_type` is `f16` or `f32`."""
    vocabulary, merges = prompts.tokenizer()
    types = [gguf.TokenType.CONTROL] * len(prompts.SPECIALS)
    types += [gguf.TokenType.NORMAL] * (len(vocabulary) - len(types))
    types[prompts.UNKNOWN] = gguf.TokenType.UNKNOWN

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_license("mit")
    writer.add_block_count(shape.n_layers)
    writer.add_context_length(N_CONTEXT)
    writer.add_embedding_length(shape.n_embedding)
    writer.add_feed_forward_length(shape.n_feed_forward)
    writer.add_head_count(shape.n_heads)
    writer.add_head_count_kv(shape.n_heads)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_rope_dimension_count(shape.n_head)
    writer.add_vocab_size(shape.n_vocabulary)
    writer.add_file_type(
        {"f16": gguf.LlamaFileType.MOSTLY_F16, "f32": gguf.LlamaFileType.ALL_F32}[file_type]
    )
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary)
    writer.add_token_types([int(kind) for kind in types])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(prompts.BOS)
    writer.add_eos_token_id(prompts.EOS)
    writer.add_unk_token_id(prompts.UNKNOWN)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)
    for key, value in parameters.items():
        half = file_type == "f16" and value.ndim > 1
        writer.add_tensor(key, np.ascontiguousarray(value, np.float16 if half else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
