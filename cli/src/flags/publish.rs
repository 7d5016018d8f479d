//! `--publish`: `8080:80`, `8000-8002:80-82/udp`, and
//! `published=8080,target=80,protocol=tcp,mode=host`.

use super::{fields, switch};
use skep_types::{PortConfig, Protocol, PublishMode};

/// The ports of one flag: several for a range.
///
/// # Errors
/// Says what is wrong with it.
pub fn publish(text: &str) -> Result<Vec<PortConfig>, String> {
    if text.contains('=') {
        long(text)
    } else {
        short(text)
    }
}

fn short(text: &str) -> Result<Vec<PortConfig>, String> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = self::protocol(protocol)?;
    let (published, target) = match ports.rsplit_once(':') {
        Some((published, _)) if published.contains(':') || published.contains('.') => {
            return Err(format!(
                "{text:?} binds to one address: a service publishes on every node"
            ));
        }
        Some((published, target)) => (published, target),
        None => ("", ports),
    };
    let target = range(target)?;
    let published = match published {
        "" => (0, 0),
        given => range(given)?,
    };
    ranges(
        text,
        published,
        target,
        protocol,
        PublishMode::Ingress,
        false,
    )
}

fn long(text: &str) -> Result<Vec<PortConfig>, String> {
    let mut target = None;
    let mut published = (0, 0);
    let mut protocol = Protocol::Tcp;
    let mut mode = PublishMode::Ingress;
    let mut masquerade = false;
    for (key, value) in fields(text)? {
        let given = value.as_deref().unwrap_or_default();
        match key.as_str() {
            "target" => target = Some(range(given)?),
            "published" => published = range(given)?,
            "protocol" => protocol = self::protocol(given)?,
            "mode" => {
                mode = match given {
                    "ingress" => PublishMode::Ingress,
                    "host" => PublishMode::Host,
                    other => return Err(format!("mode is ingress or host, not {other:?}")),
                }
            }
            "masquerade" => masquerade = switch("masquerade", value.as_deref())?,
            other => {
                return Err(format!(
                    "{other:?} is not a key of a port: published, target, protocol, mode, masquerade"
                ));
            }
        }
    }
    let target = target.ok_or_else(|| format!("{text:?} has no target port"))?;
    ranges(text, published, target, protocol, mode, masquerade)
}

fn protocol(text: &str) -> Result<Protocol, String> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "sctp" => Ok(Protocol::Sctp),
        _ => Err(format!("{text:?} is not a protocol: tcp, udp or sctp")),
    }
}

/// First and last port of `80` or `80-90`.
fn range(text: &str) -> Result<(u16, u16), String> {
    let port = |text: &str| match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!("{text:?} is not a port between 1 and 65535")),
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        return Err(format!("the range {text} runs backwards"));
    }
    Ok((first, last))
}

fn ranges(
    text: &str,
    published: (u16, u16),
    target: (u16, u16),
    protocol: Protocol,
    mode: PublishMode,
    masquerade: bool,
) -> Result<Vec<PortConfig>, String> {
    let length = |(first, last): (u16, u16)| last - first;
    if published.0 != 0 && length(published) != length(target) {
        return Err(format!("the two ranges of {text:?} differ in length"));
    }
    let ports = (0..=length(target)).map(|offset| PortConfig {
        protocol,
        target: target.0 + offset,
        published: match published.0 {
            0 => 0,
            first => first + offset,
        },
        mode,
        masquerade,
    });
    Ok(ports.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(u16, u16, Protocol, PublishMode)>, String> {
        let ports = publish(text)?.into_iter();
        Ok(ports
            .map(|p| (p.published, p.target, p.protocol, p.mode))
            .collect())
    }

    #[test]
    fn both_forms_say_the_same() {
        use PublishMode::{Host, Ingress};
        for (text, expected) in [
            ("80", vec![(0, 80, Protocol::Tcp, Ingress)]),
            ("8080:80", vec![(8080, 80, Protocol::Tcp, Ingress)]),
            ("53:53/udp", vec![(53, 53, Protocol::Udp, Ingress)]),
            (
                "published=8080,target=80",
                vec![(8080, 80, Protocol::Tcp, Ingress)],
            ),
            (
                "target=80,mode=host,protocol=udp",
                vec![(0, 80, Protocol::Udp, Host)],
            ),
            (
                "8000-8001:80-81",
                vec![
                    (8000, 80, Protocol::Tcp, Ingress),
                    (8001, 81, Protocol::Tcp, Ingress),
                ],
            ),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_port_is_refused() {
        for text in [
            "",
            "0:80",
            "80:",
            "http",
            "70000:80",
            "8000-8002:80-81",
            "90-80",
            "127.0.0.1:8080:80",
            "8080:80/icmp",
            "published=8080",
            "target=80,mode=swarm",
            "target=80,color=red",
        ] {
            assert!(publish(text).is_err(), "{text}");
        }
    }
}
