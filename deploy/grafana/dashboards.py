"""The dashboards of tickcast: writes dashboards/*.json, or with --check tells where they differ.

    python3 deploy/grafana/dashboards.py

A panel is one line of a list below: its kind, title, unit, what it tells, and its queries with
their legends. Everything else (places, data source, variables, colours) is made here, so that all
panels agree. JOB stands for the label filter of the variables in each query.
"""

import json
import pathlib
import sys

FOLDER = pathlib.Path(__file__).parent / "dashboards"
FILTER = 'job=~"$job", instance=~"$instance"'
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24


def panel(kind, width, height, title, unit, tells, queries, more):
    """Each query is (expression, legend); `more` may change what stands before it."""
    return {
        "kind": kind, "width": width, "height": height, "title": title, "unit": unit,
        "tells": tells, "queries": queries, **more,
    }


def series(title, unit, tells, *queries, **more):
    """A graph over time."""
    return panel("timeseries", 12, 8, title, unit, tells, queries, more)


def number(title, unit, tells, *queries, **more):
    """One number for each instance, the newest."""
    return panel("stat", 4, 4, title, unit, tells, queries, more)


def events(title, tells, *queries, **more):
    """A graph of rare events: each bar counts those of the interval before it."""
    return series(title, "short", f"{tells} A bar counts those of the interval before it.",
                  *queries, bars=True, **more)


def heat(title, unit, tells, *queries, **more):
    """How a histogram moves over time."""
    return panel("heatmap", 24, 9, title, unit, tells, queries, more)


def row(title):
    return {"kind": "row", "title": title}


def rate(metric, more=""):
    labels = f"{FILTER}, {more}" if more else FILTER
    return f"rate({metric}{{{labels}}}[$__rate_interval])"


def rise(metric, more=""):
    """How often a rare event happened, which nobody reads per second."""
    labels = f"{FILTER}, {more}" if more else FILTER
    return f"increase({metric}{{{labels}}}[$__rate_interval])"


def gauge(metric, more=""):
    labels = f"{FILTER}, {more}" if more else FILTER
    return f"{metric}{{{labels}}}"


def live(query):
    """A query over models, of the live ones alone."""
    return f"({query} unless on (job, instance, model) tickcast_model_live == 0)"


def quantile(share, metric):
    return f"histogram_quantile({share}, {rate(metric + '_bucket')})"


def quantiles(metric):
    return [
        (quantile(0.5, metric), "{{instance}} p50"),
        (quantile(0.99, metric), "{{instance}} p99"),
    ]


def stage(title, metric, tells):
    return series(title, "s", tells, *quantiles(metric), width=8)


BAD = [(None, "green"), (1, "red")]
GOOD = [(None, "red"), (1, "green")]
FILL = [(None, "green"), (0.5, "orange"), (0.8, "red")]
BEHIND = [(None, "green"), (10, "orange"), (60, "red")]

REFUSED = events(
    "Ticks refused, by reason",
    "Records that could not be used. The log has a sample of the 1st, 10th, 100th of each reason.",
    (rise("tickcast_ticks_refused_total") + " > 0", "{{instance}} {{reason}}"),
)
LOST = events(
    "Dropped records and gaps",
    "Records dropped because a queue was full, and places at which records may be missing. "
    "Forecasts say gapped until a gap has left their window.",
    (rise("tickcast_records_dropped_total"), "{{instance}} dropped"),
    (rise("tickcast_gaps_total"), "{{instance}} gaps"),
)
QUEUE = series(
    "Queue between source and engine", "short",
    "Records that wait for the engine, and what there is room for.",
    (gauge("tickcast_records_waiting"), "{{instance}} waiting"),
    (gauge("tickcast_records_capacity"), "{{instance}} capacity"),
)

DASHBOARDS = {
    "overview": ("tickcast overview", [
        row("All chosen instances together"),
        number("Ready", "none", "Instances whose /readyz says ready, and all that were scraped.",
               (f"sum({gauge('tickcast_ready')})", "ready"),
               (f"count({gauge('tickcast_ready')})", "of")),
        number("Ticks", "cps", "Records taken from all queues in a second.",
               (f"sum({rate('tickcast_ticks_total')})", "ticks")),
        number("Forecasts", "cps", "Forecasts published in a second.",
               (f"sum({live(rate('tickcast_forecasts_total'))})", "forecasts")),
        number("Symbols", "short", "Symbols with state.",
               (f"sum(max without (model) ({gauge('tickcast_symbols')}))", "symbols")),
        number("Lost in the last hour", "short",
               "Records that full queues dropped, and records that sinks could not write.",
               (f"sum(increase(tickcast_records_dropped_total{{{FILTER}}}[1h]))", "dropped"),
               (f"sum(increase(tickcast_sink_records_dropped_total{{{FILTER}}}[1h]))",
                "not written"), steps=BAD),
        number("End to end, p99", "s",
               "From a tick's arrival until its forecast was handed to every way out, over all.",
               ("histogram_quantile(0.99, sum by (le) ("
                + rate("tickcast_end_to_end_seconds_bucket") + "))", "p99")),
        row("Each instance"),
        number("Ready", "bool_yes_no", "Whether /readyz says ready.",
               (gauge("tickcast_ready"), "{{instance}}"), steps=GOOD),
        number("Stalled stages", "short",
               "Stages of the data path that have work and do not come on.",
               (f"sum by (instance) ({gauge('tickcast_stage_stalled')})", "{{instance}}"),
               steps=BAD),
        number("Ticks", "cps", "Records taken from the queue in a second.",
               (rate("tickcast_ticks_total"), "{{instance}}")),
        number("Forecasts", "cps", "Forecasts published in a second.",
               (rate("tickcast_forecasts_total"), "{{instance}} {{model}}")),
        number("End to end, p99", "s",
               "From a tick's arrival until its forecast was handed to every way out.",
               (quantile(0.99, "tickcast_end_to_end_seconds"), "{{instance}}")),
        number("Queue", "percentunit", "How full the queue before the engine is.",
               (f"{gauge('tickcast_records_waiting')} / {gauge('tickcast_records_capacity')}",
                "{{instance}}"), steps=FILL),
        number("Model", "short", "Which model runs, in which mode.",
               (gauge("tickcast_model_info"), "{{model}} {{version}} {{mode}}"),
               width=8, name=True),
        number("Build", "short", "Which version of the program runs.",
               (gauge("tickcast_build_info"), "{{version}}"), width=4, name=True),
        number("Symbols", "short", "Symbols with state.",
               (gauge("tickcast_symbols"), "{{instance}} {{model}}")),
        number("Running for", "s", "Time since the process began.",
               (f"time() - {gauge('process_start_time_seconds')}", "{{instance}}")),
        number("Firing alerts", "short", "Alerts of tickcast that fire now.",
               ('count(ALERTS{alertname=~"Tickcast.*", alertstate="firing", ' + FILTER
                + "}) or vector(0)", "firing"), steps=BAD),
        row("Flow"),
        series("From records to forecasts", "cps",
               "What comes in, what of it is a tick, what becomes a step, what becomes a forecast.",
               (rate("tickcast_records_received_total"), "{{instance}} records"),
               (rate("tickcast_ticks_total"), "{{instance}} ticks"),
               (rate("tickcast_steps_total"), "{{instance}} {{model}} steps"),
               (rate("tickcast_forecasts_total"), "{{instance}} {{model}} forecasts")),
        series("End to end", "s",
               "From the arrival of a batch's oldest record until its forecasts were handed on.",
               *quantiles("tickcast_end_to_end_seconds")),
        REFUSED,
        LOST,
        QUEUE,
        events("Lines that were not written",
               "Records that a sink could not write and dropped; /readyz has the error.",
               (rise("tickcast_sink_records_dropped_total"), "{{instance}} {{sink}}")),
        series("Lines", "short", "Forecasts that wait for the writer of publish.lines.",
               (gauge("tickcast_lines_waiting"), "{{instance}} waiting"),
               (gauge("tickcast_lines_capacity"), "{{instance}} capacity")),
        row("Models"),
        events("Reloads", "Requests for another version of the model, by outcome.",
               (rise("tickcast_reloads_total"), "{{instance}} {{model}} {{outcome}}"),
               (rise("tickcast_promotions_total"), "{{instance}} {{model}} promoted by {{by}}")),
        series("Time of a reload", "s", "From the request to its outcome.",
               *quantiles("tickcast_reload_seconds")),
        row("Subscribers"),
        series("Subscribers", "short", "Subscribers of the stream now.",
               (gauge("tickcast_stream_subscribers"), "{{instance}}")),
        series("Sent", "cps", "Records sent to subscribers in a second.",
               (rate("tickcast_stream_sent_total"), "{{instance}}")),
        events("Cut and refused",
               "Subscribers cut because they read too slowly, given the newest alone where they "
               "asked for it, or refused at the door.",
               (rise("tickcast_stream_cut_total"), "{{instance}} cut"),
               (rise("tickcast_stream_conflated_total"), "{{instance}} conflated"),
               (rise("tickcast_stream_refused_total"), "{{instance}} refused")),
        events("Log lines lost", "Log lines that standard error did not take.",
               (rise("tickcast_log_lines_lost_total"), "{{instance}}")),
        row("Process"),
        series("Processors", "percentunit", "Processor time of all threads; 1 is one processor.",
               (rate("process_cpu_seconds_total"), "{{instance}}"), width=8),
        series("Memory", "bytes", "Resident memory; grows with symbols.",
               (gauge("process_resident_memory_bytes"), "{{instance}}"), width=8),
        series("File descriptors", "short", "Open file descriptors, and the most there may be.",
               (gauge("process_open_fds"), "{{instance}} open"),
               (gauge("process_max_fds"), "{{instance}} limit"), width=8),
    ]),
    "feed-and-kafka": ("tickcast feed and Kafka", [
        row("Feed"),
        series("Records received", "cps", "Records that the source delivered.",
               (rate("tickcast_records_received_total"), "{{instance}}")),
        events("Connections",
               "Connections to the feed that came about, and that failed or were lost.",
               (rise("tickcast_source_connects_total"), "{{instance}} connected"),
               (rise("tickcast_source_failures_total"), "{{instance}} failed")),
        series("Symbols not subscribed", "short",
               "Configured symbols that the venue has refused or not acknowledged; /v1/symbols "
               "lists them.",
               (gauge("tickcast_source_symbols_unsubscribed"), "{{instance}} {{reason}}")),
        events("Messages that fit no rule",
               "Messages of the feed that no rule of the venue makes anything of. The log has a "
               "sample of the 1st, 10th, 100th of each kind.",
               (rise("tickcast_source_unmatched_total"), "{{instance}} {{kind}}")),
        REFUSED,
        LOST,
        row("History and back-fill"),
        series("Symbols by their history", "short",
               "Symbols whose history was asked for: asked: it has not come yet. warm: the window is "
               "full. cold: history did not fill it, and live ticks have to.",
               (gauge("tickcast_history_symbols"), "{{instance}} {{state}}"), stack=True),
        series("Ticks that wait for history", "short",
               "Live ticks of symbols whose history was asked for and has not come yet.",
               (gauge("tickcast_history_ticks_waiting"), "{{instance}}")),
        events("Missing steps",
               "Questions for steps that an outage took, and the steps that came in time and are in "
               "their windows.",
               (rise("tickcast_backfill_asked_total"), "{{instance}} asked"),
               (rise("tickcast_backfill_filled_steps_total"), "{{instance}} {{model}} filled")),
        events("Questions without an answer",
               "Questions for history that were given up, by reason, and ticks that were dropped "
               "because too many waited.",
               (rise("tickcast_history_given_up_total"), "{{instance}} {{reason}}"),
               (rise("tickcast_history_ticks_dropped_total"), "{{instance}} dropped ticks")),
        series("Time to warm a symbol", "s", "From the question for its window until it is full.",
               *quantiles("tickcast_history_warm_seconds")),
        series("Time to fill missing steps", "s",
               "From the question for missing steps until they are in the window; ticks of the "
               "symbol wait meanwhile.",
               *quantiles("tickcast_backfill_seconds")),
        row("States kept on disk"),
        series("Age of the newest snapshot", "s",
               "What a crash would cost now. Nothing where no folder is given, or the source is "
               "Kafka, which keeps states in a topic.",
               (f"(time() - {gauge('tickcast_snapshot_timestamp_seconds')}) and "
                f"{gauge('tickcast_snapshot_timestamp_seconds')} > 0", "{{instance}}")),
        events("Snapshots", "Snapshots that were written, and that could not be.",
               (rise("tickcast_snapshots_total"), "{{instance}} written"),
               (rise("tickcast_snapshots_failed_total"), "{{instance}} failed")),
        series("Time of a snapshot", "s", "From a line in the stream to its snapshot on the disk.",
               *quantiles("tickcast_snapshot_seconds")),
        series("Size of a snapshot", "bytes", "The newest snapshot; grows with the symbols.",
               (gauge("tickcast_snapshot_bytes"), "{{instance}}")),
        row("Kafka: input"),
        number("Behind", "s",
               "How long the records that wait in the topics take at the present pace.",
               (gauge("instance:tickcast_kafka_lag:seconds"), "{{instance}}"), steps=BEHIND),
        number("Partitions", "short", "Partitions that the instance reads.",
               (gauge("tickcast_kafka_partitions"), "{{instance}}"), steps=GOOD),
        series("Lag", "short", "Records of the input that the instance has still to read.",
               (gauge("tickcast_kafka_lag_records"), "{{instance}}"), width=16),
        events("Rebalances and failed sessions",
               "Assignments and revocations of partitions, sessions that ended by a failure, and "
               "partitions that came back with their states still in memory.",
               (rise("tickcast_kafka_rebalances_total"), "{{instance}} rebalances"),
               (rise("tickcast_kafka_sessions_failed_total"), "{{instance}} failed sessions"),
               (rise("tickcast_kafka_partitions_kept_total"), "{{instance}} kept partitions")),
        events("Pauses", "Times that partitions were paused because a queue was full.",
               (rise("tickcast_kafka_pauses_total"), "{{instance}}")),
        row("Kafka: output and state"),
        series("Acknowledged", "cps",
               "Records that the broker acknowledged, of all output topics, and those that it did "
               "not take.",
               (rate("tickcast_kafka_produced_total"), "{{instance}} acknowledged"),
               (rate("tickcast_kafka_produce_failed_total"), "{{instance}} not taken")),
        series("Waiting for the cluster", "percentunit",
               "Share of a second that shards waited for room in the producer's queue; 1 is one "
               "shard that does nothing else.",
               (rate("tickcast_kafka_backpressure_seconds_total"), "{{instance}}")),
        series("Commits", "cps",
               "Commits in a second: forecasts acknowledged, states stored, offsets committed.",
               (rate("tickcast_kafka_commits_total"), "{{instance}}")),
        series("Time of a commit", "s", "From its beginning to its commit.",
               *quantiles("tickcast_kafka_commit_seconds")),
        series("Time of a restore", "s", "To restore the states of newly assigned partitions.",
               *quantiles("tickcast_kafka_restore_seconds")),
        series("States", "short",
               "Symbols whose state came back, that began cold, and partitions whose offset was "
               "gone, since the process began.",
               (gauge("tickcast_kafka_symbols_restored_total"), "{{instance}} restored"),
               (gauge("tickcast_kafka_symbols_cold_total"), "{{instance}} cold"),
               (gauge("tickcast_kafka_offsets_lost_total"), "{{instance}} lost offsets, {{reason}}"),
               (gauge("tickcast_kafka_changelogs_lost_total"), "{{instance}} lost changelogs")),
        events("Dead letters", "Refused records handed to the dead-letter topic.",
               (rise("tickcast_kafka_dead_letters_total"), "{{instance}}")),
    ]),
    "latency": ("tickcast inference latency", [
        heat("End to end", "s",
             "From the arrival of a batch's oldest record until its forecasts were handed on.",
             (f"sum by (le) (increase(tickcast_end_to_end_seconds_bucket{{{FILTER}}}"
              "[$__rate_interval]))", "{{le}}")),
        row("Stages, in the order of the data"),
        stage("Receive", "tickcast_receive_seconds",
              "How long the oldest record of a batch waited in the queue."),
        stage("Decode", "tickcast_decode_seconds", "To decode the first record of a batch."),
        stage("Step", "tickcast_step_seconds",
              "From the first tick of a batch to its step, features and window."),
        stage("Infer", "tickcast_infer_seconds",
              "From a batch of rows to its forecasts: the critical path of inference."),
        stage("Publish", "tickcast_publish_seconds",
              "To encode a batch and hand it to every way out."),
        stage("Advance", "tickcast_advance_seconds",
              "To move the states behind published forecasts on, off the critical path."),
        row("Where the time goes"),
        series("Time in each stage", "percentunit",
               "Share of a second that the shards spend in inference, in publishing and in moving "
               "states on; 1 is one processor.",
               (rate("tickcast_infer_seconds_sum"), "{{instance}} infer"),
               (rate("tickcast_publish_seconds_sum"), "{{instance}} publish"),
               (rate("tickcast_advance_seconds_sum"), "{{instance}} advance"), stack=True),
        series("Forecasts in a run", "short",
               "Forecasts of one run of the model, on average: more under load.",
               (f"sum without (model) ({live(rate('tickcast_forecasts_total'))}) "
                f"/ ({rate('tickcast_infer_seconds_count')} > 0)",
                "{{instance}}")),
        QUEUE,
        series("Batches", "cps", "Runs of the model in a second.",
               (rate("tickcast_infer_seconds_count"), "{{instance}}")),
    ]),
    "quality": ("tickcast forecast quality", [
        number("Skill", "none",
               "1 - squared error / squared error of the baseline, over the last scores: 0 is "
               "no better, 1 is perfect.",
               (gauge("tickcast_score_skill", 'over="recent"'), "{{instance}} {{model}}"),
               width=8, steps=[(None, "red"), (0, "green")]),
        number("Coverage", "percentunit", "Share of the last intervals that held their truth.",
               (gauge("tickcast_score_coverage_ratio", 'over="recent"'), "{{instance}} {{model}}"),
               width=8),
        number("Drifting symbols", "short", "Symbols whose errors are larger than they were.",
               (gauge("tickcast_score_drifting_symbols"), "{{instance}} {{model}}"), width=8, steps=BAD),
        row("The verdict"),
        series("Verdict", "none",
               "Whether the model is better (1) or worse (-1) than its baseline over all symbols, 0 "
               "while it is undecided. Nothing while it is too early. Of models that are as good as "
               "their baseline, at most 5 in 100 are ever called either, under the conditions in "
               "docs/scores.md. A shadow is compared with the live model of its seat as well.",
               (gauge("tickcast_verdict"), "{{instance}} {{model}} against {{against}}"),
               signed=True),
        series("Symbols by verdict", "short",
               "How many symbols have which verdict of their own.",
               (gauge("tickcast_verdict_symbols"),
                "{{instance}} {{model}} against {{against}} {{word}}")),
        series("Verdict of a symbol", "none",
               "As the verdict, of each symbol that metrics.symbols lists, and of all others as "
               "`other`.",
               (gauge("tickcast_verdict_symbol", 'symbol=~"$symbol"'),
                "{{instance}} {{model}} against {{against}} {{symbol}}"), signed=True),
        series("Verdict since", "dateTimeAsIso",
               "Event time since which a symbol has had the word that the verdict is.",
               (f"{gauge('tickcast_verdict_since_timestamp_seconds')} * 1000",
                "{{instance}} {{model}} against {{against}}")),
        row("Blends"),
        series("Weights of a blend", "percentunit",
               "What each expert weighs in the newest forecasts of a blend, on average over its "
               "symbols. An expert is a model, the same recalibrated, or a baseline.",
               (gauge("tickcast_blend_weight"), "{{instance}} {{model}} {{expert}}"), stack=True),
        row("Against the baseline"),
        series("Skill", "none",
               "1 - squared error / squared error of the baseline. Below 0 the model is worse "
               "than the baseline. `weighted` weighs older scores less, `recent` is "
               "over the last ones.",
               (gauge("tickcast_score_skill"), "{{instance}} {{model}} {{over}}"), signed=True),
        series("Mean absolute error", "none",
               "In the target's unit, of the model and of the baseline, over the last scores.",
               (gauge("tickcast_score_mean_absolute_error", 'over="recent"'),
                "{{instance}} {{model}} {{of}}")),
        series("Direction", "percentunit",
               "Share of forecasts that told the direction, among those whose truth had one.",
               (gauge("tickcast_score_direction_hit_ratio", 'over="recent"'),
                "{{instance}} {{model}}")),
        series("Coverage", "percentunit",
               "Share of intervals that held their truth, and the share that they are made to hold.",
               (gauge("tickcast_score_coverage_ratio", 'over="recent"'),
                "{{instance}} {{model}} held"),
               (gauge("tickcast_score_coverage_target_ratio"), "{{instance}} {{model}} wanted")),
        series("Signals that were right", "percentunit",
               "Share of signals whose truth went their way, with its 95 % interval, and that of as many "
               "signals that know nothing. An interval that holds the latter is no evidence.",
               (gauge("tickcast_signal_hit_ratio"), "{{instance}} {{model}} {{bound}}"),
               (gauge("tickcast_signal_hit_chance_ratio"), "{{instance}} {{model}} by chance")),
        series("Precision of signals", "percentunit",
               "Share of the given signals whose truth was beyond the threshold, and the share of all "
               "truths that were.",
               (gauge("tickcast_signal_precision_ratio", 'bound="value"'),
                "{{instance}} {{model}} {{signal}}"),
               (gauge("tickcast_signal_base_ratio"), "{{instance}} {{model}} {{signal}} base rate")),
        series("Skill of a symbol", "none",
               "As above, of each symbol that metrics.symbols lists, and of all others as `other`.",
               (gauge("tickcast_score_symbol_skill", 'symbol=~"$symbol"'),
                "{{instance}} {{symbol}}"), signed=True),
        series("Mean absolute error of a symbol", "none",
               "Likewise, of the model and of the baseline.",
               (gauge("tickcast_score_symbol_mean_absolute_error", 'symbol=~"$symbol"'),
                "{{instance}} {{symbol}} {{of}}")),
        series("Scores", "cps",
               "Forecasts whose truth has come, in a second, and those that are never scored.",
               (f"sum without (evidence) ({rate('tickcast_scores_total')})",
                "{{instance}} {{model}} scored"),
               (f"sum without (reason) ({rate('tickcast_scores_unscored_total')})",
                "{{instance}} {{model}} never scored")),
        events("Drift", "Times that the errors of a symbol became larger than they were.",
               (rise("tickcast_score_drifts_total"), "{{instance}} {{model}}")),
        row("Inputs"),
        series("Distance from the training", "none",
               "Population stability index of each feature, the mean over symbols: how far the newest "
               "inputs are from those that the model was trained on.",
               (gauge("tickcast_shift_psi"), "{{instance}} {{model}} {{feature}}")),
        series("Share of the limit", "percentunit",
               "The same, as a share of the index beyond which a symbol counts as shifted.",
               (f"{gauge('tickcast_shift_psi')} / {gauge('tickcast_shift_limit_psi')}",
                "{{instance}} {{model}} {{feature}}")),
        series("Symbols beyond a limit", "short",
               "Symbols whose inputs are shifted, by the feature at fault.",
               (gauge("tickcast_shift_feature_symbols"), "{{instance}} {{model}} {{feature}}"),
               (gauge("tickcast_shift_symbols"), "{{instance}} {{model}} any")),
        events("Shifts", "Times that the inputs of a symbol left the distribution of the training.",
               (rise("tickcast_shifts_total"), "{{instance}} {{model}}")),
        row("How many steps get a forecast"),
        series("Steps with a forecast", "percentunit",
               "Share of the steps that a forecast was published for. Windows that are not yet "
               "full, withheld forecasts, and steps of history are what is missing to 1.",
               (f"{rate('tickcast_forecasts_total')} / ({rate('tickcast_steps_total')} > 0)",
                "{{instance}} {{model}}")),
        series("Warming", "cps", "Steps without a forecast, because a window was not yet full.",
               (rate("tickcast_steps_warming_total"), "{{instance}} {{model}}")),
        series("Withheld", "percentunit",
               "Share of the forecasts that were withheld: not finite, impossible, or of a bar "
               "that lacks a field.",
               (gauge("instance:tickcast_forecasts_withheld:ratio_rate5m"), "{{instance}}")),
        events("Withheld, by reason",
               "impossible: the model leaves its range. lost_step: a bar lacks a field. patched, "
               "gapped: what engine.withhold asks for. shifted: what forecast.when_shifted asks for. "
               "history: about steps before the stream.",
               (rise("tickcast_forecasts_withheld_total"), "{{instance}} {{model}} {{reason}}")),
        series("Symbols", "short", "Symbols with state.",
               (gauge("tickcast_symbols"), "{{instance}} {{model}}")),
        events("Windows that began anew",
               "Windows that began cold, because a step lay too far behind the one before, or the "
               "feed had gone on too far after a restart.",
               (rise("tickcast_windows_reset_total"), "{{instance}} {{model}} gap"),
               (rise("tickcast_windows_stale_total"), "{{instance}} {{model}} restart")),
        series("Market", "bool", "1 while the calendar of the model expects a step today.",
               (gauge("tickcast_market_open"), "{{instance}}")),
        series("Symbols by health", "short",
               "live: ticks come as usual. quiet: none for longer than usual. stale: none for so long "
               "that the newest one says little about now. dead: its feed is gone. awaited: "
               "configured, and never had a tick. restored: after a restart, before the feed is "
               "there.",
               (gauge("tickcast_symbols_by_health"), "{{instance}} {{health}}"), stack=True),
        events("Changes of health", "Changes of a symbol's health, by what it became.",
               (rise("tickcast_symbol_health_changes_total"), "{{instance}} {{health}}")),
        row("What they say"),
        series("Signals", "cps", "Forecasts in a second, by signal.",
               (rate("tickcast_forecast_signals_total"), "{{instance}} {{model}} {{signal}}"), stack=True),
        series("Outside of what training has seen", "percentunit",
               "Share of the forecasts whose window holds an input outside of the training range.",
               (gauge("instance:tickcast_forecasts_out_of_range:ratio_rate5m"), "{{instance}}")),
        row("How whole the windows are"),
        series("Qualities", "cps",
               "Forecasts in a second, by how whole their window is: full, patched where empty "
               "intervals were filled by rule, gapped where data is known to be missing.",
               (rate("tickcast_forecast_qualities_total"), "{{instance}} {{model}} {{quality}}"),
               stack=True),
        series("Patched steps", "cps",
               "Steps that were made by rule, because nothing came in their interval.",
               (rate("tickcast_steps_patched_total"), "{{instance}} {{model}}")),
        series("Gapped", "percentunit",
               "Share of the forecasts whose window holds a place at which data is missing.",
               (gauge("instance:tickcast_forecasts_gapped:ratio_rate5m"), "{{instance}}")),
        LOST,
        REFUSED,
    ]),
}


def places(panels):
    """Gives each panel its place: from left to right, a new line where there is no room."""
    x = y = line_height = 0
    for panel in panels:
        is_row = panel["kind"] == "row"
        width, height = (COLUMNS, 1) if is_row else (panel["width"], panel["height"])
        if x + width > COLUMNS:
            x, y, line_height = 0, y + line_height, 0
        yield panel, {"x": x, "y": y, "w": width, "h": height}
        x, line_height = x + width, max(line_height, height)


def targets(panel):
    for index, (expression, legend) in enumerate(panel["queries"]):
        target = {
            "datasource": SOURCE,
            "expr": expression,
            "legendFormat": legend,
            "refId": chr(ord("A") + index),
        }
        if panel["kind"] == "heatmap":
            target["format"] = "heatmap"
        if panel["kind"] == "stat":
            target["instant"] = True
        yield target


def options(panel):
    return {
        "timeseries": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "stat": {
            "colorMode": "value" if "steps" in panel else "none",
            "graphMode": "none",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "textMode": "name" if panel.get("name") else "value_and_name",
        },
        "heatmap": {
            "calculate": False,
            "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64},
            "legend": {"show": True},
            "tooltip": {"mode": "single", "yHistogram": False},
            "yAxis": {"unit": panel["unit"]},
        },
    }[panel["kind"]]


def field(panel):
    steps = panel.get("steps", [(None, "green")])
    defaults = {
        "unit": panel["unit"],
        "thresholds": {
            "mode": "absolute",
            "steps": [{"color": color, "value": value} for value, color in steps],
        },
    }
    if panel["kind"] == "timeseries":
        if not panel.get("signed"):
            defaults["min"] = 0
        defaults["custom"] = {
            "fillOpacity": 10,
            "lineWidth": 1,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.get("stack") else "none"},
        }
        if panel.get("bars"):
            defaults["custom"] |= {"drawStyle": "bars", "fillOpacity": 60}
            defaults["decimals"] = 0
    return {"defaults": defaults, "overrides": []}


def variables(name):
    def query(name, label, text):
        return {
            "name": name,
            "label": label,
            "type": "query",
            "datasource": SOURCE,
            "query": {"query": text, "refId": name},
            "definition": text,
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": ["All"], "value": ["$__all"]},
        }

    yield {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "current": {},
    }
    yield query("job", "Job", "label_values(tickcast_ready, job)")
    yield query("instance", "Instance", 'label_values(tickcast_ready{job=~"$job"}, instance)')
    if name == "quality":
        yield query("symbol", "Symbol",
                    f"label_values(tickcast_score_symbol_skill{{{FILTER}}}, symbol)")


def annotations():
    """What happened to an instance, as lines through every graph."""
    def marks(name, color, expression, text, more):
        return {
            "name": name,
            "datasource": SOURCE,
            "enable": True,
            "iconColor": color,
            "expr": expression,
            "step": "1m",
            "titleFormat": name,
            "textFormat": text,
            "tagKeys": "instance",
            **more,
        }

    # The value is when the process began, so the mark is there and not at the next scrape.
    yield marks("Restart", "orange", f"{gauge('process_start_time_seconds')} * 1000",
                "{{instance}}", {"useValueForTime": "on"})
    yield marks("Reload", "blue", f"increase({gauge('tickcast_reloads_total')}[1m]) > 0",
                "{{instance}} {{model}} {{outcome}}", {})
    yield marks("Promotion", "purple", f"increase({gauge('tickcast_promotions_total')}[1m]) > 0",
                "{{instance}} {{model}} by {{by}}", {})


def dashboard(name, title, panels):
    made = []
    for identity, (panel, place) in enumerate(places(panels), start=1):
        common = {"id": identity, "type": panel["kind"], "title": panel["title"], "gridPos": place}
        if panel["kind"] == "row":
            made.append(common | {"collapsed": False, "panels": []})
            continue
        made.append(common | {
            "description": panel["tells"],
            "datasource": SOURCE,
            "targets": list(targets(panel)),
            "fieldConfig": field(panel),
            "options": options(panel),
        })
    return {
        "uid": f"tickcast-{name}",
        "title": title,
        "tags": ["tickcast"],
        "timezone": "browser",
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "links": [{
            "type": "dashboards", "title": "tickcast", "tags": ["tickcast"], "asDropdown": True,
            "includeVars": True, "keepTime": True,
        }],
        "annotations": {"list": list(annotations())},
        "templating": {"list": list(variables(name))},
        "panels": made,
    }


def main():
    differ = []
    for name, (title, panels) in DASHBOARDS.items():
        text = json.dumps(dashboard(name, title, panels), indent=2) + "\n"
        file = FOLDER / f"{name}.json"
        if sys.argv[1:] == ["--check"]:
            if not file.exists() or file.read_text() != text:
                differ.append(str(file))
        else:
            file.write_text(text)
    if differ:
        sys.exit(f"not what dashboards.py writes: {', '.join(differ)}")


if __name__ == "__main__":
    main()
