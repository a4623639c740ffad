//! A symbol's state as bytes that may lie somewhere for long: versioned, summed, and tied to the
//! model that made it.
//!
//! Owns the stored form. Promises that bytes which were damaged, cut short, or made by another
//! model or layout are told from good ones, by name. Never reads or writes anything itself.
//!
//! ```text
//! "tcst"  version u16 LE  model 16 bytes  checksum 8 bytes  payload (postcard)
//! ```
//! The checksum is the head of the SHA-256 of everything before it and the payload.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::engine::inference::Rounding;
use crate::engine::model::manifest::{Manifest, Mode};
use crate::engine::symbols::{SnapshotBefore, SymbolSnapshot};

const MAGIC: &[u8; 4] = b"tcst";

/// The layout of the payload. Raise it whenever [`SymbolSnapshot`] changes: postcard has no names.
const VERSION: u16 = 7;

/// The layouts of [`SnapshotBefore`], which had no ledger, with what they lack at their end: layout
/// 2 a cadence and the count of steps that were shed, layout 3 the count. Nothing is known of a
/// cadence of zeros.
const BEFORE: [(u16, &[u8]); 3] = [(2, &[0; 4]), (3, &[0]), (4, &[])];

/// The layouts of [`SymbolSnapshot`] with fewer fields, with what they lack at their end: a byte
/// for each field that came later, which means an absent one.
const SHORTER: [(u16, &[u8]); 2] = [(5, &[0; 5]), (6, &[0])];

const MODEL: std::ops::Range<usize> = 6..22;
const CHECKSUM: std::ops::Range<usize> = 22..30;
const HEADER_BYTES: usize = CHECKSUM.end;

/// Writes and reads the states of one model in one mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateCodec {
    model: ModelIdentity,
}

/// A model's name, version, ONNX, mode and runtime, as a digest: states of another one are none of
/// ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelIdentity(pub [u8; 16]);

/// Why stored bytes are no state of this model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Too short, or something else altogether.
    #[error("these bytes are no stored state")]
    Foreign,
    /// Another layout.
    #[error("stored in layout {0}; this program reads layout {VERSION}")]
    Version(u16),
    /// Bytes have changed since they were stored.
    #[error("damaged: the checksum does not fit")]
    Damaged,
    /// Another model, version, mode or runtime.
    #[error("stored by another model, model version, mode or runtime")]
    OtherModel,
    /// The checksum fits and the payload does not: a fault of the program that stored it.
    #[error("unreadable: {0}")]
    Unreadable(String),
}

impl StateCodec {
    /// The codec for the model of a manifest driven in `mode` by ONNX Runtime.
    pub fn new(manifest: &Manifest, mode: Mode) -> Self {
        Self::rounded(manifest, mode, Rounding::OnnxRuntime)
    }

    /// The codec for a model whose numbers have this rounding.
    pub fn rounded(manifest: &Manifest, mode: Mode, rounding: Rounding) -> Self {
        let mode = mode.to_string();
        let mut hash = Sha256::new();
        // States were stored before there was a second runtime, and these are of the first.
        let runtime = (rounding != Rounding::OnnxRuntime).then_some(rounding.name());
        let parts = [&*manifest.name, &*manifest.version, &*manifest.onnx_sha256, &*mode];
        for part in parts.into_iter().chain(runtime) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self { model: ModelIdentity(head(&hash.finalize())) }
    }

    /// Whose states these are.
    pub fn identity(&self) -> ModelIdentity {
        self.model
    }

    /// The state as bytes.
    pub fn encode(&self, state: &SymbolSnapshot) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1024);
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(self.model.0);
        bytes.extend([0; CHECKSUM.end - CHECKSUM.start]);
        let mut bytes = postcard::to_extend(state, bytes)
            .expect("plain numbers, texts and lists always encode, and a Vec never fails to grow");
        let checksum = checksum(&bytes);
        bytes[CHECKSUM].copy_from_slice(&checksum);
        bytes
    }

    /// The state behind stored bytes.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn decode(&self, bytes: &[u8]) -> Result<SymbolSnapshot, StateError> {
        if bytes.len() < HEADER_BYTES || !bytes.starts_with(MAGIC) {
            return Err(StateError::Foreign);
        }
        let version = u16::from_le_bytes([bytes[4], bytes[5]]);
        let before = BEFORE.iter().find(|(before, _)| *before == version);
        let shorter = SHORTER.iter().find(|(shorter, _)| *shorter == version);
        let is_known = version == VERSION || shorter.is_some() || before.is_some();
        if !is_known {
            return Err(StateError::Version(version));
        }
        if checksum(bytes) != bytes[CHECKSUM] {
            return Err(StateError::Damaged);
        }
        if bytes[MODEL] != self.model.0 {
            return Err(StateError::OtherModel);
        }
        let payload = &bytes[HEADER_BYTES..];
        let state = match (before, shorter) {
            (Some((_, lacking)), _) => {
                postcard::from_bytes::<SnapshotBefore>(&[payload, lacking].concat()).map(Into::into)
            }
            (None, Some((_, lacking))) => postcard::from_bytes(&[payload, lacking].concat()),
            (None, None) => postcard::from_bytes(payload),
        };
        state.map_err(|error| StateError::Unreadable(error.to_string()))
    }
}

/// Over everything but its own place.
fn checksum(bytes: &[u8]) -> [u8; CHECKSUM.end - CHECKSUM.start] {
    let mut hash = Sha256::new();
    hash.update(&bytes[..CHECKSUM.start]);
    hash.update(&bytes[CHECKSUM.end..]);
    head(&hash.finalize())
}

/// The first bytes of a digest, which is longer.
fn head<const BYTES: usize>(digest: &[u8]) -> [u8; BYTES] {
    let mut head = [0; BYTES];
    head.copy_from_slice(&digest[..BYTES]);
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::symbols::{Engine, EngineLimits, Pushed};
    use crate::engine::test_support::{NullRuntime, bundle, tick};

    /// A ledger without evidence.
    const LEDGER_BYTES: usize = 28;

    /// What layout 5 lacks: the signals, between what the model of these tests has not.
    fn behind_5(state: &SymbolSnapshot) -> Vec<u8> {
        let signals = postcard::to_allocvec(&state.signals()).unwrap();
        [&[0], &*signals, &[0; 3]].concat()
    }

    #[test]
    fn states_of_the_layouts_before_are_read() {
        let bundle = bundle(&[Mode::Full]);
        let limits = EngineLimits { symbols_max: 10, batch_rows_max: 10 };
        let backend = bundle.open(&NullRuntime).unwrap();
        let plans = bundle.plans().clone();
        let mut engine =
            Engine::new(plans, Mode::Full, bundle.signature(), backend, limits).unwrap();
        assert_eq!(engine.push(&tick("A", 0, 1.0), None), Pushed::Taken);
        engine.infer(crate::engine::symbols::Haste::Throughput, &mut Vec::new()).unwrap();
        let state = engine.snapshot().remove(0);
        let codec = StateCodec::new(bundle.manifest(), Mode::Full);
        assert_eq!(codec.decode(&codec.encode(&state)), Ok(state.clone()));
        for (version, lacking) in BEFORE {
            let before = stored_before(&codec, &state, version, lacking);
            // All but what the baselines remember, which was not stored.
            let expected = SymbolSnapshot::from(SnapshotBefore::from(&state));
            assert_eq!(codec.decode(&before), Ok(expected), "layout {version}");
        }
        // The count of shed steps, which layouts 2 and 3 lack, is before the ledger.
        engine.allow_shedding(true);
        engine.shed_rows(true);
        for minute in 1..7 {
            assert_eq!(engine.push(&tick("A", minute, 1.0), None), Pushed::Taken);
        }
        let state = engine.snapshot().remove(0);
        let shed = codec.encode(&state);
        let count = shed[shed.len() - behind_5(&state).len() - LEDGER_BYTES - 1];
        assert_eq!((codec.decode(&shed), count), (Ok(state), 4));
    }

    /// A state as an earlier layout stored it.
    fn stored_before(
        codec: &StateCodec,
        state: &SymbolSnapshot,
        version: u16,
        lacking: &[u8],
    ) -> Vec<u8> {
        let payload = postcard::to_allocvec(&SnapshotBefore::from(state)).unwrap();
        sealed(codec, state, version, payload.strip_suffix(lacking).unwrap())
    }

    /// A payload of an earlier layout with its header.
    fn sealed(codec: &StateCodec, state: &SymbolSnapshot, version: u16, payload: &[u8]) -> Vec<u8> {
        let newest = codec.encode(state);
        let mut before = [&newest[..HEADER_BYTES], payload].concat();
        before[4..6].copy_from_slice(&version.to_le_bytes());
        let checksum = checksum(&before);
        before[CHECKSUM].copy_from_slice(&checksum);
        before
    }

    /// A state of layout 5 has no signals; what waits there has those of the thresholds.
    #[test]
    fn a_state_of_the_layout_without_signals_is_read() {
        let bundle = bundle(&[Mode::Full]);
        let limits = EngineLimits { symbols_max: 10, batch_rows_max: 10 };
        let engine = || {
            let backend = bundle.open(&NullRuntime).unwrap();
            let plans = bundle.plans().clone();
            let mut engine =
                Engine::new(plans, Mode::Full, bundle.signature(), backend, limits).unwrap();
            engine.scores_mut().keep();
            engine
        };
        let step = |engine: &mut Engine, minute: i64| {
            let close = if minute % 2 == 0 { 1.0 } else { 3.0 };
            assert_eq!(engine.push(&tick("A", minute, close), None), Pushed::Taken);
            engine.infer(crate::engine::symbols::Haste::Throughput, &mut Vec::new()).unwrap();
        };
        let mut stopped = engine();
        (0..9).for_each(|minute| step(&mut stopped, minute));
        let state = stopped.snapshot().remove(0);
        let codec = StateCodec::new(bundle.manifest(), Mode::Full);
        let payload = codec.encode(&state)[HEADER_BYTES..].to_vec();
        let payload = payload.strip_suffix(&*behind_5(&state)).unwrap();
        let before = sealed(&codec, &state, 5, payload);
        let read = codec.decode(&before).unwrap();
        assert_eq!(read.signals(), None);
        let mut restored = engine();
        assert!(restored.restore(&[read], None).unwrap().is_empty());
        (9..12).for_each(|minute| step(&mut restored, minute));
        (9..12).for_each(|minute| step(&mut stopped, minute));
        let signals = |engine: &mut Engine| -> Vec<_> {
            engine.scores_mut().take().map(|score| (score.as_of, score.signal)).collect()
        };
        let (restored, stopped) = (signals(&mut restored), signals(&mut stopped));
        assert_eq!(restored.len(), 3);
        assert_eq!(restored, stopped[stopped.len() - 3..]);
    }

    /// A state of layout 6 lacks the outputs, which are the last byte of one that has none.
    #[test]
    fn a_state_of_the_layout_without_outputs_is_read() {
        let bundle = bundle(&[Mode::Full]);
        let limits = EngineLimits { symbols_max: 10, batch_rows_max: 10 };
        let backend = bundle.open(&NullRuntime).unwrap();
        let plans = bundle.plans().clone();
        let mut engine =
            Engine::new(plans, Mode::Full, bundle.signature(), backend, limits).unwrap();
        for minute in 0..9 {
            assert_eq!(engine.push(&tick("A", minute, 1.0), None), Pushed::Taken);
            engine.infer(crate::engine::symbols::Haste::Throughput, &mut Vec::new()).unwrap();
        }
        let state = engine.snapshot().remove(0);
        let codec = StateCodec::new(bundle.manifest(), Mode::Full);
        let newest = codec.encode(&state);
        let payload = newest[HEADER_BYTES..].strip_suffix(&[0]).unwrap();
        assert_eq!(codec.decode(&sealed(&codec, &state, 6, payload)), Ok(state));
    }

    /// A forecast that waited in a state of layout 4 is scored, beside persistence.
    #[test]
    fn what_waits_in_a_state_of_the_layout_before_is_scored() {
        let bundle = bundle(&[Mode::Full]);
        let limits = EngineLimits { symbols_max: 10, batch_rows_max: 10 };
        let engine = || {
            let backend = bundle.open(&NullRuntime).unwrap();
            let plans = bundle.plans().clone();
            Engine::new(plans, Mode::Full, bundle.signature(), backend, limits).unwrap()
        };
        let step = |engine: &mut Engine, minute: i64| {
            assert_eq!(engine.push(&tick("A", minute, 1.0), None), Pushed::Taken);
            engine.infer(crate::engine::symbols::Haste::Throughput, &mut Vec::new()).unwrap();
        };
        let mut stopped = engine();
        (0..9).for_each(|minute| step(&mut stopped, minute));
        let waiting = stopped.scores().tally().waiting;
        assert_eq!(waiting, 1);
        let state = stopped.snapshot().remove(0);
        let codec = StateCodec::new(bundle.manifest(), Mode::Full);
        let read = codec.decode(&stored_before(&codec, &state, 4, &[])).unwrap();
        let mut restored = engine();
        assert!(restored.restore(&[read], None).unwrap().is_empty());
        step(&mut restored, 9);
        assert_eq!(restored.scores().tally().scores, 1);
    }
}
