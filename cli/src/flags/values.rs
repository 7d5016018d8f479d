//! Plain values: durations, sizes, CPUs, environment, labels, networks, limits.

use super::fields;
use skep_types::{ByteCount, FileTarget, GenericResource, InvalidAmount, Labels, NanoCpus, Ulimit};
use std::time::Duration;

/// A duration as Go writes it: `1m30s`, `1.5h`, `500ms`.
///
/// # Errors
/// Says what is wrong with it.
pub fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is not a duration such as 10s or 1m30s");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(|| format!("the duration {text:?} has no unit: write {text}s"))?;
        let number: f64 = rest[..end].parse().map_err(|_| bad())?;
        rest = &rest[end..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let seconds = match &rest[..end] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" | "μs" => 1e-6,
            "ns" => 1e-9,
            _ => return Err(bad()),
        };
        rest = &rest[end..];
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| bad())?;
        total = total.checked_add(part).ok_or_else(bad)?;
    }
    if text.is_empty() {
        Err(bad())
    } else {
        Ok(total)
    }
}

/// Bytes: `64m`, `1.5g`, `1048576`; units are powers of 1024.
///
/// # Errors
/// Says what is wrong with it.
pub fn bytes(text: &str) -> Result<ByteCount, String> {
    text.parse().map_err(|bad: InvalidAmount| bad.to_string())
}

/// A number of CPUs: `0.5`, `2`.
///
/// # Errors
/// Says what is wrong with it.
pub fn cpus(text: &str) -> Result<NanoCpus, String> {
    text.parse().map_err(|bad: InvalidAmount| bad.to_string())
}

/// A kind of generic resource and how many a task needs: `gpu=1`.
///
/// # Errors
/// Says what is wrong with it.
pub fn generic(text: &str) -> Result<(String, u64), String> {
    let parts = text.split_once('=');
    let parts = parts.filter(|(kind, _)| GenericResource::is_kind(kind));
    match parts.and_then(|(kind, count)| Some((kind, count.parse().ok()?))) {
        Some((kind, count @ 1..)) => Ok((kind.to_owned(), count)),
        _ => Err(format!(
            "{text:?} is not a generic resource such as gpu=1; services ask for a number, nodes \
             give names"
        )),
    }
}

/// `KEY=value`; a key alone gets an empty value.
///
/// # Errors
/// When there is no key.
pub fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() {
        return Err(format!("{text:?} has no key: write key=value"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// Labels from pairs; the last of a key holds.
pub fn labels(pairs: &[(String, String)]) -> Labels {
    pairs.iter().cloned().collect()
}

/// `KEY=value`, or `KEY` for the value it has here; `None` when it has none.
///
/// # Errors
/// When there is no key.
pub fn env_value(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<String>, String> {
    let (key, _) = key_value(text)?;
    Ok(match text.contains('=') {
        true => Some(text.to_owned()),
        false => env(&key).map(|value| format!("{key}={value}")),
    })
}

/// The variables of an env file: `KEY=value` lines, `#` comments.
///
/// # Errors
/// Names the line that has no key.
pub fn env_file(
    content: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    for (number, line) in content.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key = line.split('=').next().unwrap_or_default();
        if key.trim_end().is_empty() || key.trim_end().contains(char::is_whitespace) {
            return Err(format!(
                "line {}: {key:?} is not a variable's name",
                number + 1
            ));
        }
        out.extend(env_value(line, env)?);
    }
    Ok(out)
}

/// A network of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkRef {
    /// Name or id.
    pub network: String,
    /// Further names on it.
    pub aliases: Vec<String>,
}

/// `net`, or `name=net,alias=a,alias=b`.
///
/// # Errors
/// Says what is wrong with it.
pub fn network(text: &str) -> Result<NetworkRef, String> {
    let mut network = String::new();
    let mut aliases = Vec::new();
    for (key, value) in fields(text)? {
        match (key.as_str(), value) {
            ("name", Some(value)) => network = value,
            ("alias", Some(value)) => aliases.push(value),
            ("driver-opt", _) => return Err("driver-opt of a network is not supported".to_owned()),
            (name, None) if network.is_empty() => network = name.to_owned(),
            (key, _) => return Err(format!("{key:?} is not a key of a network: name, alias")),
        }
    }
    if network.is_empty() {
        return Err(format!("{text:?} names no network"));
    }
    Ok(NetworkRef { network, aliases })
}

/// A secret or config of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRef {
    /// Name or id.
    pub source: String,
    /// Where and how it appears.
    pub target: FileTarget,
}

/// `name`, or `source=name,target=path,uid=0,gid=0,mode=0444`.
///
/// # Errors
/// Says what is wrong with it.
pub fn file_ref(text: &str) -> Result<FileRef, String> {
    let mut source = String::new();
    let mut target = FileTarget {
        path: String::new(),
        uid: 0,
        gid: 0,
        mode: 0o444,
    };
    let number = |key: &str, value: &str, radix: u32| {
        u32::from_str_radix(value, radix).map_err(|_| format!("{value:?} is not a {key}"))
    };
    for (key, value) in fields(text)? {
        match (key.as_str(), value) {
            ("source" | "src", Some(value)) => source = value,
            ("target" | "dst" | "destination", Some(value)) => target.path = value,
            ("uid", Some(value)) => target.uid = number("uid", &value, 10)?,
            ("gid", Some(value)) => target.gid = number("gid", &value, 10)?,
            ("mode", Some(value)) => target.mode = number("mode", &value, 8)?,
            (name, None) if source.is_empty() => source = name.to_owned(),
            (key, _) => {
                return Err(format!(
                    "{key:?} is not known here: source, target, uid, gid, mode"
                ));
            }
        }
    }
    if source.is_empty() {
        return Err(format!("{text:?} names no source"));
    }
    if target.path.is_empty() {
        target.path.clone_from(&source);
    }
    Ok(FileRef { source, target })
}

/// `nofile=1024:2048`, or one number for both; -1 is unlimited.
///
/// # Errors
/// Says what is wrong with it.
pub fn ulimit(text: &str) -> Result<Ulimit, String> {
    let bad = || format!("{text:?} is not a limit such as nofile=1024:2048");
    let (name, values) = text.split_once('=').ok_or_else(bad)?;
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let number = |value: &str| match value.parse::<i64>() {
        Ok(value) if value >= -1 => Ok(value),
        _ => Err(bad()),
    };
    let (soft, hard) = (number(soft)?, number(hard)?);
    if name.is_empty() {
        return Err(bad());
    }
    if hard != -1 && (soft > hard || soft == -1) {
        return Err(format!("the soft limit of {text:?} is above the hard one"));
    }
    Ok(Ulimit {
        name: name.to_owned(),
        soft,
        hard,
    })
}

/// `name:address` as a line of `/etc/hosts`.
///
/// # Errors
/// When the address is none.
pub fn host_entry(text: &str) -> Result<String, String> {
    let bad = || format!("{text:?} is not a host such as db:10.0.0.5");
    let (name, address) = text.split_once([':', '=']).ok_or_else(bad)?;
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    let address: std::net::IpAddr = bare.parse().map_err(|_| bad())?;
    if name.is_empty() {
        return Err(bad());
    }
    Ok(format!("{address} {name}"))
}

/// Words of a line as a shell splits them: blanks, quotes, backslashes.
///
/// # Errors
/// For an open quote.
pub fn words(text: &str) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), close) if open == close => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => {
                let next = letters.next().ok_or("a backslash at the end")?;
                word.get_or_insert_default().push(next);
            }
            (None, blank) if blank.is_whitespace() => out.extend(word.take()),
            (_, other) => word.get_or_insert_default().push(other),
        }
    }
    if quote.is_some() {
        return Err(format!("{text:?} has an open quote"));
    }
    out.extend(word);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, millis) in [
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("500ms", 500),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "10", "s", "-1s", "1x", "1..5s", "99999999999999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_and_cpus_are_read() {
        for (text, value) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("64m", 64 << 20),
            ("64MiB", 64 << 20),
            ("1.5g", 3 << 29),
            ("100B", 100),
        ] {
            assert_eq!(bytes(text), Ok(ByteCount(value)), "{text}");
        }
        for text in ["", "m", "1x", "-5m", "1e3", "99999999p"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        assert_eq!(cpus("0.5"), Ok(NanoCpus(500_000_000)));
        for text in ["", "-1", "NaN", "half"] {
            assert!(cpus(text).is_err(), "{text}");
        }
    }

    #[test]
    fn variables_come_from_the_flag_the_file_or_here() {
        let here = |key: &str| (key == "HOME").then(|| "/root".to_owned());
        assert_eq!(env_value("A=b=c", &here), Ok(Some("A=b=c".to_owned())));
        assert_eq!(env_value("HOME", &here), Ok(Some("HOME=/root".to_owned())));
        assert_eq!(env_value("NONE", &here), Ok(None));
        assert!(env_value("=x", &here).is_err());
        let file = "# a comment\n\nA=1\n  B= two words \nHOME\nNONE\n";
        let expected = ["A=1", "B= two words ", "HOME=/root"].map(str::to_owned);
        assert_eq!(env_file(file, &here), Ok(expected.to_vec()));
        assert!(env_file("A=1\nB C=2\n", &here).is_err_and(|e| e.starts_with("line 2")));
    }

    #[test]
    fn references_have_a_short_and_a_long_form() {
        assert_eq!(network("net").map(|n| n.network), Ok("net".to_owned()));
        let long = network("name=net,alias=a,alias=b");
        assert_eq!(long.map(|n| n.aliases), Ok(vec!["a".into(), "b".into()]));
        assert!(network("alias=a").is_err());
        assert!(network("name=net,color=red").is_err());
        let short = file_ref("pw").map(|f| (f.source, f.target.path, f.target.mode));
        assert_eq!(short, Ok(("pw".into(), "pw".into(), 0o444)));
        let long = file_ref("source=pw,target=/etc/pw,uid=7,mode=0400");
        let long = long.map(|f| (f.target.path, f.target.uid, f.target.mode));
        assert_eq!(long, Ok(("/etc/pw".into(), 7, 0o400)));
        assert!(file_ref("source=pw,mode=9").is_err());
        assert!(file_ref("target=x").is_err());
    }

    #[test]
    fn limits_and_hosts_are_checked() {
        assert_eq!(
            ulimit("nofile=10:20").map(|u| (u.soft, u.hard)),
            Ok((10, 20))
        );
        assert_eq!(ulimit("nproc=5").map(|u| (u.soft, u.hard)), Ok((5, 5)));
        for text in ["nofile", "=1", "nofile=20:10", "nofile=-1:10", "nofile=a"] {
            assert!(ulimit(text).is_err(), "{text}");
        }
        assert_eq!(host_entry("db:10.0.0.5").as_deref(), Ok("10.0.0.5 db"));
        assert_eq!(host_entry("db:[::1]").as_deref(), Ok("::1 db"));
        assert!(host_entry("db:nowhere").is_err());
    }

    #[test]
    fn command_lines_are_split_as_a_shell_does() {
        let split = words(r#"sh -c "echo \"a b\"" 'it''s' \ x "" "#);
        let expected = ["sh", "-c", "echo \"a b\"", "its", " x", ""].map(str::to_owned);
        assert_eq!(split, Ok(expected.to_vec()));
        assert!(words("sh 'open").is_err());
    }
}
