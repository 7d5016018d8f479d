//! What is read here of bytes that containers send, for `tests/fuzz`: no part of
//! the interface. Nothing of it may panic, whatever it is given.

use crate::resolver;

/// A question to the resolver of a container.
pub fn question(bytes: &[u8]) {
    resolver::read_question(bytes);
}
