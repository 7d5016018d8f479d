//! SK01, YAML as such, and SK02, variables.

use super::{Code, code};

pub(crate) const NOT_YAML: &Code = &code(
    "SK0101",
    "this is not YAML",
    "The file cannot be read as YAML, so nothing is known of what comes after. The reader sees \
     a mistake only where it no longer can go on: look at the line that is named and at the one \
     above it. Most often a quote is not closed, a line is indented differently from its \
     neighbours, or a colon has no blank after it.",
)
.example(
    "services:\n  web:\n    image: nginx\n   ports: [\"80:80\"]",
    "services:\n  web:\n    image: nginx\n    ports: [\"80:80\"]",
);

pub(crate) const TAB: &Code = &code(
    "SK0102",
    "a line is indented with a tab",
    "YAML is indented with blanks, because nobody can say how wide a tab is. Replace the tabs, \
     and let the editor write blanks in YAML files.",
);

pub(crate) const TOO_LARGE: &Code = &code(
    "SK0103",
    "the file is too large or too deep",
    "A stack file may have 4 MiB, 100 levels and keys of 1 KiB; all files of a stack together \
     200,000 values and 16 MiB after their aliases are written out, and 5,000 services. Files \
     that written out are that large are nearly always a mistake or an attack. Make several \
     stacks of it, or take the aliases of aliases out.",
);

pub(crate) const DUPLICATE_KEY: &Code = &code(
    "SK0104",
    "a key is given twice",
    "In one map a key stands once. Of two, one would be lost without a word, so neither is \
     taken. Remove one of them, or join what stands below them.",
)
.example(
    "web:\n  environment: {A: 1}\n  image: nginx\n  environment: {B: 2}",
    "web:\n  environment: {A: 1, B: 2}\n  image: nginx",
);

pub(crate) const KEY_NOT_TEXT: &Code = &code(
    "SK0105",
    "a key is not text",
    "Keys of a stack file are text. A number, true, false or null without quotes is not, nor is \
     a list or a map. Put the key in quotes; a text that begins with `{` or `[` needs them too.",
)
.example("labels:\n  80: web", "labels:\n  \"80\": web");

pub(crate) const BAD_ALIAS: &Code = &code(
    "SK0106",
    "an alias or a merge key cannot be followed",
    "`*name` stands for what `&name` marks earlier in the same file, and `<<` takes a map, or a \
     list of maps, into the one it stands in. An anchor cannot contain itself, and a text \
     cannot be merged into a map.",
)
.example(
    "x-web: &web [nginx]\nservices:\n  a:\n    <<: *web",
    "x-web: &web {image: nginx}\nservices:\n  a:\n    <<: *web",
);

pub(crate) const TAG: &Code = &code(
    "SK0107",
    "a YAML tag without meaning here",
    "A tag such as `!!binary` or `!mine` says how a value is to be read. Stack files know \
     `!!str`, `!!int`, `!!float`, `!!bool` and `!!null`, and in files that are merged `!reset` \
     and `!override`. Types of YAML that are not known are errors; tags of other programs are \
     ignored with a warning.",
);

pub(crate) const MORE_DOCUMENTS: &Code = &code(
    "SK0108",
    "only the first document of a file is read",
    "A line `---` begins another document in the same file. A stack file has one, so what \
     follows is not read. Remove it, or give it as a file of its own with a second `-c`.",
);

pub(crate) const MARK_IN_LIST: &Code = &code(
    "SK0109",
    "an item of a list cannot be reset or overridden",
    "`!reset` and `!override` say what of the files before this one is to go. Items of lists \
     have no name by which they could be found there. Mark the whole list, and write again what \
     is to stay of it.",
)
.example(
    "ports:\n  - !override \"8080:80\"",
    "ports: !override\n  - \"8080:80\"",
);

pub(crate) const UNSET_VARIABLE: &Code = &code(
    "SK0201",
    "a variable is not set",
    "The file uses a variable of the environment that is not there; an empty text stands in its \
     place. Set it, give it a default with `${NAME:-default}`, or demand it with \
     `${NAME:?message}`. A dollar sign that begins no variable is written `$$`.",
)
.example("image: web:$TAG", "image: web:${TAG:-latest}");

pub(crate) const REQUIRED_VARIABLE: &Code = &code(
    "SK0202",
    "a required variable is missing",
    "The file demands the variable with `${NAME:?message}` or `${NAME?message}`, and the \
     environment does not have it, or has it empty. Set it before the command: \
     `NAME=value skep stack deploy ...`.",
);

pub(crate) const NOT_A_VARIABLE: &Code = &code(
    "SK0203",
    "a dollar sign begins no variable",
    "After `$` stands a name, or a form in braces: `${V}`, `${V:-default}`, `${V-default}`, \
     `${V:?error}`, `${V?error}`, `${V:+instead}`, `${V+instead}`. For a plain dollar sign, as \
     in a password hash or a line for the shell, write `$$`.",
)
.example("command: echo $1", "command: echo $$1");

pub(crate) const VARIABLES_TOO_LARGE: &Code = &code(
    "SK0204",
    "variables make too much of the file",
    "Defaults may be nested 20 levels deep, and with all variables replaced a stack may have 16 \
     MiB of text. More is a mistake. Look at the variable that is named: perhaps a whole file \
     was put into it.",
);

pub(crate) const EMPTY_REPLACED: &Code = &code(
    "SK0205",
    "an empty value is replaced by the environment",
    "A variable of a service without a value takes that of your own environment, as with the \
     Docker CLI. The same happens to an empty value, which you may have meant. Unset the \
     variable where you deploy to keep it empty.",
);

pub(super) const ALL: &[&Code] = &[
    NOT_YAML,
    TAB,
    TOO_LARGE,
    DUPLICATE_KEY,
    KEY_NOT_TEXT,
    BAD_ALIAS,
    TAG,
    MORE_DOCUMENTS,
    MARK_IN_LIST,
    UNSET_VARIABLE,
    REQUIRED_VARIABLE,
    NOT_A_VARIABLE,
    VARIABLES_TOO_LARGE,
    EMPTY_REPLACED,
];
