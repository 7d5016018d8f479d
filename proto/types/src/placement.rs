//! Which nodes may run the tasks of a service, and how tasks are spread over them.

use crate::constraint::{ENGINE_LABEL, NODE_LABEL};
use crate::node::{Node, Platform};
use std::fmt;
use std::str::FromStr;

/// Which nodes may run a task.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Placement {
    /// Conditions on nodes (see [`crate::constraint`]); all must hold.
    pub constraints: Vec<String>,
    /// Labels of nodes to spread over, outermost first.
    pub spread: Vec<Spread>,
    /// Most tasks of the service on one node; 0 is no limit.
    pub max_replicas_per_node: u32,
    /// What its image runs on, any of them; empty is everywhere.
    pub platforms: Vec<Platform>,
}

impl Placement {
    /// Its image runs on a node.
    pub fn runs_on(&self, platform: &Platform) -> bool {
        Platform::any_accepts(&self.platforms, platform)
    }
}

/// A label of nodes over whose values the tasks of a service are spread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    /// Which, e.g. `node.labels.zone`. What is no label is ignored, as Swarm does.
    pub by: String,
    /// How many more tasks than the value with the fewest a value may be given: a task
    /// for which that leaves no node waits. `None` is a wish only.
    pub max_skew: Option<u32>,
}

impl Spread {
    /// Most that `max_skew` can be.
    pub const SKEW_MAX: u32 = 100_000;

    /// A wish to spread over a label.
    pub fn over(by: impl Into<String>) -> Spread {
        Spread {
            by: by.into(),
            max_skew: None,
        }
    }

    /// The label meant, if it is one.
    pub fn label(&self) -> Option<SpreadLabel<'_>> {
        let after = |prefix: &str| {
            let (start, name) = self.by.split_at_checked(prefix.len())?;
            (start.eq_ignore_ascii_case(prefix) && !name.is_empty()).then_some(name)
        };
        after(NODE_LABEL)
            .map(SpreadLabel::Node)
            .or_else(|| after(ENGINE_LABEL).map(SpreadLabel::Engine))
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.by)?;
        match self.max_skew {
            Some(most) => write!(f, ",max-skew={most}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Spread {
    type Err = InvalidSpread;

    /// Reads `node.labels.zone` or `node.labels.zone,max-skew=1`.
    fn from_str(text: &str) -> Result<Spread, InvalidSpread> {
        let (by, options) = text.split_once(',').unzip();
        let by = by.unwrap_or(text);
        let max_skew = match options {
            None => None,
            Some(option) => {
                let most = option.strip_prefix("max-skew=");
                let most = most.and_then(|most| most.parse().ok());
                Some(most.ok_or_else(|| InvalidSpread(option.to_owned()))?)
            }
        };
        let by = by.to_owned();
        Ok(Spread { by, max_skew })
    }
}

/// What stands beside a label to spread over and cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSpread(String);

impl fmt::Display for InvalidSpread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InvalidSpread(option) = self;
        write!(f, "{option:?} is not a bound such as max-skew=1")
    }
}

impl std::error::Error for InvalidSpread {}

/// A label of nodes, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpreadLabel<'s> {
    /// One that was given to the node.
    Node(&'s str),
    /// One that its daemon says of itself.
    Engine(&'s str),
}

impl SpreadLabel<'_> {
    /// Its value on a node; empty where the node does not have it.
    pub fn on<'n>(&self, node: &'n Node) -> &'n str {
        let value = match self {
            SpreadLabel::Node(name) => node.spec.labels.get(*name),
            SpreadLabel::Engine(name) => node.description.engine_labels.get(*name),
        };
        value.map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_told_from_what_is_none() {
        let label = |by: &str| match Spread::over(by).label() {
            Some(SpreadLabel::Node(name)) => format!("node {name}"),
            Some(SpreadLabel::Engine(name)) => format!("engine {name}"),
            None => "none".to_owned(),
        };
        assert_eq!(label("node.labels.zone"), "node zone");
        assert_eq!(label("Engine.Labels.Rack"), "engine Rack");
        for none in ["node.labels.", "node.labels", "node.id", "", "nöde.labelß"] {
            assert_eq!(label(none), "none", "{none}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for text in ["node.labels.zone", "engine.labels.rack,max-skew=3"] {
            assert_eq!(text.parse::<Spread>().unwrap().to_string(), text);
        }
        for option in ["", "max-skew", "max-skew=-1", "max-skew=1,more", "skew=1"] {
            let refused = format!("node.labels.zone,{option}").parse::<Spread>();
            let said = format!("{option:?} is not a bound such as max-skew=1");
            assert_eq!(refused.unwrap_err().to_string(), said);
        }
    }
}
