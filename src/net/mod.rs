//! Outgoing connections, up to their first frame.
//!
//! Owns addresses and their encoding, dialing, TLS, proxies and the waits between attempts. Never
//! knows what is sent.

pub mod address;
pub mod backoff;
pub mod dial;
pub mod percent;
