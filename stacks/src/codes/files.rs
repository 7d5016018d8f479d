//! SK05, references between sections, SK06, files that are read, and SK07, what has no
//! effect.

use super::{Code, code};

pub(crate) const UNDECLARED: &Code = &code(
    "SK0501",
    "something is named that is not declared",
    "A service names a network, volume, secret or config; the section of that kind at the top \
     of the file has to declare it. For one that exists outside of the stack, declare it with \
     `external: true`. After merging, the declarations of all files count.",
)
.example(
    "services:\n  web:\n    image: nginx\n    networks: [front]",
    "services:\n  web:\n    image: nginx\n    networks: [front]\nnetworks:\n  front: {}",
);

pub(crate) const UNUSED_NETWORK: &Code = &code(
    "SK0502",
    "a network is not used",
    "The file declares a network that no service is on. It is not made. Remove it, or name it \
     under the `networks` of a service.",
);

pub(crate) const NO_CONTENT: &Code = &code(
    "SK0503",
    "a secret or config has no content",
    "A secret or config of the stack takes its content from a file, named with `file: PATH`. \
     One that is there already is declared with `external: true`. This has neither.",
)
.example(
    "secrets:\n  key: {}",
    "secrets:\n  key:\n    file: ./key.pem",
);

pub(crate) const OTHERS_DECIDE: &Code = &code(
    "SK0504",
    "something external is given properties",
    "What is external was made by somebody else, who has decided about its driver, options and \
     labels. The stack cannot give it others. Remove these keys, or `external`.",
);

pub(crate) const OLD_NAME: &Code = &code(
    "SK0505",
    "`external.name` is an old form",
    "The name of something external once stood below `external`. It means the same as \
     `external: true` with `name` beside it, which is the form to use.",
)
.example(
    "networks:\n  n:\n    external:\n      name: lan",
    "networks:\n  n:\n    external: true\n    name: lan",
);

pub(crate) const LEFT_OUT: &Code = &code(
    "SK0506",
    "a service depends on one that is left out",
    "A service with `profiles` is part of the stack only when one of them is asked for, with \
     `--profile` or in COMPOSE_PROFILES. Another service that is there depends on it and would \
     miss it. Ask for the profile, give both the same one, or say that it can do without: \
     `required: false`.",
)
.example(
    "web:\n  depends_on: [db]\ndb:\n  profiles: [debug]",
    "web:\n  depends_on: [db]\ndb: {}",
);

pub(crate) const UNKNOWN_PROFILE: &Code = &code(
    "SK0507",
    "no service has the profile",
    "A profile is asked for that no service of the files has, so that it changes nothing. \
     Perhaps it is written wrongly, or a file is missing.",
);

pub(crate) const NO_SUCH_SERVICE: &Code = &code(
    "SK0508",
    "a service depends on one that is not there",
    "A name under `depends_on` is that of no service of the files, so nothing is waited for. \
     Perhaps it is written wrongly, or a file is missing.",
);

pub(crate) const RING: &Code = &code(
    "SK0509",
    "services wait for each other",
    "Tasks of a service start when what is under its `depends_on` is there. Going from one to \
     the next leads back to where it began, so none of these would ever start. Let one of them \
     start without the other, and wait in its program for what it needs.",
)
.example(
    "web:\n  depends_on: [db]\ndb:\n  depends_on: [web]",
    "web:\n  depends_on: [db]\ndb: {}",
);

pub(crate) const INCLUDED_TWICE: &Code = &code(
    "SK0510",
    "two files of `include` have different things of one name",
    "What a file includes is copied beside what it has itself, and nothing is merged: a service, \
     network, volume, secret or config that is there already has to say the same. Rename one of \
     the two, or give both files to one entry of `include` under `path`: those are merged.",
)
.example(
    "include:\n  - web.yml\n  - web.over.yml",
    "include:\n  - path: [web.yml, web.over.yml]",
);

pub(crate) const UNREADABLE: &Code = &code(
    "SK0601",
    "a file that the stack names cannot be read",
    "Files of secrets, configs and environments are read where the stack is deployed from. \
     Relative paths start at the directory of the first stack file, not at the working \
     directory; `~` is the directory in HOME. Environment files are text in UTF-8.",
);

pub(crate) const FILE_SIZE: &Code = &code(
    "SK0602",
    "a file is empty or too large",
    "A secret has 1 byte to 500 KiB, a config 1 byte to 1000 KiB, all those of a stack at most \
     16 MiB; an environment file has at most 4 MiB, and those of all services make at most 200,000 variables and 16 MiB. Larger data belongs into a volume or the image.",
);

pub(crate) const ENV_LINE: &Code = &code(
    "SK0603",
    "a line of an environment file is not a variable",
    "Lines are `NAME=value`, a bare `NAME` that takes the value of your environment, comments \
     that begin with `#`, or empty. The name has no blanks. In `.env`, files of `--env-file` and \
     those with `path:` a value may stand in quotes, which have to be closed, with nothing but a \
     comment behind them.",
)
.example("PASS WORD=x\n=y", "PASSWORD=x");

pub(crate) const QUOTES_KEPT: &Code = &code(
    "SK0604",
    "quotes in an environment file are part of the value",
    "A file that `env_file` only names is read line by line as it stands, as the Docker CLI does: \
     quotes, blanks and `#` behind the sign belong to the value, and variables are not replaced. \
     Remove the quotes, or name the file with `path`: then it is read as a `.env` file is.",
)
.example("env_file: web.env", "env_file:\n  - path: web.env");

pub(crate) const LEADS_BACK: &Code = &code(
    "SK0605",
    "services or files lead back to themselves",
    "A service that `extends` another one begins with all of it, and a file that `include`s \
     another one has all of it. That has to end: neither may lead back to itself, nor over more \
     than 20 steps. Write out what both need where neither extends the other.",
)
.example(
    "a:\n  extends: b\nb:\n  extends: a",
    "a:\n  extends: b\nb:\n  image: nginx",
);

pub(crate) const KEY_WITHOUT_EFFECT: &Code = &code(
    "SK0701",
    "a key is understood and has no effect",
    "The file can be deployed, but nothing here does what this key asks for; with Docker Swarm \
     most of these have no effect either, without a word. The line that begins with help says \
     what to do instead. With `--strict` this is an error.",
);

pub(crate) const VALUE_WITHOUT_EFFECT: &Code = &code(
    "SK0702",
    "a value is understood and has no effect",
    "The key is honoured, but not with this value: a log driver or mount option that is not \
     supported, for example. The stack runs without it. With `--strict` this is an error.",
);

pub(crate) const IGNORED_KEY: &Code = &code(
    "SK0703",
    "a key is not known and ignored",
    "At this place the format allows keys that it does not know, and the Docker CLI reads over \
     them without a word. Perhaps it is written wrongly. With `--strict` this is an error.",
);

pub(crate) const OVERRULED: &Code = &code(
    "SK0704",
    "another key wins",
    "Two keys, or a key and the command, say how something is done, and one of them takes \
     precedence. The other has no effect; remove it.",
)
.example(
    "restart: always\ndeploy:\n  restart_policy: {condition: none}",
    "deploy:\n  restart_policy: {condition: none}",
);

pub(crate) const OPEN_ON_ALL: &Code = &code(
    "SK0705",
    "a port is open on every address",
    "The file asks for a port on one address only, such as 127.0.0.1. The address is ignored, \
     as in Docker Swarm: every node opens the port on all its addresses, for everybody. Keep it \
     closed with a firewall, or do not publish it; services on the same network reach each \
     other without.",
);

pub(super) const ALL: &[&Code] = &[
    UNDECLARED,
    UNUSED_NETWORK,
    NO_CONTENT,
    OTHERS_DECIDE,
    OLD_NAME,
    LEFT_OUT,
    UNKNOWN_PROFILE,
    NO_SUCH_SERVICE,
    RING,
    INCLUDED_TWICE,
    UNREADABLE,
    FILE_SIZE,
    ENV_LINE,
    QUOTES_KEPT,
    LEADS_BACK,
    KEY_WITHOUT_EFFECT,
    VALUE_WITHOUT_EFFECT,
    IGNORED_KEY,
    OVERRULED,
    OPEN_ON_ALL,
];
