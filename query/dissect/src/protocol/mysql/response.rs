//! Following the answer to one command, packet by packet.

use std::sync::Arc;

use super::super::sql::{Frame, Held, Reader, Repeated, Rows, beginning, name_text};
use super::super::text;
use super::binary::{ValueType, bytes_text, value_text};
use super::command::{Answer, Command};
use super::constants::{PAYLOAD_LENGTH_MAX, field_type, marker, server_status};
use super::view::{Column, Done, Failure, Prepared, is_eof, length_encoded, length_encoded_bytes};

/// Columns of a result whose names and types are kept, for rows as text.
const COLUMNS_KEPT_MAX: usize = 4096;

/// Tables of a result that are named.
const TABLES_MAX: usize = 64;

/// Bytes of a table's name, and of its schema's, that are kept: servers allow 64 characters.
const TABLE_NAME_LENGTH_MAX: usize = 256;

/// What an answer has told so far.
#[derive(Debug)]
pub(super) struct Response {
    state: State,
    command: Command,
    /// Whether the client does without EOF packets; `None` when its login wasn't seen.
    deprecates_eof: Option<bool>,
    /// Rows of a text result, or of a binary one.
    is_binary: bool,
    columns: Vec<(String, ValueType)>,
    /// What the statement's results look like, from its preparation: MariaDB doesn't say it again.
    prepared_shape: Option<Arc<Shape>>,
    rows: Option<Rows>,
    tables: Vec<String>,
    pub(super) affected_rows: u64,
    pub(super) insert_id: u64,
    pub(super) warnings: u64,
    pub(super) num_rows: u64,
    /// Columns of the first result that has any.
    pub(super) num_fields: u64,
    /// Results: more than one for several statements in a query, and for procedures.
    pub(super) results: u64,
    pub(super) failure: Option<ServerError>,
    pub(super) prepared: Option<Prepared>,
    /// The file that the server asked for.
    pub(super) local_infile: Option<String>,
    /// The answer of a command that has text.
    pub(super) message: Option<String>,
    /// It wasn't understood from here on.
    pub(super) is_malformed: bool,
}

/// Columns of a result, and the tables that they are of.
#[derive(Debug, Default)]
pub(super) struct Shape {
    columns: Vec<(String, ValueType)>,
    tables: Vec<String>,
}

#[cfg(test)]
impl Shape {
    pub(super) fn of_tables(tables: Vec<String>) -> Self {
        Self { columns: Vec::new(), tables }
    }
}

impl Held for Shape {
    fn held(&self) -> usize {
        let texts = self.columns.iter().map(|(name, _)| name).chain(&self.tables);
        texts.map(|text| text.len() + size_of::<String>()).sum()
    }
}

/// An error that the server reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerError {
    pub(super) code: u16,
    pub(super) sql_state: Option<String>,
    pub(super) message: String,
}

impl ServerError {
    /// From an error packet.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let failure = Failure::parse(body)?;
        Some(Self {
            code: failure.code,
            sql_state: failure.sql_state.map(text),
            message: text(failure.message),
        })
    }

    /// `42S02: Table 'a.b' doesn't exist`.
    pub(super) fn full_message(&self) -> String {
        match &self.sql_state {
            Some(state) => format!("{state}: {}", self.message),
            None => self.message.clone(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The first packet of a result.
    First,
    /// Definitions of columns, so many to come.
    Columns(u64),
    /// The end of the columns, or the first row where clients have no such end.
    AfterColumns,
    Rows,
    /// The client sends a file.
    Infile,
    /// Definitions of a prepared statement: parameters, then columns.
    PreparedParameters(u16),
    PreparedColumns(u16),
    /// Column definitions up to an EOF.
    FieldList,
    Events,
    Login,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// More of this answer.
    More,
    /// The answer was whole.
    Done,
    /// The answer was whole before this packet, which belongs to the next one.
    DoneBefore,
}

impl Response {
    /// What is awaited after this command; `rows` gathers rows as text.
    pub(super) fn new(command: Command, rows: Option<Rows>) -> Self {
        let state = match command.answer() {
            Answer::Columns => State::FieldList,
            Answer::Rows => State::Rows,
            Answer::Events => State::Events,
            Answer::Login => State::Login,
            _ => State::First,
        };
        Self {
            state,
            command,
            deprecates_eof: None,
            is_binary: command.is_execution() || command == Command::STMT_FETCH,
            columns: Vec::new(),
            prepared_shape: None,
            rows,
            tables: Vec::new(),
            affected_rows: 0,
            insert_id: 0,
            warnings: 0,
            num_rows: 0,
            num_fields: 0,
            results: 0,
            failure: None,
            prepared: None,
            local_infile: None,
            message: None,
            is_malformed: false,
        }
    }

    /// Tells whether the client does without EOF packets, if that is known.
    pub(super) fn set_deprecates_eof(&mut self, deprecates_eof: Option<bool>) {
        self.deprecates_eof = deprecates_eof;
    }

    /// Tells what the results of a prepared statement look like.
    pub(super) fn set_shape(&mut self, shape: Option<Arc<Shape>>) {
        self.prepared_shape = shape;
    }

    /// What the results look like, as a preparation told.
    pub(super) fn shape(&self) -> Arc<Shape> {
        Arc::new(Shape { columns: self.columns.clone(), tables: self.tables.clone() })
    }

    /// Whether what the client sends now is a file.
    pub(super) fn wants_file(&self) -> bool {
        self.state == State::Infile
    }

    /// `schema.table`, of all columns, with commas.
    pub(super) fn path(&self) -> Option<String> {
        (!self.tables.is_empty()).then(|| self.tables.join(", "))
    }

    /// Cuts its texts when those of this packet's answers are too much together: a compressed packet may be a thousand times
    /// as long. False if so.
    pub(super) fn tell_within(&mut self, repeated: &mut Repeated) -> bool {
        let failure = self.failure.as_mut().map(|failure| &mut failure.message);
        let mut texts: Vec<_> =
            failure.into_iter().chain(&mut self.message).chain(&mut self.local_infile).collect();
        if repeated.allows(texts.iter().map(|text| text.len()).sum()) {
            return true;
        }
        for text in &mut texts {
            text.truncate(beginning(text).len());
        }
        false
    }

    /// Columns and rows as text, if they were to be gathered.
    pub(super) fn take_text(&mut self) -> Option<String> {
        self.rows.take().map(Rows::into_text)
    }

    /// The next packet of the server. A packet that isn't here as a whole still counts.
    pub(super) fn packet(&mut self, frame: &Frame<'_>) -> Next {
        let first = frame.body.first().copied();
        if first == Some(marker::ERR) && self.state != State::Events {
            return self.failed(frame.body);
        }
        match self.state {
            State::First => self.first(frame),
            State::Infile => self.finished_by(Done::parse(frame.body)),
            State::Columns(left) => {
                self.column(frame.body);
                self.state = if left > 1 { State::Columns(left - 1) } else { State::AfterColumns };
                Next::More
            }
            State::AfterColumns => self.after_columns(frame),
            State::Rows => self.row(frame),
            State::PreparedParameters(left) => self.prepared_definition(frame, left, true),
            State::PreparedColumns(left) => self.prepared_definition(frame, left, false),
            State::FieldList => {
                if is_eof(frame.body, frame.body_length) || first == Some(marker::OK) {
                    return Next::Done;
                }
                self.num_fields += 1;
                self.note_table(frame.body);
                Next::More
            }
            State::Events => match first {
                Some(marker::ERR) => self.failed(frame.body),
                Some(marker::EOF) if is_eof(frame.body, frame.body_length) => Next::Done,
                _ => {
                    self.num_rows += 1;
                    Next::More
                }
            },
            State::Login => match first {
                Some(marker::OK) => self.finished_by(Done::parse(frame.body)),
                _ => Next::More,
            },
        }
    }

    fn first(&mut self, frame: &Frame<'_>) -> Next {
        let body = frame.body;
        let Some(&first) = body.first() else { return self.malformed() };
        match (self.command.answer(), first) {
            (Answer::Text, _) => {
                self.message = Some(text(body));
                Next::Done
            }
            (Answer::Prepared, marker::OK) => self.prepared(body),
            (_, marker::OK) => self.finished_by(Done::parse(body)),
            (_, marker::LOCAL_INFILE) => {
                self.local_infile = Some(text(&body[1..]));
                self.state = State::Infile;
                Next::More
            }
            (_, marker::EOF) if is_eof(body, frame.body_length) => {
                self.finished_by(Some(Done::parse_eof(body)))
            }
            _ => {
                let mut reader = Reader::new(body);
                let Some(columns) = length_encoded(&mut reader) else { return self.malformed() };
                // A count of columns stands alone, but for a byte that says whether their definitions follow.
                if reader.len() > 1 || columns > 0xffff {
                    return self.malformed();
                }
                self.columns.clear();
                self.results += 1;
                if self.num_fields == 0 {
                    self.num_fields = columns;
                }
                self.state = State::Columns(columns);
                if reader.u8() == Some(0) {
                    self.state = State::AfterColumns;
                    if let Some(shape) = &self.prepared_shape {
                        self.columns.clone_from(&shape.columns);
                        self.tables.clone_from(&shape.tables);
                    }
                }
                Next::More
            }
        }
    }

    fn column(&mut self, body: &[u8]) {
        self.note_table(body);
        if self.rows.is_some() && self.columns.len() < COLUMNS_KEPT_MAX {
            let column = Column::parse(body);
            self.columns.push(match column {
                Some(column) => {
                    let value_type =
                        ValueType { field_type: column.field_type, is_unsigned: column.is_unsigned };
                    (name_text(column.name), value_type)
                }
                None => (String::new(), ValueType { field_type: field_type::NULL, is_unsigned: false }),
            });
        }
    }

    fn note_table(&mut self, body: &[u8]) {
        let Some(column) = Column::parse(body) else { return };
        if column.schema.is_empty() || self.tables.len() >= TABLES_MAX {
            return;
        }
        let kept = |name: &'_ [u8]| name.len().min(TABLE_NAME_LENGTH_MAX);
        let (schema, table) = (&column.schema[..kept(column.schema)], &column.table[..kept(column.table)]);
        // The columns of one table are beside each other: this compares without making a text.
        let is_same = |name: &String| {
            name.as_bytes().strip_prefix(schema).and_then(|rest| rest.strip_prefix(b".")) == Some(table)
        };
        if !self.tables.iter().rev().any(is_same) {
            self.tables.push(format!("{}.{}", text(schema), text(table)));
        }
    }

    fn after_columns(&mut self, frame: &Frame<'_>) -> Next {
        if let Some(rows) = &mut self.rows
            && self.results == 1
        {
            rows.columns(self.columns.iter().map(|(name, _)| name.as_str()));
        }
        self.state = State::Rows;
        if !is_eof(frame.body, frame.body_length) {
            return self.row(frame);
        }
        let end = Done::parse_eof(frame.body);
        if self.is_binary && end.status & server_status::CURSOR_EXISTS != 0 {
            return self.finished_by(Some(end));
        }
        Next::More
    }

    fn row(&mut self, frame: &Frame<'_>) -> Next {
        let is_end = frame.body.first() == Some(&marker::EOF) && frame.body_length < PAYLOAD_LENGTH_MAX;
        if is_end {
            let end = if is_eof(frame.body, frame.body_length) {
                Some(Done::parse_eof(frame.body))
            } else {
                Done::parse(frame.body)
            };
            return self.finished_by(end);
        }
        self.num_rows += 1;
        if self.rows.as_ref().is_some_and(Rows::has_room) && !self.columns.is_empty() && self.results <= 1 {
            let row = if self.is_binary { self.binary_row(frame.body) } else { self.text_row(frame.body) };
            if row.is_none() && frame.is_whole() {
                self.is_malformed = true;
            }
        }
        Next::More
    }

    fn text_row(&mut self, body: &[u8]) -> Option<()> {
        let rows = self.rows.as_mut()?;
        let mut reader = Reader::new(body);
        let mut whole = Some(());
        for _ in &self.columns {
            if reader.peek() == Some(0xfb) {
                reader.u8();
                rows.value("NULL");
                continue;
            }
            match length_encoded_bytes(&mut reader) {
                Some(value) => rows.value(&bytes_text(value)),
                None => {
                    whole = None;
                    break;
                }
            }
        }
        rows.end_row();
        whole
    }

    fn binary_row(&mut self, body: &[u8]) -> Option<()> {
        const RESERVED_BITS: usize = 2;
        let rows = self.rows.as_mut()?;
        let mut reader = Reader::new(body);
        reader.u8()?;
        let nulls = reader.take((self.columns.len() + RESERVED_BITS).div_ceil(8))?;
        let mut whole = Some(());
        for (index, (_, value_type)) in self.columns.iter().enumerate() {
            let bit = index + RESERVED_BITS;
            if nulls[bit / 8] & (1 << (bit % 8)) != 0 {
                rows.value("NULL");
                continue;
            }
            match value_text(&mut reader, *value_type) {
                Some(value) => rows.value(&value),
                None => {
                    whole = None;
                    break;
                }
            }
        }
        rows.end_row();
        whole
    }

    fn prepared(&mut self, body: &[u8]) -> Next {
        let Some(prepared) = Prepared::parse(body) else { return self.malformed() };
        self.prepared = Some(prepared);
        self.num_fields = prepared.columns.into();
        self.after_prepared(prepared.parameters, prepared.columns)
    }

    fn after_prepared(&mut self, parameters: u16, columns: u16) -> Next {
        if parameters > 0 {
            self.state = State::PreparedParameters(parameters);
        } else if columns > 0 {
            self.state = State::PreparedColumns(columns);
        } else {
            return Next::Done;
        }
        Next::More
    }

    /// A definition of a parameter or column, or the EOF after them, if the client wants one.
    fn prepared_definition(&mut self, frame: &Frame<'_>, left: u16, is_parameter: bool) -> Next {
        let columns = self.prepared.map_or(0, |prepared| prepared.columns);
        if is_eof(frame.body, frame.body_length) {
            return if is_parameter { self.after_prepared(0, columns) } else { Next::Done };
        }
        if self.may_be_done() {
            return Next::DoneBefore;
        }
        let (is_parameter, left) = if left == 0 { (false, columns) } else { (is_parameter, left) };
        let left = left.saturating_sub(1);
        if !is_parameter {
            self.column(frame.body);
        }
        self.state =
            if is_parameter { State::PreparedParameters(left) } else { State::PreparedColumns(left) };
        if self.deprecates_eof == Some(true) && self.may_be_done() { Next::Done } else { Next::More }
    }

    /// Whether all definitions of a prepared statement were seen, so that only an EOF, which newer clients don't want, may
    /// follow.
    pub(super) fn may_be_done(&self) -> bool {
        let columns = self.prepared.map_or(0, |prepared| prepared.columns);
        match self.state {
            State::PreparedParameters(0) => columns == 0,
            State::PreparedColumns(0) => true,
            _ => false,
        }
    }

    fn finished_by(&mut self, end: Option<Done>) -> Next {
        let Some(end) = end else { return self.malformed() };
        self.affected_rows = self.affected_rows.saturating_add(end.affected_rows);
        if end.insert_id != 0 {
            self.insert_id = end.insert_id;
        }
        self.warnings += u64::from(end.warnings);
        if self.state == State::First || self.state == State::Infile {
            self.results += 1;
        }
        if end.status & server_status::MORE_RESULTS_EXISTS != 0 {
            self.state = State::First;
            return Next::More;
        }
        Next::Done
    }

    fn failed(&mut self, body: &[u8]) -> Next {
        match ServerError::parse(body) {
            Some(failure) if failure.code == Failure::PROGRESS => Next::More,
            Some(failure) => {
                self.failure = Some(failure);
                Next::Done
            }
            None => self.malformed(),
        }
    }

    fn malformed(&mut self) -> Next {
        self.is_malformed = true;
        Next::Done
    }
}
