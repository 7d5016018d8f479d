//! Flags about registries that the Docker CLI has and that have no effect here
//! yet: what is said when they are given.

use crate::output::note;
use clap::ValueEnum;

/// When managers look up the digest of an image; here they never do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Resolve {
    Always,
    Changed,
    Never,
}

/// Says on standard error which of the given flags have no effect.
pub fn note_without_effect(with_registry_auth: bool, resolve: Option<Resolve>) {
    for warning in without_effect(with_registry_auth, resolve) {
        note!("{warning}");
    }
}

fn without_effect(with_registry_auth: bool, resolve: Option<Resolve>) -> Vec<String> {
    let mut warnings = Vec::new();
    if with_registry_auth {
        warnings.push(
            "warning: --with-registry-auth has no effect yet: nodes get no credentials\n  help: \
             on each node, pull what needs them: skep image pull --username NAME IMAGE"
                .to_owned(),
        );
    }
    let word = match resolve {
        Some(Resolve::Always) => "always",
        Some(Resolve::Changed) => "changed",
        // As it is anyway.
        Some(Resolve::Never) | None => return warnings,
    };
    warnings.push(format!(
        "warning: --resolve-image {word} has no effect yet: each node looks the image up by \
         itself\n  help: to have the same image on all nodes, name its digest: NAME@sha256:…"
    ));
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_without_effect_are_named_with_what_works() {
        assert!(without_effect(false, None).is_empty());
        assert!(without_effect(false, Some(Resolve::Never)).is_empty());
        let all = without_effect(true, Some(Resolve::Always));
        let text = all.join("\n");
        assert!(text.contains("--with-registry-auth has no effect yet"));
        assert!(text.contains("skep image pull --username"));
        assert!(text.contains("--resolve-image always has no effect yet"));
        let changed = without_effect(false, Some(Resolve::Changed));
        assert!(changed[0].contains("--resolve-image changed"));
    }
}
