"""Make small GGUF models of real architectures with random weights, for tests and benchmarks.

The numbers mean nothing, the files do: real metadata, real tensor names, real tokenizers, and
logits that differ from prompt to prompt, so that agreement between two ways of scoring is a test.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, quants

from vocabulary import Tokenizer, builtin_tokenizer, n_tokens, read_tokenizer, with_chat_template

Float32 = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


@dataclass(frozen=True)
class Architecture:
    """What sets one family of models apart from a plain llama, as its real conversions have it."""

    gguf: str
    layer_norm: bool = False  # LayerNorm with biases instead of RMSNorm
    gated: bool = True  # feed-forward network with a gate
    fused: bool = False  # one tensor for q, k, v (and one for gate and up, where gated)
    biases: str = "none"  # "none", "qkv" or "all"
    position_table: bool = False  # learned positions instead of RoPE
    qk_norm: bool = False
    post_norm: bool = False  # norms after attention and feed-forward too
    scaled_embedding: bool = False  # llama.cpp multiplies embeddings by sqrt(n_embd)
    tied: bool = False  # output rows are the token embedding, where the caller does not say
    always_tied: bool = False
    wide_heads: bool = False  # head_dim is stated, and by default not n_embd / n_head
    free_heads: bool = True  # head_dim may differ from n_embd / n_head at all
    grouped: bool = True  # n_head_kv may be less than n_head
    rope_freq_base: float | None = 10_000.0
    epsilon: float = 1e-5


ARCHITECTURES = {
    "llama": Architecture("llama", rope_freq_base=500_000.0),
    "mistral": Architecture("llama", rope_freq_base=1_000_000.0),
    "qwen2": Architecture(
        "qwen2",
        biases="qkv",
        tied=True,
        free_heads=False,
        rope_freq_base=1_000_000.0,
        epsilon=1e-6,
    ),
    "qwen3": Architecture(
        "qwen3", qk_norm=True, tied=True, wide_heads=True, rope_freq_base=1_000_000.0, epsilon=1e-6
    ),
    "gemma2": Architecture(
        "gemma2",
        post_norm=True,
        scaled_embedding=True,
        tied=True,
        always_tied=True,
        wide_heads=True,
        epsilon=1e-6,
    ),
    "gemma3": Architecture(
        "gemma3",
        qk_norm=True,
        post_norm=True,
        scaled_embedding=True,
        tied=True,
        always_tied=True,
        wide_heads=True,
        rope_freq_base=1_000_000.0,
        epsilon=1e-6,
    ),
    "phi3": Architecture("phi3", fused=True, free_heads=False),
    "gpt2": Architecture(
        "gpt2",
        layer_norm=True,
        gated=False,
        fused=True,
        biases="all",
        position_table=True,
        tied=True,
        free_heads=False,
        grouped=False,
        rope_freq_base=None,
    ),
}
FILE_TYPES = {
    "f32": LlamaFileType.ALL_F32,
    "f16": LlamaFileType.MOSTLY_F16,
    "q8_0": LlamaFileType.MOSTLY_Q8_0,
    "q4_K": LlamaFileType.MOSTLY_Q4_K_M,
}
BLOCK_SIZES = {"f32": 1, "f16": 1, "q8_0": 32, "q4_K": 256}


@dataclass(frozen=True)
class Shape:
    """Sizes of a model, checked and with defaults filled in."""

    n_layer: int
    n_embd: int
    n_head: int
    n_head_kv: int
    n_ff: int
    head_dim: int
    n_ctx_train: int
    sliding_window: int
    tied: bool
    scale: float


@dataclass(frozen=True)
class Tensor:
    """A tensor to fill with normal numbers; matrices are (outputs, inputs)."""

    name: str
    shape: tuple[int, ...]
    mean: float
    deviation: float

    def values(self, seed: int) -> Float32:
        # A stream per name: two files that share a tensor share its numbers, whatever else differs.
        rng = np.random.default_rng([seed, zlib.crc32(self.name.encode())])
        values = rng.standard_normal(self.shape, dtype=np.float32)
        values *= np.float32(self.deviation)
        values += np.float32(self.mean)
        return values


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
    _check(arch, shape, stated_head_dim=head_dim is not None, quantisation=quantisation)
    tokenizer = builtin_tokenizer(n_vocab) if vocab is None else read_tokenizer(Path(vocab))
    tokenizer = with_chat_template(tokenizer, chat_template)
    return _write(
        Path(path), arch, shape, tokenizer=tokenizer, quantisation=quantisation, seed=seed
    )


def _check(arch: str, shape: Shape, *, stated_head_dim: bool, quantisation: str) -> None:
    """Refuse what llama.cpp would refuse later, or would read as another model, with the reason."""
    architecture = ARCHITECTURES[arch]
    for name in ("n_layer", "n_embd", "n_head", "n_head_kv", "n_ff", "n_ctx_train"):
        if (value := getattr(shape, name)) < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")
    if shape.sliding_window < 1:
        raise ValueError(f"sliding_window is {shape.sliding_window}; it must be at least 1")
    if not (math.isfinite(shape.scale) and shape.scale > 0):
        raise ValueError(f"scale is {shape.scale}; it must be positive")
    if not stated_head_dim and shape.n_embd % shape.n_head:
        raise ValueError(f"n_head is {shape.n_head}; it must divide n_embd = {shape.n_embd}")
    if shape.n_head % shape.n_head_kv:
        raise ValueError(f"n_head_kv is {shape.n_head_kv}; it must divide n_head = {shape.n_head}")
    if not architecture.grouped and shape.n_head_kv != shape.n_head:
        raise ValueError(f"n_head_kv is {shape.n_head_kv}; {arch} needs n_head = {shape.n_head}")
    if shape.head_dim < 2 or shape.head_dim % 2:
        raise ValueError(f"head_dim is {shape.head_dim}; it must be even and at least 2")
    if not architecture.free_heads and shape.n_head * shape.head_dim != shape.n_embd:
        expected = f"n_embd / n_head = {shape.n_embd / shape.n_head:g}"
        raise ValueError(f"head_dim is {shape.head_dim}; {arch} needs {expected}")
    if architecture.always_tied and not shape.tied:
        raise ValueError(f"tied is False; the output rows of {arch} are its token embedding")
    rows = {
        "n_embd": shape.n_embd,
        "n_ff": shape.n_ff,
        "n_head * head_dim": shape.n_head * shape.head_dim,
    }
    for name, value in rows.items():
        if value % BLOCK_SIZES[quantisation]:
            block = BLOCK_SIZES[quantisation]
            raise ValueError(f"{name} is {value}; {quantisation} needs a multiple of {block}")


def tensors(architecture: Architecture, shape: Shape, n_vocab: int) -> Iterator[Tensor]:
    """All tensors of a model, in the order of the file."""
    width = shape.n_embd
    root = math.sqrt(width)
    # With tied weights the embedding has to be small for logits of the wanted size; where
    # llama.cpp multiplies it by sqrt(n_embd) it is smaller still, and the last norm makes up for
    # that. Otherwise the token that was just read would outweigh all others by its own square.
    embedding = shape.scale / root if shape.tied else 1.0
    last_norm = 1.0
    if architecture.scaled_embedding:
        embedding, last_norm = embedding / root, root
    yield Tensor("token_embd.weight", (n_vocab, width), 0.0, embedding)
    if architecture.position_table:
        yield Tensor("position_embd.weight", (shape.n_ctx_train, width), 0.0, embedding)
    for layer in range(shape.n_layer):
        for tensor in _layer(architecture, shape):
            name = f"blk.{layer}.{tensor.name}"
            yield Tensor(name, tensor.shape, tensor.mean, tensor.deviation)
    yield from _norm("output_norm", width, last_norm, bias=architecture.layer_norm)
    if not shape.tied:
        yield Tensor("output.weight", (n_vocab, width), 0.0, shape.scale / root)


def _norm(name: str, width: int, mean: float = 1.0, *, bias: bool = False) -> Iterator[Tensor]:
    yield Tensor(f"{name}.weight", (width,), mean, 0.2 * mean)
    if bias:
        yield Tensor(f"{name}.bias", (width,), 0.0, 0.1)


def _linear(name: str, outputs: int, inputs: int, gain: float, *, bias: bool) -> Iterator[Tensor]:
    """A matrix that takes inputs of size 1 to outputs of size `gain`."""
    yield Tensor(f"{name}.weight", (outputs, inputs), 0.0, gain / math.sqrt(inputs))
    if bias:
        yield Tensor(f"{name}.bias", (outputs,), 0.0, 0.2)


def _layer(architecture: Architecture, shape: Shape) -> Iterator[Tensor]:
    width, bias = shape.n_embd, architecture.layer_norm
    yield from _norm("attn_norm", width, bias=bias)
    yield from _attention(architecture, shape)
    if architecture.post_norm:
        yield from _norm("post_attention_norm", width)
    yield from _norm("ffn_norm", width, bias=bias)
    yield from _feed_forward(architecture, shape)
    if architecture.post_norm:
        yield from _norm("post_ffw_norm", width)


def _attention(architecture: Architecture, shape: Shape) -> Iterator[Tensor]:
    width, bias = shape.n_embd, architecture.biases == "all"
    n_q, n_kv = shape.n_head * shape.head_dim, shape.n_head_kv * shape.head_dim
    # A gain of 1.5 spreads the attention scores by about 2, so that heads choose among tokens
    # (with 1 they would all but average) and a prompt's order shows in its logits.
    outputs = {"attn_qkv": n_q + 2 * n_kv}
    if not architecture.fused:
        outputs = {"attn_q": n_q, "attn_k": n_kv, "attn_v": n_kv}
    for name, n_outputs in outputs.items():
        yield from _linear(name, n_outputs, width, 1.5, bias=architecture.biases != "none")
    if architecture.qk_norm:
        yield from _norm("attn_q_norm", shape.head_dim, 1.5)
        yield from _norm("attn_k_norm", shape.head_dim, 1.5)
    yield from _linear("attn_output", width, n_q, 1.5, bias=bias)


def _feed_forward(architecture: Architecture, shape: Shape) -> Iterator[Tensor]:
    width, bias = shape.n_embd, architecture.biases == "all"
    if architecture.gated and not architecture.fused:
        yield from _linear("ffn_gate", shape.n_ff, width, 1.5, bias=bias)
    n_up = shape.n_ff * (2 if architecture.gated and architecture.fused else 1)
    yield from _linear("ffn_up", n_up, width, 1.5, bias=bias)
    yield from _linear("ffn_down", width, shape.n_ff, 1.5, bias=bias)


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
