//! Stack files: several in one input, which may include, extend and merge each other.
//!
//! Owns what the loader is given: the parts of an input, cut at lines `#---`, are the first
//! file, the one on top of it, and what every other name leads to.

use crate::targets::{Target, target};
use skep_stacks::{LoadInput, load, normalize};
use std::fs;
use std::io;
use std::path::Path;

const CUT: &str = "\n#---\n";
/// The variable with a long value.
const LONG: &str = "TLONG";
const LONG_BYTES: usize = 100 << 10;

/// What the grammar turns on: bytes alone seldom make one of these.
const WORDS: &[&[u8]] = &[
    b"${",
    b"${T:-",
    b"$T",
    b"&a [*a",
    b"&a ",
    b"*a",
    b"<<: *a",
    b"\n- ",
    b"\n  ",
    b": |\n",
    b": {",
    b": [",
    b"!reset ",
    b"!override ",
    b"\n#---\n",
    b"\ninclude: [stack.yml]\n",
    b"\n    extends: {file: stack.yml, service: a}\n",
    b"\n    env_file: [{path: x.env}]\n",
    b"\n    environment: [TLONG]\n",
    b"\n    ports: [\"1-65535:1-65535\"]\n",
    b"\n    depends_on: [a]\n",
    b"\nsecrets: {s: {file: s}}\n",
    b"\nservices:\n  a:\n    image: a\n",
    b"{{.Task.Slot}}",
    b"0x7fffffffffffffff",
    b"1e999",
    b"\t",
    b"\xef\xbb\xbf",
];

/// The target.
pub fn all() -> Target {
    Target {
        words: WORDS,
        hostile,
        ..target("stack file", seeds(), read)
    }
}

/// The files of the tests, good and broken; and two of which one is on top of the other and
/// includes a third.
fn seeds() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../stacks/testdata");
    let entries = ["good", "broken", "normal"].map(|kind| fs::read_dir(folder.join(kind)));
    let mut files: Vec<_> = entries
        .into_iter()
        .flat_map(|entries| entries.into_iter().flatten())
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|kind| kind == "yml"))
        .collect();
    files.sort();
    let mut seeds: Vec<_> = files
        .iter()
        .filter_map(|path| fs::read(path).ok())
        .collect();
    let three = [
        "name: x\nservices:\n  a:\n    image: a:${T:-1}\n    ports: [\"80:80\"]\n",
        "include: [{path: [b.yml], env_file: b.env}]\nservices:\n  a: {command: !override [x]}\n",
        "services:\n  b: {extends: {file: stack.yml, service: a}, env_file: [{path: c.env}]}\n",
    ];
    seeds.push(three.join(CUT).into_bytes());
    seeds
}

fn read(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let parts: Vec<&str> = text.split(CUT).collect();
    let named = |name: &str| match name {
        "stack.yml" => parts.first(),
        "over.yml" => parts.get(1),
        _ => parts.last(),
    };
    let files: Vec<(&str, &str)> = ["stack.yml", "over.yml"]
        .into_iter()
        .zip(parts.iter().copied())
        .collect();
    let last = parts.last().copied().unwrap_or_default();
    let long = "v".repeat(LONG_BYTES);
    let input = LoadInput {
        files: &files,
        env_files: &[(".env", last)],
        stack: Some("fuzz"),
        profiles: &[],
        // Some are set, so that what stands for them is put in as well.
        env: &|name| match name {
            LONG => Some(long.clone()),
            name if name.starts_with('T') => Some(format!("{name}:$$ {{{{x}}}}")),
            _ => None,
        },
        read: &|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            let text = named(name.unwrap_or_default());
            text.map(|text| text.as_bytes().to_vec())
                .ok_or_else(|| io::ErrorKind::NotFound.into())
        },
        workdir: Path::new("/nowhere"),
    };
    // The first prints the normal form, too.
    drop(load(input));
    drop(normalize(input, false));
}

/// A service of each number, with this in it.
fn services(count: usize, inside: &str) -> String {
    let each = (0..count).map(|n| format!("  s{n}: {{image: a, {inside}}}\n"));
    "services:\n".to_owned() + &each.collect::<String>()
}

/// Each is made to fill the memory, or to take for ever.
fn hostile() -> Vec<Vec<u8>> {
    let lists = |value: &str| {
        let mut text = format!("x-0: &a0 [{}]\n", [value; 10].join(", "));
        for n in 1..10 {
            let alias = format!("*a{}", n - 1);
            text += &format!("x-{n}: &a{n} [{}]\n", vec![alias; 10].join(", "));
        }
        text
    };
    let numbered =
        |count: usize, line: &dyn Fn(usize) -> String| -> String { (0..count).map(line).collect() };
    let copies = |times| format!("x-b: [{}]\n", "*a,".repeat(times));
    let wide = numbered(50_000, &|n| format!("      k{n}: v\n"));
    let wide = format!("services:\n  a:\n    image: a\n    environment: &a\n{wide}");
    let texts = |size| format!("x-a: &a \"{}\"\n", "y".repeat(size));
    let one = "services: {a: {image: a}}\n";
    let sixty_four = numbered(64, &|n| format!("f{n}.yml, "));
    let includes = format!("include: [{sixty_four}]\n");
    let include_all = |inside: &str| [&includes, one, &format!("{inside}{one}")].join(CUT);
    let anchors = numbered(60, &|n| format!("&a{n} ["));
    let long_key = "k".repeat(1 << 20);
    let all = [
        // Aliases of aliases, of lists and of texts; merge keys.
        lists("1") + one,
        lists(&"t".repeat(1000)) + one,
        texts(100 << 10) + &copies(10_000) + one,
        texts(100) + &copies(190_000) + one,
        format!(
            "x: {anchors}{}{}\n{one}",
            "1,".repeat(190_000),
            "]".repeat(60)
        ),
        format!("{wide}  b:\n    image: b\n    environment: {{<<: [*a, *a, *a]}}\n"),
        // Nesting, in every way to write it.
        format!("x: {}", "[".repeat(1 << 20)),
        format!("x: {}", "{a: ".repeat(1 << 18)),
        format!("x:\n  {}", "- ".repeat(1 << 20)),
        format!("x:\n  {}", "? ".repeat(1 << 20)),
        numbered(1_000, &|n| format!("{}a:\n", " ".repeat(n))),
        // Size: of a text, a key, a list, a comment, one line.
        format!("{one}x: \"{}\"\n", "z".repeat((4 << 20) - 100)),
        format!("{one}x: \"{}\"\n", "\\u00e9".repeat(600_000)),
        format!("{one}x: |\n{}", "  z\n".repeat(1 << 20)),
        format!("services:\n  {long_key}: {{{}}}\n", "a: 1, ".repeat(10_000)),
        format!(
            "services:\n  {}: {{{}}}\n",
            &long_key[..1000],
            numbered(2_000, &|n| format!("u{n}: , "))
        ),
        numbered(90_000, &|n| format!("x-{n}: &a{n} v\n")),
        format!("{one}# {}", "#".repeat(4 << 20)),
        "- \n".repeat(1 << 20),
        wide.clone(),
        services(5_000, ""),
        services(20_000, ""),
        services(
            9_000,
            "labels: {a: b}, networks: {n: {aliases: [c]}}, volumes: [\"v:/v\"]",
        ),
        // Includes that lead back, and many large files.
        ["include: [stack.yml]\n", one].concat(),
        include_all(&lists("1")[..250]),
        include_all(&(texts(1000) + &copies(10_000))),
        include_all(&format!("x: [{}]\n", "1,".repeat(100_000))),
        // Variables.
        format!(
            "services: {{a: {{image: \"{}\"}}}}",
            "${A:-".repeat(200_000)
        ),
        services(
            1_000,
            &format!("labels: {{a: \"{}\"}}", "$TLONG".repeat(100)),
        ),
        services(9_000, "environment: [TLONG]"),
        services(9_000, "env_file: [{path: x.env}]")
            + CUT
            + &numbered(9_000, &|n| format!("A{n}=b\n")),
        // What is made of little.
        services(9_000, "ports: [\"1-65535:1-65535\"]"),
        services(1, "ports: [\"1-19999:1-19999\"]"),
        services(9_000, "extends: b") + "  b: {image: b, environment: [TLONG]}\n",
        services(9_000, "extends: b") + "  b: {image: b, labels: {a: \"$TLONG\"}}\n",
        services(9_000, "extends: {file: b.yml, service: b}") + CUT + &wide.replace("  a:", "  b:"),
        services(1_500, "depends_on: [s0, s1, s2, s3, s4, s5, s6, s7]"),
        services(200, "image: \"\"")
            + "secrets:\n"
            + &numbered(9_000, &|n| format!("  c{n}: {{file: c}}\n")),
        one.to_owned()
            + "configs:\n"
            + &numbered(9_000, &|n| format!("  c{n}: {{file: c}}\n"))
            + CUT
            + &"c".repeat(900_000),
        one.to_owned()
            + "configs:\n"
            + &numbered(9_000, &|n| format!("  c{n}: {{environment: {LONG}}}\n")),
        // The same again on top of it.
        [
            services(9_000, "labels: {a: b}"),
            services(9_000, "labels: {a: c}"),
        ]
        .join(CUT),
    ];
    all.into_iter().map(String::into_bytes).collect()
}
