//! Values that are understood and not honoured, and those that no node could read,
//! each named with its place.
//!
//! Owns where a file has them; what is to be said about each is `effect`'s. Whole
//! keys without effect are in the tables of `schema`; these can only be judged in the
//! normal form.

use super::Maker;
use crate::codes;
use crate::diagnostic::Severity;
use crate::effect::{self, Finding};
use crate::model::{self, Logging, Pairs};
use crate::tree::Step;

/// `more` below `base`.
fn down<'a>(base: &[Step<'a>], more: &[Step<'a>]) -> Vec<Step<'a>> {
    [base, more].concat()
}

impl Maker<'_> {
    /// Warns of every value of the file that has no effect.
    pub(super) fn ignored(&mut self) {
        let file = self.file;
        for (key, service) in file.services.iter() {
            let base = [Step::Key("services"), Step::Key(key)];
            if let Some(logging) = &service.logging {
                self.ignored_logging(&base, logging);
            }
            self.template(&base, "hostname", &service.hostname);
            for (name, value) in service.environment.iter() {
                let path = down(&base, &[Step::Key("environment")]);
                self.template(&path, name, value.as_deref().unwrap_or_default());
            }
            for (index, mount) in service.volumes.iter().enumerate() {
                let path = [base[0], base[1], Step::Key("volumes"), Step::Index(index)];
                self.ignored_mount(&path, mount);
            }
        }
        for (key, volume) in file.volumes.iter() {
            let base = [Step::Key("volumes"), Step::Key(key)];
            if !volume.external {
                self.volume_driver(&base, volume);
            }
            self.template(&base, "name", &volume.name);
            self.templates(&base, "labels", &volume.labels);
        }
    }

    /// A volume without its driver would be another, empty one. So no node runs what uses it.
    fn volume_driver(&mut self, base: &[Step<'_>], volume: &model::Volume) {
        let help = "what uses it waits; use a volume of the local driver without options, or a \
                    bind mount of a directory that every node has";
        if !matches!(volume.driver.as_str(), "" | "local") {
            let message = format!("no node has the volume driver {} yet", volume.driver);
            self.warn_help(
                codes::NOT_SUPPORTED,
                &down(base, &[Step::Key("driver")]),
                message,
                help,
            );
        } else if !volume.driver_opts.0.is_empty() {
            let path = down(base, &[Step::Key("driver_opts")]);
            let message = "no node has options of volumes yet";
            self.warn_help(codes::NOT_SUPPORTED, &path, message, help);
        }
    }

    fn ignored_logging(&mut self, base: &[Step<'_>], logging: &Logging) {
        let base = down(base, &[Step::Key("logging")]);
        if let Some(unknown) = effect::log_driver(&logging.driver) {
            self.found(&down(&base, &[Step::Key("driver")]), Some(unknown));
            return;
        }
        for (name, value) in logging.options.iter() {
            let path = down(&base, &[Step::Key("options"), Step::Key(name)]);
            self.found(&path, effect::log_option(name, value));
        }
    }

    fn ignored_mount(&mut self, base: &[Step<'_>], mount: &model::Mount) {
        self.template(base, "source", &mount.source);
        self.template(base, "target", &mount.target);
        if let Some(bind) = &mount.bind {
            let path = down(base, &[Step::Key("bind"), Step::Key("propagation")]);
            self.found(&path, effect::propagation(&bind.propagation));
        }
    }

    fn templates(&mut self, base: &[Step<'_>], key: &str, pairs: &Pairs) {
        let path = down(base, &[Step::Key(key)]);
        for (name, value) in pairs.iter() {
            self.template(&path, name, value);
        }
    }

    fn template(&mut self, base: &[Step<'_>], key: &str, text: &str) {
        self.found(&down(base, &[Step::Key(key)]), effect::template(text));
    }

    fn found(&mut self, path: &[Step<'_>], finding: Option<Finding>) {
        let Some(finding) = finding else {
            return;
        };
        match finding.severity {
            Severity::Error => self.error_help(finding.code, path, finding.message, finding.help),
            Severity::Warning => self.warn_help(finding.code, path, finding.message, finding.help),
        }
    }
}
