//! Delivery: sessions of agents, what each is told, what they answer.

pub(crate) mod assignments;
pub(crate) mod logs;
pub(crate) mod sessions;
pub(crate) mod statuses;
