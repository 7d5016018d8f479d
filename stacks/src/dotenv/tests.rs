//! What lines of `.env` files mean.

use super::*;

fn env(name: &str) -> Option<String> {
    match name {
        "HOST" => Some("outside".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

/// `KEY=value` of all variables, with line breaks shown.
fn read(text: &str) -> String {
    let parsed = parse(text, &env);
    assert_eq!(parsed.faults, [], "{text}");
    let lines = parsed.variables.iter().map(|(k, v)| format!("{k}={v}"));
    lines.collect::<Vec<_>>().join("|").replace('\n', "⏎")
}

/// `line:column message` of all findings.
fn faults(text: &str) -> Vec<String> {
    let parsed = parse(text, &env);
    let faults = parsed.faults.iter();
    faults
        .map(|f| format!("{}:{} {}", f.line, f.column, f.message))
        .collect()
}

#[test]
fn every_form_of_a_line_means_what_compose_takes_it_for() {
    let cases = [
        ("", ""),
        ("\n \n\t\n", ""),
        ("# A=1\n  # B=2\n", ""),
        ("A=1", "A=1"),
        ("\u{feff}A=1", "A=1"),
        ("A=1\r\nB=2\r\n", "A=1|B=2"),
        ("  A = 1  ", "A=1"),
        ("A:1\nB: 2", "A=1|B=2"),
        ("A=", "A="),
        ("A=\nB=2", "A=|B=2"),
        ("A=1\nA=2", "A=2"),
        ("export A=1\nexport\tB=2", "A=1|B=2"),
        ("export=1\nexported=2", "export=1|exported=2"),
        ("a.b-c[0]=1\nÄ=2", "a.b-c[0]=1|Ä=2"),
        // Comments begin with a blank.
        ("A=1 # one", "A=1"),
        ("A=1# one", "A=1# one"),
        ("A= # nothing", "A="),
        ("A=#1", "A=#1"),
        ("A=\"1 # 2\" # three", "A=1 # 2"),
        // Quotes.
        ("A=\"x y\"", "A=x y"),
        ("A='x y'", "A=x y"),
        ("A='$HOST ${HOST}'", "A=$HOST ${HOST}"),
        ("A=x\"y\"'z'", "A=x\"y\"'z'"),
        ("A=\"\"\nB=''", "A=|B="),
        ("A=\"it's\"\nB='say \"x\"'", "A=it's|B=say \"x\""),
        ("A=\"\\\"x\\\"\"\nB='\\'x\\''", "A=\"x\"|B='x'"),
        (
            "A=\"x\\ny\\tz\\\\\"\nB='x\\ny\\\\'",
            "A=x⏎y\tz\\|B=x\\ny\\\\",
        ),
        ("A=\"x\\qy\"", "A=x\\qy"),
        ("A=x\\ny", "A=x\\ny"),
        // Several lines.
        ("A=\"x\ny\n\"\nB=2", "A=x⏎y⏎|B=2"),
        ("A='x\n# y'\nB=2", "A=x⏎# y|B=2"),
        // Variables: those outside win over earlier ones.
        ("A=1\nB=$A-${A}", "A=1|B=1-1"),
        ("HOST=inside\nB=\"$HOST\"", "B=outside|HOST=inside"),
        ("B=${NO:-d}${EMPTY:-e}${EMPTY-f}", "B=de"),
        ("A=$$x\nB=\"\\$x\"", "A=$x|B=$x"),
        // A name alone is that of the environment.
        ("HOST\nNO\nexport HOST # c\nA=1", "A=1|HOST=outside"),
    ];
    for (text, wanted) in cases {
        assert_eq!(read(text), wanted, "{text:?}");
    }
}

#[test]
fn what_is_wrong_has_its_line_and_column_and_does_not_end_the_file() {
    let text = "A B=1\n=2\n  $C=3\nE='y' z\nF=\"multi\nline\"x\nG=${H\nI='open\n";
    assert_eq!(
        faults(text),
        [
            "1:1 this is not a variable",
            "2:1 this is not a variable",
            "3:3 this is not a variable",
            "4:7 something follows the closing quote",
            "6:6 something follows the closing quote",
            "7:3 a `$` of the value begins no variable",
            "8:3 the quote ' is not closed",
        ]
    );
    assert_eq!(
        faults("A=\"\n$NO\"\nB=$A"),
        ["1:3 the variable NO is not set; an empty text stands in its place"]
    );
}

#[test]
fn a_file_is_bounded_in_all_that_it_makes() {
    let large = "x".repeat(1 << 20);
    let env = |name: &str| (name == "L").then(|| large.clone());
    let many: String = (0..20).map(|n| format!("A{n}=$L\n")).collect();
    let parsed = parse(&many, &env);
    assert_eq!(parsed.variables.len(), 15);
    assert_eq!(parsed.faults.len(), 1);
    assert_eq!(parsed.faults[0].line, 16);
    let wrong = "=\n".repeat(10_000);
    assert_eq!(parse(&wrong, &env).faults.len(), MOST_FAULTS);
    let quotes = "A=\"\n".repeat(100_000);
    assert!(parse(&quotes, &env).faults.len() <= MOST_FAULTS);
}
