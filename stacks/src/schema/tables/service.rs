//! The keys of a service.

use super::aside::{
    BLKIO, BUILD, CREDENTIAL_SPEC, DEPENDENCY, DEVELOP, DEVICE, DEVICE_REQUEST, HOOK,
};
use super::deploy::DEPLOY;
use super::parts::{
    ENV_FILE, EXTENDS, FILE_REFERENCE, HEALTHCHECK, LOGGING, PORT, READINESS, SERVICE_NETWORK,
    SERVICE_VOLUME, ULIMIT,
};
use super::{OPTIONS, Object, PAIRS, SCALAR, Shape, TEXT_OR_LIST, TEXTS, WORDS, key, object};
use Shape::{Any, Bool, Dict, Duration, Int, List, Names, Null, Number, OneOf, Set, Text};

pub(super) static SERVICE: Object = object(
    "a service",
    &[
        key("annotations", PAIRS, "Labels for the runtime of containers")
            .spec()
            .none("use `labels`"),
        key("attach", Bool, "The command shows its output")
            .spec()
            .none("output is shown by `service logs`"),
        key("blkio_config", Shape::Object(&BLKIO), "Limits of disks")
            .spec()
            .none("disks are not limited"),
        key(
            "build",
            OneOf(&[Text, Shape::Object(&BUILD)]),
            "How the image is built",
        )
        .none("build the image before deploying, and push it where the nodes can pull it"),
        key("cap_add", TEXTS, "Capabilities beyond the usual ones"),
        key("cap_drop", TEXTS, "Capabilities that are taken away"),
        key("cgroup", Text, "Cgroup namespace")
            .spec()
            .none_but(&["private"], "every task has its own cgroup namespace"),
        key("cgroup_parent", Text, "The cgroup above that of the container")
            .none("cgroups of tasks belong to skep"),
        key("cgroupns_mode", Text, "Cgroup namespace")
            .since(9)
            .none_but(&["private"], "every task has its own cgroup namespace"),
        key("command", WORDS, "What runs, instead of what the image says"),
        key(
            "configs",
            List(&OneOf(&[Text, Shape::Object(&FILE_REFERENCE)])),
            "Configs that are files in the container",
        )
        .since(3),
        key("container_name", Text, "The name of the container")
            .none("a service may have many containers; they are named after their task"),
        key("cpu_count", Int, "CPUs, on Windows")
            .spec()
            .none("set deploy.resources.limits.cpus"),
        key("cpu_percent", Number, "Part of the CPUs, on Windows")
            .spec()
            .none("set deploy.resources.limits.cpus"),
        key("cpu_period", SCALAR, "Length of a period of the scheduler")
            .spec()
            .none("set deploy.resources.limits.cpus"),
        key("cpu_quota", SCALAR, "CPU time in a period")
            .spec()
            .none("set deploy.resources.limits.cpus"),
        key("cpu_rt_period", SCALAR, "Length of a real-time period")
            .spec()
            .none("tasks have no real-time share"),
        key("cpu_rt_runtime", SCALAR, "Real-time share in a period")
            .spec()
            .none("tasks have no real-time share"),
        key("cpu_shares", SCALAR, "Weight among containers")
            .spec()
            .none("set deploy.resources.reservations.cpus"),
        key(
            "cpus",
            SCALAR,
            "The CPUs that it may use; as deploy.resources.limits.cpus",
        )
        .spec(),
        key("cpuset", Text, "The CPUs that it runs on")
            .spec()
            .none("set deploy.resources.limits.cpus"),
        key(
            "credential_spec",
            Shape::Object(&CREDENTIAL_SPEC),
            "Credentials on Windows",
        )
        .since(3)
        .none("it is for Windows containers"),
        key(
            "depends_on",
            OneOf(&[TEXTS, Names(&Shape::Object(&DEPENDENCY))]),
            "Services that are there first",
        ),
        key(
            "deploy",
            OneOf(&[Shape::Object(&DEPLOY), Null]),
            "How and where it runs",
        ),
        key(
            "develop",
            OneOf(&[Shape::Object(&DEVELOP), Null]),
            "What follows a change of the sources",
        )
        .spec()
        .none("it is for the machine that the image is built on"),
        key("device_cgroup_rules", TEXTS, "Further devices that may be used").spec(),
        key(
            "devices",
            Set(&OneOf(&[Text, Shape::Object(&DEVICE)])),
            "Devices of the node",
        ),
        key("dns", TEXT_OR_LIST, "Name servers"),
        key("dns_opt", TEXTS, "Options of the resolver").spec(),
        key("dns_search", TEXT_OR_LIST, "Domains that names are looked up in"),
        key("dockerfile", Any, "How the image is built")
            .old("build the image before deploying, and name it with `image`"),
        key("domainname", Text, "The domain of the container")
            .none("set `hostname` to the full name"),
        key("entrypoint", WORDS, "What runs, before the command"),
        key(
            "env_file",
            OneOf(&[Text, Set(&OneOf(&[Text, Shape::Object(&ENV_FILE)]))]),
            "Files with variables; one that is only named is read as it stands",
        ),
        key("environment", PAIRS, "Variables"),
        key("expose", Set(&SCALAR), "Ports that others may use")
            .none("services on the same network reach each other on any port"),
        key(
            "extends",
            OneOf(&[Text, Shape::Object(&EXTENDS), Null]),
            "Another service that this one begins with",
        )
        .spec(),
        key("external_links", TEXTS, "Containers outside of the stack")
            .none("put both services on the same network"),
        key(
            "extra_hosts",
            OneOf(&[Dict(&OneOf(&[Text, List(&Text)])), TEXTS]),
            "Lines of /etc/hosts",
        ),
        key(
            "gpus",
            OneOf(&[Text, Int, List(&Shape::Object(&DEVICE_REQUEST))]),
            "GPUs",
        )
        .spec()
        .none("let the nodes name what they have, and reserve it under `generic_resources`"),
        key("group_add", Set(&SCALAR), "More groups of the user, by name or number").spec(),
        key(
            "healthcheck",
            Shape::Object(&HEALTHCHECK),
            "Whether the container works",
        ),
        key("hostname", Text, "The host name in the container"),
        key("image", Text, "The image"),
        key("init", Bool, "A first process that hands signals on, and reaps others").since(7),
        key("ipc", Text, "IPC namespace").partly("with private, shareable, none and host"),
        key("isolation", Text, "How containers are apart, on Windows")
            .since(5)
            .none_but(&["default"], "it is for Windows containers"),
        key(
            "label_file",
            TEXT_OR_LIST,
            "Files with labels, read as .env files are; `labels` wins",
        )
        .spec(),
        key("labels", PAIRS, "Labels of the containers"),
        key("links", TEXTS, "Services that are reached").none(
            "services on the same network reach each other by name; use `aliases` for more names",
        ),
        key("logging", Shape::Object(&LOGGING), "Where output goes"),
        key("mac_address", Text, "The hardware address").none("addresses are given by skep"),
        key(
            "mem_limit",
            SCALAR,
            "The memory that it may use; as deploy.resources.limits.memory",
        )
        .spec(),
        key(
            "mem_reservation",
            SCALAR,
            "The memory that is kept free for it; as deploy.resources.reservations.memory",
        )
        .spec(),
        key("mem_swappiness", Int, "How readily its memory is swapped out")
            .spec()
            .none("the node decides about swapping"),
        key("memswap_limit", SCALAR, "Memory and swap that it may use")
            .spec()
            .none("set deploy.resources.limits.memory"),
        key("models", Any, "Language models that it uses")
            .spec()
            .refused("run the model as a service of its own"),
        key("net", Any, "Its network").old("use `networks`"),
        key("network_mode", Text, "The network namespace").none("name the networks under `networks`"),
        key(
            "networks",
            OneOf(&[
                Names(&OneOf(&[Shape::Object(&SERVICE_NETWORK), Null])),
                TEXTS,
            ]),
            "Networks that it is on; `default` without the key",
        ),
        key("oom_kill_disable", Bool, "It is not ended when memory is short")
            .spec()
            .none("set oom_score_adj"),
        key("oom_score_adj", Int, "How soon it is ended when memory is short").since(13),
        key("pid", OneOf(&[Text, Null]), "PID namespace").partly("with host"),
        key(
            "pids_limit",
            Int,
            "Processes that it may have; as deploy.resources.limits.pids",
        )
        .spec(),
        key(
            "platform",
            Text,
            "What the image runs on; as deploy.placement.x-platforms",
        )
        .spec(),
        key(
            "ports",
            Set(&OneOf(&[Text, Number, Shape::Object(&PORT)])),
            "Ports that are published",
        ),
        key(
            "post_start",
            List(&Shape::Object(&HOOK)),
            "Commands that follow the start",
        )
        .spec()
        .none("let the program do it when it starts"),
        key(
            "pre_stop",
            List(&Shape::Object(&HOOK)),
            "Commands before the end",
        )
        .spec()
        .none("let the program do it when it is told to stop"),
        key("privileged", Bool, "All that the node may do"),
        key("profiles", TEXTS, "It is there only when one of these is asked for").spec(),
        key("provider", Any, "A program that stands for the service")
            .spec()
            .refused("run what it provides as a service, or outside of the stack"),
        key("pull_policy", Text, "When the image is pulled")
            .spec()
            .none_but(
                &["missing", "if_not_present"],
                "a node pulls an image that it does not have; name a digest or a new tag for a new one",
            ),
        key("pull_refresh_after", Text, "How old an image may be")
            .spec()
            .none("name a digest or a new tag for a new image"),
        key("read_only", Bool, "Nothing can be written in the container"),
        key("restart", Text, "What follows the end of a container")
            .partly("unless deploy.restart_policy is there, which wins"),
        key("runtime", Text, "What runs containers")
            .spec()
            .none("skep runs containers itself"),
        key("scale", Int, "How many containers run; as deploy.replicas").spec(),
        key(
            "secrets",
            List(&OneOf(&[Text, Shape::Object(&FILE_REFERENCE)])),
            "Secrets that are files in the container",
        )
        .since(1),
        key("security_opt", TEXTS, "What is forbidden or allowed beyond the usual")
            .partly("with no-new-privileges, and with unconfined for seccomp and systempaths"),
        key("shm_size", SCALAR, "Size of /dev/shm"),
        key("stdin_open", Bool, "Standard input stays open"),
        key("stop_grace_period", Duration, "How long it has to stop"),
        key("stop_signal", Text, "How it is told to stop"),
        key("storage_opt", OPTIONS, "Options of what keeps the container's files")
            .spec()
            .none("what a container writes is not limited"),
        key("sysctls", PAIRS, "Settings of the kernel"),
        key("tmpfs", TEXT_OR_LIST, "Directories in memory")
            .partly("with size, mode, ro and rw; other options have no effect"),
        key("tty", Bool, "It has a terminal"),
        key(
            "ulimits",
            Dict(&OneOf(&[Int, Shape::Object(&ULIMIT)])),
            "Limits of its processes",
        ),
        key("use_api_socket", Bool, "It may use the socket of the node")
            .spec()
            .none("bind the socket under `volumes`"),
        key("user", Text, "Who runs it"),
        key("userns_mode", Text, "User namespace")
            .none_but(&["host"], "it cannot be chosen for a task"),
        key("uts", Text, "UTS namespace").spec().partly("with host"),
        key("volume_driver", Any, "The driver of its volumes")
            .old("declare the volume under the top-level `volumes` with its `driver`"),
        key(
            "volumes",
            List(&OneOf(&[Text, Shape::Object(&SERVICE_VOLUME)])),
            "What is mounted",
        ),
        key("volumes_from", Any, "What another service mounts")
            .spec()
            .refused("declare the volume under the top-level `volumes` and name it in each service"),
        key("working_dir", Text, "Where it runs"),
        key(
            "x-readiness",
            Shape::Object(&READINESS),
            "Whether a task takes traffic",
        )
        .ours(),
        key(
            "x-shutdown-delay",
            Duration,
            "How long a task that is to stop still serves",
        )
        .ours(),
    ],
);
