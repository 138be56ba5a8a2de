"""What a trial's record holds, as far as anything reads it, and which numbers are possible there."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Ratio = Annotated[float, Field(ge=0, le=1 + 1e-9)]
"""Of two sums of floats: a part that is the whole can come out above 1 by rounding."""
Difference = Annotated[float, Field(ge=-1, le=1)]
Amount = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Some = Annotated[int, Field(ge=1, lt=2**63)]
ABSENT: Any = None
"""Default of a key that may be missing, but not null: a default is not checked."""


class _Part(BaseModel):
    """Numbers are finite. Keys that no report reads are not looked at."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, allow_inf_nan=False)


class Test(_Part):
    recordings: Some
    surrogate: Share
    hard: Share
    gap: Difference


class Program(_Part):
    accuracy: Share
    ksynops: Amount
    largest_ksynops: Amount


class Refused(_Part):
    refused: str


class Tested(_Part):
    """What the test recordings say."""

    format: int
    address: str
    test: Test
    programs: dict[str, Program | Refused]
    data_hash: str
    commit: str | None = None
    test_commit: str | None = None


class _Validation(_Part):
    epoch: Count
    surrogate_accuracy: Share
    hard_accuracy: Share


class _Seconds(_Part):
    training: Amount
    training_cpu: Amount
    last_process: Amount = ABSENT


class _Rates(_Part):
    surrogate_rate: Share | None
    hard_rate: Share | None
    tail: Ratio | None
    far_tail: Ratio | None
    silent: Share | None
    never_reaching: Share | None


class _LayerRates(_Rates):
    name: str


class _Activity(_Part):
    overall: _Rates
    layers: list[_LayerRates]
    recordings: Some


class _Histogram(_Part):
    below: Count
    above: Count
    counts: list[Count]


class _Margin(_Part):
    states: Some
    near: Share
    histogram: _Histogram


class _LayerMargin(_Part):
    name: str
    near: Share


class _Bins(_Part):
    low: float
    high: float


class _Margins(_Part):
    bins: _Bins
    near_width: Amount
    overall: _Margin
    layers: list[_LayerMargin]
    recordings: Some


class _Contraction(_Part):
    gamma_hat: Amount
    quantiles: dict[Annotated[str, Field(pattern=r"^[01]\.[0-9]+$")], Amount]
    in_band: Share
    recordings: Some


class _State(_Part):
    norm_ratio: Amount | None


class _States(_Part):
    layers: list[_State]


class _Local(_Part):
    gamma: Amount
    assumption_holds: bool
    log10_bound: float


class _Lipschitz(_Part):
    local: _Local
    largest_found: Amount
    log10_bound_over_found: float | None
    log10_one_event_over_diameter: float | None


class _Convergence(_Part):
    beta_at_least: Amount
    learning_rate: Amount
    largest_learning_rate: Amount | None
    floor_over_squared_gradient: Amount | None
    floor_at_paper_rho_over_squared_gradient: Amount | None


class _Bounds(_Part):
    states: _States
    lipschitz: _Lipschitz
    convergence: _Convergence
    recordings: Some
    limit: Some


class _Scaled(_Part):
    factors: dict[str, Amount]
    validation_hard: Share
    test_hard: Share


class _Calibration(_Part):
    threshold: _Scaled
    threshold_by_layer: _Scaled
    input: _Scaled
    slopes: dict[str, Share]


class _Answer(_Part):
    value: Share


class _Corrupted(_Part):
    corruption: str
    recordings: Some
    surrogate: _Answer
    hard: _Answer
    programs: dict[str, _Answer]


class _Overflow(_Part):
    low: Count
    high: Count
    updates: Some


class _Overflows(_Part):
    recordings: Some
    programs: dict[str, _Overflow]


class _Measures(_Part):
    activity: _Activity = ABSENT
    margins: dict[str, _Margins] = ABSENT
    contraction: _Contraction = ABSENT
    bounds: _Bounds = ABSENT
    calibration: _Calibration = ABSENT
    robustness: list[_Corrupted] = ABSENT
    overflows: _Overflows = ABSENT


class _Curve(_Part):
    surrogate: list[Share]
    hard: list[Share]


class Record(_Part):
    format: int
    address: str
    trial: dict[str, Any]
    validation: _Validation
    gradient_evaluations: Some
    seconds: _Seconds
    checkpoint_hash: str
    test: Test = ABSENT
    programs: dict[str, Program | Refused] = {}
    measures: _Measures = _Measures()
    measure_commits: dict[str, str | None] = {}
    curve: _Curve = ABSENT
    peak_bytes: Some = ABSENT
    commit: str | None = None
    test_commit: str | None = None


class _Candidate(_Part):
    point: str
    addresses: list[str]
    validation_hard: list[Share]


class Choice(_Part):
    experiment: str
    candidates: list[_Candidate]
    chosen: list[str]
