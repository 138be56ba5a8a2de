"""Hardware profiles: what a chip offers, as strict YAML with a source beside every value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, model_validator

from sastdeploy._files.strict_yaml import load_strict_yaml, validate
from sastdeploy.errors import InputError, did_you_mean
from sastdeploy.program.fixedpoint import Overflow, QFormat, Rounding
from sastdeploy.program.layers.delay import MAX_DELAY
from sastdeploy.program.limits import MAX_SPIKES, is_int, is_one_of
from sastdeploy.program.records import RESETS, SPIKE_TESTS

Value = TypeVar("Value")
_NEURON = ("spike_test", "reset", "reset_delay")


@dataclass(frozen=True)
class Cores:
    """The cores of a chip.

    Args:
        count: how many.
        neurons, memory_bytes: of each core; None where the chip states none. fan_in: sources of one neuron; None: no limit.
        split: whether a layer may be spread over cores, and cores shared by layers; else one core holds one layer.
        rounding: ``none``, or ``power_of_two``: outputs, rows, columns and kernel positions each take up to the next one.
    """

    count: int
    neurons: tuple[int, ...] | None
    memory_bytes: tuple[int, ...] | None
    fan_in: int | None
    split: bool
    rounding: str


@dataclass(frozen=True)
class HardwareProfile:
    """One chip. `load_profile` makes it, from a file that it has checked.

    Args:
        name, title: for artifacts and for people.
        weight_bits: 2 to 8, signed, narrow range. granularity: ``per_tensor`` or ``per_channel``.
        scale: ``any``, or ``power_of_two`` (a plain shift replaces the multiplier).
        membrane: format of u, bias and threshold. overflow: what happens outside it.
        leak_shift: k of ``A / 2^k``, 0 to 15. leak_rounding: of the product.
        accumulator_bits: width that a layer's weighted sum must fit, 8 to 32.
        spike_test, reset, reset_delay: the neuron, as in `sastdeploy.program.records.Lif`.
        limits: ``neurons``, ``fan_in``, ``fan_out``, ``memory_bytes``, and where stated ``inputs``, ``outputs``, ``channels``,
            ``kernel``, ``count``; None states none.
        leak_form: ``multiplier`` (any A), ``shift`` (alpha is 1 - 2^-d), or ``none`` (alpha is 1).
        cores: what the chip's cores hold; None where none are stated.
        synaptic_current: whether a current with a decay of its own can stand before the membrane, in the leak's form.
        recurrent: whether the spikes of a layer can come back to it, from each of its neurons to each, one step later.
        delays: the most steps that a value can wait on its way to the next layer; 0 where the hardware states none.
        spikes_per_step: the most spikes of a neuron in a step, 1 to 127.
        leak_per_channel: whether the channels of a layer, the neurons of a dense one, can decay differently.
        per_neuron: whether thresholds, biases and decays can differ between the neurons of a convolution's channel.
        starts: whether membranes, and synaptic currents, can start elsewhere than at 0.
        floor: whether membranes can have a floor: a lowest value of their own, 0 or below, after each step's reset.
        other_spike_tests, other_resets, other_reset_delays: what its neurons can do beside these, each as a program chooses.
        differs: what the chip does otherwise than any profile can say, in sentences.
        record: the whole file as plain data, sources included.
    """

    name: str
    title: str
    weight_bits: int
    granularity: str
    scale: str
    membrane: QFormat
    overflow: Overflow
    leak_shift: int
    leak_rounding: Rounding
    accumulator_bits: int
    spike_test: str
    reset: str
    reset_delay: int
    limits: dict[str, int | None]
    record: dict[str, Any]
    leak_form: str = "multiplier"
    cores: Cores | None = None
    differs: tuple[str, ...] = ()
    synaptic_current: bool = False
    recurrent: bool = False
    delays: int = 0
    leak_per_channel: bool = False
    spikes_per_step: int = 1
    per_neuron: bool = False
    starts: bool = False
    floor: bool = False
    other_resets: tuple[str, ...] = ()
    other_spike_tests: tuple[str, ...] = ()
    other_reset_delays: tuple[int, ...] = ()

    def offered(self, key: str) -> tuple[Any, ...]:
        """Return all that its neurons can do, first what takes the place of any other.

        Args:
            key: ``spike_test``, ``reset`` or ``reset_delay``.
        """
        return getattr(self, key), *getattr(self, f"other_{key}s")

    def neuron_for(self, spike_test: str, reset: str, reset_delay: int) -> tuple[str, str, int]:
        """Return spike test, reset and its delay that stand in a network's place: its own where the hardware has them.

        Args:
            spike_test, reset, reset_delay: the network's, as in `sastdeploy.program.records.Lif`.
        """
        test, does, delay = (
            self._does(key, wanted) for key, wanted in zip(_NEURON, (spike_test, reset, reset_delay))
        )
        return test, does, 1 if does == "refractory" else delay

    def _does(self, key: str, wanted: Any) -> Any:
        offered = self.offered(key)
        return wanted if wanted in offered else offered[0]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Sourced(_Strict, Generic[Value]):
    value: Value
    source: str = Field(pattern=r"\S")

    @model_validator(mode="before")
    @classmethod
    def _has_a_source(cls, entry: Any) -> Any:
        if not isinstance(entry, dict | cls):
            raise ValueError(
                f'write {{value: {"null" if entry is None else entry}, source: "where it is from"}}'
            )
        return entry


def _real(value: Any) -> Any:
    return float(value) if type(value) is int else value


MAX_ENERGY_PJ = 1e12
"""Of one operation: a joule."""
_LEFT_OUT: Any = None
"""Default of an entry that a file may leave out, but not give without value and source."""
_Limit = _Sourced[Annotated[int, Field(ge=1)] | None]
_Energy = _Sourced[
    Annotated[float, BeforeValidator(_real), Field(ge=0, le=MAX_ENERGY_PJ, allow_inf_nan=False)] | None
]


class _Weights(_Strict):
    bits: _Sourced[Annotated[int, Field(ge=2, le=8)]]
    granularity: _Sourced[Literal["per_tensor", "per_channel"]]
    scale: _Sourced[Literal["any", "power_of_two"]]


class _Membrane(_Strict):
    format: _Sourced[str]
    overflow: _Sourced[Literal["saturate", "wrap"]]


class _Leak(_Strict):
    shift: _Sourced[Annotated[int, Field(ge=0, le=15)]]
    rounding: _Sourced[Literal["floor", "toward_zero", "nearest"]]
    form: _Sourced[Literal["multiplier", "shift", "none"]] = _LEFT_OUT
    per_channel: _Sourced[bool] = _LEFT_OUT


class _Accumulator(_Strict):
    bits: _Sourced[Annotated[int, Field(ge=8, le=32)]]


def _some_of(allowed: tuple[Any, ...]) -> Any:
    """Return the type of one of the allowed values, or of a list of some."""

    def check(value: Any) -> Any:
        many = value if isinstance(value, list) else [value]
        known = all(is_one_of(each, allowed) for each in many)
        if not many or not known or len(set(many)) < len(many):
            raise ValueError(f"must be one of {', '.join(map(str, allowed))}, or a list of some, each once")
        return value

    return Annotated[Any, PlainValidator(check)]


class _Neuron(_Strict):
    spike_test: _Sourced[_some_of(SPIKE_TESTS)]  # type: ignore[valid-type]
    reset: _Sourced[_some_of(RESETS)]  # type: ignore[valid-type]
    reset_delay: _Sourced[_some_of((1, 0))]  # type: ignore[valid-type]
    synaptic_current: _Sourced[bool] = _LEFT_OUT
    recurrent: _Sourced[bool] = _LEFT_OUT
    delays: _Sourced[Annotated[int, Field(ge=0, le=MAX_DELAY)]] = _LEFT_OUT
    spikes_per_step: _Sourced[Annotated[int, Field(ge=1, le=MAX_SPIKES)]] = _LEFT_OUT
    per_neuron: _Sourced[bool] = _LEFT_OUT
    starts: _Sourced[bool] = _LEFT_OUT
    floor: _Sourced[bool] = _LEFT_OUT

    def offered(self, key: str) -> tuple[Any, ...]:
        value = getattr(self, key).value
        return tuple(value) if isinstance(value, list) else (value,)

    @model_validator(mode="after")
    def _refractory_later(self) -> _Neuron:
        if "refractory" in self.offered("reset") and 1 not in self.offered("reset_delay"):
            raise ValueError("reset 'refractory' acts in the step after a spike; give reset_delay 1")
        return self


class _Limits(_Strict):
    neurons: _Limit
    fan_in: _Limit
    fan_out: _Limit
    memory_bytes: _Limit
    inputs: _Limit = _LEFT_OUT
    outputs: _Limit = _LEFT_OUT
    channels: _Limit = _LEFT_OUT
    kernel: _Limit = _LEFT_OUT
    count: _Limit = _LEFT_OUT


def _each_core(value: Any) -> Any:
    many = value if isinstance(value, list) else [] if value is None else [value]
    if value == [] or not all(is_int(each, 1, 2**63 - 1) for each in many):
        raise ValueError("must be null, a whole number of at least 1, or a list of such numbers")
    return value


_EachCore = _Sourced[Annotated[Any, PlainValidator(_each_core)]]


class _Cores(_Strict):
    count: _Sourced[Annotated[int, Field(ge=1, le=4096)]]
    neurons: _EachCore
    memory_bytes: _EachCore
    fan_in: _Limit
    split: _Sourced[bool]
    rounding: _Sourced[Literal["none", "power_of_two"]]

    def each(self, name: str) -> tuple[int, ...] | None:
        """Return a figure of every core; one number counts for all of them."""
        value = getattr(self, name).value
        if value is None:
            return None
        return tuple(value) if isinstance(value, list) else (value,) * self.count.value

    @model_validator(mode="after")
    def _one_for_each(self) -> _Cores:
        for name in ("neurons", "memory_bytes"):
            values = self.each(name)
            if values is not None and len(values) != self.count.value:
                raise ValueError(
                    f"{name} has {len(values)} numbers for {self.count.value} cores; give one, or one for each"
                )
        return self


class _EnergyFigures(_Strict):
    synop_pj: _Energy
    neuron_update_pj: _Energy
    spike_pj: _Energy


class _Profile(_Strict):
    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    title: str
    weights: _Weights
    membrane: _Membrane
    leak: _Leak
    accumulator: _Accumulator
    neuron: _Neuron
    limits: _Limits
    energy: _EnergyFigures
    cores: _Cores | None = None
    differs: list[str] | None = None


def builtin_profiles() -> dict[str, Path]:
    """Return name -> file of the profiles that come with sastdeploy."""
    package = Path(__file__).resolve().parents[1]
    # An installed wheel carries the files inside the package; a checkout has them beside it.
    folder = next(
        (f for f in (package / "profiles", package.parent / "profiles") if f.is_dir()), package / "profiles"
    )
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def profile_path(name: Path | str) -> Path:
    """Return the file of a built-in profile's name, or of a user's ``.yaml`` path.

    Raises:
        InputError: neither; with the likely spelling.
    """
    name = str(name)
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    known = builtin_profiles()
    if name not in known:
        raise InputError(
            f"profile '{name}': unknown.{did_you_mean(name, known)} Built in: {', '.join(known)}; or name a YAML file "
            f"('sastdeploy profiles new' writes one to start from)."
        )
    return known[name]


def load_profile(name: Path | str) -> HardwareProfile:
    """Return a built-in profile by its name (``loihi_int8``, ``aggressive_int4``), or a user's by its file's path (.yaml or .yml).

    Args:
        name: of a built-in profile (``sastdeploy profiles list``), or the path of a YAML file.

    Raises:
        InputError: an unknown name, or a file with a duplicate, unknown, missing or ill-typed key, or a value out of
            range.

    Example::

        profile = load_profile("loihi_int8")
        print(profile.weight_bits, profile.membrane, profile.record["weights"]["bits"]["source"])
    """
    path = profile_path(name)
    data = load_strict_yaml(path)
    read = validate(_Profile, data, str(path))
    try:
        membrane = QFormat.parse(read.membrane.format.value)
    except InputError as error:
        raise InputError(f"{path}: key 'membrane.format.value': {error}") from error
    tests, resets, delays = (read.neuron.offered(key) for key in _NEURON)
    return HardwareProfile(
        name=read.name,
        title=read.title,
        weight_bits=read.weights.bits.value,
        granularity=read.weights.granularity.value,
        scale=read.weights.scale.value,
        membrane=membrane,
        overflow=Overflow(read.membrane.overflow.value),
        leak_shift=read.leak.shift.value,
        leak_rounding=Rounding(read.leak.rounding.value),
        accumulator_bits=read.accumulator.bits.value,
        spike_test=tests[0],
        reset=resets[0],
        reset_delay=delays[0],
        limits={key: entry["value"] for key, entry in read.limits.model_dump(exclude_unset=True).items()},
        # What a file leaves out stays out: profiles of earlier versions give the same programs.
        record=read.model_dump(exclude_unset=True),
        leak_form=read.leak.form.value if read.leak.form else "multiplier",
        cores=_cores(read.cores) if read.cores else None,
        differs=tuple(read.differs or ()),
        synaptic_current=bool(read.neuron.synaptic_current and read.neuron.synaptic_current.value),
        recurrent=bool(read.neuron.recurrent and read.neuron.recurrent.value),
        delays=read.neuron.delays.value if read.neuron.delays else 0,
        spikes_per_step=read.neuron.spikes_per_step.value if read.neuron.spikes_per_step else 1,
        starts=bool(read.neuron.starts and read.neuron.starts.value),
        floor=bool(read.neuron.floor and read.neuron.floor.value),
        other_spike_tests=tests[1:],
        other_resets=resets[1:],
        other_reset_delays=delays[1:],
        leak_per_channel=bool(read.leak.per_channel and read.leak.per_channel.value),
        per_neuron=bool(read.neuron.per_neuron and read.neuron.per_neuron.value),
    )


def _cores(read: _Cores) -> Cores:
    return Cores(
        count=read.count.value,
        neurons=read.each("neurons"),
        memory_bytes=read.each("memory_bytes"),
        fan_in=read.fan_in.value,
        split=read.split.value,
        rounding=read.rounding.value,
    )
