//! Makes a BPF function of a filter.
//!
//! The first bytes of the packet are copied to the stack once, so that most tests are a comparison and a load. What lies
//! behind them is loaded when it is asked for. A frame's VLAN tag, which the kernel keeps beside the packet, is put back
//! where it was on the wire. Verdicts are those of `evaluate`: the same tree is walked.

use crate::assembler::{
    Arithmetic, Assembler, Condition, INSTRUCTIONS_MAX, Instruction, Label, Operand, Register,
};
use crate::link_type;
use crate::program::{Node, Operator, Place, Relation, Value};

/// The filter doesn't let the packet through.
pub const VERDICT_OTHER: u32 = 0;
/// The filter lets the packet through.
pub const VERDICT_MATCH: u32 = 1;
/// The kernel refused to copy the packet's bytes, so there is no telling.
pub const VERDICT_FAILED: u32 = 2;

/// Why a filter can't run in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The function would be too long.
    #[error(
        "the filter needs {0} instructions, and the kernel program has room for {INSTRUCTIONS_MAX}: make it shorter"
    )]
    TooLong(usize),
    /// Packets of this kind don't come from the kernel programs.
    #[error("filters of link type {0} don't run in the kernel")]
    LinkType(u16),
}

/// Bytes of the packet on the stack: all that fixed headers need, behind an Ethernet header and two VLAN tags.
const WINDOW_LEN: i16 = 128;
/// Bytes before a frame there, so that its network header is aligned as numbers of four bytes must be on the stack.
const FRAME_PADDING_LEN: i16 = 2;
/// Where the addresses of a frame end, and its VLAN tag begins.
const TAG_AT: u32 = 12;
const TAG_LEN: u32 = 4;
/// Most intermediate results at once. Operands that need more are computed first, so that `n` operators need no more
/// than log2(n) + 1, and expressions have at most 1000; one more for an offset while its base is found.
const SPILL_COUNT_MAX: usize = 12;
const SPILL_LEN: i16 = 8;
/// `bpf_skb_load_bytes(context, offset, to, len)`
const SKB_LOAD_BYTES: i32 = 26;
/// Greatest offset that it takes.
const OFFSET_MAX: u32 = i32::MAX as u32;

// Fields of `struct __sk_buff`.
const SKB_VLAN_PRESENT: i16 = 20;
const SKB_VLAN_TCI: i16 = 24;
const SKB_VLAN_PROTO: i16 = 28;

const RESULT: Register = Register(0);
const OTHER: Register = Register(1);
const SCRATCH: Register = Register(2);
const TO: Register = Register(3);
const COUNT: Register = Register(4);
/// The context.
const CONTEXT: Register = Register(6);
/// Bytes of the packet, with the tag that was put back.
const LEN: Register = Register(7);
/// Bytes of that tag: 0 or 4.
const TAG: Register = Register(8);
/// Of several filters, the bits of those that matched.
const MATCHING: Register = Register(9);
const FRAME: Register = Register(10);

const fn constant(value: u32) -> Operand {
    Operand::Constant(value)
}

const fn register(register: Register) -> Operand {
    Operand::Register(register)
}

pub(crate) fn compile(root: &Node, link_type: u16) -> Result<Vec<Instruction>, CompileError> {
    let padding_len = match link_type {
        link_type::RAW => 0,
        link_type::ETHERNET => FRAME_PADDING_LEN,
        other => return Err(CompileError::LinkType(other)),
    };
    let mut assembler = Assembler::default();
    let (reject, failed) = (assembler.label(), assembler.label());
    let has_tags = link_type == link_type::ETHERNET;
    let mut compiler = Compiler { assembler, reject, failed, padding_len, has_tags, spilled: 0 };
    compiler.fill_window();
    compiler.test(root, false, reject);
    let Compiler { mut assembler, .. } = compiler;
    for (label, verdict) in
        [(None, VERDICT_MATCH), (Some(reject), VERDICT_OTHER), (Some(failed), VERDICT_FAILED)]
    {
        if let Some(label) = label {
            assembler.bind(label);
        }
        assembler.arithmetic32(Arithmetic::Move, RESULT, constant(verdict));
        assembler.exit();
    }
    assembler.finish().map_err(CompileError::TooLong)
}

/// Of several filters at once: the function gives the bits of those that let the packet through.
pub(crate) fn compile_set(filters: &[(&Node, u32)]) -> Result<Vec<Instruction>, CompileError> {
    let mut assembler = Assembler::default();
    let (reject, failed) = (assembler.label(), assembler.label());
    let mut compiler = Compiler { assembler, reject, failed, padding_len: 0, has_tags: false, spilled: 0 };
    compiler.fill_window();
    compiler.assembler.arithmetic32(Arithmetic::Move, MATCHING, constant(0));
    for (root, bits) in filters {
        compiler.reject = compiler.assembler.label();
        compiler.test(root, false, compiler.reject);
        compiler.assembler.arithmetic32(Arithmetic::Or, MATCHING, constant(*bits));
        compiler.assembler.bind(compiler.reject);
    }
    let Compiler { mut assembler, .. } = compiler;
    assembler.bind(reject);
    assembler.arithmetic32(Arithmetic::Move, RESULT, register(MATCHING));
    assembler.exit();
    assembler.bind(failed);
    let all = filters.iter().fold(0, |all, (_, bits)| all | bits);
    assembler.arithmetic32(Arithmetic::Move, RESULT, constant(all));
    assembler.exit();
    assembler.finish().map_err(CompileError::TooLong)
}

struct Compiler {
    assembler: Assembler,
    /// The packet doesn't match, whatever else is asked.
    reject: Label,
    failed: Label,
    padding_len: i16,
    has_tags: bool,
    spilled: usize,
}

impl Compiler {
    /// Bytes of the packet that are on the stack.
    fn window_len(&self) -> u32 {
        (WINDOW_LEN - self.padding_len) as u32
    }

    /// Where a byte of the packet lies on the stack, from the frame pointer.
    fn window_at(&self, offset: u32) -> i16 {
        offset as i16 + self.padding_len - WINDOW_LEN
    }

    fn fill_window(&mut self) {
        let window_len = self.window_len();
        let begin = self.window_at(0);
        let code = &mut self.assembler;
        code.arithmetic64(Arithmetic::Move, CONTEXT, register(Register(1)));
        code.arithmetic32(Arithmetic::Move, LEN, register(Register(2)));
        // The verifier wants memory that is only partly filled to have been written before.
        for at in (-WINDOW_LEN..0).step_by(8) {
            code.store_zeroes(FRAME, at);
        }
        if self.has_tags {
            self.fill_frame(window_len);
        } else {
            self.copy(0, begin, window_len);
        }
    }

    /// Ethernet: the tag that the kernel took out is put back behind the addresses.
    fn fill_frame(&mut self, window_len: u32) {
        let (begin, tag_at) = (self.window_at(0), self.window_at(TAG_AT));
        let (untagged, filled) = (self.assembler.label(), self.assembler.label());
        let code = &mut self.assembler;
        code.arithmetic32(Arithmetic::Move, TAG, constant(0));
        code.load(RESULT, CONTEXT, SKB_VLAN_PRESENT, 4);
        code.jump_if32(RESULT, Condition::Equal, constant(0), untagged);
        code.jump_if32(LEN, Condition::Less, constant(TAG_AT + 1), untagged);
        code.arithmetic32(Arithmetic::Move, TAG, constant(TAG_LEN));
        code.load(RESULT, CONTEXT, SKB_VLAN_PROTO, 4);
        code.store(FRAME, tag_at, RESULT, 2);
        code.load(RESULT, CONTEXT, SKB_VLAN_TCI, 4);
        code.swap_from_network(RESULT, 2);
        code.store(FRAME, tag_at + 2, RESULT, 2);
        self.copy(TAG_AT, tag_at + TAG_LEN as i16, window_len - TAG_AT - TAG_LEN);
        let code = &mut self.assembler;
        code.arithmetic32(Arithmetic::Move, COUNT, constant(TAG_AT));
        self.call_load(constant(0), begin, self.failed);
        self.assembler.arithmetic32(Arithmetic::Add, LEN, constant(TAG_LEN));
        self.assembler.jump(filled);
        self.assembler.bind(untagged);
        self.copy(0, begin, window_len);
        self.assembler.bind(filled);
    }

    /// Copies the packet from `offset` on, as much as there is and has room.
    fn copy(&mut self, offset: u32, to: i16, room: u32) {
        let short = self.assembler.label();
        let code = &mut self.assembler;
        code.arithmetic64(Arithmetic::Move, COUNT, register(LEN));
        if offset > 0 {
            code.arithmetic32(Arithmetic::Subtract, COUNT, constant(offset));
        }
        // In 64 bits, which all verifiers follow.
        code.jump_if64(COUNT, Condition::LessOrEqual, constant(room), short);
        code.arithmetic32(Arithmetic::Move, COUNT, constant(room));
        code.bind(short);
        code.jump_if64(COUNT, Condition::Less, constant(1), self.failed);
        self.call_load(constant(offset), to, self.failed);
    }

    /// `bpf_skb_load_bytes` of `COUNT` bytes.
    fn call_load(&mut self, offset: Operand, to: i16, on_failure: Label) {
        let code = &mut self.assembler;
        code.arithmetic64(Arithmetic::Move, SCRATCH, offset);
        code.arithmetic64(Arithmetic::Move, OTHER, register(CONTEXT));
        code.arithmetic64(Arithmetic::Move, TO, register(FRAME));
        code.arithmetic64(Arithmetic::Add, TO, constant(i32::from(to) as u32));
        code.call(SKB_LOAD_BYTES);
        code.jump_if64(RESULT, Condition::NotEqual, constant(0), on_failure);
    }

    /// Goes to `target` when the test says `when`, and on otherwise.
    fn test(&mut self, node: &Node, when: bool, target: Label) {
        match node {
            Node::Constant(verdict) => {
                if *verdict == when {
                    self.assembler.jump(target);
                }
            }
            Node::Not(node) => self.test(node, !when, target),
            Node::And(one, other) => self.both(one, other, when, false, target),
            Node::Or(one, other) => self.both(one, other, when, true, target),
            Node::Compare(one, relation, other) => {
                let other = self.operands(one, other);
                let condition = if when { condition(*relation) } else { inverse(*relation) };
                self.assembler.jump_if32(RESULT, condition, other, target);
            }
            Node::Bytes { at, mask, value } => self.test_bytes(*at, mask, value, when, target),
            Node::Range { at, size, first, last } if first == last => {
                let order = self.load_stored(*at, *size);
                self.test_equal(order.of(*first, *size), when, target);
            }
            Node::Range { at, size, first, last } => {
                self.load(*at, *size);
                self.test_range(*first, *last, when, target);
            }
            Node::FirstFragment { network } => {
                self.load(Place::Fixed(network + 6), 2);
                self.assembler.arithmetic32(Arithmetic::And, RESULT, constant(0x1fff));
                self.test_equal(0, when, target);
            }
        }
    }

    /// `and` (`decided_by` false) and `or` (true): the second test is only made when the first doesn't decide.
    fn both(&mut self, one: &Node, other: &Node, when: bool, decided_by: bool, target: Label) {
        if when == decided_by {
            self.test(one, when, target);
            self.test(other, when, target);
        } else {
            let decided = self.assembler.label();
            self.test(one, decided_by, decided);
            self.test(other, when, target);
            self.assembler.bind(decided);
        }
    }

    fn test_equal(&mut self, value: u32, when: bool, target: Label) {
        let condition = if when { Condition::Equal } else { Condition::NotEqual };
        self.assembler.jump_if32(RESULT, condition, constant(value), target);
    }

    fn test_range(&mut self, first: u32, last: u32, when: bool, target: Label) {
        let code = &mut self.assembler;
        if when {
            let outside = code.label();
            code.jump_if32(RESULT, Condition::Less, constant(first), outside);
            code.jump_if32(RESULT, Condition::LessOrEqual, constant(last), target);
            code.bind(outside);
        } else {
            code.jump_if32(RESULT, Condition::Less, constant(first), target);
            code.jump_if32(RESULT, Condition::Greater, constant(last), target);
        }
    }

    fn test_bytes(&mut self, at: Place, mask: &[u8], value: &[u8], when: bool, target: Label) {
        let differs = if when { self.assembler.label() } else { target };
        let bytes_len = mask.len();
        let mut done = 0;
        let mut is_decided = false;
        while done < mask.len() {
            let size = match mask.len() - done {
                1 => 1,
                2 | 3 => 2,
                _ => 4,
            };
            let number = |bytes: &[u8]| {
                bytes[done..done + size].iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte))
            };
            let (mask, value) = (number(mask), number(value));
            // Nothing is looked at where nothing matters.
            if mask != 0 {
                let order = self.load_stored(plus(at, done as u32), size as u8);
                if mask != u32::MAX >> (32 - 8 * size) {
                    let mask = order.of(mask, size as u8);
                    self.assembler.arithmetic32(Arithmetic::And, RESULT, constant(mask));
                }
                // The last part decides.
                is_decided = when && done + size == bytes_len;
                let (when, target) = if is_decided { (true, target) } else { (false, differs) };
                self.test_equal(order.of(value, size as u8), when, target);
            } else if value != 0 {
                self.assembler.jump(differs);
            }
            done += size;
        }
        if when {
            if !is_decided {
                self.assembler.jump(target);
            }
            self.assembler.bind(differs);
        }
    }

    /// Computes both; the first is then in `RESULT`.
    fn operands(&mut self, one: &Value, other: &Value) -> Operand {
        if let Value::Number(number) = other {
            self.number(one);
            return constant(*number);
        }
        // The one that needs more room comes first.
        if spills(one) >= spills(other) {
            self.number(one);
            let at = self.spill();
            self.number(other);
            self.assembler.arithmetic32(Arithmetic::Move, OTHER, register(RESULT));
            self.unspill(RESULT, at);
        } else {
            self.number(other);
            let at = self.spill();
            self.number(one);
            self.unspill(OTHER, at);
        }
        register(OTHER)
    }

    fn spill(&mut self) -> i16 {
        debug_assert!(self.spilled < SPILL_COUNT_MAX);
        self.spilled += 1;
        // Behind the window and the place where single numbers are loaded to.
        let at = -WINDOW_LEN - SPILL_LEN * (1 + self.spilled as i16);
        self.assembler.store(FRAME, at, RESULT, 8);
        at
    }

    fn unspill(&mut self, to: Register, at: i16) {
        self.spilled -= 1;
        self.assembler.load(to, FRAME, at, 8);
    }

    /// Computes a number into `RESULT`.
    fn number(&mut self, value: &Value) {
        match value {
            Value::Number(number) => self.assembler.arithmetic32(Arithmetic::Move, RESULT, constant(*number)),
            Value::Len => self.assembler.arithmetic32(Arithmetic::Move, RESULT, register(LEN)),
            Value::Load { base, offset, size } => match &**offset {
                Value::Number(offset) if *offset <= OFFSET_MAX / 2 => self.load(plus(*base, *offset), *size),
                offset => self.load_computed(*base, offset, *size),
            },
            Value::Negative(value) => {
                self.number(value);
                self.assembler.arithmetic32(Arithmetic::Negate, RESULT, constant(0));
            }
            Value::Arithmetic(one, operator, other) => {
                let other = self.operands(one, other);
                self.arithmetic(*operator, other);
            }
        }
    }

    fn arithmetic(&mut self, operator: Operator, other: Operand) {
        let (reject, code) = (self.reject, &mut self.assembler);
        let operation = match operator {
            Operator::Add => Arithmetic::Add,
            Operator::Subtract => Arithmetic::Subtract,
            Operator::Multiply => Arithmetic::Multiply,
            Operator::And => Arithmetic::And,
            Operator::Or => Arithmetic::Or,
            Operator::Xor => Arithmetic::Xor,
            Operator::Divide | Operator::Remainder => {
                match other {
                    Operand::Constant(0) => return code.jump(reject),
                    Operand::Constant(_) => {}
                    Operand::Register(divisor) => {
                        code.jump_if32(divisor, Condition::Equal, constant(0), reject);
                    }
                }
                if operator == Operator::Divide { Arithmetic::Divide } else { Arithmetic::Remainder }
            }
            Operator::ShiftLeft | Operator::ShiftRight => {
                let operation = if operator == Operator::ShiftLeft {
                    Arithmetic::ShiftLeft
                } else {
                    Arithmetic::ShiftRight
                };
                return self.shift(operation, other);
            }
        };
        code.arithmetic32(operation, RESULT, other);
    }

    /// Shifts by 32 or more give 0; the machine would take them modulo 32.
    fn shift(&mut self, operation: Arithmetic, other: Operand) {
        let code = &mut self.assembler;
        match other {
            Operand::Constant(32..) => code.arithmetic32(Arithmetic::Move, RESULT, constant(0)),
            Operand::Constant(_) => code.arithmetic32(operation, RESULT, other),
            Operand::Register(count) => {
                let (small, done) = (code.label(), code.label());
                code.jump_if32(count, Condition::Less, constant(32), small);
                code.arithmetic32(Arithmetic::Move, RESULT, constant(0));
                code.jump(done);
                code.bind(small);
                code.arithmetic32(operation, RESULT, other);
                code.bind(done);
            }
        }
    }

    /// Loads a number of the packet, most significant byte first.
    fn load(&mut self, place: Place, size: u8) {
        if self.load_stored(place, size) == Order::Network {
            self.assembler.swap_from_network(RESULT, size);
        }
    }

    /// Loads a number of the packet, in the order that is returned: constants need not be swapped when it runs.
    fn load_stored(&mut self, place: Place, size: u8) -> Order {
        match place {
            Place::Fixed(at) if at.saturating_add(size.into()) <= self.window_len() => {
                let end = at + u32::from(size);
                let code = &mut self.assembler;
                code.jump_if64(LEN, Condition::Less, constant(end), self.reject);
                self.load_window(FRAME, self.window_at(at), size)
            }
            Place::Fixed(at) => {
                if at.saturating_add(size.into()) > OFFSET_MAX {
                    self.assembler.jump(self.reject);
                    return Order::Host;
                }
                self.assembler.arithmetic32(Arithmetic::Move, RESULT, constant(at));
                self.load_far(size)
            }
            Place::BehindIpv4 { network, offset } => {
                self.ipv4_header_len(network);
                let at = network.saturating_add(offset);
                // 60 bytes at most are before.
                if at.saturating_add(60 + u32::from(size)) <= self.window_len() {
                    let code = &mut self.assembler;
                    code.arithmetic64(Arithmetic::Move, OTHER, register(RESULT));
                    code.arithmetic64(Arithmetic::Add, OTHER, constant(at + u32::from(size)));
                    code.jump_if64(OTHER, Condition::Greater, register(LEN), self.reject);
                    code.arithmetic64(Arithmetic::Move, SCRATCH, register(FRAME));
                    code.arithmetic64(Arithmetic::Add, SCRATCH, register(RESULT));
                    self.load_window(SCRATCH, self.window_at(at), size)
                } else {
                    if at > OFFSET_MAX / 2 {
                        self.assembler.jump(self.reject);
                        return Order::Host;
                    }
                    self.assembler.arithmetic64(Arithmetic::Add, RESULT, constant(at));
                    self.load_far(size)
                }
            }
        }
    }

    /// Bytes of the IPv4 header at `network`, into `RESULT`.
    fn ipv4_header_len(&mut self, network: u32) {
        self.load(Place::Fixed(network), 1);
        self.assembler.arithmetic32(Arithmetic::And, RESULT, constant(0x0f));
        self.assembler.arithmetic32(Arithmetic::ShiftLeft, RESULT, constant(2));
    }

    /// Loads from the stack. What isn't aligned there has to be put together.
    fn load_window(&mut self, base: Register, at: i16, size: u8) -> Order {
        if at % i16::from(size) == 0 {
            self.assembler.load(RESULT, base, at, size);
            return Order::Network;
        }
        self.load_bytes(base, at, size);
        Order::Host
    }

    /// Loads byte for byte.
    fn load_bytes(&mut self, base: Register, at: i16, size: u8) {
        let code = &mut self.assembler;
        code.load(RESULT, base, at, 1);
        for index in 1..i16::from(size) {
            code.load(OTHER, base, at + index, 1);
            code.arithmetic32(Arithmetic::ShiftLeft, RESULT, constant(8));
            code.arithmetic32(Arithmetic::Or, RESULT, register(OTHER));
        }
    }

    /// Loads from the offset in `RESULT`, which is computed from the packet itself.
    fn load_computed(&mut self, base: Place, offset: &Value, size: u8) {
        let fixed = match base {
            Place::Fixed(at) => {
                self.number(offset);
                at
            }
            Place::BehindIpv4 { network, offset: behind } => {
                self.number(offset);
                let at = self.spill();
                self.ipv4_header_len(network);
                self.unspill(OTHER, at);
                self.assembler.arithmetic64(Arithmetic::Add, RESULT, register(OTHER));
                network.saturating_add(behind)
            }
        };
        let (far, done) = (self.assembler.label(), self.assembler.label());
        let (reject, window_len) = (self.reject, self.window_len());
        let code = &mut self.assembler;
        code.arithmetic64(Arithmetic::Add, RESULT, constant(fixed.min(OFFSET_MAX)));
        code.jump_if64(RESULT, Condition::Greater, constant(OFFSET_MAX - u32::from(size)), reject);
        code.jump_if64(RESULT, Condition::Greater, constant(window_len - u32::from(size)), far);
        code.arithmetic64(Arithmetic::Move, OTHER, register(RESULT));
        code.arithmetic64(Arithmetic::Add, OTHER, constant(size.into()));
        code.jump_if64(OTHER, Condition::Greater, register(LEN), reject);
        code.arithmetic64(Arithmetic::Move, SCRATCH, register(FRAME));
        code.arithmetic64(Arithmetic::Add, SCRATCH, register(RESULT));
        // There is no telling how it is aligned.
        self.load_bytes(SCRATCH, self.window_at(0), size);
        self.assembler.jump(done);
        self.assembler.bind(far);
        self.load_far(size);
        self.assembler.swap_from_network(RESULT, size);
        self.assembler.bind(done);
    }

    /// Loads from the offset in `RESULT`, which lies behind what is on the stack.
    fn load_far(&mut self, size: u8) -> Order {
        if self.has_tags {
            self.assembler.arithmetic64(Arithmetic::Subtract, RESULT, register(TAG));
        }
        let at = -WINDOW_LEN - SPILL_LEN;
        self.assembler.arithmetic32(Arithmetic::Move, COUNT, constant(size.into()));
        self.call_load(register(RESULT), at, self.reject);
        self.assembler.load(RESULT, FRAME, at, size);
        Order::Network
    }
}

/// How the bytes of a loaded number lie in a register of a little-endian machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// As the packet has them.
    Network,
    /// As arithmetic wants them.
    Host,
}

impl Order {
    /// The constant that a number of this order is compared with.
    fn of(self, value: u32, size: u8) -> u32 {
        match (self, size) {
            (Self::Network, 2) => u32::from((value as u16).swap_bytes()),
            (Self::Network, 4) => value.swap_bytes(),
            _ => value,
        }
    }
}

/// Intermediate results at once while the value is computed.
fn spills(value: &Value) -> usize {
    match value {
        Value::Number(_) | Value::Len => 0,
        Value::Load { offset, .. } => spills(offset),
        Value::Negative(value) => spills(value),
        Value::Arithmetic(one, _, other) => match (spills(one), &**other) {
            (one, Value::Number(_)) => one,
            (one, other) => {
                let other = spills(other);
                one.max(other).max(one.min(other) + 1)
            }
        },
    }
}

fn plus(place: Place, more: u32) -> Place {
    match place {
        Place::Fixed(at) => Place::Fixed(at.saturating_add(more)),
        Place::BehindIpv4 { network, offset } => {
            Place::BehindIpv4 { network, offset: offset.saturating_add(more) }
        }
    }
}

fn condition(relation: Relation) -> Condition {
    match relation {
        Relation::Less => Condition::Less,
        Relation::LessOrEqual => Condition::LessOrEqual,
        Relation::Equal => Condition::Equal,
        Relation::NotEqual => Condition::NotEqual,
        Relation::GreaterOrEqual => Condition::GreaterOrEqual,
        Relation::Greater => Condition::Greater,
    }
}

fn inverse(relation: Relation) -> Condition {
    match relation {
        Relation::Less => Condition::GreaterOrEqual,
        Relation::LessOrEqual => Condition::Greater,
        Relation::Equal => Condition::NotEqual,
        Relation::NotEqual => Condition::Equal,
        Relation::GreaterOrEqual => Condition::Less,
        Relation::Greater => Condition::LessOrEqual,
    }
}
