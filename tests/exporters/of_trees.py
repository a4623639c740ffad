"""Models without a network: trees, lines and support vectors on the flattened window.

They are trained, since they have nothing before that, on few trees to stay small.
"""

import numpy as np
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import RobustScaler, StandardScaler
from sklearn.svm import SVR

from recorded import SEED, STEPS, Kind, write_scaler

WIDTH = STEPS * 3
# The operators of ai.onnx.ml as ONNX Runtime 1.32 knows them.
OPSETS = {"": 17, "ai.onnx.ml": 3}


def flat(days, rows=None):
    windows = days.windows(rows)
    return windows.reshape(len(windows), -1)


def by_skl2onnx(model, path, width=WIDTH, **options):
    from skl2onnx import to_onnx

    onnx = to_onnx(
        model, np.zeros((1, width), np.float32), target_opset=OPSETS, options=options or None
    )
    path.write_bytes(onnx.SerializeToString())


def by_onnxmltools(convert):
    def export(model, path):
        from onnxmltools.convert.common.data_types import FloatTensorType

        onnx = convert(model, initial_types=[("x", FloatTensorType([None, WIDTH]))])
        path.write_bytes(onnx.SerializeToString())

    return export


def lightgbm():
    import lightgbm as library

    return library.LGBMRegressor(
        n_estimators=40, num_leaves=15, random_state=SEED, n_jobs=1, deterministic=True, verbose=-1
    )


def export_lightgbm(model, path):
    from onnxmltools import convert_lightgbm

    by_onnxmltools(convert_lightgbm)(model, path)


def xgboost():
    import xgboost as library

    return library.XGBRegressor(n_estimators=40, max_depth=4, random_state=SEED, n_jobs=1)


def export_xgboost(model, path):
    from onnxmltools import convert_xgboost

    by_onnxmltools(convert_xgboost)(model, path)


def trained(days, make, export=by_skl2onnx, is_raw=False):
    """A maker of a trained model. `is_raw`: its own pipeline scales."""

    def build(folder):
        kind = Kind(folder, days)
        rows = days.rows if is_raw else None
        windows, truths = days.lessons(rows)
        model = make().fit(windows.reshape(len(windows), -1), truths)
        export(model, kind.onnx)
        kind.finish(
            model.predict(flat(days, rows)),
            scale="kind = 'none'" if is_raw else "sklearn = 'scaler.json'",
        )

    return build


def standardized(days):
    """A line on rows that scikit-learn's StandardScaler has scaled outside of the graph."""

    def build(folder):
        kind = Kind(folder, days)
        scaler = StandardScaler().fit(days.rows[: days.learned])
        rows = scaler.transform(days.rows)
        windows, truths = days.lessons(rows)
        model = Ridge().fit(windows.reshape(len(windows), -1), truths)
        by_skl2onnx(model, kind.onnx)
        kind.finish(model.predict(flat(days, rows)), scaler=scaler)

    return build


def lags(days):
    """A line on lags and logarithms, by RobustScaler, for the logarithm of the next price's ratio."""

    def build(folder):
        kind = Kind(folder, days)
        close, volume = days.close, np.log(days.volume)
        back = 5
        columns = [close[back:], close[back - 1 : -1], close[:-back], volume[back:]]
        scaler = RobustScaler().fit(np.column_stack(columns)[: days.learned - back])
        rows = scaler.transform(np.column_stack(columns)).astype(np.float32)
        truths = np.diff(np.log(close[back:]))[: days.learned - back, None]
        scale = StandardScaler().fit(truths)
        model = Ridge().fit(rows[: len(truths)], scale.transform(truths)[:, 0])
        by_skl2onnx(model, kind.onnx, rows.shape[1])
        write_scaler(scale, kind.folder / "returns.json")
        kind.finish(
            model.predict(rows), scaler=scaler, steps=1, times=days.days[back:],
            features=["close", "lag(close,1)", "lag(close,5)", "log(volume)"],
            target="next_log_return", target_scale="sklearn = 'returns.json'",
        )

    return build


def direction(days):
    """A classifier: a label and a probability for each of two classes, in two outputs."""

    def build(folder):
        kind = Kind(folder, days)
        windows, _ = days.lessons()
        rises = days.change[STEPS : days.learned] > 0
        model = LogisticRegression(max_iter=500).fit(windows.reshape(len(windows), -1), rises * 1)
        by_skl2onnx(model, kind.onnx, zipmap=False)
        kind.finish(
            model.predict_proba(flat(days))[:, 1], target="next_direction",
            target_scale="kind = 'none'", output='name = "probabilities"\nvalue = 1',
        )

    return build


def kinds(days):
    """Every kind of these libraries: its name, and what makes it in a folder."""
    return {
        "lightgbm": trained(days, lightgbm, export_lightgbm),
        "xgboost": trained(days, xgboost, export_xgboost),
        "sklearn_forest": trained(
            days, lambda: RandomForestRegressor(20, max_depth=6, random_state=SEED)
        ),
        "sklearn_boosting": trained(
            days, lambda: GradientBoostingRegressor(n_estimators=40, random_state=SEED)
        ),
        "sklearn_line": trained(days, Ridge),
        "sklearn_line_standardized": standardized(days),
        "sklearn_line_pipeline": trained(
            days, lambda: make_pipeline(StandardScaler(), Ridge()), is_raw=True
        ),
        "sklearn_svr_pipeline": trained(
            days, lambda: make_pipeline(StandardScaler(), SVR(C=0.1, epsilon=0.1)), is_raw=True
        ),
        "sklearn_mlp_pipeline": trained(
            days,
            lambda: make_pipeline(
                StandardScaler(), MLPRegressor(hidden_layer_sizes=(24,), random_state=SEED, max_iter=20)
            ),
            is_raw=True,
        ),
        "sklearn_lags": lags(days),
        "sklearn_direction": direction(days),
    }
