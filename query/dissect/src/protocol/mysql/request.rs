//! What a command asks: its text, and of executions the parameters.

use std::sync::Arc;

use super::super::Moment;
use super::super::sql::{PARAMETERS_CUT_NOTE, Parameters, Reader};
use super::binary::{ValueType, pass_value};
use super::command::Command;
use super::constants::capability;
use super::pending::{Pending, Queue};
use super::report::Session;
use super::statements::Statements;
use super::view::{length_encoded, length_encoded_bytes};

/// Packetbeat's text for executions of statements that it hasn't seen prepared.
pub(super) const UNKNOWN_STATEMENT: &str = "Request Execute Statement";
const UNKNOWN_STATEMENT_NOTE: &str = "The actual query being used is unknown";

/// Reads what a command asks, from the bytes after its number.
pub(super) fn describe(
    pending: &mut Pending,
    body: &[u8],
    statements: &mut Statements,
    session: &mut Session,
    before: &Queue,
    at: Moment,
) {
    let mut reader = Reader::new(body);
    match pending.command {
        Command::QUERY => {
            let attributes = session.agreed(capability::QUERY_ATTRIBUTES);
            pending.query = Some(shared_text(query_text(body, attributes)));
        }
        Command::STMT_PREPARE | Command::INIT_DB => pending.query = Some(shared_text(body)),
        Command::FIELD_LIST => pending.query = Some(shared_text(reader.until_nul_or_end())),
        Command::CHANGE_USER => {
            pending.query = Some(shared_text(reader.until_nul_or_end()));
            let length = reader.u8().unwrap_or(0);
            reader.take(length.into());
            session.ask_for_database(reader.until_nul().filter(|name| !name.is_empty()));
        }
        Command::STMT_EXECUTE | Command::STMT_BULK_EXECUTE => {
            let names = session.agreed(capability::QUERY_ATTRIBUTES) == Some(true);
            execution(pending, reader, statements, names, before, at);
        }
        Command::STMT_SEND_LONG_DATA => {
            if let (Some(id), Some(parameter)) = (reader.u32_le(), reader.u16_le()) {
                pending.statement_id = Some(id);
                statements.used(id, at).add_long_data(parameter);
            }
        }
        Command::STMT_CLOSE => {
            pending.statement_id = reader.u32_le();
            if let Some(id) = pending.statement_id {
                statements.close(id);
            }
        }
        Command::STMT_RESET | Command::STMT_FETCH => {
            pending.statement_id = reader.u32_le();
            if let Some(id) = pending.statement_id {
                let statement = statements.used(id, at);
                if pending.command == Command::STMT_RESET {
                    statement.reset();
                }
                pending.query.clone_from(&statement.query);
            }
        }
        _ => {}
    }
}

fn execution(
    pending: &mut Pending,
    mut reader: Reader<'_>,
    statements: &mut Statements,
    names: bool,
    before: &Queue,
    at: Moment,
) {
    let is_bulk = pending.command == Command::STMT_BULK_EXECUTE;
    let Some(id) = reader.u32_le() else { return };
    pending.statement_id = Some(id);
    if id == u32::MAX {
        // The statement of the preparation just before, whose number the client doesn't know yet.
        let preparation = before.last_of(Command::STMT_PREPARE);
        if let Some(query) = preparation.and_then(|earlier| earlier.query.as_ref()) {
            statements.prepare_unanswered(Arc::clone(query), at);
        }
    }
    statements.execute(id, at, |statement| {
        pending.response.set_shape(statement.shape.clone());
        pending.query.clone_from(&statement.query);
        pending.parameters = if is_bulk {
            statement.bulk_parameters(reader.rest())
        } else {
            let flags = reader.u8().unwrap_or(0);
            reader.u32_le();
            statement.parameters(reader.rest(), names, flags)
        };
        statement.reset();
    });
    if pending.query.is_none() {
        pending.query = Some(UNKNOWN_STATEMENT.into());
        pending.notes.push(UNKNOWN_STATEMENT_NOTE);
    }
    if pending.parameters.as_ref().is_some_and(Parameters::is_cut) {
        pending.notes.push(PARAMETERS_CUT_NOTE);
    }
}

fn shared_text(bytes: &[u8]) -> Arc<str> {
    String::from_utf8_lossy(bytes).into()
}

/// The text of a query, after its attributes. Where the login wasn't seen, they are told by the NUL that no query begins with,
/// and the single set of them.
fn query_text(body: &[u8], has_attributes: Option<bool>) -> &[u8] {
    let looks_so = || {
        body.starts_with(&[0, 1])
            || (body.first().is_some_and(|&count| (1..9).contains(&count)) && body.get(1) == Some(&1))
    };
    if !has_attributes.unwrap_or_else(looks_so) {
        return body;
    }
    after_attributes(body).unwrap_or(body)
}

fn after_attributes(body: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(body);
    let count = usize::try_from(length_encoded(&mut reader)?).ok()?;
    length_encoded(&mut reader)?; // sets of attributes: always 1
    if count > 0 {
        let nulls = reader.take(count.div_ceil(8))?;
        if reader.u8()? != 1 {
            return None;
        }
        let mut types = Vec::new();
        for _ in 0..count {
            let [field_type, flags] = reader.array()?;
            length_encoded_bytes(&mut reader)?;
            types.push(ValueType { field_type, is_unsigned: flags & 0x80 != 0 });
        }
        for (index, &value_type) in types.iter().enumerate() {
            if nulls[index / 8] & (1 << (index % 8)) == 0 {
                pass_value(&mut reader, value_type)?;
            }
        }
    }
    Some(reader.rest())
}
