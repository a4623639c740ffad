//! Which symbol each channel of a connection carries, as the venue told when it acknowledged the
//! subscription.
//!
//! Owns what one connection has learned. Promises that it never holds more than a connection can
//! have subscribed to. Never outlives the connection: another one has other numbers.

use std::collections::BTreeMap;

use crate::core::domain::Symbol;

/// The most channels of one connection. Exchanges that number them allow 25 to 1,000.
const CHANNELS_MAX: usize = 4096;

/// The longest number of a channel, in bytes.
const CHANNEL_BYTES_MAX: usize = 64;

/// What one connection has learned.
#[derive(Debug, Default)]
pub(super) struct Channels(BTreeMap<String, String>);

impl Channels {
    /// Notes the symbol of a channel, also where the number was another symbol's before. What is no
    /// symbol, and what there is no room for, is not noted: the decoder refuses its ticks.
    pub(super) fn learn(&mut self, channel: &str, symbol: &str) {
        let fits = channel.len() <= CHANNEL_BYTES_MAX && Symbol::check(symbol).is_ok();
        if fits && (self.0.len() < CHANNELS_MAX || self.0.contains_key(channel)) {
            self.0.insert(channel.to_owned(), symbol.to_owned());
        }
    }

    /// The symbol of a channel, as the venue writes it.
    pub(super) fn symbol(&self, channel: &str) -> Option<&str> {
        self.0.get(channel).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_remembers_a_bounded_number_of_channels() {
        let mut channels = Channels::default();
        for number in 0..=CHANNELS_MAX {
            channels.learn(&number.to_string(), "A");
        }
        assert_eq!(channels.symbol("0"), Some("A"));
        assert_eq!(channels.symbol(&CHANNELS_MAX.to_string()), None, "one too many");
        channels.learn("0", "B");
        assert_eq!(channels.symbol("0"), Some("B"), "a number is given again");
        channels.learn("1", "no\nsymbol");
        channels.learn(&"1".repeat(65), "B");
        assert_eq!((channels.symbol("1"), channels.0.len()), (Some("A"), CHANNELS_MAX));
    }
}
