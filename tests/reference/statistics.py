"""Makes tests/data/statistics.json: what SciPy and statsmodels say about the trainer's statistics.

Regenerate, from the folder of the repository:

    python3 -m venv .cache/reference
    .cache/reference/bin/pip install scipy==1.17.1 statsmodels==0.15.0
    .cache/reference/bin/python tests/reference/statistics.py > tests/data/statistics.json

The Diebold-Mariano statistic is the t-value of a regression of the gains on a constant with the
HAC covariance of statsmodels (Bartlett weights), times the factor of Harvey, Leybourne and Newbold.
The interval of the skill is the delta method on the logarithm of the ratio of the means, from the
HAC covariance of the linearised ratio.
"""

import json

import numpy as np
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.proportion import proportion_confint


def hac(values, lags):
    """The standard error of the mean."""
    fit = sm.OLS(values, np.ones(len(values))).fit(
        cov_type="HAC", cov_kwds={"maxlags": lags, "kernel": "bartlett", "use_correction": False}
    )
    return fit.bse[0]


def comparison(random, count, horizon, advantage):
    noise = random.normal(size=(2, count + horizon - 1))
    window = np.ones(horizon)
    errors = [np.convolve(row, window, mode="valid") for row in noise]
    model, baseline = np.round(errors[0] ** 2, 4), np.round((errors[1] * advantage) ** 2, 4)
    gains = baseline - model
    factor = np.sqrt((count + 1 - 2 * horizon + horizon * (horizon - 1) / count) / count)
    statistic = factor * gains.mean() / hac(gains, horizon - 1)
    ratio = model.mean() / baseline.mean()
    lags = max(horizon - 1, int(4 * (count / 100) ** (2 / 9)))
    deviation = hac(model / model.mean() - baseline / baseline.mean(), lags)
    half = stats.t.ppf(0.975, count - 1) * deviation
    return {
        "horizon": horizon,
        "model": model.tolist(),
        "baseline": baseline.tolist(),
        "statistic": statistic,
        "p_value": 2 * stats.t.sf(abs(statistic), count - 1),
        "skill": 1 - ratio,
        "skill_low": 1 - ratio * np.exp(half),
        "skill_high": 1 - ratio * np.exp(-half),
    }


def main():
    random = np.random.default_rng(1)
    reference = {
        "student": [
            {
                "statistic": statistic,
                "freedom": freedom,
                "p": 2 * stats.t.sf(abs(statistic), freedom),
                "quantile_95": stats.t.ppf(0.975, freedom),
            }
            for freedom in [1, 2, 10, 623, 1_000_000]
            for statistic in [0.01, 0.8, -1.96, 5.5]
        ],
        "comparison": [
            comparison(random, count, horizon, advantage)
            for count, horizon in [(20, 1), (60, 1), (60, 5)]
            for advantage in [1.0, 1.5]
        ],
        "wilson": [
            dict(zip(["low", "high"], proportion_confint(hits, count, method="wilson")))
            | {"hits": hits, "count": count}
            for hits, count in [(8, 10), (0, 7), (7, 7), (298, 624), (1, 100_000)]
        ],
    }
    print(json.dumps(reference, indent=1))


main()
