//! The embedded object file, changed before it is loaded: a function gets other instructions, or calls another function.
//!
//! Only what that needs of ELF is read: sections and the table of symbols of a 64-bit little-endian object.

use kcap_filter::Instruction;

use super::Error;

const INSTRUCTION_LEN: usize = 8;
/// `r0 = 0`
const ZERO: Instruction = Instruction { opcode: 0xb7, ..Instruction::NOTHING };
/// `if r0 != 0 goto`
const NEVER: Instruction = Instruction { opcode: 0x55, ..Instruction::NOTHING };
/// `exit`
const EXIT: Instruction = Instruction { opcode: 0x95, ..Instruction::NOTHING };
const CALL: u8 = 0x85;
/// Source register of a call whose constant is the number of a kernel function (`BPF_PSEUDO_KFUNC_CALL`).
const OF_KERNEL_FUNCTION: u8 = 2;
/// Instructions around the code: the jump that is never taken, and the end of where it would lead.
const AROUND_COUNT: usize = 4;
const SECTION_SYMBOLS: u32 = 2;
const SECTION_INSTRUCTIONS: usize = 4;
const SYMBOL_LEN: usize = 24;
const SYMBOL_FUNCTION: u8 = 2;

/// An object file in memory, aligned as its parser wants it.
pub(super) struct Object {
    words: Vec<u64>,
    len: usize,
}

impl Object {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let mut words = vec![0_u64; bytes.len().div_ceil(size_of::<u64>())];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
        Self { words, len: bytes.len() }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.len]
    }

    /// Writes `code` over a function, whose length stays. What is left of it is only led to by a jump that is never taken,
    /// which the verifier knows: the kernel takes it out in one piece. Where there is no room for that, instructions that
    /// do nothing come first, which it takes out one by one.
    pub(super) fn replace_function(&mut self, name: &'static str, code: &[Instruction]) -> Result<(), Error> {
        let wrong = Error::Object { function: name, len_min: code.len() * INSTRUCTION_LEN };
        let Some((begin, len)) = self.function(name) else { return Err(wrong) };
        let Some(nothing_count) = (len / INSTRUCTION_LEN).checked_sub(code.len()) else { return Err(wrong) };
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut self.words);
        let Some(function) = bytes[..self.len].get_mut(begin..begin + len) else { return Err(wrong) };
        let nothing = |count| std::iter::repeat_n(Instruction::NOTHING, count);
        let code = code.iter().copied();
        let whole: Vec<Instruction> = match nothing_count.checked_sub(AROUND_COUNT) {
            Some(rest) => {
                let over = Instruction { offset: code.len() as i16, ..NEVER };
                [ZERO, over].into_iter().chain(code).chain(nothing(rest)).chain([ZERO, EXIT]).collect()
            }
            None => nothing(nothing_count).chain(code).collect(),
        };
        for (place, instruction) in function.chunks_exact_mut(INSTRUCTION_LEN).zip(whole) {
            place.copy_from_slice(&instruction.to_le_bytes());
        }
        Ok(())
    }

    /// Makes all calls of `helper`, which the kernel has no helper for, calls of the kernel function `function`. Returns how
    /// many there are.
    pub(super) fn replace_calls(&mut self, helper: i32, function: u32) -> usize {
        let code: Vec<_> = self
            .sections()
            .filter(|section| self.long(section + 8).is_some_and(|flags| flags & SECTION_INSTRUCTIONS != 0))
            .filter_map(|section| Some((self.long(section + 24)?, self.long(section + 32)?)))
            .collect();
        let from = Instruction { opcode: CALL, registers: 0, offset: 0, immediate: helper };
        let to = Instruction {
            registers: OF_KERNEL_FUNCTION << 4,
            immediate: i32::from_ne_bytes(function.to_ne_bytes()),
            ..from
        };
        let (from, to) = (from.to_le_bytes(), to.to_le_bytes());
        let mut count = 0;
        let len = self.len;
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut self.words);
        for (begin, section_len) in code {
            let end = begin.saturating_add(section_len).min(len);
            for place in bytes.get_mut(begin..end).unwrap_or_default().chunks_exact_mut(INSTRUCTION_LEN) {
                if *place == from {
                    place.copy_from_slice(&to);
                    count += 1;
                }
            }
        }
        count
    }

    /// Where a function lies in the file, and its length.
    fn function(&self, name: &str) -> Option<(usize, usize)> {
        let (symbols, symbols_len, names) = self.sections().find_map(|section| {
            let is_table = self.word(section + 4)? == SECTION_SYMBOLS;
            let names = self.section(self.word(section + 40)? as usize)?;
            is_table.then_some((self.long(section + 24)?, self.long(section + 32)?, self.long(names + 24)?))
        })?;
        (symbols..symbols.checked_add(symbols_len)?).step_by(SYMBOL_LEN).find_map(|symbol| {
            let is_function = self.bytes().get(symbol + 4)? & 0xf == SYMBOL_FUNCTION;
            let its_name = self.bytes().get(names + self.word(symbol)? as usize..)?;
            if !is_function || its_name.split(|byte| *byte == 0).next()? != name.as_bytes() {
                return None;
            }
            let section = self.section(usize::from(self.half(symbol + 6)?))?;
            Some((self.long(section + 24)? + self.long(symbol + 8)?, self.long(symbol + 16)?))
        })
    }

    /// Where the headers of the sections lie.
    fn sections(&self) -> impl Iterator<Item = usize> + '_ {
        (0..usize::from(self.half(60).unwrap_or(0))).filter_map(|index| self.section(index))
    }

    fn section(&self, index: usize) -> Option<usize> {
        Some(self.long(40)? + index * usize::from(self.half(58)?))
    }

    fn half(&self, at: usize) -> Option<u16> {
        Some(u16::from_le_bytes(*self.bytes().get(at..)?.first_chunk()?))
    }

    fn word(&self, at: usize) -> Option<u32> {
        Some(u32::from_le_bytes(*self.bytes().get(at..)?.first_chunk()?))
    }

    fn long(&self, at: usize) -> Option<usize> {
        usize::try_from(u64::from_le_bytes(*self.bytes().get(at..)?.first_chunk()?)).ok()
    }
}

#[cfg(test)]
mod tests {
    use kcap_recorder_ebpf::{CAST_TO_KERNEL_CONTEXT, FILTER_FUNCTION, FILTER_INSTRUCTIONS_MAX};

    use super::*;
    use crate::probe::load::PROGRAMS;

    #[test]
    fn the_filter_has_the_room_that_the_compiler_counts_on() {
        const { assert!(FILTER_INSTRUCTIONS_MAX == kcap_filter::INSTRUCTIONS_MAX) };
        let mut object = Object::new(PROGRAMS);
        let (begin, len) = object.function(FILTER_FUNCTION).expect("the function");
        assert!(len / INSTRUCTION_LEN >= FILTER_INSTRUCTIONS_MAX, "{len}");
        let code = [ZERO, EXIT];
        object.replace_function(FILTER_FUNCTION, &code).unwrap();
        let end = begin + len;
        let bytes = |instructions: &[Instruction]| -> Vec<u8> {
            instructions.iter().flat_map(|instruction| instruction.to_le_bytes()).collect()
        };
        let over = Instruction { offset: 2, ..NEVER };
        let first = bytes(&[ZERO, over, ZERO, EXIT, Instruction::NOTHING]);
        assert_eq!(object.bytes()[begin..][..first.len()], first);
        assert_eq!(object.bytes()[end - 24..end], bytes(&[Instruction::NOTHING, ZERO, EXIT]));
        let longest = vec![EXIT; FILTER_INSTRUCTIONS_MAX];
        object.replace_function(FILTER_FUNCTION, &longest).unwrap();
        let is_exit = |place: &&[u8]| **place == EXIT.to_le_bytes();
        let count = object.bytes()[begin..end].chunks(INSTRUCTION_LEN).filter(is_exit).count();
        assert!(count >= longest.len(), "{count}");
        assert_eq!(
            (&object.bytes()[..begin], &object.bytes()[end..]),
            (&PROGRAMS[..begin], &PROGRAMS[end..])
        );
    }

    #[test]
    fn calls_are_of_the_function_afterwards() {
        let mut object = Object::new(PROGRAMS);
        let count = object.replace_calls(CAST_TO_KERNEL_CONTEXT, 0x1234_5678);
        assert_ne!(count, 0);
        assert_eq!(object.replace_calls(CAST_TO_KERNEL_CONTEXT, 0x1234_5678), 0, "none is left");
        let call = [CALL, OF_KERNEL_FUNCTION << 4, 0, 0, 0x78, 0x56, 0x34, 0x12];
        let changed =
            || object.bytes().chunks(8).zip(PROGRAMS.chunks(8)).filter(|(now, before)| now != before);
        assert_eq!(changed().count(), count, "nothing else was touched");
        assert!(changed().all(|(now, _)| now == call));
        assert_eq!(Object::new(&[0; 7]).replace_calls(CAST_TO_KERNEL_CONTEXT, 1), 0);
    }

    #[test]
    fn what_is_not_there_or_has_no_room_is_refused() {
        let mut object = Object::new(PROGRAMS);
        assert!(object.replace_function("no_such_function", &[]).is_err());
        assert!(object.replace_function(FILTER_FUNCTION, &vec![Instruction::NOTHING; 100_000]).is_err());
        assert!(Object::new(&[0; 7]).function(FILTER_FUNCTION).is_none());
    }
}
