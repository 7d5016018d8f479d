//! Health and readiness checks.

use super::Maker;
use crate::codes;
use crate::model::{self, Nanos};
use crate::tree::Step;
use skep_types::{HealthCheck, HealthTest};

impl Maker<'_> {
    /// The check in `section` of the service `key`.
    pub(super) fn check(
        &mut self,
        key: &str,
        section: &str,
        check: Option<&model::HealthCheck>,
    ) -> Option<HealthCheck> {
        let check = check?;
        let at = |last| {
            [
                Step::Key("services"),
                Step::Key(key),
                Step::Key(section),
                Step::Key(last),
            ]
        };
        if check.disable {
            if !check.test.is_empty() {
                let message = "`disable` and `test` exclude each other";
                self.error_help(
                    codes::EXCLUSIVE,
                    &at("disable"),
                    message,
                    "remove one of them",
                );
            }
            return Some(HealthCheck {
                test: HealthTest::Disabled,
                ..HealthCheck::default()
            });
        }
        let test = test(&check.test).and_then(|test| match test {
            HealthTest::Inherit | HealthTest::Disabled if section == "x-readiness" => Err((
                "a readiness check has a test; no image has one".to_owned(),
                "write one, or remove the section",
            )),
            test => Ok(test),
        });
        let test = test.unwrap_or_else(|(message, help)| {
            self.error_help(codes::CHECK, &at("test"), message, help);
            HealthTest::Inherit
        });
        let least = match section {
            "x-readiness" => HealthCheck::READINESS_MIN,
            _ => HealthCheck::MIN,
        };
        let mut time = |last, value: Option<Nanos>| {
            // Zero means: as the image says.
            let given = value.filter(|v| *v != Nanos::default())?;
            let time = self.duration(&at(last), given);
            if last != "start_period" && !time.is_zero() && time < least {
                let message = format!("{time:?} is too short; at least {least:?}");
                self.error(codes::OUT_OF_RANGE, &at(last), message);
            }
            Some(time)
        };
        let interval = time("interval", check.interval);
        let timeout = time("timeout", check.timeout);
        let start_period = time("start_period", check.start_period);
        let start_interval = time("start_interval", check.start_interval);
        Some(HealthCheck {
            test,
            interval,
            timeout,
            retries: check
                .retries
                .filter(|n| *n != 0)
                .map(|n| self.number(&at("retries"), n, 0, i64::from(u32::MAX))),
            start_period,
            start_interval,
        })
    }
}

/// Reads a test; the message and the help when it is none.
fn test(words: &[String]) -> Result<HealthTest, (String, &'static str)> {
    let asked = |test: Result<HealthTest, String>| {
        let help = "write [\"HTTP\", \"8080/path\"] or [\"TCP\", \"8080\"]";
        test.map_err(|wrong| (wrong, help))
    };
    let split = words
        .split_first()
        .map(|(kind, rest)| (kind.as_str(), rest));
    Ok(match split {
        None => HealthTest::Inherit,
        Some(("NONE", [])) => HealthTest::Disabled,
        Some(("CMD", command)) if !command.is_empty() => HealthTest::Command(command.to_vec()),
        Some(("CMD-SHELL", [line])) => HealthTest::Shell(line.clone()),
        Some(("HTTP", [place])) => asked(HealthTest::http(place))?,
        Some(("TCP", [port])) => asked(HealthTest::tcp(port))?,
        Some(_) => {
            let message = "a test in a list begins with CMD, CMD-SHELL (and one line), HTTP (and \
                           port/path), TCP (and a port) or NONE";
            let help = "write [\"CMD\", \"program\", \"argument\"], or the line as text";
            return Err((message.to_owned(), help));
        }
    })
}
