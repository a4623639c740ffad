//! The places of connections, and how long each one may be held.
//!
//! Owns which connections are open and what each of them waits for. Promises that a new connection
//! gets a place unless every other one waits for a reload, that the place is taken from the address
//! with the most connections, and that no peer holds a place by waiting. Addresses therefore share
//! the places evenly, and a probe is answered also where all traffic comes from one address. Never
//! reads or writes a socket.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::metrics::{Cut, HttpMetrics};
use crate::ops::clock::TimerStopwatch;

/// How many connections there may be, and how long each may wait for its peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionLimits {
    /// Connections at once, those of subscribers not counted.
    pub(super) places_max: usize,
    /// From the connection, or from the first byte of a further request, to the end of its head.
    pub(super) head_max: Duration,
    /// From an answer to the first byte of the next request.
    pub(super) idle_max: Duration,
    /// From an answer until the peer has read all of it but what the system buffers.
    pub(super) unread_max: Duration,
    /// How long a connection lives in all.
    pub(super) life_max: Duration,
}

/// What the task of a connection has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Stay,
    /// Answers the request that it has, and no other.
    Retire,
    /// Ends at once.
    Cut(Cut),
}

/// All open connections; cloning shares them.
#[derive(Clone)]
pub(super) struct Connections(Arc<Shared>);

struct Shared {
    limits: ConnectionLimits,
    metrics: HttpMetrics,
    /// Behind a lock, because a place is given up wherever its holder is dropped.
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    next: u64,
    open: BTreeMap<u64, Entry>,
}

struct Entry {
    network: IpAddr,
    begun: TimerStopwatch,
    activity: Activity,
    order: watch::Sender<Order>,
}

/// A connection that has a place, until it is dropped.
pub(super) struct Admitted {
    number: u64,
    activity: Activity,
    order: watch::Receiver<Order>,
    shared: Arc<Shared>,
}

/// What a connection waits for, and since when; cloning shares it. Behind a lock, because the
/// socket and the service of one connection both change it.
#[derive(Clone)]
pub(super) struct Activity(Arc<Mutex<(Phase, TimerStopwatch)>>);

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The rest of a request's head.
    Head,
    /// The answer to a request that only reads.
    Asked,
    /// The end of a change that it asked for.
    Changing,
    /// The peer, to read what was written.
    Unread,
    /// A further request.
    Idle,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            places_max: 256,
            head_max: Duration::from_secs(10),
            // Above the usual intervals of scrapes and probes, which keep their connections.
            idle_max: Duration::from_secs(75),
            unread_max: Duration::from_secs(30),
            life_max: Duration::from_secs(300),
        }
    }
}

impl Connections {
    pub(super) fn new(limits: ConnectionLimits, metrics: HttpMetrics) -> Self {
        Self(Arc::new(Shared { limits, metrics, table: Mutex::default() }))
    }

    /// A place for a peer at `address`, if need be that of another connection; `None` where every
    /// connection waits for a change.
    pub(super) fn admit(&self, address: IpAddr) -> Option<Admitted> {
        let Shared { limits, metrics, .. } = &*self.0;
        let mut table = self.0.lock();
        let has_room = table.open.len() < limits.places_max;
        if !has_room && !table.cut_longest_waiting(Cut::Place, metrics) {
            metrics.cut(Cut::Full);
            return None;
        }
        let (order, orders) = watch::channel(Order::Stay);
        let activity = Activity::new();
        let number = table.next;
        table.next += 1;
        let entry = Entry {
            network: network_of(address),
            begun: TimerStopwatch::start(),
            activity: activity.clone(),
            order,
        };
        table.open.insert(number, entry);
        metrics.opened();
        Some(Admitted { number, activity, order: orders, shared: Arc::clone(&self.0) })
    }

    /// Cuts the connection that can be spared best, where one can.
    pub(super) fn spare_one(&self, reason: Cut) -> bool {
        self.0.lock().cut_longest_waiting(reason, &self.0.metrics)
    }

    /// Ends every connection that has waited, or lived, for too long.
    pub(super) fn sweep(&self) {
        let Shared { limits, metrics, .. } = &*self.0;
        let mut table = self.0.lock();
        table.open.retain(|_, entry| {
            let (phase, waited) = entry.activity.state();
            let is_old = entry.begun.elapsed() > limits.life_max;
            let reason = match phase {
                Phase::Head if waited > limits.head_max => Cut::Head,
                Phase::Unread if waited > limits.unread_max => Cut::Unread,
                Phase::Idle if waited > limits.idle_max => Cut::Idle,
                Phase::Asked | Phase::Changing => {
                    if is_old {
                        entry.order.send_replace(Order::Retire);
                    }
                    return true;
                }
                Phase::Head | Phase::Unread | Phase::Idle if is_old => Cut::Life,
                Phase::Head | Phase::Unread | Phase::Idle => return true,
            };
            entry.cut(reason, metrics);
            false
        });
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Table> {
        // Each change is one insertion or removal, so what a panicking holder leaves is whole.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Cuts the connection that has waited longest for its peer, out of those of the address that
    /// has the most.
    fn cut_longest_waiting(&mut self, reason: Cut, metrics: &HttpMetrics) -> bool {
        let mut counts = HashMap::<IpAddr, usize>::new();
        for entry in self.open.values() {
            *counts.entry(entry.network).or_default() += 1;
        }
        let waiting = self.open.iter().filter_map(|(number, entry)| {
            let (phase, waited) = entry.activity.state();
            (phase != Phase::Changing).then_some((counts[&entry.network], waited, *number))
        });
        // Of two that have waited as long the older one goes.
        let spared = waiting
            .max_by_key(|(count, waited, number)| (*count, *waited, std::cmp::Reverse(*number)));
        let entry = spared.and_then(|(_, _, number)| self.open.remove(&number));
        entry.is_some_and(|entry| {
            entry.cut(reason, metrics);
            true
        })
    }
}

impl Entry {
    fn cut(&self, reason: Cut, metrics: &HttpMetrics) {
        self.order.send_replace(Order::Cut(reason));
        metrics.cut(reason);
    }
}

impl Admitted {
    pub(super) fn activity(&self) -> &Activity {
        &self.activity
    }

    /// The next order; never [`Order::Stay`].
    pub(super) async fn next_order(&mut self) -> Order {
        loop {
            if self.order.changed().await.is_err() {
                // The entry is gone with its last order, which was read before.
                return std::future::pending().await;
            }
            match *self.order.borrow_and_update() {
                Order::Stay => {}
                order => return order,
            }
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.shared.lock().open.remove(&self.number);
        self.shared.metrics.closed();
    }
}

impl Activity {
    fn new() -> Self {
        Self(Arc::new(Mutex::new((Phase::Head, TimerStopwatch::start()))))
    }

    /// Bytes came from the peer.
    pub(super) fn came(&self) {
        self.change(|phase| (phase == Phase::Idle).then_some(Phase::Head));
    }

    /// A request is whole. One that `changes` something is finished, whatever comes.
    pub(super) fn asked(&self, changes: bool) {
        self.change(|_| Some(if changes { Phase::Changing } else { Phase::Asked }));
    }

    /// Its answer is made and will be written.
    pub(super) fn answered(&self) {
        self.change(|_| Some(Phase::Unread));
    }

    /// The socket takes no more bytes for now.
    pub(super) fn blocked(&self) {
        self.change(|phase| matches!(phase, Phase::Idle | Phase::Head).then_some(Phase::Unread));
    }

    /// The socket has taken everything that was written.
    pub(super) fn taken(&self) {
        self.change(|phase| (phase == Phase::Unread).then_some(Phase::Idle));
    }

    fn state(&self) -> (Phase, Duration) {
        let (phase, since) = *self.lock();
        (phase, since.elapsed())
    }

    fn change(&self, next: impl FnOnce(Phase) -> Option<Phase>) {
        let mut state = self.lock();
        if let Some(phase) = next(state.0) {
            *state = (phase, TimerStopwatch::start());
        }
    }

    fn lock(&self) -> MutexGuard<'_, (Phase, TimerStopwatch)> {
        // One assignment changes it, so it is always whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose connections count together: a host has one address of version 4, and a whole /64 of
/// version 6.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;
    use tokio::time::advance;

    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn places(places_max: usize) -> Connections {
        let metrics = HttpMetrics::register(&Registry::new()).unwrap();
        Connections::new(ConnectionLimits { places_max, ..ConnectionLimits::default() }, metrics)
    }

    fn order(admitted: &Admitted) -> Order {
        *admitted.order.borrow()
    }

    /// Brings a connection to a phase.
    type Bring = fn(&Activity);

    fn answer(one: &Activity) {
        one.asked(false);
        one.answered();
    }

    fn answer_all(one: &Activity) {
        answer(one);
        one.taken();
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_connection_takes_the_place_of_the_busiest_address() {
        let places = places(4);
        let quiet = places.admit(OTHER).unwrap();
        advance(Duration::from_secs(5)).await;
        let busy: Vec<_> = (0..3).map(|_| places.admit(ONE).unwrap()).collect();
        busy[0].activity().asked(true);
        advance(Duration::from_secs(1)).await;
        let newest = places.admit(OTHER).unwrap();
        assert_eq!(order(&quiet), Order::Stay, "it waits longest, but its address has few");
        assert_eq!(order(&busy[0]), Order::Stay, "it waits for a change");
        assert_eq!(order(&busy[1]), Order::Cut(Cut::Place));
        assert_eq!([order(&busy[2]), order(&newest)], [Order::Stay; 2]);

        // Two addresses with two each: now the longest wait decides.
        let _last = places.admit(ONE).unwrap();
        assert_eq!(order(&quiet), Order::Cut(Cut::Place));
        assert_eq!(places.0.lock().open.len(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_waits_for_a_change_is_not_taken() {
        let places = places(2);
        let held: Vec<_> = (0..2).map(|_| places.admit(ONE).unwrap()).collect();
        held.iter().for_each(|admitted| admitted.activity().asked(true));
        assert!(places.admit(OTHER).is_none());
        assert_eq!(places.0.metrics.count(Cut::Full), 1);
        held[1].activity().answered();
        assert!(places.admit(OTHER).is_some());
        assert_eq!(order(&held[1]), Order::Cut(Cut::Place));
        drop(held);
        assert!(places.0.lock().open.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn each_wait_has_its_limit() {
        let limits = ConnectionLimits::default();
        let cases: [(Bring, Duration, Cut); 5] = [
            (|_| {}, limits.head_max, Cut::Head),
            (answer, limits.unread_max, Cut::Unread),
            (answer_all, limits.idle_max, Cut::Idle),
            (
                |one| {
                    answer_all(one);
                    one.came();
                    // More of the same head does not renew its time.
                    one.came();
                },
                limits.head_max,
                Cut::Head,
            ),
            (Activity::blocked, limits.unread_max, Cut::Unread),
        ];
        for (index, (bring, wait, reason)) in cases.into_iter().enumerate() {
            let places = places(1);
            let one = places.admit(ONE).unwrap();
            bring(one.activity());
            advance(wait).await;
            places.sweep();
            assert_eq!(order(&one), Order::Stay, "{index}");
            advance(Duration::from_millis(1)).await;
            places.sweep();
            assert_eq!(order(&one), Order::Cut(reason), "{index}");
            assert_eq!(places.0.metrics.count(reason), 1, "{index}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_life_has_an_end_and_an_answer_is_finished_first() {
        let places = places(2);
        let [busy, idle] = [ONE, OTHER].map(|address| places.admit(address).unwrap());
        for _ in 0..10 {
            busy.activity().asked(false);
            answer_all(idle.activity());
            places.sweep();
            assert_eq!([order(&busy), order(&idle)], [Order::Stay; 2]);
            advance(Duration::from_secs(31)).await;
        }
        places.sweep();
        assert_eq!([order(&busy), order(&idle)], [Order::Retire, Order::Cut(Cut::Life)]);
    }

    #[test]
    fn a_network_of_version_6_counts_as_one_address() {
        let network = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:10.0.0.1"), ONE);
        assert_ne!(network("10.0.0.1"), network("10.0.0.2"));
    }
}
