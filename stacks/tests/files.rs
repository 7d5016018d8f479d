//! Files that stack files name with `extends` and `include`: what is read of them, and that
//! it is bounded.

mod common;

use skep_stacks::{LoadInput, Loaded, load};
use skep_types::Content;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

/// Loads `main` beside other files, each a path and a text; also says how many were read.
fn loaded(main: &str, others: &[(&str, String)]) -> (Result<Loaded, String>, usize) {
    let others: BTreeMap<&str, &String> = others.iter().map(|(p, t)| (*p, t)).collect();
    let reads = Cell::new(0);
    let read = |path: &Path| {
        let found = others.get(path.to_str().unwrap());
        reads.set(reads.get() + usize::from(found.is_some()));
        let found = found.ok_or(io::Error::from(io::ErrorKind::NotFound))?;
        Ok(found.as_bytes().to_vec())
    };
    let input = LoadInput {
        files: &[("at/main.yml", main)],
        stack: Some("st"),
        profiles: &[],
        env: &|name| (name == "OUTSIDE").then(|| "outside".to_owned()),
        env_files: &[],
        read: &read,
        workdir: Path::new("/at"),
    };
    let loaded = load(input).map_err(|diagnostics| diagnostics.to_string());
    (loaded, reads.get())
}

fn refused(main: &str, others: &[(&str, String)]) -> String {
    loaded(main, others).0.expect_err("it loads")
}

#[test]
fn a_file_is_read_once_and_findings_name_it_as_it_is_found_from_the_first() {
    let base = "services:\n  b: {image: redis, cpus: x}\n".to_owned();
    let main = "services:\n  one: {extends: {service: b, file: ../lib/b.yml}}\n  two: {extends: \
                {service: b, file: /lib/b.yml}}\n";
    let (result, reads) = loaded(main, &[("/lib/b.yml", base)]);
    let text = result.expect_err("cpus");
    assert!(text.starts_with("error[SK0402]: at/../lib/b.yml:2:27: services.one.cpus: "));
    assert_eq!(reads, 1);
}

/// The includes `a` and `b`, with `HOST` of their own, of one service each that is `rest`.
fn two_hosts(rest: &str) -> Vec<(String, String)> {
    let two = ["a", "b"].into_iter().flat_map(|dir| {
        let file = format!("services:\n  {dir}: {{image: redis, {rest}}}\n");
        [
            (format!("/at/{dir}/f.yml"), file),
            (format!("/at/{dir}/.env"), format!("HOST={dir}\n")),
        ]
    });
    two.collect()
}

#[test]
fn an_env_file_has_the_variables_of_the_include_that_names_it() {
    let main = "include: [a/f.yml, b/f.yml]\nservices:\n  c: {image: redis, env_file: [{path: \
                common.env}, bare.env]}\n";
    let common = ("/at/common.env", "URL=http://$HOST\n".to_owned());
    let two = two_hosts("env_file: [{path: ../common.env}, ../bare.env]");
    let two = two.iter().map(|(path, text)| (&**path, text.clone()));
    let bare = ("/at/bare.env", "HOST\n".to_owned());
    let others: Vec<(&str, String)> = two.chain([common, bare]).collect();
    let stack = loaded(main, &others).0.unwrap().stack;
    let env = stack.services.iter().map(|service| {
        let env = &service.spec.task.container.env;
        (service.key.as_str(), env.join(" "))
    });
    let env: BTreeMap<&str, String> = env.collect();
    assert_eq!(env["a"], "HOST=a URL=http://a");
    assert_eq!(env["b"], "HOST=b URL=http://b");
    assert_eq!(env["c"], "URL=http://");
}

/// A file of a service, and of a secret and a config of variables.
fn of_variables(key: &str, secret: &str, config: &str) -> String {
    format!(
        "services: {{{key}: {{image: redis}}}}\nsecrets: {{{key}: {{environment: {secret}}}}}\n\
         configs: {{{key}: {{environment: {config}}}}}\n"
    )
}

#[test]
fn a_secret_of_a_variable_has_the_value_of_the_include_that_declares_it() {
    let main = "include: [a/f.yml, {path: b/f.yml, env_file: named.env}]\nsecrets: {own: \
                {environment: OUTSIDE}}\n";
    let within = "include: [c/f.yml]\n".to_owned() + &of_variables("a", "TOKEN", "OUTSIDE");
    let others = [
        ("/at/a/f.yml", within),
        ("/at/a/.env", "TOKEN=of-a\nOUTSIDE=inside\n".to_owned()),
        ("/at/a/c/f.yml", of_variables("c", "TOKEN", "ONLY")),
        // That of the file that includes it wins.
        ("/at/a/c/.env", "TOKEN=no\nONLY=of-c\n".to_owned()),
        ("/at/b/f.yml", of_variables("b", "TOKEN", "TOKEN")),
        ("/at/named.env", "TOKEN=of-b\n".to_owned()),
    ];
    let stack = loaded(main, &others).0.unwrap().stack;
    let text = |key: &str, content: Option<&[u8]>| {
        let content = String::from_utf8_lossy(content.unwrap_or_default());
        format!("{key}={content}")
    };
    let secrets = stack
        .secrets
        .iter()
        .map(|s| text(&s.key, given(&s.content)));
    let secrets: Vec<String> = secrets.collect();
    assert_eq!(secrets, ["a=of-a", "b=of-b", "c=of-a", "own=outside"]);
    let configs = stack
        .configs
        .iter()
        .map(|c| text(&c.key, given(&c.content)));
    let configs: Vec<String> = configs.collect();
    assert_eq!(configs, ["a=outside", "b=of-b", "c=of-c"]);
    // It may be a password.
    assert!(
        stack.source.contains("environment: TOKEN"),
        "{}",
        stack.source
    );
    assert!(!stack.source.contains("of-"), "{}", stack.source);
}

fn given<Id>(content: &Content<Id>) -> Option<&[u8]> {
    match content {
        Content::Given(data) => Some(data),
        _ => None,
    }
}

#[test]
fn a_secret_of_two_values_is_refused() {
    let file = "services: {}\nsecrets: {s: {environment: HOST}}\n".to_owned();
    let mut others = two_hosts("");
    others.retain(|(path, _)| path.ends_with(".env"));
    let others = others.iter().map(|(path, text)| (&**path, text.clone()));
    let files = ["/at/a/f.yml", "/at/b/f.yml"].map(|path| (path, file.clone()));
    let others: Vec<(&str, String)> = others.chain(files).collect();
    let main = "include: [a/f.yml, b/f.yml]\nservices: {a: {image: redis}}\n";
    let text = refused(main, &others);
    assert!(text.contains("another secret s"), "{text}");
}

#[test]
fn values_of_secrets_are_bounded_in_sum() {
    let secrets: String = (0..100)
        .map(|n| format!("  s{n}: {{environment: LARGE}}\n"))
        .collect();
    let others = [
        (
            "/at/a/f.yml",
            format!("services: {{}}\nsecrets:\n{secrets}"),
        ),
        ("/at/a/.env", format!("LARGE={}\n", "x".repeat(400_000))),
    ];
    let main = "include: [a/f.yml]\nservices: {a: {image: redis}}\n";
    let text = refused(main, &others);
    assert!(text.contains("16 MiB of text"), "{text}");
}

#[test]
fn env_files_of_many_includes_are_bounded_in_sum() {
    let large = format!("# {}\n", "x".repeat(3 << 20));
    let names = (0..20).map(|n| format!("d{n}/f.yml"));
    let main = format!("include: [{}]\n", names.collect::<Vec<_>>().join(", "));
    let files = (0..20).flat_map(|n| {
        let file = format!("services: {{s{n}: {{image: redis, env_file: ../large.env}}}}\n");
        [
            (format!("/at/d{n}/f.yml"), file),
            (format!("/at/d{n}/.env"), format!("N={n}\n")),
        ]
    });
    let files: Vec<(String, String)> = files.collect();
    let files = files.iter().map(|(path, text)| (&**path, text.clone()));
    let others: Vec<(&str, String)> = files.chain([("/at/large.env", large)]).collect();
    let (result, reads) = loaded(&main, &others);
    let text = result.expect_err("more than fits");
    assert!(text.contains("variables or 16 MiB"), "{text}");
    assert!(reads <= 40 + 6, "{reads}");
}

#[test]
fn what_is_copied_of_a_service_is_bounded() {
    let mut base = "services:\n  b:\n    image: redis\n    command:\n".to_owned();
    for _ in 0..1000 {
        base.push_str("      - word\n");
    }
    let mut main = "services:\n".to_owned();
    for number in 0..1000 {
        let _ = writeln!(
            main,
            "  s{number}: {{extends: {{service: b, file: b.yml}}}}"
        );
    }
    let text = refused(&main, &[("/at/b.yml", base)]);
    assert!(text.contains("more than 200000 values"), "{text}");
}

#[test]
fn files_that_multiply_come_to_an_end() {
    // Each includes the next one four times.
    let files: Vec<(String, String)> = (0..15)
        .map(|n| {
            let next = format!("f{}.yml", n + 1);
            let text = format!("include: [{next}, {next}, {next}, {next}]\nservices: {{}}\n");
            (format!("/at/f{n}.yml"), text)
        })
        .chain([("/at/f15.yml".to_owned(), "services: {}\n".to_owned())])
        .collect();
    let files: Vec<(&str, String)> = files.iter().map(|(p, t)| (&**p, t.clone())).collect();
    let main = "include: [f0.yml]\nservices: {a: {image: redis}}\n";
    let text = refused(main, &files);
    assert!(text.contains("more than 256 files"), "{text}");
}

#[test]
fn a_chain_without_end_is_cut() {
    let texts: Vec<(String, String)> = (0..40)
        .map(|n| {
            let file = format!("/at/f{n}.yml");
            let text = format!(
                "include: [f{0}.yml]\nservices:\n  a: {{extends: {{service: a, file: f{0}.yml}}}}\n",
                n + 1
            );
            (file, text)
        })
        .collect();
    let files: Vec<(&str, String)> = texts.iter().map(|(p, t)| (&**p, t.clone())).collect();
    let service = "services:\n  a: {extends: {service: a, file: f0.yml}}\n";
    let text = refused(service, &files);
    assert!(text.contains("more than 20 services extend"), "{text}");
    let lists: Vec<(&str, String)> = files
        .iter()
        .map(|(path, text)| (*path, text.split("services").next().unwrap().to_owned()))
        .map(|(path, include)| (path, include + "services: {}\n"))
        .collect();
    let text = refused("include: [f0.yml]\nservices: {a: {image: redis}}\n", &lists);
    assert!(text.contains("more than 20 files include"), "{text}");
}

#[test]
fn a_file_that_is_every_file_it_names_is_answered() {
    for case in common::cases("good") {
        let text = case.files[0].1.clone();
        let read = |_: &Path| Ok(text.clone().into_bytes());
        let answer = load(LoadInput {
            read: &read,
            ..case.input()
        });
        let name = case.path.file_name().unwrap().to_string_lossy();
        if matches!(&*name, "include.yml" | "extends.yml") {
            assert!(answer.is_err(), "{name} leads back to itself");
        }
    }
}
