//! Instructions of the kernel's BPF machine (RFC 9669), and jumps to places that aren't known yet.

/// Most instructions of a compiled filter: the room that the kernel programs leave for it.
pub const INSTRUCTIONS_MAX: usize = 16_383;

/// One instruction, as RFC 9669 section 3 lays it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Class and operation.
    pub opcode: u8,
    /// Destination register in the low four bits, source register in the high ones.
    pub registers: u8,
    /// Of a jump or of an access to memory.
    pub offset: i16,
    /// A constant.
    pub immediate: i32,
}

impl Instruction {
    /// `goto +0`, which does nothing.
    pub const NOTHING: Self = Self { opcode: JUMP, registers: 0, offset: 0, immediate: 0 };

    /// The instruction as a little-endian kernel reads it.
    #[must_use]
    pub fn to_le_bytes(self) -> [u8; 8] {
        let [a, b] = self.offset.to_le_bytes();
        let [c, d, e, f] = self.immediate.to_le_bytes();
        [self.opcode, self.registers, a, b, c, d, e, f]
    }
}

/// A register, 0 to 10.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Register(pub(crate) u8);

/// A place in the code to which jumps lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label(usize);

/// The second operand of an instruction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operand {
    Register(Register),
    Constant(u32),
}

// Opcodes: RFC 9669 sections 4 and 5.
const JUMP: u8 = 0x05;
const EXIT: u8 = 0x95;
const CALL: u8 = 0x85;
/// Operand from a register.
const FROM_REGISTER: u8 = 0x08;
const CLASS_ALU32: u8 = 0x04;
const CLASS_ALU64: u8 = 0x07;
const CLASS_JUMP64: u8 = 0x05;
const CLASS_JUMP32: u8 = 0x06;
const TO_BIG_ENDIAN: u8 = 0xdc;
const LOAD: u8 = 0x61;
const STORE: u8 = 0x63;
const STORE_CONSTANT: u8 = 0x62;

/// Operations of arithmetic instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Arithmetic {
    Add = 0x00,
    Subtract = 0x10,
    Multiply = 0x20,
    Divide = 0x30,
    Or = 0x40,
    And = 0x50,
    ShiftLeft = 0x60,
    ShiftRight = 0x70,
    Negate = 0x80,
    Remainder = 0x90,
    Xor = 0xa0,
    Move = 0xb0,
}

/// Conditions of jumps; numbers are unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Condition {
    Equal = 0x10,
    Greater = 0x20,
    GreaterOrEqual = 0x30,
    NotEqual = 0x50,
    Less = 0xa0,
    LessOrEqual = 0xb0,
}

/// Code under construction. All jumps lead forward.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    code: Vec<Instruction>,
    /// Where labels are, once they are bound.
    labels: Vec<usize>,
    /// Jumps and their labels.
    jumps: Vec<(usize, Label)>,
}

const UNBOUND: usize = usize::MAX;

impl Assembler {
    pub(crate) fn label(&mut self) -> Label {
        self.labels.push(UNBOUND);
        Label(self.labels.len() - 1)
    }

    /// Here is where the label's jumps lead.
    pub(crate) fn bind(&mut self, label: Label) {
        self.labels[label.0] = self.code.len();
    }

    fn push(&mut self, opcode: u8, destination: Register, source: Register, offset: i16, immediate: i32) {
        self.code.push(Instruction { opcode, registers: destination.0 | source.0 << 4, offset, immediate });
    }

    fn with_operand(&mut self, opcode: u8, destination: Register, operand: Operand) {
        match operand {
            Operand::Register(source) => self.push(opcode | FROM_REGISTER, destination, source, 0, 0),
            Operand::Constant(value) => self.push(opcode, destination, Register(0), 0, value as i32),
        }
    }

    /// Arithmetic on 32 bits; the upper half becomes 0.
    pub(crate) fn arithmetic32(&mut self, operation: Arithmetic, destination: Register, operand: Operand) {
        self.with_operand(CLASS_ALU32 | operation as u8, destination, operand);
    }

    /// Arithmetic on 64 bits. A constant is sign-extended.
    pub(crate) fn arithmetic64(&mut self, operation: Arithmetic, destination: Register, operand: Operand) {
        self.with_operand(CLASS_ALU64 | operation as u8, destination, operand);
    }

    /// Swaps bytes of a number of 2 or 4 bytes that was loaded as the packet has them; nothing for other sizes.
    pub(crate) fn swap_from_network(&mut self, register: Register, size: u8) {
        if matches!(size, 2 | 4) {
            self.push(TO_BIG_ENDIAN, register, Register(0), 0, i32::from(size) * 8);
        }
    }

    /// Loads 1, 2, 4 or 8 bytes.
    pub(crate) fn load(&mut self, destination: Register, base: Register, offset: i16, size: u8) {
        self.push(LOAD | size_bits(size), destination, base, offset, 0);
    }

    /// Stores 1, 2, 4 or 8 bytes.
    pub(crate) fn store(&mut self, base: Register, offset: i16, source: Register, size: u8) {
        self.push(STORE | size_bits(size), base, source, offset, 0);
    }

    /// Stores eight bytes of zeroes.
    pub(crate) fn store_zeroes(&mut self, base: Register, offset: i16) {
        self.push(STORE_CONSTANT | size_bits(8), base, Register(0), offset, 0);
    }

    pub(crate) fn call(&mut self, helper: i32) {
        self.push(CALL, Register(0), Register(0), 0, helper);
    }

    pub(crate) fn exit(&mut self) {
        self.push(EXIT, Register(0), Register(0), 0, 0);
    }

    pub(crate) fn jump(&mut self, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.code.push(Instruction::NOTHING);
    }

    /// Jumps when the lower halves compare so.
    pub(crate) fn jump_if32(&mut self, one: Register, condition: Condition, other: Operand, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.with_operand(CLASS_JUMP32 | condition as u8, one, other);
    }

    /// Jumps when the registers compare so. A constant is below 2³¹.
    pub(crate) fn jump_if64(&mut self, one: Register, condition: Condition, other: Operand, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.with_operand(CLASS_JUMP64 | condition as u8, one, other);
    }

    /// The code, without what no jump and no instruction before leads to, which the verifier would refuse. `Err`: how
    /// many instructions there are, more than [`INSTRUCTIONS_MAX`].
    pub(crate) fn finish(self) -> Result<Vec<Instruction>, usize> {
        let Self { code, labels, jumps } = self;
        let mut targets = vec![None; code.len()];
        for (at, label) in jumps {
            targets[at] = Some(labels[label.0]);
        }
        // Jumps lead forward: one pass sees each place after all that lead there.
        let mut reached = vec![false; code.len() + 1];
        reached[0] = true;
        for (at, instruction) in code.iter().enumerate() {
            if reached[at] {
                reached[at + 1] |= !matches!(instruction.opcode, JUMP | EXIT);
                if let Some(target) = targets[at] {
                    reached[target] = true;
                }
            }
        }
        let mut places = Vec::with_capacity(code.len() + 1);
        let mut count = 0;
        for is_reached in &reached {
            places.push(count);
            count += usize::from(*is_reached);
        }
        let count = places[code.len()];
        if count > INSTRUCTIONS_MAX {
            return Err(count);
        }
        let kept = code.into_iter().enumerate().filter(|(at, _)| reached[*at]);
        let finished = kept.map(|(at, mut instruction)| {
            if let Some(target) = targets[at] {
                // Below `INSTRUCTIONS_MAX`, which fits.
                instruction.offset = (places[target] - places[at] - 1) as i16;
            }
            instruction
        });
        Ok(finished.collect())
    }
}

fn size_bits(size: u8) -> u8 {
    match size {
        1 => 0x10,
        2 => 0x08,
        4 => 0x00,
        _ => 0x18,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nothing_leads_to_is_left_out_and_jumps_still_arrive() {
        let mut assembler = Assembler::default();
        let (end, register) = (assembler.label(), Register(0));
        let never = assembler.label();
        assembler.jump(end);
        assembler.arithmetic32(Arithmetic::Move, register, Operand::Constant(7));
        assembler.jump_if32(register, Condition::Equal, Operand::Constant(7), never);
        assembler.bind(end);
        assembler.exit();
        assembler.bind(never);
        assembler.exit();
        let code = assembler.finish().unwrap();
        assert_eq!(code.len(), 2);
        assert_eq!((code[0].opcode, code[0].offset, code[1].opcode), (JUMP, 0, EXIT));
    }

    #[test]
    fn instructions_lie_as_the_kernel_reads_them() {
        let mut assembler = Assembler::default();
        assembler.load(Register(3), Register(6), -8, 2);
        assembler.arithmetic64(Arithmetic::Add, Register(2), Operand::Constant(258));
        assembler.exit();
        let bytes: Vec<_> = assembler.finish().unwrap().into_iter().map(Instruction::to_le_bytes).collect();
        assert_eq!(bytes[0], [0x69, 0x63, 0xf8, 0xff, 0, 0, 0, 0]);
        assert_eq!(bytes[1], [0x07, 0x02, 0, 0, 2, 1, 0, 0]);
        assert_eq!(bytes[2], [0x95, 0, 0, 0, 0, 0, 0, 0]);
    }
}
