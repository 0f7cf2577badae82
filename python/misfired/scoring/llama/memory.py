"""What a model needs in main memory, and what there is: llama.cpp aborts where it runs short."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from misfired.errors import ModelError
from misfired.scoring.environment import address_space_left, default_threads
from misfired.scoring.llama.gguf import Header, short, type_bytes
from misfired.scoring.llama.library import CACHE_TYPES
from misfired.scoring.options import KvCache

#: Bytes for what is not estimated: tokens, tables, answers.
SPARE = 64 << 20
#: Address space that a thread of llama.cpp takes: its stack.
THREAD_SPACE = 8 << 20
#: Cells of a context whose size is not known yet.
N_CTX = 512


@dataclass(frozen=True)
class Free:
    """Bytes that this process can still have, and what sets the limit."""

    n_bytes: int
    source: str

    def __str__(self) -> str:
        return f"{short(self.n_bytes)}B free ({self.source})"


def free() -> Free | None:
    """Return the least of what machine, container and `ulimit -v` leave; None where nothing says."""
    found = [*_machine(), *_containers()]
    if (space := address_space_left()) is not None:
        threads = (default_threads() + 1) * THREAD_SPACE
        found.append(Free(max(0, space - threads), "ulimit -v"))
    return min(found, key=lambda each: each.n_bytes, default=None)


def _machine() -> Iterator[Free]:
    with contextlib.suppress(OSError, ValueError, IndexError):
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        rows = dict(line.split(":", 1) for line in text.splitlines())
        kib = (int(rows[name].split()[0]) for name in ("MemAvailable", "SwapFree"))
        yield Free(sum(kib) << 10, "machine")


def _containers(
    listing: Path = Path("/proc/self/cgroup"), groups: Path = Path("/sys/fs/cgroup")
) -> Iterator[Free]:
    """Yield what each control group above this process leaves; the page cache does not count as used."""
    with contextlib.suppress(OSError):
        for line in listing.read_text(encoding="utf-8").splitlines():
            _, controllers, own = line.split(":", 2)
            if not controllers:
                root, names = groups, ("memory.max", "memory.current", "inactive_file")
            elif "memory" in controllers.split(","):
                root = groups / "memory"
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            else:
                continue
            folder = root / own.strip("/")
            for each in (folder, *folder.parents):
                yield from _container(each, *names)
                if each == root:
                    break


def _container(folder: Path, limit: str, used: str, cached: str) -> Iterator[Free]:
    with contextlib.suppress(OSError, ValueError, KeyError):
        text = (folder / limit).read_text(encoding="ascii").strip()
        # Version 1 has a number near 2**63 for "no limit".
        if text == "max" or int(text) >= 1 << 60:
            return
        lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
        stat = dict(line.split() for line in lines)
        taken = int((folder / used).read_text(encoding="ascii")) - int(stat[cached])
        yield Free(max(0, int(text) - taken), "control group")


def needed(
    header: Header,
    cache: KvCache,
    *,
    n_ctx: int,
    n_batch: int,
    n_sequences: int,
    n_streams: int = 1,
) -> dict[str, int]:
    """Return an estimate of the bytes of a context: K/V cache, and what a batch is computed in.

    llama.cpp reserves for the largest batch: logits of each of its tokens, and beside them those that it
    gives back; of the layers one after the other the activations, and without flash attention a row of
    attention for each head. Sliding windows, which need less, and experts, which need more, are left out.
    """
    shape = header.shape
    n_key = shape.n_key or shape.n_embd // max(1, shape.n_head)
    n_value = shape.n_value or n_key
    n_layers, n_head_kv = header.n_layers or 0, shape.n_head_kv or shape.n_head
    in_keys, in_values = (type_bytes(CACHE_TYPES[each]) for each in (cache.type_k, cache.type_v))
    a_cell = n_key * in_keys + n_value * in_values
    row = 3 * shape.n_ff + 6 * shape.n_embd
    if cache.flash_attention != "on":
        row += shape.n_head * (n_ctx // n_streams)
    logits = (n_batch + min(n_sequences, n_batch)) * shape.n_vocab
    return {
        "K/V cache": int(n_ctx * n_layers * n_head_kv * a_cell),
        "batches": 4 * (n_batch * row + logits),
    }


def require(path: Path, parts: Mapping[str, int]) -> None:
    """Refuse what does not fit.

    Raises:
        ModelError: The parts and `SPARE` take more than `free`.
    """
    found, total = free(), sum(parts.values()) + SPARE
    if found is not None and total > found.n_bytes:
        named = ", ".join(f"{name} {short(n_bytes)}B" for name, n_bytes in parts.items())
        raise ModelError(
            f"{path}: memory must be at least about {short(total)}B ({named}, spare {short(SPARE)}B), "
            f"got {found}; take a smaller model, --n-ctx or --n-batch, or free memory"
        )
