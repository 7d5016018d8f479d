//! Which nodes may run a service, and how it is spread over them.

use super::Maker;
use super::deploy::deploy_path;
use crate::codes;
use crate::model;
use crate::tree::Step;
use skep_types::constraint::{Constraint, Fault, NODE_KEYS};
use skep_types::{InvalidPlatform, Placement, Platform, Spread};

impl Maker<'_> {
    pub(super) fn placement(&mut self, key: &str, service: &model::Service) -> Placement {
        let deploy = &service.deploy;
        let placement = &deploy.placement;
        let at = |section, index| -> [Step<'_>; 6] {
            let [services, service, deploy, placement, list] =
                deploy_path(key, "placement", section);
            [
                services,
                service,
                deploy,
                placement,
                list,
                Step::Index(index),
            ]
        };
        let mut constraints = Vec::with_capacity(placement.constraints.len());
        for (index, text) in placement.constraints.iter().enumerate() {
            constraints.extend(self.constraint(&at("constraints", index), text));
        }
        let mut spread = Vec::with_capacity(placement.preferences.len());
        for (index, preference) in placement.preferences.iter().enumerate() {
            let path = at("preferences", index);
            let over = Spread {
                max_skew: preference
                    .max_skew
                    .and_then(|most| self.max_skew(&path, &deploy.mode, most)),
                ..Spread::over(preference.spread.as_str())
            };
            if over.label().is_some() {
                spread.push(over);
            } else {
                let message = format!("tasks cannot be spread over {:?}", preference.spread);
                let help = "write `spread: node.labels.NAME` or `spread: engine.labels.NAME`";
                self.error_help(codes::PLACEMENT, &path, message, help);
            }
        }
        let mut platforms = Vec::with_capacity(placement.platforms.len());
        for (index, text) in placement.platforms.iter().enumerate() {
            match text.parse() {
                Ok(platform) => platforms.push(platform),
                Err(invalid) => {
                    let message = InvalidPlatform::to_string(&invalid);
                    self.error(codes::PLACEMENT, &at("x-platforms", index), message);
                }
            }
        }
        if let Some(platform) = self.platform(key, &service.platform) {
            let same = platforms.is_empty() || platforms == [platform.clone()];
            let path = [Step::Key("services"), Step::Key(key), Step::Key("platform")];
            self.one_of(same, &path, "deploy.placement.x-platforms");
            platforms = vec![platform];
        }
        let path = deploy_path(key, "placement", "max_replicas_per_node");
        let most = i64::from(u32::MAX);
        Placement {
            constraints,
            spread,
            platforms,
            max_replicas_per_node: self.number(&path, placement.max_replicas_per_node, 0, most),
        }
    }

    /// `platform` of a service, as Compose has it: `linux/arm64/v8`.
    fn platform(&mut self, key: &str, text: &str) -> Option<Platform> {
        if text.is_empty() {
            return None;
        }
        let path = [Step::Key("services"), Step::Key(key), Step::Key("platform")];
        let (named, variant) = match text.match_indices('/').nth(1) {
            Some((at, _)) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        let platform: Platform = match named.parse() {
            Ok(platform) => platform,
            Err(invalid) => {
                let message = InvalidPlatform::to_string(&invalid);
                self.error(codes::PLACEMENT, &path, message);
                return None;
            }
        };
        // Of arm64 there is one variant only.
        let only = |variant: &&str| platform.architecture == "arm64" && *variant == "v8";
        if let Some(variant) = variant.filter(|variant| !only(variant)) {
            let message = format!("the variant {variant} has no effect");
            let help = "nodes are told apart by system and architecture; use labels for more";
            self.warn_help(codes::VALUE_WITHOUT_EFFECT, &path, message, help);
        }
        Some(platform)
    }

    fn max_skew(&mut self, path: &[Step<'_>], mode: &str, most: i64) -> Option<u32> {
        let path = [path, &[Step::Key("x-max-skew")]].concat();
        if matches!(mode, "global" | "global-job") {
            let message =
                format!("a {mode} service has no `x-max-skew`: it runs once on every node");
            self.error_help(codes::NOT_IN_THIS_MODE, &path, message, "remove it");
            return None;
        }
        Some(self.number(&path, most, 1, Spread::SKEW_MAX.into()))
    }

    /// A constraint without the blanks around its parts.
    fn constraint(&mut self, path: &[Step<'_>], text: &str) -> Option<String> {
        let constraint = match Constraint::parse(text) {
            Ok(constraint) => constraint,
            Err(invalid) => {
                let message = format!("{text:?} is not a constraint: {}", invalid.fault);
                match (invalid.help(), invalid.fault) {
                    (Some(help), _) => self.error_help(codes::CONSTRAINT, path, message, help),
                    (None, Fault::NoOperator) => {
                        let help = "a constraint is written as node.role==manager, \
                                    node.labels.zone in a,b or node.labels.gpu exists";
                        self.error_help(codes::CONSTRAINT, path, message, help);
                    }
                    (None, _) => self.error(codes::CONSTRAINT, path, message),
                }
                return None;
            }
        };
        if let Some(node_key) = constraint.unknown_key() {
            let message = format!("nodes have no {node_key:?}: no node can meet this constraint");
            let meant = crate::schema::nearest(node_key, NODE_KEYS.iter().copied());
            let help = match meant {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!(
                    "nodes have {}, node.labels.*, engine.labels.*",
                    NODE_KEYS.join(", ")
                ),
            };
            self.error_help(codes::CONSTRAINT, path, message, help);
            return None;
        }
        Some(constraint.to_string())
    }
}
