//! Names in certificates: the parts that ECS has fields for, and the whole as text (RFC 4514).

use std::fmt::Write as _;

use x509_parser::asn1_rs::Tag;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::hex::lower_hex;
use crate::protocol::{Fields, Value};

/// Fields of a name under their names in ECS, in the order of Packetbeat. Attributes that are there several times become a list.
pub(super) fn fields(name: &X509Name<'_>) -> Fields {
    const FIELDS: [(&str, &str); 9] = [
        ("country", "2.5.4.6"),
        ("organization", "2.5.4.10"),
        ("organizational_unit", "2.5.4.11"),
        ("locality", "2.5.4.7"),
        ("state_or_province", "2.5.4.8"),
        ("postal_code", "2.5.4.17"),
        ("serial_number", "2.5.4.5"),
        ("common_name", "2.5.4.3"),
        ("street_address", "2.5.4.9"),
    ];
    let mut fields = Fields::new();
    for (field, kind) in FIELDS {
        let of_kind = name.iter_attributes().filter(|attribute| attribute.attr_type().to_id_string() == kind);
        let mut values: Vec<_> = of_kind.filter_map(text).map(Value::from).collect();
        match values.len() {
            0 => {}
            1 => fields.set(field, values.remove(0)),
            _ => fields.set(field, values),
        }
    }
    fields.set("distinguished_name", to_text(name));
    fields
}

/// The name as text: its last part first.
pub(super) fn to_text(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> =
        name.iter().map(|part| part.iter().map(attribute_text).collect::<Vec<_>>().join("+")).collect();
    parts.reverse();
    parts.join(",")
}

fn attribute_text(attribute: &AttributeTypeAndValue<'_>) -> String {
    let kind = attribute.attr_type().to_id_string();
    let name = short_name(&kind);
    match text(attribute) {
        Some(value) => format!("{}={}", name.unwrap_or(&kind), escape(&value)),
        None => format!("{}=#{}", name.unwrap_or(&kind), lower_hex(attribute.attr_value().data)),
    }
}

/// The names of RFC 4514, section 3, and those that Go and OpenSSL write.
fn short_name(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "2.5.4.3" => "CN",
        "2.5.4.5" => "SERIALNUMBER",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.17" => "POSTALCODE",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        _ => return None,
    })
}

/// The value, if it is of a type of text.
fn text(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let value = attribute.attr_value();
    match value.tag() {
        Tag::NumericString | Tag::PrintableString | Tag::Utf8String | Tag::Ia5String | Tag::VisibleString => {
            Some(String::from_utf8_lossy(value.data).into_owned())
        }
        // T.61 is what old software declared when it meant Latin-1.
        Tag::TeletexString => Some(value.data.iter().map(|&byte| char::from(byte)).collect()),
        Tag::BmpString => {
            let units = value.data.as_chunks::<2>().0.iter().map(|&unit| u16::from_be_bytes(unit));
            Some(char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
        }
        Tag::UniversalString => {
            let characters = value.data.as_chunks::<4>().0.iter().map(|&unit| u32::from_be_bytes(unit));
            Some(characters.map(|unit| char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
        }
        _ => None,
    }
}

/// RFC 4514, section 2.4.
fn escape(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut escaped = String::with_capacity(value.len());
    for (at, character) in value.chars().enumerate() {
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => escaped.push('\\'),
            ' ' if at == 0 || at == last => escaped.push('\\'),
            '#' if at == 0 => escaped.push('\\'),
            '\0'..='\u{1f}' | '\u{7f}' => {
                write!(escaped, "\\{:02x}", character as u32).expect("writing to a string doesn't fail");
                continue;
            }
            _ => {}
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters() {
        assert_eq!(escape("Example, Inc."), "Example\\, Inc.");
        assert_eq!(escape(" #a "), "\\ #a\\ ");
        assert_eq!(escape("#a"), "\\#a");
        assert_eq!(escape("a\0\n"), "a\\00\\0a");
        assert_eq!(escape(""), "");
    }
}
