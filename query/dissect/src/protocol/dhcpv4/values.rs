//! Values of options: from bytes to what documents have.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use super::kinds::message_type_name;
use super::options::display_name;
use super::relay;
use crate::protocol::dns::message::read_name;
use crate::protocol::value::{Fields, Value, text};

/// Names in one option. Lists for searching have a dozen; each name may be two bytes that point to another one of 255.
const NAMES_MAX: usize = 128;

/// What an option's value is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Flag,
    U8,
    U16,
    U32,
    /// Seconds that may be negative.
    I32,
    /// Numbers of two bytes.
    U16s,
    Ip,
    Ips,
    /// One address, or several: Packetbeat has a list only where there are more.
    FirstIp,
    /// Pairs of addresses, or of an address and a mask.
    IpPairs,
    Text,
    /// Names as in DNS, compressed (RFC 3397).
    Names,
    Hex,
    /// Present or not.
    Nothing,
    MessageType,
    Parameters,
    /// Destination prefixes with their routers (RFC 3442).
    Routes,
    ClientIdentifier,
    /// RFC 4702.
    FullName,
    /// RFC 3046.
    RelayAgent,
    /// Texts with counts (RFC 3004).
    CountedTexts,
    /// Data of vendors by their enterprise number (RFC 3925).
    Vendors,
}

/// The value; `None` when the bytes aren't of the form.
pub(super) fn value(form: Form, bytes: &[u8]) -> Option<Value> {
    Some(match form {
        Form::Flag => match bytes {
            [0] => false.into(),
            [1] => true.into(),
            _ => return None,
        },
        Form::U8 => u8::from_be_bytes(bytes.try_into().ok()?).into(),
        Form::U16 => u16::from_be_bytes(bytes.try_into().ok()?).into(),
        Form::U32 => u32::from_be_bytes(bytes.try_into().ok()?).into(),
        Form::I32 => i32::from_be_bytes(bytes.try_into().ok()?).into(),
        Form::U16s => Value::list(groups::<2>(bytes)?.map(u16::from_be_bytes)),
        Form::Ip => address(bytes.try_into().ok()?).into(),
        Form::Ips => Value::list(groups::<4>(bytes)?.map(address)),
        Form::FirstIp => match <[u8; 4]>::try_from(bytes) {
            Ok(one) => address(one).into(),
            Err(_) => Value::list(groups::<4>(bytes)?.map(address)),
        },
        Form::IpPairs => {
            Value::list(groups::<8>(bytes)?.map(|[a, b, c, d, e, f, g, h]| {
                format!("{}/{}", address([a, b, c, d]), address([e, f, g, h]))
            }))
        }
        Form::Text => text(trim_zeros(bytes)).into(),
        Form::Names => names(bytes)?,
        Form::Hex => hex(bytes).into(),
        Form::Nothing => bytes.is_empty().then_some(true)?.into(),
        Form::MessageType => message_type_name(u8::from_be_bytes(bytes.try_into().ok()?)).into(),
        Form::Parameters => Value::list(bytes.iter().map(|code| display_name(*code))),
        Form::Routes => routes(bytes)?,
        Form::ClientIdentifier => match bytes {
            [1, hardware @ ..] if hardware.len() == 6 => mac(hardware).into(),
            [0, name @ ..] if !name.is_empty() => text(name).into(),
            _ => hex(bytes).into(),
        },
        Form::FullName => full_name(bytes)?,
        Form::RelayAgent => relay::fields(bytes)?.into(),
        Form::CountedTexts => counted_texts(bytes)?,
        Form::Vendors => vendors(bytes)?,
    })
}

/// A hardware address with colons.
pub(super) fn mac(bytes: &[u8]) -> String {
    let parts: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    parts.join(":")
}

/// Bytes as lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn address(bytes: [u8; 4]) -> String {
    Ipv4Addr::from(bytes).to_string()
}

/// The bytes in groups; `None` when they aren't a whole number of them, or none.
fn groups<const LEN: usize>(bytes: &[u8]) -> Option<impl Iterator<Item = [u8; LEN]> + '_> {
    (!bytes.is_empty() && bytes.len().is_multiple_of(LEN))
        .then(|| bytes.chunks_exact(LEN).map(|group| std::array::from_fn(|at| group[at])))
}

/// Some clients and servers end texts with zeros, against RFC 2132.
fn trim_zeros(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    &bytes[..end]
}

fn names(bytes: &[u8]) -> Option<Value> {
    let (mut names, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        if names.len() == NAMES_MAX {
            return None;
        }
        let (name, end) = read_name(bytes, at).ok()?;
        names.push(name);
        at = end;
    }
    Some(Value::list(names))
}

fn routes(mut bytes: &[u8]) -> Option<Value> {
    let mut routes = Vec::new();
    while let Some((&prefix_len, rest)) = bytes.split_first() {
        let significant = usize::from(prefix_len).div_ceil(8);
        if prefix_len > 32 {
            return None;
        }
        let mut network = [0; 4];
        network[..significant].copy_from_slice(rest.get(..significant)?);
        let router = rest.get(significant..significant + 4)?;
        let router = address(router.try_into().ok()?);
        routes.push(format!("{}/{prefix_len} via {router}", address(network)));
        bytes = &rest[significant + 4..];
    }
    Some(Value::list(routes))
}

fn full_name(bytes: &[u8]) -> Option<Value> {
    const ENCODED_AS_IN_DNS: u8 = 0x04;
    let (&flags, rest) = bytes.split_first()?;
    // Two response codes that are not used any more (RFC 4702, section 2.2).
    let name = rest.get(2..)?;
    let name = if flags & ENCODED_AS_IN_DNS == 0 {
        text(name)
    } else {
        // A partial name has no root at its end.
        let terminated = [name, &[0]].concat();
        read_name(&terminated, 0).ok()?.0
    };
    let mut fields = Fields::new();
    fields.set("name", name);
    for (bit, flag) in [(0x01, "server_updates"), (0x02, "overridden"), (0x08, "no_update")] {
        fields.set(flag, flags & bit != 0);
    }
    Some(fields.into())
}

fn counted_texts(bytes: &[u8]) -> Option<Value> {
    let (mut texts, mut rest) = (Vec::new(), bytes);
    while let Some((&len, after)) = rest.split_first() {
        match after.get(..usize::from(len)) {
            Some(one) if len > 0 => texts.push(text(one)),
            // iPXE and others send plain text.
            _ => return Some(Value::list([text(trim_zeros(bytes))])),
        }
        rest = &after[usize::from(len)..];
    }
    Some(Value::list(texts))
}

fn vendors(mut bytes: &[u8]) -> Option<Value> {
    let mut vendors = Vec::new();
    while let Some((number, rest)) = bytes.split_first_chunk::<4>() {
        let (&len, rest) = rest.split_first()?;
        let data = rest.get(..usize::from(len))?;
        let mut fields = Fields::new();
        fields.set("enterprise", u32::from_be_bytes(*number));
        fields.set("data", hex(data));
        vendors.push(Value::Object(fields));
        bytes = &rest[usize::from(len)..];
    }
    bytes.is_empty().then_some(Value::List(vendors))
}
