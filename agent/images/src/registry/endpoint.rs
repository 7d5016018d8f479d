//! Where to ask for a name: mirrors, the registry itself, with TLS or without.

use std::net::IpAddr;

use super::RegistryConfig;
use crate::error::StoreError;
use crate::reference::Reference;

/// One place to ask for an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Scheme, host and port, without a slash at the end.
    pub base: String,
    /// The repository's name at this place.
    pub repository: String,
    /// How people are told about it.
    pub name: String,
    /// Whether it is the registry that the reference names: credentials for
    /// that one are nobody else's business.
    pub original: bool,
}

impl Endpoint {
    pub(crate) fn is_tls(&self) -> bool {
        self.base.starts_with("https:")
    }

    /// Whether a repository's name at this place was the outcome of
    /// [`candidates`]; the places to ask for `reference`, best first.
    pub(crate) fn candidates(reference: &Reference, config: &RegistryConfig) -> Vec<Endpoint> {
        let mut found = Vec::new();
        if reference.is_hub() {
            for mirror in &config.mirrors {
                if let Some((base, prefix)) = parse_mirror(mirror) {
                    found.push(Endpoint {
                        base: base.to_owned(),
                        repository: format!("{prefix}{}", reference.path()),
                        name: format!("mirror {mirror}"),
                        original: false,
                    });
                }
            }
        }
        let host = if reference.is_hub() {
            "registry-1.docker.io"
        } else {
            reference.domain()
        };
        let name = reference.domain();
        let mut add = |scheme: &str| {
            found.push(Endpoint {
                base: format!("{scheme}://{host}"),
                repository: reference.path().to_owned(),
                name: name.to_owned(),
                original: true,
            });
        };
        if config.insecure.iter().any(|insecure| insecure == name) {
            add("http");
        } else {
            add("https");
            if is_loopback(name) {
                add("http");
            }
        }
        found
    }
}

/// Checks the mirrors of a configuration.
pub(crate) fn check_mirrors(config: &RegistryConfig) -> Result<(), StoreError> {
    match config
        .mirrors
        .iter()
        .find(|mirror| parse_mirror(mirror).is_none())
    {
        Some(mirror) => Err(StoreError::Mirror(mirror.clone())),
        None => Ok(()),
    }
}

/// A mirror's base, and its path as a prefix for repositories (`cache/` or nothing).
fn parse_mirror(mirror: &str) -> Option<(&str, String)> {
    let rest = mirror
        .strip_prefix("http://")
        .or_else(|| mirror.strip_prefix("https://"))?;
    let scheme = mirror.len() - rest.len();
    let slash = rest.find('/').unwrap_or(rest.len());
    let (host, path) = rest.split_at(slash);
    let url = reqwest::Url::parse(mirror).ok()?;
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if host.is_empty() || !plain || url.password().is_some() {
        return None;
    }
    let path = path.trim_matches('/');
    let prefix = if path.is_empty() {
        String::new()
    } else {
        format!("{path}/")
    };
    Some((&mirror[..scheme + slash], prefix))
}

fn is_loopback(domain: &str) -> bool {
    let host = match domain.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => domain,
    };
    let host = host.trim_matches(['[', ']']);
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bases(reference: &str, config: &RegistryConfig) -> Vec<String> {
        Endpoint::candidates(&reference.parse().unwrap(), config)
            .into_iter()
            .map(|endpoint| format!("{}/v2/{}", endpoint.base, endpoint.repository))
            .collect()
    }

    #[test]
    fn mirrors_stand_in_for_the_hub_alone_and_in_order() {
        let config = RegistryConfig {
            mirrors: vec![
                "http://10.0.0.1:5000".into(),
                "https://cache.lan/hub/".into(),
            ],
            insecure: vec!["reg.lan:5000".into()],
            ..RegistryConfig::default()
        };
        assert_eq!(
            bases("redis", &config),
            [
                "http://10.0.0.1:5000/v2/library/redis",
                "https://cache.lan/v2/hub/library/redis",
                "https://registry-1.docker.io/v2/library/redis",
            ]
        );
        assert_eq!(
            bases("reg.lan:5000/x", &config),
            ["http://reg.lan:5000/v2/x"]
        );
        assert_eq!(bases("reg.lan/x", &config), ["https://reg.lan/v2/x"]);
        assert_eq!(
            bases("127.0.0.1:5000/x", &config),
            ["https://127.0.0.1:5000/v2/x", "http://127.0.0.1:5000/v2/x"]
        );
        assert_eq!(bases("[::1]:5000/x", &config).len(), 2);
    }

    #[test]
    fn a_mirror_that_is_no_url_is_refused_by_name() {
        for mirror in [
            "10.0.0.1:5000",
            "http://",
            "ftp://x",
            "http://u:p@h",
            "http://h?x",
            "",
        ] {
            let config = RegistryConfig {
                mirrors: vec![mirror.into()],
                ..RegistryConfig::default()
            };
            let error = check_mirrors(&config).unwrap_err().to_string();
            assert!(error.contains(&format!("{mirror:?}")), "{error}");
        }
    }
}
