//! The fields of a transaction: an ordered tree, from which table columns and documents are made.

use std::borrow::Cow;

use super::name::Name;

/// A value of a field.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Known to be absent. Left out of documents unless `keep_null` is set.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A number that may be negative.
    Int(i64),
    /// A number.
    Uint(u64),
    /// A number with a fraction.
    Float(f64),
    /// Text. Bytes from the wire that aren't UTF-8 are replaced as in [`text`].
    Text(String),
    /// A point in time, nanoseconds since 1970 in UTC.
    Time(i64),
    /// An address, IPv4 mapped.
    Ip([u8; 16]),
    /// Several values.
    List(Vec<Value>),
    /// Fields below this one.
    Object(Fields),
}

/// Named values in the order in which they were set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields(Vec<(Name, Value)>);

impl Fields {
    /// No fields.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the field at a dotted path (`dns.question.name`), making the objects on the way. What was there is replaced.
    pub fn set(&mut self, path: &str, value: impl Into<Value>) {
        match path.split_once('.') {
            None => self.set_key(path, value),
            Some((first, rest)) => self.object(first).set(rest, value),
        }
    }

    /// Sets the field at a dotted path when there is a value.
    pub fn set_some<V: Into<Value>>(&mut self, path: &str, value: Option<V>) {
        if let Some(value) = value {
            self.set(path, value);
        }
    }

    /// Sets the field of this very name. For names that come from the wire, where a dot is nothing special.
    pub fn set_key(&mut self, key: &str, value: impl Into<Value>) {
        let value = value.into();
        match self.0.iter_mut().find(|(name, _)| name.is(key)) {
            Some((_, old)) => *old = value,
            None => self.0.push((Name::new(key), value)),
        }
    }

    /// The object of this very name; made, also in place of another value, when there is none.
    pub fn object(&mut self, key: &str) -> &mut Fields {
        let at = self.0.iter().position(|(name, _)| name.is(key)).unwrap_or_else(|| {
            self.0.push((Name::new(key), Value::Object(Fields::new())));
            self.0.len() - 1
        });
        let slot = &mut self.0[at].1;
        if !matches!(slot, Value::Object(_)) {
            *slot = Value::Object(Fields::new());
        }
        match slot {
            Value::Object(fields) => fields,
            _ => unreachable!("made an object above"),
        }
    }

    /// The value at a dotted path. Of names with dots in them the longest that is there is followed.
    #[must_use]
    pub fn value(&self, path: &str) -> Option<&Value> {
        if let Some((_, value)) = self.0.iter().find(|(name, _)| name.is(path)) {
            return Some(value);
        }
        path.rmatch_indices('.').find_map(|(at, _)| {
            match self.0.iter().find(|(name, _)| name.is(&path[..at])) {
                Some((_, Value::Object(fields))) => fields.value(&path[at + 1..]),
                _ => None,
            }
        })
    }

    /// Takes the value at a dotted path out. An object that is empty then stays.
    pub fn remove(&mut self, path: &str) -> Option<Value> {
        if let Some(at) = self.0.iter().position(|(name, _)| name.is(path)) {
            return Some(self.0.remove(at).1);
        }
        path.rmatch_indices('.').find_map(|(at, _)| {
            match self.0.iter_mut().find(|(name, _)| name.is(&path[..at])) {
                Some((_, Value::Object(fields))) => fields.remove(&path[at + 1..]),
                _ => None,
            }
        })
    }

    /// Keeps the fields of this object for which the function says so; it may change those that stay.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &mut Value) -> bool) {
        self.0.retain_mut(|(name, value)| keep(name.as_str(), value));
    }

    /// Names and values in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Number of fields, not counting those below others.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of the texts in all fields, and of their names.
    #[must_use]
    pub fn text_len(&self) -> usize {
        self.iter().map(|(name, value)| name.len() + value.text_len()).sum()
    }

    /// Adds all fields of another tree; objects that are in both are merged, other values replaced.
    pub fn merge(&mut self, other: Fields) {
        for (name, value) in other.0 {
            match value {
                Value::Object(fields) => self.object(name.as_str()).merge(fields),
                value => self.set_key(name.as_str(), value),
            }
        }
    }
}

impl Value {
    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is one that isn't negative.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::Uint(number) => Some(number),
            Self::Int(number) => u64::try_from(number).ok(),
            _ => None,
        }
    }

    /// Bytes of the texts in it.
    #[must_use]
    pub fn text_len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::List(values) => values.iter().map(Self::text_len).sum(),
            Self::Object(fields) => fields.text_len(),
            _ => 0,
        }
    }

    /// A list of what the iterator gives.
    pub fn list<V: Into<Value>>(values: impl IntoIterator<Item = V>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

/// Bytes from the wire as text: what isn't UTF-8 becomes U+FFFD.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

macro_rules! from {
    ($($type:ty => |$value:ident| $made:expr;)*) => {
        $(impl From<$type> for Value {
            fn from($value: $type) -> Self {
                $made
            }
        })*
    };
}

from! {
    bool => |value| Self::Bool(value);
    i32 => |value| Self::Int(value.into());
    i64 => |value| Self::Int(value);
    u8 => |value| Self::Uint(value.into());
    u16 => |value| Self::Uint(value.into());
    u32 => |value| Self::Uint(value.into());
    u64 => |value| Self::Uint(value);
    usize => |value| Self::Uint(value as u64);
    f64 => |value| Self::Float(value);
    &str => |value| Self::Text(value.to_owned());
    Cow<'_, str> => |value| Self::Text(value.into_owned());
    String => |value| Self::Text(value);
    Vec<Value> => |value| Self::List(value);
    Fields => |value| Self::Object(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_make_objects_and_find_them_again() {
        let mut fields = Fields::new();
        fields.set("dns.question.name", "example.org");
        fields.set("dns.id", 7_u16);
        fields.set("dns.question.name", "example.net");
        assert_eq!(fields.len(), 1);
        assert_eq!(fields.value("dns.question.name").and_then(Value::as_text), Some("example.net"));
        assert_eq!(fields.value("dns.id"), Some(&Value::Uint(7)));
        assert_eq!(fields.value("dns.question.type"), None);
        assert_eq!(fields.value("dns.id.x"), None);
        assert_eq!(fields.remove("dns.question.name"), Some(Value::from("example.net")));
        assert_eq!(fields.remove("dns.question.name"), None);
    }

    #[test]
    fn names_from_the_wire_may_have_dots() {
        let mut fields = Fields::new();
        fields.object("headers").set_key("x.y", "1");
        assert_eq!(fields.value("headers.x.y"), Some(&Value::from("1")));
        assert_eq!(fields.remove("headers.x.y"), Some(Value::from("1")));
        assert_eq!(fields.value("headers.x"), None);
    }

    #[test]
    fn a_value_gives_way_to_an_object() {
        let mut fields = Fields::new();
        fields.set("a", 1_u8);
        fields.set("a.b", 2_u8);
        assert_eq!(fields.value("a.b"), Some(&Value::Uint(2)));
    }

    #[test]
    fn merging_keeps_what_the_other_has_not() {
        let mut one = Fields::new();
        one.set("event.kind", "event");
        one.set("event.type", "old");
        let mut other = Fields::new();
        other.set("event.type", "new");
        one.merge(other);
        assert_eq!(one.value("event.kind").and_then(Value::as_text), Some("event"));
        assert_eq!(one.value("event.type").and_then(Value::as_text), Some("new"));
    }
}
