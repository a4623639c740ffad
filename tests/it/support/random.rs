//! Random choices of a test that can be made again: the seed is printed, and can be given.

/// The variable that gives the seed.
const SEED: &str = "TICKCAST_TEST_SEED";

/// A stream of numbers (splitmix64).
pub(crate) struct Random(u64);

impl From<u64> for Random {
    /// A stream from a number of another one.
    fn from(seed: u64) -> Self {
        Self(seed)
    }
}

impl Random {
    /// A stream from the seed that the environment gives, or another one in each run.
    pub(crate) fn announced(what: &str) -> Self {
        Self::from_seed_or(what, std::process::id().into())
    }

    /// A stream from the seed that the environment gives, or the same one in each run.
    pub(crate) fn repeated(what: &str) -> Self {
        Self::from_seed_or(what, 1)
    }

    fn from_seed_or(what: &str, seed: u64) -> Self {
        let seed =
            std::env::var(SEED).map_or(seed, |seed| seed.parse().expect("the seed is a number"));
        println!("{what}: {SEED}={seed}");
        Self(seed)
    }

    /// A number below `end`; zero where there is none.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }
}
