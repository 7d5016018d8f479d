//! What flags ask for and nodes do not do, judged as a stack file's values are.

use crate::error::usage;
use anyhow::Result;
use skep_stacks::{Severity, without_effect};
use skep_types::ServiceSpec;

/// Warnings about what a command adds to a spec. What the service had before is
/// not spoken of again.
///
/// # Errors
/// The first value that no node could read.
pub fn added(before: &ServiceSpec, after: &ServiceSpec) -> Result<Vec<String>> {
    let old = without_effect(before);
    let new = without_effect(after);
    let mut warnings = Vec::new();
    for finding in new.into_iter().filter(|finding| !old.contains(finding)) {
        match finding.severity {
            Severity::Warning => warnings.push(finding.to_string()),
            Severity::Error => {
                let help = finding.help.unwrap_or_default();
                return Err(usage(format!(
                    "{}: {}: {help}",
                    finding.path, finding.message
                )));
            }
        }
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn only_what_is_new_is_spoken_of() -> Result<()> {
        let mut before = ServiceSpec::default();
        Arc::make_mut(&mut before.task).container.mounts = vec![skep_types::Mount {
            target: "/data".to_owned(),
            read_only: false,
            kind: skep_types::MountKind::Bind {
                source: "/data".to_owned(),
                propagation: "rshared".to_owned(),
            },
        }];
        assert!(added(&before, &before)?.is_empty());
        let mut after = before.clone();
        let log_driver = skep_types::LogDriver {
            name: "syslog".to_owned(),
            ..Default::default()
        };
        Arc::make_mut(&mut after.task).log_driver = Some(log_driver);
        let warnings = added(&before, &after)?;
        assert_eq!(
            warnings,
            [
                "warning[SK0702]: log-driver: the log driver syslog is not supported and has no effect\n  \
                 help: output is kept on the node for `service logs`, as json-file and local keep it"
            ]
        );
        Ok(())
    }

    #[test]
    fn a_log_option_that_cannot_be_read_is_refused() {
        let mut after = ServiceSpec::default();
        Arc::make_mut(&mut after.task).log_driver = Some(skep_types::LogDriver {
            name: String::new(),
            options: [("max-size".to_owned(), "ten".to_owned())].into(),
        });
        let refused = added(&ServiceSpec::default(), &after).err();
        let text = refused.map(|error| error.to_string()).unwrap_or_default();
        assert!(text.starts_with("log-opt max-size: \"ten\""), "{text}");
        // A service that has it already can still be changed otherwise.
        assert!(added(&after, &after).is_ok());
    }
}
