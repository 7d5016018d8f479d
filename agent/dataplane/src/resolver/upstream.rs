//! The node's own name servers, as its `/etc/resolv.conf` names them.
//!
//! Read at each question that is passed on, as what the file says is not the daemon's to keep: after the power
//! comes back it is written later than we start, and it changes with the network a machine is in.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

const PORT: u16 = 53;

/// The servers, loopback ones included: they are asked from the node's own network. None while there is no
/// such file.
pub(super) async fn servers(resolv_conf: &Path) -> Vec<SocketAddr> {
    match tokio::fs::read_to_string(resolv_conf).await {
        Ok(text) => parse(&text),
        Err(error) => {
            tracing::debug!(path = %resolv_conf.display(), %error, "no name servers");
            Vec::new()
        }
    }
}

fn parse(text: &str) -> Vec<SocketAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let named = words.next() == Some("nameserver");
        let address: IpAddr = words.next().filter(|_| named)?.parse().ok()?;
        Some(SocketAddr::new(address, PORT))
    };
    text.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_name_a_server_do() {
        let text = "# nameserver 192.0.2.9\nsearch example.com\n nameserver\t192.0.2.1 \nnameserver ::1 # own\n\
                    nameserver nonsense\nnameservers 192.0.2.8\nnameserver\noptions edns0";
        let expected = ["192.0.2.1:53", "[::1]:53"].map(|text| text.parse().expect("an address"));
        assert_eq!(parse(text), expected);
    }
}
