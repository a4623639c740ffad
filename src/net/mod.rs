//! Outgoing connections, up to their first frame.
//!
//! Owns addresses and their encoding, dialing, TLS, proxies, the secrets that are put in, the pace
//! and the waits between attempts. Never knows what is sent.

pub mod address;
pub mod backoff;
pub mod dial;
pub mod gate;
pub mod percent;
pub mod secrets;
