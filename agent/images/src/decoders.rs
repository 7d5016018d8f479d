//! What is read here of bytes that registries and archives hold, for `tests/fuzz`:
//! no part of the interface. Nothing of it may panic, whatever it is given.

use std::io::{Cursor, Read};

use crate::config::Document;
use crate::layer::TarReader;
use crate::manifest::{Manifest, choose, platforms};
use crate::registry;

/// A manifest or an index, and the configuration of an image.
pub fn document(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::parse(bytes)
        && let Manifest::Index(entries) = manifest
    {
        drop(choose(&entries).map(drop));
        drop(platforms(&entries));
    }
    drop(Document::parse(bytes));
}

/// What a registry asks for before it answers, its errors and its tokens.
pub fn answer(bytes: &[u8]) {
    registry::read_answer(bytes);
}

/// The members of a tar stream, once as they come and once by their places.
pub fn tar(bytes: &[u8]) {
    let mut tar = TarReader::new(bytes);
    while let Ok(Some(_)) = tar.next() {
        let mut content = [0; 512];
        while matches!(tar.read(&mut content), Ok(read) if read > 0) {}
    }
    let mut tar = TarReader::new(Cursor::new(bytes));
    while let Ok(Some(_)) = tar.next_seek() {}
}
