"""Make small GGUF models of real architectures with random weights, for tests and benchmarks.

The numbers mean nothing, the files do: real metadata, real tensor names, real tokenizers, and
logits that differ from prompt to prompt, so that agreement between two ways of scoring is a test.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, quants

from architectures import ARCHITECTURES, Shape, Tensor, check_shape, tensors
from vocabulary import Tokenizer, builtin_tokenizer, n_tokens, read_tokenizer, with_chat_template

FILE_TYPES = {
    "f32": LlamaFileType.ALL_F32,
    "f16": LlamaFileType.MOSTLY_F16,
    "q8_0": LlamaFileType.MOSTLY_Q8_0,
    "q4_K": LlamaFileType.MOSTLY_Q4_K_M,
}


def make_model(
    path: str | Path,
    arch: str,
    *,
    vocab: str | Path | None = None,
    n_layer: int = 2,
    n_embd: int = 64,
    n_head: int = 4,
    n_head_kv: int | None = None,
    n_ff: int = 128,
    head_dim: int | None = None,
    quantisation: str = "f32",
    chat_template: str | None = None,
    seed: int = 0,
    n_ctx_train: int = 2048,
    sliding_window: int = 32,
    tied: bool | None = None,
    scale: float = 2.0,
    n_vocab: int | None = None,
) -> Path:
    """Write a GGUF model with random weights; the same arguments give the same bytes.

    Args:
        path: File to write; its folder is made where it is missing.
        arch: One of ARCHITECTURES. "mistral" has the GGUF architecture "llama".
        vocab: GGUF file whose tokenizer is copied; None builds one of about 1,150 tokens in code.
        n_layer: Number of layers.
        n_embd: Width of the residual stream.
        n_head: Number of attention heads.
        n_head_kv: Number of key and value heads; None is n_head / 2 (gpt2, odd n_head: all).
        n_ff: Width of the feed-forward network.
        head_dim: Width of a head; None is n_embd / n_head (qwen3, gemma2, gemma3: twice that).
        quantisation: "f32", "f16", "q8_0", or "q4_K" (llama.cpp's Q4_K_M mixture).
        chat_template: Template text; None keeps the vocabulary's, "" leaves the model without.
        seed: Seed of the weights.
        n_ctx_train: Context length that the file states; gpt2 has that many positions.
        sliding_window: Window in tokens of gemma2 and gemma3 layers that are not global. Real
            models have 512 to 4,096; the small default makes the window matter for short prompts.
        tied: Whether the output rows are the token embedding; None is as in the real models.
        scale: Standard deviation of the logits over the vocabulary, about.
        n_vocab: Tokens up to which the built-in vocabulary is filled with unused ones.

    Raises:
        ValueError: An argument is out of range, or the vocabulary file holds no vocabulary.
        FileNotFoundError: There is no vocabulary file at that path.
    """
    if arch not in ARCHITECTURES:
        raise ValueError(f"arch is {arch!r}; it must be one of {', '.join(ARCHITECTURES)}")
    if quantisation not in FILE_TYPES:
        known = ", ".join(FILE_TYPES)
        raise ValueError(f"quantisation is {quantisation!r}; it must be one of {known}")
    if seed < 0:
        raise ValueError(f"seed is {seed}; it must be at least 0")
    architecture = ARCHITECTURES[arch]
    default_kv = n_head // 2 if architecture.grouped and n_head % 2 == 0 else n_head
    default_width = n_embd // max(1, n_head) * (2 if architecture.wide_heads else 1)
    shape = Shape(
        n_layer=n_layer,
        n_embd=n_embd,
        n_head=n_head,
        n_head_kv=default_kv if n_head_kv is None else n_head_kv,
        n_ff=n_ff,
        head_dim=default_width if head_dim is None else head_dim,
        n_ctx_train=n_ctx_train,
        sliding_window=sliding_window,
        tied=architecture.tied if tied is None else tied,
        scale=scale,
    )
    check_shape(arch, shape, stated_head_dim=head_dim is not None, quantisation=quantisation)
    tokenizer = builtin_tokenizer(n_vocab) if vocab is None else read_tokenizer(Path(vocab))
    tokenizer = with_chat_template(tokenizer, chat_template)
    return _write(
        Path(path), arch, shape, tokenizer=tokenizer, quantisation=quantisation, seed=seed
    )


def _write(
    path: Path, arch: str, shape: Shape, *, tokenizer: Tokenizer, quantisation: str, seed: int
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.part")
    # Python's quantisers stop short of the K types; llama.cpp makes them from f32.
    by_llama_cpp = quantisation == "q4_K"
    written_as = "f32" if by_llama_cpp else quantisation
    try:
        writer = GGUFWriter(unfinished, ARCHITECTURES[arch].gguf)
        writer.add_name(_name(arch, tokenizer))
        _add_metadata(writer, arch, shape, n_tokens(tokenizer))
        writer.add_file_type(FILE_TYPES[written_as])
        for key, data in tokenizer.items():
            writer.add_key_value(key, data.value, data.type, data.element_type)
        for tensor in tensors(ARCHITECTURES[arch], shape, n_tokens(tokenizer)):
            _add_tensor(writer, tensor, written_as, seed)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        if by_llama_cpp:
            _quantise_with_llama_cpp(unfinished, path, FILE_TYPES[quantisation])
        else:
            unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def _name(arch: str, tokenizer: Tokenizer) -> str:
    # llama.cpp trims spaces after some tokens of a model that is called phi3, as the real ones
    # need, and refuses the file ("unordered_map::at") where the vocabulary lacks such a token.
    trimmed = {b"</s>", b"<unk>", b"<s>", b"<|endoftext|>"}
    lacks = not trimmed <= set(tokenizer["tokenizer.ggml.tokens"].value)
    return "random-phi" if arch == "phi3" and lacks else f"random-{arch}"


def _add_metadata(writer: GGUFWriter, arch: str, shape: Shape, n_vocab: int) -> None:
    architecture = ARCHITECTURES[arch]
    writer.add_block_count(shape.n_layer)
    writer.add_context_length(shape.n_ctx_train)
    writer.add_embedding_length(shape.n_embd)
    writer.add_feed_forward_length(shape.n_ff)
    writer.add_head_count(shape.n_head)
    if architecture.layer_norm:
        writer.add_layer_norm_eps(architecture.epsilon)
    else:
        writer.add_head_count_kv(shape.n_head_kv)
        writer.add_layer_norm_rms_eps(architecture.epsilon)
    if architecture.rope_freq_base is not None:
        writer.add_rope_freq_base(architecture.rope_freq_base)
    if architecture.wide_heads or shape.n_head * shape.head_dim != shape.n_embd:
        writer.add_key_length(shape.head_dim)
        writer.add_value_length(shape.head_dim)
    if arch in {"llama", "mistral", "phi3"}:
        writer.add_rope_dimension_count(shape.head_dim)
    if arch in {"llama", "mistral"}:
        writer.add_vocab_size(n_vocab)
    _add_window(writer, arch, shape)


def _add_window(writer: GGUFWriter, arch: str, shape: Shape) -> None:
    if arch == "gemma2":
        writer.add_attn_logit_softcapping(50.0)
        writer.add_final_logit_softcapping(30.0)
        writer.add_sliding_window(shape.sliding_window)
    elif arch == "gemma3":
        writer.add_sliding_window(shape.sliding_window)
        # Every sixth layer of the real models is global; a shorter model gets one as its last.
        writer.add_sliding_window_pattern(min(6, shape.n_layer))
    elif arch == "phi3":
        # As the 4k models have it: a window of the context less one, which llama.cpp sets aside.
        writer.add_sliding_window(max(1, shape.n_ctx_train - 1))
        writer.add_rope_scaling_orig_ctx_len(shape.n_ctx_train)


def _add_tensor(writer: GGUFWriter, tensor: Tensor, quantisation: str, seed: int) -> None:
    values = tensor.values(seed)
    # As llama.cpp's own quantiser does: vectors and the position table stay f32.
    if values.ndim == 1 or tensor.name == "position_embd.weight" or quantisation == "f32":
        writer.add_tensor(tensor.name, values)
    elif quantisation == "f16":
        writer.add_tensor(tensor.name, values.astype(np.float16))
    else:
        kind = GGMLQuantizationType.Q8_0
        writer.add_tensor(tensor.name, quants.quantize(values, kind), raw_dtype=kind)


def _quantise_with_llama_cpp(source: Path, target: Path, file_type: LlamaFileType) -> None:
    import llama_cpp  # noqa: PLC0415  only q4_K needs it, and it takes a second

    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = int(file_type)
    with _quiet_llama_cpp():
        status = llama_cpp.llama_model_quantize(bytes(source), bytes(target), parameters)
    if status != 0:
        target.unlink(missing_ok=True)
        raise RuntimeError(f"{target}: llama.cpp could not quantise it to {file_type.name}")


@contextmanager
def _quiet_llama_cpp() -> Iterator[None]:
    logger = logging.getLogger("llama-cpp-python")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


EXAMPLES = """\
examples:
  # no data needed: built-in vocabulary of about 1,150 tokens with a chat template
  python tools/random_model.py tiny.gguf --arch llama
  # real tokenisation and another template
  python tools/random_model.py q.gguf --arch qwen2 --vocab ggml-vocab-qwen2.gguf \\
      --chat-template qwen.jinja
  # 51M parameters, for benchmarks
  python tools/random_model.py bench.gguf --arch llama --vocab ggml-vocab-gpt-2.gguf \\
      --n-embd 512 --n-layer 8 --n-head 8 --n-ff 1536 --tied
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Make a small GGUF model of a real architecture with random weights.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("path", type=Path, metavar="OUT.gguf")
    add("--arch", required=True, choices=[*ARCHITECTURES])
    add("--vocab", type=Path, metavar="V.gguf", help="copy its tokenizer (default: built in)")
    add("--quantisation", default="f32", choices=[*FILE_TYPES], help="default: f32")
    add("--chat-template", type=Path, metavar="FILE", help="default: the vocabulary's own")
    add("--n-layer", type=int, default=2, help="default: 2")
    add("--n-embd", type=int, default=64, help="default: 64")
    add("--n-head", type=int, default=4, help="default: 4")
    add("--n-head-kv", type=int, help="default: half of n-head (gpt2, odd n-head: all)")
    add("--n-ff", type=int, default=128, help="default: 128")
    add("--head-dim", type=int, help="default: n-embd / n-head (qwen3, gemma: twice that)")
    add("--n-ctx-train", type=int, default=2048, help="default: 2048")
    add("--sliding-window", type=int, default=32, help="of gemma2 and gemma3; default: 32")
    add("--tied", action=argparse.BooleanOptionalAction, help="default: as the real models")
    add("--scale", type=float, default=2.0, help="standard deviation of the logits; default: 2")
    add("--seed", type=int, default=0, help="default: 0")
    return parser


def main() -> int:
    options = vars(_parser().parse_args())
    try:
        if options["chat_template"] is not None:
            options["chat_template"] = options["chat_template"].read_text(encoding="utf-8")
        path = make_model(options.pop("path"), options.pop("arch"), **options)
    except (OSError, ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{path}: {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
