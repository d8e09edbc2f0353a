//! Prepared statements of one connection, and the parameters of their executions.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::Moment;
use super::super::sql::Reader;
use super::binary::{ValueType, value_text};
use super::constants::field_type;
use super::response::Shape;
use super::view::{length_encoded, length_encoded_bytes};

/// Statements that are remembered for a connection; the one whose last use is longest ago makes room.
pub(super) const STATEMENTS_MAX: usize = 4096;

/// Bytes of statement texts that are remembered for a connection.
pub(super) const STATEMENT_BYTES_MAX: usize = 4 << 20;

/// Parameters that a statement can have: a 16-bit number in the protocol.
const PARAMETERS_MAX: usize = 0xffff;

/// Numbers of parameters that are tried for a statement whose preparation wasn't seen.
const GUESSED_PARAMETERS_MAX: usize = 256;

/// A statement that was prepared.
#[derive(Debug)]
pub(super) struct Statement {
    id: u32,
    /// Its text; `None` when it was prepared before the stream was understood.
    pub(super) query: Option<String>,
    /// How many parameters it has; `None` when that isn't known.
    parameters: Option<usize>,
    /// Types of the parameters, from the last execution that told them.
    types: Vec<ValueType>,
    /// What its results look like.
    pub(super) shape: Option<Arc<Shape>>,
    /// Parameters that were sent before the execution, in parts: their numbers.
    long_data: Vec<u16>,
    used_ns: i64,
}

/// The statements of one connection.
#[derive(Debug)]
pub(super) struct Statements {
    /// In the order of last use.
    known: VecDeque<Statement>,
    bytes: usize,
    timeout_ns: i64,
    last_prepared: Option<u32>,
}

impl Statements {
    /// None; each is forgotten so long after its last use.
    pub(super) fn new(timeout_ns: i64) -> Self {
        Self { known: VecDeque::new(), bytes: 0, timeout_ns, last_prepared: None }
    }

    /// Remembers a statement.
    pub(super) fn prepare(
        &mut self,
        id: u32,
        query: String,
        parameters: u16,
        shape: Option<Arc<Shape>>,
        at: Moment,
    ) {
        self.close(id);
        self.last_prepared = Some(id);
        self.insert(Statement {
            query: Some(query),
            parameters: Some(parameters.into()),
            shape,
            ..Statement::unknown(id, at)
        });
    }

    /// Remembers a statement that is executed before its preparation was answered. Its number stands for the last prepared one.
    pub(super) fn prepare_unanswered(&mut self, query: String, at: Moment) {
        self.last_prepared = None;
        self.close(u32::MAX);
        self.insert(Statement { query: Some(query), ..Statement::unknown(u32::MAX, at) });
    }

    /// The statement of this number, which is used now. One that isn't known is remembered from now on, without its text.
    pub(super) fn used(&mut self, id: u32, at: Moment) -> &mut Statement {
        // MariaDB's clients may execute the statement that they have just sent, whose number they don't know yet.
        let id = if id == u32::MAX { self.last_prepared.unwrap_or(id) } else { id };
        self.expire(at);
        let mut statement = match self.known.iter().rposition(|statement| statement.id == id) {
            Some(index) => self.remove(index),
            None => Statement::unknown(id, at),
        };
        statement.used_ns = at.ts_ns;
        self.insert(statement);
        let last = self.known.len() - 1;
        &mut self.known[last]
    }

    /// Forgets a statement.
    pub(super) fn close(&mut self, id: u32) {
        if let Some(index) = self.known.iter().rposition(|statement| statement.id == id) {
            self.remove(index);
        }
    }

    /// Forgets all: the session begins anew.
    pub(super) fn clear(&mut self) {
        self.known.clear();
        self.bytes = 0;
        self.last_prepared = None;
    }

    fn insert(&mut self, statement: Statement) {
        self.bytes += statement.bytes();
        self.known.push_back(statement);
        while self.known.len() > 1 && (self.known.len() > STATEMENTS_MAX || self.bytes > STATEMENT_BYTES_MAX)
        {
            self.remove(0);
        }
    }

    fn remove(&mut self, index: usize) -> Statement {
        let statement = self.known.remove(index).expect("an index that was just found");
        self.bytes -= statement.bytes();
        statement
    }

    fn expire(&mut self, now: Moment) {
        while let Some(oldest) = self.known.front()
            && now.ts_ns.saturating_sub(oldest.used_ns) > self.timeout_ns
        {
            self.remove(0);
        }
    }
}

impl Statement {
    fn unknown(id: u32, at: Moment) -> Self {
        Self {
            id,
            query: None,
            parameters: None,
            types: Vec::new(),
            shape: None,
            long_data: Vec::new(),
            used_ns: at.ts_ns,
        }
    }

    fn bytes(&self) -> usize {
        self.query.as_ref().map_or(0, String::len)
    }

    /// A parameter was sent ahead of the execution (`COM_STMT_SEND_LONG_DATA`).
    pub(super) fn add_long_data(&mut self, parameter: u16) {
        if !self.long_data.contains(&parameter) && self.long_data.len() < GUESSED_PARAMETERS_MAX {
            self.long_data.push(parameter);
        }
    }

    /// Forgets what was sent ahead (`COM_STMT_RESET`, or an execution).
    pub(super) fn reset(&mut self) {
        self.long_data.clear();
    }

    /// The parameters of an execution, from what follows its number, flags and count of iterations. Where the number of
    /// parameters isn't known, the only number with which the bytes come out even is taken. `None` when it can't be told.
    /// `has_names`: client and server agreed on query attributes, which come with the parameters and have names.
    pub(super) fn parameters(&mut self, body: &[u8], has_names: bool, flags: u8) -> Option<Vec<String>> {
        const PARAMETER_COUNT_AVAILABLE: u8 = 1 << 3;
        let has_count = has_names && (self.parameters != Some(0) || flags & PARAMETER_COUNT_AVAILABLE != 0);
        let mut reader = Reader::new(body);
        let told = match has_count {
            true => Some(usize::try_from(length_encoded(&mut reader)?).ok()?),
            false => self.parameters,
        };
        let body = reader.rest();
        let found = match told {
            Some(count) => self.parse(body, count, has_names)?,
            None if body.is_empty() => {
                self.parameters = Some(0);
                return Some(Vec::new());
            }
            None => {
                let mut fitting = (1..=GUESSED_PARAMETERS_MAX)
                    .filter_map(|count| self.parse(body, count, has_names).filter(|found| found.is_whole))
                    .take(2);
                let found = fitting.next()?;
                if fitting.next().is_some() {
                    return None;
                }
                self.parameters = Some(found.values.len());
                found
            }
        };
        if let Some(types) = found.types {
            self.types = types;
        }
        Some(found.values)
    }

    /// The first row of parameters of MariaDB's execution with many rows, from what follows the statement's number.
    pub(super) fn bulk_parameters(&mut self, body: &[u8]) -> Option<Vec<String>> {
        const SENDS_TYPES: u16 = 1 << 7;
        let mut reader = Reader::new(body);
        let flags = reader.u16_le()?;
        let count = self.parameters?;
        if flags & SENDS_TYPES != 0 {
            self.types = reader.take(count * 2)?.chunks_exact(2).map(value_type).collect();
        }
        let mut values = Vec::new();
        for &value_type in &self.types {
            values.push(match reader.u8()? {
                0 => value_text(&mut reader, value_type)?,
                1 => "NULL".to_owned(),
                2 => "DEFAULT".to_owned(),
                _ => "<ignored>".to_owned(),
            });
        }
        Some(values)
    }

    fn parse(&self, body: &[u8], count: usize, has_names: bool) -> Option<Parameters> {
        if count == 0 || count > PARAMETERS_MAX {
            return (count == 0).then(|| Parameters {
                values: Vec::new(),
                types: None,
                is_whole: body.is_empty(),
            });
        }
        let mut reader = Reader::new(body);
        let nulls = reader.take(count.div_ceil(8))?;
        let types = match reader.u8()? {
            1 => Some(value_types(&mut reader, count, has_names)?),
            0 => None,
            _ => return None,
        };
        let known = types.as_deref().unwrap_or(&self.types);
        if known.len() != count {
            return None;
        }
        let mut values = Vec::new();
        for (index, &value_type) in known.iter().enumerate() {
            let is_null =
                nulls[index / 8] & (1 << (index % 8)) != 0 || value_type.field_type == field_type::NULL;
            let sent_ahead = u16::try_from(index).is_ok_and(|index| self.long_data.contains(&index));
            values.push(if is_null {
                "NULL".to_owned()
            } else if sent_ahead {
                "<long data>".to_owned()
            } else {
                match value_text(&mut reader, value_type) {
                    Some(text) => text,
                    // Cut by the limit of what is kept: the first ones are known.
                    None => return Some(Parameters { values, types: None, is_whole: false }),
                }
            });
        }
        let padding = nulls.last().is_some_and(|&last| count.is_multiple_of(8) || last >> (count % 8) == 0);
        Some(Parameters { values, types, is_whole: padding && reader.is_empty() })
    }
}

/// What an execution told.
struct Parameters {
    values: Vec<String>,
    types: Option<Vec<ValueType>>,
    /// The bytes came out even.
    is_whole: bool,
}

fn value_types(reader: &mut Reader<'_>, count: usize, have_names: bool) -> Option<Vec<ValueType>> {
    if !have_names {
        return Some(reader.take(count * 2)?.chunks_exact(2).map(value_type).collect());
    }
    let mut types = Vec::new();
    for _ in 0..count {
        types.push(value_type(reader.take(2)?));
        length_encoded_bytes(reader)?;
    }
    Some(types)
}

fn value_type(pair: &[u8]) -> ValueType {
    ValueType { field_type: pair[0], is_unsigned: pair[1] & 0x80 != 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_NS: i64 = 3_600_000_000_000;

    fn at(ts_ns: i64) -> Moment {
        Moment { ts_ns, packet_id: 0 }
    }

    /// An integer, NULL and a text.
    const THREE: &[u8] = b"\x02\x01\x03\0\xfd\0\xfd\0\x07\0\0\0\x02ab";

    #[test]
    fn types_are_told_once() {
        let mut statements = Statements::new(HOUR_NS);
        statements.prepare(1, "insert".into(), 3, None, at(0));
        let statement = statements.used(1, at(1));
        assert_eq!(statement.parameters(THREE, false, 0).unwrap(), ["7", "NULL", "ab"]);
        assert_eq!(statement.parameters(b"\x00\x00\x08\0\0\0\x01x\x01y", false, 0).unwrap(), ["8", "x", "y"]);
        assert_eq!(statement.parameters(b"\x00\x02", false, 0), None);
        statement.add_long_data(2);
        assert_eq!(
            statement.parameters(b"\x00\x00\x08\0\0\0\x01x", false, 0).unwrap(),
            ["8", "x", "<long data>"]
        );
    }

    #[test]
    fn of_a_statement_from_before_the_capture() {
        let mut statements = Statements::new(HOUR_NS);
        let statement = statements.used(9, at(0));
        assert_eq!(statement.query, None);
        assert_eq!(statement.parameters(THREE, false, 0).unwrap(), ["7", "NULL", "ab"]);
        assert_eq!(
            statement.parameters(b"\x06\0\x09\0\0\0", false, 0).unwrap(),
            ["9", "NULL", "NULL"],
            "types are known now"
        );
        let statement = statements.used(10, at(0));
        assert_eq!(
            statement.parameters(b"\x00\x00\x08\0\0\0", false, 0),
            None,
            "without types there is no telling"
        );
        assert_eq!(statement.parameters(b"", false, 0).unwrap(), [""; 0]);
    }

    #[test]
    fn every_prefix_gives_the_first_parameters_or_none() {
        for end in 0..THREE.len() {
            let mut statements = Statements::new(HOUR_NS);
            statements.prepare(1, "insert".into(), 3, None, at(0));
            let values = statements.used(1, at(1)).parameters(&THREE[..end], false, 0).unwrap_or_default();
            assert!(
                ["7", "NULL", "ab"].starts_with(&values.iter().map(String::as_str).collect::<Vec<_>>()[..])
            );
        }
    }

    #[test]
    fn forgotten_after_their_time_or_when_there_are_too_many() {
        let mut statements = Statements::new(HOUR_NS);
        statements.prepare(1, "one".into(), 0, None, at(0));
        assert!(statements.used(1, at(HOUR_NS)).query.is_some());
        assert!(statements.used(1, at(2 * HOUR_NS)).query.is_some(), "an hour after the last use");
        assert!(statements.used(1, at(3 * HOUR_NS + 1)).query.is_none());
        for id in 0..=STATEMENTS_MAX as u32 {
            statements.prepare(id + 10, "x".into(), 0, None, at(4 * HOUR_NS));
        }
        assert_eq!(statements.known.len(), STATEMENTS_MAX);
        assert_eq!(statements.bytes, STATEMENTS_MAX);
        statements.prepare(7, "y".repeat(STATEMENT_BYTES_MAX), 0, None, at(4 * HOUR_NS));
        assert_eq!(statements.known.len(), 1);
    }
}
