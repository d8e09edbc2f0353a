//! Comparisons of numbers: `tcp[tcpflags] & tcp-syn != 0`.

use super::{Parsed, Parser, parse_number};
use crate::names::{self, Versions};
use crate::program::{Node, Operator, Place, Relation, Value};

/// Operators by precedence, lowest first; those of a row go from left to right.
const OPERATORS: [&[(&str, Operator)]; 4] = [
    &[("|", Operator::Or), ("^", Operator::Xor)],
    &[("&", Operator::And)],
    &[("<<", Operator::ShiftLeft), (">>", Operator::ShiftRight)],
    &[("+", Operator::Add), ("-", Operator::Subtract)],
];
const FACTOR_OPERATORS: [(&str, Operator); 3] =
    [("*", Operator::Multiply), ("/", Operator::Divide), ("%", Operator::Remainder)];

const RELATIONS: [(&str, Relation); 7] = [
    ("<", Relation::Less),
    ("<=", Relation::LessOrEqual),
    ("=", Relation::Equal),
    ("==", Relation::Equal),
    ("!=", Relation::NotEqual),
    (">=", Relation::GreaterOrEqual),
    (">", Relation::Greater),
];

/// Bytes that the header of a protocol has at least: what lies behind them may be payload.
fn fixed_header_len(protocol: &str) -> u32 {
    match protocol {
        "ether" | "link" => 14,
        "ip" | "tcp" => 20,
        "ip6" => 40,
        "arp" | "rarp" => 28,
        "udp" | "icmp" | "icmp6" | "igmp" | "sctp" => 8,
        _ => 0,
    }
}

/// `less` and `greater`: the length itself counts.
pub(super) fn len(less: bool, number: u32) -> Node {
    let relation = if less { Relation::LessOrEqual } else { Relation::GreaterOrEqual };
    Node::Compare(Value::Len, relation, Value::Number(number))
}

fn is_sign(text: &str) -> bool {
    RELATIONS.iter().any(|(sign, _)| *sign == text)
        || OPERATORS.iter().flat_map(|row| row.iter()).chain(&FACTOR_OPERATORS).any(|(sign, _)| *sign == text)
}

impl<'a> Parser<'a> {
    /// True when a comparison begins here, and no test in parentheses or of an address.
    pub(super) fn is_arithmetic(&self) -> bool {
        let text_at = |at: usize| self.tokens.get(at).map_or("", |token| token.text);
        let token = text_at(self.at);
        if token == "-" {
            return true;
        }
        if token == "(" {
            // What stands in parentheses is a number when it is reckoned with, or compared.
            return is_sign(text_at(self.behind_parenthesis()));
        }
        let next = text_at(self.at + 1);
        let is_value = token == "len" || parse_number(token).is_some() || names::constant(token).is_some();
        // A slash behind a number may belong to a network.
        let is_slash = next == "/"
            && (parse_number(token).is_none()
                || text_at(self.at + 2) == "("
                || is_sign(text_at(self.at + 3)));
        next == "[" || (is_value && (is_slash || (next != "/" && is_sign(next))))
    }

    /// The place behind the parenthesis that closes the one that is next.
    fn behind_parenthesis(&self) -> usize {
        let mut depth = 0_usize;
        for (place, token) in self.tokens.iter().enumerate().skip(self.at) {
            match token.text {
                "(" => depth += 1,
                ")" if depth == 1 => return place + 1,
                ")" => depth -= 1,
                _ => {}
            }
        }
        self.tokens.len()
    }

    pub(super) fn comparison(&mut self) -> Parsed<Node> {
        let mut guards = Vec::new();
        let one = self.arithmetic(0, &mut guards)?;
        let relation = self.peek().and_then(|token| RELATIONS.iter().find(|(sign, _)| *sign == token.text));
        let Some((_, relation)) = relation else {
            return Err(self.error("a comparison (=, !=, <, …) is missing"));
        };
        self.at += 1;
        let other = self.arithmetic(0, &mut guards)?;
        let compare = Node::Compare(one, *relation, other);
        Ok(match guards.into_iter().reduce(Node::and) {
            Some(guards) => guards.and(compare),
            None => compare,
        })
    }

    /// A sum, product, …. `guards` gets what must hold so that the bytes that are looked at are those of the protocol:
    /// for libpcap, only that of the first operand.
    fn arithmetic(&mut self, row: usize, guards: &mut Vec<Node>) -> Parsed<Value> {
        let Some(operators) = OPERATORS.get(row) else { return self.product(guards) };
        let mut value = self.arithmetic(row + 1, guards)?;
        while let Some(operator) = self.operator(operators) {
            self.count_operator()?;
            let other = self.arithmetic(row + 1, &mut Vec::new())?;
            value = Value::Arithmetic(Box::new(value), operator, Box::new(other));
        }
        Ok(value)
    }

    fn product(&mut self, guards: &mut Vec<Node>) -> Parsed<Value> {
        let mut value = self.term(guards)?;
        while let Some(operator) = self.operator(&FACTOR_OPERATORS) {
            self.count_operator()?;
            let position = self.position();
            let other = self.term(&mut Vec::new())?;
            if other == Value::Number(0) && matches!(operator, Operator::Divide | Operator::Remainder) {
                return Err(self.error_at(position, "division by zero"));
            }
            value = Value::Arithmetic(Box::new(value), operator, Box::new(other));
        }
        Ok(value)
    }

    fn operator(&mut self, operators: &[(&str, Operator)]) -> Option<Operator> {
        let text = self.peek()?.text;
        let (_, operator) = operators.iter().find(|(sign, _)| *sign == text)?;
        self.at += 1;
        Some(*operator)
    }

    fn term(&mut self, guards: &mut Vec<Node>) -> Parsed<Value> {
        if self.take(&["-"]) {
            let value = self.nested(|parser| parser.term(guards))?;
            return Ok(Value::Negative(Box::new(value)));
        }
        if self.take(&["("]) {
            let value = self.nested(|parser| parser.arithmetic(0, guards))?;
            self.expect(")")?;
            return Ok(value);
        }
        let Some(token) = self.peek() else { return Err(self.error("a number is missing")) };
        let is_load = self.tokens.get(self.at + 1).is_some_and(|next| next.text == "[");
        if is_load {
            return self.load(token.text, guards);
        }
        let value = if token.text == "len" {
            Some(Value::Len)
        } else {
            parse_number(token.text).or_else(|| names::constant(token.text)).map(Value::Number)
        };
        let value = value.ok_or_else(|| self.error(format!("'{}' is no number", token.text)))?;
        self.at += 1;
        Ok(value)
    }

    /// `protocol[offset:size]`.
    fn load(&mut self, protocol: &str, guards: &mut Vec<Node>) -> Parsed<Value> {
        let layout = self.layout;
        let network = layout.network();
        let transport = || {
            let (_, number, versions) = names::IP_PROTOCOLS.iter().find(|(name, ..)| *name == protocol)?;
            Some(if *versions == Versions::V6 {
                (layout.ip_protocol(Versions::V6, *number), Place::Fixed(network + 40))
            } else {
                let guard = layout.ip_protocol(Versions::V4, *number).and(Node::FirstFragment { network });
                (guard, Place::BehindIpv4 { network, offset: 0 })
            })
        };
        let base = match protocol {
            "ether" | "link" => Some((None, Place::Fixed(0))),
            "ip" | "ip6" | "arp" | "rarp" => {
                let number = names::ETHER_TYPES.iter().find(|(name, _)| *name == protocol);
                number.map(|(_, number)| (Some(layout.ether_type(*number)), Place::Fixed(network)))
            }
            _ => transport().map(|(guard, place)| (Some(guard), place)),
        };
        let Some((guard, base)) = base else {
            return Err(self.error(format!("'{protocol}' is no protocol whose bytes can be looked at")));
        };
        self.at += 2;
        guards.extend(guard);
        let offset = self.nested(|parser| parser.arithmetic(0, guards))?;
        let size = if self.take(&[":"]) { self.number()? } else { 1 };
        let Some(size) = u8::try_from(size).ok().filter(|size| matches!(size, 1 | 2 | 4)) else {
            return Err(self.error("1, 2 or 4 bytes can be compared at once"));
        };
        self.expect("]")?;
        let end = match offset {
            Value::Number(offset) => offset.checked_add(size.into()),
            _ => None,
        };
        self.looks_behind_headers |= end.is_none_or(|end| end > fixed_header_len(protocol));
        Ok(Value::Load { base, offset: Box::new(offset), size })
    }
}
