//! Ports: `[address:][published:]target[/protocol]`, with ranges, written out.

use super::Context;
use crate::codes;
use crate::diagnostic::{Place, Report};
use crate::room::{Cost, MOST_PORTS};
use crate::tree::{Entry, Node, Value};
use std::ops::RangeInclusive;

/// Most values of a long form that is repeated for each port of a range.
const MOST_VALUES: usize = 16;
/// Most bytes of text of one.
const MOST_TEXT: usize = 256;

type Ports = RangeInclusive<u16>;

/// Turns every short form of a list of ports into long ones.
pub(super) fn spread(node: &mut Node, path: &str, context: &Context<'_>, report: &mut Report) {
    let Value::List(items) = &mut node.value else {
        return;
    };
    let mut out = Vec::with_capacity(items.len());
    for (index, item) in std::mem::take(items).into_iter().enumerate() {
        let path = format!("{path}[{index}]");
        let place = item.place;
        match item.scalar_text() {
            None => {
                check_long(&item, &path, report);
                let Ok(published) = published(&item, &path, report) else {
                    continue;
                };
                let count = published.as_ref().map_or(1, ExactSizeIterator::len);
                if !paid(count, place, &path, context, report) {
                    break;
                }
                match published {
                    None => out.push(item),
                    Some(ports) => each_of_range(&item, ports, &mut out),
                }
            }
            Some(text) => match short(&text) {
                Ok(ports) => {
                    if let Some(address) = &ports.address {
                        open_on_all(address, place, &path, report);
                    }
                    if !paid(ports.count(), place, &path, context, report) {
                        break;
                    }
                    let pairs = ports.pairs().into_iter();
                    out.extend(pairs.map(|(t, p)| long_form(place, t, p, &ports.protocol)));
                }
                Err(message) => {
                    let help = "a port is written as \"8080:80\", \"8080:80/udp\" or \"80\"";
                    report.error_help(codes::PORT, Some(item.place), &path, message, help);
                }
            },
        }
    }
    node.value = Value::List(out);
}

/// Whether a stack may have so many more ports; else that is said.
fn paid(
    count: usize,
    place: Place,
    path: &str,
    context: &Context<'_>,
    report: &mut Report,
) -> bool {
    let fits = context.room.ports.take(count);
    if !fits {
        let message = format!("the stack has more than {MOST_PORTS} ports");
        report.error(codes::OUT_OF_RANGE, Some(place), path, message);
    }
    fits
}

/// The range of ports that a long form publishes, if it is one: the form is repeated for each.
/// An error has been said.
fn published(item: &Node, path: &str, report: &mut Report) -> Result<Option<Ports>, ()> {
    let Some(published) = item.get("published") else {
        return Ok(None);
    };
    let Some(text) = published.as_str() else {
        return Ok(None);
    };
    let ports = range(text).and_then(|ports| match ports.start() {
        0 => Err("ports are 1 to 65535".to_owned()),
        _ => Ok(ports),
    });
    match ports {
        Ok(ports) if ports.len() > 1 && !repeatable(item) => {
            let message = format!("too much is said to say it for each port of {text}");
            let help = "leave out what is not about ports, or write each port alone";
            report.error_help(codes::TOO_LARGE, Some(item.place), path, message, help);
            Err(())
        }
        Ok(ports) => Ok(Some(ports)),
        Err(why) => {
            let message = format!("{text:?} is not a port: {why}");
            let help = "write one port, or a range such as \"8000-8003\"";
            let path = format!("{path}.published");
            report.error_help(codes::PORT, Some(published.place), &path, message, help);
            Err(())
        }
    }
}

/// Whether a long form is small enough to be there thousands of times.
fn repeatable(item: &Node) -> bool {
    let Cost { values, text } = item.cost();
    values <= MOST_VALUES && text <= MOST_TEXT
}

/// A long form for each port of its range.
fn each_of_range(item: &Node, ports: Ports, out: &mut Vec<Node>) {
    out.extend(ports.map(|port| {
        let mut one = item.clone();
        if let Some(published) = one.get_mut("published") {
            published.value = Value::Int(i64::from(port));
        }
        one
    }));
}

/// The address that a port was asked for on is not honoured.
fn open_on_all(address: &str, place: Place, path: &str, report: &mut Report) {
    let message = format!("the address {address} is ignored: the port is open on every address");
    let help = "keep it closed with a firewall, or do not publish it";
    report.warn_help(codes::OPEN_ON_ALL, Some(place), path, message, help);
}

fn check_long(item: &Node, path: &str, report: &mut Report) {
    let number = |key| match item.get(key).map(|n| (n.place, &n.value)) {
        Some((place, Value::Int(value))) => Some((place, *value)),
        _ => None,
    };
    match number("target") {
        None => report.error(
            codes::MISSING_KEY,
            Some(item.place),
            path,
            "a port needs the key `target`",
        ),
        Some((place, value)) if !(1..=65535).contains(&value) => {
            let message = format!("{value} is not a port: ports are 1 to 65535");
            report.error(codes::PORT, Some(place), &format!("{path}.target"), message);
        }
        Some(_) => {}
    }
    if let Some(entry) = item.entry("host_ip")
        && let Some(address) = entry.value.as_str()
        && !matches!(address, "" | "0.0.0.0" | "::")
    {
        let path = format!("{path}.host_ip");
        open_on_all(address, entry.value.place, &path, report);
    }
    if let Some((place, value)) = number("published")
        && !(0..=65535).contains(&value)
    {
        let message = format!("{value} is not a port: ports are 1 to 65535");
        report.error(
            codes::PORT,
            Some(place),
            &format!("{path}.published"),
            message,
        );
    }
}

fn long_form(place: Place, target: u16, published: Option<u16>, protocol: &str) -> Node {
    let entry = |key: &str, value| Entry {
        key: key.to_owned(),
        key_place: place,
        value: Node::new(place, value),
    };
    let mut entries = vec![
        entry("mode", Value::Str("ingress".to_owned())),
        entry("target", Value::Int(i64::from(target))),
        entry("protocol", Value::Str(protocol.to_owned())),
    ];
    entries.extend(published.map(|p| entry("published", Value::Int(i64::from(p)))));
    Node::new(place, Value::Map(entries))
}

/// A short form, read.
#[derive(Debug, PartialEq, Eq)]
struct Short {
    /// An address that was asked for and cannot be had.
    address: Option<String>,
    protocol: String,
    targets: Ports,
    /// As many as there are targets, or several for one target.
    published: Option<Ports>,
}

impl Short {
    /// How many ports these are.
    fn count(&self) -> usize {
        let published = self.published.as_ref().map_or(0, ExactSizeIterator::len);
        self.targets.len().max(published)
    }

    /// Target and published port of each.
    fn pairs(&self) -> Vec<(u16, Option<u16>)> {
        let targets = self.targets.clone();
        let mut pairs: Vec<(u16, Option<u16>)> = match self.published.clone() {
            None => targets.map(|t| (t, None)).collect(),
            Some(published) => {
                // One target may be behind several published ports.
                let last = *targets.end();
                let targets = targets.chain(std::iter::repeat(last));
                targets.zip(published.map(Some)).collect()
            }
        };
        // In the order of their text: what Docker prints, and stable.
        pairs.sort_by_cached_key(|(target, published)| (target.to_string(), *published));
        for pair in &mut pairs {
            pair.1 = pair.1.filter(|p| *p > 0);
        }
        pairs
    }
}

fn short(text: &str) -> Result<Short, String> {
    let bad = |why: &str| format!("{text:?} is not a port: {why}");
    let (ports, protocol) = match text.split_once('/') {
        Some((ports, protocol)) => (ports, protocol.to_ascii_lowercase()),
        None => (text, "tcp".to_owned()),
    };
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err(bad("the protocol is tcp, udp or sctp"));
    }
    let (before, target) = match ports.rsplit_once(':') {
        Some((before, target)) => (Some(before), target),
        None => (None, ports),
    };
    let (address, published) = match before.map(|b| b.rsplit_once(':')) {
        None => (None, None),
        Some(None) => (None, before),
        Some(Some((address, published))) => (Some(address), Some(published)),
    };
    let address = match address {
        None | Some("") => None,
        Some(address) => {
            let plain = address
                .strip_prefix('[')
                .and_then(|a| a.strip_suffix(']'))
                .unwrap_or(address);
            let parsed: std::net::IpAddr = plain
                .parse()
                .map_err(|_| bad(&format!("{plain:?} is not an address")))?;
            (!parsed.is_unspecified()).then(|| plain.to_owned())
        }
    };
    let targets = range(target).map_err(|why| bad(&why))?;
    if *targets.start() == 0 {
        return Err(bad("ports are 1 to 65535"));
    }
    let published = match published {
        None | Some("") => None,
        Some(published) => Some(range(published).map_err(|why| bad(&why))?),
    };
    if let Some(published) = &published
        && targets.len() > 1
        && published.len() != targets.len()
    {
        return Err(bad("the two ranges differ in length"));
    }
    Ok(Short {
        address,
        protocol,
        targets,
        published,
    })
}

fn range(text: &str) -> Result<Ports, String> {
    let port = |text: &str| {
        let good = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        good.then(|| text.parse::<u16>().ok())
            .flatten()
            .ok_or_else(|| format!("{text:?} is not a number from 1 to 65535"))
    };
    match text.split_once('-') {
        None => port(text).map(|p| p..=p),
        Some((from, to)) => {
            let (from, to) = (port(from)?, port(to)?);
            if from > to {
                return Err(format!("the range {text} runs backwards"));
            }
            Ok(from..=to)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(u16, Option<u16>)> {
        short(text).map(|s| s.pairs()).unwrap_or_default()
    }

    #[test]
    fn every_short_form_is_read() {
        assert_eq!(pairs("80"), [(80, None)]);
        assert_eq!(pairs("8080:80"), [(80, Some(8080))]);
        assert_eq!(pairs("127.0.0.1:8080:80/udp"), [(80, Some(8080))]);
        assert_eq!(pairs("[::1]:8080:80"), [(80, Some(8080))]);
        assert_eq!(pairs("127.0.0.1::80"), [(80, None)]);
        assert_eq!(pairs("9-10"), [(10, None), (9, None)]);
        assert_eq!(pairs("90-91:80-81"), [(80, Some(90)), (81, Some(91))]);
        assert_eq!(pairs("90-91:80"), [(80, Some(90)), (80, Some(91))]);
        assert_eq!(short("53:53/UDP").map(|s| s.protocol).as_deref(), Ok("udp"));
    }

    #[test]
    fn what_is_no_port_is_refused() {
        for text in [
            "",
            "x",
            "80:",
            "0",
            "70000",
            "80:70000",
            "80/http",
            "9-8",
            "80-81:90-93",
            "a:80:80",
            "1:2:3:4",
            "-80",
            "80-",
            "+80",
        ] {
            assert!(short(text).is_err(), "{text}");
        }
    }
}
