"""An upper body with two articulated arms: who performs, and where every joint is at a moment of a gesture.

Units: one is the performer's shoulder width; x to the right of the image, y down, z towards the camera. An arm is an
upper arm and a forearm of fixed lengths; the hand's target is given and the elbow follows by inverse kinematics
(two-link, swivelled outward), so segments keep their lengths in space and foreshorten in the image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Point = tuple[float, float, float]


@dataclass(frozen=True)
class Performer:
    """One person: body, clothing, place before the camera, and habits. All drawn from the performer's own seed."""

    number: int
    scale: float
    place: tuple[float, float]
    tilt: float
    upper_arm: float
    forearm: float
    hand: float
    arm_radius: float
    head_radius: float
    torso: tuple[float, float]
    skin: float
    sleeve: float
    shirt: float
    stripes: float
    sleeves_long: bool
    tempo: float
    amplitude: float
    height: float
    sway: float
    wobble: float
    elbow_out: float


def draw_performer(seed: int, number: int) -> Performer:
    """Return performer ``number`` (1 to 29 in the published set): the same body and habits in every recording."""
    rng = np.random.default_rng((seed, 71, number))
    u = rng.uniform
    return Performer(
        number=number,
        scale=u(27, 38),
        place=(64 + u(-8, 8), 52 + u(-7, 9)),
        tilt=u(-0.06, 0.06),
        upper_arm=u(0.66, 0.86),
        forearm=u(0.6, 0.78),
        hand=u(0.2, 0.28),
        arm_radius=u(0.1, 0.15),
        head_radius=u(0.25, 0.33),
        torso=(u(0.36, 0.5), u(1.2, 1.6)),
        skin=u(100, 170),
        sleeve=u(25, 215),
        shirt=u(25, 215),
        stripes=u(0.0, 0.35),
        sleeves_long=bool(rng.random() < 0.6),
        tempo=u(0.7, 1.45),
        amplitude=u(0.7, 1.3),
        height=u(-0.22, 0.22),
        sway=u(0.005, 0.035),
        wobble=u(0.02, 0.09),
        elbow_out=u(0.2, 1.2),
    )


def _circle(t: Floats, centre: Point, radius: float, squash: float, angle: float, turns: float) -> Floats:
    phase = angle + 2 * math.pi * turns * t
    return np.stack(
        (
            centre[0] + radius * np.cos(phase),
            centre[1] + squash * radius * np.sin(phase),
            np.full_like(t, centre[2]),
        ),
        -1,
    )


def _path(t: Floats, points: tuple[Point, Point], hz: float, phase: float, sharp: float = 1.0) -> Floats:
    """Return positions that swing between two points; ``sharp`` above 1 dwells at the ends and strikes between."""
    s = np.sin(2 * math.pi * (hz * t + phase))
    s = 0.5 + 0.5 * np.sign(s) * np.abs(s) ** (1.0 / sharp)
    first, last = (np.asarray(p, float) for p in points)
    positions: Floats = first + s[:, None] * (last - first)
    return positions


def hand_targets(gesture: int, t: Floats, who: Performer, rng: np.random.Generator) -> Floats:
    """Return where both hands want to be, float64 ``[len(t), 2, 3]`` (right hand first; it is at the image's left).

    The performer faces the camera, so directions are the performer's own and appear mirrored in the image.
    """
    u = rng.uniform
    size = who.amplitude * u(0.85, 1.15)
    hz = who.tempo * u(0.88, 1.12)
    phase = u(0, 1)
    up = who.height + u(-0.06, 0.06)
    rest_right = np.tile((-0.55 + u(-0.06, 0.06), 1.25, 0.15), (len(t), 1))
    rest_left = np.tile((0.55 + u(-0.06, 0.06), 1.25, 0.15), (len(t), 1))
    right, left = rest_right, rest_left
    if gesture == 0:
        gap = 0.42 * size
        mid = u(-0.08, 0.08)
        right = _path(t, ((mid - gap, 0.45 + up, 0.5), (mid - 0.05, 0.4 + up, 0.55)), 1.7 * hz, phase, 1.5)
        left = _path(t, ((mid + gap, 0.45 + up, 0.5), (mid + 0.05, 0.4 + up, 0.55)), 1.7 * hz, phase, 1.5)
    elif gesture in (1, 2):
        side = -1 if gesture == 1 else 1
        middle, swing = side * (0.78 + u(-0.1, 0.1)), 0.32 * size
        hand = _path(
            t, ((middle - swing, -0.28 + up, 0.35), (middle + swing, -0.28 + up, 0.35)), 1.4 * hz, phase
        )
        hand[:, 1] += 0.22 * ((hand[:, 0] - middle) / 0.32) ** 2 * swing
        right, left = (hand, left) if side < 0 else (right, hand)
    elif gesture in (3, 4, 5, 6):
        side = -1 if gesture in (3, 4) else 1
        # Clockwise as the camera sees it; y grows downwards, so a growing angle is clockwise.
        turns = (1 if gesture in (3, 5) else -1) * 0.85 * hz
        centre = (side * (0.72 + u(-0.08, 0.08)), 0.3 + up, 0.45)
        hand = _circle(t, centre, 0.5 * size, u(0.85, 1.1), 2 * math.pi * phase, turns)
        right, left = (hand, left) if side < 0 else (right, hand)
    elif gesture == 7:
        turns = (1 if rng.random() < 0.75 else -1) * 1.15 * hz
        for side in (-1, 1):
            angle = 2 * math.pi * (turns * t + phase + (0.5 if side > 0 else 0.0))
            hand = np.stack(
                (
                    side * -0.18 + 0.06 * np.cos(angle),
                    0.42 + up + 0.26 * size * np.sin(angle),
                    0.5 + 0.2 * size * np.cos(angle),
                ),
                -1,
            )
            right, left = (hand, left) if side < 0 else (right, hand)
    elif gesture == 8:
        lag = u(0.35, 0.65)
        for side, shift in ((-1, 0.0), (1, lag)):
            x = side * (0.42 + u(-0.08, 0.08))
            ends = ((x, 0.12 + up - 0.18 * size, 0.5), (x * 1.1, 0.3 + up + 0.32 * size, 0.6))
            hand = _path(t, ends, 1.6 * hz, phase + shift, 1.7)
            right, left = (hand, left) if side < 0 else (right, hand)
    elif gesture == 9:
        strum = _path(
            t, ((-0.2, 0.58 + up, 0.45), (-0.1, 0.58 + up + 0.42 * size, 0.45)), 1.8 * hz, phase, 1.3
        )
        slide = _path(t, ((0.62, 0.22 + up, 0.45), (0.9, 0.05 + up, 0.45)), 0.35 * hz, u(0, 1))
        right, left = (strum, slide) if rng.random() < 0.85 else (slide * (-1, 1, 1), strum * (-1, 1, 1))
    else:
        right, left = _other(t, size, hz, phase, up, right, left, rng)
    wobble = who.wobble * np.stack([_drift(t, rng) for _ in range(6)], -1).reshape(-1, 2, 3)
    return np.stack((right, left), 1) + wobble


def _other(
    t: Floats,
    size: float,
    hz: float,
    phase: float,
    up: float,
    right: Floats,
    left: Floats,
    rng: np.random.Generator,
) -> tuple[Floats, Floats]:
    """Return the hands of one of eight movements that are none of the ten gestures."""
    u = rng.uniform
    kind = int(rng.integers(0, 8))
    mirror = bool(rng.random() < 0.5)
    if kind == 0:  # both arms raised sideways and lowered, like wings
        right = _path(t, ((-0.75, 1.0 + up, 0.1), (-1.25, -0.25 + up, 0.1)), 0.6 * hz, phase)
        left = right * (-1, 1, 1)
    elif kind == 1:  # punching towards the camera, in turn
        right = _path(t, ((-0.4, 0.45 + up, 0.2), (-0.2, 0.15 + up, 1.2)), 1.1 * hz, phase, 1.8)
        left = _path(t, ((0.4, 0.45 + up, 0.2), (0.2, 0.15 + up, 1.2)), 1.1 * hz, phase + 0.5, 1.8)
    elif kind == 2:  # an eight lying on its side, one hand
        a = 2 * math.pi * (0.6 * hz * t + phase)
        right = np.stack(
            (-0.5 + 0.55 * size * np.sin(a), 0.2 + up + 0.3 * size * np.sin(2 * a), 0.5 + 0 * a), -1
        )
    elif kind == 3:  # hand to the head and down again
        right = _path(t, ((-0.6, 1.0, 0.2), (-0.25, -0.5 + up, 0.25)), 0.55 * hz, phase, 1.4)
    elif kind == 4:  # both arms swung overhead from side to side
        sway = 0.4 * size * np.sin(2 * math.pi * (0.8 * hz * t + phase))
        right = np.stack((-0.3 + sway, -0.85 + up + 0 * t, 0.1 + 0 * t), -1)
        left = np.stack((0.3 + sway, -0.85 + up + 0 * t, 0.1 + 0 * t), -1)
    elif kind == 5:  # a zigzag drawn in the air
        right = _path(t, ((-0.9, 0.0 + up, 0.5), (0.1, 0.0 + up, 0.5)), 0.9 * hz, phase)
        right[:, 1] += 0.4 * size * np.sin(2 * math.pi * 0.3 * hz * t)
    elif kind == 6:  # pushing both hands forward and apart, like swimming
        a = 2 * math.pi * (0.7 * hz * t + phase)
        x = 0.5 + 0.45 * size * np.sin(a)
        right = np.stack((-x, 0.3 + up + 0.1 * np.cos(a), 0.6 + 0.35 * np.cos(a)), -1)
        left = right * (-1, 1, 1)
    else:  # wiping a table
        right = _path(t, ((-0.8, 0.8 + up, 0.5), (0.3, 0.75 + up, 0.6)), 0.8 * hz, phase)
        right[:, 1] += 0.12 * np.sin(2 * math.pi * 1.6 * hz * t + u(0, 6))
    return (left * (-1, 1, 1), right * (-1, 1, 1)) if mirror else (right, left)


def _drift(t: Floats, rng: np.random.Generator) -> Floats:
    """Return a slow random movement of about unit size: three sines of drawn frequency and phase."""
    out = np.zeros_like(t)
    for hz in rng.uniform(0.15, 2.0, 3):
        out += np.sin(2 * math.pi * (hz * t + rng.random())) / 1.7
    return out


def pose(gesture: int, t: Floats, who: Performer, rng: np.random.Generator) -> Floats:
    """Return the joints in pixels, float64 ``[len(t), 10, 2]``.

    Order: right shoulder, elbow, wrist, fingertip; left shoulder, elbow, wrist, fingertip; chest; head.
    """
    # Tempo is not a metronome's: time itself is stretched slowly back and forth.
    warped = t + 0.06 * _drift(t, rng) / who.tempo
    hands = hand_targets(gesture, warped, who, rng)
    sway = np.stack([who.sway * _drift(t, rng) for _ in range(2)], -1)
    out = np.empty((len(t), 10, 3))
    for arm, side in enumerate((-1.0, 1.0)):
        shoulder = np.zeros((len(t), 3))
        shoulder[:, 0] = side * 0.5
        elbow, wrist = _reach(shoulder, hands[:, arm], who, side)
        along = (wrist - elbow) / who.forearm
        out[:, 4 * arm : 4 * arm + 4] = np.stack((shoulder, elbow, wrist, wrist + who.hand * along), 1)
    out[:, 8] = (0.0, 0.0, 0.0)
    out[:, 9] = (0.0, -0.25 - who.head_radius, 0.0)
    flat = out[:, :, :2] * (1.0 + 0.12 * out[:, :, 2:])  # nearer is larger: a weak perspective
    flat[:, :, :2] += sway[:, None]
    cos, sin = math.cos(who.tilt), math.sin(who.tilt)
    turned = np.stack((cos * flat[..., 0] - sin * flat[..., 1], sin * flat[..., 0] + cos * flat[..., 1]), -1)
    return np.ascontiguousarray(turned * who.scale + who.place)


def _reach(shoulder: Floats, target: Floats, who: Performer, side: float) -> tuple[Floats, Floats]:
    """Return elbow and wrist so that the wrist is at ``target`` or as near as the arm's lengths allow."""
    a, b = who.upper_arm, who.forearm
    offset = target - shoulder
    distance = np.linalg.norm(offset, axis=1, keepdims=True)
    reach = np.clip(distance, abs(a - b) + 0.05, 0.995 * (a + b))
    direction = offset / np.maximum(distance, 1e-9)
    along = (a * a - b * b + reach * reach) / (2 * reach)
    off = np.sqrt(np.maximum(a * a - along * along, 0.0))
    hint = np.array((side * who.elbow_out, 1.0, -0.3))  # elbows hang down and outward
    bend = hint - direction * (direction @ hint)[:, None]
    bend /= np.maximum(np.linalg.norm(bend, axis=1, keepdims=True), 1e-9)
    return shoulder + direction * along + bend * off, shoulder + direction * reach
