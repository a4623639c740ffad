//! A snapshot as bytes that may lie on a disk for long.
//!
//! Owns the layout of the file. Promises that what is damaged, cut short, padded or of another
//! layout is told from a good snapshot, by name, and never read as one. Never touches a disk.
//!
//! ```text
//! "tcsn"  format u16 LE  length u64 LE  checksum 32 bytes  body (postcard)
//! ```
//! The length is that of the whole file. The checksum is the SHA-256 of everything before it and
//! of the body. The states in the body carry a version and a checksum of their own, and the model
//! that made them ([`crate::engine::state`]).

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::engine::state::ModelIdentity;

const MAGIC: &[u8; 4] = b"tcsn";

/// The layout of the body. Raise it whenever [`Body`] or [`InputPlace`] changes.
const FORMAT: u16 = 2;

/// The layout before, which names one model.
const FORMAT_BEFORE: u16 = 1;

const LENGTH: std::ops::Range<usize> = 6..14;
const CHECKSUM: std::ops::Range<usize> = 14..46;
const HEADER_BYTES: usize = CHECKSUM.end;

/// Everything that a restart needs, as one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Rises by one with each snapshot of a folder.
    pub sequence: u64,
    /// The models that ran when it was written.
    pub models: Vec<ModelIdentity>,
    /// The same for people: names, versions and modes.
    pub model_label: String,
    /// What the states were fed by, and how far.
    pub place: InputPlace,
    /// The stored form of each state under its key, which names the symbol, and the model where
    /// there are several ([`StoredState::key`](crate::engine::pipeline::StoredState::key)).
    pub states: Vec<(String, Bytes)>,
}

/// What states were fed by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InputPlace {
    /// A live feed, by the digest of its address. It cannot be read again.
    Feed([u8; 32]),
    /// A recording, read up to a place.
    File(FilePlace),
}

/// A place in a recording, and what tells the recording from others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePlace {
    /// Records that are behind the states of all symbols. A symbol may be further.
    pub records: u64,
    /// Bytes that were read for them, at least: a shorter file is another one.
    pub bytes: u64,
    /// How much of the file's head the digest covers.
    pub head_bytes: u64,
    /// The digest of the file's head.
    pub head_sha256: [u8; 32],
}

/// Why bytes are no snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Too short for a header, or something else altogether.
    #[error("no snapshot")]
    Foreign,
    /// Another layout.
    #[error("written in format {0}; this program reads formats 1 to {FORMAT}")]
    Format(u16),
    /// The file ends too early or too late.
    #[error("torn: it says {stated} bytes and has {found}")]
    Torn {
        /// By the header.
        stated: u64,
        /// What is there.
        found: u64,
    },
    /// Bytes have changed since they were written.
    #[error("damaged: the checksum does not fit")]
    Damaged,
    /// The checksum fits and the body does not: a fault of the program that wrote it.
    #[error("unreadable: {0}")]
    Unreadable(String),
    /// The disk does not give it.
    #[error("cannot be read: {0}")]
    Disk(String),
}

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    sequence: u64,
    models: Vec<ModelIdentity>,
    model_label: &'a str,
    place: InputPlace,
    #[serde(borrow)]
    states: Vec<(&'a str, &'a [u8])>,
}

/// The body of the layout before.
#[derive(Serialize, Deserialize)]
struct BodyBefore<'a> {
    sequence: u64,
    model: ModelIdentity,
    model_label: &'a str,
    place: InputPlace,
    #[serde(borrow)]
    states: Vec<(&'a str, &'a [u8])>,
}

impl<'a> From<BodyBefore<'a>> for Body<'a> {
    fn from(before: BodyBefore<'a>) -> Self {
        let BodyBefore { sequence, model, model_label, place, states } = before;
        Self { sequence, models: vec![model], model_label, place, states }
    }
}

impl Snapshot {
    /// The snapshot as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let Self { sequence, models, model_label, place, states } = self;
        let size: usize = states.iter().map(|(symbol, state)| symbol.len() + state.len() + 8).sum();
        let mut bytes = Vec::with_capacity(HEADER_BYTES + 256 + size);
        bytes.extend(MAGIC);
        bytes.extend(FORMAT.to_le_bytes());
        bytes.resize(HEADER_BYTES, 0);
        let body = Body {
            sequence: *sequence,
            models: models.clone(),
            model_label,
            place: place.clone(),
            states: states.iter().map(|(symbol, state)| (&**symbol, &**state)).collect(),
        };
        let mut bytes = postcard::to_extend(&body, bytes)
            .expect("plain numbers, texts and lists always encode, and a Vec never fails to grow");
        let length = bytes.len() as u64;
        bytes[LENGTH].copy_from_slice(&length.to_le_bytes());
        let checksum = checksum(&bytes);
        bytes[CHECKSUM].copy_from_slice(&checksum);
        bytes
    }

    /// The snapshot behind bytes; states share their memory.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn decode(bytes: &Bytes) -> Result<Self, SnapshotError> {
        if bytes.len() < HEADER_BYTES || !bytes.starts_with(MAGIC) {
            return Err(SnapshotError::Foreign);
        }
        let format = u16::from_le_bytes([bytes[4], bytes[5]]);
        if format != FORMAT && format != FORMAT_BEFORE {
            return Err(SnapshotError::Format(format));
        }
        let mut stated = [0; LENGTH.end - LENGTH.start];
        stated.copy_from_slice(&bytes[LENGTH]);
        let (stated, found) = (u64::from_le_bytes(stated), bytes.len() as u64);
        if stated != found {
            return Err(SnapshotError::Torn { stated, found });
        }
        if checksum(bytes) != bytes[CHECKSUM] {
            return Err(SnapshotError::Damaged);
        }
        let unreadable = |error: postcard::Error| SnapshotError::Unreadable(error.to_string());
        let body = &bytes[HEADER_BYTES..];
        let (body, rest) = if format == FORMAT_BEFORE {
            let (body, rest): (BodyBefore<'_>, _) =
                postcard::take_from_bytes(body).map_err(unreadable)?;
            (Body::from(body), rest)
        } else {
            postcard::take_from_bytes(body).map_err(unreadable)?
        };
        if !rest.is_empty() {
            return Err(SnapshotError::Unreadable(format!("{} bytes too many", rest.len())));
        }
        let Body { sequence, models, model_label, place, states } = body;
        let states = states
            .into_iter()
            .map(|(symbol, state)| (symbol.to_owned(), bytes.slice_ref(state)))
            .collect();
        Ok(Self { sequence, models, model_label: model_label.to_owned(), place, states })
    }
}

/// Over everything but its own place.
fn checksum(bytes: &[u8]) -> [u8; CHECKSUM.end - CHECKSUM.start] {
    let mut hash = Sha256::new();
    hash.update(&bytes[..CHECKSUM.start]);
    hash.update(&bytes[CHECKSUM.end..]);
    hash.finalize().into()
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A snapshot with something in every part; states differ by `sequence`.
    pub(in crate::keep::snapshot) fn snapshot(sequence: u64, symbols: usize) -> Snapshot {
        let state = |index: usize| {
            let bytes: Vec<u8> = (0..5 + index % 3).map(|at| (at + index) as u8).collect();
            (format!("S{index}"), [&sequence.to_le_bytes()[..], &bytes].concat().into())
        };
        Snapshot {
            sequence,
            models: vec![ModelIdentity([7; 16]), ModelIdentity([8; 16])],
            model_label: "random 1, sliding".to_owned(),
            place: InputPlace::File(FilePlace {
                records: 10 * sequence,
                bytes: 1000 * sequence,
                head_bytes: 3,
                head_sha256: Sha256::digest(b"abc").into(),
            }),
            states: (0..symbols).map(state).collect(),
        }
    }

    #[test]
    fn comes_back_as_it_was() {
        for symbols in [0, 1, 3, 200] {
            let whole = snapshot(9, symbols);
            assert_eq!(Snapshot::decode(&whole.encode().into()), Ok(whole));
        }
        let feed = Snapshot { place: InputPlace::Feed([1; 32]), ..snapshot(1, 1) };
        assert_eq!(Snapshot::decode(&feed.encode().into()), Ok(feed));
    }

    #[test]
    fn a_snapshot_of_the_layout_before_is_one_of_one_model() {
        let whole = Snapshot { models: vec![ModelIdentity([7; 16])], ..snapshot(9, 3) };
        let Snapshot { sequence, models, model_label, place, states } = &whole;
        let body = BodyBefore {
            sequence: *sequence,
            model: models[0],
            model_label,
            place: place.clone(),
            states: states.iter().map(|(symbol, state)| (&**symbol, &**state)).collect(),
        };
        let mut bytes = whole.encode()[..HEADER_BYTES].to_vec();
        bytes[4..6].copy_from_slice(&FORMAT_BEFORE.to_le_bytes());
        let mut bytes = postcard::to_extend(&body, bytes).unwrap();
        let length = bytes.len() as u64;
        bytes[LENGTH].copy_from_slice(&length.to_le_bytes());
        let checksum = checksum(&bytes);
        bytes[CHECKSUM].copy_from_slice(&checksum);
        assert_eq!(Snapshot::decode(&bytes.into()), Ok(whole));
    }

    #[test]
    fn no_flipped_bit_and_no_cut_goes_unnoticed() {
        let bytes = snapshot(3, 2).encode();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                assert!(Snapshot::decode(&flipped.into()).is_err(), "bit {bit} of byte {at}");
            }
            let cut = Bytes::copy_from_slice(&bytes[..at]);
            assert!(Snapshot::decode(&cut).is_err(), "cut to {at} bytes");
        }
        for more in [&[0][..], &bytes] {
            let padded = [&bytes, more].concat();
            assert!(matches!(Snapshot::decode(&padded.into()), Err(SnapshotError::Torn { .. })));
        }
    }

    #[test]
    fn the_reason_is_told_by_name() {
        let bytes = snapshot(3, 2).encode();
        let decode = |bytes: &[u8]| Snapshot::decode(&Bytes::copy_from_slice(bytes)).unwrap_err();
        let changed = |at: usize, value: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            bytes
        };
        assert_eq!(decode(b""), SnapshotError::Foreign);
        assert_eq!(decode(&[0; 100]), SnapshotError::Foreign, "what a lost write leaves");
        assert_eq!(decode(&changed(4, 3)), SnapshotError::Format(3));
        assert_eq!(decode(&changed(bytes.len() - 1, 99)), SnapshotError::Damaged);
        let (stated, found) = (bytes.len() as u64, bytes.len() as u64 - 1);
        let torn = SnapshotError::Torn { stated, found };
        assert_eq!(decode(&bytes[..bytes.len() - 1]), torn);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_snapshot(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(Snapshot::decode(&bytes.clone().into()).is_err());
            let headed = [&MAGIC[..], &FORMAT.to_le_bytes(), &bytes].concat();
            prop_assert!(Snapshot::decode(&headed.into()).is_err());
        }

        #[test]
        fn several_damaged_bytes_are_noticed(
            places in prop::collection::vec((any::<prop::sample::Index>(), 1..=255u8), 1..20),
        ) {
            let mut bytes = snapshot(5, 20).encode();
            let whole = bytes.clone();
            for (place, change) in places {
                let at = place.index(bytes.len());
                bytes[at] ^= change;
            }
            prop_assume!(bytes != whole);
            prop_assert!(Snapshot::decode(&bytes.into()).is_err());
        }
    }
}
