//! Spoils bytes: what a hostile or broken peer may make of a good message.

use rand::Rng;
use rand::rngs::StdRng;

/// Numbers at which lengths, tags and counters turn over.
const EDGES: &[&[u8]] = &[
    &[0],
    &[0x7f],
    &[0x80],
    &[0xff],
    // The largest length, and one more than fits.
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    // The start and the end of a group, which nothing here uses.
    &[0x0b],
    &[0x0c],
    b"-----BEGIN",
];
/// Longest input.
const MAX: usize = 1 << 20;

/// A spoilt copy of `seed`, perhaps with a part of `other`, and some of `words`.
pub fn mutate(rng: &mut StdRng, seed: &[u8], other: &[u8], words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..rng.random_range(1..=8) {
        once(rng, &mut bytes, other, words);
    }
    bytes.truncate(MAX);
    bytes
}

fn once(rng: &mut StdRng, bytes: &mut Vec<u8>, other: &[u8], words: &[&[u8]]) {
    let at = rng.random_range(0..=bytes.len());
    let end = (at + rng.random_range(0..64)).min(bytes.len());
    match rng.random_range(0..9) {
        0 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
        1 if at < bytes.len() => bytes[at] = rng.random(),
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let edge = EDGES[rng.random_range(0..EDGES.len())];
            bytes.splice(at..end.min(at + edge.len()), edge.iter().copied());
        }
        5 => {
            let part = bytes[at..end].to_vec();
            let times = rng.random_range(1..=64);
            bytes.splice(at..at, part.repeat(times));
        }
        6 => {
            let from = rng.random_range(0..=other.len());
            let until = rng.random_range(from..=other.len());
            bytes.splice(at..end, other[from..until].iter().copied());
        }
        7 if !words.is_empty() => {
            let word = words[rng.random_range(0..words.len())];
            bytes.splice(at..at, word.iter().copied());
        }
        _ => {
            // Deep nesting: the same tag and a length, over and over.
            let mut inner = bytes.split_off(at);
            inner.truncate(1 << 12);
            for _ in 0..rng.random_range(1..=300) {
                let Ok(length) = u16::try_from(inner.len()) else {
                    break;
                };
                let low = u8::try_from(length & 0x7f).unwrap_or(0) | 0x80;
                let high = u8::try_from((length >> 7) & 0x7f).unwrap_or(0);
                inner.splice(0..0, [0x0a, low, high]);
            }
            bytes.extend(inner);
        }
    }
}
