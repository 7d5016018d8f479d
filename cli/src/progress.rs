//! Waiting for services: reads the swarm again on each event (and every second
//! anyway), shows how far it is, and ends honestly: converged, failed, out of
//! time, or left to itself by Ctrl-C.
//!
//! What a view says of a service is `assess`'s, when that is an end is
//! `judge`'s, how it looks is `render`'s and `screen`'s.

mod assess;
mod board;
mod gate;
mod job;
mod judge;
mod render;
mod screen;
#[cfg(test)]
mod tests;

use crate::client::Client;
use crate::error::{CliError, is_passing};
use crate::output::{note, now_ms};
use crate::style::stdout_draws;
use anyhow::{Error, Result, anyhow};
pub use assess::{Report, assess, assess_run, attempt, short_name};
pub use board::{Board, Line};
use judge::{Judge, Verdict};
use screen::Screen;
use skep_proto::{id_bytes, pb};
use skep_types::ServiceId;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How to wait.
#[derive(Debug, Clone, Copy, Default)]
pub struct Waiting<'a> {
    /// Show nothing on the way.
    pub quiet: bool,
    /// Give up after this long.
    pub timeout: Option<Duration>,
    /// Going back to the previous spec is what was asked for.
    pub rollback: bool,
    /// Services that are as they were: that they were rolled back before is no news.
    pub unchanged: &'a [ServiceId],
    /// The stack that all of them are.
    pub stack: Option<&'a str>,
    /// A run of a job is what is waited for, also of one that runs by a schedule.
    pub run: bool,
    /// Progress goes to standard error when nobody watches standard output:
    /// that is for the id alone, then.
    pub spare_stdout: bool,
}

/// Reads again at least this often.
const PERIOD: Duration = Duration::from_secs(1);
/// Events come in bursts; one read serves all of one.
const BURST: Duration = Duration::from_millis(20);

/// Waits until the services have converged.
///
/// # Errors
/// When they cannot, with what their tasks say; when time runs out; when the
/// user presses Ctrl-C.
pub async fn wait(
    client: &Client,
    services: &[(ServiceId, String)],
    how: Waiting<'_>,
) -> Result<()> {
    if services.is_empty() {
        return Ok(());
    }
    let mut interrupt = signal(SignalKind::interrupt())?;
    let deadline = how.timeout.map(|timeout| Instant::now() + timeout);
    let cut = async {
        tokio::select! {
            _ = interrupt.recv() => Cut::ByUser,
            () = until(deadline) => Cut::ByTime(how.timeout.unwrap_or_default()),
        }
    };
    tokio::pin!(cut);
    let mut events = watch(client);
    let ids: Vec<ServiceId> = services.iter().map(|(id, _)| *id).collect();
    let leave = |cut, judge: &Judge, mut screen: Screen| {
        screen.end()?;
        Err(left(cut, services, how.stack, judge))
    };
    let mut judge = Judge::new(&ids, |id| how.rollback || how.unchanged.contains(&id));
    let mut screen = match (how.quiet, stdout_draws()) {
        (true, _) => Screen::none(),
        (false, true) => Screen::live(),
        (false, false) => Screen::plain(how.spare_stdout),
    };
    let request = pb::ReadRequest {
        nodes: true,
        services: true,
        tasks: true,
        task_services: ids.iter().map(|id| id_bytes(*id)).collect(),
        ..Default::default()
    };
    let mut patience = Patience::default();
    loop {
        // A daemon that hangs must not keep the user.
        let read = tokio::select! {
            read = client.read_now(request.clone()) => read,
            cut = &mut cut => return leave(cut, &judge, screen),
        };
        match read {
            Ok(view) => {
                patience.renew();
                let reports: Vec<_> = services
                    .iter()
                    .map(|(id, name)| match how.run {
                        true => assess_run(&view, *id, name),
                        false => assess::assess(&view, *id, name),
                    })
                    .collect();
                let verdict = judge.look(&reports, Instant::now().into_std(), now_ms());
                screen.show(&reports, &judge)?;
                let ended = match verdict {
                    Verdict::GoOn => None,
                    Verdict::Converged => Some(Ok(())),
                    Verdict::RolledBack(why) => Some(Err(CliError::RolledBack(why).into())),
                    Verdict::Failed(why) => Some(Err(anyhow!(why))),
                };
                if let Some(ended) = ended {
                    screen.end()?;
                    return ended;
                }
            }
            Err(error) => {
                if let Err(error) = patience.bear(error) {
                    screen.end()?;
                    return Err(error);
                }
            }
        }
        tokio::select! {
            cut = &mut cut => return leave(cut, &judge, screen),
            () = next(&mut events) => {}
        }
    }
}

/// Why waiting ends before it is over.
enum Cut {
    /// By Ctrl-C.
    ByUser,
    /// After the time there was.
    ByTime(Duration),
}

/// What is to be said of services that are left to themselves.
fn left(cut: Cut, services: &[(ServiceId, String)], stack: Option<&str>, judge: &Judge) -> Error {
    let unfinished = judge.unfinished();
    match cut {
        Cut::ByUser => {
            for line in going_on(services, stack, &unfinished) {
                note!("{line}");
            }
            CliError::Interrupted.into()
        }
        Cut::ByTime(timeout) => {
            let unfinished = match unfinished.is_empty() {
                true => "the daemon has not answered yet".to_owned(),
                false => unfinished.join("; "),
            };
            let text = format!(
                "timed out after {timeout:?}: {unfinished}; the operation continues in background"
            );
            CliError::TimedOut(text).into()
        }
    }
}

/// What goes on without us, and where to look.
fn going_on(
    services: &[(ServiceId, String)],
    stack: Option<&str>,
    unfinished: &[String],
) -> Vec<String> {
    let mut lines = vec!["Operation continuing in background.".to_owned()];
    // Of one its user has just seen how far it is.
    if services.len() > 1 {
        lines.extend(unfinished.iter().map(|line| format!("  {line}")));
    }
    let look = match stack {
        Some(stack) => format!("stack ps {stack}"),
        None => {
            let names: Vec<&str> = services.iter().map(|(_, name)| name.as_str()).collect();
            format!("service ps {}", names.join(" "))
        }
    };
    lines.push(format!("Use `skep {look}` to check progress."));
    lines
}

/// How long a swarm may be without a leader, or the daemon's connection broken,
/// while somebody waits.
const TROUBLE: Duration = Duration::from_secs(15);

/// Patience with trouble that passes: a manager that goes away in the middle is given time
/// to be followed.
#[derive(Debug, Default)]
pub struct Patience {
    since: Option<Instant>,
}

impl Patience {
    /// All is well.
    pub fn renew(&mut self) {
        self.since = None;
    }

    /// Takes an error that may pass.
    ///
    /// # Errors
    /// It does not pass, or has lasted for too long.
    pub fn bear(&mut self, error: Error) -> Result<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        match is_passing(&error) && since.elapsed() <= TROUBLE {
            true => Ok(()),
            false => Err(error),
        }
    }
}

/// Sleeps until then; for ever where there is no such time.
pub async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Waits for something to happen, at most one period.
pub async fn next(events: &mut mpsc::Receiver<()>) {
    if let Ok(Some(())) = tokio::time::timeout(PERIOD, events.recv()).await {
        tokio::time::sleep(BURST).await;
        while events.try_recv().is_ok() {}
    } else if events.is_closed() {
        tokio::time::sleep(PERIOD).await;
    }
}

/// A tick for each event of the swarm. Ends when the stream cannot be had;
/// then the period alone has to do.
pub fn watch(client: &Client) -> mpsc::Receiver<()> {
    let (out, ticks) = mpsc::channel(16);
    let mut control = client.control();
    tokio::spawn(async move {
        while !out.is_closed() {
            if let Ok(stream) = control.watch(pb::WatchRequest::default()).await {
                let mut stream = stream.into_inner();
                while let Ok(Some(_)) = stream.message().await {
                    // A full channel holds a tick already.
                    if let Err(mpsc::error::TrySendError::Closed(())) = out.try_send(()) {
                        return;
                    }
                }
            }
            tokio::time::sleep(PERIOD).await;
        }
    });
    ticks
}
