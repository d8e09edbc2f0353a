//! Prepared statements of one connection, and the parameters of their executions.

use std::sync::Arc;

use super::super::Moment;
use super::super::sql::{Held, Parameters, Reader, Recent};
use super::binary::{ValueType, pass_value, value_text};
use super::constants::field_type;
use super::response::Shape;
use super::view::{length_encoded, length_encoded_bytes};

/// Statements that are remembered for a connection; the one whose last use is longest ago makes room.
pub(super) const STATEMENTS_MAX: usize = 4096;

/// Bytes of statements that are remembered for a connection: of their texts, types and tables.
pub(super) const STATEMENT_BYTES_MAX: usize = 4 << 20;

/// Parameters that a statement can have: a 16-bit number in the protocol.
const PARAMETERS_MAX: usize = 0xffff;

/// Numbers of parameters that are tried for a statement whose preparation wasn't seen.
const GUESSED_PARAMETERS_MAX: usize = 256;

/// A statement that was prepared.
#[derive(Debug)]
pub(super) struct Statement {
    /// Its text; `None` when it was prepared before the stream was understood.
    pub(super) query: Option<Arc<str>>,
    /// How many parameters it has; `None` when that isn't known.
    parameters: Option<usize>,
    /// Types of the parameters, from the last execution that told them.
    types: Vec<ValueType>,
    /// What its results look like.
    pub(super) shape: Option<Arc<Shape>>,
    /// Parameters that were sent before the execution, in parts: their numbers, in order.
    long_data: Vec<u16>,
    used_ns: i64,
}

/// The statements of one connection.
#[derive(Debug)]
pub(super) struct Statements {
    known: Recent<u32, Statement>,
    timeout_ns: i64,
    last_prepared: Option<u32>,
    /// None is forgotten before: it is looked for only then.
    expires_ns: i64,
}

impl Statements {
    /// None; each is forgotten so long after its last use.
    pub(super) fn new(timeout_ns: i64) -> Self {
        Self {
            known: Recent::new(STATEMENTS_MAX, STATEMENT_BYTES_MAX),
            timeout_ns,
            last_prepared: None,
            expires_ns: i64::MIN,
        }
    }

    /// Remembers a statement.
    pub(super) fn prepare(
        &mut self,
        id: u32,
        query: Arc<str>,
        parameters: u16,
        shape: Option<Arc<Shape>>,
        at: Moment,
    ) {
        self.last_prepared = Some(id);
        let parameters = Some(parameters.into());
        let statement = Statement { query: Some(query), parameters, shape, ..Statement::unknown(at) };
        self.known.insert(id, statement);
    }

    /// Remembers a statement that is executed before its preparation was answered. Its number stands for the last prepared one.
    pub(super) fn prepare_unanswered(&mut self, query: Arc<str>, at: Moment) {
        self.last_prepared = None;
        self.known.insert(u32::MAX, Statement { query: Some(query), ..Statement::unknown(at) });
    }

    /// The statement of this number, which is used now. One that isn't known is remembered from now on, without its text.
    pub(super) fn used(&mut self, id: u32, at: Moment) -> &mut Statement {
        let id = self.meant(id);
        self.expire(at);
        if self.known.used(&id).is_none() {
            self.known.insert(id, Statement::unknown(at));
        }
        let statement = self.known.used(&id).expect("it was there, or just put there");
        statement.used_ns = at.ts_ns;
        statement
    }

    /// Executes such a statement, which may tell more of it.
    pub(super) fn execute<R>(&mut self, id: u32, at: Moment, execute: impl FnOnce(&mut Statement) -> R) -> R {
        let id = self.meant(id);
        self.expire(at);
        self.known.change_or_insert(
            id,
            || Statement::unknown(at),
            |statement| {
                statement.used_ns = at.ts_ns;
                execute(statement)
            },
        )
    }

    /// MariaDB's clients may execute the statement that they have just sent, whose number they don't know yet.
    fn meant(&self, id: u32) -> u32 {
        if id == u32::MAX { self.last_prepared.unwrap_or(id) } else { id }
    }

    /// Forgets a statement.
    pub(super) fn close(&mut self, id: u32) {
        self.known.remove(&id);
    }

    /// Forgets all: the session begins anew.
    pub(super) fn clear(&mut self) {
        self.known.clear();
        self.last_prepared = None;
    }

    fn expire(&mut self, now: Moment) {
        if now.ts_ns <= self.expires_ns {
            return;
        }
        while let Some((_, oldest)) = self.known.oldest() {
            let used_ns = oldest.used_ns;
            if now.ts_ns.saturating_sub(used_ns) <= self.timeout_ns {
                self.expires_ns = used_ns.saturating_add(self.timeout_ns);
                break;
            }
            self.known.remove_oldest();
        }
    }
}

impl Statement {
    fn unknown(at: Moment) -> Self {
        Self {
            query: None,
            parameters: None,
            types: Vec::new(),
            shape: None,
            long_data: Vec::new(),
            used_ns: at.ts_ns,
        }
    }

    /// A parameter was sent ahead of the execution (`COM_STMT_SEND_LONG_DATA`).
    pub(super) fn add_long_data(&mut self, parameter: u16) {
        if let Err(place) = self.long_data.binary_search(&parameter)
            && self.long_data.len() < GUESSED_PARAMETERS_MAX
        {
            self.long_data.insert(place, parameter);
        }
    }

    /// Forgets what was sent ahead (`COM_STMT_RESET`, or an execution).
    pub(super) fn reset(&mut self) {
        self.long_data.clear();
    }

    /// The parameters of an execution, from what follows its number, flags and count of iterations. Where the number of
    /// parameters isn't known, the only number with which the bytes come out even is taken. `None` when it can't be told.
    /// `has_names`: client and server agreed on query attributes, which come with the parameters and have names.
    pub(super) fn parameters(&mut self, body: &[u8], has_names: bool, flags: u8) -> Option<Parameters> {
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
                return Some(Parameters::default());
            }
            None => {
                let mut fitting = (1..=GUESSED_PARAMETERS_MAX)
                    .filter(|&count| self.comes_out_even(body, count, has_names) == Some(true));
                let count = fitting.next()?;
                if fitting.next().is_some() {
                    return None;
                }
                self.parameters = Some(count);
                self.parse(body, count, has_names)?
            }
        };
        if let Some(types) = found.types {
            self.types = types;
        }
        Some(found.values)
    }

    /// The first row of parameters of MariaDB's execution with many rows, from what follows the statement's number.
    pub(super) fn bulk_parameters(&mut self, body: &[u8]) -> Option<Parameters> {
        const SENDS_TYPES: u16 = 1 << 7;
        let mut reader = Reader::new(body);
        let flags = reader.u16_le()?;
        let count = self.parameters?;
        if flags & SENDS_TYPES != 0 {
            self.types = reader.take(count * 2)?.chunks_exact(2).map(value_type).collect();
        }
        let mut values = Parameters::default();
        for &value_type in &self.types {
            let is_kept = values.push(match reader.u8()? {
                0 => value_text(&mut reader, value_type)?,
                1 => "NULL".to_owned(),
                2 => "DEFAULT".to_owned(),
                _ => "<ignored>".to_owned(),
            });
            if !is_kept {
                break;
            }
        }
        Some(values)
    }

    fn parse(&self, body: &[u8], count: usize, has_names: bool) -> Option<Execution> {
        if count == 0 || count > PARAMETERS_MAX {
            return (count == 0).then(Execution::default);
        }
        let mut reader = Reader::new(body);
        let nulls = reader.take(count.div_ceil(8))?;
        let types = types_sent(&mut reader, count, has_names)?;
        let known = types.as_deref().unwrap_or(&self.types);
        if known.len() != count {
            return None;
        }
        let mut values = Parameters::default();
        for (index, &value_type) in known.iter().enumerate() {
            let text = match self.place(nulls, index, value_type) {
                Place::Null => "NULL".to_owned(),
                Place::SentAhead => "<long data>".to_owned(),
                Place::Here => match value_text(&mut reader, value_type) {
                    Some(text) => text,
                    // Cut by the limit of what is kept: the first ones are known.
                    None => return Some(Execution { values, types: None }),
                },
            };
            if !values.push(text) {
                break;
            }
        }
        Some(Execution { values, types })
    }

    /// Whether the bytes are those of so many parameters, and no more. `None` when they can't be of so many.
    fn comes_out_even(&self, body: &[u8], count: usize, has_names: bool) -> Option<bool> {
        let mut reader = Reader::new(body);
        let nulls = reader.take(count.div_ceil(8))?;
        let types = types_sent(&mut reader, count, has_names)?;
        let known = types.as_deref().unwrap_or(&self.types);
        if known.len() != count {
            return None;
        }
        for (index, &value_type) in known.iter().enumerate() {
            if self.place(nulls, index, value_type) == Place::Here {
                pass_value(&mut reader, value_type)?;
            }
        }
        let has_padding =
            nulls.last().is_some_and(|&last| count.is_multiple_of(8) || last >> (count % 8) == 0);
        Some(has_padding && reader.is_empty())
    }

    fn place(&self, nulls: &[u8], index: usize, value_type: ValueType) -> Place {
        let is_null = nulls[index / 8] & (1 << (index % 8)) != 0;
        if is_null || value_type.field_type == field_type::NULL {
            Place::Null
        } else if u16::try_from(index).is_ok_and(|index| self.long_data.binary_search(&index).is_ok()) {
            Place::SentAhead
        } else {
            Place::Here
        }
    }
}

impl Held for Statement {
    fn held(&self) -> usize {
        self.query.as_ref().map_or(0, |query| query.len())
            + size_of_val(&self.types[..])
            + self.shape.as_ref().map_or(0, |shape| shape.held())
    }
}

/// Where the value of a parameter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Null,
    SentAhead,
    Here,
}

/// What an execution told.
#[derive(Default)]
struct Execution {
    values: Parameters,
    types: Option<Vec<ValueType>>,
}

/// The types of the parameters, if they are told. `None` when this can't be.
#[expect(clippy::option_option, reason = "that nothing is told isn't that it can't be")]
fn types_sent(reader: &mut Reader<'_>, count: usize, have_names: bool) -> Option<Option<Vec<ValueType>>> {
    match reader.u8()? {
        1 => value_types(reader, count, have_names).map(Some),
        0 => Some(None),
        _ => None,
    }
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

    impl Statement {
        fn texts(&mut self, body: &[u8], has_names: bool, flags: u8) -> Option<Vec<String>> {
            self.parameters(body, has_names, flags).map(Parameters::into_values)
        }
    }

    /// An integer, NULL and a text.
    const THREE: &[u8] = b"\x02\x01\x03\0\xfd\0\xfd\0\x07\0\0\0\x02ab";

    #[test]
    fn types_are_told_once() {
        let mut statements = Statements::new(HOUR_NS);
        statements.prepare(1, "insert".into(), 3, None, at(0));
        let statement = statements.used(1, at(1));
        assert_eq!(statement.texts(THREE, false, 0).unwrap(), ["7", "NULL", "ab"]);
        assert_eq!(statement.texts(b"\x00\x00\x08\0\0\0\x01x\x01y", false, 0).unwrap(), ["8", "x", "y"]);
        assert_eq!(statement.texts(b"\x00\x02", false, 0), None);
        statement.add_long_data(2);
        assert_eq!(statement.texts(b"\x00\x00\x08\0\0\0\x01x", false, 0).unwrap(), ["8", "x", "<long data>"]);
    }

    #[test]
    fn of_a_statement_from_before_the_capture() {
        let mut statements = Statements::new(HOUR_NS);
        let statement = statements.used(9, at(0));
        assert_eq!(statement.query, None);
        assert_eq!(statement.texts(THREE, false, 0).unwrap(), ["7", "NULL", "ab"]);
        assert_eq!(
            statement.texts(b"\x06\0\x09\0\0\0", false, 0).unwrap(),
            ["9", "NULL", "NULL"],
            "types are known now"
        );
        let statement = statements.used(10, at(0));
        assert_eq!(
            statement.texts(b"\x00\x00\x08\0\0\0", false, 0),
            None,
            "without types there is no telling"
        );
        assert_eq!(statement.texts(b"", false, 0).unwrap(), [""; 0]);
    }

    #[test]
    fn every_prefix_gives_the_first_parameters_or_none() {
        for end in 0..THREE.len() {
            let mut statements = Statements::new(HOUR_NS);
            statements.prepare(1, "insert".into(), 3, None, at(0));
            let values = statements.used(1, at(1)).texts(&THREE[..end], false, 0).unwrap_or_default();
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
        assert_eq!(statements.known.totals(), (STATEMENTS_MAX, STATEMENTS_MAX));
        statements.prepare(7, "y".repeat(STATEMENT_BYTES_MAX).into(), 0, None, at(4 * HOUR_NS));
        assert_eq!(statements.known.totals(), (1, STATEMENT_BYTES_MAX));
    }

    #[test]
    fn types_and_tables_count_like_texts() {
        let mut statements = Statements::new(HOUR_NS);
        let names: Vec<_> = (0..64).map(|_| "t".repeat(500)).collect();
        let shape = Arc::new(Shape::of_tables(names));
        let shape_bytes = 64 * (500 + size_of::<String>());
        statements.prepare(1, "insert".into(), 3, Some(shape), at(0));
        assert_eq!(statements.known.totals(), (1, 6 + shape_bytes));
        statements.execute(1, at(1), |statement| drop(statement.parameters(THREE, false, 0)));
        assert_eq!(statements.known.totals(), (1, 6 + shape_bytes + 3 * size_of::<ValueType>()));
        for id in 2..1000 {
            let shape = statements.used(1, at(1)).shape.clone();
            statements.prepare(id, "insert".into(), 3, shape, at(1));
        }
        assert!(statements.known.totals().1 <= STATEMENT_BYTES_MAX);
    }

    #[test]
    fn a_number_of_parameters_is_guessed_only_where_a_single_one_fits() {
        let mut statements = Statements::new(HOUR_NS);
        let statement = statements.used(9, at(0));
        assert_eq!(statement.texts(b"\0\x01\x01\0\x01\0\x05\x06", false, 0).unwrap(), ["5", "6"]);
        assert_eq!(statement.texts(b"\0\0\x07\x08", false, 0).unwrap(), ["7", "8"]);
        for body in [&b"\0\x01\x01\0\x01\0\x05"[..], b"\0\x01\x01\0\x01\0\x05\x06\x07"] {
            assert_eq!(statements.used(10, at(0)).texts(body, false, 0), None);
        }
    }
}
