//! The settings of the stream: its keys of `[publish]`.

use super::StreamLimits;
use crate::ports::section::Section;

/// How much the stream may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamSettings {
    /// Subscribers at once.
    pub subscribers_max: usize,
    /// The same from one address.
    pub subscribers_per_address_max: usize,
    /// How far a subscriber may fall behind, in records.
    pub subscriber_records_max: usize,
}

/// Takes its keys out of the section `publish`.
pub fn read(publish: &mut Section<'_>) -> StreamSettings {
    const PER_ADDRESS: &str = "subscribers_per_address_max";
    let settings = StreamSettings {
        subscribers_max: publish.count("subscribers_max", 0, 100_000),
        subscribers_per_address_max: publish.count(PER_ADDRESS, 1, 100_000),
        subscriber_records_max: publish.count("subscriber_records_max", 1, 1_000_000),
    };
    let StreamSettings { subscribers_max: total, subscribers_per_address_max: each, .. } = settings;
    // The default may be above a total that somebody lowers.
    if total > 0 && each > total && publish.is_given(PER_ADDRESS) {
        publish.problem(PER_ADDRESS, format_args!("is above subscribers_max, which is {total}"));
    }
    settings
}

impl StreamSettings {
    /// The limits of a stream that keeps the newest record of so many symbols.
    pub fn limits(&self, symbols_max: usize) -> StreamLimits {
        let Self { subscribers_max, subscribers_per_address_max, subscriber_records_max } = *self;
        StreamLimits {
            subscribers_max,
            subscribers_per_address_max,
            lag_records_max: subscriber_records_max,
            symbols_max,
        }
    }
}
