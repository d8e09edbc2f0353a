//! The language of tcpdump's filters (pcap-filter(7)), evaluated on the bytes of packets, or compiled to a program that
//! the kernel runs on them ([`Filter::compile`]).
//!
//! ```
//! use kcap_filter::{Filter, Packet, link_type};
//!
//! let filter = Filter::parse("udp port 53 and host 127.0.0.1", link_type::RAW)?;
//! let bytes = [
//!     0x45, 0, 0, 29, 0, 1, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1, // IPv4
//!     0x30, 0x39, 0, 53, 0, 9, 0, 0, // UDP from 12345 to 53
//!     b'?',
//! ];
//! assert!(filter.matches(&Packet { header: &bytes, payload: &[], wire_len: 29 }));
//! let error = Filter::parse("tcp porr 80", link_type::RAW).unwrap_err();
//! assert_eq!(error.position, 4);
//! # Ok::<(), kcap_filter::FilterError>(())
//! ```
//!
//! Verdicts are those of libpcap's compiler, its oddities included: `and` and `or` have equal precedence; a packet that
//! ends before a byte that is looked at is not matched, whatever else is asked; `tcp[…]` and the other transport
//! protocols mean IPv4; behind `vlan`, everything is looked for four bytes further on.
//!
//! What is understood: `host`, `net`, `port`, `portrange`, `proto` with `src`, `dst`, `src or dst`, `src and dst`, and with
//! `ether`, `ip`, `ip6`, `arp`, `rarp`, `tcp`, `udp`, `sctp`; the protocols alone; `vlan`; `broadcast` and `multicast` of
//! Ethernet, `ip multicast`, `ip6 multicast`; `less`, `greater`; comparisons of `proto[offset:size]`, `len`, numbers and
//! named values with arithmetic; `and`, `or`, `not`, parentheses. Hosts are addresses, not names: a recording must
//! not be asked differently depending on who resolves.

#![forbid(unsafe_code)]

mod assembler;
mod compile;
mod evaluate;
mod lexer;
pub mod link_type;
mod names;
mod parser;
mod primitive;
mod program;

pub use assembler::{INSTRUCTIONS_MAX, Instruction};
pub use compile::{CompileError, VERDICT_FAILED, VERDICT_MATCH, VERDICT_OTHER};
pub use evaluate::Packet;
pub use program::{EXPRESSION_LEN_MAX, NESTING_MAX};

use program::Node;

/// A filter for packets of one link type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    root: Node,
    link_type: u16,
    looks_behind_headers: bool,
}

/// Why an expression is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} at position {position}")]
pub struct FilterError {
    /// What is wrong.
    pub message: String,
    /// Bytes of the expression before the place where it is.
    pub position: usize,
}

impl FilterError {
    /// The expression with a caret below the place of the error, in two lines that begin with two blanks each.
    #[must_use]
    pub fn pointer(&self, expression: &str) -> String {
        let before = expression.get(..self.position).unwrap_or(expression);
        // What a terminal shows of control characters is not one column wide.
        let shown = |text: &str| text.replace(char::is_control, " ");
        format!("  {}\n  {}^", shown(expression), " ".repeat(shown(before).chars().count()))
    }
}

impl Filter {
    /// Understands an expression. An empty one matches every packet.
    ///
    /// # Errors
    /// With the position of what was not understood.
    pub fn parse(expression: &str, link_type: u16) -> Result<Self, FilterError> {
        let (root, looks_behind_headers) = parser::parse(expression, link_type)?;
        Ok(Self { root, link_type, looks_behind_headers })
    }

    /// The filter that lets nothing through.
    #[must_use]
    pub fn nothing(link_type: u16) -> Self {
        Self { root: Node::Constant(false), link_type, looks_behind_headers: false }
    }

    /// True when a packet matches.
    #[must_use]
    pub fn matches(&self, packet: &Packet<'_>) -> bool {
        evaluate::matches(&self.root, packet)
    }

    /// The filter as a function for the kernel: a BPF subprogram whose arguments are the context (`struct __sk_buff *`) and
    /// the packet's length, and whose result is [`VERDICT_MATCH`], [`VERDICT_OTHER`] or [`VERDICT_FAILED`]. It loads the
    /// packet's bytes with `bpf_skb_load_bytes` and touches nothing else.
    ///
    /// # Errors
    /// When the link type is none of [`link_type::RAW`] and [`link_type::ETHERNET`], or when the function would be longer
    /// than [`INSTRUCTIONS_MAX`].
    pub fn compile(&self) -> Result<Vec<Instruction>, CompileError> {
        compile::compile(&self.root, self.link_type)
    }

    /// Several filters as one function: its result is the sum of the bits of those that match, and of all when the packet
    /// can't be read. What else is said of [`Self::compile`] holds for it.
    ///
    /// # Errors
    /// When the link type of one isn't [`link_type::RAW`], or when the function would be longer than [`INSTRUCTIONS_MAX`].
    pub fn compile_set(filters: &[(&Self, u32)]) -> Result<Vec<Instruction>, CompileError> {
        if let Some((filter, _)) = filters.iter().find(|(filter, _)| filter.link_type != link_type::RAW) {
            return Err(CompileError::LinkType(filter.link_type));
        }
        let roots: Vec<_> = filters.iter().map(|(filter, bits)| (&filter.root, *bits)).collect();
        compile::compile_set(&roots)
    }

    /// True when bytes behind the transport header may be looked at, so that the payload is needed to tell.
    #[must_use]
    pub fn looks_behind_headers(&self) -> bool {
        self.looks_behind_headers
    }
}
