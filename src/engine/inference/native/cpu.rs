//! Which instructions a step is compiled for.
//!
//! Owns the choice at run time, and the one unsafe call that it takes. Promises that all choices
//! give the same bits, because the source fixes every operation. Never computes.

use super::stack::{Room, Stack, Work};

/// The instructions that the kernels use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cpu {
    /// Fused products in vector registers.
    #[cfg(target_arch = "x86_64")]
    Fused(Detected),
    /// What every processor of this architecture has. On x86-64 that is no fused product, so each
    /// one is a call, which is correct and slow; on ARM64 it is.
    Baseline,
}

/// The proof that AVX2 and FMA were found. Only [`Cpu::best`] makes one.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Detected(());

impl Cpu {
    /// The fastest choice on this processor.
    pub(super) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Self::Fused(Detected(()));
        }
        Self::Baseline
    }

    /// Whether a fused product is an instruction and not a call.
    pub(super) fn is_fast(self) -> bool {
        cfg!(target_arch = "aarch64") || self != Self::Baseline
    }

    /// In one word, for messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Fused(_) => "avx2",
            Self::Baseline if cfg!(target_arch = "aarch64") => "neon",
            Self::Baseline => "baseline",
        }
    }

    /// Does a part of a step.
    #[inline]
    pub(super) fn run(self, stack: &Stack, room: &mut Room, work: Work<'_>) {
        match self {
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "only a call knows which instructions were found")]
            Self::Fused(Detected(())) => {
                // SAFETY: the value says that this processor has AVX2 and FMA: its field is
                // private to this file, where `Cpu::best` alone makes it, behind the detection.
                unsafe { fused(stack, room, work) }
            }
            Self::Baseline => stack.perform(room, work),
        }
    }
}

/// The same code, compiled for AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn fused(stack: &Stack, room: &mut Room, work: Work<'_>) {
    stack.perform(room, work);
}
