//! What a container shares with its node.

use super::Maker;
use crate::codes;
use crate::model;
use crate::tree::Step;
use skep_types::{ContainerSpec, Ipc};

impl Maker<'_> {
    /// Puts what the service asks for into its container.
    pub(super) fn isolation(
        &mut self,
        key: &str,
        service: &model::Service,
        container: &mut ContainerSpec,
    ) {
        container.host_pid = self.is_host(key, "pid", &service.pid);
        container.host_uts = self.is_host(key, "uts", &service.uts);
        container.ipc = match service.ipc.as_str() {
            "" | "private" | "shareable" => Ipc::Private,
            "none" => Ipc::NoShm,
            "host" => Ipc::Host,
            other => {
                self.not_shared(key, "ipc", other, "write host, none, private or shareable");
                Ipc::Private
            }
        };
        if container.host_uts && !service.hostname.is_empty() {
            let path = [Step::Key("services"), Step::Key(key), Step::Key("hostname")];
            let message = "`hostname` and `uts: host` exclude each other";
            let help = "remove `hostname` to have the name of the node, or `uts`";
            self.error_help(codes::EXCLUSIVE, &path, message, help);
        }
        for name in service.sysctls.keys() {
            if container.owns_sysctl(name) {
                continue;
            }
            let path = [
                Step::Key("services"),
                Step::Key(key),
                Step::Key("sysctls"),
                Step::Key(name),
            ];
            let message = format!("{name} is a setting of the node, not of the container");
            let help = "set it on the nodes, with sysctl";
            self.error_help(codes::NOT_SUPPORTED, &path, message, help);
        }
    }

    fn is_host(&mut self, key: &str, last: &str, text: &str) -> bool {
        if !matches!(text, "" | "host" | "private") {
            self.not_shared(key, last, text, "write host, or leave it out");
        }
        text == "host"
    }

    /// Of another container, say.
    fn not_shared(&mut self, key: &str, last: &str, text: &str, help: &str) {
        let path = [Step::Key("services"), Step::Key(key), Step::Key(last)];
        let namespace = last.to_ascii_uppercase();
        let message = format!("{text} has no effect: every task has its own {namespace} namespace");
        self.warn_help(codes::VALUE_WITHOUT_EFFECT, &path, message, help);
    }
}
