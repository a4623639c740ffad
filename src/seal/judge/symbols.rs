//! What a network reads of the symbol of each series, behind the features of its rows.
//!
//! Owns which row of a learned table and which static values belong to a series. Promises that a
//! symbol without a window of the training part has no row of its own, as at serving time. Never
//! holds a learned number.

/// The symbols of the series of a history.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SymbolInputs {
    /// The symbols with a row in the learned table, in its order.
    trained: Vec<String>,
    /// The row of each series, and behind them that of an unknown symbol.
    rows: Vec<Option<u32>>,
    /// `[series + 1][S]`, in model units, likewise.
    statics: Vec<f32>,
    statics_width: usize,
    embedding: usize,
}

impl SymbolInputs {
    /// Those of series of which each has `series` of a row and the static values, and of an unknown
    /// symbol with the static values `unknown`. `trained` names the rows.
    pub fn new(
        trained: Vec<String>,
        series: Vec<(Option<u32>, Vec<f32>)>,
        unknown: Vec<f32>,
        embedding: usize,
    ) -> Self {
        let statics_width = unknown.len();
        let mut rows = Vec::with_capacity(series.len() + 1);
        let mut statics = Vec::with_capacity((series.len() + 1) * statics_width);
        for (row, values) in series.into_iter().chain([(None, unknown)]) {
            assert_eq!(values.len(), statics_width, "static values of a series");
            rows.push(row);
            statics.extend(values);
        }
        Self { trained, rows, statics, statics_width, embedding }
    }

    /// The symbols with a row in the learned table, in its order.
    pub fn trained(&self) -> &[String] {
        &self.trained
    }

    /// How many columns of a row come from the symbol.
    pub fn width(&self) -> usize {
        self.statics_width + self.embedding
    }

    /// Stands for a symbol that no series has.
    pub fn unknown_series(&self) -> usize {
        self.rows.len() - 1
    }

    /// The row of a series in the learned table; `None` stands for the mean of all rows.
    pub fn row(&self, series: usize) -> Option<u32> {
        self.rows[series]
    }

    /// The static values of a series.
    pub fn statics(&self, series: usize) -> &[f32] {
        &self.statics[series * self.statics_width..][..self.statics_width]
    }
}
