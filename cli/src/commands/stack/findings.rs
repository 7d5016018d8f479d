//! How commands tell what they find in stack files.

use crate::error::{CliError, usage};
use crate::output::note;
use crate::style::{Style, Tone};
use anyhow::Result;
use clap::ValueEnum;
use serde_json::{Value, json};
use skep_stacks::{Diagnostic, Severity, render, strict};

/// Arguments of every command that reads stack files.
#[derive(Debug, clap::Args)]
pub struct Findings {
    /// Take every warning for an error: nothing is done
    #[arg(long)]
    strict: bool,
    /// Form of warnings and errors: text, or json, one object a line
    #[arg(
        long,
        value_enum,
        value_name = "FORM",
        default_value = "text",
        hide_default_value = true,
        hide_possible_values = true
    )]
    diagnostics: Form,
}

/// The form of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl Findings {
    /// Tells what was found in the files.
    ///
    /// # Errors
    /// [`CliError::ReportedInvalid`] when there is an error, or any finding where the caller
    /// is strict.
    pub fn tell(&self, mut found: Vec<Diagnostic>) -> Result<()> {
        if self.strict {
            strict(&mut found);
        }
        match self.diagnostics {
            Form::Json => found.iter().for_each(|d| note!("{}", as_json(d))),
            Form::Text if found.is_empty() => {}
            Form::Text => note!("{}", render(&found, Style::stderr().is_coloured())),
        }
        match found.iter().any(|d| d.severity == Severity::Error) {
            true => Err(CliError::ReportedInvalid.into()),
            false => Ok(()),
        }
    }

    /// Tells warnings about the swarm, in which the files make no difference.
    ///
    /// # Errors
    /// A usage error when there is one and the caller is strict.
    pub fn tell_of_swarm(&self, warnings: &[String]) -> Result<()> {
        for warning in warnings {
            match self.diagnostics {
                Form::Text => {
                    let head = Style::stderr().paint(Tone::Busy, "warning:");
                    note!("{head} {warning}");
                }
                Form::Json => note!("{}", json!({"severity": "warning", "message": warning})),
            }
        }
        if self.strict && !warnings.is_empty() {
            return Err(usage(
                "a warning is an error with --strict; nothing was sent",
            ));
        }
        Ok(())
    }
}

fn as_json(diagnostic: &Diagnostic) -> Value {
    let at = diagnostic.location.as_ref();
    json!({
        "severity": diagnostic.severity.to_string(),
        "code": diagnostic.code.id,
        "title": diagnostic.code.title,
        "file": at.map(|at| &at.file),
        "line": at.map(|at| at.line),
        "column": at.map(|at| at.column),
        "width": at.map(|at| at.width),
        "path": diagnostic.path,
        "message": diagnostic.message,
        "help": diagnostic.help,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use skep_stacks::LoadInput;

    /// One warning.
    fn found() -> Vec<Diagnostic> {
        let text = "services:\n  web:\n    image: nginx\n    links: [db]\n";
        let input = LoadInput {
            files: &[("a.yml", text)],
            stack: Some("st"),
            profiles: &[],
            env: &|_| None,
            env_files: &[],
            read: &|_| Err(std::io::ErrorKind::NotFound.into()),
            workdir: std::path::Path::new("/"),
        };
        skep_stacks::load(input)
            .map(|l| l.warnings)
            .unwrap_or_default()
    }

    #[test]
    fn a_warning_ends_a_command_only_where_it_is_strict() {
        for diagnostics in [Form::Text, Form::Json] {
            let mut how = Findings {
                strict: false,
                diagnostics,
            };
            assert!(how.tell(found()).is_ok());
            assert!(how.tell_of_swarm(&["w".to_owned()]).is_ok());
            how.strict = true;
            let refused = how.tell(found()).unwrap_err();
            assert!(matches!(
                refused.downcast_ref(),
                Some(CliError::ReportedInvalid)
            ));
            assert!(how.tell_of_swarm(&["w".to_owned()]).is_err());
            assert!(how.tell(Vec::new()).is_ok());
            assert!(how.tell_of_swarm(&[]).is_ok());
        }
    }

    #[test]
    fn programs_get_every_part_by_name() {
        let expected = expect![[
            r#"{"severity":"warning","code":"SK0701","title":"a key is understood and has no effect","file":"a.yml","line":4,"column":5,"width":5,"path":"services.web.links","message":"this key is not supported and has no effect","help":"services on the same network reach each other by name; use `aliases` for more names"}"#
        ]];
        expected.assert_eq(&as_json(&found()[0]).to_string());
    }
}
