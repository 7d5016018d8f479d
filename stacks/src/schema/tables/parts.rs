//! What the keys of a service are made of, short of `deploy`.

use super::{OPTIONS, Object, PAIRS, SCALAR, SCALAR_OR_NULL, Shape, TEXTS, WORDS, key, object};
use Shape::{Bool, Choice, Dict, Duration, Int, Number, OneOf, Text};

pub(super) static FILE_REFERENCE: Object = Object {
    open: true,
    ..object(
        "a reference to a secret or config",
        &[
            key("source", Text, "Its key at the top of the file"),
            key("target", Text, "Where it is in the container"),
            key("uid", Text, "Whose file it is"),
            key("gid", Text, "Which group's file it is"),
            key("mode", Int, "Who may read it, such as 0440"),
        ],
    )
};

pub(super) static ENV_FILE: Object = Object {
    required: &["path"],
    extensions: false,
    ..object(
        "an env file",
        &[
            key("path", Text, "The file; it is read as a .env file is").spec(),
            key("required", Bool, "It has to be there; so without the key").spec(),
            key("format", Text, "raw: its lines are taken as they stand").spec(),
        ],
    )
};

pub(super) static EXTENDS: Object = Object {
    required: &["service"],
    extensions: false,
    ..object(
        "an extends section",
        &[
            key("service", Text, "Its name").spec(),
            key(
                "file",
                Text,
                "The file that has it; this one without the key",
            )
            .spec(),
        ],
    )
};

pub(super) static HEALTHCHECK: Object = object(
    "a health check",
    &[
        key("disable", Bool, "No check, not even that of the image"),
        key("interval", Duration, "From one check to the next"),
        key("retries", Int, "Failures in a row that count"),
        key(
            "test",
            WORDS,
            "The command; also [\"HTTP\", \"8080/path\"] and [\"TCP\", \"8080\"]",
        ),
        key("timeout", Duration, "How long a check may take"),
        key(
            "start_period",
            Duration,
            "How long failures do not count after the start",
        )
        .since(4),
        key(
            "start_interval",
            Duration,
            "From one check to the next in that time",
        )
        .since(12),
    ],
);

/// Whether a task takes traffic. Docker reads over it.
pub(super) static READINESS: Object = Object {
    extensions: false,
    ..object(
        "a readiness check",
        &[
            key("interval", Duration, "From one check to the next").ours(),
            key("retries", Int, "Failures in a row that count").ours(),
            key(
                "start_interval",
                Duration,
                "From one check to the next until the first success",
            )
            .ours(),
            key("test", WORDS, "The check, as under `healthcheck`").ours(),
            key("timeout", Duration, "How long a check may take").ours(),
        ],
    )
};

pub(super) static LOGGING: Object = object(
    "a logging section",
    &[
        key("driver", Text, "Where output goes")
            .partly("json-file and local, which keep it on the node; others have no effect"),
        key("options", Dict(&SCALAR_OR_NULL), "Options of the driver")
            .partly("max-size and max-file; others have no effect"),
    ],
);

pub(super) static SERVICE_NETWORK: Object = object(
    "a service's network",
    &[
        key("aliases", TEXTS, "More names of the service on the network"),
        key("driver_opts", OPTIONS, "Options of the driver")
            .since(13)
            .none("name options with the network itself"),
        key("ipv4_address", Text, "The address").none("addresses are given by skep"),
        key("ipv6_address", Text, "The address").none("addresses are given by skep"),
        key("link_local_ips", TEXTS, "More addresses")
            .spec()
            .none("addresses are given by skep"),
        key("mac_address", Text, "The hardware address")
            .spec()
            .none("addresses are given by skep"),
        key("interface_name", Text, "The name of the interface")
            .spec()
            .none("interfaces are named by skep"),
        key("priority", Number, "Which network is joined first")
            .spec()
            .none("all networks are joined before the program starts"),
        key("gw_priority", Number, "Which network leads outside")
            .spec()
            .none("the way outside is not that of a network of the stack"),
    ],
);

pub(super) static PORT: Object = object(
    "a port",
    &[
        key("name", Text, "A name for people")
            .spec()
            .none("write a comment"),
        key(
            "mode",
            Choice(&["ingress", "host"]),
            "Published on every node, or where a task is",
        )
        .since(2),
        key("host_ip", Text, "The address that is open")
            .spec()
            .partly("ignored: the port is open on every address"),
        key("target", Int, "The port in the container").since(2),
        key(
            "published",
            OneOf(&[Int, Text]),
            "The port of the nodes; all of a range, such as \"8000-8003\"",
        )
        .since(2),
        key("protocol", Choice(&["tcp", "udp", "sctp"]), "The protocol").since(2),
        key("app_protocol", Text, "What is spoken, such as http")
            .spec()
            .none("nothing depends on it"),
    ],
);

pub(super) static ULIMIT: Object = Object {
    required: &["soft", "hard"],
    ..object(
        "a limit",
        &[
            key("soft", Int, "What holds at first"),
            key("hard", Int, "What a program may raise it to"),
        ],
    )
};

pub(super) static SERVICE_VOLUME: Object = Object {
    required: &["type"],
    ..object(
        "a mount",
        &[
            key("type", Text, "What is mounted")
                .since(2)
                .partly("bind, volume and tmpfs; cluster, npipe and image are refused"),
            key("source", Text, "A directory of the node, or a volume").since(2),
            key("target", Text, "Where it is in the container").since(2),
            key("read_only", Bool, "Nothing can be written").since(2),
            key("consistency", Text, "How fast changes are seen")
                .since(2)
                .none("changes are seen at once"),
            key("bind", Shape::Object(&BIND), "Of a bind mount").since(2),
            key("volume", Shape::Object(&VOLUME_OPTIONS), "Of a volume").since(2),
            key("tmpfs", Shape::Object(&TMPFS), "Of a tmpfs").since(6),
            key("image", Shape::Object(&IMAGE_OPTIONS), "Of an image")
                .spec()
                .none("images cannot be mounted"),
        ],
    )
};

static BIND: Object = Object {
    open: true,
    ..object(
        "a bind section",
        &[
            key("propagation", Text, "Whether mounts below it come and go")
                .partly("mounts do not leave the container"),
            key("create_host_path", Bool, "The directory is made")
                .spec()
                .none_but(
                    &["false"],
                    "make the directory on every node that a task may be on",
                ),
            key(
                "recursive",
                Choice(&["enabled", "disabled", "writable", "readonly"]),
                "What becomes of mounts below it",
            )
            .spec()
            .none_but(&["enabled"], "mounts below it come along"),
            key("selinux", Choice(&["z", "Z"]), "Labels for SELinux")
                .spec()
                .none("label the directory on its node"),
        ],
    )
};

static VOLUME_OPTIONS: Object = Object {
    open: true,
    ..object(
        "a volume section",
        &[
            key(
                "nocopy",
                Bool,
                "What the image has there is not copied into it",
            ),
            key("subpath", Text, "A part of the volume")
                .partly("refused: whole volumes are mounted"),
            key("labels", PAIRS, "Labels of the volume")
                .spec()
                .none("give the volume its labels under the top-level `volumes`"),
        ],
    )
};

static TMPFS: Object = Object {
    open: true,
    ..object(
        "a tmpfs section",
        &[
            key("size", SCALAR, "The most that fits, in bytes or as 64m"),
            key("mode", OneOf(&[Text, Int]), "Who may use it, such as 01777").spec(),
        ],
    )
};

static IMAGE_OPTIONS: Object = object(
    "an image section",
    &[key("subpath", Text, "A part of the image").spec()],
);
