//! The configuration that comes with an image: what a container made from it
//! runs by default. Read leniently, as it is written by many tools: unknown
//! keys and nulls are passed over.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::digest::Digest;

/// What an image says about containers made from it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageConfig {
    /// User, as `uid`, `name`, `uid:gid` or `name:group`; empty means root.
    pub user: String,
    /// Environment, as `NAME=value`.
    pub env: Vec<String>,
    /// The program and its first arguments, to which `cmd` is appended.
    pub entrypoint: Vec<String>,
    /// Default arguments, or the program itself where `entrypoint` is empty.
    pub cmd: Vec<String>,
    /// Directory to start in; empty means `/`.
    pub working_dir: String,
    /// Ports that the image says it listens on, as `80/tcp`, sorted.
    pub exposed_ports: Vec<String>,
    /// Paths that want an anonymous volume, sorted.
    pub volumes: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Signal that asks the container to stop; `None` means SIGTERM.
    pub stop_signal: Option<String>,
    /// How to tell whether the container is healthy.
    pub healthcheck: Option<Healthcheck>,
    /// Architecture, as Go names it: `amd64`, `arm64`.
    pub architecture: String,
    /// Operating system, as Go names it: `linux`.
    pub os: String,
}

/// Docker's HEALTHCHECK. A duration of zero means "the default".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Healthcheck {
    /// `["CMD", …]`, `["CMD-SHELL", line]`, or `["NONE"]` to switch it off.
    pub test: Vec<String>,
    /// Time between checks.
    pub interval: Duration,
    /// Time after which a check counts as failed.
    pub timeout: Duration,
    /// Time after the start in which failures do not count.
    pub start_period: Duration,
    /// Time between checks within the start period.
    pub start_interval: Duration,
    /// Failures in a row that make the container unhealthy; 0 is the default.
    pub retries: u32,
}

/// An image's whole configuration document.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub config: ImageConfig,
    /// When the image was made, as the document says (RFC 3339).
    pub created: Option<String>,
    /// Digests of the layers' tar streams, bottom first.
    pub diff_ids: Vec<Digest>,
}

impl Document {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Document, serde_json::Error> {
        let raw: Raw = serde_json::from_slice(bytes)?;
        let config = raw.config;
        let keys = |map: BTreeMap<String, serde_json::Value>| map.into_keys().collect();
        Ok(Document {
            config: ImageConfig {
                user: config.user,
                env: config.env,
                entrypoint: config.entrypoint.0,
                cmd: config.cmd.0,
                working_dir: config.working_dir,
                exposed_ports: keys(config.exposed_ports),
                volumes: keys(config.volumes),
                labels: config.labels,
                stop_signal: config.stop_signal.filter(|signal| !signal.is_empty()),
                healthcheck: config.healthcheck.map(RawHealthcheck::into_healthcheck),
                architecture: raw.architecture,
                os: raw.os,
            },
            created: raw.created.filter(|created| !created.is_empty()),
            diff_ids: raw.rootfs.diff_ids,
        })
    }
}

fn lenient<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(de: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(de)?.unwrap_or_default())
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default, deserialize_with = "lenient")]
    architecture: String,
    #[serde(default, deserialize_with = "lenient")]
    os: String,
    #[serde(default)]
    created: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    config: RawConfig,
    rootfs: RawRootfs,
}

#[derive(Deserialize)]
struct RawRootfs {
    #[serde(default, deserialize_with = "lenient")]
    diff_ids: Vec<Digest>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct RawConfig {
    #[serde(deserialize_with = "lenient")]
    user: String,
    #[serde(deserialize_with = "lenient")]
    env: Vec<String>,
    #[serde(deserialize_with = "lenient")]
    entrypoint: Words,
    #[serde(deserialize_with = "lenient")]
    cmd: Words,
    #[serde(deserialize_with = "lenient")]
    working_dir: String,
    #[serde(deserialize_with = "lenient")]
    exposed_ports: BTreeMap<String, serde_json::Value>,
    #[serde(deserialize_with = "lenient")]
    volumes: BTreeMap<String, serde_json::Value>,
    #[serde(deserialize_with = "lenient")]
    labels: BTreeMap<String, String>,
    stop_signal: Option<String>,
    healthcheck: Option<RawHealthcheck>,
}

/// Old images hold a single string where a list is due.
#[derive(Default)]
struct Words(Vec<String>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Words, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            One(String),
            Many(Vec<String>),
        }
        Ok(Words(match Either::deserialize(de)? {
            Either::One(word) => vec![word],
            Either::Many(words) => words,
        }))
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct RawHealthcheck {
    #[serde(deserialize_with = "lenient")]
    test: Vec<String>,
    /// Nanoseconds, as all the times here.
    interval: i64,
    timeout: i64,
    start_period: i64,
    start_interval: i64,
    retries: i64,
}

impl RawHealthcheck {
    fn into_healthcheck(self) -> Healthcheck {
        let time = |nanos: i64| Duration::from_nanos(nanos.try_into().unwrap_or(0));
        Healthcheck {
            test: self.test,
            interval: time(self.interval),
            timeout: time(self.timeout),
            start_period: time(self.start_period),
            start_interval: time(self.start_interval),
            retries: self.retries.clamp(0, i64::from(u32::MAX)) as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_docker_configuration_is_read() {
        let text = br#"{"architecture":"amd64","os":"linux","created":"2024-01-02T03:04:05Z",
            "config":{"User":"redis","Env":["A=b"],"Entrypoint":["docker-entrypoint.sh"],
            "Cmd":["redis-server"],"WorkingDir":"/data","ExposedPorts":{"6379/tcp":{}},
            "Volumes":{"/data":{}},"Labels":null,"StopSignal":"SIGINT","ArgsEscaped":true,
            "Healthcheck":{"Test":["CMD","true"],"Interval":5000000000,"Retries":3}},
            "rootfs":{"type":"layers","diff_ids":[
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]}}"#;
        let document = Document::parse(text).unwrap();
        let config = document.config;
        assert_eq!(config.user, "redis");
        assert_eq!(config.entrypoint, ["docker-entrypoint.sh"]);
        assert_eq!(config.exposed_ports, ["6379/tcp"]);
        assert_eq!(config.volumes, ["/data"]);
        assert_eq!(config.stop_signal.as_deref(), Some("SIGINT"));
        let health = config.healthcheck.unwrap();
        assert_eq!(
            (health.interval, health.retries),
            (Duration::from_secs(5), 3)
        );
        assert_eq!(document.diff_ids.len(), 1);
    }

    #[test]
    fn nulls_and_absent_keys_are_defaults_and_a_bad_diff_id_is_not() {
        let bare = Document::parse(br#"{"config":null,"rootfs":{"diff_ids":null}}"#).unwrap();
        assert_eq!(bare.config, ImageConfig::default());
        let single = Document::parse(br#"{"config":{"Cmd":"sh"},"rootfs":{}}"#).unwrap();
        assert_eq!(single.config.cmd, ["sh"]);
        assert!(Document::parse(br#"{"rootfs":{"diff_ids":["sha256:../../x"]}}"#).is_err());
        assert!(Document::parse(br#"{}"#).is_err());
    }
}
