//! The file and its sections, short of what services are made of.

use super::cluster::CLUSTER_SPEC;
use super::service::SERVICE;
use super::{Field, OPTIONS, Object, PAIRS, Shape, TEXT_OR_LIST, key, object};
use Shape::{Any, Bool, Dict, List, Names, Null, OneOf, Text};

/// The whole file.
pub(crate) static FILE: Object = object(
    "a stack file",
    &[
        // Checked before everything else.
        key("version", Any, "The version of the format; informative"),
        key(
            "name",
            Text,
            "The name of the stack, for a command that does not say one",
        )
        .spec(),
        key(
            "include",
            OneOf(&[List(&OneOf(&[Text, Shape::Object(&INCLUDE)])), Null]),
            "Other files whose sections belong to this one",
        )
        .spec(),
        key(
            "services",
            Names(&Shape::Object(&SERVICE)),
            "What runs, by name",
        ),
        key(
            "networks",
            Names(&OneOf(&[Shape::Object(&NETWORK), Null])),
            "Networks that join services",
        ),
        key(
            "volumes",
            Names(&OneOf(&[Shape::Object(&VOLUME), Null])),
            "Volumes that services keep data in",
        ),
        key(
            "secrets",
            Names(&Shape::Object(&SECRET)),
            "Data for services that is nobody else's business",
        )
        .since(1),
        key(
            "configs",
            Names(&Shape::Object(&CONFIG)),
            "Files for services that are not in their images",
        )
        .since(3),
        key("models", Any, "Language models that services use")
            .spec()
            .refused("run the model as a service of its own"),
    ],
);

static INCLUDE: Object = Object {
    required: &["path"],
    extensions: false,
    ..object(
        "an entry of include",
        &[
            key("path", TEXT_OR_LIST, "The file; several are merged").spec(),
            key(
                "project_directory",
                Text,
                "Where its relative paths start; the directory of the first file without the key",
            )
            .spec(),
            key(
                "env_file",
                TEXT_OR_LIST,
                "Variables for `$NAME` in it; `.env` in its directory without the key",
            )
            .spec(),
        ],
    )
};

const NAME: Field = key(
    "name",
    Text,
    "Its name in the cluster; without it the name of the stack stands before the key",
)
.since(5);

const BOOL_OR_NAME: Shape = OneOf(&[Bool, Shape::Object(&EXTERNAL_NAME)]);
const EXTERNAL: Field = key(
    "external",
    BOOL_OR_NAME,
    "It is there already, and not the stack's",
);

static EXTERNAL_NAME: Object = object(
    "an external section",
    &[key(
        "name",
        Text,
        "The old form of `name` beside `external`",
    )],
);

const LABELS: Field = key("labels", PAIRS, "Labels");

static NETWORK: Object = object(
    "a network",
    &[
        NAME,
        key("driver", Text, "What the network is made with")
            .partly("overlay, which is meant without the key; others are refused"),
        key("driver_opts", OPTIONS, "Options of the driver"),
        key("ipam", Shape::Object(&IPAM), "Addresses of the network"),
        EXTERNAL,
        key("internal", Bool, "It leads nowhere outside"),
        key(
            "attachable",
            Bool,
            "Containers outside of services may join",
        )
        .since(2),
        key("enable_ipv4", Bool, "Addresses of IPv4")
            .spec()
            .none_but(&["true"], "every network has IPv4"),
        key("enable_ipv6", Bool, "Addresses of IPv6")
            .spec()
            .none("networks have IPv4 addresses only"),
        LABELS,
    ],
);

static IPAM: Object = object(
    "an ipam section",
    &[
        key("driver", Text, "Who gives addresses")
            .none_but(&["default"], "addresses are always given by skep"),
        key("config", List(&Shape::Object(&POOL)), "Ranges of addresses"),
        key("options", Dict(&Text), "Options of the driver")
            .spec()
            .none("addresses are always given by skep"),
    ],
);

static POOL: Object = object(
    "an address pool",
    &[
        key("subnet", Text, "The range, as 10.1.0.0/16").partly("IPv4; IPv6 has no effect"),
        key(
            "ip_range",
            Text,
            "The part of the range to give to containers",
        )
        .spec()
        .none("addresses are given out of the whole subnet"),
        key("gateway", Text, "The address of the gateway")
            .spec()
            .none("skep chooses the address of the gateway"),
        key("aux_addresses", Dict(&Text), "Addresses that are taken")
            .spec()
            .none("addresses are given out of the whole subnet"),
    ],
);

static VOLUME: Object = object(
    "a volume",
    &[
        NAME.since(4),
        key("driver", Text, "What keeps the data").partly("local; others are refused"),
        key("driver_opts", OPTIONS, "Options of the driver").partly("refused: there are none"),
        EXTERNAL,
        LABELS,
        key(
            "x-cluster-spec",
            Shape::Object(&CLUSTER_SPEC),
            "What a cluster volume is",
        )
        .since(10)
        .none("there are no cluster volumes"),
    ],
);

const DATA_FILE: Field = key("file", Text, "The file that has its content");
const TEMPLATE: Field = key(
    "template_driver",
    Text,
    "`golang`: the content is a template, filled in for each task",
)
.since(8);
const ENVIRONMENT: Field = key("environment", Text, "The variable that has its content").spec();

static SECRET: Object = object(
    "a secret",
    &[
        NAME,
        DATA_FILE,
        ENVIRONMENT,
        EXTERNAL,
        LABELS,
        key("driver", Text, "Who keeps the secret")
            .since(8)
            .none("secrets are kept by skep"),
        key("driver_opts", OPTIONS, "Options of the driver")
            .since(8)
            .none("secrets are kept by skep"),
        TEMPLATE,
    ],
);

static CONFIG: Object = object(
    "a config",
    &[
        NAME,
        DATA_FILE,
        key("content", Text, "Its content").spec(),
        ENVIRONMENT,
        EXTERNAL,
        LABELS,
        TEMPLATE,
    ],
);
