//! Types that Arrow does not have: network addresses.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr};

use arrow::datatypes::{DataType, Field};

/// Bytes of an address: IPv6, or IPv4 mapped into it (RFC 4291, section 2.5.5.2).
pub const ADDRESS_LEN: usize = 16;
/// Bytes of a MAC address.
pub const MAC_LEN: usize = 6;
/// Name of the Arrow extension type of addresses.
pub const ADDRESS_EXTENSION: &str = "kcap.ip";
/// Name of the Arrow extension type of MAC addresses.
pub const MAC_EXTENSION: &str = "kcap.mac";
/// Key under which Arrow keeps the name of an extension type in a field's metadata.
const EXTENSION_KEY: &str = "ARROW:extension:name";

/// The Arrow type of an address.
pub const ADDRESS_TYPE: DataType = DataType::FixedSizeBinary(16);
/// The Arrow type of a MAC address.
pub const MAC_TYPE: DataType = DataType::FixedSizeBinary(6);

/// A nullable column of addresses.
#[must_use]
pub fn address_field(name: &str) -> Field {
    Field::new(name, ADDRESS_TYPE, true).with_metadata(extension(ADDRESS_EXTENSION))
}

/// A nullable column of MAC addresses.
#[must_use]
pub fn mac_field(name: &str) -> Field {
    Field::new(name, MAC_TYPE, true).with_metadata(extension(MAC_EXTENSION))
}

/// The 16 bytes of an address.
#[must_use]
pub fn address_bytes(address: IpAddr) -> [u8; ADDRESS_LEN] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The 16 bytes of an address of 4 or 16 bytes in network order; `None` for any other length.
#[must_use]
pub fn address_from_wire(bytes: &[u8]) -> Option<[u8; ADDRESS_LEN]> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(|bytes| address_bytes(IpAddr::from(bytes))),
        ADDRESS_LEN => bytes.try_into().ok(),
        _ => None,
    }
}

/// The text of 16 address bytes: dotted for IPv4, else with colons (RFC 5952). `None` for any other length.
#[must_use]
pub fn address_text(bytes: &[u8]) -> Option<String> {
    let mut text = String::new();
    write_address(&mut text, bytes.try_into().ok()?).ok()?;
    Some(text)
}

/// Writes what [`address_text`] gives.
///
/// # Errors
/// Those of the output.
pub fn write_address(output: &mut impl Write, bytes: [u8; ADDRESS_LEN]) -> std::fmt::Result {
    let address = Ipv6Addr::from(bytes);
    let Some(address) = address.to_ipv4_mapped() else { return write!(output, "{address}") };
    // As the standard library writes it, which takes several times as long.
    let mut text = [0; "255.255.255.255".len()];
    let mut len = 0;
    let mut push = |byte| {
        text[len] = byte;
        len += 1;
    };
    for (place, octet) in address.octets().into_iter().enumerate() {
        if place > 0 {
            push(b'.');
        }
        if octet >= 100 {
            push(b'0' + octet / 100);
        }
        if octet >= 10 {
            push(b'0' + octet / 10 % 10);
        }
        push(b'0' + octet % 10);
    }
    output.write_str(std::str::from_utf8(&text[..len]).unwrap_or_default())
}

/// The text of a MAC address: pairs of hexadecimal digits with colons.
#[must_use]
pub fn mac_text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

fn extension(name: &str) -> HashMap<String, String> {
    HashMap::from([(EXTENSION_KEY.to_owned(), name.to_owned())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_print_as_people_write_them() {
        let text = |address: &str| address_text(&address_bytes(address.parse().unwrap())).unwrap();
        assert_eq!(text("10.0.0.1"), "10.0.0.1");
        assert_eq!(text("::1"), "::1");
        assert_eq!(text("2001:db8:0:0:1:0:0:1"), "2001:db8::1:0:0:1");
        for octet in 0..=u8::MAX {
            let octets = [octet, octet.wrapping_mul(7), 0, 255 - octet];
            let address = IpAddr::from(octets);
            assert_eq!(address_text(&address_bytes(address)).unwrap(), address.to_string());
        }
        assert_eq!(address_text(&[1, 2, 3]), None);
        assert_eq!(address_from_wire(&[10, 0, 0, 1]), Some(address_bytes("10.0.0.1".parse().unwrap())));
        assert_eq!(address_from_wire(&[0; 5]), None);
        assert_eq!(mac_text(&[0, 1, 2, 0xfe, 4, 5]), "00:01:02:fe:04:05");
    }
}
