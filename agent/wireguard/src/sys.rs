//! The system calls that std has no words for: poll, eventfd, UDP sockets with segmentation
//! offload, and sending and receiving many datagrams at once. Nothing here knows WireGuard.
#![allow(unsafe_code)]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use libc::{c_int, c_void};

/// The most datagrams one call sends or receives.
pub(crate) const BATCH: usize = 8;
/// The largest UDP payload, and what one received message can hold.
pub(crate) const MAX_DATAGRAM: usize = 65_535;

/// Room for one control message with an int (or u16) in it, aligned as the kernel wants it.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; 32]);

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// An event that, once raised, stays raised for everyone who polls it.
#[derive(Debug)]
pub(crate) struct Event(OwnedFd);

impl Event {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: eventfd takes no pointers; a non-negative result is a descriptor we own.
        let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: `fd` was just made and is owned by no one else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Wakes everyone who waits, now and later.
    pub(crate) fn raise(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: the buffer is eight live bytes. The write can only fail when the counter is
        // full, and then the event is raised already.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast::<c_void>(), one.len()) };
    }
}

impl std::os::fd::AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until one of `fds` can be read (or is broken), or `timeout` has passed; tells for each
/// whether it is ready. An interrupted wait counts as a timeout.
pub(crate) fn wait_readable<const N: usize>(
    fds: [Option<BorrowedFd<'_>>; N],
    timeout: Option<Duration>,
) -> io::Result<[bool; N]> {
    let mut polled = fds.map(|fd| libc::pollfd {
        // A negative descriptor is skipped by poll.
        fd: fd.map_or(-1, |fd| fd.as_raw_fd()),
        events: libc::POLLIN,
        revents: 0,
    });
    let timeout = timeout.map_or(-1, |t| c_int::try_from(t.as_millis()).unwrap_or(c_int::MAX));
    // SAFETY: the array lives across the call and N is its length.
    let result = unsafe { libc::poll(polled.as_mut_ptr(), N as libc::nfds_t, timeout) };
    match check(result) {
        Ok(_) => Ok(polled.map(|fd| fd.revents != 0)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok([false; N]),
        Err(error) => Err(error),
    }
}

fn set_option(fd: &OwnedFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the pointer and the length describe one live int.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const value).cast::<c_void>(),
            size_of::<c_int>() as libc::socklen_t,
        )
    })
    .map(drop)
}

/// A UDP socket bound to `address`, with receive offload where the kernel has it, generous
/// buffers, and fragmentation of what is too large for the path left to the kernel.
pub(crate) fn bind_udp(address: SocketAddr, buffer_bytes: c_int) -> io::Result<OwnedFd> {
    let domain = match address {
        SocketAddr::V4(_) => libc::AF_INET,
        SocketAddr::V6(_) => libc::AF_INET6,
    };
    // SAFETY: socket takes no pointers; a non-negative result is a descriptor we own.
    let fd = check(unsafe { libc::socket(domain, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: `fd` was just made and is owned by no one else.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    match address {
        SocketAddr::V4(_) => set_option(
            &fd,
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_DONT,
        )?,
        SocketAddr::V6(_) => {
            set_option(&fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
            set_option(
                &fd,
                libc::IPPROTO_IPV6,
                libc::IPV6_MTU_DISCOVER,
                libc::IPV6_PMTUDISC_DONT,
            )?;
        }
    }
    // Without receive offload every datagram arrives by itself: slower, not wrong.
    let _ = set_option(&fd, libc::SOL_UDP, libc::UDP_GRO, 1);
    for (force, plain) in [
        (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
        (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
    ] {
        // Beyond the system's limit only with CAP_NET_ADMIN; up to it otherwise.
        if set_option(&fd, libc::SOL_SOCKET, force, buffer_bytes).is_err() {
            let _ = set_option(&fd, libc::SOL_SOCKET, plain, buffer_bytes);
        }
    }
    // A blocked send must not hold up a stop.
    let patience = libc::timeval {
        tv_sec: 0,
        tv_usec: 250_000,
    };
    // SAFETY: the pointer and the length describe one live timeval.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_SNDTIMEO,
            (&raw const patience).cast::<c_void>(),
            size_of::<libc::timeval>() as libc::socklen_t,
        )
    })?;
    let (name, length) = to_sockaddr(address);
    // SAFETY: `name` is a live sockaddr_storage of which `length` bytes are filled.
    check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const name).cast(), length) })?;
    Ok(fd)
}

/// The address a socket is bound to.
pub(crate) fn local_address(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    // SAFETY: all zeroes is a valid sockaddr_storage.
    let mut name: libc::sockaddr_storage = unsafe { zeroed() };
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: both pointers are to live values, and `length` is the room there is.
    check(unsafe { libc::getsockname(fd.as_raw_fd(), (&raw mut name).cast(), &raw mut length) })?;
    from_sockaddr(&name).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

fn to_sockaddr(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: all zeroes is a valid sockaddr_storage.
    let mut storage: libc::sockaddr_storage = unsafe { zeroed() };
    let length = match address {
        SocketAddr::V4(v4) => {
            let name = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: u32::from_ne_bytes(v4.ip().octets()),
                },
                sin_zero: [0; 8],
            };
            // SAFETY: sockaddr_storage is made to hold, and aligned for, every sockaddr.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in>().write(name) };
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            let name = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr {
                    s6_addr: v6.ip().octets(),
                },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: as above.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in6>().write(name) };
            size_of::<libc::sockaddr_in6>()
        }
    };
    (storage, length as libc::socklen_t)
}

fn from_sockaddr(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says which sockaddr the storage holds; it is large enough and
            // aligned for all of them.
            let name = unsafe { &*(storage as *const _ as *const libc::sockaddr_in) };
            let ip = Ipv4Addr::from(name.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddrV4::new(ip, u16::from_be(name.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let name = unsafe { &*(storage as *const _ as *const libc::sockaddr_in6) };
            let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
            let port = u16::from_be(name.sin6_port);
            Some(SocketAddrV6::new(ip, port, 0, name.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// Bytes for one destination: a datagram, or several of `segment` bytes each (the last may be
/// shorter) which the kernel cuts apart as late as it can.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) to: SocketAddr,
    pub(crate) bytes: &'a [u8],
    pub(crate) segment: usize,
}

/// Sends up to [`BATCH`] messages in one call and returns how many went out; the error is that of
/// the first. With `block`, waits a quarter of a second at most for room in the socket's buffer.
pub(crate) fn send_messages(
    fd: BorrowedFd<'_>,
    messages: &[Message<'_>],
    block: bool,
) -> io::Result<usize> {
    let count = messages.len().min(BATCH);
    if count == 0 {
        return Ok(0);
    }
    // SAFETY: all zeroes is valid for each of these plain C structs.
    let mut headers: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
    // SAFETY: as above.
    let mut names: [libc::sockaddr_storage; BATCH] = unsafe { zeroed() };
    // SAFETY: as above.
    let mut vectors: [libc::iovec; BATCH] = unsafe { zeroed() };
    let mut controls = [Control([0; 32]); BATCH];
    for (at, message) in messages[..count].iter().enumerate() {
        let (name, length) = to_sockaddr(message.to);
        names[at] = name;
        vectors[at] = libc::iovec {
            iov_base: message.bytes.as_ptr().cast_mut().cast::<c_void>(),
            iov_len: message.bytes.len(),
        };
        let header = &mut headers[at].msg_hdr;
        header.msg_name = (&raw mut names[at]).cast();
        header.msg_namelen = length;
        header.msg_iov = &raw mut vectors[at];
        header.msg_iovlen = 1;
        if message.bytes.len() > message.segment {
            let segment = u16::try_from(message.segment)
                .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
            header.msg_control = (&raw mut controls[at]).cast();
            // SAFETY: CMSG_SPACE only computes.
            header.msg_controllen = unsafe { libc::CMSG_SPACE(size_of::<u16>() as u32) } as usize;
            // SAFETY: the control buffer is zeroed, aligned and larger than CMSG_SPACE(2), so the
            // first header and its data lie within it.
            unsafe {
                let control = libc::CMSG_FIRSTHDR(header);
                (*control).cmsg_level = libc::SOL_UDP;
                (*control).cmsg_type = libc::UDP_SEGMENT;
                (*control).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as u32) as usize;
                libc::CMSG_DATA(control)
                    .cast::<u16>()
                    .write_unaligned(segment);
            }
        }
    }
    let flags = if block { 0 } else { libc::MSG_DONTWAIT };
    loop {
        // SAFETY: every pointer in the headers is to an element of an array above or to a borrowed
        // slice, all of which outlive the call; the kernel only reads through them.
        let sent =
            unsafe { libc::sendmmsg(fd.as_raw_fd(), headers.as_mut_ptr(), count as u32, flags) };
        match check(sent) {
            Ok(sent) => return Ok(sent as usize),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Buffers for [`BATCH`] received messages, and what was last received into them.
pub(crate) struct Received {
    storage: Vec<u8>,
    messages: [ReceivedInfo; BATCH],
    count: usize,
}

#[derive(Clone, Copy)]
struct ReceivedInfo {
    length: usize,
    segment: usize,
    from: Option<SocketAddr>,
    truncated: bool,
}

impl Received {
    pub(crate) fn new() -> Self {
        let nothing = ReceivedInfo {
            length: 0,
            segment: 0,
            from: None,
            truncated: false,
        };
        Self {
            storage: vec![0; BATCH * MAX_DATAGRAM],
            messages: [nothing; BATCH],
            count: 0,
        }
    }

    /// Receives what is there, without waiting; how many messages, 0 for none.
    pub(crate) fn receive(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        self.count = 0;
        // SAFETY: all zeroes is valid for each of these plain C structs.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut names: [libc::sockaddr_storage; BATCH] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut vectors: [libc::iovec; BATCH] = unsafe { zeroed() };
        let mut controls = [Control([0; 32]); BATCH];
        for (at, buffer) in self.storage.chunks_exact_mut(MAX_DATAGRAM).enumerate() {
            vectors[at] = libc::iovec {
                iov_base: buffer.as_mut_ptr().cast::<c_void>(),
                iov_len: buffer.len(),
            };
            let header = &mut headers[at].msg_hdr;
            header.msg_name = (&raw mut names[at]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = &raw mut vectors[at];
            header.msg_iovlen = 1;
            header.msg_control = (&raw mut controls[at]).cast();
            header.msg_controllen = size_of::<Control>();
        }
        // SAFETY: every pointer in the headers is to an element of an array above or into
        // `storage`, which is exclusively borrowed and outlives the call; lengths are the rooms.
        let received = unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let received = match check(received) {
            Ok(received) => received as usize,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => return Ok(0),
                _ => return Err(error),
            },
        };
        for at in 0..received {
            let header = &headers[at].msg_hdr;
            let length = headers[at].msg_len as usize;
            self.messages[at] = ReceivedInfo {
                length,
                segment: received_segment(header).unwrap_or(length),
                from: from_sockaddr(&names[at]),
                truncated: header.msg_flags & libc::MSG_TRUNC != 0,
            };
        }
        self.count = received;
        Ok(received)
    }

    /// The messages of the last call: where from, the bytes, and how long each datagram in them
    /// is. `None` for one that cannot be used: cut off, or from nowhere.
    pub(crate) fn messages(&self) -> impl Iterator<Item = Option<(SocketAddr, &[u8], usize)>> {
        self.messages[..self.count]
            .iter()
            .enumerate()
            .map(|(at, info)| {
                let start = at * MAX_DATAGRAM;
                let bytes = self.storage.get(start..start + info.length)?;
                let from = info.from.filter(|_| !info.truncated)?;
                Some((from, bytes, info.segment.max(1)))
            })
    }
}

/// The size the kernel coalesced datagrams by, if it did.
fn received_segment(header: &libc::msghdr) -> Option<usize> {
    // SAFETY: the header was filled by the kernel: its control pointer and length describe the
    // part of our aligned buffer that it wrote, and the CMSG macros stay within that.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while !control.is_null() {
            if (*control).cmsg_level == libc::SOL_UDP && (*control).cmsg_type == libc::UDP_GRO {
                let size = libc::CMSG_DATA(control).cast::<c_int>().read_unaligned();
                return usize::try_from(size).ok().filter(|size| *size > 0);
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    None
}

/// The unspecified address of a family, to bind to.
pub(crate) fn any(v6: bool, port: u16) -> SocketAddr {
    let ip = match v6 {
        false => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        true => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(ip, port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn pair(v6: bool) -> Option<(OwnedFd, OwnedFd, SocketAddr)> {
        let loopback: SocketAddr = match v6 {
            false => "127.0.0.1:0".parse().expect("an address"),
            true => "[::1]:0".parse().expect("an address"),
        };
        let to = bind_udp(loopback, 1 << 20).ok()?;
        let from = bind_udp(loopback, 1 << 20).expect("the second binds as the first did");
        let address = local_address(to.as_fd()).expect("it is bound");
        Some((from, to, address))
    }

    fn receive_all(fd: &OwnedFd, bytes: usize) -> Vec<Vec<u8>> {
        let mut received = Received::new();
        let mut datagrams = Vec::new();
        while datagrams.iter().map(Vec::len).sum::<usize>() < bytes {
            let ready = wait_readable([Some(fd.as_fd())], Some(Duration::from_secs(5)));
            assert_eq!(ready.expect("poll works"), [true], "everything arrives");
            received.receive(fd.as_fd()).expect("receiving works");
            for message in received.messages() {
                let (_, bytes, segment) = message.expect("a usable message");
                datagrams.extend(bytes.chunks(segment).map(<[u8]>::to_vec));
            }
        }
        datagrams
    }

    #[test]
    fn segments_sent_as_one_message_arrive_as_the_datagrams_they_are() {
        for v6 in [false, true] {
            let Some((from, to, address)) = pair(v6) else {
                assert!(v6, "IPv4 loopback is always there");
                continue;
            };
            let bytes: Vec<u8> = (0..100 * 30 + 7).map(|i| i as u8).collect();
            let message = Message {
                to: address,
                bytes: &bytes,
                segment: 100,
            };
            let sent = send_messages(from.as_fd(), &[message, message], true);
            assert_eq!(sent.expect("sending works"), 2);
            let datagrams = receive_all(&to, 2 * bytes.len());
            assert_eq!(datagrams.len(), 62);
            assert_eq!(datagrams.concat(), [&bytes[..], &bytes[..]].concat());
        }
    }

    #[test]
    fn nothing_to_receive_is_not_an_error() {
        let (_from, to, _) = pair(false).expect("IPv4 loopback is always there");
        let mut received = Received::new();
        assert_eq!(received.receive(to.as_fd()).expect("no error"), 0);
        assert_eq!(received.messages().count(), 0);
    }

    #[test]
    fn an_event_stays_raised() {
        let event = Event::new().expect("eventfd works");
        let moment = Some(Duration::from_millis(1));
        let ready = wait_readable([Some(event.as_fd()), None], moment).expect("poll works");
        assert_eq!(ready, [false, false]);
        event.raise();
        for _ in 0..2 {
            let ready = wait_readable([Some(event.as_fd())], None).expect("poll works");
            assert_eq!(ready, [true]);
        }
    }
}
