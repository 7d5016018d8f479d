//! Secrets in scenarios, named and with content that is shown.
//!
//! ```text
//! secret key one | rotate key two [no-rollout] | rm-secret key
//! service web secret=key
//! secrets | contents web
//! ```

use super::World;
use skep_manager_store::{Action, SecretAction};
use skep_types::{ContainerSpec, FileReference, FileTarget, SecretId, SecretSpec, TaskState};
use std::collections::BTreeMap;
use std::fmt::Write as _;

impl World {
    pub(super) fn secret_line(&mut self, words: &[&str]) {
        let name = words[1];
        let spec = |content: &str| {
            Box::new(SecretSpec {
                name: name.to_owned(),
                data: content.as_bytes().into(),
                ..SecretSpec::default()
            })
        };
        let action = if words[0] == "secret" {
            SecretAction::Create {
                id: self.ids.secret(),
                spec: spec(words[2]),
            }
        } else {
            let present = self.store.state().secret_named(name).expect(name);
            let (id, version) = (present.id, present.meta.version);
            match words[0] {
                "rotate" => SecretAction::Rotate {
                    id,
                    version,
                    new_id: self.ids.secret(),
                    spec: spec(words[2]),
                    rollout: words.get(3) != Some(&"no-rollout"),
                },
                _ => SecretAction::Remove { id },
            }
        };
        let applied = self.apply(&[Action::Secret(action)]);
        if let Err(refused) = applied.into_result() {
            let _ = writeln!(self.out, "refused: {refused}");
        }
    }

    /// The container uses the newest of that name, and nothing else.
    pub(super) fn use_secret(&self, container: &mut ContainerSpec, name: &str) {
        let id = self.store.state().secret_named(name).expect(name).id;
        container.secrets = vec![FileReference {
            id,
            name: name.to_owned(),
            target: FileTarget {
                path: name.to_owned(),
                uid: 0,
                gid: 0,
                mode: 0o444,
            },
        }];
    }

    fn content(&self, id: SecretId) -> String {
        let secret = self.store.state().secret(id);
        secret.map_or("gone".to_owned(), |secret| {
            String::from_utf8_lossy(&secret.spec.data).into_owned()
        })
    }

    /// Every generation, by name.
    pub(super) fn show_secrets(&self, out: &mut String) {
        let mut all: Vec<_> = self.store.state().secrets().collect();
        all.sort_by_key(|secret| (&secret.spec.name, secret.generation));
        let shown = all.iter().map(|secret| {
            let (name, content) = (&secret.spec.name, self.content(secret.id));
            let old = match secret.superseded_at {
                Some(_) => " superseded",
                None => "",
            };
            format!("{name} {} {content}{old}", secret.generation)
        });
        let _ = writeln!(out, "{}", shown.collect::<Vec<_>>().join(", "));
    }

    /// What the tasks that run see.
    pub(super) fn show_contents(&self, out: &mut String, service: &str) {
        let mut seen: BTreeMap<String, u32> = BTreeMap::new();
        let tasks = self.store.state().tasks();
        for task in tasks.filter(|task| &*task.service_name == service) {
            if task.is_live() && task.status.state == TaskState::Running {
                for secret in &task.spec.container.secrets {
                    *seen.entry(self.content(secret.id)).or_default() += 1;
                }
            }
        }
        let seen = seen
            .iter()
            .map(|(content, count)| format!("{count} {content}"));
        let _ = writeln!(out, "{}", seen.collect::<Vec<_>>().join(", "));
    }
}
