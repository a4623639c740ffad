//! Every bench at a size that takes a moment: which rows come, and that the figures of a row agree.

use serde_json::Value;

use crate::support::bundle::sealed;
use crate::support::process::run;

/// The rows of `tickcast bench ... --json`, the header checked and left out.
fn rows(arguments: &[&str]) -> Vec<Value> {
    let arguments = [&["bench"], arguments, &["--json"]].concat();
    let output = run(&arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut rows: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let header = rows.remove(0);
    assert_eq!(header["bench"], "header");
    assert!(header["cores"].as_u64().unwrap() > 0);
    let sgemm_gflops = number(&header, "sgemm_gflops");
    assert!(sgemm_gflops > 0.0, "{header}");
    for part in ["cpu_model", "onnxruntime_build", "tickcast_version"] {
        assert!(!header[part].as_str().unwrap().is_empty(), "{part}");
    }
    for row in &rows {
        assert_row(row, sgemm_gflops);
        for (name, value) in row.as_object().unwrap() {
            // JSON has no NaN or infinity: such a number would be null.
            let may_be_none = name == "advance";
            assert!(!value.is_null() || may_be_none, "{name} is no number in {row}");
        }
    }
    rows
}

/// A row has exactly the fields of its kind, and those that follow from others do.
fn assert_row(row: &Value, sgemm_gflops: f64) {
    let fields = match row["bench"].as_str().unwrap() {
        "inference" => {
            assert_latency(row, sgemm_gflops);
            "advance batch bench bound forecasts_per_second instances mode model multiply_adds \
             null ours pause_us ratio raw runtime sgemm_share steps"
        }
        "throughput" => {
            assert_rates(row, "forecasts", sgemm_gflops);
            "bench bound mode model ours_forecasts_per_second ratio raw_batch \
             raw_forecasts_per_second raw_steps runtime sgemm_share steps_per_forecast symbols"
        }
        "pipeline" => {
            assert_rates(row, "records", sgemm_gflops);
            "bench bound decode_records_per_second encode_records_per_second mode model \
             null_records_per_second ours_records_per_second ratio raw_records_per_second \
             records runtime sgemm_share symbols"
        }
        "burst" => {
            assert_burst(row);
            "bench bursts_per_second first forecasts_per_second last mode model symbols"
        }
        "memory" => {
            "bench mode model resident_bytes_per_symbol state_bytes_per_symbol symbols \
             window_bytes_per_symbol"
        }
        "several" => {
            let models = number(row, "live") + number(row, "shadows");
            let records = number(row, "records_per_second");
            assert_same(number(row, "forecasts_per_second"), models * records, row);
            "bench forecasts_per_second live mode model ratio records_per_second \
             resident_bytes_per_model resident_bytes_per_symbol shadows symbols"
        }
        "mark" => "bench mark met side unit value what",
        other => panic!("a row of `{other}`"),
    };
    let mut names: Vec<_> = row.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names.join(" "), fields);
}

fn number(row: &Value, name: &str) -> f64 {
    row[name].as_f64().unwrap_or_else(|| panic!("{name} is no number in {row}"))
}

/// Two ways to the same positive figure; only the last bits may differ.
fn assert_same(have: f64, want: f64, row: &Value) {
    assert!(have > 0.0 && (have / want - 1.0).abs() < 1e-9, "{have} is not {want} in {row}");
}

/// Quantiles in order, of at least so many runs.
fn assert_quantiles(times: &Value, runs_min: u64) {
    let names = ["p50_us", "p99_us", "p999_us", "max_us"];
    let figures = names.map(|name| number(times, name));
    assert!(figures[0] > 0.0 && figures.is_sorted(), "{times}");
    let runs = times["runs"].as_u64().unwrap();
    assert!(runs >= runs_min, "{times}");
    // Of so few runs these quantiles are the slowest one.
    assert!(runs >= 100 || figures[1] == figures[3], "{times}");
    assert!(runs >= 1000 || figures[2] == figures[3], "{times}");
}

fn assert_latency(row: &Value, sgemm_gflops: f64) {
    let instances = row["instances"].as_u64().unwrap();
    ["raw", "ours", "null"].iter().for_each(|side| assert_quantiles(&row[side], instances));
    let [ours, raw] = ["ours", "raw"].map(|side| number(&row[side], "p50_us"));
    assert_same(number(row, "ratio"), ours / raw, row);
    // A multiplication with an addition is two operations.
    let share = 2.0 * number(row, "multiply_adds") / (1e3 * ours) / sgemm_gflops;
    assert_same(number(row, "sgemm_share"), share, row);
    // The rate is by the median of the whole of a run, of which `ours` is a part.
    let forecasts = number(row, "batch") * instances as f64;
    let whole = 1e6 * forecasts / number(row, "forecasts_per_second");
    assert!(whole >= ours * (1.0 - 1e-9), "{row}");
    if row["mode"] == "sliding" {
        let advance = &row["advance"];
        assert_quantiles(advance, instances);
        assert_eq!(advance["runs"], row["ours"]["runs"], "{row}");
        let slowest = number(&row["ours"], "max_us") + number(advance, "max_us");
        assert!(whole <= slowest * (1.0 + 1e-9), "{row}");
    } else {
        assert!(row["advance"].is_null(), "{row}");
    }
}

/// `ratio` and `sgemm_share` are those of the two rates that the row shows.
fn assert_rates(row: &Value, unit: &str, sgemm_gflops: f64) {
    let [ours, raw] = ["ours", "raw"].map(|side| number(row, &format!("{side}_{unit}_per_second")));
    assert_same(number(row, "ratio"), ours / raw, row);
    if row["model"] == "seed" {
        let steps = if row["mode"] == "carried" { 1 } else { 30 };
        let operations = 2.0 * seed_work(steps) as f64 * ours;
        assert_same(number(row, "sgemm_share"), operations / (1e9 * sgemm_gflops), row);
    }
}

fn assert_burst(row: &Value) {
    let [first, last] = ["first", "last"].map(|side| &row[side]);
    assert_quantiles(first, 1);
    assert_quantiles(last, 1);
    assert_eq!(first["runs"], last["runs"], "{row}");
    for name in ["p50_us", "p99_us", "p999_us", "max_us"] {
        assert!(number(first, name) <= number(last, name), "{row}");
    }
    let bursts = number(row, "bursts_per_second");
    assert_same(number(row, "forecasts_per_second"), bursts * number(row, "symbols"), row);
    // At least half of the bursts take as long as the median, so the mean is at least half of it.
    assert!(1e6 / bursts >= number(last, "p50_us") / 2.0, "{row}");
}

/// Multiplications with an addition for a forecast of the seed model: each step has two layers,
/// 4 x 64 x (3 + 64) and 4 x 32 x (64 + 32); the head comes once.
fn seed_work(steps: u64) -> u64 {
    steps * 29_440 + 528
}

/// The text fields of each row, by name.
fn texts(rows: &[Value], names: &[&str]) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let row =
        |row: &Value| names.iter().map(|name| text(&row[*name])).collect::<Vec<_>>().join(" ");
    rows.iter().map(row).collect()
}

#[test]
fn inference_shows_raw_beside_ours_and_a_model_that_computes_nothing() {
    let arguments = ["inference", "--models", "seed", "--batches", "1,5", "--instances", "1,2"];
    let rows = rows(&[&arguments[..], &["--seconds", "0.01"]].concat());
    let mut expected = Vec::new();
    for mode in ["full", "sliding", "carried"] {
        for batch in [1, 5] {
            expected.extend([1, 2].map(|n| format!("inference seed {mode} {batch} {n}")));
        }
    }
    let (latency, throughput) = rows.split_at(expected.len());
    let names = ["bench", "model", "mode", "batch", "instances"];
    assert_eq!(texts(latency, &names), expected);
    for row in latency {
        let steps = if row["mode"] == "full" { 30 } else { 1 };
        assert_eq!(row["steps"], steps);
        assert_eq!(row["multiply_adds"], row["batch"].as_u64().unwrap() * seed_work(steps));
    }
    let expected = ["full", "sliding", "carried"].map(|mode| format!("throughput seed {mode} 5"));
    assert_eq!(texts(throughput, &["bench", "model", "mode", "symbols"]), expected);
    for row in throughput {
        // What the raw side may choose from: one step, or whole windows where there are any.
        let shape = ["raw_steps", "raw_batch"].map(|name| row[name].as_u64().unwrap());
        let carried = row["mode"] == "carried";
        let windows = [[1, 512], [30, 8], [30, 32], [30, 128]];
        assert!(shape == [1, 5] || (!carried && windows.contains(&shape)), "{row}");
        assert_eq!(row["steps_per_forecast"], if carried { 1 } else { 30 });
    }
}

#[test]
fn inference_measures_the_shapes_of_stac() {
    let models = "lstm-a,lstm-b";
    let arguments = ["inference", "--models", models, "--modes", "carried", "--batches", "1"];
    let rows = rows(&[&arguments[..], &["--seconds", "0.01"]].concat());
    let expected =
        ["inference lstm-a", "inference lstm-b", "throughput lstm-a", "throughput lstm-b"];
    assert_eq!(texts(&rows, &["bench", "model"]), expected);
    // 4 H (I + H) for each layer, and the head.
    let work = [2 * 400 * 200 + 100, 800 * 450 + 2 * 800 * 400 + 200];
    assert_eq!([0, 1].map(|row: usize| rows[row]["multiply_adds"].clone()), work);
}

#[test]
fn a_bundle_is_measured_in_the_modes_that_it_serves() {
    let bundle = sealed(5, 7, &[4]);
    let folder = bundle.folder.display().to_string();
    let arguments = ["inference", "--model", &folder, "--batches", "2", "--seconds", "0.01"];
    let rows = rows(&arguments);
    let expected = ["inference full", "inference sliding", "throughput full", "throughput sliding"];
    assert_eq!(texts(&rows, &["bench", "mode"]), expected);

    let output = run(&["bench", "inference", "--model", &folder, "--modes", "carried"]);
    assert_eq!(output.status.code(), Some(78));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("does not serve mode `carried`"), "{text}");
}

#[test]
fn the_pipeline_is_measured_from_json_to_json_with_its_memory() {
    let rows = rows(&["pipeline", "--symbols", "3,700", "--seconds", "0.01"]);
    let mut expected = Vec::new();
    for mode in ["full", "sliding", "carried"] {
        expected.extend([3, 700].map(|symbols| format!("pipeline seed {mode} {symbols}")));
    }
    expected.extend(["carried", "sliding"].map(|mode| format!("memory seed {mode} 700")));
    assert_eq!(texts(&rows, &["bench", "model", "mode", "symbols"]), expected);
    let (rates, memory) = rows.split_at(6);
    for row in rates {
        for side in ["ours", "raw", "null", "decode", "encode"] {
            assert!(row[format!("{side}_records_per_second")].as_f64().unwrap() > 0.0, "{row}");
        }
        // Whole blocks: 4096 records, and as many more as a round of all symbols needs.
        let block = if row["symbols"] == 3 { 4098 } else { 4200 };
        let records = row["records"].as_u64().unwrap();
        assert!(records > 0 && records.is_multiple_of(block), "{row}");
    }
    // h and c of 64 and 32 units in 4 bytes each, once or for each of 29 windows under way.
    let states = memory.iter().map(|row| row["state_bytes_per_symbol"].as_u64().unwrap());
    assert_eq!(states.collect::<Vec<_>>(), [768, 29 * 768]);
    let resident = memory[1]["resident_bytes_per_symbol"].as_f64().unwrap();
    assert!(resident > 29.0 * 768.0, "{resident} bytes hold less than the states alone");
}

#[test]
fn several_models_are_measured_beside_one_in_one_run() {
    let rows = rows(&["several", "--symbols", "40", "--seconds", "0.01"]);
    let names = ["bench", "model", "mode", "symbols", "live", "shadows"];
    let expected = ["1 0", "2 0", "3 0", "1 1"].map(|set| format!("several seed sliding 40 {set}"));
    assert_eq!(texts(&rows, &names), expected);
    for row in &rows {
        let of_one = number(&rows[0], "records_per_second");
        assert_same(number(row, "ratio"), number(row, "records_per_second") / of_one, row);
        let models = number(row, "live") + number(row, "shadows");
        // h and c of 64 and 32 units in 4 bytes each, for each of 29 windows under way. Pages that
        // were there already are no growth.
        let states = models * 29.0 * 768.0;
        let symbol = number(row, "resident_bytes_per_symbol");
        assert!(symbol > states / 2.0, "{symbol} bytes hold less than half of {states}");
    }
}

#[test]
fn bursts_tell_the_first_and_the_last_forecast() {
    // More symbols than the shard takes at once, so that the two differ.
    let rows = rows(&["burst", "--symbols", "2,1100", "--seconds", "0.01"]);
    let mut expected = Vec::new();
    for symbols in [2, 1100] {
        let modes = ["full", "sliding", "carried"];
        expected.extend(modes.map(|mode| format!("burst {mode} {symbols}")));
    }
    assert_eq!(texts(&rows, &["bench", "mode", "symbols"]), expected);
    for row in rows {
        if row["symbols"] == 1100 {
            assert!(number(&row["first"], "p50_us") < number(&row["last"], "p50_us"), "{row}");
        } else {
            assert_eq!(row["first"], row["last"], "one batch");
        }
    }
}

#[test]
fn the_tour_ends_with_the_marks() {
    let rows = rows(&["--seconds", "0.01"]);
    let (rows, marks) = rows.split_at(15);
    let expected = [
        "inference seed sliding",
        "inference seed full",
        "inference seed full",
        "inference seed carried",
        "inference lstm-a sliding",
        "throughput seed sliding",
        "throughput seed carried",
        "pipeline seed carried",
        "pipeline seed sliding",
        "pipeline seed full",
        "burst seed carried",
        "burst seed sliding",
        "burst seed full",
        "memory seed carried",
        "memory seed sliding",
    ];
    assert_eq!(texts(rows, &["bench", "model", "mode"]), expected);
    // Each mark judges a figure that was shown above.
    let measured = [
        &rows[0]["ratio"],
        &rows[1]["ratio"],
        &rows[2]["ratio"],
        &rows[4]["ours"]["p99_us"],
        &rows[5]["ratio"],
        &rows[6]["ratio"],
        &rows[7]["ours_records_per_second"],
        &rows[13]["resident_bytes_per_symbol"],
        &rows[14]["resident_bytes_per_symbol"],
    ];
    assert_eq!(marks.iter().map(|row| &row["value"]).collect::<Vec<_>>(), measured);
    for row in marks {
        assert_eq!(row["bench"], "mark");
        let [value, mark] = ["value", "mark"].map(|name| number(row, name));
        let met = if row["side"] == "at most" { value <= mark } else { value >= mark };
        assert_eq!(row["met"], met, "{row}");
    }
}

#[test]
fn a_wrong_count_is_a_wrong_command_line() {
    for arguments in [
        &["bench", "burst", "--symbols", "0"][..],
        &["bench", "inference", "--models", "gpt"],
        &["bench", "--seconds", "-1"],
        &["bench", "--json", "--markdown"],
    ] {
        assert_eq!(run(arguments).status.code(), Some(64), "{arguments:?}");
    }
}
