//! The expressions of an nftables rule and how each is written. A rule is a small program over registers:
//! load something, compare it, act. Only what skep's ruleset uses is here.

use crate::netlink::Attributes;

/// A 32-bit register, counted from 0. Wider values fill the following ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reg(pub(crate) u8);

impl Reg {
    fn wire(self) -> u32 {
        8 + u32::from(self.0)
    }
}

/// Where a rule, a map entry or a chain's end sends the packet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    Drop,
    Accept,
    /// On to another chain, without coming back.
    Goto(String),
}

impl Verdict {
    pub(crate) fn write(&self, out: &mut Attributes<'_>, kind: u16) {
        let code: i32 = match self {
            Verdict::Drop => 0,
            Verdict::Accept => 1,
            Verdict::Goto(_) => -4,
        };
        out.nested(kind, |out| {
            out.nested(2, |out| {
                out.be32(1, code as u32);
                if let Verdict::Goto(chain) = self {
                    out.string(2, chain);
                }
            });
        });
    }
}

/// What [`Expr::Meta`] reads or writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meta {
    /// The packet mark, host order.
    Mark = 3,
    /// Name of the interface the packet came in by, 16 bytes padded with NUL.
    InputName = 6,
    /// Name of the interface it leaves by.
    OutputName = 7,
    /// The transport protocol, one byte.
    Protocol = 16,
}

/// What [`Expr::Ct`] reads or writes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ct {
    /// A bit set, see [`CT_ESTABLISHED`] and its neighbours.
    State = 0,
    /// One byte: 0 original, 1 reply.
    Direction = 1,
    /// A bit set, see [`CT_DNAT`].
    Status = 2,
    /// The connection mark, host order.
    Mark = 3,
}

pub(crate) const CT_ESTABLISHED: u32 = 2;
pub(crate) const CT_RELATED: u32 = 4;
pub(crate) const CT_NEW: u32 = 8;
/// Status bit: the destination was translated.
pub(crate) const CT_DNAT: u32 = 0x20;
/// An address of the node itself, as [`Expr::FibDestinationType`] says it.
pub(crate) const ROUTE_LOCAL: u32 = 2;

/// Which header [`Expr::Payload`] counts its offset from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    Link = 0,
    Network = 1,
    Transport = 2,
}

/// One step of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expr {
    Meta(Meta, Reg),
    SetMeta(Meta, Reg),
    Ct(Ct, Reg),
    SetCt(Ct, Reg),
    Payload {
        header: Header,
        offset: u32,
        length: u32,
        to: Reg,
    },
    /// The type of route the destination has, to compare with [`ROUTE_LOCAL`].
    FibDestinationType(Reg),
    Equal(Reg, Vec<u8>),
    NotEqual(Reg, Vec<u8>),
    /// `register & mask`, both in the byte order of the register's content.
    Mask(Reg, Vec<u8>),
    /// Goes on only if the key is in the set.
    In {
        set: String,
        key: Reg,
    },
    /// Goes on only if the key is not in the set.
    NotIn {
        set: String,
        key: Reg,
    },
    /// Loads the value the map holds for the key; without one the rule ends.
    Map {
        map: String,
        key: Reg,
        to: Reg,
    },
    /// Takes the verdict the map holds for the key; without one the rule ends.
    VerdictMap {
        map: String,
        key: Reg,
    },
    Load(Reg, Vec<u8>),
    Verdict(Verdict),
    /// A random number below the modulus, host order.
    Random {
        modulus: u32,
        to: Reg,
    },
    /// Translates the destination to the address, and the port if one is named.
    Dnat {
        address: Reg,
        port: Option<Reg>,
    },
    Snat {
        address: Reg,
    },
    Masquerade,
    Counter,
    /// The largest TCP segment the route carries, host order, 2 bytes.
    RouteTcpMss(Reg),
    /// Turns 2 bytes from host to network order.
    ToNetwork16(Reg),
    /// Lowers the MSS option of a SYN to the register.
    SetTcpMss(Reg),
    /// Answers with an ICMP "port unreachable".
    RejectUnreachable,
    /// Answers with a TCP reset.
    RejectReset,
}

impl Expr {
    /// Writes the expression as one list element.
    pub(crate) fn write(&self, out: &mut Attributes<'_>) {
        out.nested(1, |out| {
            out.string(1, self.name());
            out.nested(2, |out| self.write_data(out));
        });
    }

    fn name(&self) -> &'static str {
        match self {
            Expr::Meta(..) | Expr::SetMeta(..) => "meta",
            Expr::Ct(..) | Expr::SetCt(..) => "ct",
            Expr::Payload { .. } => "payload",
            Expr::FibDestinationType(_) => "fib",
            Expr::Equal(..) | Expr::NotEqual(..) => "cmp",
            Expr::Mask(..) => "bitwise",
            Expr::In { .. } | Expr::NotIn { .. } | Expr::Map { .. } | Expr::VerdictMap { .. } => {
                "lookup"
            }
            Expr::Load(..) | Expr::Verdict(_) => "immediate",
            Expr::Random { .. } => "numgen",
            Expr::Dnat { .. } | Expr::Snat { .. } => "nat",
            Expr::Masquerade => "masq",
            Expr::Counter => "counter",
            Expr::RouteTcpMss(_) => "rt",
            Expr::ToNetwork16(_) => "byteorder",
            Expr::SetTcpMss(_) => "exthdr",
            Expr::RejectUnreachable | Expr::RejectReset => "reject",
        }
    }

    fn write_data(&self, out: &mut Attributes<'_>) {
        match self {
            Expr::Meta(key, to) => {
                out.be32(1, to.wire());
                out.be32(2, *key as u32);
            }
            Expr::SetMeta(key, from) => {
                out.be32(2, *key as u32);
                out.be32(3, from.wire());
            }
            Expr::Ct(key, to) => {
                out.be32(1, to.wire());
                out.be32(2, *key as u32);
            }
            Expr::SetCt(key, from) => {
                out.be32(2, *key as u32);
                out.be32(4, from.wire());
            }
            Expr::Payload {
                header,
                offset,
                length,
                to,
            } => {
                out.be32(1, to.wire());
                out.be32(2, *header as u32);
                out.be32(3, *offset);
                out.be32(4, *length);
            }
            Expr::FibDestinationType(to) => {
                out.be32(1, to.wire());
                out.be32(2, 3);
                out.be32(3, 2);
            }
            Expr::Equal(reg, data) => write_compare(out, *reg, 0, data),
            Expr::NotEqual(reg, data) => write_compare(out, *reg, 1, data),
            Expr::Mask(reg, mask) => {
                out.be32(1, reg.wire());
                out.be32(2, reg.wire());
                out.be32(3, mask.len() as u32);
                write_value(out, 4, mask);
                write_value(out, 5, &vec![0; mask.len()]);
            }
            Expr::In { set, key } => {
                out.string(1, set);
                out.be32(2, key.wire());
            }
            Expr::NotIn { set, key } => {
                out.string(1, set);
                out.be32(2, key.wire());
                out.be32(5, 1);
            }
            Expr::Map { map, key, to } => {
                out.string(1, map);
                out.be32(2, key.wire());
                out.be32(3, to.wire());
            }
            Expr::VerdictMap { map, key } => {
                out.string(1, map);
                out.be32(2, key.wire());
                out.be32(3, 0);
            }
            Expr::Load(to, data) => {
                out.be32(1, to.wire());
                write_value(out, 2, data);
            }
            Expr::Verdict(verdict) => {
                out.be32(1, 0);
                verdict.write(out, 2);
            }
            Expr::Random { modulus, to } => {
                out.be32(1, to.wire());
                out.be32(2, *modulus);
                out.be32(3, 1);
            }
            Expr::Dnat { address, port } => {
                out.be32(1, 1);
                out.be32(2, 2);
                out.be32(3, address.wire());
                if let Some(port) = port {
                    out.be32(5, port.wire());
                }
            }
            Expr::Snat { address } => {
                out.be32(1, 0);
                out.be32(2, 2);
                out.be32(3, address.wire());
            }
            Expr::Masquerade | Expr::Counter => {}
            Expr::RouteTcpMss(to) => {
                out.be32(1, to.wire());
                out.be32(2, 3);
            }
            Expr::ToNetwork16(reg) => {
                out.be32(1, reg.wire());
                out.be32(2, reg.wire());
                out.be32(3, 1);
                out.be32(4, 2);
                out.be32(5, 2);
            }
            Expr::SetTcpMss(from) => {
                out.bytes(2, &[2]);
                out.be32(3, 2);
                out.be32(4, 2);
                out.be32(6, 1);
                out.be32(7, from.wire());
            }
            Expr::RejectUnreachable => {
                out.be32(1, 0);
                out.bytes(2, &[3]);
            }
            Expr::RejectReset => {
                out.be32(1, 1);
                out.bytes(2, &[0]);
            }
        }
    }
}

fn write_compare(out: &mut Attributes<'_>, reg: Reg, operation: u32, data: &[u8]) {
    out.be32(1, reg.wire());
    out.be32(2, operation);
    write_value(out, 3, data);
}

/// A value inside the attribute `kind`.
pub(crate) fn write_value(out: &mut Attributes<'_>, kind: u16, data: &[u8]) {
    out.nested(kind, |out| out.bytes(1, data));
}
