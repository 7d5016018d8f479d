//! SK03: the shape of a file: keys, types, versions.

use super::{Code, code};

pub(crate) const UNKNOWN_KEY: &Code = &code(
    "SK0301",
    "a key is not known",
    "There is no such key at this place. A key that is written wrongly would otherwise be lost \
     without a word. Correct it; a key of your own begins with `x-` and is read over, where the \
     section allows it.",
)
.example("web:\n  imgae: nginx", "web:\n  image: nginx");

pub(crate) const WRONG_TYPE: &Code = &code(
    "SK0302",
    "a value has the wrong type",
    "The key takes another kind of value: text, a number, true or false, a list, a map. Text \
     that looks like something else needs quotes, such as \"1000\" or \"3.8\". A map under a key \
     is indented more than the key; the items of a list begin with `- `.",
)
.example(
    "web:\n  image: nginx\n  user: 1000",
    "web:\n  image: nginx\n  user: \"1000\"",
);

pub(crate) const MISSING_KEY: &Code = &code(
    "SK0303",
    "a key is missing",
    "The section means nothing without this key. Add it, or remove the section.",
)
.example(
    "volumes:\n  - type: bind\n    target: /data",
    "volumes:\n  - type: bind\n    source: ./data\n    target: /data",
);

pub(crate) const NOT_A_STACK_FILE: &Code = &code(
    "SK0304",
    "this is not a stack file",
    "A stack file is a map of sections, of which `services` is the one that matters. The file \
     is empty, is a list or a text, or none was given at all.",
)
.example(
    "- web:\n    image: nginx",
    "services:\n  web:\n    image: nginx",
);

pub(crate) const NO_SERVICES: &Code = &code(
    "SK0305",
    "the stack has no services",
    "A stack is made of services; networks, secrets and the like are made for them. Add a \
     service under `services`.",
);

pub(crate) const VERSION: &Code = &code(
    "SK0306",
    "this version of the format is not known",
    "Stack files have version \"3.0\" to \"3.13\", in quotes. The number is information: all files \
     are read by the same rules, those of the newest version and of the Compose Specification. \
     Leave the key out.",
)
.example("version: \"3.14\"", "services:");

pub(crate) const KEY_TOO_NEW: &Code = &code(
    "SK0307",
    "the key is newer than the version of the file",
    "The file says which version of the format it is in, and the key came later. It is honoured \
     all the same; the Docker CLI would refuse the file. Leave the version out: nothing else \
     changes by that.",
);

pub(crate) const VERSIONS_DIFFER: &Code = &code(
    "SK0308",
    "the files have different versions",
    "Files that are merged say different versions. That changes nothing here; the Docker CLI \
     refuses them. Leave the versions out.",
);

pub(crate) const FOREIGN_KEY: &Code = &code(
    "SK0309",
    "the key belongs to another format",
    "Formats before version 3 have this key, and nothing here reads it. The line that begins \
     with help names what has taken its place.",
)
.example(
    "web:\n  image: nginx\n  net: front",
    "web:\n  image: nginx\n  networks: [front]",
);

pub(crate) const MISPLACED_KEY: &Code = &code(
    "SK0310",
    "the key stands in the wrong section",
    "The key is known, but somewhere else: the indentation is wrong, or a level is missing. \
     Sections such as `networks` and `volumes` stand at the top of the file, without \
     indentation; services stand under `services`; much of how a service runs stands under its \
     `deploy`.",
)
.example(
    "web:\n  image: nginx\n  replicas: 2",
    "web:\n  image: nginx\n  deploy:\n    replicas: 2",
);

pub(crate) const TWICE_IN_LIST: &Code = &code(
    "SK0311",
    "the same item is in a list twice",
    "The list is a set: saying a thing twice says no more than saying it once. Remove one of \
     the two, or correct it when something else was meant.",
);

pub(crate) const NOT_A_NAME: &Code = &code(
    "SK0312",
    "this cannot be a name",
    "Names of services, networks, volumes, secrets and configs have letters, digits, `.`, `_` \
     and `-`. Together with the name of the stack they become names in the cluster, which begin \
     and end with a letter or digit and have at most 63 or 64 characters.",
)
.example("services:\n  my service: {}", "services:\n  my-service: {}");

pub(crate) const EXCLUSIVE: &Code = &code(
    "SK0313",
    "two keys exclude each other",
    "Both keys say the same thing in different ways, or one makes the other pointless. Which of \
     them counts would be a guess. Remove one.",
);

pub(crate) const NEARLY_OURS: &Code = &code(
    "SK0314",
    "a key of your own looks like one of skep's",
    "Keys that begin with `x-` are your own and read over. This one is nearly the name of a key \
     that skep honours, such as `x-readiness`. Correct it, or give it a name that is further \
     away.",
);

pub(super) const ALL: &[&Code] = &[
    UNKNOWN_KEY,
    WRONG_TYPE,
    MISSING_KEY,
    NOT_A_STACK_FILE,
    NO_SERVICES,
    VERSION,
    KEY_TOO_NEW,
    VERSIONS_DIFFER,
    FOREIGN_KEY,
    MISPLACED_KEY,
    TWICE_IN_LIST,
    NOT_A_NAME,
    EXCLUSIVE,
    NEARLY_OURS,
];
