"""Computes weights and forecasts of blends and writes tests/data/blend_reference.json.

The reference for src/core/blend, in plain Python and from the formulas of docs/blend.md: each number
is computed again from the whole history of its symbol, sharing nothing with the code that it checks.
`cargo test --lib blend` compares with what is written here; running this again must change nothing.

    python3 tests/reference/blend.py
"""

import json
import math
import pathlib
import random

STEPS = 150
KINDS = ["persistence", "drift", "average", "seasonal", "linear"]
# Members, baselines, the one to beat, horizon, and the least possible value.
CASES = [
    (1, ["persistence"], "persistence", 1, None),
    (1, ["persistence", "average"], "average", 2, 0.0),
    (2, KINDS, "linear", 1, 0.0),
    (3, ["persistence", "drift", "seasonal"], "drift", 4, None),
]
AGAINST = 0.3
HALF_LIFE = 250
RIDGE = 30.0
SLOPE = 2.0
DISTANCE = 3.0


def first_weights(members: int, has: list[str], against: str) -> list[float]:
    """What the experts weigh at first: the models, the same recalibrated, the baselines."""
    others = 2 * members + len(has) - 1
    rest = (1.0 - AGAINST) / max(others, 1)
    return [rest] * (2 * members) + [AGAINST if kind == against else rest for kind in has]


def recalibrated(forecast: float, past: list[tuple[float, float]]) -> float:
    """Weighted least squares over the past, drawn towards the forecast itself."""
    if not past:
        return forecast
    weights = [0.5 ** ((len(past) - 1 - at) / HALF_LIFE) for at in range(len(past))]
    weight = math.fsum(weights)

    def mean(values) -> float:
        return math.fsum(w * value for w, value in zip(weights, values)) / weight

    mean_f, mean_y = mean([f for f, _ in past]), mean([y for _, y in past])
    spread = mean([(f - mean_f) ** 2 for f, _ in past])
    slope = mean([(f - mean_f) * (y - mean_y) for f, y in past]) / spread if spread > 0 else 1.0
    slope = min(max(slope, -SLOPE), SLOPE)
    trust = weight / (weight + RIDGE)
    moved = trust * (mean_y - mean_f + (slope - 1.0) * (forecast - mean_f))
    most = DISTANCE * math.sqrt(mean([(y - f) ** 2 for f, y in past]))
    return forecast + min(max(moved, -most), most)


def ml_poly(
    first: list[float], trusted: int, rounds: list[list[float]], awake: list[bool]
) -> list[float]:
    """The weights after rounds of regrets, one for each expert."""
    widest, scales = 0.0, []
    for regrets in rounds:
        largest = max(abs(regret) for regret in regrets)
        scales.append(min(1.0, widest / largest) if widest > 0.0 and largest > 0.0 else 1.0)
        widest = max(widest, largest)
    raw = []
    for expert, wakes in enumerate(awake):
        scaled = [scale * regrets[expert] for scale, regrets in zip(scales, rounds)]
        rate = widest**2 + math.fsum(regret * regret for regret in scaled)
        total = math.fsum(scaled)
        raw.append(first[expert] * total / rate if wakes and total > 0.0 else 0.0)
    if not any(raw):
        alone = [float(expert == trusted) for expert in range(len(first))]
        raw = alone if awake[trusted] else [one * wakes for one, wakes in zip(first, awake)]
    return [weight / math.fsum(raw) for weight in raw]


def case(number: int, members: int, has: list[str], against: str, horizon: int, least) -> dict:
    draw = random.Random(17 + number)
    first = first_weights(members, has, against)
    trusted = 2 * members + has.index(against)
    steps, rounds, pasts, said_before = [], [], [[] for _ in range(members)], []
    level = 1.0
    for at in range(STEPS):
        level = 1.0 + 0.9 * (level - 1.0) + draw.gauss(0.0, 0.2)
        size = 4.0 if at % 40 == 39 else 1.0
        truth = round(abs(level) + size * abs(draw.gauss(0.0, 0.3)), 6)
        models = [
            None if draw.random() < 0.1 else round(abs(level * (0.6 + 0.3 * one) + draw.gauss(0.1, 0.2)), 6)
            for one in range(members)
        ]
        simple = {kind: round(abs(level + draw.gauss(0.0, 0.3)), 6) for kind in has}
        evidence = "training" if at < 12 else "validation" if at < 20 else "unseen"
        before = at - horizon
        if before >= 0 and steps[before]["evidence"] == "unseen":
            came, experts = steps[before]["truth"], said_before[before]
            p = steps[before]["forecast"]
            of_blend = (p - came) ** 2
            rounds.append([0.0 if f is None else of_blend - (f - came) ** 2 for f in experts])
            for past, f in zip(pasts, steps[before]["members"]):
                if f is not None:
                    past.append((f, came))
        drawn = [None if f is None else recalibrated(f, past) for f, past in zip(models, pasts)]
        if least is not None:
            drawn = [None if f is None else max(f, least) for f in drawn]
        experts = models + drawn + [simple[kind] for kind in has]
        awake = [f is not None for f in experts]
        weights = ml_poly(first, trusted, rounds, awake)
        forecast = math.fsum(w * f for w, f in zip(weights, experts) if f is not None)
        said_before.append(experts)
        steps.append({
            "members": models,
            "baselines": [simple.get(kind) for kind in KINDS],
            "truth": truth,
            "evidence": evidence,
            "weights": weights,
            "forecast": forecast,
        })
    return {
        "horizon_steps": horizon,
        "members": members,
        "has": [kind in has for kind in KINDS],
        "against": against,
        "least": least,
        "steps": steps,
    }


def main() -> None:
    path = pathlib.Path(__file__).resolve().parent.parent / "data" / "blend_reference.json"

    def line(value: object) -> str:
        return json.dumps(value, separators=(",", ":"))

    cases = [case(number, *terms) for number, terms in enumerate(CASES)]
    blocks = []
    for one in cases:
        steps = ",\n      ".join(line(step) for step in one.pop("steps"))
        head = line(one)[:-1]
        blocks.append(f'{head},"steps":[\n      {steps}\n    ]}}')
    joined = ",\n    ".join(blocks)
    path.write_text(
        "{\n"
        '  "generated_by": "tests/reference/blend.py",\n'
        f'  "cases": [\n    {joined}\n  ]\n'
        "}\n"
    )


if __name__ == "__main__":
    main()
