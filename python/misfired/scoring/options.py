"""How a model is asked: every option that decides its answers, in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypedDict, cast

from misfired.errors import ArgumentError, check_one_of
from misfired.prompts.primings import PRIMINGS, Priming, check_primings
from misfired.prompts.shots import Shot
from misfired.scoring.intervention import Intervention
from misfired.scoring.intervention_file import read_intervention
from misfired.scoring.llama.devices import MODES, Devices, Mode
from misfired.scoring.llama.engine import Settings
from misfired.scoring.protocol import LOGIT, Protocol, get_protocol
from misfired.scoring.server.options import ServerOptions


class AskingOptions(TypedDict, total=False):
    """Keyword arguments of `misfired.score` and `misfired.run`; each may be left out.

    Attributes:
        priming: Names from `misfired.prompts.primings.PRIMINGS`, paths of TOML files, or primings; `none`
            is added where one needs it.
        protocol: A name that `misfired.scoring.protocol.PROTOCOLS` lists, the path of a TOML file,
            or a `Protocol`.
        template: None for the model's own chat template, `plain`, a Jinja file, or a GGUF file whose
            template is taken.
        mode: `exact` (f32 K/V cache, no flash attention: a score does not depend on the batch
            beyond float rounding) or `fast` (f16 cache, flash attention where possible).
        n_gpu_layers: Layers to offload; -1 offloads all.
        split_mode, main_gpu, tensor_split: How they are divided among several devices; see
            `misfired.scoring.llama.devices.Devices`.
        cache_type_k, cache_type_v, flash_attention: Instead of the mode's own; see
            `misfired.scoring.llama.devices.KvCache`.
        n_threads: CPU threads; all cores by default.
        n_ctx: Cells of the K/V cache; by default as many as the longest prompt and a batch need.
        n_batch: Tokens a batch.
        n_shots: Demonstrations before every prompt, drawn from the suite; see
            `misfired.prompts.shots.draw_shots`.
        shots_seed: Chooses them.
        hold_out: What is not measured for their sake: their `scenario`s, or only their `pair`s.
        intervention: Heads to ablate or a direction to add while the model answers: a TOML file (see
            `misfired.scoring.intervention_file.read_intervention`) or an `Intervention`.
        cache: A folder that keeps answers across runs; see `misfired.scoring.cache`.
        seed: Chooses the prompts of the batch-invariance check; sent to a server.
        server_model, api_key_env, concurrency, timeout, n_attempts, price, extra_body: For a server;
            see `misfired.scoring.server.options.ServerOptions`.
    """

    priming: Sequence[str | Priming]
    protocol: str | Protocol
    template: str | None
    mode: str
    n_gpu_layers: int
    split_mode: str | None
    main_gpu: int | None
    tensor_split: tuple[float, ...] | None
    cache_type_k: str | None
    cache_type_v: str | None
    flash_attention: str | None
    n_threads: int | None
    n_ctx: int | None
    n_batch: int | None
    intervention: Path | str | Intervention | None
    n_shots: int
    shots_seed: int
    hold_out: str
    cache: Path | str | None
    seed: int
    server_model: str | None
    api_key_env: str | None
    concurrency: int
    timeout: float
    n_attempts: int
    price: tuple[float, float] | None
    extra_body: Mapping[str, Any]


class RunOptions(AskingOptions, total=False):
    """Keyword arguments of `misfired.run` and `misfired.run_many`; each may be left out.

    Attributes:
        n_resamples: Bootstrap resamples.
        unit: What is resampled, `scenario` or `pair`.
        confidence_level: Between 0 and 1.
    """

    n_resamples: int
    unit: str
    confidence_level: float


@dataclass(frozen=True)
class ScoringOptions:
    """How a model is asked; together with model and suite it decides every answer.

    `shots` are the demonstrations themselves, once they have been drawn from a suite.
    """

    primings: tuple[Priming, ...] = (PRIMINGS["none"],)
    protocol: Protocol = LOGIT
    template: str | None = None
    settings: Settings = field(default_factory=Settings)
    devices: Devices = field(default_factory=Devices)
    n_shots: int = 0
    shots_seed: int = 0
    hold_out: str = "scenario"
    shots: tuple[Shot, ...] = ()
    cache: Path | str | None = None
    seed: int = 0
    server: ServerOptions = field(default_factory=ServerOptions)


#: Options that need no check here.
_PLAIN = ("template", "n_shots", "shots_seed", "hold_out", "cache", "seed")

_DEVICES = tuple(each.name for each in fields(Devices))

#: Options by the field of `KvCache` that they set.
_KV_CACHE = {
    "cache_type_k": "type_k",
    "cache_type_v": "type_v",
    "flash_attention": "flash_attention",
}


def asking_of(options: AskingOptions) -> ScoringOptions:
    """Options checked and completed.

    Example:
        >>> [priming.name for priming in asking_of({"priming": ["cue"]}).primings]
        ['none', 'cue']

    Raises:
        ArgumentError: An unknown name, or a number outside its limits.
        DataError: A file that an option names does not hold what it should.
    """
    known: dict[str, Any] = dict(options)
    protocol = known.pop("protocol", LOGIT)
    asking = ScoringOptions(
        primings=check_primings(known.pop("priming", ("none",))),
        protocol=get_protocol(protocol) if isinstance(protocol, str) else protocol,
        settings=_settings(known),
        server=ServerOptions(
            **{
                each.name: known.pop(each.name)
                for each in fields(ServerOptions)
                if each.name in known
            }
        ),
        devices=Devices(**{name: known.pop(name) for name in _DEVICES if name in known}),
        **{name: known.pop(name) for name in _PLAIN if name in known},
    )
    if known:
        raise ArgumentError(f"unknown option {next(iter(known))!r}")
    return asking


def _settings(known: dict[str, Any]) -> Settings:
    mode = known.pop("mode", "exact")
    check_one_of("mode", mode, MODES)
    numbers = {name: known.pop(name, None) for name in ("n_ctx", "n_batch", "n_threads")}
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise ArgumentError(f"{name} is {value}, at least 1 needed")
    cache = {name: known.pop(option, None) for option, name in _KV_CACHE.items()}
    given = {name: value for name, value in cache.items() if value is not None}
    intervention = known.pop("intervention", None)
    if isinstance(intervention, (str, Path)):
        intervention = read_intervention(intervention)
    kv_cache = replace(MODES[mode], **given)
    return Settings(cast("Mode", mode), **numbers, kv_cache=kv_cache, intervention=intervention)
