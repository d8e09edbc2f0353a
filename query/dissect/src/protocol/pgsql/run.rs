//! One statement on its way: asked for, and being answered.

use super::super::sql::Rows;
use super::super::{Incomplete, Message};
use super::binary::value_text;
use super::view::{Column, ServerError, data_row, is_binary};

/// Columns of a result that are kept.
pub(super) const COLUMNS_KEPT_MAX: usize = 1664; // what a table can have (`MaxTupleAttributeNumber`)

/// How a statement was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// By `Query`, which may hold several.
    Simple,
    /// By `Execute`; whether the client asked what the results look like.
    Extended { is_described: bool },
    /// Prepared, and not executed at once.
    Preparation,
    /// `FunctionCall`.
    Function,
    /// What was asked wasn't seen.
    Unknown,
}

/// A statement that is to be answered.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) kind: Kind,
    pub(super) request: Option<Message>,
    pub(super) response: Option<Message>,
    pub(super) query: Option<String>,
    pub(super) parameters: Vec<String>,
    pub(super) statement_name: Option<String>,
    pub(super) num_fields: u64,
    pub(super) num_rows: u64,
    columns: Vec<Column>,
    binary_results: Vec<bool>,
    rows: Option<Rows>,
    has_header: bool,
    pub(super) tag: Option<String>,
    /// The portal has more rows than were asked for.
    pub(super) is_suspended: bool,
    /// Rows of `COPY` are on their way.
    pub(super) copy: Option<Copy>,
    pub(super) error: Option<ServerError>,
    pub(super) incomplete: Option<Incomplete>,
    pub(super) notes: Vec<&'static str>,
    /// It was given up, and reported: its answer is only passed over.
    pub(super) is_reported: bool,
    /// The server passed over it, because another one failed.
    pub(super) is_passed_over: bool,
    held: usize,
}

/// Which way `COPY` goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copy {
    /// To the server.
    In,
    /// To the client.
    Out,
    /// Replication.
    Both,
}

impl Copy {
    /// Field `pgsql.copy`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
            Self::Both => "both",
        }
    }
}

impl Run {
    pub(super) fn new(kind: Kind, request: Option<Message>, rows: Option<Rows>) -> Self {
        Self {
            kind,
            request,
            response: None,
            query: None,
            parameters: Vec::new(),
            statement_name: None,
            num_fields: 0,
            num_rows: 0,
            columns: Vec::new(),
            binary_results: Vec::new(),
            rows,
            has_header: false,
            tag: None,
            is_suspended: false,
            copy: None,
            error: None,
            incomplete: None,
            notes: Vec::new(),
            is_reported: false,
            is_passed_over: false,
            held: 0,
        }
    }

    /// Bytes that it held when it was last measured.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Measures the bytes that it holds while it waits.
    pub(super) fn measure(&mut self) {
        let parameters: usize = self.parameters.iter().map(String::len).sum();
        self.held = self.query.as_ref().map_or(0, String::len) + parameters + size_of::<Self>();
    }

    /// Takes out what is known, to be reported now; the answer, should it come, is passed over.
    pub(super) fn give_up(&mut self) -> Self {
        let placeholder =
            Self { is_reported: true, held: self.held, ..Self::new(self.kind, self.request, None) };
        std::mem::replace(self, placeholder)
    }

    /// What the rows look like.
    pub(super) fn describe(&mut self, count: u16, columns: &[Column]) {
        self.num_fields = count.into();
        if self.rows.is_some() {
            self.columns = columns.to_vec();
        }
    }

    /// Sets which results are binary: that is said when a portal is made, and later than a statement is described.
    pub(super) fn set_binary_results(&mut self, binary_results: &[bool]) {
        self.binary_results = binary_results.to_vec();
    }

    /// A part of the answer.
    pub(super) fn extend(&mut self, place: Message) {
        extend(&mut self.response, place);
    }

    /// A row.
    pub(super) fn row(&mut self, body: &[u8]) {
        self.num_rows += 1;
        let wants_text = self.rows.as_ref().is_some_and(Rows::has_room);
        if !wants_text && self.num_fields > 0 {
            return;
        }
        let Some((count, values)) = data_row(body) else { return };
        if self.num_fields == 0 {
            self.num_fields = count.into();
        }
        let Some(rows) = &mut self.rows else { return };
        if !self.has_header && !self.columns.is_empty() {
            rows.columns(self.columns.iter().map(|column| column.name.as_str()));
            self.has_header = true;
        }
        for (index, value) in values.enumerate() {
            let column = self.columns.get(index);
            let type_id = column.map_or(0, |column| column.type_id);
            let binary = match column {
                _ if !self.binary_results.is_empty() => is_binary(&self.binary_results, index),
                Some(column) => column.is_binary,
                None => false,
            };
            rows.value(&value.map(|bytes| value_text(bytes, binary, type_id)).unwrap_or_default());
        }
        rows.end_row();
    }

    /// Columns and rows as text, if they were to be gathered.
    pub(super) fn take_text(&mut self) -> Option<String> {
        let mut rows = self.rows.take()?;
        if !self.has_header && !self.columns.is_empty() {
            rows.columns(self.columns.iter().map(|column| column.name.as_str()));
        }
        Some(rows.into_text())
    }
}

/// Makes a message end where another one does.
pub(super) fn extend(message: &mut Option<Message>, more: Message) {
    match message {
        Some(message) => {
            message.last = more.last;
            message.bytes += more.bytes;
        }
        None => *message = Some(more),
    }
}
