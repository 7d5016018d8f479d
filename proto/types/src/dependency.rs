//! What a service waits for before its tasks start.

/// A service that has to be there first. It holds up first starts and the beginning of
/// updates, never what replaces a task that ran: a database that died is no reason to
/// keep those down that can wait for it themselves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dependency {
    /// The name of the service, which may not exist yet.
    pub service: String,
    /// What has to be true of it.
    pub condition: DependencyCondition,
    /// Nothing waits for it while no service has that name.
    pub optional: bool,
}

/// What has to be true of a service that others wait for, at its present template.
/// The names are those of the Compose Specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum DependencyCondition {
    /// `service_started`: a task of it has been started.
    #[default]
    Started,
    /// `service_healthy`: a task of it takes traffic.
    Healthy,
    /// `service_completed_successfully`: all of its tasks, or its newest run, have ended
    /// well.
    Completed,
}

impl Dependency {
    /// Most of one service.
    pub const MOST: usize = 64;

    /// In words, how the services of a ring wait for each other; of a long one its beginning.
    pub fn ring_text(ring: &[impl AsRef<str>]) -> String {
        const TOLD: usize = 8;
        let told: Vec<&str> = ring.iter().take(TOLD).map(AsRef::as_ref).collect();
        let more = if ring.len() > TOLD { " …" } else { "" };
        format!("{}{more}", told.join(" waits for "))
    }
}

impl DependencyCondition {
    /// All of them, with their names in stack files.
    pub const NAMES: [(DependencyCondition, &'static str); 3] = [
        (DependencyCondition::Started, "service_started"),
        (DependencyCondition::Healthy, "service_healthy"),
        (
            DependencyCondition::Completed,
            "service_completed_successfully",
        ),
    ];

    /// The name in stack files.
    pub fn name(self) -> &'static str {
        match self {
            DependencyCondition::Started => Self::NAMES[0].1,
            DependencyCondition::Healthy => Self::NAMES[1].1,
            DependencyCondition::Completed => Self::NAMES[2].1,
        }
    }
}
