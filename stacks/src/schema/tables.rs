//! The keys of format 3, each with its type and the version that brought it.
//!
//! Tables only. Derived from the published schemas 3.0 to 3.13.

use super::{Field, Object, Shape};
use Shape::{Any, Bool, Choice, Dict, Duration, Int, List, Names, Null, Number, OneOf, Set, Text};

const fn field(key: &'static str, shape: Shape) -> Field {
    since(0, key, shape)
}

const fn since(since: u8, key: &'static str, shape: Shape) -> Field {
    Field { key, since, shape }
}

const fn object(what: &'static str, fields: &'static [Field]) -> Object {
    Object {
        what,
        fields,
        required: &[],
        extensions: false,
        open: false,
    }
}

const TEXTS: Shape = Set(&Text);
const TEXT_OR_LIST: Shape = OneOf(&[Text, TEXTS]);
const WORDS: Shape = OneOf(&[Text, List(&Text)]);
const SCALAR: Shape = OneOf(&[Text, Number]);
const SCALAR_OR_NULL: Shape = OneOf(&[Text, Number, Null]);
/// `KEY: value`, or a list of `KEY=value`.
const PAIRS: Shape = OneOf(&[Dict(&SCALAR_OR_NULL), TEXTS]);
const OPTIONS: Shape = Dict(&SCALAR);

/// The whole file.
pub(crate) static FILE: Object = Object {
    extensions: true,
    ..object(
        "a stack file",
        &[
            // Checked before everything else.
            field("version", Any),
            field("services", Names(&Shape::Object(&SERVICE))),
            field("networks", Names(&OneOf(&[Shape::Object(&NETWORK), Null]))),
            field("volumes", Names(&OneOf(&[Shape::Object(&VOLUME), Null]))),
            since(1, "secrets", Names(&Shape::Object(&SECRET))),
            since(3, "configs", Names(&Shape::Object(&CONFIG))),
        ],
    )
};

static SERVICE: Object = Object {
    extensions: true,
    ..object(
        "a service",
        &[
            field("build", OneOf(&[Text, Shape::Object(&BUILD)])),
            field("cap_add", TEXTS),
            field("cap_drop", TEXTS),
            field("cgroup_parent", Text),
            since(9, "cgroupns_mode", Text),
            field("command", WORDS),
            since(
                3,
                "configs",
                List(&OneOf(&[Text, Shape::Object(&FILE_REFERENCE)])),
            ),
            field("container_name", Text),
            since(3, "credential_spec", Shape::Object(&CREDENTIAL_SPEC)),
            field("depends_on", TEXTS),
            field("deploy", OneOf(&[Shape::Object(&DEPLOY), Null])),
            field("devices", TEXTS),
            field("dns", TEXT_OR_LIST),
            field("dns_search", TEXT_OR_LIST),
            field("domainname", Text),
            field("entrypoint", WORDS),
            field("env_file", TEXT_OR_LIST),
            field("environment", PAIRS),
            field("expose", Set(&SCALAR)),
            field("external_links", TEXTS),
            field("extra_hosts", PAIRS),
            field("healthcheck", Shape::Object(&HEALTHCHECK)),
            field("hostname", Text),
            field("image", Text),
            since(7, "init", Bool),
            field("ipc", Text),
            since(5, "isolation", Text),
            field("labels", PAIRS),
            field("links", TEXTS),
            field("logging", Shape::Object(&LOGGING)),
            field("mac_address", Text),
            field("network_mode", Text),
            field(
                "networks",
                OneOf(&[
                    Names(&OneOf(&[Shape::Object(&SERVICE_NETWORK), Null])),
                    TEXTS,
                ]),
            ),
            since(13, "oom_score_adj", Int),
            field("pid", OneOf(&[Text, Null])),
            field("ports", Set(&OneOf(&[Text, Number, Shape::Object(&PORT)]))),
            field("privileged", Bool),
            field("read_only", Bool),
            field("restart", Text),
            since(
                1,
                "secrets",
                List(&OneOf(&[Text, Shape::Object(&FILE_REFERENCE)])),
            ),
            field("security_opt", TEXTS),
            field("shm_size", SCALAR),
            field("stdin_open", Bool),
            field("stop_grace_period", Duration),
            field("stop_signal", Text),
            field("sysctls", PAIRS),
            field("tmpfs", TEXT_OR_LIST),
            field("tty", Bool),
            field("ulimits", Dict(&OneOf(&[Int, Shape::Object(&ULIMIT)]))),
            field("user", Text),
            field("userns_mode", Text),
            field(
                "volumes",
                List(&OneOf(&[Text, Shape::Object(&SERVICE_VOLUME)])),
            ),
            field("working_dir", Text),
            field("x-readiness", Shape::Object(&READINESS)),
            field("x-shutdown-delay", Duration),
        ],
    )
};

static BUILD: Object = Object {
    open: true,
    ..object(
        "a build section",
        &[
            field("context", Text),
            field("dockerfile", Text),
            field("args", PAIRS),
            since(2, "cache_from", TEXTS),
            since(3, "labels", PAIRS),
            since(4, "network", Text),
            since(4, "target", Text),
            since(5, "shm_size", SCALAR),
            since(9, "extra_hosts", PAIRS),
        ],
    )
};

static FILE_REFERENCE: Object = Object {
    open: true,
    ..object(
        "a reference to a secret or config",
        &[
            field("source", Text),
            field("target", Text),
            field("uid", Text),
            field("gid", Text),
            field("mode", Int),
        ],
    )
};

static CREDENTIAL_SPEC: Object = object(
    "a credential spec",
    &[
        since(8, "config", Text),
        field("file", Text),
        field("registry", Text),
    ],
);

static HEALTHCHECK: Object = object(
    "a health check",
    &[
        field("disable", Bool),
        field("interval", Duration),
        field("retries", Int),
        field("test", WORDS),
        field("timeout", Duration),
        since(4, "start_period", Duration),
        since(12, "start_interval", Duration),
    ],
);

/// Ours: whether a task takes traffic. Docker reads over it.
static READINESS: Object = object(
    "a readiness check",
    &[
        field("interval", Duration),
        field("retries", Int),
        field("start_interval", Duration),
        field("test", WORDS),
        field("timeout", Duration),
    ],
);

static LOGGING: Object = object(
    "a logging section",
    &[
        field("driver", Text),
        field("options", Dict(&SCALAR_OR_NULL)),
    ],
);

static SERVICE_NETWORK: Object = object(
    "a service's network",
    &[
        field("aliases", TEXTS),
        since(13, "driver_opts", OPTIONS),
        field("ipv4_address", Text),
        field("ipv6_address", Text),
    ],
);

static PORT: Object = object(
    "a port",
    &[
        since(2, "mode", Choice(&["ingress", "host"])),
        since(2, "target", Int),
        since(2, "published", Int),
        since(2, "protocol", Choice(&["tcp", "udp", "sctp"])),
    ],
);

static ULIMIT: Object = Object {
    required: &["soft", "hard"],
    ..object("a limit", &[field("soft", Int), field("hard", Int)])
};

static SERVICE_VOLUME: Object = Object {
    required: &["type"],
    ..object(
        "a mount",
        &[
            since(2, "type", Text),
            since(2, "source", Text),
            since(2, "target", Text),
            since(2, "read_only", Bool),
            since(2, "consistency", Text),
            since(2, "bind", Shape::Object(&BIND)),
            since(2, "volume", Shape::Object(&VOLUME_OPTIONS)),
            since(6, "tmpfs", Shape::Object(&TMPFS)),
        ],
    )
};

static BIND: Object = Object {
    open: true,
    ..object("a bind section", &[field("propagation", Text)])
};

static VOLUME_OPTIONS: Object = Object {
    open: true,
    ..object(
        "a volume section",
        &[field("nocopy", Bool), field("subpath", Text)],
    )
};

static TMPFS: Object = Object {
    open: true,
    ..object("a tmpfs section", &[field("size", Int)])
};

static DEPLOY: Object = object(
    "a deploy section",
    &[
        field("mode", Text),
        since(2, "endpoint_mode", Text),
        field("replicas", Int),
        field("labels", PAIRS),
        since(7, "rollback_config", Shape::Object(&UPDATE)),
        field("update_config", Shape::Object(&UPDATE)),
        field("resources", Shape::Object(&RESOURCES)),
        field("restart_policy", Shape::Object(&RESTART_POLICY)),
        field("placement", Shape::Object(&PLACEMENT)),
        field("x-job", Shape::Object(&JOB)),
        field(
            "x-schedule",
            Shape::OneOf(&[Text, Shape::Object(&SCHEDULE)]),
        ),
    ],
);

static SCHEDULE: Object = Object {
    required: &["cron"],
    ..object(
        "a schedule",
        &[
            field("cron", Text),
            field("time_zone", Text),
            field("concurrency", Choice(&["allow", "forbid", "replace"])),
            field("starting_deadline", Duration),
            field("suspend", Bool),
        ],
    )
};

static JOB: Object = object(
    "a job section",
    &[
        field("deadline", Duration),
        field("ttl", Duration),
        field("max_concurrent", Int),
    ],
);

static UPDATE: Object = object(
    "an update section",
    &[
        field("parallelism", Int),
        field("delay", Duration),
        field("failure_action", Text),
        field("monitor", Duration),
        field("max_failure_ratio", Number),
        since(4, "order", Choice(&["start-first", "stop-first"])),
        field("x-progress-deadline", Duration),
    ],
);

static RESOURCES: Object = object(
    "a resources section",
    &[
        field("limits", Shape::Object(&LIMITS)),
        field("reservations", Shape::Object(&RESERVATIONS)),
    ],
);

static LIMITS: Object = object(
    "a limits section",
    &[
        field("cpus", Text),
        field("memory", Text),
        since(9, "pids", Int),
    ],
);

static RESERVATIONS: Object = object(
    "a reservations section",
    &[
        field("cpus", Text),
        field("memory", Text),
        since(
            5,
            "generic_resources",
            List(&Shape::Object(&GENERIC_RESOURCE)),
        ),
    ],
);

static GENERIC_RESOURCE: Object = object(
    "a generic resource",
    &[field(
        "discrete_resource_spec",
        Shape::Object(&DISCRETE_RESOURCE),
    )],
);

static DISCRETE_RESOURCE: Object = object(
    "a discrete resource",
    &[field("kind", Text), field("value", Int)],
);

static RESTART_POLICY: Object = object(
    "a restart policy",
    &[
        field("condition", Choice(&["none", "on-failure", "any"])),
        field("delay", Duration),
        field("max_attempts", Int),
        field("window", Duration),
        field("x-max-delay", Duration),
    ],
);

static PLACEMENT: Object = object(
    "a placement section",
    &[
        field("constraints", List(&Text)),
        since(3, "preferences", List(&Shape::Object(&PREFERENCE))),
        since(8, "max_replicas_per_node", Int),
        field("x-platforms", List(&Text)),
        field("x-rebalance", Choice(&["auto", "manual"])),
    ],
);

static PREFERENCE: Object = object(
    "a placement preference",
    &[field("spread", Text), field("x-max-skew", Int)],
);

static EXTERNAL: Object = object("an external section", &[field("name", Text)]);
const EXTERNAL_SHAPE: Shape = OneOf(&[Bool, Shape::Object(&EXTERNAL)]);

static NETWORK: Object = Object {
    extensions: true,
    ..object(
        "a network",
        &[
            since(5, "name", Text),
            field("driver", Text),
            field("driver_opts", OPTIONS),
            field("ipam", Shape::Object(&IPAM)),
            field("external", EXTERNAL_SHAPE),
            field("internal", Bool),
            since(2, "attachable", Bool),
            field("labels", PAIRS),
        ],
    )
};

static IPAM: Object = object(
    "an ipam section",
    &[
        field("driver", Text),
        field("config", List(&Shape::Object(&POOL))),
    ],
);

static POOL: Object = object("an address pool", &[field("subnet", Text)]);

static VOLUME: Object = Object {
    extensions: true,
    ..object(
        "a volume",
        &[
            since(4, "name", Text),
            field("driver", Text),
            field("driver_opts", OPTIONS),
            field("external", EXTERNAL_SHAPE),
            field("labels", PAIRS),
            since(10, "x-cluster-spec", Shape::Object(&CLUSTER_SPEC)),
        ],
    )
};

static CLUSTER_SPEC: Object = Object {
    open: true,
    ..object(
        "a cluster spec",
        &[
            field("group", Text),
            field("access_mode", Shape::Object(&ACCESS_MODE)),
            field("accessibility_requirements", Shape::Object(&ACCESSIBILITY)),
            field("capacity_range", Shape::Object(&CAPACITY_RANGE)),
            field("secrets", List(&Shape::Object(&CLUSTER_SECRET))),
            field("availability", Text),
        ],
    )
};

static ACCESS_MODE: Object = Object {
    open: true,
    ..object(
        "an access mode",
        &[
            field("scope", Text),
            field("sharing", Text),
            field("block_volume", Dict(&Any)),
            field("mount_volume", Dict(&Any)),
        ],
    )
};

static ACCESSIBILITY: Object = Object {
    open: true,
    ..object(
        "an accessibility section",
        &[
            field("requisite", List(&Shape::Object(&TOPOLOGY))),
            field("preferred", List(&Shape::Object(&TOPOLOGY))),
        ],
    )
};

static TOPOLOGY: Object = Object {
    open: true,
    ..object("a topology", &[field("segments", PAIRS)])
};

static CAPACITY_RANGE: Object = Object {
    open: true,
    ..object(
        "a capacity range",
        &[field("required_bytes", Text), field("limit_bytes", Text)],
    )
};

static CLUSTER_SECRET: Object = Object {
    open: true,
    ..object(
        "a cluster secret",
        &[field("key", Text), field("secret", Text)],
    )
};

static SECRET: Object = Object {
    extensions: true,
    ..object(
        "a secret",
        &[
            since(5, "name", Text),
            field("file", Text),
            field("external", EXTERNAL_SHAPE),
            field("labels", PAIRS),
            since(8, "driver", Text),
            since(8, "driver_opts", OPTIONS),
            since(8, "template_driver", Text),
        ],
    )
};

static CONFIG: Object = Object {
    extensions: true,
    ..object(
        "a config",
        &[
            since(5, "name", Text),
            field("file", Text),
            field("external", EXTERNAL_SHAPE),
            field("labels", PAIRS),
            since(8, "template_driver", Text),
        ],
    )
};
