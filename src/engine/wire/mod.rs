//! The wire forms of forecasts and scores.
//!
//! Owns the JSON records and their encoder. Promises equal bytes for equal records, and nothing in
//! them that varies between runs. Never decides where a record goes.

pub mod encoder;
pub mod forecast;
pub mod score;
