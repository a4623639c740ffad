//! Plain values that every stage shares: time, symbols, fields, ticks, steps, forecasts.
//!
//! Owns the vocabulary of DESIGN section 2 as types. Promises that a value that exists is valid
//! (constructors check). Never does I/O, reads a clock, or knows a stage of the pipeline.

mod evidence;
mod fields;
mod forecast;
mod input_shift;
mod position;
mod quantiles;
mod reject;
mod step;
mod symbol;
mod symbol_pattern;
mod tick;
mod time;
mod time_doubt;
mod time_format;
mod time_text;

pub use evidence::{Evidence, EvidenceRanges};
pub use fields::{Field, Fields, Projection, Schema, SchemaError};
pub use forecast::{Forecast, ForecastId, Quality, Signal};
pub use input_shift::InputShift;
pub use position::{PartitionId, Position};
pub use quantiles::{LEVELS_MAX, Quantiles};
pub use reject::{Member, NamedRejection, Reject, RejectTally, Rejection};
pub use step::Step;
pub use symbol::{Symbol, SymbolError, SymbolId};
pub use symbol_pattern::SymbolPatterns;
pub use tick::Tick;
pub use time::{DurationNanos, TimeError, TimeUnit, UnixNanos};
pub use time_doubt::TimeDoubt;
pub use time_format::{TimeFormat, TimeFormatError};
pub use time_text::TimeText;
