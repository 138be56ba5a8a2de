"""A performer before a DVS128: the body drawn as antialiased capsules over a textured background, under some light."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sastdeploy._kernels.jit import kernel
from sastdeploy.errors import InputError
from sastdeploy.recordings.catalog import GESTURES
from sastdeploy.recordings.events import Events
from sastdeploy.synthesis.body import Performer, draw_performer, pose
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

_SIDE = 128

GESTURE_SENSOR = SensorModel(
    threshold_on=0.27,
    threshold_off=0.27,
    mismatch=0.05,
    cutoff_hz=120.0,
    refractory_us=2000.0,
    leak_hz=0.1,
    shot_noise_hz=0.15,
    hot_fraction=0.0003,
    hot_hz=30.0,
    step_us=2000.0,
)


@dataclass(frozen=True)
class Lighting:
    """One of the published set's lightings.

    Args:
        level: brightness of the scene, 0 to 1; the photoreceptor is slower in the dark.
        contrast: how much of the surfaces' differences remains (the rest is veiling light), 0 to 1.
        flicker: amplitude of the 100 Hz flicker of mains-driven tubes, in log intensity.
        shot_noise_hz: shot noise per pixel; more in the dark (Hu et al. 2021).
        shadow: strength of the gradient of light across the scene, 0 to 1.
    """

    name: str
    level: float
    contrast: float
    flicker: float
    shot_noise_hz: float
    shadow: float


LIGHTINGS = (
    Lighting("fluorescent", 0.75, 0.85, 0.10, 0.20, 0.10),
    Lighting("fluorescent_led", 0.95, 0.90, 0.06, 0.12, 0.15),
    Lighting("lab", 0.50, 0.70, 0.03, 0.40, 0.10),
    Lighting("led", 0.65, 0.95, 0.00, 0.25, 0.35),
    Lighting("natural", 0.90, 0.75, 0.00, 0.10, 0.45),
)


def _background(rng: np.random.Generator, light: Lighting) -> NDArray[np.float64]:
    """Return a wall with a few pieces of furniture, float64 ``[128, 128]`` in 0 to 255, before the light falls on it."""
    wall = np.full((_SIDE, _SIDE), rng.uniform(70, 210))
    for _ in range(int(rng.integers(2, 7))):
        x, y = rng.integers(-10, _SIDE - 10, 2)
        width, height = rng.integers(10, 60, 2)
        wall[max(0, y) : y + height, max(0, x) : x + width] += rng.uniform(-60, 45)
    coarse = rng.standard_normal((17, 17))
    at = np.linspace(0, 15.999, _SIDE)
    whole = at.astype(int)
    part = at - whole
    rows = coarse[whole] * (1 - part)[:, None] + coarse[whole + 1] * part[:, None]
    blended = rows[:, whole] * (1 - part) + rows[:, whole + 1] * part
    clipped: Floats = np.clip(wall + 8 * blended, 12, 245)
    return clipped


@kernel(error_model="numpy")
def _capsule(
    canvas: Floats, ax: float, ay: float, bx: float, by: float, ra: float, rb: float,
    shade: float, stripe: float, stripe_width: float,
) -> None:  # fmt: skip
    """Draw a capsule from a (radius ra) to b (radius rb); ``stripe`` shades it in bands along its length."""
    size = canvas.shape[0]
    r = max(ra, rb) + 1.0
    x0, x1 = max(0, int(min(ax, bx) - r)), min(size - 1, int(max(ax, bx) + r) + 1)
    y0, y1 = max(0, int(min(ay, by) - r)), min(size - 1, int(max(ay, by) + r) + 1)
    dx, dy = bx - ax, by - ay
    length2 = max(dx * dx + dy * dy, 1e-6)
    length = math.sqrt(length2)
    for y in range(y0, y1 + 1):
        for x in range(x0, x1 + 1):
            along = min(1.0, max(0.0, ((x - ax) * dx + (y - ay) * dy) / length2))
            ex, ey = x - ax - along * dx, y - ay - along * dy
            reach = ra + along * (rb - ra) + 0.5
            d2 = ex * ex + ey * ey
            if d2 >= reach * reach:
                continue
            distance = math.sqrt(d2)
            cover = min(1.0, reach - distance)
            # Rounded limbs are darker towards their outline; cloth has soft bands across it.
            value = shade * (1.0 - 0.25 * (distance / reach) ** 2)
            if stripe > 0.0:
                value *= 1.0 + stripe * math.sin(along * length * 2.0 * math.pi / stripe_width)
            canvas[y, x] += cover * (value - canvas[y, x])


@kernel(error_model="numpy")
def _draw_body(canvas: Floats, joints: Floats, body: Floats) -> None:
    """Paint torso, head and both arms; ``body`` holds scale, sizes and shades in the order of `_body_numbers`."""
    scale, arm_radius, head_radius, torso_half, torso_long = body[0], body[1], body[2], body[3], body[4]
    skin, sleeve, shirt, stripes, long_sleeves = body[5], body[6], body[7], body[8], body[9]
    cx, cy = joints[8, 0], joints[8, 1]
    _capsule(
        canvas,
        cx,
        cy + 0.25 * scale,
        cx,
        cy + torso_long * scale,
        torso_half * scale,
        0.85 * torso_half * scale,
        shirt,
        stripes,
        0.28 * scale,
    )
    _capsule(
        canvas,
        joints[0, 0],
        joints[0, 1],
        joints[4, 0],
        joints[4, 1],
        0.14 * scale,
        0.14 * scale,
        shirt,
        0.0,
        1.0,
    )
    _capsule(canvas, cx, cy - 0.3 * scale, cx, cy, 0.11 * scale, 0.12 * scale, 0.85 * skin, 0.0, 1.0)
    hx, hy = joints[9, 0], joints[9, 1]
    _capsule(
        canvas,
        hx,
        hy - 0.1 * scale,
        hx,
        hy + 0.05 * scale,
        head_radius * scale,
        0.9 * head_radius * scale,
        skin,
        0.0,
        1.0,
    )
    _capsule(
        canvas,
        hx - 0.12 * scale,
        hy - 0.2 * scale,
        hx + 0.12 * scale,
        hy - 0.2 * scale,
        0.14 * scale,
        0.14 * scale,
        0.35 * skin,
        0.0,
        1.0,
    )
    for arm in range(2):
        k = 4 * arm
        r = arm_radius * scale
        _capsule(
            canvas,
            joints[k, 0],
            joints[k, 1],
            joints[k + 1, 0],
            joints[k + 1, 1],
            1.15 * r,
            r,
            sleeve,
            stripes,
            0.2 * scale,
        )
        lower = sleeve if long_sleeves > 0.5 else skin
        band = stripes if long_sleeves > 0.5 else 0.0
        _capsule(
            canvas,
            joints[k + 1, 0],
            joints[k + 1, 1],
            joints[k + 2, 0],
            joints[k + 2, 1],
            r,
            0.75 * r,
            lower,
            band,
            0.2 * scale,
        )
        _capsule(
            canvas,
            joints[k + 2, 0],
            joints[k + 2, 1],
            joints[k + 3, 0],
            joints[k + 3, 1],
            0.8 * r,
            0.6 * r,
            skin,
            0.0,
            1.0,
        )


@kernel(error_model="numpy")
def _play_body(
    joints: Floats, body: Floats, background: Floats, light: Floats, contrast: float, flicker: float, flicker_phase: float,
    on: Floats, off: Floats, leak: Floats, state: Floats,
    noise_t: Floats, noise_pixel: NDArray[np.int64], noise_p: NDArray[np.uint8],
    cutoff_hz: float, refractory_us: float, step_us: float,
    out_t: NDArray[np.int64], out_pixel: NDArray[np.int32], out_p: NDArray[np.uint8],
) -> int:  # fmt: skip
    """`sensor.play` for a moving body: an image per step, the logarithm only where the image changed."""
    size = background.shape[0]
    canvas = np.empty((size, size))
    shown = np.full(size * size, -1.0)
    n = 0
    first = 0
    for step in range(joints.shape[0]):
        t0 = (step - 1) * step_us
        t1 = step * step_us
        canvas[:, :] = background
        _draw_body(canvas, joints[step], body)
        shift = flicker * math.sin(2.0 * math.pi * (100e-6 * t1 + flicker_phase))
        for y in range(size):
            for x in range(size):
                pixel = y * size + x
                value = canvas[y, x]
                if value != shown[pixel]:
                    shown[pixel] = value
                    state[3, pixel] = lin_log(light[y, x] * (128.0 + contrast * (value - 128.0)))
                target = state[3, pixel] + shift
                if step == 0:
                    state[0, pixel] = target
                    state[1, pixel] += target
                    continue
                before = state[0, pixel]
                after = target
                if abs(target - before) > 1e-9:
                    intensity = light[y, x] * (128.0 + contrast * (value - 128.0))
                    after = low_pass_step(before, target, intensity, cutoff_hz, step_us)
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
        if step > 0:
            first, n = noise(
                first,
                t1,
                noise_t,
                noise_pixel,
                noise_p,
                leak,
                state,
                refractory_us,
                out_t,
                out_pixel,
                out_p,
                n,
            )
    return n


def _body_numbers(who: Performer) -> NDArray[np.float64]:
    return np.array(
        (
            who.scale,
            who.arm_radius,
            who.head_radius,
            who.torso[0],
            who.torso[1],
            who.skin,
            who.sleeve,
            who.shirt,
            who.stripes,
            float(who.sleeves_long),
        )
    )


def draw_gesture(gesture: int, performer: int, lighting: int, duration_us: int, seed: int) -> Events:
    """Return the events of one gesture, t from 0 to below ``duration_us``: the same for the same arguments, anywhere.

    Args:
        gesture: 0 to 10, the place in `sastdeploy.recordings.catalog.GESTURES`. performer: 1 or more. lighting: place in `LIGHTINGS`.

    Raises:
        InputError: an argument is out of range.
    """
    if not 0 <= gesture < len(GESTURES):
        raise InputError(
            f"gesture {gesture}: outside 0 to {len(GESTURES) - 1}. Choose a class by its number."
        )
    if not 0 <= lighting < len(LIGHTINGS):
        raise InputError(
            f"lighting {lighting}: outside 0 to {len(LIGHTINGS) - 1}. Choose a lighting by its number."
        )
    who, light = draw_performer(seed, performer), LIGHTINGS[lighting]
    model = replace(GESTURE_SENSOR, shot_noise_hz=light.shot_noise_hz)
    # Background and clothes are the recording's; movement, pixels and noise the gesture's.
    scene = np.random.default_rng((seed, 72, performer, lighting))
    wall = _background(scene, light)
    angle = scene.uniform(0, 2 * math.pi)
    y, x = np.mgrid[0:_SIDE, 0:_SIDE] / (_SIDE - 1.0) - 0.5
    gradient = light.level * (1.0 - light.shadow * (0.5 + np.cos(angle) * x + np.sin(angle) * y).clip(0, 1))
    rng = np.random.default_rng((seed, 73, performer, lighting, gesture))
    steps = int(duration_us // model.step_us)
    t = np.arange(steps + 1, dtype=np.float64) * (model.step_us * 1e-6)
    joints = pose(gesture, t, who, rng)
    phase = rng.random()
    pixels = draw_pixels(model, _SIDE * _SIDE, steps * model.step_us, rng)

    def run(
        state: Floats, out_t: NDArray[np.int64], out_pixel: NDArray[np.int32], out_p: NDArray[np.uint8]
    ) -> int:
        return _play_body(
            joints,
            _body_numbers(who),
            wall,
            gradient,
            light.contrast,
            light.flicker,
            phase,
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

    return collect(run, pixels.state, _SIDE, capacity=1 << 19)
