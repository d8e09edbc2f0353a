//! Where the running kernel keeps the fields of its structures, from its own type information (BTF).
//!
//! The format is that of the kernel's `Documentation/bpf/btf.rst`. Only what offsets need is read.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use super::Error;

/// Where the kernel shows its types.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const HEADER_LEN: usize = 24;
const TYPE_LEN: usize = 12;
const MEMBER_LEN: usize = 12;
/// Typedefs and qualifiers that are followed, and anonymous members that are entered: far more than kernels nest.
const DEPTH_MAX: u32 = 32;

const KIND_INT: u32 = 1;
const KIND_PTR: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_TYPE_TAG: u32 = 18;
const KIND_ENUM64: u32 = 19;

/// The types of a kernel.
pub struct Btf {
    path: PathBuf,
    data: Vec<u8>,
    /// Start of each type in `data`, by type id; id 0 is `void` and has none.
    types: Vec<u32>,
    strings: usize,
    /// Structures and typedefs by name.
    named: HashMap<(u32, Vec<u8>), u32>,
}

impl Btf {
    /// Reads the types of the running kernel.
    pub fn of_kernel() -> Result<Self, Error> {
        let path = Path::new(VMLINUX);
        let data = fs::read(path).map_err(|source| Error::NoTypes { path: path.into(), source })?;
        Self::parse(path, data)
    }

    /// Understands `data`, which `path` names in errors.
    pub fn parse(path: &Path, data: Vec<u8>) -> Result<Self, Error> {
        let mut btf = Self { path: path.into(), data, types: vec![0], strings: 0, named: HashMap::new() };
        if btf.half(0)? != MAGIC {
            return Err(btf.bad(0, "not BTF of this byte order"));
        }
        let header_len = btf.word(4)? as usize;
        if header_len < HEADER_LEN {
            return Err(btf.bad(4, "header too short"));
        }
        let (types_start, types_len) = (btf.word(8)? as usize, btf.word(12)? as usize);
        btf.strings = header_len.saturating_add(btf.word(16)? as usize);
        let mut at = header_len.saturating_add(types_start);
        let end = at.saturating_add(types_len);
        if end > btf.data.len() {
            return Err(btf.bad(8, "types beyond the end"));
        }
        while at < end {
            let (kind, count) = btf.kind_and_count(at)?;
            let extra_len = match kind {
                KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
                KIND_ARRAY => 12,
                KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => count * 12,
                KIND_ENUM | KIND_FUNC_PROTO => count * 8,
                KIND_PTR..=KIND_TYPE_TAG => 0,
                _ => return Err(btf.bad(at, "unknown kind of type")),
            };
            if matches!(kind, KIND_STRUCT | KIND_TYPEDEF) {
                let name = btf.name(btf.word(at)?).to_vec();
                let id = btf.types.len() as u32;
                btf.named.entry((kind, name)).or_insert(id);
            }
            btf.types.push(at as u32);
            at += TYPE_LEN + extra_len;
        }
        Ok(btf)
    }

    /// Byte offset of a field, `path` being the structure's name and then fields, each inside the one before.
    /// Anonymous structures and unions are looked through.
    pub fn offset(&self, path: &str) -> Result<u32, Error> {
        let missing = || Error::NoField { field: path.into() };
        let mut parts = path.split('.');
        let structure = parts.next().unwrap_or_default();
        let mut id = *self.named.get(&(KIND_STRUCT, structure.into())).ok_or_else(missing)?;
        let mut offset = 0;
        for field in parts {
            let (field_offset, field_type) = self.field(id, field, 0)?.ok_or_else(missing)?;
            offset += field_offset;
            id = self.resolve(field_type)?;
        }
        Ok(offset)
    }

    /// Parameters of a tracepoint, from the type of the functions that it calls; `None` when there is none.
    pub fn tracepoint_parameter_count(&self, tracepoint: &str) -> Option<u32> {
        let name = format!("btf_trace_{tracepoint}");
        let typedef = *self.named.get(&(KIND_TYPEDEF, name.into_bytes()))?;
        let pointer = self.resolve(typedef).ok()?;
        let (kind, _) = self.kind_and_count(self.start(pointer)?).ok()?;
        if kind != KIND_PTR {
            return None;
        }
        let function = self.word(self.start(pointer)? + 8).ok()?;
        let (kind, count) = self.kind_and_count(self.start(function)?).ok()?;
        // The first one is the tracepoint's own data.
        if kind == KIND_FUNC_PROTO { (count as u32).checked_sub(1) } else { None }
    }

    /// Number by which programs call a kernel function; `None` when there is none of this name.
    pub fn function(&self, name: &str) -> Option<u32> {
        let is_it = |id: &u32| {
            self.start(*id).is_some_and(|start| {
                self.kind_and_count(start).is_ok_and(|(kind, _)| kind == KIND_FUNC)
                    && self.word(start).is_ok_and(|its_name| self.name(its_name) == name.as_bytes())
            })
        };
        (1..self.types.len() as u32).find(is_it)
    }

    /// Offset and type of a field of the structure or union `id`.
    fn field(&self, id: u32, name: &str, depth: u32) -> Result<Option<(u32, u32)>, Error> {
        let Some(start) = self.start(id) else { return Ok(None) };
        let (kind, count) = self.kind_and_count(start)?;
        if !matches!(kind, KIND_STRUCT | KIND_UNION) || depth > DEPTH_MAX {
            return Ok(None);
        }
        let bitfields = self.word(start + 4)? >> 31 == 1;
        for index in 0..count {
            let member = start + TYPE_LEN + index * MEMBER_LEN;
            let member_name = self.name(self.word(member)?);
            let member_type = self.word(member + 4)?;
            let bits = self.word(member + 8)? & if bitfields { 0xff_ffff } else { u32::MAX };
            if member_name == name.as_bytes() {
                return Ok(Some((bits / 8, member_type)));
            }
            if member_name.is_empty() {
                let inner = self.field(self.resolve(member_type)?, name, depth + 1)?;
                if let Some((offset, field_type)) = inner {
                    return Ok(Some((bits / 8 + offset, field_type)));
                }
            }
        }
        Ok(None)
    }

    /// Follows typedefs and qualifiers to what they stand for.
    fn resolve(&self, mut id: u32) -> Result<u32, Error> {
        for _ in 0..DEPTH_MAX {
            let Some(start) = self.start(id) else { return Ok(id) };
            match self.kind_and_count(start)?.0 {
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => {
                    id = self.word(start + 8)?;
                }
                _ => return Ok(id),
            }
        }
        Ok(id)
    }

    fn start(&self, id: u32) -> Option<usize> {
        self.types.get(id as usize).filter(|_| id != 0).map(|start| *start as usize)
    }

    fn kind_and_count(&self, start: usize) -> Result<(u32, usize), Error> {
        let info = self.word(start + 4)?;
        Ok((info >> 24 & 0x1f, (info & 0xffff) as usize))
    }

    /// A string of the string section; empty when there is none.
    fn name(&self, offset: u32) -> &[u8] {
        let start = self.strings.saturating_add(offset as usize);
        let rest = self.data.get(start..).unwrap_or_default();
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    fn half(&self, at: usize) -> Result<u16, Error> {
        let bytes = self.data.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map(|bytes| u16::from_ne_bytes(*bytes)).ok_or_else(|| self.bad(at, "cut short"))
    }

    fn word(&self, at: usize) -> Result<u32, Error> {
        let bytes = self.data.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map(|bytes| u32::from_ne_bytes(*bytes)).ok_or_else(|| self.bad(at, "cut short"))
    }

    fn bad(&self, offset: usize, problem: &'static str) -> Error {
        Error::BadTypes { path: self.path.clone(), offset, problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct outer { int first; struct { const struct inner second; }; };` with `struct inner { int third, fourth; };`
    fn sample() -> Vec<u8> {
        let strings = b"\0outer\0first\0inner\0second\0third\0fourth\0int\0";
        let name =
            |text: &[u8]| strings.windows(text.len()).position(|window| window == text).unwrap() as u32;
        let info = |kind: u32, count: u32| kind << 24 | count;
        let mut types: Vec<u32> = Vec::new();
        types.extend([name(b"int\0"), info(KIND_INT, 0), 4, 32]); // 1
        types.extend([name(b"inner\0"), info(KIND_STRUCT, 2), 8]); // 2
        types.extend([name(b"third\0"), 1, 0, name(b"fourth\0"), 1, 32]);
        types.extend([0, info(KIND_CONST, 0), 2]); // 3
        types.extend([0, info(KIND_STRUCT, 1), 8, name(b"second\0"), 3, 0]); // 4
        types.extend([name(b"outer\0"), info(KIND_STRUCT, 2), 16, name(b"first\0"), 1, 0, 0, 4, 64]); // 5
        types.extend([0, info(KIND_FUNC_PROTO, 0), 1]); // 6
        types.extend([name(b"first\0"), info(KIND_FUNC, 0), 6]); // 7
        let types: Vec<u8> = types.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let mut data = MAGIC.to_ne_bytes().to_vec();
        data.extend([1, 0]);
        let header = [HEADER_LEN as u32, 0, types.len() as u32, types.len() as u32, strings.len() as u32];
        data.extend(header.iter().flat_map(|word| word.to_ne_bytes()));
        data.extend(types);
        data.extend(strings);
        data
    }

    #[test]
    fn finds_fields_through_anonymous_members_and_qualifiers() {
        let btf = Btf::parse(Path::new("sample"), sample()).unwrap();
        assert_eq!(btf.offset("outer.first").unwrap(), 0);
        assert_eq!(btf.offset("outer.second").unwrap(), 8);
        assert_eq!(btf.offset("outer.second.fourth").unwrap(), 12);
    }

    #[test]
    fn finds_functions_and_nothing_else_of_their_name() {
        let btf = Btf::parse(Path::new("sample"), sample()).unwrap();
        assert_eq!(
            (btf.function("first"), btf.function("outer"), btf.function("fifth")),
            (Some(7), None, None)
        );
    }

    #[test]
    fn names_the_field_that_is_missing() {
        let btf = Btf::parse(Path::new("sample"), sample()).unwrap();
        let error = btf.offset("outer.second.fifth").unwrap_err().to_string();
        assert!(error.contains("outer.second.fifth"), "{error}");
        assert!(btf.offset("nowhere.first").is_err());
    }

    #[test]
    fn any_cut_or_flip_is_an_error_or_harmless() {
        let whole = sample();
        for len in 0..whole.len() {
            if let Ok(btf) = Btf::parse(Path::new("sample"), whole[..len].to_vec()) {
                let _ = btf.offset("outer.second.fourth");
            }
        }
        for index in 0..whole.len() {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[index] ^= 1 << bit;
                if let Ok(btf) = Btf::parse(Path::new("sample"), flipped) {
                    let _ = btf.offset("outer.second.fourth");
                }
            }
        }
    }

    #[test]
    fn reads_the_running_kernel() {
        if !Path::new(VMLINUX).exists() {
            println!("skipped: this kernel has no BTF");
            return;
        }
        let btf = Btf::of_kernel().unwrap();
        assert!(btf.offset("task_struct.tgid").unwrap() > 0);
        assert_eq!(btf.tracepoint_parameter_count("sched_process_fork"), Some(2));
    }
}
