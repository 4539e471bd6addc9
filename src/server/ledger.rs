//! Who is connected: at most so many altogether, and at most so many from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts the open connections.
pub(crate) struct Ledger {
    total_max: usize,
    /// 0: no limit.
    per_peer_max: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    total: usize,
    /// Empty unless peers are limited; an address is in it only while it is connected.
    by_peer: HashMap<IpAddr, usize>,
}

/// The place of one connection, given back when dropped.
pub(crate) struct Place {
    ledger: Arc<Ledger>,
    peer: IpAddr,
}

impl Ledger {
    pub(crate) fn new(total_max: usize, per_peer_max: usize) -> Self {
        Self { total_max, per_peer_max, open: Mutex::default() }
    }

    /// A place for one more connection from this address, unless there is none.
    pub(crate) fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let mut open = self.lock();
        if open.total >= self.total_max {
            return None;
        }
        let peer = subscriber(peer);
        if self.per_peer_max > 0 {
            let count = open.by_peer.entry(peer).or_default();
            if *count >= self.per_peer_max {
                return None;
            }
            *count += 1;
        }
        open.total += 1;
        gauge(open.total);
        Some(Place { ledger: Arc::clone(self), peer })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.ledger.lock();
        open.total = open.total.saturating_sub(1);
        gauge(open.total);
        if let Some(count) = open.by_peer.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                open.by_peer.remove(&self.peer);
            }
        }
    }
}

/// One subscriber has a whole IPv6 network of 64 bits to choose addresses from: it counts as one.
fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
        address => address,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn gauge(total: usize) {
    metrics::gauge!("ragstone_connections_open").set(total as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back() {
        let ledger = Arc::new(Ledger::new(2, 0));
        let peer: IpAddr = "10.0.0.1".parse().unwrap();
        let (first, second) = (ledger.enter(peer).unwrap(), ledger.enter(peer).unwrap());
        assert!(ledger.enter(peer).is_none());
        drop(first);
        assert!(ledger.enter(peer).is_some());
        drop(second);
        assert_eq!(ledger.lock().total, 0);
    }

    #[test]
    fn one_address_does_not_take_the_places_of_others() {
        let ledger = Arc::new(Ledger::new(10, 1));
        let enter = |peer: &str| ledger.enter(peer.parse().unwrap());
        let first = enter("10.0.0.1");
        assert!(first.is_some() && enter("10.0.0.1").is_none() && enter("::ffff:10.0.0.1").is_none());
        let other = enter("2001:db8::1");
        assert!(other.is_some() && enter("2001:db8::2").is_none() && enter("2001:db8:0:1::1").is_some());
        drop((first, other));
        assert!(ledger.lock().by_peer.is_empty(), "an address that left is remembered");
    }
}
