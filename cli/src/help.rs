//! `skep help CODE`: what the code of a finding means; `skep help exit-codes`.
//!
//! Help of commands is the argument parser's, and so is `help`. Its command takes the names
//! of commands and nothing else; what it does not know comes here.

use crate::error::usage;
use crate::exit::CODES;
use crate::output::{say, terminal_width};
use anyhow::Result;
use skep_stacks::{Code, codes, nearest};
use std::ffi::OsString;
use std::fmt::Write as _;

/// What asks for every code.
const ALL: &str = "codes";
/// What asks for how commands end.
const EXITS: &str = "exit-codes";

/// What a command line asks for: a code, [`ALL`] or [`EXITS`], after `help` and at its end.
/// Only for a line that is no command.
pub fn asked(line: &[OsString]) -> Option<&str> {
    let [.., help, word] = line else {
        return None;
    };
    let word = word.to_str()?;
    let is_known = is_code(word) || [ALL, EXITS].iter().any(|w| word.eq_ignore_ascii_case(w));
    (help == "help" && is_known).then_some(word)
}

/// Explains a code, or lists all of a kind.
///
/// # Errors
/// There is no such code.
pub fn run(word: &str) -> Result<()> {
    let width = terminal_width().min(80);
    if word.eq_ignore_ascii_case(EXITS) {
        say!("{}", exits(width))?;
    } else if word.eq_ignore_ascii_case(ALL) {
        for code in codes() {
            say!("{}  {}", code.id, code.title)?;
        }
    } else {
        say!("{}", explain(find(word)?, width))?;
    }
    Ok(())
}

fn is_code(word: &str) -> bool {
    let upper = word.to_ascii_uppercase();
    let digits = upper.strip_prefix("SK").unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

fn find(word: &str) -> Result<&'static Code> {
    let upper = word.to_ascii_uppercase();
    codes().find(|code| code.id == upper).ok_or_else(|| {
        let near = nearest(word, codes().map(|code| code.id));
        let meant = near.map(|near| format!("; did you mean {near}?"));
        let meant = meant.unwrap_or_else(|| ":".to_owned());
        usage(format!(
            "there is no code {upper}{meant} `skep help codes` lists them all"
        ))
    })
}

fn explain(code: &Code, width: usize) -> String {
    let mut out = format!("{}: {}\n\n", code.id, code.title);
    out.push_str(&filled(code.explanation, width));
    for (what, example) in [("Wrong", code.wrong), ("Right", code.right)] {
        if !example.is_empty() {
            // Writing to a string cannot fail.
            let _ = write!(out, "\n\n{what}:");
            for line in example.lines() {
                let _ = write!(out, "\n    {line}");
            }
        }
    }
    out
}

fn exits(width: usize) -> String {
    let rows = CODES.iter().map(|(code, meaning)| {
        let text = filled(meaning, width.saturating_sub(5)).replace('\n', "\n     ");
        format!("{code:>3}  {text}")
    });
    rows.collect::<Vec<_>>().join("\n")
}

/// `text` in lines of at most `width` characters, where words allow it.
fn filled(text: &str, width: usize) -> String {
    let mut out = String::new();
    let mut used = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > width {
            out.push('\n');
            used = 0;
        } else if used > 0 {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use clap::Parser as _;
    use expect_test::expect;

    #[test]
    fn a_code_is_explained() -> Result<()> {
        let expected = expect![[r#"
            SK0301: a key is not known

            There is no such key at this place. A key that is written
            wrongly would otherwise be lost without a word. Correct it;
            a key of your own begins with `x-` and is read over, where
            the section allows it.

            Wrong:
                web:
                  imgae: nginx

            Right:
                web:
                  image: nginx"#]];
        expected.assert_eq(&explain(find("sk0301")?, 60));
        Ok(())
    }

    #[test]
    fn every_code_can_be_asked_for() -> Result<()> {
        for code in codes() {
            assert!(is_code(code.id));
            let text = explain(find(code.id)?, 72);
            let longest = text.lines().map(|line| line.chars().count()).max();
            assert!(longest <= Some(76), "{text}");
        }
        Ok(())
    }

    #[test]
    fn a_code_that_there_is_not_names_the_nearest() {
        let said = |word| find(word).map_err(|e| e.to_string()).err();
        assert_eq!(
            said("sk0399").as_deref(),
            Some("there is no code SK0399; did you mean SK0309? `skep help codes` lists them all")
        );
        assert_eq!(
            said("SK123456789").as_deref(),
            Some("there is no code SK123456789: `skep help codes` lists them all")
        );
    }

    #[test]
    fn exit_codes_are_listed() {
        let expected = expect![[r#"
              0  Done. Commands that wait for services: they have
                 converged. Of `plan`: nothing would change.
              1  Failed; of several things at least one. Standard error
                 says why.
              2  The command line or a file it names makes no sense;
                 nothing was done. Of `plan`: something would change,
                 and what makes no sense is 1.
              3  Rolled back: a service failed with what was asked for,
                 and went back to what it ran before.
              4  Timed out: `--timeout` is over; the work goes on in
                 background.
            130  Interrupted by Ctrl-C; what was asked for already goes
                 on in background."#]];
        expected.assert_eq(&exits(60));
    }

    #[test]
    fn commands_are_no_codes() {
        for word in ["service", "sk", "skep", "SK03a1", "codes"] {
            assert!(!is_code(word), "{word}");
        }
    }

    #[test]
    fn a_line_that_asks_for_a_code_is_no_command() {
        let lines = [
            ("skep help SK0301", Some("SK0301")),
            ("skep --stale help sk0301", Some("sk0301")),
            ("skep help codes", Some("codes")),
            ("skep help exit-codes", Some("exit-codes")),
            ("skep help service create", None),
            ("skep help nonsense", None),
            ("skep SK0301", None),
            ("help", None),
        ];
        for (line, word) in lines {
            let line: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(asked(&line), word);
            assert!(word.is_none() || Cli::try_parse_from(&line).is_err());
        }
    }

    #[test]
    fn help_of_commands_is_theirs() {
        for line in [
            "skep help service create",
            "skep service help create",
            "skep service create --help",
        ] {
            let answer = Cli::try_parse_from(line.split(' ')).map(|_| ());
            let answer = answer.map_err(|answer| (answer.exit_code(), answer.to_string()));
            let (code, text) = answer.unwrap_err();
            assert_eq!(code, 0);
            assert!(text.contains("Usage: skep service create"), "{text}");
        }
    }
}
