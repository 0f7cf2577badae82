"""Sections of the manifest that are kept as they come; what readers take from them has its type and limits.

They hold more keys than those here: a mapping that is read is only compared with these types.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypedDict

import msgspec

#: A section kept as it comes.
Free = Mapping[str, Any]
#: Numbers that count something.
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
#: Seconds since 1970 or of a run, and counts: far more than any run has, and never NaN.
Time = (
    Annotated[int, msgspec.Meta(ge=-(2**37), le=2**37)]
    | Annotated[float, msgspec.Meta(ge=-(2.0**37), le=2.0**37)]
)
_Number = Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]


class _Ablation(TypedDict):
    layer: Count
    head: Count
    method: str


class _Direction(TypedDict):
    sha256: Sha256
    layers: tuple[int, int]
    strength: _Number


class _Intervention(TypedDict):
    ablate: list[_Ablation]
    means_sha256: Sha256 | None
    direction: _Direction | None


class _Server(TypedDict):
    url: str
    model: str
    path: str
    extra_body: dict[str, Any]


class _Annotator(TypedDict):
    name: str
    study_sha256: Sha256
    made: Any


class _Marker(TypedDict):
    text: str
    is_special: bool
    looks_untrained: bool


class _Markers(TypedDict):
    n_spelled_out: Count
    n_untrained: Count
    markers: list[_Marker]


class _CacheIdentity(TypedDict):
    model: str | None
    system_fingerprint: str | None


class _AllPairs(TypedDict):
    suite_sha256: Sha256
    n_pairs: Count
    n_scenarios: Count


class _Rule(TypedDict, total=False):
    until: _Number
    until_decided: _Number
    against_sha256: Sha256


class _Look(TypedDict):
    n_scenarios: Count
    n_pairs: Count
    value: _Number | None
    low: _Number | None
    high: _Number | None
    confidence_level: Annotated[float, msgspec.Meta(gt=0, lt=1)]
    ended: str | None


class _Until(TypedDict):
    rule: _Rule
    of: _AllPairs
    ended: Literal["narrow", "different", "alike"] | None
    looks: list[_Look]


class _Settings(TypedDict, total=False):
    intervention: _Intervention | None
    server: _Server | None
    annotator: _Annotator | None


class Kept(TypedDict, total=False):
    """Those sections of a manifest."""

    settings: _Settings
    template_markers: _Markers | None
    cache: _CacheIdentity | None
    until: _Until | None
