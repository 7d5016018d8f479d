//! SK04: values.

use super::{Code, code};

pub(crate) const DURATION: &Code = &code(
    "SK0401",
    "this is not a duration",
    "A duration is made of numbers with units: ns, us, ms, s, m, h. Days and weeks have no unit; \
     write hours. A number alone is refused, because nobody could say whether seconds or \
     something else was meant.",
)
.example("interval: 10", "interval: 10s");

pub(crate) const SIZE: &Code = &code(
    "SK0402",
    "this is not a size or an amount",
    "A size is a number with a unit of b, k, m, g or t, in powers of 1024, such as 512m or \
     1.5g. A number of CPUs is a decimal number such as \"0.5\", with nine digits after the \
     point at most.",
)
.example("memory: half a gig", "memory: 512m");

pub(crate) const OUT_OF_RANGE: &Code = &code(
    "SK0403",
    "a number or time is out of range",
    "The value can be read but is too small or too large to mean something here. The message \
     says what is possible. To have no limit, leave the key out rather than writing a very \
     large number.",
);

pub(crate) const WORD: &Code = &code(
    "SK0404",
    "this value is not one of those possible",
    "The key takes one of a few words, or a text of a certain form, and this is none of them. \
     The message or the line that begins with help names them. They are written in lower case.",
)
.example(
    "update_config:\n  order: random",
    "update_config:\n  order: start-first",
);

pub(crate) const IMAGE: &Code = &code(
    "SK0405",
    "this is not the name of an image",
    "An image is named `[host[:port]/]name[:tag][@digest]`. The name is in lower case and has no \
     blanks; a tag has at most 128 letters, digits, `.`, `_` and `-`; a digest is `sha256:` and \
     64 hexadecimal digits.",
)
.example("image: Redis:", "image: redis:7");

pub(crate) const NO_IMAGE: &Code = &code(
    "SK0406",
    "a service has no image",
    "Tasks of a service are made from an image that every node can pull. Images are not built \
     when a stack is deployed, so `build` does not stand in for it. Build the image, push it to \
     a registry, and name it with `image`.",
);

pub(crate) const PORT: &Code = &code(
    "SK0407",
    "this is not a port",
    "Ports are written \"8080:80\" (published and target), \"8080:80/udp\", \"80\" alone for a \
     published port of the swarm's choice, or in long form with `target` and `published`. They \
     are 1 to 65535. Ranges on both sides have the same length. Put them in quotes: other YAML \
     readers take 22:22 for a number.",
)
.example("ports:\n  - \"80800:80\"", "ports:\n  - \"8080:80\"");

pub(crate) const PORT_TWICE: &Code = &code(
    "SK0408",
    "a port is published by two services",
    "Every node opens a published port and takes what comes to the tasks of one service. Two \
     services cannot have the same port and protocol. Give one of them another port, or \
     publish it with `mode: host` on the nodes of its tasks only.",
);

pub(crate) const MOUNT: &Code = &code(
    "SK0409",
    "this is not a mount",
    "A mount is written \"source:target\" or \"source:target:ro\", or in long form with `type`, \
     `source` and `target`. The target is an absolute path in the container and not `/`. A \
     source that begins with `/`, `.` or `~` is a directory of the node, any other the name of a \
     volume. Options belong to the type of the mount.",
)
.example("volumes:\n  - data:data", "volumes:\n  - data:/data");

pub(crate) const TARGET_TWICE: &Code = &code(
    "SK0410",
    "two things are put at the same place in a container",
    "Two mounts, secrets or configs have the same target, so that one would hide the other. \
     Remove one of them, or give it another `target`.",
);

pub(crate) const ADDRESS: &Code = &code(
    "SK0411",
    "this is not an address or a subnet",
    "Addresses are IPv4 or IPv6 addresses such as 10.0.0.5, not names; a subnet has a length \
     too, as in 10.1.0.0/16. Entries of `extra_hosts` are written `name:address`.",
)
.example("extra_hosts:\n  - db", "extra_hosts:\n  - \"db:10.0.0.5\"");

pub(crate) const COMMAND: &Code = &code(
    "SK0412",
    "a command cannot be split into words",
    "A command in one text is split into words as a shell would do it: quotes join, a backslash \
     takes the next character as it is. A quote is not closed here, or a backslash ends the \
     text. In a list every item is a word, and nothing needs quotes of its own.",
)
.example("command: echo \"it's\"", "command: [echo, \"it's\"]");

pub(crate) const CONSTRAINT: &Code = &code(
    "SK0413",
    "this is not a placement constraint",
    "A constraint compares something every node has, such as node.role, node.hostname or \
     node.labels.zone, with a value. The operators are ==, !=, in, notin, >, <, exists and \
     !exists. One that no node could ever meet would leave the service without tasks, so it is \
     refused.",
)
.example(
    "constraints:\n  - node.role=manager",
    "constraints:\n  - node.role==manager",
);

pub(crate) const PLACEMENT: &Code = &code(
    "SK0414",
    "this does not say where tasks may run",
    "Tasks are spread over the values of a label of nodes, `spread: node.labels.zone`. A \
     platform is written as system and architecture, such as linux/amd64. A generic resource \
     has a kind and a number.",
)
.example(
    "preferences:\n  - spread: zone",
    "preferences:\n  - spread: node.labels.zone",
);

pub(crate) const CAPABILITY: &Code = &code(
    "SK0415",
    "this is not a capability",
    "`cap_add` and `cap_drop` take capabilities of Linux, such as NET_ADMIN or CAP_NET_ADMIN, \
     or ALL. They are listed in capabilities(7).",
);

pub(crate) const LIMIT: &Code = &code(
    "SK0416",
    "this is not a limit of a process",
    "`ulimits` take the names of Linux, such as nofile or nproc, each with one number or with \
     `soft` and `hard`. The soft limit is at most the hard one; -1 is no limit.",
)
.example(
    "ulimits:\n  nofile: {soft: 2048, hard: 1024}",
    "ulimits:\n  nofile: {soft: 1024, hard: 2048}",
);

pub(crate) const CHECK: &Code = &code(
    "SK0417",
    "this is not a health or readiness test",
    "A test is a line for the shell as text, or a list that begins with CMD (a program and its \
     arguments), CMD-SHELL (one line), HTTP (a port and a path), TCP (a port) or NONE. HTTP and \
     TCP need no program in the image.",
)
.example("test: [curl, localhost]", "test: [CMD, curl, localhost]");

pub(crate) const SCHEDULE: &Code = &code(
    "SK0418",
    "this is not a schedule",
    "A schedule has five fields: minute, hour, day of the month, month, day of the week, as in \
     \"30 3 * * mon-fri\"; or it is a word such as @daily. A schedule that never fires is \
     refused.",
);

pub(crate) const TEMPLATE: &Code = &code(
    "SK0419",
    "this is not a template",
    "What stands in two braces is filled in for each task, such as {{.Task.Slot}} or \
     {{.Node.Hostname}}. This cannot be filled in: the field or function is not known, or the \
     braces are not closed. Write {{`{{`}} for two braces that are meant as such.",
);

pub(crate) const NOT_IN_THIS_MODE: &Code = &code(
    "SK0420",
    "this does not go with the mode of the service",
    "Services run as replicated, global, replicated-job or global-job, and some keys mean \
     something in one of these modes only. A global service has no `replicas`; only jobs have \
     `x-job` and `x-schedule`; jobs are not updated task by task. Remove the key or change the \
     mode.",
)
.example(
    "deploy:\n  mode: global\n  replicas: 3",
    "deploy:\n  mode: replicated\n  replicas: 3",
);

pub(crate) const NOT_SUPPORTED: &Code = &code(
    "SK0421",
    "this is not supported",
    "The key or value is understood, but nothing here does what it asks for. Leaving it away \
     would run something else than what was asked for, such as an empty volume instead of a full \
     one, so the file is refused.",
);

pub(crate) const DECIMAL_MODE: &Code = &code(
    "SK0422",
    "permissions are written as a decimal number",
    "`mode: 444` is the number four hundred and forty-four, which is 0o674 as permissions. \
     Permissions are octal: they begin with a zero.",
)
.example("mode: 444", "mode: 0444");

pub(crate) const RESERVED_ABOVE_LIMIT: &Code = &code(
    "SK0423",
    "more is reserved than may be used",
    "A task takes the room of its reservation on a node but may only use up to its limit. The \
     rest is lost to everybody. Lower the reservation or raise the limit.",
);

pub(crate) const DEVICE: &Code = &code(
    "SK0424",
    "this is not a device",
    "A device is written as HOST[:CONTAINER][:PERMISSIONS]: its path on the node, where the \
     container finds it, below /dev, and some of r, w and m (to make nodes). A rule under \
     `device_cgroup_rules` has the kind (a, b or c), the major and minor number, and the same \
     letters; `*` is any number.",
)
.example(
    "devices: [dev/ttyUSB0]",
    "devices: [\"/dev/ttyUSB0:/dev/ttyUSB0:rw\"]",
);

pub(super) const ALL: &[&Code] = &[
    DURATION,
    SIZE,
    OUT_OF_RANGE,
    WORD,
    IMAGE,
    NO_IMAGE,
    PORT,
    PORT_TWICE,
    MOUNT,
    TARGET_TWICE,
    ADDRESS,
    COMMAND,
    CONSTRAINT,
    PLACEMENT,
    CAPABILITY,
    LIMIT,
    CHECK,
    SCHEDULE,
    TEMPLATE,
    NOT_IN_THIS_MODE,
    NOT_SUPPORTED,
    DECIMAL_MODE,
    RESERVED_ABOVE_LIMIT,
    DEVICE,
];
