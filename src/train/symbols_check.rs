//! Symbols from a history to the table of a bundle.

use super::config::{self, TrainConfig};
use super::dataset::Dataset;
use super::fit::predict;
use super::history::{History, Series};
use super::network::Network;
use super::symbols::{SymbolsError, table};
use super::windows::Windows;
use crate::core::domain::{Field, Fields, Step, UnixNanos};
use crate::seal::statics::Statics;

/// Days of the longest series: of its rows, 64 of 100 are for training.
const DAYS: usize = 400;

/// A series of daily closes from a day on.
fn series(symbol: &str, days: std::ops::Range<usize>, close: impl Fn(f64) -> f64) -> Series {
    let step = |day: usize| {
        let mut fields = Fields::EMPTY;
        fields.set_checked(Field::CLOSE, close(day as f64)).unwrap();
        fields.set_checked(Field::VOLUME, 1000.0 + (day % 7) as f64).unwrap();
        let time = UnixNanos::from_nanos(day as i64 * 86_400_000_000_000);
        Step { time, fields, after_gap: false, patched: false }
    };
    Series { symbol: symbol.to_owned(), steps: days.map(step).collect() }
}

/// Three symbols; `LATE` has no row in the training part. The pieces of `B` are one symbol.
fn history() -> History {
    let wavy = |phase: f64| move |day: f64| 100.0 + day * 0.1 + (day * 0.9 + phase).sin();
    let series = vec![
        series("B", 0..150, wavy(1.0)),
        series("B", 160..DAYS, wavy(1.0)),
        series("A", 0..DAYS, wavy(0.0)),
        series("LATE", DAYS - 60..DAYS, wavy(2.0)),
    ];
    History { series, data_sha256: String::new() }
}

fn config(text: &str) -> TrainConfig {
    let network = "lstm = [{ units = 3 }]\ndense = [{ units = 1, activation = 'tanh' }]\n";
    let text = text.replace("[network]\n", &format!("[network]\n{network}"));
    config::read(&format!("[model]\nname = 'm'\n[data]\npath = 'x.csv'\n{text}")).unwrap()
}

/// With static numbers of these symbols.
fn with_statics(mut config: TrainConfig, text: &str) -> TrainConfig {
    let statics = Statics::read(text).unwrap();
    config.architecture.inputs += statics.names.len();
    config.statics = Some(statics);
    config
}

const STATICS: &str = "symbol,size,beta\nA,1,5\nB,3,7\nLATE,2,6\nNEVER,5,6\n";

#[test]
fn the_table_has_the_columns_that_the_network_read() {
    for state in ["window", "carried"] {
        let text = format!(
            "[window]\nsteps = 4\nfeatures = ['close', 'volume']\n\
             [network]\nembedding = 2\nstate = '{state}'\n"
        );
        let config = with_statics(config(&text), STATICS);
        let history = history();
        let dataset = Dataset::new(&history, &config).unwrap();
        let symbols = dataset.symbols.clone().unwrap();
        assert_eq!(symbols.trained(), ["A", "B"]);
        let rows: Vec<_> = (0..5).map(|series| symbols.row(series)).collect();
        assert_eq!(rows, [Some(1), Some(1), Some(0), None, None]);
        let network = dataset.network(&config).unwrap();
        assert_eq!(network.embedding().unwrap().shape, [2, 2]);
        let parameters = network.initial_parameters(7);
        let fitted = (&network, &parameters[..]);
        let table = table(&config, &symbols, &dataset.symbol_scalers, fitted).unwrap();
        assert_eq!(table.problems(), Vec::<String>::new());
        assert_eq!(table.symbols.keys().collect::<Vec<_>>(), ["A", "B", "LATE", "NEVER"]);
        let learned: Vec<f32> = network.embedding().unwrap().of(&parameters).to_vec();
        let mean = |at: usize| f32::midpoint(learned[at], learned[2 + at]);
        assert_eq!(table.symbols["A"], [&[-1.0, -1.0], &learned[..2]].concat());
        assert_eq!(table.symbols["B"], [&[1.0, 1.0], &learned[2..]].concat());
        assert_eq!(table.symbols["LATE"], [0.0, 0.0, mean(0), mean(1)]);
        assert_eq!(table.symbols["NEVER"], [3.0, 0.0, mean(0), mean(1)]);
        assert_eq!(table.unknown, [0.0, 0.0, mean(0), mean(1)]);

        // The network on rows with these columns, which knows nothing of symbols.
        let plain = Network::new(config.architecture.clone()).unwrap();
        assert_eq!(plain.parameter_count() + 4, network.parameter_count());
        let part = &dataset.test;
        let values = dataset.predict(&network, &parameters, part, 2);
        assert!(part.examples.iter().any(|example| example.series == 3), "LATE is tested");
        if state == "carried" {
            continue;
        }
        let mut windows = Windows::new(4, 6, 1);
        for (at, example) in part.examples.iter().enumerate() {
            let columns = &table.symbols[&history.series[example.series].symbol];
            let window = part.windows.window(at);
            let rows = window.chunks_exact(2);
            let rows: Vec<f32> = rows.flat_map(|row| [row, columns].concat()).collect();
            let first = windows.push_rows(&rows);
            windows.push_window(first, &[0.0]);
        }
        let parameters = &parameters[..plain.parameter_count()];
        assert_eq!(predict(&plain, parameters, &windows), values);
    }
}

#[test]
fn a_symbol_of_the_history_without_static_numbers_is_named() {
    let config = config("[window]\nsteps = 4\nfeatures = ['close']\n[network]\n");
    for (text, symbol) in [("symbol,a\nA,1\nLATE,2\n", "B"), ("symbol,a\nA,1\nB,2\n", "LATE")] {
        let config = with_statics(config.clone(), text);
        let error = Dataset::new(&history(), &config).unwrap_err().to_string();
        assert_eq!(error, SymbolsError::NoStatics(symbol.to_owned()).to_string());
    }
}

#[test]
fn each_symbol_is_scaled_by_its_own_training_rows() {
    let text = "[window]\nsteps = 4\nfeatures = ['close']\nscaler_per = 'symbol'\n[network]\n";
    let config = config(text);
    let large = |day: f64| 5000.0 + 40.0 * (day * 0.7).cos();
    let mut history = history();
    history.series.push(series("LARGE", 0..DAYS, large));
    history.series.push(series("FLAT", 0..DAYS, |_| 7.0));
    let dataset = Dataset::new(&history, &config).unwrap();
    let own: Vec<_> = dataset.symbol_scalers.keys().collect();
    assert_eq!(own, ["A", "B", "LARGE"], "FLAT does not vary, LATE has no training row");
    for (symbol, series) in [("A", 2), ("LARGE", 4)] {
        let mut closes = Vec::new();
        for (at, example) in dataset.training.examples.iter().enumerate() {
            if example.series == series {
                closes.extend_from_slice(&dataset.training.windows.window(at));
            }
        }
        let low = closes.iter().copied().fold(f32::INFINITY, f32::min);
        let high = closes.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        // The newest row of the part is in no window: its label would be behind the part.
        assert!((-1.0..-0.9).contains(&low) && high > 0.9 && high <= 1.0, "{symbol}: {low} {high}");
    }
    // 7 of 7 to about 5,040, which the rows of all symbols have.
    let flat = dataset.training.examples.iter().position(|example| example.series == 5).unwrap();
    assert!(dataset.training.windows.window(flat).iter().all(|close| *close == -1.0));
    let network = dataset.network(&config).unwrap();
    let symbols = dataset.symbols.clone().unwrap();
    assert_eq!((symbols.width(), network.embedding()), (0, None));
    let fitted = (&network, &network.initial_parameters(1)[..]);
    let table = table(&config, &symbols, &dataset.symbol_scalers, fitted).unwrap();
    assert_eq!(table.problems(), Vec::<String>::new());
    assert_eq!((table.width(), table.scalers.len()), (0, 3));
}
