//! Manual pages: one a command, made of what its help says.
//!
//! `clap_mangen` renders names, usage and options; the order of the sections, and those
//! about examples, variables and exit codes, are ours.

use crate::args::Cli;
use crate::exit;
use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};
use std::collections::BTreeMap;
use std::io;

/// Variables that every command heeds, beside those that stand for its options.
const VARIABLES: [(&str, &str); 6] = [
    (
        "SKEP_CERT",
        "File with the certificate to show to managers that --host or SKEP_HOST name.",
    ),
    (
        "SKEP_CONFIG",
        "Folder of contexts and of which one is in use, in place of ~/.skep.",
    ),
    (
        "SKEP_CONTEXT",
        "Context to use, where neither an option nor SKEP_HOST says whom to talk to.",
    ),
    (
        "SKEP_HOST",
        "Socket of the daemon or address of a manager to talk to, where neither --host nor \
         --context does.",
    ),
    (
        "NO_COLOR",
        "Set to anything but nothing: no colours. There are none in any case where the output \
         is no terminal.",
    ),
    (
        "TERM",
        "Where it is `dumb`, there are no colours, and progress is told in lines that stay.",
    ),
];

/// A page.
#[derive(Debug)]
pub struct Page {
    /// Name of its file, e.g. `skep-service-ls.1`.
    pub file: String,
    /// Its text, as man reads it.
    pub text: Vec<u8>,
}

/// The pages of all commands.
///
/// # Errors
/// None are known: pages are written to memory.
pub fn pages() -> io::Result<Vec<Page>> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut out = Vec::new();
    add(&root, None, &mut out)?;
    Ok(out)
}

fn add(command: &Command, above: Option<&str>, out: &mut Vec<Page>) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    out.push(Page {
        file: format!("{name}.1"),
        text: page(command, above)?,
    });
    for inner in command
        .get_subcommands()
        .filter(|inner| !inner.is_hide_set())
    {
        add(inner, Some(name), out)?;
    }
    Ok(())
}

fn page(command: &Command, above: Option<&str>) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone())
        .source(concat!("skep ", env!("CARGO_PKG_VERSION")))
        .manual("skep");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    examples(command).to_writer(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    description(command).to_writer(&mut text)?;
    if command
        .get_arguments()
        .any(|argument| !argument.is_hide_set())
    {
        man.render_options_section(&mut text)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    variables(command).to_writer(&mut text)?;
    exit_codes().to_writer(&mut text)?;
    if let Some(above) = above {
        let mut roff = Roff::new();
        roff.control("SH", ["SEE ALSO"]);
        roff.text([bold(above), roman("(1)")]);
        roff.to_writer(&mut text)?;
    }
    Ok(text)
}

/// What help begins with: `Examples:`, and a line each.
fn examples(command: &Command) -> Roff {
    let mut roff = Roff::new();
    let Some(help) = command.get_before_help() else {
        return roff;
    };
    roff.control("SH", ["EXAMPLES"]);
    roff.control("nf", []);
    for line in help.to_string().lines().skip(1) {
        roff.text([roman(line.trim_start())]);
    }
    roff.control("fi", []);
    roff
}

fn description(command: &Command) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["DESCRIPTION"]);
    let about = command.get_long_about().or_else(|| command.get_about());
    for (number, text) in [about, command.get_after_help()]
        .into_iter()
        .flatten()
        .enumerate()
    {
        if number > 0 {
            roff.control("PP", []);
        }
        for line in text.to_string().lines() {
            match line.trim() {
                "" => roff.control("PP", []),
                line => roff.text([roman(line)]),
            };
        }
    }
    roff
}

fn variables(command: &Command) -> Roff {
    let mut known: BTreeMap<String, String> = VARIABLES
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect();
    for argument in command.get_arguments() {
        if let (Some(name), Some(long)) = (argument.get_env(), argument.get_long()) {
            let text = format!("What --{long} is where it is not given.");
            known.insert(name.to_string_lossy().into_owned(), text);
        }
    }
    listed("ENVIRONMENT", known.into_iter())
}

fn exit_codes() -> Roff {
    let codes = exit::CODES.iter();
    let codes = codes.map(|(code, text)| (code.to_string(), (*text).to_owned()));
    listed("EXIT STATUS", codes)
}

/// A section of terms, each with what it means.
fn listed(title: &str, terms: impl Iterator<Item = (String, String)>) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [title]);
    for (term, text) in terms {
        roff.control("TP", []);
        roff.text([bold(term)]);
        roff.text([Inline::Roman(text)]);
    }
    roff
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Result;
    use expect_test::expect;

    fn headings(text: &str) -> Vec<&str> {
        let lines = text.lines();
        let headings = lines.filter_map(|line| line.strip_prefix(".SH "));
        headings.map(|heading| heading.trim_matches('"')).collect()
    }

    #[test]
    fn every_command_has_a_page_with_all_that_is_promised() -> Result<()> {
        fn names(command: &Command, path: &str, out: &mut Vec<String>) {
            let path = format!("{path}{}", command.get_name());
            out.push(format!("{path}.1"));
            let inner = command.get_subcommands();
            for inner in inner.filter(|inner| !inner.is_hide_set() && inner.get_name() != "help") {
                names(inner, &format!("{path}-"), out);
            }
        }
        let mut expected = Vec::new();
        names(&Cli::command(), "", &mut expected);
        let pages = pages()?;
        let files: Vec<&str> = pages.iter().map(|page| page.file.as_str()).collect();
        assert_eq!(files, expected);
        for Page { file, text } in &pages {
            let text = std::str::from_utf8(text)?;
            let headings = headings(text);
            let is_group = text.contains(".SH SUBCOMMANDS");
            let first = match is_group && file != "skep.1" {
                true => &["NAME", "SYNOPSIS", "DESCRIPTION"][..],
                false => &["NAME", "EXAMPLES", "SYNOPSIS", "DESCRIPTION"][..],
            };
            assert!(headings.starts_with(first), "{file}: {headings:?}");
            for section in ["ENVIRONMENT", "EXIT STATUS"] {
                assert!(headings.contains(&section), "{file}: {headings:?}");
            }
        }
        Ok(())
    }

    #[test]
    fn a_page_is_what_help_says() -> Result<()> {
        let pages = pages()?;
        let page = pages.iter().find(|page| page.file == "skep-stack-rm.1");
        let text = String::from_utf8(page.map(|page| page.text.clone()).unwrap_or_default())?;
        expect![[r#"
            .ie \n(.g .ds Aq \(aq
            .el .ds Aq '
            .TH skep-stack-rm 1  "skep 0.1.0" skep
            .ie \n(.g .ds Aq \(aq
            .el .ds Aq '
            .SH NAME
            skep\-stack\-rm \- Remove stacks
            .ie \n(.g .ds Aq \(aq
            .el .ds Aq '
            .SH EXAMPLES
            .nf
            skep stack rm vote
            .fi
            .ie \n(.g .ds Aq \(aq
            .el .ds Aq '
            .SH SYNOPSIS
            \fBskep stack rm\fR [\fB\-d\fR|\fB\-\-detach\fR] [\fB\-\-timeout\fR] [\fB\-\-stale\fR] [\fB\-h\fR|\fB\-\-help\fR] <\fISTACK\fR> 
            .ie \n(.g .ds Aq \(aq
            .el .ds Aq '
            .SH DESCRIPTION
            Remove stacks
            .ie \n(.g .ds Aq \(aq
            .el .ds Aq '
            .SH OPTIONS
            .TP
            \fB\-d\fR, \fB\-\-detach\fR[=\fI<DETACH>\fR]
            Do not wait until the tasks have stopped
            .TP
            \fB\-\-timeout\fR \fI<DURATION>\fR
            Give up waiting after this long, e.g. 5m
            .TP
            \fB\-\-stale\fR
            Show what this node\*(Aqs manager knew last, without asking the others; for a swarm that has lost most of its managers
            .TP
            \fB\-h\fR, \fB\-\-help\fR
            Print help
            .TP
            <\fISTACK\fR>
            Names of stacks
            .ie \n(.g .ds Aq \(aq
            .el .ds Aq '
            .SH ENVIRONMENT
            .TP
            \fBNO_COLOR\fR
            Set to anything but nothing: no colours. There are none in any case where the output is no terminal.
            .TP
            \fBSKEP_CERT\fR
            File with the certificate to show to managers that \-\-host or SKEP_HOST name.
            .TP
            \fBSKEP_CONFIG\fR
            Folder of contexts and of which one is in use, in place of ~/.skep.
            .TP
            \fBSKEP_CONTEXT\fR
            Context to use, where neither an option nor SKEP_HOST says whom to talk to.
            .TP
            \fBSKEP_HOST\fR
            Socket of the daemon or address of a manager to talk to, where neither \-\-host nor \-\-context does.
            .TP
            \fBTERM\fR
            Where it is `dumb`, there are no colours, and progress is told in lines that stay.
            .ie \n(.g .ds Aq \(aq
            .el .ds Aq '
            .SH "EXIT STATUS"
            .TP
            \fB0\fR
            Done. Commands that wait for services: they have converged. Of `plan`: nothing would change.
            .TP
            \fB1\fR
            Failed; of several things at least one. Standard error says why.
            .TP
            \fB2\fR
            The command line or a file it names makes no sense; nothing was done. Of `plan`: something would change, and what makes no sense is 1.
            .TP
            \fB3\fR
            Rolled back: a service failed with what was asked for, and went back to what it ran before.
            .TP
            \fB4\fR
            Timed out: `\-\-timeout` is over; the work goes on in background.
            .TP
            \fB130\fR
            Interrupted by Ctrl\-C; what was asked for already goes on in background.
            .ie \n(.g .ds Aq \(aq
            .el .ds Aq '
            .SH "SEE ALSO"
            \fBskep\-stack\fR(1)
        "#]].assert_eq(&text);
        Ok(())
    }
}
