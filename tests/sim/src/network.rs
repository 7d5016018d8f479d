//! The simulated network: connections between hosts that deliver late, break,
//! or are cut.
//!
//! Owns connections, listeners and the state of every link. As on TCP, bytes
//! of a connection arrive in order or not at all; loss shows as delay, and a
//! cut link as silence until it heals. Leaves which links are cut when to
//! `faults`, and how the time goes to `world`.

mod stream;

use crate::rng::Rng;
use async_trait::async_trait;
use skep_transport::{Connection, Listener, Network};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;
use stream::Stream;
use tokio::sync::{mpsc, oneshot};

/// Bytes on their way in one direction before the sender has to wait.
const WINDOW: usize = 256 << 10;
/// What was lost is sent again after this long.
const RETRANSMIT: Duration = Duration::from_millis(200);
/// An attempt to connect is made again after this long.
const RETRY: Duration = Duration::from_secs(1);

/// How the network behaves where it is not cut.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// The shortest delay of anything.
    pub delay_min: Duration,
    /// What chance adds at most.
    pub delay_spread: Duration,
    /// Of a thousand sendings, how many are lost and sent again.
    pub loss: u64,
}

/// The network. Clones are the same one.
#[derive(Clone)]
pub struct Fabric(Arc<Mutex<State>>);

struct State {
    rng: Rng,
    now: Duration,
    weather: Weather,
    /// From one host to another: one entry a direction.
    cut: BTreeSet<(IpAddr, IpAddr)>,
    /// Hosts without power: they answer nothing, not even a refusal.
    dark: BTreeSet<IpAddr>,
    pipes: BTreeMap<u64, Pipe>,
    listeners: BTreeMap<SocketAddr, mpsc::UnboundedSender<(Connection, SocketAddr)>>,
    events: BTreeMap<(Duration, u64), Event>,
    next: u64,
    /// Those to be woken once the lock is free.
    woken: Vec<Waker>,
}

/// One direction of a connection.
struct Pipe {
    from: IpAddr,
    to: IpAddr,
    /// The other direction.
    back: u64,
    sent: VecDeque<Packet>,
    last_arrival: Duration,
    in_flight: usize,
    /// The link was cut when something should have arrived.
    stalled: bool,
    arrived: VecDeque<Vec<u8>>,
    ended: Option<End>,
    reader_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Reset,
}

enum Packet {
    Bytes(Vec<u8>),
    End(End),
}

enum Event {
    /// What is first in this pipe arrives.
    Arrive(u64),
    /// A host asks another for a connection.
    Ask(Box<Ask>),
    /// The answer comes back.
    Answer(Box<Answer>),
}

struct Ask {
    from: SocketAddr,
    to: SocketAddr,
    reply: oneshot::Sender<io::Result<Connection>>,
}

struct Answer {
    from: IpAddr,
    to: IpAddr,
    reply: oneshot::Sender<io::Result<Connection>>,
    result: io::Result<Connection>,
}

impl Fabric {
    /// A network on which everything arrives.
    pub fn new(seed: u64, weather: Weather) -> Fabric {
        Fabric(Arc::new(Mutex::new(State {
            rng: Rng::new(seed),
            now: Duration::ZERO,
            weather,
            cut: BTreeSet::new(),
            dark: BTreeSet::new(),
            pipes: BTreeMap::new(),
            listeners: BTreeMap::new(),
            events: BTreeMap::new(),
            next: 0,
            woken: Vec::new(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the state, then wakes whom it concerns.
    fn with<T>(&self, what: impl FnOnce(&mut State, &Fabric) -> T) -> T {
        let mut state = self.state();
        let result = what(&mut state, self);
        let woken = std::mem::take(&mut state.woken);
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        result
    }

    /// The network as seen by a host.
    pub fn at(&self, host: IpAddr) -> Arc<dyn Network> {
        Arc::new(Host {
            fabric: self.clone(),
            host,
        })
    }

    /// Lets everything arrive that is due at `now`.
    pub fn advance(&self, now: Duration) {
        self.state().now = now;
        loop {
            // One at a time: a reply that nobody waits for drops a connection,
            // which needs the lock.
            let event = {
                let mut state = self.state();
                match state.events.first_key_value() {
                    Some(((at, _), _)) if *at <= now => state.events.pop_first(),
                    _ => None,
                }
            };
            let Some((_, event)) = event else { return };
            match event {
                Event::Arrive(pipe) => self.with(|state, _| state.arrive(pipe)),
                Event::Ask(ask) => self.ask(*ask),
                Event::Answer(answer) => self.answer(*answer),
            }
        }
    }

    /// How it behaves from now on.
    pub fn set_weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    /// Nothing gets from one host to the other any more, or everything again.
    pub fn cut(&self, from: IpAddr, to: IpAddr, cut: bool) {
        self.with(|state, _| {
            if cut {
                state.cut.insert((from, to));
            } else if state.cut.remove(&(from, to)) {
                state.resume();
            }
        });
    }

    /// Whether no link is cut.
    pub fn is_whole(&self) -> bool {
        self.state().cut.is_empty()
    }

    /// All links work again.
    pub fn heal(&self) {
        self.with(|state, _| {
            state.cut.clear();
            state.resume();
        });
    }

    /// Every connection breaks at this moment, as when what is between all hosts
    /// forgets them.
    pub fn reset_all(&self) {
        self.with(|state, _| state.reset_all());
    }

    /// A host loses its power, or has it again. What was on its way to it or from it
    /// is lost; connections of before are reset when it is spoken to.
    pub fn set_power(&self, host: IpAddr, on: bool) {
        self.with(|state, _| {
            if on {
                state.dark.remove(&host);
                state.resume();
            } else {
                state.dark.insert(host);
                let left = state.pipes.values_mut().filter(|pipe| pipe.from == host);
                left.for_each(|pipe| pipe.sent.clear());
            }
        });
    }

    fn ask(&self, ask: Ask) {
        let Ask { from, to, reply } = ask;
        if reply.is_closed() {
            return;
        }
        let mut state = self.state();
        if state.is_cut(from.ip(), to.ip()) {
            let at = state.now + RETRY;
            state.at(at, Event::Ask(Box::new(Ask { from, to, reply })));
            return;
        }
        let mut result = Err(io::ErrorKind::ConnectionRefused.into());
        // Dropped without the lock, which that takes.
        let mut refused = None;
        if let Some(listener) = state.listeners.get(&to).cloned() {
            let (near, far) = state.connect(self, from.ip(), to.ip());
            match listener.send((Box::new(far), from)) {
                Ok(()) => result = Ok(Box::new(near) as Connection),
                Err(far) => refused = Some((near, far)),
            }
        }
        let at = state.arrival();
        let answer = Answer {
            from: to.ip(),
            to: from.ip(),
            reply,
            result,
        };
        state.at(at, Event::Answer(Box::new(answer)));
        drop(state);
        drop(refused);
    }

    fn answer(&self, answer: Answer) {
        let mut state = self.state();
        if state.is_cut(answer.from, answer.to) && !answer.reply.is_closed() {
            let at = state.now + RETRY;
            state.at(at, Event::Answer(Box::new(answer)));
            return;
        }
        drop(state);
        // Who asked may have given up; the connection is dropped then.
        let _ = answer.reply.send(answer.result);
    }
}

impl State {
    fn at(&mut self, at: Duration, event: Event) {
        self.next += 1;
        self.events.insert((at, self.next), event);
    }

    fn is_cut(&self, from: IpAddr, to: IpAddr) -> bool {
        self.cut.contains(&(from, to)) || self.dark.contains(&from) || self.dark.contains(&to)
    }

    /// When something arrives that is sent now.
    fn arrival(&mut self) -> Duration {
        let Weather {
            delay_min,
            delay_spread,
            loss,
        } = self.weather;
        let spread = u64::try_from(delay_spread.as_nanos()).unwrap_or(u64::MAX);
        let mut at = self.now + delay_min + Duration::from_nanos(self.rng.below(spread));
        while self.rng.below(1000) < loss {
            at += RETRANSMIT;
        }
        at
    }

    fn connect(&mut self, fabric: &Fabric, near: IpAddr, far: IpAddr) -> (Stream, Stream) {
        let (there, back) = (self.next + 1, self.next + 2);
        self.next += 2;
        for (pipe, back, from, to) in [(there, back, near, far), (back, there, far, near)] {
            let new = Pipe {
                from,
                to,
                back,
                sent: VecDeque::new(),
                last_arrival: Duration::ZERO,
                in_flight: 0,
                stalled: false,
                arrived: VecDeque::new(),
                ended: None,
                reader_gone: false,
                reader: None,
                writer: None,
            };
            self.pipes.insert(pipe, new);
        }
        (
            Stream::new(fabric.clone(), back, there),
            Stream::new(fabric.clone(), there, back),
        )
    }

    fn send(&mut self, pipe: u64, packet: Packet) {
        let at = self.arrival();
        let Some(there) = self.pipes.get_mut(&pipe) else {
            return;
        };
        if self.dark.contains(&there.from) {
            return;
        }
        let at = at.max(there.last_arrival);
        there.last_arrival = at;
        if let Packet::Bytes(bytes) = &packet {
            there.in_flight += bytes.len();
        }
        there.sent.push_back(packet);
        self.at(at, Event::Arrive(pipe));
    }

    fn arrive(&mut self, number: u64) {
        let Some(pipe) = self.pipes.get(&number) else {
            return;
        };
        let (from, to, back) = (pipe.from, pipe.to, pipe.back);
        let cut = self.is_cut(from, to);
        let Some(pipe) = self.pipes.get_mut(&number) else {
            return;
        };
        if cut || pipe.stalled {
            pipe.stalled = true;
            return;
        }
        let Some(packet) = pipe.sent.pop_front() else {
            return;
        };
        if let Packet::Bytes(bytes) = &packet {
            pipe.in_flight = pipe.in_flight.saturating_sub(bytes.len());
            self.woken.extend(pipe.writer.take());
        }
        if pipe.reader_gone {
            // Nobody has this connection any more, and the sender is told so.
            if matches!(packet, Packet::Bytes(_)) {
                self.send(back, Packet::End(End::Reset));
            }
            return;
        }
        match packet {
            Packet::Bytes(bytes) => pipe.arrived.push_back(bytes),
            // Nothing comes after a reset.
            Packet::End(end) if pipe.ended != Some(End::Reset) => pipe.ended = Some(end),
            Packet::End(_) => {}
        }
        let reset = pipe.ended == Some(End::Reset);
        self.woken.extend(pipe.reader.take());
        if reset && let Some(back) = self.pipes.get_mut(&back) {
            self.woken.extend(back.writer.take());
        }
    }

    fn reset_all(&mut self) {
        for pipe in self.pipes.values_mut() {
            pipe.ended = Some(End::Reset);
            self.woken.extend(pipe.reader.take());
            self.woken.extend(pipe.writer.take());
        }
    }

    /// What was held up goes on where the link works.
    fn resume(&mut self) {
        let stalled = self.pipes.iter().filter(|(_, pipe)| pipe.stalled);
        let stalled: Vec<(u64, usize)> = stalled
            .filter(|(_, pipe)| !self.is_cut(pipe.from, pipe.to))
            .map(|(number, pipe)| (*number, pipe.sent.len()))
            .collect();
        for (number, packets) in stalled {
            let at = self.arrival() + RETRANSMIT;
            if let Some(pipe) = self.pipes.get_mut(&number) {
                pipe.stalled = false;
                pipe.last_arrival = at;
            }
            // Older events for them find nothing to do.
            for _ in 0..packets {
                self.at(at, Event::Arrive(number));
            }
        }
    }
}

struct Host {
    fabric: Fabric,
    host: IpAddr,
}

#[async_trait]
impl Network for Host {
    async fn dial(&self, host: &str, port: u16) -> io::Result<Connection> {
        let to: IpAddr = host
            .parse()
            .map_err(|_| io::Error::new(io::ErrorKind::NotFound, "no such host"))?;
        let (reply, answer) = oneshot::channel();
        {
            let mut state = self.fabric.state();
            let at = state.arrival();
            state.next += 1;
            let port_here = 1024 + (state.next % 60_000) as u16;
            let ask = Ask {
                from: SocketAddr::new(self.host, port_here),
                to: SocketAddr::new(to, port),
                reply,
            };
            state.at(at, Event::Ask(Box::new(ask)));
        }
        answer
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Listener>> {
        let (connections, accepted) = mpsc::unbounded_channel();
        let mut state = self.fabric.state();
        if state
            .listeners
            .get(&address)
            .is_some_and(|l| !l.is_closed())
        {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        state.listeners.insert(address, connections);
        Ok(Box::new(Accepting(accepted)))
    }
}

struct Accepting(mpsc::UnboundedReceiver<(Connection, SocketAddr)>);

#[async_trait]
impl Listener for Accepting {
    async fn accept(&mut self) -> io::Result<(Connection, SocketAddr)> {
        match self.0.recv().await {
            Some(accepted) => Ok(accepted),
            // Another listener has the address now.
            None => std::future::pending().await,
        }
    }
}
