//! Damaged files: whatever is cut out of a good file, the loader answers, and
//! soon; and what a service refers to is resolved or named.

mod common;

use common::{Case, cases};
use skep_stacks::{LoadInput, load, normalize};
use skep_types::stack::{Ids, Missing};
use skep_types::{ConfigId, Dependency, NetworkId, SecretId};
use std::cell::Cell;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

fn with_text<'a>(case: &'a Case, files: &'a [(&'a str, &'a str)]) -> LoadInput<'a> {
    LoadInput {
        files,
        ..case.input()
    }
}

#[test]
fn a_file_cut_off_anywhere_is_answered() {
    for case in cases("good") {
        let text = &case.files[0].1;
        // Every seventh place: all of them take half a minute.
        for (at, _) in text.char_indices().step_by(7) {
            let files = [("cut.yml", &text[..at])];
            // Loading or not, without panic; every refusal has a reason.
            if let Err(diagnostics) = load(with_text(&case, &files)) {
                assert!(
                    diagnostics.errors().count() > 0,
                    "{}:{at}",
                    case.path.display()
                );
            }
        }
    }
}

#[test]
fn a_file_without_one_of_its_lines_is_answered() {
    for case in cases("good") {
        let case = &case;
        let lines: Vec<&str> = case.files[0].1.lines().collect();
        for without in 0..lines.len() {
            let mut fewer = lines.clone();
            fewer.remove(without);
            let text = fewer.join("\n");
            let files = [("less.yml", text.as_str())];
            for result in [
                load(with_text(case, &files)).map(|_| ()),
                normalize(with_text(case, &files), true).map(|_| ()),
            ] {
                if let Err(diagnostics) = result {
                    assert!(diagnostics.errors().count() > 0, "{without}: {text}");
                }
            }
        }
    }
}

#[test]
fn the_normal_form_is_its_own_normal_form() {
    for case in cases("good").iter().chain(&cases("normal")) {
        let once = normalize(case.input(), true).unwrap().yaml;
        let files = [("normal.yml", once.as_str())];
        // Variables have been replaced; what looks like one is text by now.
        let twice = normalize(with_text(case, &files), false);
        let twice = twice.unwrap_or_else(|d| panic!("{}: {d}\n{once}", case.path.display()));
        assert_eq!(once, twice.yaml, "{}", case.path.display());
    }
}

fn alone<'a>(files: &'a [(&'a str, &'a str)]) -> LoadInput<'a> {
    LoadInput {
        files,
        stack: Some("st"),
        profiles: &[],
        env: &|_| None,
        env_files: &[],
        read: &|_: &Path| Err(io::ErrorKind::NotFound.into()),
        workdir: Path::new("/stack"),
    }
}

#[test]
fn files_made_to_exhaust_us_are_answered_soon() {
    let many_keys: String = (0..10_000).map(|i| format!("      k{i}: v\n")).collect();
    let wide = format!("services:\n  a:\n    image: a\n    environment:\n{many_keys}");
    let many_services: String = (0..2_000)
        .map(|i| format!("  s{i}: {{image: a}}\n"))
        .collect();
    let long = format!("services:\n{many_services}");
    let brackets = format!("x: {}", "[".repeat(100_000));
    let maps = format!("x: {}", "{a: ".repeat(100_000));
    let variables = format!("services: {{a: {{image: \"{}\"}}}}", "${A:-".repeat(20_000));
    let text = format!(
        "x-a: &a \"{}\"\nx-b: [{}]\n",
        "y".repeat(100_000),
        "*a,".repeat(10_000)
    );
    let too_long = "#".repeat(5 << 20);
    let ranges: String = (1..2_000)
        .map(|i| format!("\"{i}-65000:{i}-65000\","))
        .collect();
    let ports = format!("services: {{a: {{image: a, ports: [{ranges}]}}}}");
    // One line of megabytes with more mistakes than are told, in keys and in sections.
    let bad_keys: String = (0..30_000)
        .map(|i| format!("{i}: v, [a]: b, same: c, "))
        .collect();
    let bad_keys = format!(
        "services: {{a: {{image: a, {bad_keys}}}}} # {}",
        "ü".repeat(1 << 20)
    );
    for text in [
        &wide, &long, &brackets, &maps, &variables, &text, &too_long, &ports, &bad_keys,
    ] {
        let start = Instant::now();
        let files = [("large.yml", text.as_str())];
        let _ = load(alone(&files)).is_ok();
        let _ = normalize(alone(&files), true).is_ok();
        let took = start.elapsed();
        // Unoptimised, on a busy machine; what grows without bound takes minutes.
        assert!(
            took < Duration::from_secs(20),
            "{took:?} for {}",
            &text[..40]
        );
    }
}

/// What a range makes is paid for before it is there.
#[test]
fn ranges_of_ports_are_paid_for() {
    let text = |item: &str, times: usize| -> String {
        let services = (0..times).map(|n| format!("  s{n}: {{ports: [{item}]}}\n"));
        "services:\n".to_owned() + &services.collect::<String>()
    };
    let refused = |text: &str| {
        let start = Instant::now();
        let files = [("ports.yml", text)];
        let refused = load(alone(&files)).expect_err("more than fits").to_string();
        let took = start.elapsed();
        assert!(took < Duration::from_secs(20), "{took:?}");
        refused
    };
    // Written out these are thousands of times 65535 ports.
    for item in ["{target: 1, published: \"1-65535\"}", "\"1-65535:1\""] {
        let refused = refused(&text(item, 20_000));
        assert!(refused.contains("more than 20000 ports"), "{refused}");
    }
    // Few ports, each with all that is said beside them.
    let name = "n".repeat(1 << 20);
    let values = "1,".repeat(50_000);
    for beside in [format!("name: {name}"), format!("x-a: [{values}]")] {
        let item = format!("{{target: 1, published: \"1-65535\", {beside}}}");
        let refused = refused(&text(&item, 1));
        assert!(refused.contains("for each port of 1-65535"), "{refused}");
    }
}

#[test]
fn anchors_within_anchors_are_paid_for() {
    let depth = 60;
    let anchors: String = (0..depth).map(|n| format!("&a{n} [")).collect();
    let text = format!(
        "x: {anchors}{}{}\nservices: {{a: {{image: a}}}}\n",
        "1,".repeat(10_000),
        "]".repeat(depth)
    );
    let files = [("anchors.yml", text.as_str())];
    let refused = load(alone(&files)).expect_err("60 copies of 10,000 values");
    assert!(
        refused.to_string().contains("more than 200000 values"),
        "{refused}"
    );
}

/// The Docker CLI replaces what is empty; Compose does not.
#[test]
fn what_is_empty_in_a_file_with_quotes_stays_empty() {
    let text = "services:\n  a:\n    image: a\n    env_file: [x, {path: y}]\n";
    let files = [("empty.yml", text)];
    let input = LoadInput {
        env: &|name| matches!(name, "X" | "Y").then(|| "outside".to_owned()),
        read: &|path: &Path| match path.ends_with("x") {
            true => Ok(b"X=".to_vec()),
            false => Ok(b"Y=".to_vec()),
        },
        ..alone(&files)
    };
    let stack = load(input).unwrap().stack;
    let env = &stack.services[0].spec.task.container.env;
    assert_eq!(env[..], ["X=outside", "Y="]);
}

#[test]
fn env_files_are_read_once_and_bounded_in_sum() {
    // Many spellings of one large file, and many large files.
    let dots = |n: usize| "./".repeat(n);
    let spellings: String = (0..3_000).map(|n| format!("{}a,", dots(n % 500))).collect();
    let names: String = (0..3_000).map(|n| format!("a{n},")).collect();
    let large: String = (0..50_000).map(|n| format!("K{n}=v\n")).collect();
    for (list, most) in [(spellings, 1), (names, 5)] {
        let items: String = list
            .split(',')
            .map(|name| format!("{{path: {name}x}},"))
            .collect();
        let text = format!("services: {{a: {{image: a, env_file: [{items}]}}}}");
        let files = [("env.yml", text.as_str())];
        let reads = Cell::new(0);
        let input = LoadInput {
            read: &|_: &Path| {
                reads.set(reads.get() + 1);
                Ok(large.clone().into_bytes())
            },
            ..alone(&files)
        };
        let refused = load(input).expect_err("more variables than fit");
        assert!(
            refused.to_string().contains("200000 variables"),
            "{refused}"
        );
        assert!(reads.get() <= most, "{} reads", reads.get());
    }
}

#[test]
fn references_become_ids_or_are_named() {
    let text = "services:\n  a:\n    image: x\n    secrets: [s]\n    configs: [c]\n\
                secrets: {s: {external: true}}\nconfigs: {c: {external: true}}\n";
    let files = [("refs.yml", text)];
    let stack = load(alone(&files)).unwrap().stack;
    let service = &stack.services[0];
    let mut ids = Ids::default();
    let missing = |kind, name: &str| Missing {
        service: "st_a".to_owned(),
        kind,
        name: name.to_owned(),
    };
    assert_eq!(service.resolve(&ids), Err(missing("network", "st_default")));
    ids.networks
        .insert("st_default".to_owned(), NetworkId::from_bits(1));
    assert_eq!(service.resolve(&ids), Err(missing("secret", "s")));
    ids.secrets.insert("s".to_owned(), SecretId::from_bits(2));
    assert_eq!(service.resolve(&ids), Err(missing("config", "c")));
    ids.configs.insert("c".to_owned(), ConfigId::from_bits(3));
    let spec = service.resolve(&ids).unwrap();
    assert_eq!(spec.task.networks[0].network, NetworkId::from_bits(1));
    assert_eq!(spec.task.networks[0].aliases, ["a"]);
    assert_eq!(spec.task.container.secrets[0].id, SecretId::from_bits(2));
    assert_eq!(spec.task.container.configs[0].target.path, "c");
}

#[test]
fn a_service_waits_for_no_more_than_the_cluster_takes() {
    let text = |count: usize, long: bool| {
        let services = (0..count).map(|n| format!("  s{n}: {{image: a}}\n"));
        let names = (0..count).map(|n| match long {
            true => format!("      s{n}: {{condition: service_started}}\n"),
            false => format!("      - s{n}\n"),
        });
        let (services, names): (String, String) = (services.collect(), names.collect());
        format!("services:\n  a:\n    image: a\n    depends_on:\n{names}{services}")
    };
    for long in [false, true] {
        let most = text(Dependency::MOST, long);
        let files = [("most.yml", most.as_str())];
        let stack = load(alone(&files)).unwrap().stack;
        let waits = &stack.services[0].spec.depends_on;
        assert_eq!(waits.len(), Dependency::MOST);
        let more = text(Dependency::MOST + 10, long);
        let files = [("more.yml", more.as_str())];
        let refused = load(alone(&files)).expect_err("more than fit");
        let refused: Vec<_> = refused.errors().collect();
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert!(refused[0].message.contains("more than 64 services"));
        // The first that does not fit.
        let location = refused[0].location.as_ref().unwrap();
        assert_eq!(location.line, 5 + 64, "{}", refused[0]);
    }
}

#[test]
fn a_stack_has_a_usable_name() {
    let files = [("a.yml", "services: {a: {image: a}}")];
    for name in ["", " ", "a b", "-a", "a/b", "ü"] {
        let input = LoadInput {
            stack: Some(name),
            ..alone(&files)
        };
        assert!(load(input).is_err(), "{name:?}");
    }
}

/// Why the files are refused; `read` is given the number of files read before.
fn refused_of(text: &str, read: &dyn Fn(usize) -> Vec<u8>) -> (String, usize) {
    let files = [("large.yml", text)];
    let reads = Cell::new(0);
    let input = LoadInput {
        env: &|name| (name == "LONG").then(|| "v".repeat(100 << 10)),
        read: &|_: &Path| {
            reads.set(reads.get() + 1);
            Ok(read(reads.get() - 1))
        },
        ..alone(&files)
    };
    let refused = load(input).expect_err("more than fits").to_string();
    (refused, reads.get())
}

#[test]
fn contents_are_bounded_in_sum_and_not_read_beyond() {
    let configs: String = (0..1_000)
        .map(|n| format!("  c{n}: {{file: c{n}}}\n"))
        .collect();
    let text = format!("services: {{a: {{image: a}}}}\nconfigs:\n{configs}");
    let (refused, reads) = refused_of(&text, &|_| vec![7; 1 << 19]);
    let said = "the secrets and configs of the stack have more than 16 MiB";
    assert_eq!(refused.matches(said).count(), 1, "{refused}");
    assert_eq!(reads, 33);
}

#[test]
fn what_variables_make_is_bounded_in_sum() {
    for inside in ["environment: [LONG]", "labels: {a: $LONG}"] {
        let services: String = (0..1_000)
            .map(|n| format!("  s{n}: {{image: a, {inside}}}\n"))
            .collect();
        let (refused, _) = refused_of(&format!("services:\n{services}"), &|_| Vec::new());
        let said = "with its variables replaced, the stack has more than 16 MiB of text";
        assert!(refused.contains(said), "{refused}");
    }
}

#[test]
fn values_are_bounded_over_all_files() {
    let names: String = (0..60).map(|n| format!("f{n}.yml, ")).collect();
    let text = format!("include: [{names}]\nservices: {{a: {{image: a}}}}\n");
    let values = format!("x: [{}]\n", "1,".repeat(30_000));
    let (refused, _) = refused_of(&text, &|_| values.clone().into_bytes());
    // The seventh is one too many; the others are not gone through.
    assert!(refused.contains("f6.yml:1:"), "{refused}");
    assert!(
        refused.contains("the files of the stack have more than 200000"),
        "{refused}"
    );
}

#[test]
fn keys_and_services_are_bounded() {
    let key = format!("services:\n  {}: {{image: a}}\n", "é".repeat(513));
    let (refused, _) = refused_of(&key, &|_| Vec::new());
    assert!(
        refused.contains("a key has 1026 bytes; at most 1024"),
        "{refused}"
    );
    let services: String = (0..5_001)
        .map(|n| format!("  s{n}: {{image: a}}\n"))
        .collect();
    let (refused, _) = refused_of(&format!("services:\n{services}"), &|_| Vec::new());
    assert!(refused.contains("more than 5000 services"), "{refused}");
}

#[test]
fn a_long_text_is_not_said_in_full() {
    let name = "é".repeat(100_000);
    let text = format!("services: {{a: {{image: \"{name}\"}}}}");
    let (refused, _) = refused_of(&text, &|_| Vec::new());
    assert!(refused.len() < 10_000, "{}", refused.len());
}
