//! One statement on its way: asked for, and being answered.

use std::sync::Arc;

use super::super::sql::{Held, Parameters, Rows};
use super::super::{Incomplete, Message};
use super::binary::value_text;
use super::objects::Portal;
use super::queue::Awaited;
use super::view::{Column, ServerError, data_row, is_binary};

/// Columns of a result that are kept.
pub(super) const COLUMNS_KEPT_MAX: usize = 1664; // what a table can have (`MaxTupleAttributeNumber`)

/// Bytes of a statement's place among what waits: there, in the lists of what is looked for, and before a text that is shared.
const PLACE_BYTES: usize = size_of::<Awaited>() + 4 * size_of::<usize>();

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
    pub(super) query: Option<Arc<str>>,
    pub(super) statement_name: Option<Arc<str>>,
    /// What is executed, if that is known.
    pub(super) portal: Option<Arc<Portal>>,
    /// Its parameters are left out.
    pub(super) is_repeated: bool,
    pub(super) num_fields: u64,
    pub(super) num_rows: u64,
    /// What the rows look like, if that was said for this statement.
    columns: Option<Vec<Column>>,
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
            statement_name: None,
            portal: None,
            is_repeated: false,
            num_fields: 0,
            num_rows: 0,
            columns: None,
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

    /// Measures the bytes that it holds while it waits. What it shares with others counts, too: transactions don't share.
    pub(super) fn measure(&mut self) {
        let text = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
        self.held = text(&self.query)
            + text(&self.statement_name)
            + self.parameters().map_or(0, Held::held)
            + size_of::<Self>()
            + PLACE_BYTES;
    }

    /// The parameters that are to be told.
    pub(super) fn parameters(&self) -> Option<&Parameters> {
        self.portal.as_ref().filter(|_| !self.is_repeated).map(|portal| &portal.parameters)
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
            self.columns = Some(columns.to_vec());
        }
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
        let Some(rows) = self.rows.as_mut().filter(|_| wants_text) else { return };
        let portal = self.portal.as_deref();
        let columns = shown_columns(self.columns.as_deref(), portal);
        if !self.has_header && !columns.is_empty() {
            rows.columns(columns.iter().map(|column| column.name.as_str()));
            self.has_header = true;
        }
        // Said when a portal is made, and later than a statement is described.
        let binary_results = portal.map_or(&[][..], |portal| &portal.binary_results);
        for (index, value) in values.enumerate() {
            let column = columns.get(index);
            let type_id = column.map_or(0, |column| column.type_id);
            let binary = match column {
                _ if !binary_results.is_empty() => is_binary(binary_results, index),
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
        let columns = shown_columns(self.columns.as_deref(), self.portal.as_deref());
        if !self.has_header && !columns.is_empty() {
            rows.columns(columns.iter().map(|column| column.name.as_str()));
        }
        Some(rows.into_text())
    }
}

/// What rows look like: as was said for a statement, else when what it executes was described.
fn shown_columns<'a>(columns: Option<&'a [Column]>, portal: Option<&'a Portal>) -> &'a [Column] {
    let described = || portal.and_then(|portal| portal.columns.as_ref()).map(|(_, columns)| &columns[..]);
    columns.or_else(described).unwrap_or_default()
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
