"""A digit on a monitor, seen by a camera that makes N-MNIST's three saccades.

The camera of N-MNIST (Orchard et al. 2015) stood on a pan-tilt unit and made three saccades of about 100 ms along a
triangle, back to where it began. Each saccade accelerates and brakes (here the minimum-jerk profile 10 s^3 - 15 s^4 +
6 s^5): in the real recordings the activity rises and falls within each saccade.

The 28x28 digit lies in the middle of the 34x34 sensor and moves by bilinear interpolation. It is dark on bright: in the
real recordings the leading edge of a stroke gives OFF events (polarity bit 0). The motors are the same for every
recording; digit contrast, small offsets of place and time, pixels and noise differ, from the recording's own seed.

References: G. Orchard, A. Jayawant, G. Cohen, N. Thakor, "Converting static image datasets to spiking neuromorphic
datasets using saccades", Frontiers in Neuroscience 9:437, 2015, sections 2.2 and 3.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy._kernels.jit import kernel
from sastdeploy.errors import InputError
from sastdeploy.recordings.events import Events
from sastdeploy.synthesis.mnist import SIDE
from sastdeploy.synthesis.sensor import (
    Floats,
    SensorModel,
    collect,
    draw_pixels,
    emit_threshold_events,
    lin_log,
    low_pass_step,
    noise,
)

_WIDTH, _HEIGHT = 34, 34
_MARGIN = (_WIDTH - SIDE) // 2
_SETTLED = 1e-9
"""A photoreceptor this close to its target has arrived (spares the exponential tail's endless steps)."""

NMNIST_SENSOR = SensorModel(
    threshold_on=0.205,
    threshold_off=0.2,
    mismatch=0.04,
    cutoff_hz=60.0,
    refractory_us=1000.0,
    leak_hz=0.1,
    shot_noise_hz=0.6,
    hot_fraction=0.0005,
    hot_hz=40.0,
    step_us=1500.0,
)


@dataclass(frozen=True)
class SaccadeScene:
    """How the digit is shown and how the camera moves.

    Args:
        corners: the triangle's corners as the digit's offset (x, y) from the sensor's middle, in pixels;
            the digit goes along them in order and back to the first. y grows downwards.
        ends_us: end of each of the three saccades, in us.
        pause: share of each saccade's time during which the camera rests, at its end; 0 to 0.9.
        background: intensity of the monitor around the digit, 1 to 255.
        ink: intensity of the digit's full strokes, 0 to 255.
        contrast_jitter, place_jitter, time_jitter_us: standard deviations, per recording, of ``ink``
            (relative), of the place (pixels) and of the saccades' ends (us).
        sensor: the pixel model.

    Raises:
        InputError: a value is out of range.
    """

    corners: tuple[tuple[float, float], ...] = ((-3.0, -3.0), (0.0, 3.0), (3.0, -3.0))
    ends_us: tuple[int, ...] = (104_000, 209_000, 309_000)
    pause: float = 0.04
    background: float = 200.0
    ink: float = 45.0
    contrast_jitter: float = 0.05
    place_jitter: float = 0.3
    time_jitter_us: float = 1500.0
    sensor: SensorModel = field(default_factory=lambda: NMNIST_SENSOR)

    def __post_init__(self) -> None:
        if len(self.corners) != len(self.ends_us):
            raise InputError("saccades: as many corners as ends are needed.")
        if any(abs(value) > 10 for corner in self.corners for value in corner):
            raise InputError("saccades: a corner is more than 10 pixels from the middle. Allowed: -10 to 10.")
        if any(later - earlier < 20_000 for earlier, later in zip((0, *self.ends_us), self.ends_us)):
            raise InputError("saccades: each must last at least 20,000 us. Choose later ends.")
        if self.ends_us[-1] > 5_000_000:
            raise InputError("saccades: longer than 5 s in all. Choose earlier ends.")
        if not 0 <= self.pause <= 0.9:
            raise InputError(f"saccades: pause is {self.pause!r}. Allowed: 0 to 0.9.")
        if not (1 <= self.background <= 255 and 0 <= self.ink <= 255):
            raise InputError("saccades: background must be 1 to 255 and ink 0 to 255.")
        if min(self.contrast_jitter, self.place_jitter, self.time_jitter_us) < 0:
            raise InputError("saccades: a jitter is negative. Allowed: 0 or more.")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-ready values."""
        return {**asdict(self), "corners": [list(c) for c in self.corners], "ends_us": list(self.ends_us)}


def saccade_path(scene: SaccadeScene, ends_us: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Return the digit's offset at every step, float64 ``[steps + 1, 2]`` (x, y in pixels).

    Within a saccade the speed rises from zero and falls to zero (minimum jerk).
    """
    ends = np.asarray(scene.ends_us if ends_us is None else ends_us, np.float64)
    starts = np.concatenate(([0.0], ends[:-1]))
    corners = np.asarray(scene.corners, np.float64)
    targets = np.roll(corners, -1, axis=0)
    steps = int(np.ceil(ends[-1] / scene.sensor.step_us))
    t = np.arange(steps + 1) * scene.sensor.step_us
    saccade = np.minimum(np.searchsorted(ends, t, side="left"), len(ends) - 1)
    moving = (ends - starts) * (1.0 - scene.pause)
    s = np.clip((t - starts[saccade]) / moving[saccade], 0.0, 1.0)
    travelled = s**3 * (10.0 - 15.0 * s + 6.0 * s * s)
    return corners[saccade] + travelled[:, None] * (targets - corners)[saccade]


@kernel(error_model="numpy")
def _play_digit(
    digit: Floats, path: Floats, background: float, ink: float, on: Floats, off: Floats, leak: Floats, state: Floats,
    noise_t: Floats, noise_pixel: NDArray[np.int64], noise_p: NDArray[np.uint8],
    cutoff_hz: float, refractory_us: float, step_us: float,
    out_t: NDArray[np.int64], out_pixel: NDArray[np.int32], out_p: NDArray[np.uint8],
) -> int:  # fmt: skip
    """`sensor.play` for one moving image ``digit`` float64 [28, 28] in 0 to 1, without the images between.

    A pixel is looked at only while the digit can be under it or its photoreceptor still settles; the others see
    constant light, so only leak and noise move them.
    """
    low_x, high_x = path[:, 0].min(), path[:, 0].max()
    low_y, high_y = path[:, 1].min(), path[:, 1].max()
    height, width = _HEIGHT, _WIDTH
    active = np.empty(height * width, np.int64)
    idle = np.empty(height * width, np.int64)
    actives, idles = 0, 0
    for y in range(height):
        for x in range(width):
            inked = False
            for v in range(
                max(0, int(np.floor(y - _MARGIN - high_y))), min(SIDE, int(np.ceil(y - _MARGIN - low_y)) + 1)
            ):
                for u in range(
                    max(0, int(np.floor(x - _MARGIN - high_x))),
                    min(SIDE, int(np.ceil(x - _MARGIN - low_x)) + 1),
                ):
                    if digit[v, u] > 0.0:
                        inked = True
            if inked:
                active[actives] = y * width + x
                actives += 1
            else:
                idle[idles] = y * width + x
                idles += 1
    steps = path.shape[0] - 1
    span = background - ink
    n = 0
    first = 0
    rest = lin_log(background)
    for k in range(idles):
        state[0, idle[k]] = rest
        state[1, idle[k]] += rest
    for step in range(steps + 1):
        t0 = (step - 1) * step_us
        t1 = step * step_us
        dx = path[step, 0] + _MARGIN
        dy = path[step, 1] + _MARGIN
        shift_x = int(np.floor(-dx))
        shift_y = int(np.floor(-dy))
        fx = -dx - shift_x
        fy = -dy - shift_y
        for k in range(actives):
            pixel = active[k]
            y = pixel // width
            x = pixel - y * width
            u = x + shift_x
            v = y + shift_y
            stroke = 0.0
            if 0 <= u < SIDE - 1 and 0 <= v < SIDE - 1:
                stroke = (1.0 - fy) * ((1.0 - fx) * digit[v, u] + fx * digit[v, u + 1]) + fy * (
                    (1.0 - fx) * digit[v + 1, u] + fx * digit[v + 1, u + 1]
                )
            elif -1 <= u < SIDE and -1 <= v < SIDE:
                if v >= 0:
                    if u >= 0:
                        stroke += (1.0 - fx) * (1.0 - fy) * digit[v, u]
                    if u + 1 < SIDE:
                        stroke += fx * (1.0 - fy) * digit[v, u + 1]
                if v + 1 < SIDE:
                    if u >= 0:
                        stroke += (1.0 - fx) * fy * digit[v + 1, u]
                    if u + 1 < SIDE:
                        stroke += fx * fy * digit[v + 1, u + 1]
            target = rest
            intensity = background
            if stroke > 0.0:
                intensity = background - span * stroke
                target = lin_log(intensity)
            if step == 0:
                state[0, pixel] = target
                state[1, pixel] += target
                continue
            before = state[0, pixel]
            after = (
                target
                if abs(target - before) < _SETTLED
                else low_pass_step(before, target, intensity, cutoff_hz, step_us)
            )
            state[0, pixel] = after
            level = after + leak[pixel] * t1
            reference = state[1, pixel]
            if state[2, pixel] > 0.0 or level >= reference + on[pixel] or level <= reference - off[pixel]:
                n = emit_threshold_events(
                    pixel,
                    t0,
                    t1,
                    before,
                    after,
                    on,
                    off,
                    leak,
                    state,
                    refractory_us,
                    out_t,
                    out_pixel,
                    out_p,
                    n,
                )
        if step == 0:
            continue
        for k in range(idles):
            pixel = idle[k]
            level = rest + leak[pixel] * t1
            reference = state[1, pixel]
            if state[2, pixel] > 0.0 or level >= reference + on[pixel] or level <= reference - off[pixel]:
                n = emit_threshold_events(
                    pixel, t0, t1, rest, rest, on, off, leak, state, refractory_us, out_t, out_pixel, out_p, n
                )
        first, n = noise(
            first, t1, noise_t, noise_pixel, noise_p, leak, state, refractory_us, out_t, out_pixel, out_p, n
        )
    return n


def draw_digit(image: NDArray[np.uint8], scene: SaccadeScene, seed: tuple[int, ...]) -> Events:
    """Return the events of one recording of ``image`` uint8 ``[28, 28]``: the same for the same seed, anywhere.

    Args:
        seed: whole numbers that identify the recording, such as (data set's seed, split, index).
    """
    rng = np.random.default_rng(seed)
    jitter = rng.standard_normal(3 + len(scene.ends_us))
    ink = float(np.clip(scene.ink * (1.0 + scene.contrast_jitter * jitter[0]), 0.0, scene.background))
    ends = np.asarray(scene.ends_us) + scene.time_jitter_us * np.clip(jitter[3:], -3, 3)
    path = np.ascontiguousarray(saccade_path(scene, ends) + scene.place_jitter * jitter[1:3])
    model = scene.sensor
    pixels = draw_pixels(model, _WIDTH * _HEIGHT, (len(path) - 1) * model.step_us, rng)
    digit = image.astype(np.float64) / 255.0

    def run(
        state: Floats, out_t: NDArray[np.int64], out_pixel: NDArray[np.int32], out_p: NDArray[np.uint8]
    ) -> int:
        return _play_digit(
            digit,
            path,
            scene.background,
            ink,
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

    return collect(run, pixels.state, _WIDTH, capacity=1 << 14)
