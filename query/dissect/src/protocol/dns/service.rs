//! Parameters of SVCB and HTTPS records (RFC 9460).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::message::u16_at;
use super::records::{base64, character_string};
use crate::protocol::value::Value;

/// Parameters of a record, and options of a message: a dozen of each are in use. Fields are found one after the other.
const PARAMETERS_MAX: usize = 64;

/// Bytes of an option of EDNS without its value.
const OPTION_LEN_MIN: usize = 4;

/// Bytes that more options than there may be have at least.
pub(super) const MORE_OPTIONS_LEN_MIN: usize = (PARAMETERS_MAX + 1) * OPTION_LEN_MIN;

/// The parameters with their names (RFC 9460, section 14.3.2); `None` when they are cut, or more than there may be.
pub(super) fn service_parameters(mut bytes: &[u8]) -> Option<Vec<(String, Value)>> {
    let mut parameters = Vec::new();
    while !bytes.is_empty() {
        if parameters.len() == PARAMETERS_MAX {
            return None;
        }
        let key = u16_at(bytes, 0)?;
        let len = usize::from(u16_at(bytes, 2)?);
        let value = bytes.get(4..4 + len)?;
        parameters
            .push((key_name(key), parameter(key, value).unwrap_or_else(|| character_string(value).into())));
        bytes = &bytes[4 + len..];
    }
    Some(parameters)
}

fn key_name(key: u16) -> String {
    match key {
        0 => "mandatory".into(),
        1 => "alpn".into(),
        2 => "no-default-alpn".into(),
        3 => "port".into(),
        4 => "ipv4hint".into(),
        5 => "ech".into(),
        6 => "ipv6hint".into(),
        7 => "dohpath".into(),
        8 => "ohttp".into(),
        other => format!("key{other}"),
    }
}

fn parameter(key: u16, value: &[u8]) -> Option<Value> {
    Some(match key {
        0 => {
            let keys: Option<Vec<_>> = value.chunks(2).map(|key| u16_at(key, 0).map(key_name)).collect();
            Value::list(keys?)
        }
        1 => {
            let (mut protocols, mut rest) = (Vec::new(), value);
            while let Some((&len, after)) = rest.split_first() {
                protocols.push(character_string(after.get(..usize::from(len))?));
                rest = &after[usize::from(len)..];
            }
            Value::list(protocols)
        }
        2 | 8 if value.is_empty() => true.into(),
        3 if value.len() == 2 => u16_at(value, 0)?.into(),
        4 if value.len().is_multiple_of(4) => {
            Value::list(value.chunks(4).map(|ip| Ipv4Addr::new(ip[0], ip[1], ip[2], ip[3]).to_string()))
        }
        5 => base64(value).into(),
        6 if value.len().is_multiple_of(16) => {
            let addresses = value.chunks(16).filter_map(|ip| <[u8; 16]>::try_from(ip).ok());
            Value::list(addresses.map(|ip| Ipv6Addr::from(ip).to_string()))
        }
        _ => return None,
    })
}

/// Options of EDNS (RFC 6891, section 6.1.2) that have a short meaning: name and value. No more than [`PARAMETERS_MAX`].
pub(super) fn edns_options(bytes: &[u8]) -> Vec<(String, String)> {
    raw_edns_options(bytes).take(PARAMETERS_MAX).map(|(code, value)| edns_option(code, value)).collect()
}

/// True for more options than [`edns_options`] gives.
pub(super) fn has_more_edns_options(bytes: &[u8]) -> bool {
    raw_edns_options(bytes).nth(PARAMETERS_MAX).is_some()
}

fn raw_edns_options(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (code, len) = (u16_at(bytes, 0)?, usize::from(u16_at(bytes, 2)?));
        let value = bytes.get(OPTION_LEN_MIN..OPTION_LEN_MIN + len)?;
        bytes = &bytes[OPTION_LEN_MIN + len..];
        Some((code, value))
    })
}

fn edns_option(code: u16, value: &[u8]) -> (String, String) {
    let hex = super::records::hex(value).to_lowercase();
    match code {
        3 => ("nsid".into(), hex),
        8 => ("subnet".into(), client_subnet(value).unwrap_or(hex)),
        10 => ("cookie".into(), hex),
        11 => ("keepalive".into(), u16_at(value, 0).map_or(hex, |tenths| format!("{tenths}"))),
        12 => ("padding".into(), value.len().to_string()),
        14 => {
            let tags: Vec<_> =
                value.chunks(2).filter_map(|tag| u16_at(tag, 0)).map(|tag| tag.to_string()).collect();
            ("key_tag".into(), tags.join(" "))
        }
        15 => {
            let code = u16_at(value, 0).unwrap_or_default();
            let text = character_string(value.get(2..).unwrap_or_default());
            ("extended_error".into(), format!("{code} {text}").trim_end().to_owned())
        }
        other => (format!("option{other}"), hex),
    }
}

/// RFC 7871, section 6.
fn client_subnet(value: &[u8]) -> Option<String> {
    let (family, source_len, scope_len) = (u16_at(value, 0)?, value.get(2)?, value.get(3)?);
    let mut address = [0; 16];
    let given = value.get(4..).filter(|given| given.len() <= 16)?;
    address[..given.len()].copy_from_slice(given);
    match family {
        1 if given.len() <= 4 => {
            let ip = Ipv4Addr::new(address[0], address[1], address[2], address[3]);
            Some(format!("{ip}/{source_len}/{scope_len}"))
        }
        2 => Some(format!("{}/{source_len}/{scope_len}", Ipv6Addr::from(address))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_have_names_and_types() {
        let bytes = b"\x00\x01\x00\x06\x02h2\x02h3\x00\x03\x00\x02\x01\xbb\x00\x04\x00\x04\xc0\x00\x02\x01\x02\x9a\x00\x01x";
        let parameters = service_parameters(bytes).unwrap();
        assert_eq!(parameters[0], ("alpn".into(), Value::list(["h2", "h3"])));
        assert_eq!(parameters[1], ("port".into(), Value::Uint(443)));
        assert_eq!(parameters[2], ("ipv4hint".into(), Value::list(["192.0.2.1"])));
        assert_eq!(parameters[3], ("key666".into(), Value::from("x")));
        for len in 1..bytes.len() {
            let _ = service_parameters(&bytes[..len]);
        }
        assert_eq!(service_parameters(&bytes[..7]), None);
        let many =
            |count: u16| (0..count).flat_map(|key| (key + 100).to_be_bytes().into_iter().chain([0, 0]));
        assert_eq!(service_parameters(&many(64).collect::<Vec<_>>()).unwrap().len(), PARAMETERS_MAX);
        assert_eq!(service_parameters(&many(65).collect::<Vec<_>>()), None);
    }

    #[test]
    fn edns() {
        let bytes =
            b"\x00\x08\x00\x07\x00\x01\x18\x00\xc0\x00\x02\x00\x0a\x00\x02\xab\xcd\x00\x0f\x00\x04\x00\x16hi";
        assert_eq!(
            edns_options(bytes),
            [
                ("subnet".into(), "192.0.2.0/24/0".into()),
                ("cookie".into(), "abcd".into()),
                ("extended_error".into(), "22 hi".into())
            ]
        );
        assert_eq!(edns_options(&bytes[..9]), []);
    }
}
