"""Markers of a chat template, and whether a model knows them: a base model may not.

A template of another model marks turns by special tokens. A vocabulary that lacks one spells it out in
ordinary tokens; a model whose vocabulary has it may never have been trained on it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from misfired._core import embeddings as read_embeddings
from misfired.errors import ModelError
from misfired.scoring.tokens import PromptTokenizer

if TYPE_CHECKING:
    from misfired.scoring.llama.model import Model

#: Markers of known templates, for a template that comes without its vocabulary: `<|im_start|>`,
#: `<start_of_turn>`, `[INST]`.
_LOOKS_LIKE_ONE = r"<\|[^<>|\s]{1,40}\|>|<[a-z]+(?:_[a-z]+)+>|\[/?[A-Z_]{3,20}\]"
#: Ordinary tokens that embeddings are compared with.
N_ORDINARY = 1000
#: An embedding looks untrained if it is shorter than this share of the 5th percentile of ordinary ones, or
#: if its cosine with another marker's exceeds `SAME`.
SHORT, SAME = 0.5, 0.999
#: Tokens whose embeddings are read at a time: llama.cpp reserves logits for each.
_N_READ = 32


@dataclass(frozen=True)
class Marker:
    """A marker of a template, as a model sees it.

    Attributes:
        n_tokens: Tokens that it becomes; 1 for a special token of the vocabulary.
        relative_norm: Length of its embedding relative to the median of ordinary tokens; None if it is
            no special token or the embeddings cannot be read.
        looks_untrained: An indication by the limits above, no proof.
    """

    text: str
    n_tokens: int
    is_special: bool
    relative_norm: float | None = None
    looks_untrained: bool = False


def find_markers(model: Model, tokenizer: PromptTokenizer) -> list[Marker]:
    """Return the markers that a tokenizer's template puts around a prompt, in order of appearance."""
    own = {text: int(token) for token, text, *_ in model.tokenizer.special_tokens() if text}
    longest_first = sorted({*own, *tokenizer.template.special}, key=len, reverse=True)
    pattern = "|".join([*map(re.escape, longest_first), _LOOKS_LIKE_ONE])
    texts = list(dict.fromkeys(re.findall(pattern, tokenizer.frame)))
    known = [own[text] for text in texts if text in own]
    judged = dict(zip(known, _judge(model, known, set(own.values())), strict=True))
    return [
        Marker(text, 1, True, *judged[own[text]])
        if text in own
        else Marker(text, len(model.tokenizer.encode(text, parse_special=False)), is_special=False)
        for text in texts
    ]


def describe(markers: Sequence[Marker]) -> dict[str, Any]:
    """Return markers for the manifest: how many are spelled out or look untrained, and all of them."""
    return {
        "n_spelled_out": sum(not marker.is_special for marker in markers),
        "n_untrained": sum(marker.looks_untrained for marker in markers),
        "markers": [asdict(marker) for marker in markers],
    }


def complaint(described: dict[str, Any]) -> str | None:
    """Return a sentence if the model does not know all markers of its template, else None."""
    rows, said = described["markers"], []
    for count, column, value, what in (
        ("n_spelled_out", "is_special", False, "spelled out in ordinary tokens"),
        ("n_untrained", "looks_untrained", True, "with embeddings that look untrained"),
    ):
        texts = dict.fromkeys(row["text"] for row in rows if row[column] == value)
        if texts:
            said.append(f"{described[count]} {what} ({' '.join(texts)})")
    return f"Template: of {len(rows)} markers {' and '.join(said)}." if said else None


def _judge(
    model: Model, tokens: Sequence[int], special: Collection[int]
) -> list[tuple[float | None, bool]]:
    """Return for each token the relative length of its embedding, and True if it looks untrained."""
    if not tokens:
        return []
    ordinary = [token for token in range(model.tokenizer.n_vocab) if token not in special]
    rows = embeddings(model, [*tokens, *ordinary[:: max(1, len(ordinary) // N_ORDINARY)]])
    if rows is None:
        return [(None, False)] * len(tokens)
    lengths = np.linalg.norm(rows, axis=1)
    own, usual = np.split(lengths, [len(tokens)])
    unit = rows[: len(tokens)] / np.maximum(own, np.finfo(np.float64).tiny)[:, None]
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, 0.0)
    untrained = (own < SHORT * np.quantile(usual, 0.05)) | (cosine.max(axis=1) > SAME)
    return list(zip((own / np.median(usual)).tolist(), untrained.tolist(), strict=True))


def embeddings(model: Model, tokens: Sequence[int]) -> npt.NDArray[np.float64] | None:
    """Return token embeddings (token, width) as the model reads them; None if its graph has no such node.

    llama.cpp looks the rows up and dequantises them; the rest of the graph is not computed.
    """
    try:
        with model.context(256, n_batch=_N_READ, n_sequences=1, watched=True) as context:
            rows = read_embeddings(context.handle, np.array(tokens, np.int32))
    except ModelError:
        return None
    return rows.reshape(len(tokens), -1).astype(np.float64)
