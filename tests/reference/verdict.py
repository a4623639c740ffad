"""Makes tests/data/verdict_reference.json: what ledgers of fixed series come to, by numpy alone.

Regenerate, from the folder of the repository:

    python3 -m venv .cache/reference
    .cache/reference/bin/pip install numpy==2.4.6
    .cache/reference/bin/python tests/reference/verdict.py > tests/data/verdict_reference.json

The e-value is computed twice: by the closed form of Wang and Ramdas (2023, arXiv:2310.03722) from the
plain sums S and V, and by integration over the size of the effect and the scale. The limits are
found by bisection on the closed form, so they share no formula with the daemon's.

With the argument `check` and a file of scores it follows every ledger of the daemon through them,
symbol by symbol, and compares each verdict: words, times, counts and means must be equal to the bit.
Verdicts of shadows against the live model of their seat follow from a join of the scores of both.

With the argument `comparecast` it compares the limits with the asymptotic confidence sequence of the
package of Choe and Ramdas, which is what they become where the variance is known: for many blocks
(pip install --no-deps comparecast==1.0.0).
"""

import importlib.util
import json
import math
import pathlib
import sys

import numpy as np

PRIOR = 1.0
BLOCKS_MIN = 10


def blocks(differences, horizon):
    length = max(30, 10 * horizon)
    count = len(differences) // length
    return np.array(differences[: count * length]).reshape(count, length).mean(axis=1), length


def log_e_value(means, of=0.0):
    """The closed form, of the sums."""
    count = len(means)
    if count == 0:
        return 0.0
    apart = np.asarray(means) - of
    total, squares = apart.sum(), (apart * apart).sum()
    whole = (count + PRIOR) * squares
    if whole == total * total:
        return 0.5 * np.log(PRIOR / (count + PRIOR))
    return 0.5 * np.log(PRIOR / (count + PRIOR)) + 0.5 * count * np.log(
        whole / (whole - total * total)
    )


def log_e_value_by_integration(means):
    """The likelihood of what remains when the scale is taken out, averaged over normal effects
    and divided by that without an effect: the trapezoidal rule on effect and inverse scale."""
    count = len(means)
    if count == 0:
        return 0.0
    values = np.asarray(means) / np.sqrt((np.asarray(means) ** 2).mean())
    total, squares = values.sum(), (values * values).sum()
    rest = squares - total * total / (count + PRIOR)
    # The logarithm of the inverse scale, between far below that without an effect, where a single
    # block leaves a long tail, and far above that with the strongest.
    spread = 14.0 / np.sqrt(count) + 0.6
    scale = np.linspace(-spread - 40.0 / count, 0.5 * np.log(count / rest) + spread, 4001)
    inverse = np.exp(scale)
    center = total * inverse / (count + PRIOR)
    reach = np.linspace(-12.0, 12.0, 1201) / np.sqrt(count + PRIOR)
    effect = center[:, None] + reach[None, :]
    power = (
        count * scale[:, None]
        - 0.5 * squares * inverse[:, None] ** 2
        + effect * total * inverse[:, None]
        - 0.5 * (count + PRIOR) * effect**2
    )
    without = count * scale - 0.5 * squares * inverse**2
    top, base = power.max(), without.max()
    step = scale[1] - scale[0]
    above = np.exp(power - top).sum() * step * (reach[1] - reach[0])
    below = np.exp(without - base).sum() * step
    return top - base + np.log(above * np.sqrt(PRIOR / (2 * np.pi)) / below)


def limits(means, level):
    """Where the closed form crosses the level, by bisection; None where it does not."""
    count = len(means)
    bound = -np.log(level)
    if count == 0 or 0.5 * (count - 1) * np.log((count + PRIOR) / PRIOR) <= bound:
        return None
    center, spread = means.mean(), means.std()
    if spread == 0.0:
        return [float(center)] * 2
    ends = []
    for sign in [-1.0, 1.0]:
        near, far = 0.0, spread
        while log_e_value(means, center + sign * far) < bound:
            far *= 2.0
        for _ in range(200):
            middle = 0.5 * (near + far)
            if log_e_value(means, center + sign * middle) < bound:
                near = middle
            else:
                far = middle
        ends.append(float(center + sign * near))
    return ends


def word(means, level):
    if len(means) < BLOCKS_MIN:
        return "too_early"
    found = limits(means, level)
    if found and found[0] > 0.0:
        return "better"
    if found and found[1] < 0.0:
        return "worse"
    return "undecided"


def case(name, differences, horizon=1, level=0.05):
    differences = [float(one) for one in differences]
    means, length = blocks(differences, horizon)
    words = [[0, "too_early"]]
    for count in range(1, len(means) + 1):
        said = word(means[:count], level)
        if said != words[-1][1]:
            words.append([count * length, said])
    return {
        "name": name,
        "horizon_steps": horizon,
        "level": level,
        "differences": differences,
        "words": words,
        "scores": len(differences),
        "mean_difference": float(means.mean()) if len(means) else 0.0,
        "limits": limits(means, level),
        "log_e_value": float(log_e_value(means)),
        "log_e_value_by_integration": float(log_e_value_by_integration(means)),
    }


def cases():
    random = np.random.default_rng(18)

    def pair(count, worse=1.0, heavy=False):
        draw = (lambda: random.standard_t(3, count)) if heavy else (lambda: random.normal(size=count))
        both, model, baseline = draw(), draw(), draw()
        model, baseline = 0.9 * both + 0.44 * model, 0.9 * both + 0.44 * baseline
        return np.round(baseline**2 - worse * model**2, 4)

    overlapping = np.convolve(random.normal(size=1204), np.ones(5), mode="valid")
    return [
        case("nothing", []),
        case("one block", pair(45)),
        case("few blocks", pair(200)),
        case("equals", pair(900)),
        case("equals with heavy tails", pair(900, heavy=True)),
        case("worse by half", pair(900, 1.5)),
        case("better by half", pair(900, 0.5)),
        case("worse, at another level", pair(900, 1.3), level=0.01),
        case("overlapping truths", np.round(overlapping**2 - 5.3, 4), horizon=5),
        case("small numbers", pair(600, 1.4) * 1e-8),
        case("a turn", np.concatenate([pair(450, 1.8), pair(600, 0.3)])),
        case("one after the other", pair(615, 1.2)),
    ]


def compare_with_comparecast():
    """The asymptotic sequence of comparecast, with its variance put in, beside ours, from the same
    mean, variance and count of blocks."""
    found = importlib.util.find_spec("comparecast").submodule_search_locations[0]
    # Of the package only this function, which needs numpy alone; the rest draws and fetches.
    source = pathlib.Path(found, "confseq.py").read_text()
    start = source.index("def confseq_asymptotic(")
    scope = {"np": np, "ConfSeq": lambda lower, upper: (lower, upper)}
    exec(source[start:].split("\ndef ", 2)[0].replace("-> ConfSeq", ""), scope)
    level = 0.05
    # Its precision is ours for this time of the least width.
    best = 2 * np.log(1 / level) + np.log(1 + 2 * np.log(1 / level))
    for count in [100, 10_000, 1_000_000]:
        values = np.random.default_rng(count).normal(scale=3.0, size=count)
        values = (values - values.mean()) / values.std() * 3.0
        lower, upper = scope["confseq_asymptotic"](
            values, level, gammas=np.zeros(count), t_star=best, assume_iid=True
        )
        theirs = (upper[-1] - lower[-1]) / 2
        power = np.log((count + PRIOR) / (level**2 * PRIOR))
        known = 3.0 * np.sqrt((count + PRIOR) * power) / count
        above = np.expm1(power / count)
        ours = 3.0 * np.sqrt(above * (count + PRIOR) / (count - PRIOR * above))
        print(
            f"{count} blocks: comparecast {theirs:.12f}, known variance {known:.12f}, ours"
            f" {ours:.12f}, {ours / theirs - 1:.2e} wider"
        )
        assert abs(theirs / known - 1) < 1e-9
        assert abs(ours / theirs - 1) < 2 * power / count


COUNTS = ("unseen", "unknown")


class Ledger:
    """What the daemon keeps of one comparison, in the same order of operations, and what Python says
    of it."""

    def __init__(self, horizon):
        self.length = max(30, 10 * horizon)
        self.open, self.means, self.mean, self.squares = [], [], 0.0, 0.0
        self.word, self.since = "too_early", None

    def take(self, difference, at):
        self.open.append(difference)
        if len(self.open) < self.length:
            return
        total = 0.0
        for one in self.open:
            total += one
        self.means.append(total / self.length)
        self.open = []
        apart = total / self.length - self.mean
        self.mean += apart / len(self.means)
        self.squares += apart * (total / self.length - self.mean)
        said = word(np.array(self.means), 0.05)
        if said != self.word:
            self.word, self.since = said, at

    def compare(self, verdict, score):
        """Words, times, counts and means to the bit; after each block, evidence and limits."""
        count = len(self.means)
        ours = (self.word, self.since, count * self.length + len(self.open), self.mean)
        theirs = (verdict["word"], verdict.get("since"), verdict["scores"],
                  verdict["mean_difference"])
        assert ours == theirs, (score, ours)
        if count and not self.open:
            evidence = log_e_value(self.means)
            assert math.isclose(verdict["log_e_value"], evidence, rel_tol=1e-9, abs_tol=1e-9), score
            for one, other in zip(verdict.get("limits", []), limits(np.array(self.means), 0.05)
                                  or [], strict=True):
                assert math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9 * abs(self.mean)), (
                    score, one, other)


def read_scores(path):
    """The scores of a file in their order; repeated lines count once."""
    scores, seen = [], set()
    with open(path) as file:
        for text in file:
            score = json.loads(text)
            if score["id"] not in seen:
                seen.add(score["id"])
                scores.append(score)
    return scores


def check(path, horizon):
    """Every verdict in a file of scores, out of the values in it."""
    ledgers, scores = {}, read_scores(path)
    for score in scores:
        verdict = score["verdict"]
        model, baseline = score["truth"] - score["value"], score["truth"] - score["baseline"]
        symbol = (score["model"], score["model_version"], score["symbol"])
        ledger = ledgers.setdefault(symbol, Ledger(horizon))
        if score.get("evidence", "unknown") in COUNTS:
            ledger.take(baseline * baseline - model * model, score["truth_time"])
        assert verdict["against"] == score["against"]
        ledger.compare(verdict, score)
    print(f"{len(scores)} scores of {len(ledgers)} symbols: every verdict is that of the daemon")
    for symbol, ledger in sorted(ledgers.items()):
        print(" ".join(symbol), ledger.word, ledger.since or "")
    check_rivals(scores, horizon)


def check_rivals(scores, horizon):
    """What scores of shadows say of the live model of their seat, out of a join of the scores of
    both: of the same symbol, forecast time, target time and truth time, that count for both."""

    def place(model, version, score):
        times = (score["as_of"], score["target_time"], score["truth_time"])
        return (model, version, score["symbol"], *times)

    all_scores = {place(one["model"], one["model_version"], one): one for one in scores}
    ledgers, compared, left_out = {}, 0, 0
    for score in scores:
        key, rival = (score["model"], score["model_version"], score["symbol"]), score.get("rival")
        if rival is None:
            # Live, or without a rival: what comes later begins again.
            ledgers.pop(key, None)
            continue
        against = (rival["model"], rival["model_version"])
        if key not in ledgers or ledgers[key][0] != against:
            ledgers[key] = (against, Ledger(horizon))
        ledger = ledgers[key][1]
        other = all_scores.get(place(*against, score))
        if other and all(one.get("evidence", "unknown") in COUNTS for one in (score, other)):
            theirs, ours = other["truth"] - other["value"], score["truth"] - score["value"]
            ledger.take(theirs * theirs - ours * ours, score["truth_time"])
            compared += 1
        else:
            left_out += 1
        ledger.compare(rival, score)
    if ledgers:
        print(f"{compared} pairs of a shadow and its rival, {left_out} scores left out: every"
              " verdict is that of the daemon")
    for key, (against, ledger) in sorted(ledgers.items()):
        print(" ".join(key), "against", " ".join(against), ledger.word, ledger.since or "")


if __name__ == "__main__":
    if "comparecast" in sys.argv[1:]:
        compare_with_comparecast()
    elif sys.argv[1:2] == ["check"]:
        check(sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 1)
    else:
        print(json.dumps(cases(), separators=(",", ":")))
