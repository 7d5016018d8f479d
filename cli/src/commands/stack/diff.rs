//! `skep stack diff`.

use super::plan::Format;
use super::revisions::{find, numbered, to_read};
use super::shape::{Difference, Shape, What, written};
use crate::client::Host;
use crate::error::CliError;
use crate::output::say;
use crate::style::{Style, Tone};
use anyhow::Result;
use serde_json::{Value, json};
use skep_proto::pb;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  skep stack diff vote 3 4\n  skep stack diff vote 3",
    after_help = "Exit code: 0 if there is no difference, 2 if there is one, 1 if that cannot be said"
)]
pub struct Args {
    /// Form of what is told: text, or json
    #[arg(long, value_enum, value_name = "FORMAT", hide_possible_values = true)]
    format: Option<Format>,
    /// Name of the stack
    stack: String,
    /// One revision (see stack history)
    #[arg(value_name = "REVISION")]
    before: u64,
    /// Another one; without it what its services, networks, secrets and configs are now, also
    /// by hand
    #[arg(value_name = "REVISION")]
    after: Option<u64>,
}

/// Tells what differs.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let now = args.after.is_none();
    let view = client
        .read(pb::ReadRequest {
            networks: now,
            secrets: now,
            configs: now,
            ..to_read(&args.stack)
        })
        .await?;
    let stack = find(&view, &args.stack)?;
    let before = numbered(stack, args.before)?;
    let (after, files) = match args.after {
        Some(number) => {
            let after = numbered(stack, number)?;
            (Shape::of(after)?, written(&before.source, &after.source))
        }
        None => (Shape::now(&view, stack, before), Vec::new()),
    };
    let compared = Compared {
        stack: &args.stack,
        before: args.before,
        after: args.after,
        differences: Shape::of(before)?.differences(&after),
        files,
    };
    match args.format {
        Some(Format::Json) => say!("{}", compared.json())?,
        Some(Format::Text) | None => {
            for line in compared.lines(Style::stdout()) {
                say!("{line}")?;
            }
        }
    }
    match compared.is_same() {
        true => Ok(()),
        false => Err(CliError::WouldChange.into()),
    }
}

/// Two states of a stack.
struct Compared<'a> {
    stack: &'a str,
    before: u64,
    /// `None` for what is now.
    after: Option<u64>,
    differences: Vec<Difference>,
    /// Lines that only the files of one have.
    files: Vec<String>,
}

impl Compared<'_> {
    fn is_same(&self) -> bool {
        self.differences.is_empty() && self.files.is_empty()
    }

    fn lines(&self, style: Style) -> Vec<String> {
        let Compared { stack, before, .. } = self;
        let after = match self.after {
            Some(after) => format!("revision {after}"),
            None => "what is now".to_owned(),
        };
        if self.is_same() {
            return vec![format!(
                "{stack}: revision {before} and {after} are the same"
            )];
        }
        let mut lines = vec![format!("{stack}: from revision {before} to {after}:")];
        for difference in &self.differences {
            let tone = match difference.what {
                What::Added => Tone::Good,
                What::Changed => Tone::Busy,
                What::Removed => Tone::Bad,
            };
            let sign = style.paint(tone, &difference.what.sign().to_string());
            lines.push(format!("  {sign} {} {}", difference.kind, difference.name));
            let changes = difference.changes.iter();
            lines.extend(changes.map(|change| format!("      {change}")));
        }
        if self.differences.is_empty() {
            lines.push("  nothing but how the files are written:".to_owned());
            lines.extend(self.files.iter().map(|line| format!("      {line}")));
        }
        lines
    }

    fn json(&self) -> Value {
        let objects = self.differences.iter().map(|difference| {
            json!({
                "Kind": difference.kind,
                "Name": difference.name,
                "What": match difference.what {
                    What::Added => "add",
                    What::Changed => "change",
                    What::Removed => "remove",
                },
                "Changes": difference.changes,
            })
        });
        json!({
            "Stack": self.stack,
            "Before": self.before,
            "After": self.after,
            "Objects": objects.collect::<Vec<_>>(),
            "Files": self.files,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn differences_are_told_object_by_object_and_files_only_where_there_is_none() {
        let mut compared = Compared {
            stack: "shop",
            before: 3,
            after: Some(4),
            differences: vec![
                Difference {
                    kind: "network",
                    name: "shop_back".to_owned(),
                    what: What::Removed,
                    changes: Vec::new(),
                },
                Difference {
                    kind: "service",
                    name: "shop_web".to_owned(),
                    what: What::Changed,
                    changes: vec!["Image: \"a\" -> \"b\"".to_owned()],
                },
            ],
            files: vec!["- image: a".to_owned(), "+ image: b".to_owned()],
        };
        let mut said = compared.lines(Style::default());
        let json = compared.json();
        assert_eq!(json["Objects"][1]["What"], "change");
        assert_eq!(json["Files"][1], "+ image: b");
        compared.differences.clear();
        said.extend(compared.lines(Style::default()));
        compared.files.clear();
        compared.after = None;
        said.extend(compared.lines(Style::default()));
        assert!(compared.is_same() && compared.json()["After"].is_null());
        expect![[r#"
            shop: from revision 3 to revision 4:
              - network shop_back
              ~ service shop_web
                  Image: "a" -> "b"
            shop: from revision 3 to revision 4:
              nothing but how the files are written:
                  - image: a
                  + image: b
            shop: revision 3 and what is now are the same"#]]
        .assert_eq(&said.join("\n"));
    }
}
