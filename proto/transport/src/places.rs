//! Places for connections: so many of one peer, so many in all, and who makes
//! room when there are no more.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// How many there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Of one peer.
    pub(crate) of_one: usize,
    /// Of all.
    pub(crate) in_all: usize,
    /// Whether a peer that has all of its own gets one more for its oldest,
    /// instead of none.
    pub(crate) oldest_goes: bool,
}

/// The places of one listener, by whose they are. Cheap to clone.
pub(crate) struct Places<K: Ord> {
    limits: Limits,
    taken: Arc<Mutex<Taken<K>>>,
}

struct Taken<K> {
    next: u64,
    total: usize,
    by: BTreeMap<K, One>,
}

/// What one peer has.
#[derive(Default)]
struct One {
    /// From the oldest on; to drop a sender takes the place away.
    held: VecDeque<(u64, oneshot::Sender<()>)>,
    calls: Calls,
}

/// A place, until this is dropped.
pub(crate) struct Place<K: Ord> {
    taken: Arc<Mutex<Taken<K>>>,
    of: K,
    number: u64,
    lost: oneshot::Receiver<()>,
    calls: Calls,
}

impl<K: Ord> Clone for Places<K> {
    fn clone(&self) -> Self {
        Places {
            limits: self.limits,
            taken: self.taken.clone(),
        }
    }
}

impl<K: Ord + Clone> Places<K> {
    pub(crate) fn new(limits: Limits) -> Self {
        Places {
            limits,
            taken: Arc::new(Mutex::new(Taken {
                next: 0,
                total: 0,
                by: BTreeMap::new(),
            })),
        }
    }

    /// `None` when there is none for this peer: it has as many as it may have, or
    /// nobody has more of them than it would.
    pub(crate) fn take(&self, of: K) -> Option<Place<K>> {
        let mut taken = lock(&self.taken);
        let own = taken.by.get(&of).map_or(0, |one| one.held.len());
        if own >= self.limits.of_one {
            if !self.limits.oldest_goes {
                return None;
            }
            taken.end_oldest(&of);
        } else if taken.total >= self.limits.in_all {
            let most = taken.by.iter().max_by_key(|(_, one)| one.held.len());
            let (of, _) = most.filter(|(_, one)| one.held.len() > own + 1)?;
            let of = of.clone();
            taken.end_oldest(&of);
        }
        let number = taken.next;
        taken.next += 1;
        taken.total += 1;
        let (end, lost) = oneshot::channel();
        let one = taken.by.entry(of.clone()).or_default();
        one.held.push_back((number, end));
        Some(Place {
            taken: self.taken.clone(),
            of,
            number,
            lost,
            calls: one.calls.clone(),
        })
    }
}

impl<K: Ord> Taken<K> {
    fn end_oldest(&mut self, of: &K) {
        if let Some(one) = self.by.get_mut(of)
            && one.held.pop_front().is_some()
        {
            self.total -= 1;
        }
    }
}

impl<K: Ord> Place<K> {
    /// Calls under way of all that have a place as the same peer.
    pub(crate) fn calls(&self) -> &Calls {
        &self.calls
    }

    /// Waits until it is taken away. Not to be asked again afterwards.
    pub(crate) async fn lost(&mut self) {
        // Nothing is ever sent.
        let _ = (&mut self.lost).await;
    }

    /// Whether it was taken away; wakes the caller when it is. Not to be asked
    /// again afterwards.
    pub(crate) fn poll_lost(&mut self, context: &mut Context<'_>) -> bool {
        matches!(Pin::new(&mut self.lost).poll(context), Poll::Ready(_))
    }
}

impl<K: Ord> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        let Some(one) = taken.by.get_mut(&self.of) else {
            return;
        };
        let before = one.held.len();
        one.held.retain(|(number, _)| *number != self.number);
        let (gone, is_empty) = (before - one.held.len(), one.held.is_empty());
        if is_empty {
            taken.by.remove(&self.of);
        }
        taken.total -= gone;
    }
}

fn lock<K: Ord>(taken: &Mutex<Taken<K>>) -> MutexGuard<'_, Taken<K>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The calls that a peer has under way, and those of them apart that may last.
/// Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Calls {
    short: Arc<AtomicUsize>,
    lasting: Arc<AtomicUsize>,
    bytes: Arc<AtomicUsize>,
}

impl Calls {
    /// One more, unless there are as many as `limit`.
    pub fn begin(&self, limit: usize) -> Option<Call> {
        begin(&self.short, limit)
    }

    /// One more that may last, unless there are as many of these as `limit`.
    pub fn begin_lasting(&self, limit: usize) -> Option<Call> {
        begin(&self.lasting, limit)
    }

    /// What one of these calls brings, of `limit` bytes that all of them may.
    pub fn load(&self, limit: usize) -> Load {
        Load {
            all: self.bytes.clone(),
            own: AtomicUsize::new(0),
            limit,
        }
    }
}

fn begin(count: &Arc<AtomicUsize>, limit: usize) -> Option<Call> {
    let more = |now: usize| (now < limit).then_some(now + 1);
    let begun = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    begun.is_ok().then(|| Call(count.clone()))
}

/// Bytes that a call has brought, until this is dropped.
#[derive(Debug)]
pub struct Load {
    all: Arc<AtomicUsize>,
    own: AtomicUsize,
    limit: usize,
}

impl Load {
    /// Whether so many more bytes fit beside what all calls of the peer hold.
    pub fn add(&self, bytes: usize) -> bool {
        let more = |now: usize| now.checked_add(bytes).filter(|sum| *sum <= self.limit);
        let order = Ordering::Relaxed;
        let fits = self.all.fetch_update(order, order, more).is_ok();
        if fits {
            self.own.fetch_add(bytes, order);
        }
        fits
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.all.fetch_sub(*self.own.get_mut(), Ordering::Relaxed);
    }
}

/// A call under way, until this is dropped.
#[derive(Debug)]
pub struct Call(Arc<AtomicUsize>);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(of_one: usize, in_all: usize, oldest_goes: bool) -> Places<u8> {
        Places::new(Limits {
            of_one,
            in_all,
            oldest_goes,
        })
    }

    /// Whether it still has its place.
    fn stands(place: &mut Place<u8>) -> bool {
        place.lost.try_recv() == Err(oneshot::error::TryRecvError::Empty)
    }

    #[test]
    fn each_has_its_share_and_no_more() {
        let places = places(2, 100, false);
        let first = places.take(1).unwrap();
        let second = places.take(1).unwrap();
        assert!(places.take(1).is_none());
        let other = places.take(2).unwrap();
        drop(first);
        let third = places.take(1).unwrap();
        drop((second, third, other));
        let taken = lock(&places.taken);
        assert!(taken.by.is_empty() && taken.total == 0);
    }

    #[test]
    fn what_calls_bring_counts_together_until_they_end() {
        let calls = Calls::default();
        let (one, other) = (calls.load(10), calls.clone().load(10));
        assert!(one.add(6) && other.add(4) && !one.add(1) && !other.add(usize::MAX));
        drop(one);
        assert!(other.add(6) && !other.add(1));
        drop(other);
        assert!(calls.load(10).add(10));
    }

    #[test]
    fn the_oldest_makes_room_where_it_is_to() {
        let places = places(2, 100, true);
        let mut first = places.take(1).unwrap();
        let mut second = places.take(1).unwrap();
        let mut third = places.take(1).unwrap();
        assert!(!stands(&mut first) && stands(&mut second) && stands(&mut third));
        // It gives back what was taken from it only once.
        drop(first);
        assert_eq!(lock(&places.taken).total, 2);
    }

    #[test]
    fn who_has_most_makes_room_for_who_has_less() {
        let places = places(4, 5, false);
        let mut many: Vec<_> = (0..4).map(|_| places.take(1).unwrap()).collect();
        let mut few = places.take(2).unwrap();
        let mut third = places.take(3).unwrap();
        assert!(!stands(&mut many[0]) && many[1..].iter_mut().all(stands));
        let mut fourth = places.take(2).unwrap();
        assert!(!stands(&mut many[1]) && many[2..].iter_mut().all(stands));
        // Two each: those that began are not given up for one that comes.
        assert!(places.take(3).is_none());
        assert!([&mut few, &mut third, &mut fourth].into_iter().all(stands));
        // Not even who has most gains by coming again.
        assert!(places.take(1).is_none());
        let last = places.take(4).unwrap();
        assert_eq!(lock(&places.taken).total, 5);
        drop(last);
    }

    #[test]
    fn calls_of_one_peer_count_together() {
        let places = places(2, 100, false);
        let (one, same) = (places.take(1).unwrap(), places.take(1).unwrap());
        let first = one.calls().begin(2).unwrap();
        let second = same.calls().begin(2).unwrap();
        assert!(one.calls().begin(2).is_none());
        drop(first);
        let third = one.calls().begin(2).unwrap();
        assert!(places.take(2).unwrap().calls().begin(1).is_some());
        drop((second, third));
    }
}
