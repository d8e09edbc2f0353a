//! What an expression means.

/// Bytes of an expression.
pub const EXPRESSION_LEN_MAX: usize = 64 << 10;
/// Parentheses and operators in each other.
pub const NESTING_MAX: usize = 100;

/// A test of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// Always this.
    Constant(bool),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Compare(Value, Relation, Value),
    /// The bytes at a fixed place, under a mask, are these.
    Bytes {
        at: Place,
        mask: Vec<u8>,
        value: Vec<u8>,
    },
    /// A number at a place is in this range, both ends included.
    Range {
        at: Place,
        size: u8,
        first: u32,
        last: u32,
    },
    /// The IPv4 fragment offset at the network header is 0.
    FirstFragment {
        network: u32,
    },
}

/// Where bytes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// So many bytes from the beginning of the packet.
    Fixed(u32),
    /// So many bytes behind the IPv4 header that begins at `network`.
    BehindIpv4 { network: u32, offset: u32 },
}

/// How numbers compare; all are unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    GreaterOrEqual,
    Greater,
}

/// A number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Number(u32),
    /// Bytes on the wire.
    Len,
    /// Bytes at a place whose last part is computed.
    Load {
        base: Place,
        offset: Box<Value>,
        size: u8,
    },
    Arithmetic(Box<Value>, Operator, Box<Value>),
    Negative(Box<Value>),
}

/// Operators on numbers of 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    And,
    Or,
    Xor,
    ShiftLeft,
    ShiftRight,
}

impl Node {
    pub(super) fn and(self, other: Self) -> Self {
        Self::And(Box::new(self), Box::new(other))
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self::Or(Box::new(self), Box::new(other))
    }

    /// All of several; at least one.
    pub(super) fn any(nodes: impl IntoIterator<Item = Self>) -> Self {
        nodes.into_iter().reduce(Self::or).unwrap_or(Self::Constant(false))
    }
}
