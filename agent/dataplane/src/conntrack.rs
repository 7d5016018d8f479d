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

/// Forgets translated flows to addresses that `gone` tells, but for TCP connections that were answered; gives
/// back how many.
pub(crate) fn forget(socket: &Socket, gone: impl Fn(Ipv4Addr) -> bool) -> Result<usize, Error> {
    let mut list = Writer::default();
    list.message(GET, NLM_F_DUMP, 1, FAMILY_IPV4, 0, |_| {});
    let failed = |operation| {
        move |refused: Refused| Error::TrackConnections {
            operation,
            source: refused.source,
        }
    };
    let flows = socket.exchange(list.bytes(), 1).map_err(failed("list"))?;
    let mut count = 0;
    for flow in flows {
        let Some(original) = stray(&flow.body, &gone) else {
            continue;
        };
        let mut delete = Writer::default();
        delete.message(DELETE, NLM_F_ACK, 1, FAMILY_IPV4, 0, |out| {
            out.bytes(TUPLE_ORIGINAL | NESTED, original)
        });
        match socket.exchange(delete.bytes(), 1) {
            Ok(_) => count += 1,
            // It ended meanwhile.
            Err(refused) if refused.source.raw_os_error() == Some(libc::ENOENT) => {}
            Err(refused) => return Err(failed("forget")(refused)),
        }
    }
    Ok(count)
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
