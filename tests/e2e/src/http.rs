//! HTTP from a place in the cluster's network.

use crate::cluster::Cluster;
use crate::command;
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

/// Where a request starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The outside world: a client of the cluster.
    Outside,
    /// A host, by its number.
    Host(usize),
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Body.
    pub body: String,
}

impl Response {
    /// The body as JSON.
    ///
    /// # Errors
    /// The body, when it is none.
    pub fn json(&self) -> Result<Value, String> {
        serde_json::from_str(&self.body).map_err(|error| format!("{error} in {:?}", self.body))
    }
}

impl Cluster {
    /// One GET, over a new connection, within five seconds.
    ///
    /// # Errors
    /// What curl says when there was no answer, or the answer when its status is
    /// not 200.
    pub fn get(&self, from: From, url: &str) -> Result<Response, String> {
        self.get_within(from, url, 5.0)
    }

    /// [`Cluster::get`] with so many seconds for the answer.
    ///
    /// # Errors
    /// As [`Cluster::get`].
    pub fn get_within(&self, from: From, url: &str, seconds: f32) -> Result<Response, String> {
        self.curl(from, &["-m", &seconds.to_string(), url])
    }

    /// One vote of `voter` for `choice` at a node.
    ///
    /// # Errors
    /// As [`Cluster::get`].
    pub fn vote(&self, from: From, node: usize, voter: &str, choice: char) -> Result<(), String> {
        let url = format!("http://{}:8080/", self.address(node));
        let cookie = format!("voter_id={voter}");
        let form = format!("vote={choice}");
        self.curl(from, &["-b", &cookie, "-d", &form, &url])
            .map(drop)
    }

    fn curl(&self, from: From, arguments: &[&str]) -> Result<Response, String> {
        let short = match from {
            From::Outside => "net".to_owned(),
            From::Host(host) => format!("h{host}"),
        };
        // nsenter alone, and not `hosts exec`: a request measures the cluster, and
        // not how long Python takes to start.
        let mut curl = Command::new("nsenter");
        curl.arg(format!("--net=/run/netns/skep-{}-{short}", self.prefix()))
            .args(["curl", "-sS", "-m", "5", "-w", "\n%{http_code}"])
            .args(arguments);
        let text = command::run(&mut curl, Duration::from_secs(10)).checked()?;
        let (body, status) = text.rsplit_once('\n').unwrap_or_default();
        let answer = Response {
            status: status.parse().unwrap_or_default(),
            body: body.to_owned(),
        };
        if answer.status == 200 {
            Ok(answer)
        } else {
            Err(format!("{arguments:?}: {answer:?}"))
        }
    }
}
