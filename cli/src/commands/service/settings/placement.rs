//! Flags of `service create` and `update` that say where tasks may run.

use skep_types::{Placement, Platform};

#[derive(Debug, Default, PartialEq, clap::Args)]
pub(super) struct Place {
    /// Most tasks on one node; 0 is no limit
    #[arg(long, value_name = "NUMBER")]
    replicas_max_per_node: Option<u32>,
    /// Operating system and architecture that the image runs on, e.g. linux/amd64: tasks go
    /// to nodes of these only; repeatable; `any` for all
    #[arg(long, value_name = "OS/ARCH", value_parser = wanted)]
    platform: Vec<Wanted>,
}

#[derive(Debug, Clone, PartialEq)]
enum Wanted {
    Any,
    One(Platform),
}

fn wanted(text: &str) -> Result<Wanted, String> {
    match text {
        "any" => Ok(Wanted::Any),
        _ => match text.parse() {
            Ok(platform) => Ok(Wanted::One(platform)),
            Err(invalid) => Err(format!("{invalid}; `any` is no condition")),
        },
    }
}

impl Place {
    /// Puts what was given into a spec; platforms replace those that were there.
    pub(super) fn apply(&self, placement: &mut Placement) {
        let Place {
            replicas_max_per_node,
            platform,
        } = self;
        placement.max_replicas_per_node =
            replicas_max_per_node.unwrap_or(placement.max_replicas_per_node);
        if platform.is_empty() {
            return;
        }
        placement.platforms = match platform.contains(&Wanted::Any) {
            true => Vec::new(),
            false => {
                let one = |wanted: &Wanted| match wanted {
                    Wanted::Any => None,
                    Wanted::One(platform) => Some(platform.clone()),
                };
                platform.iter().filter_map(one).collect()
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        place: Place,
    }

    #[test]
    fn platforms_replace_each_other() {
        let mut placement = Placement::default();
        let mut apply = |flags: &[&str]| {
            let words = [&["create"], flags].concat();
            let line = Line::try_parse_from(words).unwrap();
            line.place.apply(&mut placement);
            let texts = placement.platforms.iter().map(Platform::to_string);
            texts.collect::<Vec<_>>().join(" ")
        };
        let two = ["--platform", "linux/amd64", "--platform", "linux/arm64"];
        assert_eq!(apply(&two), "linux/amd64 linux/arm64");
        assert_eq!(
            apply(&["--replicas-max-per-node", "2"]),
            "linux/amd64 linux/arm64"
        );
        assert_eq!(apply(&["--platform=linux/arm"]), "linux/arm");
        assert_eq!(apply(&["--platform=any"]), "");
        assert!(Line::try_parse_from(["create", "--platform=arm64"]).is_err());
    }
}
