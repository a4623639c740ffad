//! Every bench at a size that takes a moment: rows come, and figures are figures.

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
    assert!(header["sgemm_gflops"].as_f64().unwrap() > 0.0, "{header}");
    for part in ["cpu_model", "onnxruntime_build", "tickcast_version"] {
        assert!(!header[part].as_str().unwrap().is_empty(), "{part}");
    }
    for row in &rows {
        for (name, value) in row.as_object().unwrap() {
            // JSON has no NaN or infinity: such a number would be null.
            let may_be_none = name == "advance";
            assert!(!value.is_null() || may_be_none, "{name} is no number in {row}");
        }
    }
    rows
}

/// The text fields of each row, by name.
fn texts(rows: &[Value], names: &[&str]) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let row =
        |row: &Value| names.iter().map(|name| text(&row[*name])).collect::<Vec<_>>().join(" ");
    rows.iter().map(row).collect()
}

fn assert_ordered(times: &Value) {
    let names = ["p50_us", "p99_us", "p999_us", "max_us"];
    let times = names.map(|name| times[name].as_f64().unwrap());
    assert!(times[0] > 0.0 && times.is_sorted(), "{times:?}");
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
        for side in ["raw", "ours", "null"] {
            assert_ordered(&row[side]);
        }
        assert_eq!(row["advance"].is_object(), row["mode"] == "sliding");
        assert!(row["ratio"].as_f64().unwrap() > 0.0);
        // 30 steps of the seed model, or one: 4 x 64 x (3 + 64) + 4 x 32 x (64 + 32), and the head.
        let steps = if row["mode"] == "full" { 30 } else { 1 };
        assert_eq!(row["steps"], steps);
        let work = row["batch"].as_u64().unwrap() * (steps * 29_440 + 528);
        assert_eq!(row["multiply_adds"], work);
    }
    let expected = ["full", "sliding", "carried"].map(|mode| format!("throughput seed {mode} 5"));
    assert_eq!(texts(throughput, &["bench", "model", "mode", "symbols"]), expected);
    for row in throughput {
        assert!(row["ratio"].as_f64().unwrap() > 0.0);
        assert!(row["raw_batch"].as_u64().unwrap() > 0);
    }
}

#[test]
fn inference_measures_the_shapes_of_stac() {
    let models = "lstm-a,lstm-b";
    let arguments = ["inference", "--models", models, "--modes", "carried", "--batches", "1"];
    let rows = rows(&[&arguments[..], &["--seconds", "0.01"]].concat());
    let models = texts(&rows, &["bench", "model"]);
    let expected = ["inference lstm-a", "inference lstm-b", "throughput lstm-a"];
    assert_eq!(models[..3], expected);
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
        assert!(row["records"].as_u64().unwrap() >= 4096);
    }
    // h and c of 64 and 32 units in 4 bytes each, once or for each of 29 windows under way.
    let states = memory.iter().map(|row| row["state_bytes_per_symbol"].as_u64().unwrap());
    assert_eq!(states.collect::<Vec<_>>(), [768, 29 * 768]);
    let resident = memory[1]["resident_bytes_per_symbol"].as_f64().unwrap();
    assert!(resident > 29.0 * 768.0, "{resident} bytes hold less than the states alone");
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
        assert_ordered(&row["first"]);
        assert_ordered(&row["last"]);
        let [first, last] = ["first", "last"].map(|side| row[side]["p50_us"].as_f64().unwrap());
        assert_eq!(first < last, row["symbols"] == 1100, "{row}");
        assert!(row["bursts_per_second"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn the_tour_ends_with_the_marks() {
    let rows = rows(&["--seconds", "0.01"]);
    for bench in ["inference", "throughput", "pipeline", "burst", "memory"] {
        assert!(rows.iter().any(|row| row["bench"] == bench), "no row of {bench}");
    }
    let marks = rows.iter().skip_while(|row| row["bench"] != "mark");
    let marks: Vec<&Value> = marks.collect();
    assert_eq!(marks.len(), 9);
    for row in marks {
        let [value, mark] = ["value", "mark"].map(|name| row[name].as_f64().unwrap());
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
