//! What relays add (RFC 3046, section 2.0).

use std::net::Ipv4Addr;

use super::values::hex;
use crate::protocol::value::{Fields, Value, text};

/// Suboptions by their names: text where it is printable, else hexadecimal.
pub(super) fn fields(mut bytes: &[u8]) -> Option<Fields> {
    let mut fields = Fields::new();
    while let [code, len, rest @ ..] = bytes {
        let value = rest.get(..usize::from(*len))?;
        fields.set_key(&name(*code), suboption(*code, value));
        bytes = &rest[usize::from(*len)..];
    }
    bytes.is_empty().then_some(fields)
}

fn name(code: u8) -> String {
    match code {
        1 => "circuit_id".into(),
        2 => "remote_id".into(),
        4 => "docsis_device_class".into(),
        5 => "link_selection".into(),
        6 => "subscriber_id".into(),
        7 => "radius_attributes".into(),
        8 => "authentication".into(),
        9 => "vendor_specific".into(),
        10 => "flags".into(),
        11 => "server_identifier_override".into(),
        12 => "identifier".into(),
        19 => "source_port".into(),
        151 => "virtual_subnet_selection".into(),
        152 => "virtual_subnet_selection_control".into(),
        other => format!("suboption_{other}"),
    }
}

fn suboption(code: u8, value: &[u8]) -> Value {
    match (code, <[u8; 4]>::try_from(value)) {
        (5 | 11, Ok(address)) => Ipv4Addr::from(address).to_string().into(),
        _ if !value.is_empty() && value.iter().all(|byte| matches!(byte, 0x20..=0x7e)) => text(value).into(),
        _ => hex(value).into(),
    }
}
