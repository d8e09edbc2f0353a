//! Which fields of a protocol are columns of its table.

/// A column made from the field at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Path of the field from the root of documents, which is also the column's name: `dns.question.name`.
    pub path: &'static str,
    /// Type of the column.
    pub kind: Kind,
    /// What it holds, for the list of tables.
    pub description: &'static str,
}

/// Type of a column. A value of another kind is converted where that loses nothing (a number to text), and is null
/// where it would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Boolean.
    Bool,
    /// 64-bit signed number.
    Int,
    /// 64-bit number that isn't negative.
    Uint,
    /// 64-bit floating point number.
    Float,
    /// Text.
    Text,
    /// Nanoseconds since 1970 in UTC.
    Time,
    /// An address.
    Ip,
    /// A list of texts. A single text is a list of one.
    Texts,
    /// A list of objects, each with these fields; their paths count from the object.
    Objects(&'static [Column]),
    /// An object whose names come from the wire, with texts: HTTP headers.
    Map,
    /// Anything, as JSON text.
    Json,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident $kind:ident;)*) => {
        impl Column {
            $($(#[$doc])*
            #[must_use]
            pub const fn $name(path: &'static str, description: &'static str) -> Self {
                Self { path, kind: Kind::$kind, description }
            })*

            /// A column of [`Kind::Objects`].
            #[must_use]
            pub const fn objects(
                path: &'static str,
                fields: &'static [Column],
                description: &'static str,
            ) -> Self {
                Self { path, kind: Kind::Objects(fields), description }
            }
        }
    };
}

constructors! {
    /// A column of [`Kind::Bool`].
    bool Bool;
    /// A column of [`Kind::Int`].
    int Int;
    /// A column of [`Kind::Uint`].
    uint Uint;
    /// A column of [`Kind::Float`].
    float Float;
    /// A column of [`Kind::Text`].
    text Text;
    /// A column of [`Kind::Time`].
    time Time;
    /// A column of [`Kind::Ip`].
    ip Ip;
    /// A column of [`Kind::Texts`].
    texts Texts;
    /// A column of [`Kind::Map`].
    map Map;
    /// A column of [`Kind::Json`].
    json Json;
}
