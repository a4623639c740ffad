//! The scores of all folds as one series.
//!
//! Owns the ledgers that go on from fold to fold. The retrained models are one forecaster, and the
//! baselines that are fitted and chosen with them are another; a difference of losses is between
//! the two at one time, whichever models were in use. Promises the words and figures of the daemon
//! (`core::verdict`, `core::score`). Never mixes seeds: those of one fold see the same truths, so
//! they are no further evidence.

use std::collections::BTreeMap;
use std::io::BufRead;

use super::error::BacktestError;
use super::record::{Figures, SeedRecord, SymbolRecord};
use super::store::{Scores, Stored};
use crate::core::score::Sums;
use crate::core::verdict::{LEVEL, Ledger, LedgerRule, Pool, Steps};
use crate::engine::wire::score::ScoreRecord;

/// The evidence of one seed.
pub(super) struct Chain {
    rule: LedgerRule,
    ledgers: BTreeMap<String, Ledger>,
    steps: Steps,
    sums: BTreeMap<String, Sums>,
}

impl Chain {
    /// Nothing yet.
    pub(super) fn new(horizon_steps: usize) -> Self {
        let horizon_steps = u32::try_from(horizon_steps).unwrap_or(u32::MAX);
        Self {
            rule: LedgerRule::new(horizon_steps, LEVEL),
            ledgers: BTreeMap::new(),
            steps: Steps::new(),
            sums: BTreeMap::new(),
        }
    }

    /// Takes the next fold.
    pub(super) fn take(&mut self, stored: &Stored, scores: Scores) -> Result<(), BacktestError> {
        for (symbol, sums) in &stored.sums {
            *self.sums.entry(symbol.clone()).or_default() += *sums;
        }
        let Scores { path, mut reader } = scores;
        let mut line = String::new();
        loop {
            line.clear();
            let read = reader.read_line(&mut line).map_err(BacktestError::of(&path, "read"))?;
            if read == 0 {
                return Ok(());
            }
            let score: ScoreRecord<'_> = serde_json::from_str(&line)
                .map_err(|error| BacktestError::of(&path, "read")(error.into()))?;
            self.score(&score);
        }
    }

    fn score(&mut self, score: &ScoreRecord<'_>) {
        let difference = score.loss_difference();
        if !self.ledgers.contains_key(&*score.symbol) {
            self.ledgers.insert(score.symbol.to_string(), Ledger::new());
        }
        if let Some(ledger) = self.ledgers.get_mut(&*score.symbol) {
            ledger.take(&self.rule, difference, score.truth_time);
        }
        self.steps.take(&score.symbol, difference, score.truth_time);
    }

    /// What all of them have come to.
    pub(super) fn finish(&self, seed: u64) -> SeedRecord {
        let mut pool = Pool::default();
        self.ledgers.values().for_each(|ledger| pool.add(ledger));
        let symbols = self.ledgers.iter().map(|(symbol, ledger)| SymbolRecord {
            symbol: symbol.clone(),
            figures: Figures::of(&self.sums.get(symbol).copied().unwrap_or_default()),
            verdict: ledger.verdict(&self.rule).into(),
        });
        let symbols: Vec<_> = symbols.collect();
        let verdict = match &symbols[..] {
            [one] => one.verdict,
            _ => self.steps.verdict(&self.rule).into(),
        };
        let figures = Figures::of(&self.sums.values().copied().sum());
        SeedRecord { seed, figures, verdict, pooled: pool.word(LEVEL), symbols }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::verdict::Word;

    /// Takes the score of a forecast of 0 that came true, where the baseline is off by 1.
    fn take(chain: &mut Chain, symbol: &str, day: i64, value: f64) {
        let time = format!("{:04}-{:02}-{:02}", 2001 + day / 336, 1 + day / 28 % 12, 1 + day % 28);
        let absolute = value.abs();
        let line = format!(
            r#"{{"schema":"tickcast.score.v1","id":"","symbol":"{symbol}","model":"m",
            "model_version":"fold-1-seed-1","mode":"sliding","as_of":"{time}",
            "target_time":"{time}","truth_time":"{time}","value":{value},"truth":0.0,
            "error":{},"absolute_error":{absolute},"baseline":1.0,"baseline_absolute_error":1.0,
            "against":"drift","lower":0.0,"upper":0.0,"coverage":0.9,"covered":true,
            "quality":"full","out_of_range":false,"evidence":"unseen","drift":false}}"#,
            -value
        );
        chain.score(&serde_json::from_str(&line).unwrap());
    }

    /// A ledger of a fold begins without evidence; the chain goes on.
    #[test]
    fn evidence_goes_on_from_fold_to_fold() {
        let mut chain = Chain::new(1);
        // Errors of 0.5 and 0.6 by turns, where the baseline is off by 1.
        let value = |day: i64| if day % 2 == 0 { 0.5 } else { 0.6 };
        (0..299).for_each(|day| take(&mut chain, "A", day, value(day)));
        let record = chain.finish(7);
        assert_eq!(record.seed, 7);
        assert_eq!([record.verdict.word, record.pooled], [Word::TooEarly; 2]);
        assert_eq!((record.verdict.scores, record.symbols.len()), (299, 1));
        take(&mut chain, "A", 299, value(299));
        let verdict = chain.finish(7).verdict;
        assert_eq!((verdict.word, verdict.scores), (Word::Better, 300));
        let expected = (0.75 + 0.64) / 2.0;
        assert!((verdict.mean_difference - expected).abs() < 1e-12, "{verdict:?}");
        // Of a single symbol it is the symbol's own.
        assert_eq!(verdict, chain.finish(7).symbols[0].verdict);
    }

    #[test]
    fn several_symbols_are_one_series() {
        let mut chain = Chain::new(1);
        for day in 0..400 {
            for symbol in ["A", "B"] {
                take(&mut chain, symbol, day, if day % 3 == 0 { 2.0 } else { 1.9 });
            }
        }
        let record = chain.finish(1);
        assert_eq!((record.verdict.word, record.pooled), (Word::Worse, Word::Worse));
        // The first 30 scores of a symbol set its scale; those of a day are one observation.
        assert_eq!(record.verdict.scores, 370);
        let words: Vec<_> =
            record.symbols.iter().map(|one| (one.symbol.as_str(), one.verdict.word)).collect();
        assert_eq!(words, [("A", Word::Worse), ("B", Word::Worse)]);
    }
}
