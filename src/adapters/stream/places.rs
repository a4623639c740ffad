//! The places of subscribers: so many in all, so many from one address.
//!
//! Owns the counts. Promises that a place that is given up, however its holder ends, can be taken
//! again. Never knows what a place is for.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All places; cloning shares them.
#[derive(Clone, Debug)]
pub(super) struct Places {
    places_max: usize,
    per_address_max: usize,
    /// Taken places by address; addresses without any are not in it. Behind a lock, because a
    /// place is given up wherever its holder is dropped.
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    address: IpAddr,
    taken: Arc<Mutex<Taken>>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// All are taken.
    Full,
    /// All that one address may have are taken.
    AddressFull,
}

impl Places {
    pub(super) fn new(places_max: usize, per_address_max: usize) -> Self {
        Self { places_max, per_address_max, taken: Arc::default() }
    }

    pub(super) fn take(&self, address: IpAddr) -> Result<Place, NoPlace> {
        let mut taken = lock(&self.taken);
        if taken.total >= self.places_max {
            return Err(NoPlace::Full);
        }
        let of_address = taken.by_address.get(&address).copied().unwrap_or(0);
        if of_address >= self.per_address_max {
            return Err(NoPlace::AddressFull);
        }
        taken.by_address.insert(address, of_address + 1);
        taken.total += 1;
        drop(taken);
        Ok(Place { address, taken: Arc::clone(&self.taken) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.total -= 1;
        if let Some(count) = taken.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    // Nothing between the changes of one holder can panic, so the counts fit together.
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_in_all_and_by_address_and_come_back() {
        let places = Places::new(3, 2);
        let [one, other]: [IpAddr; 2] = [[10, 0, 0, 1].into(), [10, 0, 0, 2].into()];
        let first = places.take(one).unwrap();
        let _second = places.take(one).unwrap();
        assert_eq!(places.take(one).err(), Some(NoPlace::AddressFull));
        let third = places.take(other).unwrap();
        assert_eq!(places.take(other).err(), Some(NoPlace::Full));
        drop(first);
        assert!(places.take(one).is_ok(), "and given up at once");
        drop(third);
        assert_eq!(lock(&places.taken).by_address, [(one, 1)].into());
        assert_eq!(lock(&places.taken).total, 1);
    }
}
