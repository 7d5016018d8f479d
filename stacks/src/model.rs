//! The normal form of a stack file: every short form written out.
//!
//! Owns the types, the order of their keys and which of them are left out when
//! empty, all as `docker stack config` prints them. serde carries them from the
//! checked tree and back to YAML.

use crate::duration;
use crate::natural;
use serde::de::{Deserializer, Error as _};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_yaml::Value;
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

fn empty<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A map that prints its keys in natural order.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Dict<V>(pub(crate) BTreeMap<String, V>);

impl<V> Default for Dict<V> {
    fn default() -> Self {
        Dict(BTreeMap::new())
    }
}

impl<V> Deref for Dict<V> {
    type Target = BTreeMap<String, V>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<V> DerefMut for Dict<V> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl<V: Serialize> Serialize for Dict<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in natural::sorted(self.0.iter().collect(), |(k, _)| k.as_str()) {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// Text by text.
pub(crate) type Pairs = Dict<String>;
/// `x-…` keys, kept for the normal form.
pub(crate) type Extras = Dict<Value>;

/// Nanoseconds, written as a Go duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Nanos(pub(crate) i64);

impl Serialize for Nanos {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&duration::show(self.0))
    }
}

impl<'de> Deserialize<'de> for Nanos {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        duration::parse(&text).map(Nanos).map_err(D::Error::custom)
    }
}

/// Bytes; printed as text, as the Docker CLI does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct Bytes(pub(crate) i64);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_string())
    }
}

/// A ratio with the precision that the API has.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct Ratio(pub(crate) f32);

impl Serialize for Ratio {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // By way of text: 0.3 stays 0.3 and does not become 0.30000001192092896.
        let wide = self.0.to_string().parse().unwrap_or(f64::from(self.0));
        serializer.serialize_f64(wide)
    }
}

/// A map that belongs to a section; the keys left out when empty.
macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $field:ident : $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
        #[serde(default)]
        pub(crate) struct $name {
            $($(#[$attr])* #[serde(skip_serializing_if = "empty")] pub(crate) $field: $type,)*
        }
    };
    ($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $field:ident : $type:ty),* $(,)? } extras) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
        #[serde(default)]
        pub(crate) struct $name {
            $($(#[$attr])* #[serde(skip_serializing_if = "empty")] pub(crate) $field: $type,)*
            #[serde(flatten)] pub(crate) extras: Extras,
        }
    };
}

/// The whole file, or several merged.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct File {
    pub(crate) version: String,
    #[serde(skip_serializing_if = "empty")]
    pub(crate) name: String,
    pub(crate) services: Dict<Service>,
    #[serde(skip_serializing_if = "empty")]
    pub(crate) networks: Dict<Network>,
    #[serde(skip_serializing_if = "empty")]
    pub(crate) volumes: Dict<Volume>,
    #[serde(skip_serializing_if = "empty")]
    pub(crate) secrets: Dict<FileObject>,
    #[serde(skip_serializing_if = "empty")]
    pub(crate) configs: Dict<FileObject>,
    #[serde(flatten)]
    pub(crate) extras: Extras,
}

section! {
    /// A service.
    Service {
        build: Build,
        cap_add: Vec<String>,
        cap_drop: Vec<String>,
        cgroupns_mode: String,
        cgroup_parent: String,
        command: Vec<String>,
        configs: Vec<FileReference>,
        container_name: String,
        cpus: String,
        credential_spec: CredentialSpec,
        depends_on: Value,
        deploy: Deploy,
        devices: Vec<Value>,
        device_cgroup_rules: Vec<String>,
        dns: Vec<String>,
        dns_opt: Vec<String>,
        dns_search: Vec<String>,
        domainname: String,
        entrypoint: Vec<String>,
        environment: Dict<Option<String>>,
        env_file: Vec<Value>,
        expose: Vec<String>,
        external_links: Vec<String>,
        extra_hosts: Vec<String>,
        group_add: Vec<String>,
        hostname: String,
        healthcheck: Option<HealthCheck>,
        image: String,
        init: Option<bool>,
        ipc: String,
        isolation: String,
        labels: Pairs,
        label_file: Vec<String>,
        links: Vec<String>,
        logging: Option<Logging>,
        mac_address: String,
        mem_limit: Option<Bytes>,
        mem_reservation: Option<Bytes>,
        network_mode: String,
        networks: Dict<Option<ServiceNetwork>>,
        pid: String,
        pids_limit: Option<i64>,
        platform: String,
        ports: Vec<Port>,
        privileged: bool,
        profiles: Vec<String>,
        read_only: bool,
        restart: String,
        scale: Option<i64>,
        secrets: Vec<FileReference>,
        security_opt: Vec<String>,
        shm_size: String,
        stdin_open: bool,
        stop_grace_period: Option<Nanos>,
        stop_signal: String,
        sysctls: Pairs,
        tmpfs: Vec<String>,
        tty: bool,
        ulimits: Dict<Ulimit>,
        user: String,
        oom_score_adj: i64,
        userns_mode: String,
        uts: String,
        volumes: Vec<Mount>,
        working_dir: String,
        #[serde(rename = "x-readiness")]
        readiness: Option<HealthCheck>,
        #[serde(rename = "x-shutdown-delay")]
        shutdown_delay: Option<Nanos>,
    } extras
}

section! {
    /// How an image would be built; never used here.
    Build {
        context: String,
        dockerfile: String,
        args: Dict<Option<String>>,
        labels: Pairs,
        cache_from: Vec<String>,
        extra_hosts: Vec<String>,
        network: String,
        target: String,
    }
}

section! {
    /// Where a log goes.
    Logging { driver: String, options: Pairs } extras
}

section! {
    /// Windows credentials.
    CredentialSpec { config: String, file: String, registry: String } extras
}

section! {
    /// How and where a service runs.
    Deploy {
        mode: String,
        replicas: Option<i64>,
        labels: Pairs,
        update_config: Option<Update>,
        rollback_config: Option<Update>,
        resources: Resources,
        restart_policy: Option<RestartPolicy>,
        placement: Placement,
        endpoint_mode: String,
        #[serde(rename = "x-job")]
        job: Option<Job>,
        #[serde(rename = "x-schedule")]
        schedule: Option<Schedule>,
    } extras
}

section! {
    /// When a job runs by itself.
    Schedule {
        cron: String,
        time_zone: String,
        concurrency: String,
        starting_deadline: Option<Nanos>,
        suspend: bool,
    }
}

section! {
    /// What holds for the runs of a job.
    Job {
        deadline: Option<Nanos>,
        ttl: Option<Nanos>,
        max_concurrent: Option<i64>,
    }
}

section! {
    /// Whether a container works.
    HealthCheck {
        test: Vec<String>,
        timeout: Option<Nanos>,
        interval: Option<Nanos>,
        retries: Option<i64>,
        start_period: Option<Nanos>,
        start_interval: Option<Nanos>,
        disable: bool,
    } extras
}

section! {
    /// How a change is rolled out.
    Update {
        parallelism: Option<i64>,
        delay: Nanos,
        failure_action: String,
        monitor: Nanos,
        max_failure_ratio: Ratio,
        order: String,
        #[serde(rename = "x-progress-deadline")]
        progress_deadline: Option<Nanos>,
    } extras
}

section! {
    /// Limits and reservations.
    Resources { limits: Option<Limits>, reservations: Option<Reservations> } extras
}

section! {
    /// What a task may use.
    Limits { cpus: String, memory: Bytes, pids: i64 } extras
}

section! {
    /// What is kept free for a task.
    Reservations { cpus: String, memory: Bytes, generic_resources: Vec<GenericResource> } extras
}

section! {
    /// What a task needs of a kind that nodes have.
    GenericResource { discrete_resource_spec: Option<DiscreteResource> } extras
}

section! {
    /// So many of it.
    DiscreteResource { kind: String, value: i64 } extras
}

section! {
    /// What follows the end of a task.
    RestartPolicy {
        condition: String,
        delay: Option<Nanos>,
        max_attempts: Option<i64>,
        window: Option<Nanos>,
        #[serde(rename = "x-max-delay")]
        max_delay: Option<Nanos>,
    } extras
}

section! {
    /// Which nodes.
    Placement {
        constraints: Vec<String>,
        preferences: Vec<Preference>,
        max_replicas_per_node: i64,
        #[serde(rename = "x-platforms")]
        platforms: Vec<String>,
        #[serde(rename = "x-rebalance")]
        rebalance: String,
    } extras
}

section! {
    /// What to spread over.
    Preference {
        spread: String,
        #[serde(rename = "x-max-skew")]
        max_skew: Option<i64>,
    } extras
}

section! {
    /// A service on a network.
    ServiceNetwork {
        aliases: Vec<String>,
        driver_opts: Pairs,
        ipv4_address: String,
        ipv6_address: String,
    } extras
}

section! {
    /// A published port.
    Port { mode: String, target: i64, published: i64, protocol: String } extras
}

section! {
    /// A mount.
    Mount {
        r#type: String,
        source: String,
        target: String,
        read_only: bool,
        consistency: String,
        bind: Option<BindOptions>,
        volume: Option<VolumeOptions>,
        tmpfs: Option<TmpfsOptions>,
    } extras
}

section! {
    /// Options of a bind mount.
    BindOptions { propagation: String }
}

section! {
    /// Options of a volume mount.
    VolumeOptions { nocopy: bool, subpath: String }
}

section! {
    /// Options of a tmpfs mount.
    TmpfsOptions { size: i64, mode: Option<i64> }
}

section! {
    /// A secret or config in a container.
    FileReference {
        source: String,
        target: String,
        uid: String,
        gid: String,
        mode: Option<i64>,
    }
}

section! {
    /// A network.
    Network {
        name: String,
        driver: String,
        driver_opts: Pairs,
        ipam: Ipam,
        external: bool,
        internal: bool,
        attachable: bool,
        labels: Pairs,
    } extras
}

section! {
    /// Addresses of a network.
    Ipam { driver: String, config: Vec<Pool> } extras
}

section! {
    /// A range of addresses.
    Pool { subnet: String } extras
}

section! {
    /// A cluster volume; kept for the normal form only.
    ClusterSpec {
        group: String,
        access_mode: Option<AccessMode>,
        accessibility_requirements: Option<Accessibility>,
        capacity_range: Option<CapacityRange>,
        secrets: Vec<ClusterSecret>,
        availability: String,
    }
}

section! {
    /// Who may use a cluster volume.
    AccessMode {
        scope: String,
        sharing: String,
        mount_volume: Option<Value>,
        block_volume: Option<Value>,
    }
}

section! {
    /// Where a cluster volume may be.
    Accessibility { requisite: Vec<Topology>, preferred: Vec<Topology> }
}

section! {
    /// One place of a cluster volume.
    Topology { segments: Pairs }
}

section! {
    /// The size of a cluster volume.
    CapacityRange { required_bytes: Bytes, limit_bytes: Bytes }
}

section! {
    /// A secret of a cluster volume's driver.
    ClusterSecret { key: String, secret: String }
}

section! {
    /// A volume.
    Volume {
        name: String,
        driver: String,
        driver_opts: Pairs,
        external: bool,
        labels: Pairs,
        #[serde(rename = "x-cluster-spec")]
        cluster_spec: Option<ClusterSpec>,
    } extras
}

section! {
    /// A secret or config.
    FileObject {
        name: String,
        file: String,
        environment: String,
        /// The value of `environment`, where the variables of an include decide it. It is not
        /// printed, and no key of a file: it may be a password.
        #[serde(rename = "#value", skip_serializing)]
        value: Option<String>,
        content: Option<String>,
        external: bool,
        labels: Pairs,
        driver: String,
        driver_opts: Pairs,
        template_driver: String,
    } extras
}

/// A limit of a process: one number for both, or soft and hard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Ulimit {
    /// Soft and hard alike.
    Single(i64),
    /// Each its own.
    Pair {
        /// Soft limit.
        soft: i64,
        /// Hard limit.
        hard: i64,
    },
}

impl Serialize for Ulimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Ulimit::Single(value) => serializer.serialize_i64(*value),
            Ulimit::Pair { soft, hard } => {
                let mut map = serializer.serialize_map(None)?;
                for (key, value) in [("soft", soft), ("hard", hard)] {
                    if *value != 0 {
                        map.serialize_entry(key, value)?;
                    }
                }
                map.end()
            }
        }
    }
}
