//! Connections the kernel tracks. UDP has no end: a flow that was translated to a task keeps going there
//! after the task is gone, for as long as the client keeps talking. A TCP connection that nobody answered yet
//! would be repeated to the gone task, too, until the client gives up. Both are forgotten here; the next packet
//! is balanced anew. TCP connections that were answered are left alone: they end by themselves.

use std::net::Ipv4Addr;

use crate::error::Error;
use crate::netlink::{NLM_F_ACK, NLM_F_DUMP, Refused, Socket, Writer, attribute};

const GET: u16 = 1 << 8 | 1;
const DELETE: u16 = 1 << 8 | 2;
const FAMILY_IPV4: u8 = 2;
const NESTED: u16 = 0x8000;
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const STATUS: u16 = 3;
/// Status bit: packets were seen in the other direction.
const ANSWERED: u32 = 0x2;
/// Status bit: the destination was translated.
const DESTINATION_TRANSLATED: u32 = 0x20;

/// What is asked of the kernel: a list on one socket, and what becomes of the single flow on another, as a list
/// that is under way has its socket for itself.
#[derive(Debug)]
pub(crate) struct Tracked {
    list: Socket,
    single: Socket,
}

impl Tracked {
    /// Connections of the calling thread's network namespace.
    pub(crate) fn open() -> Result<Self, Error> {
        let open = || {
            Socket::open().map_err(|source| Error::OpenNetlink {
                family: "netfilter",
                source,
            })
        };
        Ok(Tracked {
            list: open()?,
            single: open()?,
        })
    }

    /// Forgets translated flows to addresses that `gone` tells, but for TCP connections that were answered;
    /// gives back how many. There may be hundreds of thousands: each is looked at as it comes.
    pub(crate) fn forget(&self, gone: impl Fn(Ipv4Addr) -> bool) -> Result<usize, Error> {
        let mut result = Ok(0);
        self.each(|flow| {
            if let Ok(count) = &mut result
                && let Some(original) = stray(flow, &gone)
            {
                match self.delete(original) {
                    Ok(()) => *count += 1,
                    // It ended meanwhile.
                    Err(refused) if refused.source.raw_os_error() == Some(libc::ENOENT) => {}
                    Err(refused) => result = Err(failed("forget")(refused)),
                }
            }
        })?;
        result
    }

    fn each(&self, each: impl FnMut(&[u8])) -> Result<(), Error> {
        let mut list = Writer::default();
        list.message(GET, NLM_F_DUMP, 1, FAMILY_IPV4, 0, |_| {});
        let listed = self.list.exchange_each(list.bytes(), 1, each);
        listed.map_err(failed("list"))
    }

    fn delete(&self, original: &[u8]) -> Result<(), Refused> {
        let mut delete = Writer::default();
        delete.message(DELETE, NLM_F_ACK, 1, FAMILY_IPV4, 0, |out| {
            out.bytes(TUPLE_ORIGINAL | NESTED, original)
        });
        self.single.exchange(delete.bytes(), 1).map(drop)
    }
}

fn failed(operation: &'static str) -> impl FnOnce(Refused) -> Error {
    move |refused| Error::TrackConnections {
        operation,
        source: refused.source,
    }
}

/// The original direction of a flow if it was translated to an address that is gone and cannot end by itself.
fn stray(flow: &[u8], gone: impl Fn(Ipv4Addr) -> bool) -> Option<&[u8]> {
    let status: [u8; 4] = attribute(flow, STATUS)?.try_into().ok()?;
    let status = u32::from_be_bytes(status);
    if status & DESTINATION_TRANSLATED == 0 {
        return None;
    }
    let original = attribute(flow, TUPLE_ORIGINAL)?;
    let protocol = attribute(attribute(original, 2)?, 1)?;
    let unanswered_tcp = protocol == [libc::IPPROTO_TCP as u8] && status & ANSWERED == 0;
    if protocol != [libc::IPPROTO_UDP as u8] && !unanswered_tcp {
        return None;
    }
    let answered_by = attribute(attribute(attribute(flow, TUPLE_REPLY)?, 1)?, 1)?;
    let octets: [u8; 4] = answered_by.try_into().ok()?;
    gone(Ipv4Addr::from(octets)).then_some(original)
}

/// Flows for tests, as if somebody had sent packets.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::netlink::{Attributes, NLM_F_CREATE};

    const NEW: u16 = 1 << 8;
    const TIMEOUT: u16 = 7;
    const NAT_DESTINATION: u16 = 13;

    fn tuple(out: &mut Attributes<'_>, kind: u16, from: ([u8; 4], u16), to: ([u8; 4], u16)) {
        out.nested(kind, |out| {
            out.nested(1, |out| {
                out.bytes(1, &from.0);
                out.bytes(2, &to.0);
            });
            out.nested(2, |out| {
                out.bytes(1, &[libc::IPPROTO_UDP as u8]);
                out.bytes(2, &from.1.to_be_bytes());
                out.bytes(3, &to.1.to_be_bytes());
            });
        });
    }

    impl Tracked {
        /// A UDP flow from `port` of a client to a service, translated to `task`.
        pub(crate) fn add(&self, port: u16, task: [u8; 4]) {
            let (client, service) = (([192, 0, 2, 9], port), ([10, 1, 255, 1], 80));
            let mut new = Writer::default();
            let flags = NLM_F_ACK | NLM_F_CREATE;
            new.message(NEW, flags, 1, FAMILY_IPV4, 0, |out| {
                tuple(out, TUPLE_ORIGINAL, client, service);
                tuple(out, TUPLE_REPLY, service, client);
                out.be32(TIMEOUT, 600);
                out.nested(NAT_DESTINATION, |out| {
                    out.bytes(1, &task);
                    out.bytes(2, &task);
                });
            });
            let added = self.single.exchange(new.bytes(), 1);
            added.map(drop).expect("the kernel takes the flow");
        }

        /// How many there are.
        pub(crate) fn count(&self) -> usize {
            let mut count = 0;
            self.each(|_| count += 1).expect("a list");
            count
        }

        /// Forgets all.
        fn flush(&self) {
            let mut flush = Writer::default();
            flush.message(DELETE, NLM_F_ACK, 1, FAMILY_IPV4, 0, |_| {});
            let flushed = self.single.exchange(flush.bytes(), 1);
            flushed.map(drop).expect("all forgotten");
        }
    }

    /// Runs `work` in a network namespace that ends with it.
    pub(crate) fn in_a_namespace(work: impl FnOnce() + Send + 'static) {
        let work = || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("needs root");
            work();
        };
        std::thread::spawn(work).join().expect("the thread");
    }

    #[test]
    fn only_flows_to_who_is_gone_are_forgotten() {
        in_a_namespace(|| {
            let tracked = Tracked::open().expect("sockets");
            for port in 1..=500 {
                tracked.add(port, [10, 1, 1, 2 + (port % 2) as u8]);
            }
            let gone = |address| address == Ipv4Addr::new(10, 1, 1, 3);
            assert_eq!(tracked.forget(gone).expect("forgotten"), 250);
            assert_eq!(tracked.count(), 250);
            assert_eq!(tracked.forget(gone).expect("nothing to forget"), 0);
        });
    }

    #[test]
    fn a_long_list_is_not_collected_first() {
        in_a_namespace(|| {
            const FLOWS: u16 = 5000;
            let tracked = Tracked::open().expect("sockets");
            for port in 1..=FLOWS {
                tracked.add(port, [10, 1, 1, 2]);
            }
            let mut seen = 0;
            tracked
                .each(|_| {
                    if seen == 0 {
                        tracked.flush();
                    }
                    seen += 1;
                })
                .expect("a list");
            assert!(seen > 0 && seen < FLOWS, "{seen} were on their way");
        });
    }
}
