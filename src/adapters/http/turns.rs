//! Answers that take long to make, or much memory to hold.
//!
//! Owns the order in which they are made and the bytes that wait to be read. Promises that between
//! two of them every probe that waits is answered, that all who wait for the metrics get one page,
//! which was begun after each of them asked, and that answers which peers do not read hold a
//! bounded amount of memory. Never makes an answer itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;

/// Smaller answers are not counted: the connections bound them.
const LARGE_BYTES: usize = 64 << 10;

/// What large answers may hold until they are read, in KiB.
const UNREAD_KIB_MAX: usize = 64 << 10;

/// The turns of one server.
pub(super) struct Turns {
    page: Mutex<Page>,
    /// Pages of metrics that were begun.
    begun: AtomicU64,
    listing: Mutex<()>,
    unread_kib: Arc<Semaphore>,
}

/// The newest page of metrics.
#[derive(Default)]
struct Page {
    number: u64,
    body: Bytes,
}

/// The answers that wait to be read leave no room for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

/// An answer with the room that it takes.
struct Held {
    body: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Turns {
    pub(super) fn new() -> Self {
        Self {
            page: Mutex::default(),
            begun: AtomicU64::new(0),
            listing: Mutex::default(),
            unread_kib: Arc::new(Semaphore::new(UNREAD_KIB_MAX)),
        }
    }

    /// The page of metrics. `render` makes a new one, unless one was begun since this call.
    pub(super) async fn page<E>(
        &self,
        render: impl FnOnce() -> Result<Bytes, E>,
    ) -> Result<Bytes, E> {
        let known = self.begun.load(Ordering::Relaxed);
        let mut page = self.page.lock().await;
        if page.number <= known {
            // All who ask before it is begun get the same page.
            yield_now().await;
            let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
            *page = Page { number, body: render()? };
        }
        Ok(page.body.clone())
    }

    /// A list that `make` makes when its turn comes.
    pub(super) async fn list(&self, make: impl FnOnce() -> Vec<u8>) -> Result<Bytes, NoRoom> {
        let _turn = self.listing.lock().await;
        yield_now().await;
        self.held(make())
    }

    fn held(&self, body: Vec<u8>) -> Result<Bytes, NoRoom> {
        if body.len() < LARGE_BYTES {
            return Ok(body.into());
        }
        let kib = u32::try_from(body.len() >> 10).map_err(|_| NoRoom)?;
        let room = Arc::clone(&self.unread_kib).try_acquire_many_owned(kib);
        room.map(|room| Bytes::from_owner(Held { body, _room: room })).map_err(|_| NoRoom)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn all_who_wait_share_a_page_that_was_begun_after_they_asked() {
        let (turns, rendered) = (Turns::new(), Cell::new(0u8));
        let page = || {
            turns.page(|| {
                rendered.set(rendered.get() + 1);
                Ok::<_, Infallible>(Bytes::from(vec![rendered.get()]))
            })
        };
        assert_eq!(page().await.unwrap(), [1].as_slice());
        assert_eq!(page().await.unwrap(), [2].as_slice(), "a page is never older than its request");
        let pages = join_all((0..300).map(|_| page())).await;
        assert!(pages.iter().all(|page| page.as_ref().unwrap() == [3].as_slice()));
        let failed = turns.page(|| Err("no")).await;
        assert_eq!(failed, Err("no"));
        assert_eq!(page().await.unwrap(), [4].as_slice());
    }

    #[tokio::test]
    async fn large_answers_hold_so_much_memory_and_no_more() {
        let turns = Turns::new();
        let list = |bytes: usize| {
            let turns = &turns;
            async move { turns.list(|| vec![7; bytes]).await }
        };
        let half = (UNREAD_KIB_MAX / 2) << 10;
        let held = [list(half).await.unwrap(), list(half).await.unwrap()];
        let shared = held[0].clone();
        assert_eq!(list(LARGE_BYTES).await, Err(NoRoom));
        assert_eq!(list(LARGE_BYTES - 1).await.unwrap().len(), LARGE_BYTES - 1);
        drop(held);
        assert_eq!(list(half).await.unwrap().len(), half);
        assert_eq!(list(half + LARGE_BYTES).await, Err(NoRoom), "a clone holds it as well");
        drop(shared);
        assert!(list(half + LARGE_BYTES).await.is_ok());
    }
}
