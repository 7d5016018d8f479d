//! Findings as a person reads them: each with its line of the file and a mark under its
//! place, and in the end how many there are.
//!
//! Owns the layout. Pure: whether there are colours is the caller's to know.

use crate::diagnostic::{Diagnostic, Severity};
use crate::excerpt::visible;
use std::fmt::Write as _;

/// A colour, or none.
struct Paint(bool);

impl Paint {
    const BOLD: &str = "1";
    const BLUE: &str = "1;34";
    const CYAN: &str = "1;36";

    fn of(&self, style: &str, text: &str) -> String {
        if self.0 && !text.is_empty() {
            format!("\x1b[{style}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn severity(severity: Severity) -> &'static str {
        match severity {
            Severity::Error => "1;31",
            Severity::Warning => "1;33",
        }
    }
}

/// All of `found`, one below the other. Empty when there is nothing to say; otherwise it
/// ends without a line break.
pub fn render(found: &[Diagnostic], colour: bool) -> String {
    let paint = Paint(colour);
    let mut out = String::new();
    for diagnostic in found {
        one(&mut out, diagnostic, &paint);
        out.push('\n');
    }
    summary(&mut out, found);
    out
}

fn one(out: &mut String, diagnostic: &Diagnostic, paint: &Paint) {
    let style = Paint::severity(diagnostic.severity);
    let head = format!("{}[{}]", diagnostic.severity, diagnostic.code.id);
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "{}{}",
        paint.of(style, &head),
        paint.of(Paint::BOLD, &format!(": {}", shown(&diagnostic.message)))
    );
    let line = diagnostic.location.as_ref().map(|l| l.line.to_string());
    let margin = " ".repeat(line.as_ref().map_or(1, String::len));
    let bar = paint.of(Paint::BLUE, "|");
    let arrow = paint.of(Paint::BLUE, "-->");
    match (&diagnostic.location, diagnostic.path.as_str()) {
        (Some(location), "") => _ = writeln!(out, "{margin}{arrow} {location}"),
        (Some(location), path) => {
            let _ = writeln!(out, "{margin}{arrow} {location} ({})", shown(path));
        }
        (None, "") => {}
        (None, path) => _ = writeln!(out, "{margin}{arrow} {path}"),
    }
    if let (Some(line), Some(excerpt)) = (&line, &diagnostic.excerpt)
        && !excerpt.text.is_empty()
    {
        let before = " ".repeat(excerpt.start);
        let mark = paint.of(style, &"^".repeat(excerpt.width));
        let number = paint.of(Paint::BLUE, line);
        let _ = writeln!(out, "{margin} {bar}");
        let _ = writeln!(out, "{number} {bar} {}", excerpt.text);
        let _ = writeln!(out, "{margin} {bar} {before}{mark}");
    }
    if let Some(help) = &diagnostic.help {
        let word = paint.of(Paint::CYAN, "help");
        let _ = writeln!(out, "{margin} = {word}: {}", shown(help));
    }
}

/// Keys and values of a file are part of messages; they cannot move the cursor.
fn shown(text: &str) -> String {
    text.chars().map(visible).collect()
}

/// How many there are in each file, where there are several, and where to read more.
fn summary(out: &mut String, found: &[Diagnostic]) {
    let Some(first) = found.first() else {
        return;
    };
    if found.len() == 1 {
        let _ = write!(out, "`skep help {}` explains it", first.code.id);
        return;
    }
    let mut files: Vec<Option<&str>> = Vec::new();
    for diagnostic in found {
        let file = diagnostic.location.as_ref().map(|l| l.file.as_str());
        if !files.contains(&file) {
            files.push(file);
        }
    }
    for file in files {
        let count = |severity, word: &str| {
            let here = |d: &&Diagnostic| {
                d.severity == severity && d.location.as_ref().map(|l| l.file.as_str()) == file
            };
            match found.iter().filter(here).count() {
                0 => None,
                1 => Some(format!("1 {word}")),
                many => Some(format!("{many} {word}s")),
            }
        };
        let counts = [
            count(Severity::Error, "error"),
            count(Severity::Warning, "warning"),
        ];
        let counts: Vec<String> = counts.into_iter().flatten().collect();
        out.push_str(&counts.join(", "));
        match file {
            Some(file) => _ = writeln!(out, " in {file}"),
            None => out.push_str(" without a place\n"),
        }
    }
    let _ = write!(out, "`skep help {}` explains the first", first.code.id);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LoadInput;
    use expect_test::{Expect, expect};
    use std::path::Path;

    fn findings(files: &[(&str, &str)]) -> Vec<Diagnostic> {
        let input = LoadInput {
            files,
            stack: Some("st"),
            profiles: &[],
            env: &|_| None,
            env_files: &[],
            read: &|_: &Path| Err(std::io::ErrorKind::NotFound.into()),
            workdir: Path::new("/stack"),
        };
        match crate::load(input) {
            Ok(loaded) => loaded.warnings,
            Err(found) => found.0,
        }
    }

    fn check(files: &[(&str, &str)], colour: bool, expected: Expect) {
        let text = render(&findings(files), colour);
        expected.assert_eq(&text.replace('\x1b', "␛"));
    }

    #[test]
    fn nothing_found_is_nothing_said() {
        check(
            &[("a.yml", "services: {a: {image: b}}")],
            false,
            expect![[""]],
        );
    }

    #[test]
    fn one_finding_has_its_line_and_a_mark() {
        let text = "services:\n  web:\n    imgae: nginx # typo\n    image: nginx";
        check(
            &[("a.yml", text)],
            false,
            expect![[r#"
            error[SK0301]: a service has no key `imgae`
             --> a.yml:3:5 (services.web.imgae)
              |
            3 |     imgae: nginx # typo
              |     ^^^^^
              = help: did you mean `image`?

            `skep help SK0301` explains it"#]],
        );
    }

    #[test]
    fn an_empty_line_is_not_shown() {
        check(
            &[("a.yml", "\n")],
            false,
            expect![[r#"
            error[SK0304]: the file is empty
             --> a.yml:1:1
              = help: begin with `services:`

            `skep help SK0304` explains it"#]],
        );
    }

    #[test]
    fn a_value_is_marked_as_far_as_it_goes() {
        let text = "services:\n  web:\n    image: \"Redis Ä\"   # no\n";
        check(
            &[("a.yml", text)],
            false,
            expect![[r#"
                error[SK0405]: "Redis Ä" is not an image: the name must be lower case
                 --> a.yml:3:12 (services.web.image)
                  |
                3 |     image: "Redis Ä"   # no
                  |            ^^^^^^^^^^^^^^^^
                  = help: images are written as [host[:port]/]name[:tag][@digest]

                `skep help SK0405` explains it"#]],
        );
    }

    #[test]
    fn several_findings_are_counted() {
        let text = "services:\n  web:\n    image: Redis\n    links: [a]\n    user: $WHO\n    \
                    deploy: {replica: 2}";
        check(
            &[("a.yml", text)],
            false,
            expect![[r#"
            error[SK0301]: a deploy section has no key `replica`
             --> a.yml:6:14 (services.web.deploy.replica)
              |
            6 |     deploy: {replica: 2}
              |              ^^^^^^^
              = help: did you mean `replicas`?

            warning[SK0701]: this key is not supported and has no effect
             --> a.yml:4:5 (services.web.links)
              |
            4 |     links: [a]
              |     ^^^^^
              = help: services on the same network reach each other by name; use `aliases` for more names

            warning[SK0201]: the variable WHO is not set; an empty text stands in its place
             --> a.yml:5:11 (services.web.user)
              |
            5 |     user: $WHO
              |           ^^^^
              = help: set it, or write ${WHO:-default}; a plain dollar sign is `$$`

            1 error, 2 warnings in a.yml
            `skep help SK0301` explains the first"#]],
        );
    }

    #[test]
    fn findings_of_several_files_are_counted_by_file() {
        let files = [
            ("a.yml", "services:\n  web:\n    imaeg: redis\n"),
            (
                "b.yml",
                "services:\n  web:\n    imgae: \"\u{9b}31m\"\n    \"\\e[31m\": 1\n",
            ),
        ];
        check(
            &files,
            false,
            expect![[r#"
                error[SK0301]: a service has no key `imaeg`
                 --> a.yml:3:5 (services.web.imaeg)
                  |
                3 |     imaeg: redis
                  |     ^^^^^
                  = help: did you mean `image`?

                error[SK0301]: a service has no key `imgae`
                 --> b.yml:3:5 (services.web.imgae)
                  |
                3 |     imgae: "�31m"
                  |     ^^^^^
                  = help: did you mean `image`?

                error[SK0301]: a service has no key `�[31m`
                 --> b.yml:4:5 (services.web.�[31m)
                  |
                4 |     "\e[31m": 1
                  |     ^^^^^^^^
                  = help: keys of your own begin with `x-`

                1 error in a.yml
                2 errors in b.yml
                `skep help SK0301` explains the first"#]],
        );
    }

    #[test]
    fn colours_are_there_when_they_are_asked_for() {
        let text = "services:\n  web:\n    imgae: nginx\n";
        check(
            &[("a.yml", text)],
            true,
            expect![[r#"
            ␛[1;31merror[SK0301]␛[0m␛[1m: a service has no key `imgae`␛[0m
             ␛[1;34m-->␛[0m a.yml:3:5 (services.web.imgae)
              ␛[1;34m|␛[0m
            ␛[1;34m3␛[0m ␛[1;34m|␛[0m     imgae: nginx
              ␛[1;34m|␛[0m     ␛[1;31m^^^^^␛[0m
              = ␛[1;36mhelp␛[0m: did you mean `image`?

            `skep help SK0301` explains it"#]],
        );
    }

    #[test]
    fn tabs_and_long_lines_keep_the_mark_in_its_place() {
        let long = "x".repeat(200);
        let text = format!("services:\n  web: {{\timage: \"{long}\",\timgae: nginx}}\n");
        check(
            &[("a.yml", &text)],
            false,
            expect![[r#"
            error[SK0301]: a service has no key `imgae`
             --> a.yml:2:221 (services.web.imgae)
              |
            2 | …xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", imgae: nginx}
              |                                                              ^^^^^
              = help: did you mean `image`?

            `skep help SK0301` explains it"#]],
        );
    }
}
