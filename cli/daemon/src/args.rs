//! What a daemon is started with.

use std::path::PathBuf;

/// Runs this machine's node: its containers, its network and, while it is a
/// manager, its part in deciding.
#[derive(Debug, Clone, clap::Args)]
#[command(before_help = "Example:\n  skep daemon --label zone=a")]
pub struct DaemonArgs {
    /// Where everything that lasts is kept
    #[arg(
        long,
        env = "SKEP_DATA_DIR",
        default_value = "/var/lib/skep",
        value_name = "DIR"
    )]
    pub data_dir: PathBuf,

    /// Where everything that lasts until the machine restarts is kept
    #[arg(
        long,
        env = "SKEP_RUN_DIR",
        default_value = "/run/skep",
        value_name = "DIR"
    )]
    pub run_dir: PathBuf,

    /// Socket to listen on
    #[arg(
        long = "host",
        id = "daemon_host",
        env = "SKEP_DAEMON_HOST",
        default_value = "unix:///run/skep/skep.sock",
        value_name = "unix://PATH"
    )]
    pub host: String,

    /// Address other nodes reach this one at, or the interface that has it; for
    /// a machine whose address is another one than when it joined
    #[arg(
        long,
        env = "SKEP_ADVERTISE_ADDR",
        value_name = "ADDRESS|INTERFACE[:PORT]",
        default_value = "",
        hide_default_value = true
    )]
    pub advertise_addr: String,

    /// Registry that is asked first for names of Docker Hub (may be repeated)
    #[arg(
        long,
        env = "SKEP_REGISTRY_MIRROR",
        value_delimiter = ',',
        value_name = "URL"
    )]
    pub registry_mirror: Vec<String>,

    /// Registry that may be spoken to without TLS (may be repeated)
    #[arg(
        long,
        env = "SKEP_INSECURE_REGISTRY",
        value_delimiter = ',',
        value_name = "HOST:PORT"
    )]
    pub insecure_registry: Vec<String>,

    /// Label of this node, for constraints on engine.labels (may be repeated)
    #[arg(
        long = "label",
        env = "SKEP_LABEL",
        value_delimiter = ',',
        value_name = "KEY=VALUE"
    )]
    pub labels: Vec<String>,

    /// CPUs and memory of this machine that no task may reserve, e.g. cpus=0.5,memory=512m
    #[arg(
        long,
        env = "SKEP_SYSTEM_RESERVE",
        value_name = "cpus=NUMBER,memory=SIZE",
        default_value = "",
        hide_default_value = true
    )]
    pub system_reserve: String,

    /// What this machine has that services may ask for, as a number (gpu=2) or by name
    /// (gpu=id1, gpu=id2; may be repeated)
    #[arg(
        long,
        env = "SKEP_NODE_GENERIC_RESOURCE",
        value_delimiter = ',',
        value_name = "KIND=NUMBER|NAME"
    )]
    pub node_generic_resource: Vec<String>,

    /// The skep-shim program; the one beside this program by default
    #[arg(long, env = "SKEP_SHIM", value_name = "PATH")]
    pub shim: Option<PathBuf>,

    /// What is logged, e.g. info or skep_agent=debug
    #[arg(
        long,
        env = "SKEP_LOG",
        default_value = "info,openraft=off",
        value_name = "FILTER"
    )]
    pub log: String,
}
