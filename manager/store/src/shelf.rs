//! Tasks of a service lie on shelves, so many slots on each, so that what has changed of a
//! large service can be found without looking at all of it.

use skep_types::Slot;

/// Slots of a shelf. Few where it is tested, so that small services have several.
const SLOTS: u32 = if cfg!(debug_assertions) { 4 } else { 256 };

/// Slots of a service that lie side by side, by number. What has no slot is on the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shelf(u32);

impl Shelf {
    /// The one that is there even without tasks.
    pub(crate) const FIRST: Shelf = Shelf(0);

    /// Where a slot is.
    pub fn of(slot: Slot) -> Shelf {
        Shelf(slot.0 / SLOTS)
    }

    /// Its first and last slot.
    pub(crate) fn ends(self) -> (Slot, Slot) {
        let first = self.0 * SLOTS;
        (Slot(first), Slot(first + (SLOTS - 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_is_on_its_shelf() {
        for slot in [0, 1, SLOTS - 1, SLOTS, u32::MAX - 1, u32::MAX].map(Slot) {
            let (first, last) = Shelf::of(slot).ends();
            assert!(first <= slot && slot <= last, "{slot:?}");
            assert_eq!(Shelf::of(first), Shelf::of(last));
        }
    }
}
