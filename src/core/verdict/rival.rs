//! The evidence about a shadow and its rival, the live model of its seat.
//!
//! Owns what of it is stored. Promises that evidence about another rival is never read as evidence
//! about this one. Never compares anything: a [`Ledger`] does.

use serde::{Deserialize, Serialize};

use super::Ledger;

/// What tells one rival from another: a digest of everything that its forecasts depend on.
pub type RivalId = [u8; 16];

/// The ledger of a symbol, with the rival that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RivalLedger {
    rival: RivalId,
    ledger: Ledger,
}

impl RivalLedger {
    /// The ledger of a symbol; `None` while it is empty, of which nothing is stored.
    pub fn new(rival: RivalId, ledger: &Ledger) -> Option<Self> {
        (*ledger != Ledger::new()).then_some(Self { rival, ledger: *ledger })
    }

    /// The ledger, whatever it is about.
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The ledger, if it is about this rival.
    pub fn about(&self, rival: RivalId) -> Option<&Ledger> {
        (self.rival == rival).then_some(&self.ledger)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LEVEL, LedgerRule};
    use super::*;
    use crate::core::domain::UnixNanos;

    #[test]
    fn a_ledger_is_about_one_rival() {
        let (one, other) = ([1; 16], [2; 16]);
        assert_eq!(RivalLedger::new(one, &Ledger::new()), None, "nothing is known");
        let mut ledger = Ledger::new();
        ledger.take(&LedgerRule::new(1, LEVEL), 0.5, UnixNanos::from_nanos(1));
        let stored = RivalLedger::new(one, &ledger).unwrap();
        assert_eq!((stored.about(one), stored.about(other)), (Some(&ledger), None));
        assert_eq!(stored.ledger(), &ledger);
    }
}
