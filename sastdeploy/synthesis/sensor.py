"""The DVS pixel: from light over time to ON and OFF events.

One pixel, in log intensity (natural logarithm):

    L(t)   = lin_log(I(t))                                        linear below `LINEAR_BELOW`, logarithmic above
    V'(t)  = (L - V) 2 pi f_3dB (I + I_DARK) / (I_FULL + I_DARK)  photoreceptor, first order
    E(t)   = V(t) + leak t                                        leak of the reset switch, as the comparator sees it
    E(t) - reference >= threshold_on   -> ON event
    E(t) - reference <= -threshold_off -> OFF event
    after an event at t_e the reset is held until t_e + refractory, then reference = E(t_e + refractory)

V moves in a straight line within a step, so that several events of one step get their own times (in us, floored). Shot
noise is a Poisson process per pixel, half ON and half OFF; hot pixels are a few pixels with a high ON rate. Every
random number is drawn before the kernel runs from one generator per recording: a recording depends on its own seed
alone, never on the number of processes or the order of work.

References:
    Lichtsteiner, Posch & Delbruck, IEEE J. Solid-State Circuits 43(2), 2008: pixel, 15 % to 20 % contrast threshold,
    2.1 % mismatch, bandwidth that grows with illumination.
    Nozaki & Delbruck, IEEE Trans. Electron Devices 64(8), 2017: leak (ON) events near 0.1 Hz at room temperature.
    Hu, Liu & Delbruck, "v2e", CVPR Workshops 2021: lin-log mapping with its break at 20 of 255, Gaussian threshold
    mismatch, intensity-dependent first-order low pass, leak and shot noise rates; its "noisy" preset has 5 Hz shot noise
    and 30 Hz bandwidth, its "clean" preset none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy._kernels.jit import kernel
from sastdeploy.errors import InputError
from sastdeploy.recordings.events import EVENT_DTYPE, Events

Floats = NDArray[np.float64]
Run = Callable[[Floats, NDArray[np.int64], NDArray[np.int32], NDArray[np.uint8]], int]
"""From a state and room for events (time, pixel, polarity) to their number, see `collect`."""

LINEAR_BELOW = 20.0
"""Intensity (0 to 255) below which the photoreceptor answers linearly (v2e)."""

I_FULL = 255.0
I_DARK = 20.0
_LOW_SLOPE = math.log(LINEAR_BELOW) / LINEAR_BELOW
_TWO_PI_PER_US = 2.0 * math.pi * 1e-6

_RANGES: dict[str, tuple[float, float]] = {
    "threshold_on": (0.01, 2.0),
    "threshold_off": (0.01, 2.0),
    "mismatch": (0.0, 0.5),
    "cutoff_hz": (0.0, 1e5),
    "refractory_us": (0.0, 1e5),
    "leak_hz": (0.0, 100.0),
    "shot_noise_hz": (0.0, 1000.0),
    "hot_fraction": (0.0, 1.0),
    "hot_hz": (0.0, 10000.0),
    "step_us": (10.0, 10000.0),
}


@dataclass(frozen=True)
class SensorModel:
    """The parameters of every pixel of one sensor.

    Args:
        threshold_on: mean ON threshold, in units of natural log intensity; 0.01 to 2.
        threshold_off: mean OFF threshold, a positive number; 0.01 to 2.
        mismatch: standard deviation of both thresholds over the pixels, same units; 0 to 0.5.
        cutoff_hz: f_3dB of the photoreceptor at full intensity; 0 means unlimited bandwidth.
        refractory_us: time after an event during which the pixel's reset is held, in us.
        leak_hz: rate of leak events (ON) of a pixel that sees constant light.
        shot_noise_hz: rate of shot noise events of one pixel, both polarities together.
        hot_fraction: probability that a pixel is hot.
        hot_hz: rate of the ON events of a hot pixel.
        step_us: simulation step, in us; V is linear within it.
        random_reference: start every pixel at a random place between its last reset and its next leak
            event, as a sensor that has been running; False starts every pixel freshly reset.

    Raises:
        InputError: a value is outside the range that `_RANGES` states.
    """

    threshold_on: float = 0.2
    threshold_off: float = 0.2
    mismatch: float = 0.03
    cutoff_hz: float = 200.0
    refractory_us: float = 500.0
    leak_hz: float = 0.1
    shot_noise_hz: float = 0.1
    hot_fraction: float = 0.0
    hot_hz: float = 20.0
    step_us: float = 1000.0
    random_reference: bool = True

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not low <= value <= high:
                raise InputError(
                    f"sensor model: {name} is {value!r}. Allowed: a number from {low:g} to {high:g}. "
                    f"Choose a value within that range."
                )
        if not isinstance(self.random_reference, bool):
            raise InputError(
                f"sensor model: random_reference is {self.random_reference!r}. Allowed: True or False."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-ready values."""
        return asdict(self)


@dataclass(frozen=True)
class Pixels:
    """The pixels of one recording: their fixed parameters, their state, and the noise events to come.

    Args:
        on, off: float64 ``[N]``, thresholds (both positive); N = W * H in C order (y, x).
        leak: float64 ``[N]``, drift of E per us.
        state: float64 ``[4, N]``: V, E's reference, end of the held reset (us), and the last input L.
        noise_t: float64 ``[M]``, us, ascending. noise_pixel: int64 ``[M]``. noise_p: uint8 ``[M]``.
    """

    on: NDArray[np.float64]
    off: NDArray[np.float64]
    leak: NDArray[np.float64]
    state: NDArray[np.float64]
    noise_t: NDArray[np.float64]
    noise_pixel: NDArray[np.int64]
    noise_p: NDArray[np.uint8]


def draw_pixels(model: SensorModel, count: int, duration_us: float, rng: np.random.Generator) -> Pixels:
    """Return ``count`` pixels with drawn thresholds, leaks, hot pixels and noise events for ``[0, duration_us)``.

    The state's V is filled by the scene's kernel from its first image.
    """
    lowest = 0.25 * min(model.threshold_on, model.threshold_off)  # a comparator never fires at zero contrast
    on = np.maximum(model.threshold_on + model.mismatch * rng.standard_normal(count), lowest)
    off = np.maximum(model.threshold_off + model.mismatch * rng.standard_normal(count), lowest)
    # The junction leak varies from pixel to pixel by about as much as its mean (Nozaki & Delbruck 2017,
    # fig. 8).
    leak = model.threshold_on * model.leak_hz * 1e-6 * np.exp(0.4 * rng.standard_normal(count))
    state = np.zeros((4, count))
    if model.random_reference:
        state[1] = -on * rng.random(count) * (1.0 if model.leak_hz > 0 else 0.5)
    rate = np.full(count, model.shot_noise_hz * 1e-6)
    hot = rng.random(count) < model.hot_fraction
    shots = int(rng.poisson(rate.sum() * duration_us))
    noise_pixel = rng.integers(0, count, shots)
    noise_t = rng.random(shots) * duration_us
    noise_p = rng.integers(0, 2, shots).astype(np.uint8)
    if hot.any():
        ticks = rng.poisson(model.hot_hz * 1e-6 * duration_us, int(hot.sum()))
        noise_pixel = np.concatenate((noise_pixel, np.repeat(np.flatnonzero(hot), ticks)))
        noise_t = np.concatenate((noise_t, rng.random(int(ticks.sum())) * duration_us))
        noise_p = np.concatenate((noise_p, np.ones(int(ticks.sum()), np.uint8)))
    order = np.argsort(noise_t, kind="stable")
    return Pixels(on, off, leak, state, noise_t[order], noise_pixel[order], noise_p[order])


@kernel(error_model="numpy")
def lin_log(intensity: float) -> float:
    """Return the photoreceptor's log intensity of ``intensity`` (0 to 255): linear below 20, natural log above."""
    if intensity < LINEAR_BELOW:
        return intensity * _LOW_SLOPE
    return math.log(intensity)


@kernel(error_model="numpy")
def low_pass_step(value: float, target: float, intensity: float, cutoff_hz: float, step_us: float) -> float:
    """Return the photoreceptor's V one step later (backward Euler, so it is stable for every step)."""
    if cutoff_hz <= 0.0:
        return target
    k = step_us * _TWO_PI_PER_US * cutoff_hz * (intensity + I_DARK) / (I_FULL + I_DARK)
    return value + (target - value) * k / (1.0 + k)


@kernel(error_model="numpy")
def emit_threshold_events(
    pixel: int, t0: float, t1: float, v0: float, v1: float, on: Floats, off: Floats, leak: Floats, state: Floats,
    refractory_us: float, out_t: NDArray[np.int64], out_pixel: NDArray[np.int32], out_p: NDArray[np.uint8], n: int,
) -> int:  # fmt: skip
    """Write the events of one pixel in the step ``(t0, t1]``, in which V goes from v0 to v1; return the new count.

    Times in us. A full output buffer drops events but goes on counting, so the caller sees that it must
    enlarge it.
    """
    span = t1 - t0
    e0 = v0 + leak[pixel] * t0
    e1 = v1 + leak[pixel] * t1
    slope = (e1 - e0) / span
    now = t0
    while True:
        ready = state[2, pixel]
        if ready > t1:
            return n
        if ready > now:
            # The held reset is released inside this step: what changed meanwhile is lost.
            now = ready
            state[1, pixel] = e0 + slope * (now - t0)
            state[2, pixel] = 0.0
        elif ready > 0.0:
            state[1, pixel] = e0 + slope * (now - t0)
            state[2, pixel] = 0.0
        reference = state[1, pixel]
        if e1 >= reference + on[pixel]:
            level = reference + on[pixel]
            polarity = 1
        elif e1 <= reference - off[pixel]:
            level = reference - off[pixel]
            polarity = 0
        else:
            return n
        if slope != 0.0:
            now = max(now, t0 + (level - e0) / slope)
        now = min(now, t1)
        if n < len(out_t):
            out_t[n] = int(now)
            out_pixel[n] = pixel
            out_p[n] = polarity
        n += 1
        state[1, pixel] = level
        if refractory_us > 0.0:
            state[2, pixel] = now + refractory_us


@kernel(error_model="numpy")
def noise(
    first: int, t1: float, pixels_noise_t: Floats, noise_pixel: NDArray[np.int64], noise_p: NDArray[np.uint8],
    leak: Floats, state: Floats, refractory_us: float, out_t: NDArray[np.int64], out_pixel: NDArray[np.int32],
    out_p: NDArray[np.uint8], n: int,
) -> tuple[int, int]:  # fmt: skip
    """Write the noise events before ``t1``; return (next noise event, new count). Called after the step's `compare`.

    A noise event resets its pixel like any other event, and none comes out of a pixel whose reset is held.
    """
    while first < len(pixels_noise_t) and pixels_noise_t[first] < t1:
        t = pixels_noise_t[first]
        pixel = noise_pixel[first]
        if state[2, pixel] <= t:
            if n < len(out_t):
                out_t[n] = int(t)
                out_pixel[n] = pixel
                out_p[n] = noise_p[first]
            n += 1
            state[1, pixel] = state[0, pixel] + leak[pixel] * t1
            if refractory_us > 0.0:
                state[2, pixel] = t + refractory_us
        first += 1
    return first, n


@kernel(error_model="numpy")
def simulate_images(
    images: Floats, on: Floats, off: Floats, leak: Floats, state: Floats,
    noise_t: Floats, noise_pixel: NDArray[np.int64], noise_p: NDArray[np.uint8],
    cutoff_hz: float, refractory_us: float, step_us: float,
    out_t: NDArray[np.int64], out_pixel: NDArray[np.int32], out_p: NDArray[np.uint8],
) -> int:  # fmt: skip
    """Run the pixels over ``images`` (float64 ``[steps + 1, N]``, 0 to 255); return the number of events.

    The plain way, image by image; scenes with their own fast kernel must agree with it.
    """
    for pixel in range(images.shape[1]):
        state[0, pixel] = lin_log(images[0, pixel])
        state[1, pixel] += state[0, pixel]
    n = 0
    first = 0
    for step in range(1, images.shape[0]):
        t0 = (step - 1) * step_us
        t1 = step * step_us
        for pixel in range(images.shape[1]):
            before = state[0, pixel]
            after = low_pass_step(
                before, lin_log(images[step, pixel]), images[step, pixel], cutoff_hz, step_us
            )
            n = emit_threshold_events(
                pixel, t0, t1, before, after, on, off, leak, state, refractory_us, out_t, out_pixel, out_p, n
            )
            state[0, pixel] = after
        first, n = noise(
            first, t1, noise_t, noise_pixel, noise_p, leak, state, refractory_us, out_t, out_pixel, out_p, n
        )
    return n


def play_images(images: NDArray[Any], model: SensorModel, seed: int | tuple[int, ...] = 0) -> Events:
    """Return the events of a sensor that sees ``images`` ``[steps + 1, H, W]`` (0 to 255), one per ``step_us``.

    Raises:
        InputError: ``images`` has another number of axes, fewer than two images, or a value outside 0 to 255.
    """
    images = np.asarray(images, np.float64)
    if images.ndim != 3 or len(images) < 2:
        raise InputError(f"images {list(images.shape)}: expected [steps + 1, H, W] with at least two images.")
    if not (images.min() >= 0 and images.max() <= I_FULL):
        raise InputError("images: an intensity is outside 0 to 255. Scale the images to that range.")
    steps, height, width = len(images) - 1, images.shape[1], images.shape[2]
    pixels = draw_pixels(model, height * width, steps * model.step_us, np.random.default_rng(seed))
    flat = np.ascontiguousarray(images.reshape(steps + 1, -1))

    def run(
        state: Floats, out_t: NDArray[np.int64], out_pixel: NDArray[np.int32], out_p: NDArray[np.uint8]
    ) -> int:
        return simulate_images(
            flat,
            pixels.on,
            pixels.off,
            pixels.leak,
            state,
            pixels.noise_t,
            pixels.noise_pixel,
            pixels.noise_p,
            model.cutoff_hz,
            model.refractory_us,
            model.step_us,
            out_t,
            out_pixel,
            out_p,
        )

    return collect(run, pixels.state, width, capacity=1 << 16)


def collect(run: Run, state: Floats, width: int, capacity: int) -> Events:
    """Return the time-sorted events that ``run(state, out_t, out_pixel, out_p)`` writes, enlarging its buffer if needed.

    Events of equal time keep the kernel's order, so the bytes are reproducible.
    """
    while True:
        out_t, out_pixel = np.empty(capacity, np.int64), np.empty(capacity, np.int32)
        out_p = np.empty(capacity, np.uint8)
        count = run(state.copy(), out_t, out_pixel, out_p)
        if count <= capacity:
            break
        capacity = count
    order = np.argsort(out_t[:count], kind="stable")
    events = np.empty(count, EVENT_DTYPE)
    events["t"] = out_t[order]
    events["x"] = out_pixel[order] % width
    events["y"] = out_pixel[order] // width
    events["p"] = out_p[order]
    return events
