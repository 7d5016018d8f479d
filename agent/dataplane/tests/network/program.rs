//! Programs of containers and clients: threads with sockets inside a namespace.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::lan::within;

/// How long an answer may take that should come.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long is waited for one that should not come.
const SILENCE: Duration = Duration::from_millis(400);
const TICK: Duration = Duration::from_millis(20);

/// A server that tells who it is and whom it sees, over TCP and UDP; TCP lines are echoed after that.
pub struct Server {
    stop: Arc<AtomicBool>,
}

impl Server {
    pub fn start(namespace: &Path, name: &str, port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (tcp, udp) = within(namespace, move || {
            let any = (Ipv4Addr::UNSPECIFIED, port);
            (
                TcpListener::bind(any).expect("a TCP port"),
                UdpSocket::bind(any).expect("a UDP port"),
            )
        });
        tcp.set_nonblocking(true).expect("nonblocking");
        udp.set_read_timeout(Some(TICK)).expect("a timeout");
        let (name, stopped) = (name.to_owned(), Arc::clone(&stop));
        let (udp_name, udp_stopped) = (name.clone(), Arc::clone(&stop));
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match tcp.accept() {
                    Ok((stream, from)) => {
                        let name = name.clone();
                        std::thread::spawn(move || talk(stream, &name, from));
                    }
                    Err(_) => std::thread::sleep(TICK),
                }
            }
        });
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while !udp_stopped.load(Ordering::Relaxed) {
                if let Ok((_, from)) = udp.recv_from(&mut buffer) {
                    let _ = udp.send_to(format!("{udp_name} {}", from.ip()).as_bytes(), from);
                }
            }
        });
        Server { stop }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn talk(mut stream: TcpStream, name: &str, from: SocketAddr) {
    let _ = stream.set_nonblocking(false);
    let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
    if writeln!(stream, "{name} {}", from.ip()).is_err() {
        return;
    }
    let Ok(mut answers) = stream.try_clone() else {
        return;
    };
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        if writeln!(answers, "{line}").is_err() {
            return;
        }
    }
}

/// What a server said: its name, and the address it saw.
pub type Seen = (String, IpAddr);

fn seen(text: &str) -> Seen {
    let (name, address) = text
        .trim()
        .split_once(' ')
        .unwrap_or_else(|| panic!("not an answer: {text:?}"));
    (name.to_owned(), address.parse().expect("an address"))
}

/// Asks over TCP.
pub fn tcp(namespace: &Path, to: impl Into<SocketAddr>) -> io::Result<Seen> {
    Ok(Connection::open(namespace, to, PATIENCE)?.seen)
}

/// Asks over TCP what should not answer: fails quickly.
pub fn tcp_in_vain(namespace: &Path, to: impl Into<SocketAddr>) -> io::Result<Seen> {
    Ok(Connection::open(namespace, to, SILENCE * 4)?.seen)
}

/// Asks over UDP.
pub fn udp(namespace: &Path, to: impl Into<SocketAddr>) -> io::Result<Seen> {
    let to = to.into();
    let socket = within(namespace, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))?;
    ask_udp(&socket, to)
}

/// Asks over a UDP socket that is there.
pub fn ask_udp(socket: &UdpSocket, to: SocketAddr) -> io::Result<Seen> {
    ask_udp_for(PATIENCE, socket, to)
}

fn ask_udp_for(patience: Duration, socket: &UdpSocket, to: SocketAddr) -> io::Result<Seen> {
    let mut buffer = [0; 2048];
    // What came too late for an earlier question.
    socket.set_nonblocking(true)?;
    while socket.recv_from(&mut buffer).is_ok() {}
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(SILENCE * 2))?;
    let begun = Instant::now();
    loop {
        socket.send_to(b"who", to)?;
        match socket.recv_from(&mut buffer) {
            Ok((_, from)) if from != to => panic!("asked {to}, {from} answered"),
            Ok((length, _)) => return Ok(seen(&String::from_utf8_lossy(&buffer[..length]))),
            Err(error) if begun.elapsed() >= patience => return Err(error),
            Err(_) => {}
        }
    }
}

/// Asks over UDP from an address of one's own choice.
pub fn udp_from(namespace: &Path, source: Ipv4Addr, to: impl Into<SocketAddr>) -> io::Result<Seen> {
    let socket = within(namespace, move || UdpSocket::bind((source, 0)))?;
    ask_udp(&socket, to.into())
}

/// The same of what should not answer: fails quickly.
pub fn udp_from_in_vain(
    namespace: &Path,
    source: Ipv4Addr,
    to: impl Into<SocketAddr>,
) -> io::Result<Seen> {
    let socket = within(namespace, move || UdpSocket::bind((source, 0)))?;
    ask_udp_for(SILENCE * 3, &socket, to.into())
}

/// A TCP connection that stays.
pub struct Connection {
    pub seen: Seen,
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub fn open(
        namespace: &Path,
        to: impl Into<SocketAddr>,
        patience: Duration,
    ) -> io::Result<Self> {
        let to = to.into();
        let stream = within(namespace, move || TcpStream::connect_timeout(&to, patience))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line)?;
        Ok(Connection {
            seen: seen(&line),
            stream,
        })
    }

    /// Sends a line and wants it back.
    pub fn echo(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.stream.get_mut(), "{text}")?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        if line.trim() == text {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    /// Sends much and wants all of it back, so that full-sized packets are on the way.
    pub fn echo_much(&mut self) -> io::Result<()> {
        let line = "skep".repeat(20_000);
        let mut writer = self.stream.get_ref().try_clone()?;
        let sent = line.clone();
        let writing = std::thread::spawn(move || writeln!(writer, "{sent}"));
        let mut back = vec![0; line.len() + 1];
        self.stream.read_exact(&mut back)?;
        writing.join().expect("no panic")?;
        if back[..line.len()] == *line.as_bytes() {
            Ok(())
        } else {
            Err(io::ErrorKind::InvalidData.into())
        }
    }
}

/// An address and port.
pub fn at(address: Ipv4Addr, port: u16) -> SocketAddr {
    (address, port).into()
}

/// A socket of a client that keeps its port.
pub fn udp_socket(namespace: &Path) -> UdpSocket {
    within(namespace, || {
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a port")
    })
}
