//! Compiled filters on a small machine of the test's own, for hosts where the kernel can't be asked: the same verdicts as
//! the evaluator's, and nothing but what the verifier accepts of memory.

mod support;

use kcap_filter::{Filter, Instruction, Packet, VERDICT_FAILED, link_type};
use support::{expressions, frames_made_here, without_link_header};

/// Bytes of stack that a program has.
const STACK_LEN: usize = 512;
/// Addresses of the context and of the end of the stack, far from each other and from numbers.
const CONTEXT: u64 = 1 << 40;
const STACK_END: u64 = 3 << 40;

/// What the kernel keeps beside a frame.
#[derive(Clone, Copy, Default)]
struct Tag {
    tci: u16,
    protocol: u16,
}

struct Machine<'a> {
    registers: [u64; 11],
    stack: [u8; STACK_LEN],
    packet: &'a [u8],
    tag: Option<Tag>,
}

impl Machine<'_> {
    fn stack_at(address: u64, len: usize) -> usize {
        let begin = STACK_END - STACK_LEN as u64;
        assert!(address >= begin && address + len as u64 <= STACK_END, "beyond the stack: {address:x}");
        (address - begin) as usize
    }

    /// A field of `struct __sk_buff`.
    fn field(&self, offset: u64) -> u64 {
        let tag = self.tag.unwrap_or_default();
        match offset {
            20 => u64::from(self.tag.is_some()),
            24 => tag.tci.into(),
            28 => tag.protocol.swap_bytes().into(),
            other => panic!("field at {other}"),
        }
    }

    fn load(&self, address: u64, len: usize) -> u64 {
        if address >> 40 == 1 {
            return self.field(address - CONTEXT);
        }
        assert!(address.is_multiple_of(len as u64), "not aligned: {address:x}");
        let at = Self::stack_at(address, len);
        self.stack[at..at + len].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }

    /// `bpf_skb_load_bytes`
    fn load_bytes(&mut self) {
        let [_, context, offset, to, len, ..] = self.registers;
        assert_eq!(context, CONTEXT);
        assert!((1..=STACK_LEN as u64).contains(&len), "{len}");
        let to = Self::stack_at(to, len as usize);
        // The kernel takes 32 bits of it.
        let offset = offset as u32 as usize;
        let bytes = self.packet.get(offset..).and_then(|rest| rest.get(..len as usize));
        if let Some(bytes) = bytes {
            self.stack[to..to + bytes.len()].copy_from_slice(bytes);
        }
        self.registers[0] = if bytes.is_some() { 0 } else { -14_i64 as u64 };
        // They are lost to the caller.
        self.registers[1..6].fill(u64::MAX / 3);
    }

    fn run(&mut self, code: &[Instruction]) -> u32 {
        let mut at = 0;
        loop {
            let Instruction { opcode, registers, offset, immediate } = code[at];
            at += 1;
            let (to, from) = (usize::from(registers & 15), usize::from(registers >> 4));
            let operand = if opcode & 8 == 0 { i64::from(immediate) as u64 } else { self.registers[from] };
            let place = |register: u64| register.wrapping_add_signed(offset.into());
            let len = [4, 2, 1, 8][usize::from(opcode >> 3 & 3)];
            match opcode & 7 {
                1 => self.registers[to] = self.load(place(self.registers[from]), len),
                2 | 3 => {
                    let value = if opcode & 7 == 2 { 0 } else { self.registers[from] };
                    let address = place(self.registers[to]);
                    assert!(address.is_multiple_of(len as u64));
                    let begin = Self::stack_at(address, len);
                    self.stack[begin..begin + len].copy_from_slice(&value.to_le_bytes()[..len]);
                }
                4 if opcode == 0xdc => {
                    let value = self.registers[to];
                    self.registers[to] = match immediate {
                        16 => (value as u16).swap_bytes().into(),
                        _ => (value as u32).swap_bytes().into(),
                    };
                }
                4 => {
                    self.registers[to] =
                        arithmetic32(opcode, self.registers[to] as u32, operand as u32).into();
                }
                7 => {
                    let value = self.registers[to];
                    self.registers[to] = match opcode & 0xf0 {
                        0x00 => value.wrapping_add(operand),
                        0x10 => value.wrapping_sub(operand),
                        0xb0 => operand,
                        other => panic!("operation {other:x}"),
                    };
                }
                _ if opcode == 0x95 => return self.registers[0] as u32,
                _ if opcode == 0x85 => {
                    assert_eq!(immediate, 26);
                    self.load_bytes();
                }
                class => {
                    let (one, other) = if class == 6 {
                        (u64::from(self.registers[to] as u32), u64::from(operand as u32))
                    } else {
                        (self.registers[to], operand)
                    };
                    let jumps = match opcode & 0xf0 {
                        0x00 => true,
                        0x10 => one == other,
                        0x20 => one > other,
                        0x30 => one >= other,
                        0x50 => one != other,
                        0xa0 => one < other,
                        0xb0 => one <= other,
                        other => panic!("condition {other:x}"),
                    };
                    assert!(offset >= 0, "a jump back");
                    at += if jumps { offset as usize } else { 0 };
                }
            }
        }
    }
}

fn arithmetic32(opcode: u8, one: u32, other: u32) -> u32 {
    match opcode & 0xf0 {
        0x00 => one.wrapping_add(other),
        0x10 => one.wrapping_sub(other),
        0x20 => one.wrapping_mul(other),
        0x30 => one / other,
        0x40 => one | other,
        0x50 => one & other,
        0x60 => one << other,
        0x70 => one >> other,
        0x80 => one.wrapping_neg(),
        0x90 => one % other,
        0xa0 => one ^ other,
        0xb0 => other,
        operation => panic!("operation {operation:x}"),
    }
}

/// The verdict on a packet whose tag, if there is one, is kept beside it.
fn verdict(code: &[Instruction], packet: &[u8], tag: Option<Tag>) -> u32 {
    let mut registers = [u64::MAX / 5; 11];
    (registers[1], registers[2], registers[10]) = (CONTEXT, packet.len() as u64, STACK_END);
    Machine { registers, stack: [0xaa; STACK_LEN], packet, tag }.run(code)
}

fn expected(filter: &Filter, bytes: &[u8]) -> u32 {
    u32::from(filter.matches(&Packet { header: bytes, payload: &[], wire_len: bytes.len() as u32 }))
}

#[test]
fn every_expression_on_every_packet() {
    let frames = frames_made_here();
    for (packets, link_type) in
        [(without_link_header(&frames), link_type::RAW), (frames, link_type::ETHERNET)]
    {
        for expression in expressions() {
            let Ok(filter) = Filter::parse(&expression, link_type) else { continue };
            let code = filter.compile().unwrap();
            for packet in &packets {
                let found = verdict(&code, &packet.bytes, None);
                assert_eq!(found, expected(&filter, &packet.bytes), "{expression}: {:02x?}", packet.bytes);
            }
        }
    }
}

/// A tag that the kernel took out of the frame is where it was before it did.
#[test]
fn tags_beside_the_frame_are_as_tags_in_it() {
    let is_tagged = |packet: &&support::Packet| packet.bytes.get(12..14) == Some(&[0x81, 0]);
    let frames = frames_made_here();
    let tagged: Vec<_> = frames.iter().filter(is_tagged).filter(|packet| packet.bytes.len() > 18).collect();
    assert!(!tagged.is_empty());
    for expression in expressions() {
        let filter = Filter::parse(&expression, link_type::ETHERNET).unwrap();
        let code = filter.compile().unwrap();
        for packet in &tagged {
            let bytes = &packet.bytes;
            let tag = Tag { protocol: 0x8100, tci: u16::from_be_bytes([bytes[14], bytes[15]]) };
            let without = [&bytes[..12], &bytes[16..]].concat();
            let found = verdict(&code, &without, Some(tag));
            assert_eq!(found, expected(&filter, bytes), "{expression}: {bytes:02x?}");
        }
    }
}

#[test]
fn without_bytes_there_is_no_verdict() {
    let code = Filter::parse("tcp", link_type::RAW).unwrap().compile().unwrap();
    assert_eq!(verdict(&code, &[], None), VERDICT_FAILED);
}

#[test]
fn a_set_tells_which_of_its_filters_match() {
    let parse = |expression: &String| Filter::parse(expression, link_type::RAW).ok();
    let filters: Vec<Filter> = expressions().iter().filter_map(parse).collect();
    let packets = without_link_header(&frames_made_here());
    for some in filters.chunks(8) {
        // Two may share a bit, and bits need not be next to each other.
        let set: Vec<_> = some.iter().zip([1, 1 << 31, 4, 4, 32, 256, 1 << 16, 8]).collect();
        let code = Filter::compile_set(&set).unwrap();
        for packet in &packets {
            let matching = set.iter().filter(|(filter, _)| expected(filter, &packet.bytes) == 1);
            let bits = matching.fold(0, |bits, (_, bit)| bits | bit);
            assert_eq!(verdict(&code, &packet.bytes, None), bits, "{:02x?}", packet.bytes);
        }
        assert_eq!(verdict(&code, &[], None), set.iter().fold(0, |bits, (_, bit)| bits | bit));
    }
    let frames = Filter::parse("arp", link_type::ETHERNET).unwrap();
    assert!(Filter::compile_set(&[(&frames, 1)]).is_err());
}
