"""Recomputes the figures of `tickcast replay --report FILE.json` from forecasts and scores.

    tickcast replay ... --output forecasts.jsonl --scores scores.jsonl --report report.json
    python3 tests/reference/report.py forecasts.jsonl scores.jsonl report.json

Plain Python, written from docs/report.md: scores by evidence, skill, coverage, signals with their
intervals, and the paper account with its bootstrap. Every figure must agree within 1e-9. It reads one
live model; thresholds, costs and rules are arguments.
"""

import argparse
import html.parser
import json
import math

BASELINES = ["persistence", "drift", "average", "seasonal", "linear"]
EVIDENCE = ["training", "validation", "unseen", "unknown"]
PERIODS_MAX = 4096
MASK = (1 << 64) - 1
Z = 1.959963984540054


def nanos(text):
    """Nanoseconds since the epoch of an RFC 3339 time in UTC."""
    import calendar
    import time

    whole, _, fraction = text.rstrip("Z").partition(".")
    seconds = calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S"))
    return seconds * 10**9 + int((fraction + "0" * 9)[:9])


def wilson(share, count):
    square = Z * Z
    centre = (share + square / (2 * count)) / (1 + square / count)
    spread = share * (1 - share) / count + square / (4 * count * count)
    half = Z * math.sqrt(spread) / (1 + square / count)
    return [min(max(centre - half, 0.0), share), max(min(centre + half, 1.0), share)]


class Random:
    """xoshiro256++, seeded by SplitMix64."""

    def __init__(self, seed, stream):
        mixer = seed ^ self.mixed(stream)[1]
        self.state = []
        for _ in range(4):
            mixer, word = self.mixed(mixer)
            self.state.append(word)

    @staticmethod
    def mixed(state):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return state, z ^ (z >> 31)

    def bits(self):
        s = self.state
        rotate = lambda value, by: ((value << by) | (value >> (64 - by))) & MASK
        result = (rotate((s[0] + s[3]) & MASK, 23) + s[0]) & MASK
        shifted = (s[1] << 17) & MASK
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= shifted
        s[3] = rotate(s[3], 45)
        return result

    def unit(self):
        return (self.bits() >> 11) / 9007199254740992.0

    def below(self, limit):
        fair = MASK - MASK % limit
        while True:
            value = self.bits()
            if value < fair:
                return value % limit


class Rule:
    """Thresholds with hysteresis and cool-down, of a target that is a change or a probability."""

    def __init__(self, args):
        self.buy, self.sell = args.buy_above, args.sell_below
        origin = 0.0 if args.change else (self.buy + self.sell) / 2
        level = lambda threshold: origin + args.release * (threshold - origin)
        self.buy_until = self.buy if args.release == 1 else min(level(self.buy), self.buy)
        self.sell_until = self.sell if args.release == 1 else max(level(self.sell), self.sell)
        self.cooldown = args.cooldown_steps

    def decide(self, state, value):
        state["cooling"] = max(0, state["cooling"] - 1)
        raised = "buy" if value > self.buy else "sell" if value < self.sell else "hold"
        now = state["signal"]
        keeps = (now == "buy" and value > self.buy_until) or (
            now == "sell" and value < self.sell_until
        )
        if raised != "hold" and raised != now:
            then = raised if state["cooling"] == 0 else "hold"
        else:
            then = now if keeps else "hold"
        if then != now:
            state["signal"] = then
            state["cooling"] = self.cooldown + 1 if self.cooldown else 0
        return then


def signal_figures(scores, args):
    counts = {side: dict(raised=0, happened=0, hits=0, rises=0, falls=0) for side in ("buy", "sell")}
    whole = dict(scores=0, rises=0, falls=0)
    for score in scores:
        origin = 0.0 if args.change else 0.5
        came = score["truth"] - origin
        whole["scores"] += 1
        whole["rises"] += came > 0
        whole["falls"] += came < 0
        beyond = {"buy": score["truth"] > args.buy_above, "sell": score["truth"] < args.sell_below}
        for side, count in counts.items():
            raised = score["signal"] == side
            count["raised"] += raised
            count["happened"] += beyond[side]
            count["hits"] += raised and beyond[side]
            count["rises"] += raised and came > 0
            count["falls"] += raised and came < 0
    return whole, counts


def paper(forecasts, scores, args):
    """Net profits by time, and the sums of each strategy."""
    rule = Rule(args)
    strategies = ["model", "buy and hold"] + BASELINES
    prices = {(f["symbol"], f["as_of"]): f.get("last_price") for f in forecasts}
    sums = {s: dict(gross=0.0, costs=0.0, turnover=0.0, exposed=0) for s in strategies}
    there, periods, accounts, named = {"model", "buy and hold"}, {}, {}, set()
    cost = (args.cost_bps + args.slippage_bps) / 10_000

    def position(signal, before):
        if signal == "buy":
            return 1.0
        if signal == "sell":
            return -1.0 if args.paper_sell == "short" else 0.0
        return before if args.paper_hold == "keep" else 0.0

    def trade(account, time, price, wanted):
        change = None if account["last"] is None else price / account["last"][1] - 1
        period = periods.setdefault(nanos(time), dict({s: 0.0 for s in strategies}, steps=0))
        period["steps"] += change is not None
        for strategy in strategies:
            held = account["positions"][strategy]
            gross = held * (change or 0.0)
            turnover = abs(wanted[strategy] - held)
            total = sums[strategy]
            total["gross"] += gross
            total["costs"] += turnover * cost
            total["turnover"] += turnover
            total["exposed"] += change is not None and held != 0
            period[strategy] += gross - turnover * cost
            account["positions"][strategy] = wanted[strategy]

    def fresh():
        return dict(
            last=None,
            positions={s: 0.0 for s in strategies},
            states={b: dict(signal="hold", cooling=0) for b in BASELINES},
        )

    flat = {s: 0.0 for s in strategies}
    for score in scores:
        account = accounts.setdefault(score["symbol"], fresh())
        price = prices.get((score["symbol"], score["as_of"]))
        if score["evidence"] not in ("unseen", "unknown"):
            if account["last"] is not None:
                trade(account, score["as_of"], price or account["last"][1], flat)
                accounts[score["symbol"]] = fresh()
            continue
        if price is None or not price > 0:
            continue
        named.add(score["symbol"])
        wanted = dict(flat)
        wanted["model"] = position(score["signal"], account["positions"]["model"])
        wanted["buy and hold"] = 1.0
        for baseline in BASELINES:
            if baseline in score["baselines"]:
                there.add(baseline)
                signal = rule.decide(account["states"][baseline], score["baselines"][baseline])
                wanted[baseline] = position(signal, account["positions"][baseline])
        trade(account, score["as_of"], price, wanted)
        account["last"] = (score["as_of"], price)
    steps = sum(period["steps"] for period in periods.values())
    for account in accounts.values():
        if account["last"] is not None:
            time, price = account["last"]
            account["last"] = None
            trade(account, time, price, flat)
    return [s for s in strategies if s in there], sums, periods, len(named), steps


def binned(periods):
    """Periods in bins of a power of two of nanoseconds, at most PERIODS_MAX."""
    power = 0
    while len({time >> power for time in periods}) > PERIODS_MAX:
        power += 1
    bins = {}
    for time in sorted(periods):
        sums = bins.setdefault(time >> power, {name: 0.0 for name in periods[time]})
        for name, value in periods[time].items():
            sums[name] += value
    return [bins[place] for place in sorted(bins)]


def bootstrap(series, names, args):
    count = len(series)
    length = max(math.ceil(round(count ** (1 / 3), 12)), args.horizon_steps, 1)
    random = Random(1, 4)
    drawn = {name: [] for name in names}
    beside = {name: [] for name in names}
    for _ in range(1000):
        total = {name: 0.0 for name in names}
        steps, place = 0.0, 0
        for at in range(count):
            if at == 0 or random.unit() < 1.0 / length:
                place = random.below(count)
            else:
                place = (place + 1) % count
            for name in names:
                total[name] += series[place][name]
            steps += series[place]["steps"]
        steps = max(steps, 1.0)
        for name in names:
            drawn[name].append(total[name] / steps)
            beside[name].append((total["model"] - total[name]) / steps)

    def limits(values):
        values = sorted(values)

        def quantile(share):
            place = share * (len(values) - 1)
            low, high = values[math.floor(place)], values[math.ceil(place)]
            return low + (place - math.floor(place)) * (high - low)

        return [quantile(0.025), quantile(0.975)]

    return {name: limits(drawn[name]) for name in names}, {n: limits(beside[n]) for n in names}


class PageChecker(html.parser.HTMLParser):
    """Knows which elements are open, and what a page must not have."""

    VOID = {"meta"}

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], {}

    def handle_starttag(self, tag, attributes):
        assert tag not in ("script", "img", "link", "iframe"), f"<{tag}> at {self.getpos()}"
        for name, value in attributes:
            assert not name.startswith("on"), f"{name} at {self.getpos()}"
            assert name not in ("src", "href") or value.startswith("#"), value
        self.seen[tag] = self.seen.get(tag, 0) + 1
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> at {self.getpos()}"


def check_page(path):
    checker = PageChecker()
    checker.feed(open(path, encoding="utf-8").read())
    checker.close()
    assert not checker.open, checker.open
    seen = checker.seen
    assert seen["svg"] == seen["desc"], "each plot has a description"
    assert seen["h1"] == 1 and seen["table"] > 5, seen
    print(f"the page is whole: {seen['svg']} plots, {seen['table']} tables")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("forecasts")
    parser.add_argument("scores")
    parser.add_argument("report")
    parser.add_argument("--buy-above", type=float, required=True)
    parser.add_argument("--sell-below", type=float, required=True)
    parser.add_argument("--release", type=float, default=1.0)
    parser.add_argument("--cooldown-steps", type=int, default=0)
    parser.add_argument("--horizon-steps", type=int, default=1)
    parser.add_argument("--probability", dest="change", action="store_false")
    parser.add_argument("--cost-bps", type=float, default=1.0)
    parser.add_argument("--slippage-bps", type=float, default=1.0)
    parser.add_argument("--paper-sell", default="short")
    parser.add_argument("--paper-hold", default="flat")
    parser.add_argument("--page", help="the page of the same replay, to be checked as well")
    args = parser.parse_args()
    if args.page:
        check_page(args.page)
    forecasts, scores = (
        [json.loads(line) for line in open(path)] for path in (args.forecasts, args.scores)
    )
    [report] = json.load(open(args.report))
    compared = 0

    def same(what, ours, theirs):
        nonlocal compared
        compared += 1
        if isinstance(ours, list):
            assert isinstance(theirs, list) and len(ours) == len(theirs), (what, ours, theirs)
            for one, other in zip(ours, theirs):
                same(what, one, other)
        elif isinstance(ours, float) or isinstance(theirs, float):
            assert abs(ours - theirs) <= 1e-9 * max(1.0, abs(ours)), (what, ours, theirs)
        else:
            assert ours == theirs, (what, ours, theirs)

    same("forecasts", len(forecasts), report["forecasts"])
    by_evidence = {e: [s for s in scores if s["evidence"] == e] for e in EVIDENCE}
    same("scores", [len(by_evidence[e]) for e in EVIDENCE], report["scores"])
    counted = [s for s in scores if s["evidence"] in ("unseen", "unknown")]
    squared = sum(s["error"] ** 2 for s in counted)
    same(
        "skill",
        1 - squared / sum(s["baseline_absolute_error"] ** 2 for s in counted),
        report["skill"],
    )
    for baseline, theirs in zip(BASELINES, report["skills"]):
        if theirs is not None:
            errors = sum((s["baselines"][baseline] - s["truth"]) ** 2 for s in counted)
            same(f"skill against {baseline}", 1 - squared / errors, theirs)
    same("coverage", sum(s["covered"] for s in counted) / len(counted), report["coverage"])
    whole, counts = signal_figures(counted, args)
    for name, value in whole.items():
        same(name, value, report["signals"][name])
    for side, count in counts.items():
        theirs = report["signals"][side]
        for name in ("raised", "happened", "hits"):
            same(f"{side} {name}", count[name], theirs["detection"][name])
        for name in ("rises", "falls"):
            same(f"{side} {name}", count[name], theirs[name])
    # The records carry the same counts for each symbol, with shares and intervals.
    for symbol in {s["symbol"] for s in counted}:
        of_symbol = [s for s in counted if s["symbol"] == symbol]
        _, counts = signal_figures(of_symbol, args)
        for side, count in counts.items():
            theirs = of_symbol[-1]["signals"][side]
            same("raised", count["raised"], theirs["raised"])
            if count["raised"]:
                precision = count["hits"] / count["raised"]
                same("precision", precision, theirs["precision"])
                limits = wilson(precision, count["raised"] / args.horizon_steps)
                same("precision_95", limits, theirs["precision_95"])
            same("base rate", count["happened"] / len(of_symbol), float(theirs["base_rate"]))
    names, sums, periods, symbols, steps = paper(forecasts, scores, args)
    same("strategies", names, [figures["strategy"] for figures in report["paper"]])
    series = binned(periods)
    drawn, beside = bootstrap(series, names, args)
    for name, figures in zip(names, report["paper"]):
        total = sums[name]
        net = total["gross"] - total["costs"]
        same("steps", steps, figures["steps"])
        same(f"{name} net", net / symbols, figures["net"])
        same(f"{name} costs", total["costs"] / symbols, figures["costs"])
        same(f"{name} mean", net / steps, figures["mean_per_step"])
        same(f"{name} turnover", total["turnover"] / steps, figures["turnover_per_step"])
        same(f"{name} exposure", total["exposed"] / steps, figures["exposure"])
        so_far = high = fall = 0.0
        for period in series:
            so_far += period[name]
            high = max(high, so_far)
            fall = max(fall, high - so_far)
        same(f"{name} drawdown", fall / symbols, figures["drawdown_max"])
        same(f"{name} interval", drawn[name], figures["mean_per_step_95"])
        if name != "model":
            same(f"model minus {name}", beside[name], figures["model_minus_this_95"])
    print(f"{compared} figures agree: {len(counted)} scores, {steps} steps, {len(series)} times")


if __name__ == "__main__":
    main()
