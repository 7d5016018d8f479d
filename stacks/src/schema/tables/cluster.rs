//! Cluster volumes, of which nothing is honoured: the form alone is checked.

use super::{Object, PAIRS, Shape, key, object};
use Shape::{Any, Dict, List, Text};

/// As [`object`], with any other keys.
const fn open(what: &'static str, fields: &'static [super::Field]) -> Object {
    Object {
        open: true,
        extensions: false,
        ..object(what, fields)
    }
}

pub(super) static CLUSTER_SPEC: Object = open(
    "a cluster spec",
    &[
        key("group", Text, "The group of volumes"),
        key("access_mode", Shape::Object(&ACCESS_MODE), "Who may use it"),
        key(
            "accessibility_requirements",
            Shape::Object(&ACCESSIBILITY),
            "Where it may be",
        ),
        key("capacity_range", Shape::Object(&CAPACITY_RANGE), "Its size"),
        key(
            "secrets",
            List(&Shape::Object(&CLUSTER_SECRET)),
            "Secrets of its driver",
        ),
        key("availability", Text, "Whether it may be used"),
    ],
);

static ACCESS_MODE: Object = open(
    "an access mode",
    &[
        key("scope", Text, "One node or many"),
        key("sharing", Text, "Who may write"),
        key("block_volume", Dict(&Any), "It is a device"),
        key("mount_volume", Dict(&Any), "It is a file system"),
    ],
);

static ACCESSIBILITY: Object = open(
    "an accessibility section",
    &[
        key(
            "requisite",
            List(&Shape::Object(&TOPOLOGY)),
            "Places of which one is needed",
        ),
        key(
            "preferred",
            List(&Shape::Object(&TOPOLOGY)),
            "Places that are better",
        ),
    ],
);

static TOPOLOGY: Object = open("a topology", &[key("segments", PAIRS, "Parts of a place")]);

static CAPACITY_RANGE: Object = open(
    "a capacity range",
    &[
        key("required_bytes", Text, "The least"),
        key("limit_bytes", Text, "The most"),
    ],
);

static CLUSTER_SECRET: Object = open(
    "a cluster secret",
    &[
        key("key", Text, "The driver's name for it"),
        key("secret", Text, "The secret"),
    ],
);
