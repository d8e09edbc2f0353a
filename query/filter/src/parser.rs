//! From words to meaning.

mod arithmetic;
mod identifier;

use std::net::Ipv6Addr;

use crate::FilterError;
use crate::lexer::{Token, tokens};
use crate::names::{self, Versions};
use crate::primitive::{Ends, Layout, byte_at};
use crate::program::{NESTING_MAX, Node};
use identifier::Identifier;

/// Parses an expression for packets of a link type; also tells whether it may look behind transport headers.
pub(super) fn parse(expression: &str, link_type: u16) -> Result<(Node, bool), FilterError> {
    let tokens = tokens(expression)?;
    let end = expression.len();
    let mut parser = Parser {
        tokens: &tokens,
        at: 0,
        end,
        layout: Layout::new(link_type),
        inherited: Qualifiers::default(),
        nesting: 0,
        operators: 0,
        looks_behind_headers: false,
    };
    if tokens.is_empty() {
        return Ok((Node::Constant(true), false));
    }
    let root = parser.expression()?;
    match parser.peek() {
        None => Ok((root, parser.looks_behind_headers)),
        Some(token) => Err(parser.error_at(token.position, format!("'{}' is one too many", token.text))),
    }
}

/// What stands before an address or number: `tcp src port`.
#[derive(Clone, Copy, Debug, Default)]
struct Qualifiers<'a> {
    protocol: Option<&'a str>,
    ends: Option<Ends>,
    kind: Option<&'a str>,
}

struct Parser<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
    end: usize,
    layout: Layout,
    /// Qualifiers of the primitive before, which one without any takes over.
    inherited: Qualifiers<'a>,
    nesting: usize,
    operators: usize,
    looks_behind_headers: bool,
}

type Parsed<T> = Result<T, FilterError>;

/// `and`, `or` and arithmetic operators of one expression: they nest to the left when they are evaluated.
const OPERATORS_MAX: usize = 1000;

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at).copied()
    }

    fn is_next(&self, texts: &[&str]) -> bool {
        self.peek().is_some_and(|token| !token.escaped && texts.contains(&token.text))
    }

    fn take(&mut self, texts: &[&str]) -> bool {
        let is_next = self.is_next(texts);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, text: &str) -> Parsed<()> {
        if self.take(&[text]) { Ok(()) } else { Err(self.error(format!("'{text}' is missing"))) }
    }

    fn position(&self) -> usize {
        self.peek().map_or(self.end, |token| token.position)
    }

    fn error(&self, message: impl Into<String>) -> FilterError {
        self.error_at(self.position(), message)
    }

    fn error_at(&self, position: usize, message: impl Into<String>) -> FilterError {
        FilterError { message: message.into(), position }
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            return Err(self.error("too many parentheses"));
        }
        let parsed = parse(self);
        self.nesting -= 1;
        parsed
    }

    fn count_operator(&mut self) -> Parsed<()> {
        self.operators += 1;
        if self.operators > OPERATORS_MAX { Err(self.error("too many operators")) } else { Ok(()) }
    }

    /// `and` and `or` have equal precedence and go from left to right.
    fn expression(&mut self) -> Parsed<Node> {
        let mut node = self.factor()?;
        loop {
            if self.take(&["and", "&&"]) {
                self.count_operator()?;
                node = node.and(self.factor()?);
            } else if self.take(&["or", "||"]) {
                self.count_operator()?;
                node = node.or(self.factor()?);
            } else {
                return Ok(node);
            }
        }
    }

    fn factor(&mut self) -> Parsed<Node> {
        if self.take(&["not", "!"]) {
            let node = self.nested(Self::factor)?;
            return Ok(Node::Not(Box::new(node)));
        }
        if self.is_next(&["("]) && !self.is_arithmetic() {
            self.at += 1;
            let node = self.nested(Self::expression)?;
            self.expect(")")?;
            return Ok(node);
        }
        if self.is_arithmetic() {
            return self.comparison();
        }
        self.primitive()
    }

    fn primitive(&mut self) -> Parsed<Node> {
        let begin = self.at;
        let Some(token) = self.peek() else { return Err(self.error("something is missing")) };
        if !token.escaped
            && let Some(node) = self.word(token.text)?
        {
            return Ok(node);
        }
        let mut qualifiers = self.qualifiers()?;
        let is_bare = self.at == begin;
        if is_bare {
            qualifiers = self.inherited;
        }
        let position = self.position();
        let Some(value) = self.peek().filter(|token| token.escaped || !is_word_of_grammar(token.text)) else {
            return match qualifiers.protocol {
                Some(name) if qualifiers.ends.is_none() && qualifiers.kind.is_none() && !is_bare => {
                    self.protocol_alone(name, position)
                }
                _ => Err(self.error("an address, a port or a protocol is missing")),
            };
        };
        if is_bare
            && qualifiers.kind.is_none()
            && qualifiers.ends.is_none()
            && Identifier::of(value.text).is_none()
        {
            return Err(self.error(format!("'{}' is not understood: hosts are given by address", value.text)));
        }
        self.at += 1;
        self.inherited = qualifiers;
        self.qualified(qualifiers, value)
    }

    /// Primitives that are words of their own.
    fn word(&mut self, word: &str) -> Parsed<Option<Node>> {
        let position = self.position();
        let node = match word {
            "less" | "greater" => {
                self.at += 1;
                let number = self.number()?;
                arithmetic::len(word == "less", number)
            }
            "vlan" => {
                if !self.layout.is_ethernet() {
                    return Err(self.error("'vlan' needs packets with Ethernet headers"));
                }
                self.at += 1;
                let id = self.peek().and_then(|token| parse_number(token.text));
                self.at += usize::from(id.is_some());
                let id = id.map(u16::try_from).transpose();
                let id = id.ok().filter(|id| id.is_none_or(|id| id < 4096));
                let id = id.ok_or_else(|| self.error_at(position, "ids of VLANs are below 4096"))?;
                self.layout.vlan(id)
            }
            "broadcast" | "multicast" => {
                self.at += 1;
                return self.group(None, word, position).map(Some);
            }
            _ => return Ok(None),
        };
        Ok(Some(node))
    }

    fn group(&self, protocol: Option<&str>, word: &str, position: usize) -> Parsed<Node> {
        let network = self.layout.network();
        match (protocol, word) {
            (None | Some("ether"), _) if !self.layout.is_ethernet() => {
                Err(self.error_at(position, format!("'{word}' needs packets with Ethernet headers")))
            }
            (None | Some("ether"), "broadcast") => Ok(self.layout.mac(Ends::Destination, [0xff; 6])),
            (None | Some("ether"), _) => Ok(self.layout.ether_multicast()),
            (Some("ip"), "multicast") => Ok(self.layout.ether_type(0x0800).and(Node::Range {
                at: crate::program::Place::Fixed(network + 16),
                size: 1,
                first: 224,
                last: 255,
            })),
            (Some("ip6"), "multicast") => Ok(self.layout.ether_type(0x86dd).and(byte_at(network + 24, 0xff))),
            _ => Err(self.error_at(position, format!("'{word}' does not go with what is before it"))),
        }
    }

    fn qualifiers(&mut self) -> Parsed<Qualifiers<'a>> {
        let mut qualifiers = Qualifiers::default();
        if let Some(token) = self.peek().filter(|token| !token.escaped && is_protocol(token.text)) {
            self.at += 1;
            qualifiers.protocol = Some(token.text);
        }
        qualifiers.ends = self.ends()?;
        let kinds = ["host", "net", "port", "portrange", "proto", "gateway", "protochain"];
        if let Some(token) = self.peek().filter(|token| !token.escaped && kinds.contains(&token.text)) {
            self.at += 1;
            qualifiers.kind = Some(token.text);
        }
        Ok(qualifiers)
    }

    /// `src`, `dst`, `src or dst`, `src and dst`.
    fn ends(&mut self) -> Parsed<Option<Ends>> {
        let first = if self.take(&["src"]) {
            Ends::Source
        } else if self.take(&["dst"]) {
            Ends::Destination
        } else {
            return Ok(None);
        };
        let other = if first == Ends::Source { "dst" } else { "src" };
        let follows = |parser: &Self, words: &[&str]| {
            parser.is_next(words) && parser.tokens.get(parser.at + 1).is_some_and(|token| token.text == other)
        };
        let ends = if follows(self, &["or", "||"]) {
            Ends::Either
        } else if follows(self, &["and", "&&"]) {
            Ends::Both
        } else {
            return Ok(Some(first));
        };
        self.at += 2;
        Ok(Some(ends))
    }

    fn protocol_alone(&mut self, name: &str, position: usize) -> Parsed<Node> {
        if self.is_next(&["multicast", "broadcast"])
            && let Some(word) = self.peek()
        {
            self.at += 1;
            return self.group(Some(name), word.text, position);
        }
        // Whatever stands alone says nothing about what follows.
        self.inherited = Qualifiers::default();
        if let Some((_, number)) = names::ETHER_TYPES.iter().find(|(known, _)| *known == name) {
            return Ok(self.layout.ether_type(*number));
        }
        let known = names::IP_PROTOCOLS.iter().find(|(known, ..)| *known == name);
        let Some((_, number, versions)) = known else {
            return Err(self.error_at(position, format!("'{name}' does not stand alone")));
        };
        Ok(self.layout.ip_protocol(*versions, *number))
    }

    fn qualified(&mut self, qualifiers: Qualifiers<'a>, value: Token<'a>) -> Parsed<Node> {
        let ends = qualifiers.ends.unwrap_or(Ends::Either);
        let refuse = |parser: &Self, what: &str| {
            Err(parser.error_at(value.position, format!("'{}' is no {what}", value.text)))
        };
        match qualifiers.kind {
            Some("port") => match identifier::port(value.text) {
                Some(port) => self.ports(qualifiers.protocol, ends, port, port, value.position),
                None => refuse(self, "port: ports are numbers up to 65535, or names of well-known services"),
            },
            Some("portrange") => match identifier::port_range(value.text) {
                Some((first, last)) => self.ports(qualifiers.protocol, ends, first, last, value.position),
                None => refuse(self, "range of ports like 1000-2000"),
            },
            Some("proto") => self.protocol_number(qualifiers, value),
            Some(kind @ ("gateway" | "protochain")) => {
                Err(self.error_at(value.position, format!("'{kind}' is not supported")))
            }
            kind => {
                let identifier = Identifier::of(value.text);
                match identifier {
                    Some(identifier) => self.address(qualifiers.protocol, ends, kind, identifier, value),
                    None if kind == Some("net") => refuse(self, "network"),
                    None => refuse(self, "address: hosts are given by address, not by name"),
                }
            }
        }
    }

    fn ports(
        &self,
        protocol: Option<&str>,
        ends: Ends,
        first: u16,
        last: u16,
        position: usize,
    ) -> Parsed<Node> {
        let protocols: &[u8] = match protocol {
            None => &[132, 6, 17],
            Some("tcp") => &[6],
            Some("udp") => &[17],
            Some("sctp") => &[132],
            Some(other) => return Err(self.error_at(position, format!("'{other}' has no ports"))),
        };
        Ok(self.layout.ports(protocols, ends, first, last))
    }

    fn protocol_number(&self, qualifiers: Qualifiers<'a>, value: Token<'a>) -> Parsed<Node> {
        if qualifiers.ends.is_some() {
            return Err(self.error_at(value.position, "a protocol has neither src nor dst"));
        }
        let wrong = || self.error_at(value.position, format!("'{}' is no protocol", value.text));
        if qualifiers.protocol == Some("ether") {
            let named =
                names::ETHER_TYPES.iter().find(|(name, _)| *name == value.text).map(|(_, number)| *number);
            let number = named.or_else(|| u16::try_from(parse_number(value.text)?).ok()).ok_or_else(wrong)?;
            return Ok(self.layout.ether_type(number));
        }
        let named =
            names::IP_PROTOCOLS.iter().find(|(name, ..)| *name == value.text).map(|(_, number, _)| *number);
        let number = named.or_else(|| u8::try_from(parse_number(value.text)?).ok()).ok_or_else(wrong)?;
        let versions = match qualifiers.protocol {
            None => Versions::Both,
            Some("ip") => Versions::V4,
            Some("ip6") => Versions::V6,
            Some(other) => {
                return Err(self.error_at(value.position, format!("'{other} proto' is not supported")));
            }
        };
        Ok(self.layout.ip_protocol(versions, number))
    }

    fn address(
        &mut self,
        protocol: Option<&str>,
        ends: Ends,
        kind: Option<&str>,
        identifier: Identifier,
        value: Token<'a>,
    ) -> Parsed<Node> {
        let layout = self.layout;
        let wrong = |parser: &Self, what: &str| {
            Err(parser.error_at(value.position, format!("'{}' {what}", value.text)))
        };
        match identifier {
            Identifier::Mac(address)
                if protocol.is_none_or(|name| name == "ether") && kind != Some("net") =>
            {
                if layout.is_ethernet() {
                    Ok(layout.mac(ends, address))
                } else {
                    wrong(self, "needs packets with Ethernet headers")
                }
            }
            Identifier::V4 { address, bytes } => {
                let is_net = kind == Some("net") || self.is_next(&["/"]);
                if bytes < 4 && !is_net {
                    return wrong(self, "is no address: all four numbers are needed");
                }
                let mask = if is_net { self.mask_v4(bytes)? } else { [0xff; 4] };
                if address.iter().zip(mask).any(|(byte, mask)| byte & !mask != 0) {
                    return wrong(self, "has bits set outside of the network mask");
                }
                let of = |ether_type| layout.ipv4(ether_type, ends, address, mask);
                match protocol {
                    None => Ok(Node::any([0x0800, 0x0806, 0x8035].map(of))),
                    Some("ip") => Ok(of(0x0800)),
                    Some("arp") => Ok(of(0x0806)),
                    Some("rarp") => Ok(of(0x8035)),
                    Some(other) => wrong(self, &format!("does not go with '{other}'")),
                }
            }
            Identifier::V6(address) if protocol.is_none_or(|name| name == "ip6") => {
                let prefix_len = if self.take(&["/"]) { self.number()? } else { 128 };
                let Some(prefix_len) = u8::try_from(prefix_len).ok().filter(|len| *len <= 128) else {
                    return wrong(self, "has a prefix longer than 128 bits");
                };
                let host_bits = u128::MAX.checked_shr(prefix_len.into()).unwrap_or(0);
                if Ipv6Addr::to_bits(address) & host_bits != 0 {
                    return wrong(self, "has bits set outside of the network mask");
                }
                Ok(layout.ipv6(ends, address, prefix_len))
            }
            _ => wrong(self, "does not go with what is before it"),
        }
    }

    /// `/24`, `mask 255.255.255.0`, or all the bytes that were given.
    fn mask_v4(&mut self, bytes: u32) -> Parsed<[u8; 4]> {
        let position = self.position();
        let prefix = |len: u32| u32::MAX.checked_shl(32 - len).unwrap_or(0).to_be_bytes();
        if self.take(&["/"]) {
            let len = self.number()?;
            return if len <= 32 {
                Ok(prefix(len))
            } else {
                Err(self.error_at(position, "a prefix has at most 32 bits"))
            };
        }
        if self.take(&["mask"]) {
            let mask = self.peek().and_then(|token| Identifier::of(token.text));
            let Some(Identifier::V4 { address, .. }) = mask else {
                return Err(self.error("a mask is missing"));
            };
            self.at += 1;
            return Ok(address);
        }
        Ok(prefix(bytes * 8))
    }

    fn number(&mut self) -> Parsed<u32> {
        let number = self.peek().and_then(|token| parse_number(token.text));
        let number = number.ok_or_else(|| self.error("a number is missing"))?;
        self.at += 1;
        Ok(number)
    }
}

/// Decimal, octal (`017`) or hexadecimal (`0x1f`).
fn parse_number(text: &str) -> Option<u32> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u32::from_str_radix(digits, 16).ok();
    }
    if text.len() > 1 && text.starts_with('0') {
        return u32::from_str_radix(text, 8).ok();
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn is_protocol(word: &str) -> bool {
    word == "ether"
        || names::ETHER_TYPES.iter().any(|(name, _)| *name == word)
        || names::IP_PROTOCOLS.iter().any(|(name, ..)| *name == word)
}

/// Words that are no values.
fn is_word_of_grammar(word: &str) -> bool {
    matches!(word, "and" | "or" | "not" | "multicast" | "broadcast" | "less" | "greater" | "vlan" | "mask")
        || !word.starts_with(|first: char| first.is_ascii_alphanumeric() || first == ':')
}
