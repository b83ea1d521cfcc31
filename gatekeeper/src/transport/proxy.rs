//! The header of the PROXY protocol, version 2: says at the beginning of a connection for whom it
//! is (<https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt>, section 2.2).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The header for a user at `client` who connects to `server`. Without an address it says that the
/// connection is the sender's own.
pub(super) fn header(client: Option<IpAddr>, server: SocketAddr) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    match (client, server.ip()) {
        (None, _) => bytes.extend([0x20, 0x00, 0x00, 0x00]),
        (Some(IpAddr::V4(client)), IpAddr::V4(to)) => {
            bytes.extend([0x21, 0x11, 0, 12]);
            bytes.extend(client.octets());
            bytes.extend(to.octets());
            ports(&mut bytes, server);
        }
        (Some(client), to) => {
            bytes.extend([0x21, 0x21, 0, 36]);
            bytes.extend(wide(client).octets());
            bytes.extend(wide(to).octets());
            ports(&mut bytes, server);
        }
    }
    bytes
}

/// The user's port is not known: 0.
fn ports(bytes: &mut Vec<u8>, server: SocketAddr) {
    bytes.extend([0, 0]);
    bytes.extend(server.port().to_be_bytes());
}

fn wide(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex_header(client: Option<&str>, server: &str) -> String {
        hex::encode(header(
            client.map(|ip| ip.parse().unwrap()),
            server.parse().unwrap(),
        ))
    }

    const SIGNATURE_HEX: &str = "0d0a0d0a000d0a515549540a";

    #[test]
    fn both_families() {
        assert_eq!(
            hex_header(Some("192.0.2.1"), "198.51.100.2:443"),
            format!("{SIGNATURE_HEX}2111000cc0000201c6336402000001bb")
        );
        assert_eq!(
            hex_header(Some("2001:db8::1"), "[2001:db8::2]:80"),
            format!(
                "{SIGNATURE_HEX}21210024{}{}00000050",
                "20010db8000000000000000000000001", "20010db8000000000000000000000002"
            )
        );
    }

    #[test]
    fn mixed_families_are_written_wide() {
        let header = hex_header(Some("192.0.2.1"), "[2001:db8::2]:80");
        assert!(header.contains("00000000000000000000ffffc0000201"));
    }

    #[test]
    fn an_unknown_user_is_said_so() {
        assert_eq!(
            hex_header(None, "198.51.100.2:443"),
            format!("{SIGNATURE_HEX}20000000")
        );
    }
}
