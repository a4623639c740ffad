//! Seeded random numbers for initial weights, shuffling, dropout and samples.
//!
//! Owns: the generator xoshiro256++ (Blackman and Vigna, <https://prng.di.unimi.it>), seeded by
//! `SplitMix64` as its authors advise, and the few distributions the trainer draws from.
//!
//! Promises: the sequence of a seed never changes, because a bundle names the seed it was trained
//! with; that is why the generator is written out here and pinned by its published values, and not
//! taken from a crate that may improve it.
//!
//! Never: reads the clock or the system's entropy, and is never used for secrets.

/// What a stream of random numbers is for. Each purpose has a sequence of its own, so that
/// changing, say, the dropout of a network does not change the order of its training windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Initial parameters.
    Initial,
    /// The order of labels in a control that learns from shuffled ones.
    Labels,
    /// Order of the windows in each epoch.
    Order,
    /// Dropout masks.
    Dropout,
    /// Samples with replacement.
    Bootstrap,
    /// Which scores a report draws.
    Sample,
    /// The configurations that a search tries.
    Search,
}

/// The generator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// The stream of `seed` for one purpose.
    pub fn new(seed: u64, purpose: Purpose) -> Self {
        let stream = match purpose {
            Purpose::Initial => 1,
            Purpose::Labels => 6,
            Purpose::Order => 2,
            Purpose::Dropout => 3,
            Purpose::Bootstrap => 4,
            Purpose::Sample => 5,
            Purpose::Search => 7,
        };
        // Hashing the stream number first keeps seed 1 stream 2 away from seed 2 stream 1.
        let mut mixer = SplitMix64(seed ^ SplitMix64(stream).next());
        Self { state: [mixer.next(), mixer.next(), mixer.next(), mixer.next()] }
    }

    /// A stream that goes on from the state of another.
    pub fn restore(state: [u64; 4]) -> Self {
        Self { state }
    }

    /// The state, to go on from later.
    pub fn state(&self) -> [u64; 4] {
        self.state
    }

    /// 64 uniform bits.
    pub fn bits(&mut self) -> u64 {
        let [s0, s1, s2, s3] = &mut self.state;
        let result = s0.wrapping_add(*s3).rotate_left(23).wrapping_add(*s0);
        let shifted = *s1 << 17;
        *s2 ^= *s0;
        *s3 ^= *s1;
        *s1 ^= *s2;
        *s0 ^= *s3;
        *s2 ^= shifted;
        *s3 = s3.rotate_left(45);
        result
    }

    /// Uniform in [0, 1), a multiple of 2^-24.
    #[expect(clippy::cast_precision_loss, reason = "24 bits fit the significand exactly")]
    pub fn unit_f32(&mut self) -> f32 {
        (self.bits() >> 40) as f32 * (1.0 / 16_777_216.0)
    }

    /// Uniform in [0, 1), a multiple of 2^-53.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit the significand exactly")]
    pub fn unit_f64(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// Standard normal (Marsaglia's polar method; the second value of each pair is not kept).
    pub fn normal(&mut self) -> f64 {
        loop {
            let x = 2.0 * self.unit_f64() - 1.0;
            let y = 2.0 * self.unit_f64() - 1.0;
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                return x * (-2.0 * square.ln() / square).sqrt();
            }
        }
    }

    /// Uniform in `0..limit` without bias; `limit` is at least 1.
    pub fn below(&mut self, limit: usize) -> usize {
        assert!(limit > 0, "nothing to choose from");
        let limit = limit as u64;
        // Values past the last whole multiple of `limit` would favour small results.
        let fair = u64::MAX - u64::MAX % limit;
        loop {
            let value = self.bits();
            if value < fair {
                return usize::try_from(value % limit).expect("the remainder is below a usize");
            }
        }
    }

    /// Fisher–Yates shuffle.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// The generator that turns one seed into the four words of the other.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First outputs of xoshiro256++ from the state 1, 2, 3, 4, as printed by the authors' C code.
    #[test]
    fn the_generator_gives_its_published_sequence() {
        let mut random = Random { state: [1, 2, 3, 4] };
        let first: Vec<u64> = (0..4).map(|_| random.bits()).collect();
        assert_eq!(first, [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386]);
    }

    /// First outputs of `SplitMix64` from the state 1234567, as printed by the authors' C code.
    #[test]
    fn the_seeder_gives_its_published_sequence() {
        let mut mixer = SplitMix64(1_234_567);
        assert_eq!(mixer.next(), 6_457_827_717_110_365_317);
        assert_eq!(mixer.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn purposes_and_seeds_have_sequences_of_their_own() {
        let first = |seed, purpose| Random::new(seed, purpose).bits();
        let all = [
            first(1, Purpose::Initial),
            first(1, Purpose::Labels),
            first(1, Purpose::Order),
            first(1, Purpose::Dropout),
            first(1, Purpose::Bootstrap),
            first(1, Purpose::Sample),
            first(2, Purpose::Initial),
            first(2, Purpose::Order),
        ];
        for (at, value) in all.iter().enumerate() {
            assert!(!all[..at].contains(value), "stream {at} repeats another");
        }
    }

    #[test]
    fn normal_values_have_mean_zero_and_variance_one() {
        let mut random = Random::new(7, Purpose::Initial);
        let values: Vec<f64> = (0..20_000).map(|_| random.normal()).collect();
        let mean = values.iter().sum::<f64>() / 20_000.0;
        let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / 20_000.0;
        // Four standard errors: 4/sqrt(20000) and 4*sqrt(2/20000).
        assert!(mean.abs() < 0.029, "mean {mean}");
        assert!((variance - 1.0).abs() < 0.04, "variance {variance}");
    }

    #[test]
    fn a_shuffle_is_a_permutation_and_every_place_is_reachable() {
        let mut random = Random::new(3, Purpose::Order);
        let mut seen = [[false; 4]; 4];
        for _ in 0..200 {
            let mut items = [0, 1, 2, 3];
            random.shuffle(&mut items);
            let mut sorted = items;
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3]);
            for (place, &item) in items.iter().enumerate() {
                seen[place][item] = true;
            }
        }
        assert_eq!(seen, [[true; 4]; 4]);
    }
}
