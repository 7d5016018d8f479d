//! Sections of which nothing is honoured: their form is checked, no more.

use super::{Object, PAIRS, SCALAR, Shape, TEXT_OR_BOOL, TEXT_OR_LIST, TEXTS, WORDS, key, object};
use Shape::{Bool, Choice, Dict, Int, List, OneOf, Text};

/// As [`object`], without `x-…` keys.
const fn closed(what: &'static str, fields: &'static [super::Field]) -> Object {
    Object {
        extensions: false,
        ..object(what, fields)
    }
}

pub(super) static BUILD: Object = Object {
    open: true,
    ..object(
        "a build section",
        &[
            key("context", Text, "The directory of the sources"),
            key("dockerfile", Text, "The file that says how"),
            key("dockerfile_inline", Text, "What such a file says").spec(),
            key("args", PAIRS, "Variables of the build"),
            key("additional_contexts", PAIRS, "More directories").spec(),
            key("cache_from", TEXTS, "Images to take layers from").since(2),
            key("cache_to", TEXTS, "Where layers are kept").spec(),
            key("entitlements", TEXTS, "What the build may do").spec(),
            key("extra_hosts", PAIRS, "Lines of /etc/hosts").since(9),
            key("isolation", Text, "How it is apart, on Windows").spec(),
            key("labels", PAIRS, "Labels of the image").since(3),
            key("network", Text, "The network of the build").since(4),
            key("no_cache", Bool, "No layers are taken").spec(),
            key("platforms", TEXTS, "What the image is to run on").spec(),
            key("privileged", Bool, "The build may do all").spec(),
            key(
                "provenance",
                TEXT_OR_BOOL,
                "A statement of where it is from",
            )
            .spec(),
            key("pull", Bool, "Images are asked for anew").spec(),
            key("sbom", TEXT_OR_BOOL, "A list of what is in it").spec(),
            key(
                "secrets",
                List(&OneOf(&[Text, Dict(&Shape::Any)])),
                "Secrets of the build",
            )
            .spec(),
            key("shm_size", SCALAR, "Size of /dev/shm").since(5),
            key("ssh", OneOf(&[Text, PAIRS]), "Keys of the build").spec(),
            key("tags", TEXTS, "More names of the image").spec(),
            key("target", Text, "The stage to build").since(4),
            key("ulimits", Dict(&Shape::Any), "Limits of its processes").spec(),
        ],
    )
};

pub(super) static CREDENTIAL_SPEC: Object = object(
    "a credential spec",
    &[
        key("config", Text, "The config that has it").since(8),
        key("file", Text, "The file that has it"),
        key("registry", Text, "The key of the registry that has it"),
    ],
);

pub(super) static DEPENDENCY: Object = Object {
    required: &["condition"],
    ..object(
        "a dependency",
        &[
            key(
                "condition",
                Choice(&[
                    "service_started",
                    "service_healthy",
                    "service_completed_successfully",
                ]),
                "What is waited for",
            )
            .spec(),
            key("restart", Bool, "It restarts when the other one is updated")
                .spec()
                .none_but(&["false"], "change it too when it has to restart"),
            key("required", Bool, "The other one has to be there").spec(),
        ],
    )
};

pub(super) static DEVICE: Object = Object {
    required: &["source"],
    ..object(
        "a device",
        &[
            key("source", Text, "The device of the node").spec(),
            key("target", Text, "Where it is in the container").spec(),
            key("permissions", Text, "Of r, w and m").spec(),
        ],
    )
};

pub(super) static DEVICE_REQUEST: Object = object(
    "a request for devices",
    &[
        key("capabilities", TEXTS, "What they can do").spec(),
        key("count", OneOf(&[Int, Text]), "How many").spec(),
        key("device_ids", TEXTS, "Which").spec(),
        key("driver", Text, "Whose").spec(),
        key("options", PAIRS, "Options of the driver").spec(),
    ],
);

pub(super) static DEVELOP: Object = object(
    "a develop section",
    &[key(
        "watch",
        List(&Shape::Object(&WATCH)),
        "Files whose changes count",
    )
    .spec()],
);

static WATCH: Object = Object {
    required: &["path", "action"],
    ..object(
        "a watch rule",
        &[
            key("path", Text, "The files").spec(),
            key(
                "action",
                Choice(&["rebuild", "sync", "restart", "sync+restart", "sync+exec"]),
                "What follows a change",
            )
            .spec(),
            key("ignore", TEXT_OR_LIST, "Files that do not count").spec(),
            key("include", TEXT_OR_LIST, "Files that count").spec(),
            key("initial_sync", Bool, "Files are copied at the start").spec(),
            key("target", Text, "Where they are in the container").spec(),
            key("exec", Shape::Object(&HOOK), "What runs after it").spec(),
        ],
    )
};

pub(super) static HOOK: Object = Object {
    required: &["command"],
    ..object(
        "a hook",
        &[
            key("command", WORDS, "What runs").spec(),
            key("user", Text, "Who runs it").spec(),
            key("privileged", Bool, "It may do all").spec(),
            key("working_dir", Text, "Where it runs").spec(),
            key("environment", PAIRS, "Its variables").spec(),
        ],
    )
};

pub(super) static BLKIO: Object = closed(
    "a section of disk limits",
    &[
        key("weight", Int, "Weight among containers").spec(),
        key("weight_device", RATES, "Weight of a disk").spec(),
        key("device_read_bps", RATES, "Bytes read in a second").spec(),
        key("device_read_iops", RATES, "Reads in a second").spec(),
        key("device_write_bps", RATES, "Bytes written in a second").spec(),
        key("device_write_iops", RATES, "Writes in a second").spec(),
    ],
);

const RATES: Shape = List(&Shape::Object(&RATE));

static RATE: Object = closed(
    "a disk limit",
    &[
        key("path", Text, "The disk").spec(),
        key("rate", SCALAR, "The limit").spec(),
        key("weight", Int, "The weight").spec(),
    ],
);
