//! How and where a service runs: what stands under its `deploy`.

use super::aside::DEVICE_REQUEST;
use super::{Object, PAIRS, SCALAR, Shape, key, object};
use Shape::{Bool, Choice, Duration, Int, List, Number, OneOf, Text};

pub(super) static DEPLOY: Object = object(
    "a deploy section",
    &[
        key(
            "mode",
            Text,
            "replicated, global, replicated-job or global-job",
        ),
        key(
            "endpoint_mode",
            Text,
            "vip, one address for the service, or dnsrr, those of its tasks",
        )
        .since(2),
        key("replicas", Int, "How many tasks run"),
        key("labels", PAIRS, "Labels of the service"),
        key(
            "rollback_config",
            Shape::Object(&UPDATE),
            "How the way back from a failed update is gone",
        )
        .since(7),
        key(
            "update_config",
            Shape::Object(&UPDATE),
            "How a change is rolled out",
        ),
        key(
            "resources",
            Shape::Object(&RESOURCES),
            "What a task may use, and what is kept free for it",
        ),
        key(
            "restart_policy",
            Shape::Object(&RESTART_POLICY),
            "What follows the end of a task",
        ),
        key(
            "placement",
            Shape::Object(&PLACEMENT),
            "Which nodes tasks run on",
        ),
        key(
            "x-job",
            Shape::Object(&JOB),
            "What holds for the runs of a job",
        )
        .ours(),
        key(
            "x-schedule",
            OneOf(&[Text, Shape::Object(&SCHEDULE)]),
            "When the job runs by itself; a text alone is `cron`",
        )
        .ours(),
    ],
);

static SCHEDULE: Object = Object {
    required: &["cron"],
    extensions: false,
    ..object(
        "a schedule",
        &[
            key("cron", Text, "Minute, hour, day, month, day of the week").ours(),
            key(
                "time_zone",
                Text,
                "Where the clock stands, as Europe/Berlin",
            )
            .ours(),
            key(
                "concurrency",
                Choice(&["allow", "forbid", "replace"]),
                "What happens when a run is due while one goes on",
            )
            .ours(),
            key(
                "starting_deadline",
                Duration,
                "How late a run may still begin",
            )
            .ours(),
            key("suspend", Bool, "No run begins").ours(),
        ],
    )
};

static JOB: Object = Object {
    extensions: false,
    ..object(
        "a job section",
        &[
            key("deadline", Duration, "How long a run may take").ours(),
            key("ttl", Duration, "How long the job is kept after its end").ours(),
            key("max_concurrent", Int, "How many tasks run at a time").ours(),
        ],
    )
};

static UPDATE: Object = object(
    "an update section",
    &[
        key(
            "parallelism",
            Int,
            "How many tasks change at a time; 0 is all",
        ),
        key("delay", Duration, "The pause between two steps"),
        key(
            "failure_action",
            Text,
            "What follows a failure: pause, continue or rollback",
        ),
        key(
            "monitor",
            Duration,
            "How long a new task is watched for failure",
        ),
        key(
            "max_failure_ratio",
            Number,
            "The part of tasks that may fail",
        ),
        key(
            "order",
            Choice(&["start-first", "stop-first"]),
            "Whether the new task starts before the old one stops",
        )
        .since(4),
        key(
            "x-progress-deadline",
            Duration,
            "How long an update may get no further",
        )
        .ours(),
    ],
);

static RESOURCES: Object = object(
    "a resources section",
    &[
        key("limits", Shape::Object(&LIMITS), "What a task may use"),
        key(
            "reservations",
            Shape::Object(&RESERVATIONS),
            "What is kept free for a task",
        ),
    ],
);

static LIMITS: Object = object(
    "a limits section",
    &[
        key("cpus", SCALAR, "CPUs, such as \"0.5\""),
        key("memory", Text, "Memory, such as 512m"),
        key("pids", Int, "Processes").since(9),
    ],
);

static RESERVATIONS: Object = object(
    "a reservations section",
    &[
        key("cpus", SCALAR, "CPUs, such as \"0.5\""),
        key("memory", Text, "Memory, such as 512m"),
        key(
            "generic_resources",
            List(&Shape::Object(&GENERIC_RESOURCE)),
            "Of what nodes say that they have",
        )
        .since(5),
        key(
            "devices",
            List(&Shape::Object(&DEVICE_REQUEST)),
            "Devices, such as GPUs",
        )
        .spec()
        .none("let the nodes name what they have, and reserve it under `generic_resources`"),
    ],
);

static GENERIC_RESOURCE: Object = object(
    "a generic resource",
    &[key(
        "discrete_resource_spec",
        Shape::Object(&DISCRETE_RESOURCE),
        "So many of a kind",
    )],
);

static DISCRETE_RESOURCE: Object = object(
    "a discrete resource",
    &[key("kind", Text, "The kind"), key("value", Int, "How many")],
);

static RESTART_POLICY: Object = object(
    "a restart policy",
    &[
        key(
            "condition",
            Choice(&["none", "on-failure", "any"]),
            "After what end a task is followed by another",
        ),
        key("delay", Duration, "The pause before it"),
        key("max_attempts", Int, "How often"),
        key("window", Duration, "Within what time"),
        key(
            "x-max-delay",
            Duration,
            "The longest pause when one end follows the other",
        )
        .ours(),
    ],
);

static PLACEMENT: Object = object(
    "a placement section",
    &[
        key(
            "constraints",
            List(&Text),
            "What must be so of a node, such as node.labels.disk == ssd",
        ),
        key(
            "preferences",
            List(&Shape::Object(&PREFERENCE)),
            "What to spread tasks over",
        )
        .since(3),
        key("max_replicas_per_node", Int, "Most tasks on a node").since(8),
        key(
            "x-platforms",
            List(&Text),
            "What the image runs on, such as linux/amd64",
        )
        .ours(),
        key(
            "x-rebalance",
            Choice(&["auto", "manual"]),
            "Whether tasks move by themselves to nodes with fewer",
        )
        .ours(),
    ],
);

static PREFERENCE: Object = object(
    "a placement preference",
    &[
        key("spread", Text, "The label whose values are to have alike"),
        key("x-max-skew", Int, "How uneven it may be at most").ours(),
    ],
);
