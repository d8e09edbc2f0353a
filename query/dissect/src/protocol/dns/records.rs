//! The meaning of resource records: their data as fields, under Packetbeat's names.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::message::{Record, read_name, u16_at, u32_at};
use super::names::{class_name, record_type, type_name};
use super::service::service_parameters;
use crate::protocol::value::{Fields, Value};

/// Types in the bitmaps of a record: IANA has assigned fewer. Each is a bit there, and some bytes of text here.
const TYPES_MAX: usize = 128;

/// A record as fields: `name`, `type`, `class`, `ttl`, `data`, and those that its type has besides. Data that are cut, and those of
/// types that aren't known, are written as in RFC 3597.
#[must_use]
pub fn record_fields(record: &Record<'_>) -> Fields {
    let mut fields = Fields::new();
    fields.set("name", record.name.text());
    fields.set("type", type_name(record.kind));
    fields.set("class", class_name(record.class));
    fields.set("ttl", record.ttl.to_string());
    let mut own = Fields::new();
    let data = read_data(record, &mut own);
    if let Some(data) = data {
        fields.merge(own);
        fields.set("data", data);
    } else {
        fields.set("data", unknown_data(record.data));
    }
    fields
}

/// The address of an A or AAAA record, as text.
#[must_use]
pub fn record_address(record: &Record<'_>) -> Option<String> {
    match record.kind {
        record_type::A => Some(Ipv4Addr::from(<[u8; 4]>::try_from(record.data).ok()?).to_string()),
        record_type::AAAA => Some(Ipv6Addr::from(<[u8; 16]>::try_from(record.data).ok()?).to_string()),
        _ => None,
    }
}

/// Field `data` of a record; the others are set. `None` when the data aren't what their type has.
fn read_data(record: &Record<'_>, fields: &mut Fields) -> Option<String> {
    let at = record.data_at;
    let mut data = Data { message: record.message(), at, end: at + record.data.len() };
    match record.kind {
        record_type::A | record_type::AAAA => record_address(record),
        record_type::NS | record_type::CNAME | record_type::PTR | record_type::DNAME => data.name(),
        record_type::MX | record_type::KX | record_type::AFSDB => {
            fields.set("preference", data.u16()?);
            data.name()
        }
        record_type::SOA => soa(&mut data, fields),
        record_type::TXT | record_type::SPF => data.strings().map(|strings| strings.join(" ")),
        record_type::HINFO => data.strings().map(|strings| strings.join(" ")),
        record_type::RP => Some(format!("{} {}", data.name()?, data.name()?)),
        record_type::SRV => {
            fields.set("priority", data.u16()?);
            fields.set("weight", data.u16()?);
            fields.set("port", data.u16()?);
            data.name()
        }
        record_type::NAPTR => naptr(&mut data, fields),
        record_type::DS | record_type::CDS => {
            fields.set("key_tag", data.u16()?.to_string());
            fields.set("algorithm", data.u8()?.to_string());
            fields.set("digest_type", data.u8()?.to_string());
            Some(hex(data.rest()?))
        }
        record_type::DNSKEY | record_type::CDNSKEY => {
            fields.set("flags", data.u16()?.to_string());
            fields.set("protocol", data.u8()?.to_string());
            fields.set("algorithm", data.u8()?.to_string());
            Some(base64(data.rest()?))
        }
        record_type::RRSIG => rrsig(&mut data, fields),
        record_type::NSEC => {
            let next = data.name()?;
            fields.set("type_bits", data.type_bits()?);
            Some(next)
        }
        record_type::NSEC3 => {
            nsec3_parameters(&mut data, fields)?;
            let salt = data.counted()?;
            fields.set("salt", hex(salt));
            let next = base32_hex(data.counted()?);
            fields.set("type_bits", data.type_bits()?);
            Some(next)
        }
        record_type::NSEC3PARAM => {
            nsec3_parameters(&mut data, fields)?;
            data.counted().map(hex)
        }
        record_type::SSHFP => Some(format!("{} {} {}", data.u8()?, data.u8()?, hex(data.rest()?))),
        record_type::TLSA => {
            Some(format!("{} {} {} {}", data.u8()?, data.u8()?, data.u8()?, hex(data.rest()?)))
        }
        record_type::CAA => {
            let (flags, tag) = (data.u8()?, character_string(data.counted()?));
            Some(format!("{flags} {tag} \"{}\"", character_string(data.rest()?)))
        }
        record_type::SVCB | record_type::HTTPS => {
            fields.set("priority", data.u16()?);
            let target = data.name()?;
            let parameters = service_parameters(data.rest()?)?;
            for (name, value) in parameters {
                fields.object("svc_params").set_key(&name, value);
            }
            Some(target)
        }
        _ => None,
    }
}

/// RFC 1035, section 3.3.13.
fn soa(data: &mut Data<'_>, fields: &mut Fields) -> Option<String> {
    let primary = data.name()?;
    fields.set("rname", data.name()?);
    for name in ["serial", "refresh", "retry", "expire", "minimum"] {
        fields.set(name, data.u32()?);
    }
    Some(primary)
}

/// RFC 3403, section 4.1.
fn naptr(data: &mut Data<'_>, fields: &mut Fields) -> Option<String> {
    fields.set("order", data.u16()?);
    fields.set("preference", data.u16()?);
    for name in ["flags", "service", "regexp"] {
        fields.set(name, character_string(data.counted()?));
    }
    data.name()
}

/// RFC 4034, section 3.1.
fn rrsig(data: &mut Data<'_>, fields: &mut Fields) -> Option<String> {
    fields.set("type_covered", type_name(data.u16()?));
    fields.set("algorithm", data.u8()?.to_string());
    fields.set("labels", data.u8()?.to_string());
    fields.set("original_ttl", data.u32()?.to_string());
    fields.set("expiration", signature_time(data.u32()?));
    fields.set("inception", signature_time(data.u32()?));
    fields.set("key_tag", data.u16()?.to_string());
    fields.set("signer_name", data.name()?);
    Some(base64(data.rest()?))
}

/// RFC 5155, section 3.2.
fn nsec3_parameters(data: &mut Data<'_>, fields: &mut Fields) -> Option<()> {
    fields.set("hash", data.u8()?.to_string());
    fields.set("flags", data.u8()?.to_string());
    fields.set("iterations", data.u16()?.to_string());
    Some(())
}

/// Reads the data of a record from their beginning.
struct Data<'a> {
    message: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Data<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.end)?;
        let taken = self.message.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn rest(&mut self) -> Option<&'a [u8]> {
        self.take(self.end - self.at)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).and_then(|bytes| u16_at(bytes, 0))
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4).and_then(|bytes| u32_at(bytes, 0))
    }

    /// Bytes whose number is in the byte before them.
    fn counted(&mut self) -> Option<&'a [u8]> {
        let len = self.u8()?;
        self.take(usize::from(len))
    }

    fn name(&mut self) -> Option<String> {
        let (name, end) = read_name(self.message, self.at).ok()?;
        self.at = end;
        (end <= self.end).then_some(name)
    }

    /// Strings with counts until the end (RFC 1035, section 3.3.14).
    fn strings(&mut self) -> Option<Vec<String>> {
        let mut strings = Vec::new();
        while self.at < self.end {
            strings.push(character_string(self.counted()?));
        }
        Some(strings)
    }

    /// Types whose bit is set (RFC 4034, section 4.1.2).
    fn type_bits(&mut self) -> Option<String> {
        const BITMAP_LEN_MAX: usize = 32;
        let (mut types, mut window_before) = (Vec::new(), None);
        while self.at < self.end {
            let (window, bitmap) = (self.u8()?, self.counted()?);
            if window_before >= Some(window) || !(1..=BITMAP_LEN_MAX).contains(&bitmap.len()) {
                return None;
            }
            window_before = Some(window);
            for (index, byte) in (0_u16..).zip(bitmap) {
                let set = (0..8).filter(|bit| byte & (0x80 >> bit) != 0);
                types.extend(set.map(|bit| u16::from(window) << 8 | index << 3 | bit));
            }
            if types.len() > TYPES_MAX {
                return None;
            }
        }
        let names: Vec<_> = types.into_iter().map(type_name).collect();
        Some(names.join(" "))
    }
}

/// Text of a string as in zone files: bytes that aren't printable are escaped.
pub(super) fn character_string(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            0x20..=0x7e => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "\\{byte:03}");
            }
        }
    }
    text
}

/// RFC 3597, section 5.
fn unknown_data(bytes: &[u8]) -> String {
    format!("\\# {} {}", bytes.len(), hex(bytes)).trim_end().to_owned()
}

/// Upper-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}

/// `YYYYMMDDHHmmSS` in UTC (RFC 4034, section 3.2).
fn signature_time(seconds: u32) -> String {
    let (days, rest) = (i64::from(seconds / 86_400), seconds % 86_400);
    let (year, month, day) = crate::protocol::time::civil_from_days(days);
    format!("{year:04}{month:02}{day:02}{:02}{:02}{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

/// RFC 4648, section 4.
pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let number =
            group.iter().enumerate().fold(0_u32, |sum, (at, byte)| sum | u32::from(*byte) << (16 - 8 * at));
        for digit in 0..4 {
            text.push(match digit <= group.len() {
                true => char::from(DIGITS[(number >> (18 - 6 * digit) & 63) as usize]),
                false => '=',
            });
        }
    }
    text
}

/// RFC 4648, section 7, without padding: what NSEC3 has (RFC 5155, section 3.3).
fn base32_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHIJKLMNOPQRSTUV";
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    for group in bytes.chunks(5) {
        let number =
            group.iter().enumerate().fold(0_u64, |sum, (at, byte)| sum | u64::from(*byte) << (32 - 8 * at));
        for digit in 0..(group.len() * 8).div_ceil(5) {
            text.push(char::from(DIGITS[(number >> (35 - 5 * digit) & 31) as usize]));
        }
    }
    text
}

/// A record in one line, for the text of requests and responses.
#[must_use]
pub fn record_line(record: &Record<'_>) -> String {
    let fields = record_fields(record);
    let mut parts = Vec::new();
    for (name, value) in fields.iter() {
        match value {
            Value::Text(text) => parts.push(format!("{name} {text}")),
            Value::Uint(number) => parts.push(format!("{name} {number}")),
            _ => {}
        }
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::message::{Section, read};
    use super::*;

    fn fields_of(kind: u16, data: &[u8]) -> Fields {
        let data_len = u16::try_from(data.len()).unwrap();
        let header =
            [&[0, 0, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0][..], b"\x01x\x00", &kind.to_be_bytes()].concat();
        let message = [&header[..], &[0, 1, 0, 0, 0, 60], &data_len.to_be_bytes(), data].concat();
        record_fields(&read(&message).unwrap().records(Section::Answers).next().unwrap())
    }

    fn data_of(kind: u16, data: &[u8]) -> String {
        fields_of(kind, data).value("data").and_then(Value::as_text).unwrap().to_owned()
    }

    #[test]
    fn data_of_each_kind() {
        use record_type as t;
        assert_eq!(data_of(t::A, &[192, 0, 2, 1]), "192.0.2.1");
        assert_eq!(
            data_of(t::AAAA, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
            "2001:db8::1"
        );
        assert_eq!(data_of(t::TXT, b"\x03a b\x02\"\x00"), r#"a b \"\000"#);
        assert_eq!(data_of(t::CAA, b"\x80\x05issueca.example"), "128 issue \"ca.example\"");
        assert_eq!(data_of(t::DS, &[1, 2, 8, 2, 0xab, 0xcd]), "ABCD");
        assert_eq!(data_of(t::TLSA, &[3, 1, 1, 0xff]), "3 1 1 FF");
        assert_eq!(data_of(t::NSEC3PARAM, &[1, 0, 0, 5, 2, 0xaa, 0xbb]), "AABB");
    }

    #[test]
    fn data_that_are_not_what_their_type_has_are_kept() {
        assert_eq!(data_of(record_type::A, &[1, 2, 3]), r"\# 3 010203");
        assert_eq!(data_of(record_type::MX, &[0]), r"\# 1 00");
        assert_eq!(data_of(65_280, &[]), r"\# 0");
        assert!(fields_of(record_type::SRV, &[0, 1, 0]).value("priority").is_none());
    }

    #[test]
    fn signatures() {
        let data = b"\x00\x01\x0d\x02\x00\x00\x01\x2c\x65\x00\x00\x00\x64\x00\x00\x00\x12\x34\x01x\x00abc";
        let fields = fields_of(record_type::RRSIG, data);
        let text = |name| fields.value(name).and_then(Value::as_text).unwrap();
        assert_eq!((text("type_covered"), text("algorithm"), text("labels")), ("A", "13", "2"));
        assert_eq!((text("expiration"), text("inception")), ("20230912060656", "20230302014640"));
        assert_eq!((text("key_tag"), text("signer_name"), text("data")), ("4660", "x", "YWJj"));
    }

    #[test]
    fn denials() {
        let fields = fields_of(record_type::NSEC, b"\x01y\x00\x00\x02\x40\x01\x01\x01\x40");
        assert_eq!(fields.value("type_bits").and_then(Value::as_text), Some("A MX CAA"));
        let fields =
            fields_of(record_type::NSEC3, b"\x01\x01\x00\x0c\x01\xaa\x05\x00\x44\x32\x14\xc7\x00\x01\x40");
        assert_eq!(fields.value("data").and_then(Value::as_text), Some("01234567"));
        assert_eq!(fields.value("salt").and_then(Value::as_text), Some("AA"));
    }

    #[test]
    fn bitmaps_of_types_that_are_none() {
        let types = |bitmaps: &[u8]| {
            let fields = fields_of(record_type::NSEC, &[b"\x01y\x00", bitmaps].concat());
            fields.value("type_bits").and_then(Value::as_text).map(str::to_owned)
        };
        assert_eq!(
            types(&[&[0, 32][..], &[0x11; 32], &[1, 1, 0x40]].concat()).unwrap().split(' ').count(),
            65
        );
        for (what, bitmaps) in [
            ("a window again", &[0, 1, 0x40, 0, 1, 0x40][..]),
            ("a window before the last one", &[1, 1, 0x40, 0, 1, 0x40]),
            ("an empty bitmap", &[0, 0]),
            ("a bitmap of 33 bytes", &[&[0, 33][..], &[0; 33]].concat()),
            ("a cut one", &[0, 2, 0x40]),
            ("more types than there are", &[&[0, 32][..], &[0xff; 32]].concat()),
        ] {
            assert_eq!(types(bitmaps), None, "{what}");
        }
        // The bytes are kept.
        assert_eq!(data_of(record_type::NSEC, b"\x01y\x00\x00\x00"), r"\# 5 0179000000");
    }

    #[test]
    fn encodings() {
        assert_eq!(base64(b""), "");
        assert_eq!(base64(b"f"), "Zg==");
        assert_eq!(base64(b"fo"), "Zm8=");
        assert_eq!(base64(b"foobar"), "Zm9vYmFy");
        assert_eq!(base32_hex(b"fooba"), "CPNMUOJ1");
        assert_eq!(base32_hex(b"f"), "CO");
    }
}
