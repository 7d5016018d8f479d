//! Why something is as it is, in a few sentences from what managers recorded: pure.
//!
//! One module a kind of thing. Owns the form of an answer: the most important cause first,
//! never more than [`MOST`] sentences, and one command to run next. What every node says to
//! one more task is `service explain`'s.

mod live;
pub mod node;
pub mod service;
pub mod stack;
pub mod task;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

/// Most sentences of an answer.
const MOST: usize = 6;
/// Most things that are named in one sentence.
const NAMED: usize = 3;

/// How much of a cause something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Rank {
    /// As it should be, and worth a word.
    #[default]
    Note,
    /// On its way.
    Coming,
    /// It waits for something else, which is where to look.
    Waits,
    /// Not as it should be.
    Wrong,
}

#[derive(Debug)]
struct Cause {
    rank: Rank,
    sentence: String,
    next: String,
}

/// What there is to tell of one thing.
#[derive(Debug)]
pub struct Story {
    kind: &'static str,
    name: String,
    state: String,
    /// What to run where nothing is wrong.
    usual: String,
    causes: Vec<Cause>,
}

impl Story {
    /// Of a thing in a state that is said as `NAME: STATE.`; `usual` is the command to run
    /// next where nothing is wrong.
    fn new(kind: &'static str, name: impl Into<String>, state: String, usual: String) -> Self {
        Story {
            kind,
            name: name.into(),
            state,
            usual,
            causes: Vec::new(),
        }
    }

    /// Adds a cause behind those of the same rank.
    fn add(&mut self, rank: Rank, sentence: impl Into<String>, next: impl Into<String>) {
        self.causes.push(Cause {
            rank,
            sentence: sentence.into(),
            next: next.into(),
        });
    }

    /// Adds what is no cause.
    fn note(&mut self, sentence: impl Into<String>) {
        self.add(Rank::Note, sentence, self.usual.clone());
    }

    /// How far it is from what it should be.
    pub fn rank(&self) -> Rank {
        let ranks = self.causes.iter().map(|cause| cause.rank);
        ranks.max().unwrap_or_default()
    }

    /// It is as it should be.
    pub fn is_well(&self) -> bool {
        self.rank() == Rank::Note
    }

    fn ordered(&self) -> Vec<&Cause> {
        let mut causes: Vec<&Cause> = self.causes.iter().collect();
        causes.sort_by_key(|cause| std::cmp::Reverse(cause.rank));
        causes
    }

    /// The sentences.
    fn sentences(&self) -> Vec<String> {
        let head = format!("{}: {}.", self.name, self.state);
        let causes = self.ordered().into_iter();
        let causes = causes.map(|cause| match cause.sentence.ends_with('.') {
            true => cause.sentence.clone(),
            false => format!("{}.", cause.sentence),
        });
        std::iter::once(head).chain(causes).take(MOST).collect()
    }

    /// The command to run next.
    fn next(&self) -> &str {
        let first = self.ordered().into_iter().next();
        first.map_or(&self.usual, |cause| &cause.next)
    }

    /// For people: a sentence a line, and the command in the last.
    pub fn text(&self) -> String {
        let mut lines = self.sentences();
        lines.push(self.next().to_owned());
        lines.join("\n")
    }

    /// For programs.
    pub fn object(&self) -> Value {
        json!({
            "Kind": self.kind,
            "Name": self.name,
            "AsItShouldBe": self.is_well(),
            "Sentences": self.sentences(),
            "Next": self.next(),
        })
    }
}

/// `a, b, c and 2 more`.
fn several(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let named = &names[..names.len() - more];
    match more {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// `1 task`, `2 tasks`.
fn tasks(count: usize) -> String {
    match count {
        1 => "1 task".to_owned(),
        count => format!("{count} tasks"),
    }
}

/// `: why`, or nothing.
fn because(why: &str) -> String {
    match why {
        "" => String::new(),
        why => format!(": {why}"),
    }
}
