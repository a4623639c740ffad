//! Binary messages that a feed compresses.
//!
//! Owns the formats and the limit. Promises that no message becomes larger than the limit, whatever
//! it claims, that the work for one is bounded by its own size and the limit, and that a message
//! which is not of the format goes on as it came: the mapping will say that it is malformed. Never
//! touches a text message.

use std::io::Read;

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};

/// How binary messages are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// By gzip (RFC 1952).
    Gzip,
    /// By deflate, with the frame of zlib (RFC 1950) or without one (RFC 1951).
    Deflate,
    /// By any of these, told by its first bytes.
    Auto,
}

/// How binary messages are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unpack {
    /// Their form.
    pub compression: Compression,
    /// The most bytes that one may have when it is decompressed.
    pub bytes_max: usize,
}

/// Why a message is not read: it is larger than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is too long: more than {bytes_max} bytes when decompressed")]
pub struct TooLarge {
    /// The limit.
    pub bytes_max: usize,
}

/// The first bytes of gzip.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What a flush writes behind a block: the end of a message in a stream that has no other end.
const FLUSHED: [u8; 4] = [0, 0, 0xff, 0xff];

/// The room that is made for a message at first, as a multiple of its size.
const GROWTH_EXPECTED: usize = 4;

/// The least room that is made for a message.
const ROOM_BYTES_MIN: usize = 1024;

impl Unpack {
    /// A binary message as the mapping reads it.
    ///
    /// # Errors
    /// [`TooLarge`] for one that becomes larger than the limit.
    pub fn open(self, message: Bytes) -> Result<Bytes, TooLarge> {
        let Self { compression, bytes_max } = self;
        let deflated = matches!(compression, Compression::Deflate | Compression::Auto);
        let gzipped = matches!(compression, Compression::Gzip | Compression::Auto);
        let found = if gzipped && message.starts_with(&GZIP) {
            gunzip(&message, bytes_max)
        } else if deflated && is_zlib(&message) {
            inflate(&message, true, bytes_max)
        } else if deflated && !message.is_empty() {
            inflate(&message, false, bytes_max)
        } else {
            Found::Other
        };
        match found {
            Found::Message(bytes) => Ok(bytes.into()),
            Found::Other => Ok(message),
            Found::TooLarge => Err(TooLarge { bytes_max }),
        }
    }
}

enum Found {
    Message(Vec<u8>),
    /// Another format, or a damaged message.
    Other,
    TooLarge,
}

/// Whether the first two bytes are those of zlib: its method, and a sum that fits.
fn is_zlib(message: &[u8]) -> bool {
    let [first, second, ..] = *message else { return false };
    first & 0x0f == 8 && u16::from_be_bytes([first, second]) % 31 == 0
}

fn gunzip(message: &[u8], bytes_max: usize) -> Found {
    let mut bytes = Vec::new();
    let limit = bytes_max as u64 + 1;
    match MultiGzDecoder::new(message).take(limit).read_to_end(&mut bytes) {
        _ if bytes.len() > bytes_max => Found::TooLarge,
        Ok(_) => Found::Message(bytes),
        Err(_) => Found::Other,
    }
}

fn inflate(message: &[u8], has_frame: bool, bytes_max: usize) -> Found {
    let mut state = Decompress::new(has_frame);
    let mut bytes = Vec::new();
    loop {
        let used = state.total_in() as usize;
        if bytes.len() == bytes.capacity() {
            let room = bytes.len().max(message.len().saturating_mul(GROWTH_EXPECTED));
            // One more than may be, which tells a message of just that size from a larger one.
            bytes.reserve_exact(room.max(ROOM_BYTES_MIN).min(bytes_max + 1 - bytes.len()));
        }
        let before = bytes.len();
        let status = state.decompress_vec(&message[used..], &mut bytes, FlushDecompress::None);
        let all_used = state.total_in() as usize == message.len();
        let stands = state.total_in() as usize == used && bytes.len() == before;
        match status {
            _ if bytes.len() > bytes_max => return Found::TooLarge,
            Ok(Status::StreamEnd) if all_used => return Found::Message(bytes),
            Ok(Status::Ok | Status::BufError) if !stands => {}
            Ok(Status::Ok | Status::BufError)
                if all_used && !has_frame && message.ends_with(&FLUSHED) =>
            {
                return Found::Message(bytes);
            }
            _ => return Found::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use flate2::{Compress, FlushCompress};
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 4096;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(text: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn raw(text: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn flushed(text: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(text.len() + 100);
        let mut state = Compress::new(flate2::Compression::default(), false);
        state.compress_vec(text, &mut bytes, FlushCompress::Sync).unwrap();
        bytes
    }

    fn open(compression: Compression, message: &[u8]) -> Result<Vec<u8>, TooLarge> {
        let unpack = Unpack { compression, bytes_max: LIMIT };
        unpack.open(Bytes::copy_from_slice(message)).map(|bytes| bytes.to_vec())
    }

    const ALL: [Compression; 4] =
        [Compression::None, Compression::Gzip, Compression::Deflate, Compression::Auto];

    #[test]
    fn each_form_is_read_where_it_is_expected_and_goes_on_as_it_came_elsewhere() {
        let text = br#"{"ch":"market.btcusdt.trade.detail","tick":{"data":[]}}"#;
        let messages = [
            ("gzip", gzip(text)),
            ("zlib", zlib(text)),
            ("raw", raw(text)),
            ("flush", flushed(text)),
        ];
        for (form, message) in &messages {
            for compression in ALL {
                let is_read = match compression {
                    Compression::None => false,
                    Compression::Gzip => *form == "gzip",
                    Compression::Deflate => *form != "gzip",
                    Compression::Auto => true,
                };
                let expected = if is_read { text.to_vec() } else { message.clone() };
                assert_eq!(open(compression, message), Ok(expected), "{form} {compression:?}");
            }
        }
        // Two members one behind the other are one message.
        let two = [gzip(b"[1,"), gzip(b"2]")].concat();
        assert_eq!(open(Compression::Gzip, &two), Ok(b"[1,2]".to_vec()));
        for plain in [&b""[..], b"{}", b"[1]", b"ping", b"{\"a\":1}", &b"x".repeat(LIMIT)] {
            for compression in ALL {
                assert_eq!(open(compression, plain), Ok(plain.to_vec()), "{compression:?}");
            }
        }
    }

    #[test]
    fn a_message_that_grows_beyond_the_limit_is_refused_without_being_held() {
        let too_large = Err(TooLarge { bytes_max: LIMIT });
        for make in [gzip, zlib, raw] {
            let fits = make(&b" ".repeat(LIMIT));
            assert_eq!(open(Compression::Auto, &fits), Ok(b" ".repeat(LIMIT)));
            assert_eq!(open(Compression::Auto, &make(&b" ".repeat(LIMIT + 1))), too_large);
            // A thousand times its size.
            let bomb = make(&b" ".repeat(64 << 20));
            assert!(bomb.len() < 70_000, "{}", bomb.len());
            assert_eq!(open(Compression::Auto, &bomb), too_large);
        }
    }

    #[test]
    fn a_damaged_message_goes_on_as_it_came() {
        let text = br#"{"ping":1492420473027}"#;
        for make in [gzip, zlib, raw] {
            let whole = make(text);
            let cut = &whole[..whole.len() - 1];
            assert_eq!(open(Compression::Auto, cut), Ok(cut.to_vec()));
            let longer = [&whole[..], b"more"].concat();
            assert_eq!(open(Compression::Auto, &longer), Ok(longer.clone()));
        }
        let mut wrong_sum = gzip(text);
        let at = wrong_sum.len() - 6;
        wrong_sum[at] ^= 1;
        assert_eq!(open(Compression::Gzip, &wrong_sum), Ok(wrong_sum.clone()));
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_outcome_within_the_limit(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            magic in 0_usize..3,
        ) {
            let begin: [&[u8]; 3] = [&[], &[0x1f, 0x8b, 8, 0], &[0x78, 0x9c]];
            let message = [begin[magic], &bytes].concat();
            for compression in ALL {
                if let Ok(opened) = open(compression, &message) {
                    prop_assert!(opened.len() <= LIMIT.max(message.len()));
                }
            }
        }

        #[test]
        fn whatever_was_compressed_comes_back(
            text in proptest::collection::vec(any::<u8>(), 0..LIMIT),
        ) {
            for make in [gzip, zlib, raw, flushed] {
                prop_assert_eq!(open(Compression::Auto, &make(&text)), Ok(text.clone()));
            }
        }
    }
}
