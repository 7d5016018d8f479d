//! Stacks in scenarios: of the networks they are told to have, and of the services whose
//! names begin with theirs.
//!
//! ```text
//! stack shop front back | stack shop back (leaves front) | rm-stack shop
//! ```

use super::World;
use skep_manager_store::{Action, NetworkAction, ServiceAction, StackAction, StackPart};
use skep_types::{NetworkId, Revision, StackId, StackNetwork, StackSpec};
use std::fmt::Write as _;

impl World {
    /// The revision of each, and what came of those before.
    pub(super) fn show_stacks(&self, out: &mut String) {
        for stack in self.store.state().stacks() {
            let Revision {
                number, returns_to, ..
            } = stack.revision;
            let back = returns_to.map_or(String::new(), |to| format!(", like {to}"));
            let past = stack.past.iter().map(|past| past.revision);
            let past = past.map(|p| format!("; {} {:?}", p.number, p.outcome.unwrap()));
            let past = past.collect::<String>();
            let _ = writeln!(out, "{} {number}{back}{past}", stack.spec.name);
        }
    }

    pub(super) fn stack_line(&mut self, words: &[&str]) {
        let (name, state) = (words[1], self.store.state());
        let present = state.stack_named(name);
        let version = present.map(|stack| stack.meta.version);
        let id_of = |network: &StackNetwork| Some(state.network_named(&network.name)?.id);
        let had = present.iter().flat_map(|stack| &stack.spec.networks);
        let had: Vec<NetworkId> = had.filter_map(id_of).collect();
        let action = if words[0] == "stack" {
            let networks = words[2..].iter().map(|network| StackNetwork {
                name: (*network).to_owned(),
                ..StackNetwork::default()
            });
            let networks: Vec<StackNetwork> = networks.collect();
            let has: Vec<NetworkId> = networks.iter().filter_map(id_of).collect();
            StackAction::Apply {
                id: present.map_or(StackId::from_bits(500), |stack| stack.id),
                version,
                spec: std::sync::Arc::new(StackSpec {
                    name: name.to_owned(),
                    networks,
                    ..StackSpec::default()
                }),
                returns_to: None,
                leaving: had.into_iter().filter(|id| !has.contains(id)).collect(),
                parts: Vec::new(),
            }
        } else {
            let services = state.services();
            let services = services.filter(|s| s.spec.name.starts_with(&format!("{name}_")));
            let services = services.map(|s| ServiceAction::Remove { id: s.id });
            let networks = had.into_iter().map(|id| NetworkAction::Remove { id });
            StackAction::Remove {
                name: name.to_owned(),
                version,
                parts: services
                    .map(StackPart::Service)
                    .chain(networks.map(StackPart::Network))
                    .collect(),
            }
        };
        self.must(Action::Stack(action));
    }
}
