//! What one stack may still take of memory, over all of its files.
//!
//! Owns the counts. Each step pays before it makes something, and says what there is too much
//! of; without that a file of a few lines fills the memory of whoever reads it.

use std::cell::Cell;

/// Values and bytes of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cost {
    pub(crate) values: usize,
    pub(crate) text: usize,
}

impl Cost {
    /// Most that the files have, and most that copies of them have.
    pub(crate) const MOST: Cost = Cost {
        values: 200_000,
        text: MOST_TEXT,
    };

    pub(crate) fn plus(self, other: Cost) -> Cost {
        Cost {
            values: self.values.saturating_add(other.values),
            text: self.text.saturating_add(other.text),
        }
    }

    pub(crate) fn fits(self, most: Cost) -> bool {
        self.values <= most.values && self.text <= most.text
    }
}

/// Most bytes of text: of the files, with their variables replaced, and of contents.
pub(crate) const MOST_TEXT: usize = 16 << 20;
/// Most ports after ranges are written out.
pub(crate) const MOST_PORTS: usize = 20_000;

/// What is left.
pub(crate) struct Room {
    files: Cell<Cost>,
    /// Bytes that variables make.
    pub(crate) replaced: Left,
    /// Ports that ranges are written out to.
    pub(crate) ports: Left,
    /// Bytes of secrets and configs.
    pub(crate) contents: Left,
}

impl Default for Room {
    fn default() -> Self {
        Room {
            files: Cell::new(Cost::MOST),
            replaced: Left::of(MOST_TEXT),
            ports: Left::of(MOST_PORTS),
            contents: Left::of(MOST_TEXT),
        }
    }
}

impl Room {
    /// What files may still have, aliases written out.
    pub(crate) fn files(&self) -> Cost {
        self.files.get()
    }

    /// One more file was read.
    pub(crate) fn read(&self, cost: Cost) {
        let left = self.files.get();
        self.files.set(Cost {
            values: left.values.saturating_sub(cost.values),
            text: left.text.saturating_sub(cost.text),
        });
    }
}

/// How much is left of something; nothing once more was asked for than there was.
pub(crate) struct Left(Cell<Option<usize>>);

impl Left {
    fn of(amount: usize) -> Self {
        Left(Cell::new(Some(amount)))
    }

    /// Takes so much. False when it does not fit: then nothing does any more.
    pub(crate) fn take(&self, amount: usize) -> bool {
        self.0
            .set(self.0.get().and_then(|left| left.checked_sub(amount)));
        !self.is_spent()
    }

    /// More was asked for than there was.
    pub(crate) fn is_spent(&self) -> bool {
        self.0.get().is_none()
    }
}
