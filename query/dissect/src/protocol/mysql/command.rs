//! What a client can ask (`enum_server_command` of MySQL's `my_command.h`, and MariaDB's additions).

/// What comes back for a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing at all.
    Nothing,
    /// OK, an error, or results.
    Results,
    /// What a prepared statement needs and gives.
    Prepared,
    /// Rows of an open cursor.
    Rows,
    /// Column definitions up to an EOF.
    Columns,
    /// A single packet of text.
    Text,
    /// The exchange of a login.
    Login,
    /// Events of the binary log, without an end.
    Events,
}

/// A command: the first byte of the first packet of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Command(pub(super) u8);

impl Command {
    pub(super) const QUIT: Self = Self(0x01);
    pub(super) const INIT_DB: Self = Self(0x02);
    pub(super) const QUERY: Self = Self(0x03);
    pub(super) const FIELD_LIST: Self = Self(0x04);
    pub(super) const CHANGE_USER: Self = Self(0x11);
    pub(super) const STMT_PREPARE: Self = Self(0x16);
    pub(super) const STMT_EXECUTE: Self = Self(0x17);
    pub(super) const STMT_SEND_LONG_DATA: Self = Self(0x18);
    pub(super) const STMT_CLOSE: Self = Self(0x19);
    pub(super) const STMT_RESET: Self = Self(0x1a);
    pub(super) const STMT_FETCH: Self = Self(0x1c);
    pub(super) const RESET_CONNECTION: Self = Self(0x1f);
    /// MariaDB's execution with many rows of parameters at once.
    pub(super) const STMT_BULK_EXECUTE: Self = Self(0xfa);

    /// The name after `COM_`, and what is answered. `None` for numbers that are no command.
    fn description(self) -> Option<(&'static str, Answer)> {
        Some(match self.0 {
            0x00 => ("SLEEP", Answer::Results),
            0x01 => ("QUIT", Answer::Nothing),
            0x02 => ("INIT_DB", Answer::Results),
            0x03 => ("QUERY", Answer::Results),
            0x04 => ("FIELD_LIST", Answer::Columns),
            0x05 => ("CREATE_DB", Answer::Results),
            0x06 => ("DROP_DB", Answer::Results),
            0x07 => ("REFRESH", Answer::Results),
            0x08 => ("SHUTDOWN", Answer::Results),
            0x09 => ("STATISTICS", Answer::Text),
            0x0a => ("PROCESS_INFO", Answer::Results),
            0x0b => ("CONNECT", Answer::Results),
            0x0c => ("PROCESS_KILL", Answer::Results),
            0x0d => ("DEBUG", Answer::Results),
            0x0e => ("PING", Answer::Results),
            0x0f => ("TIME", Answer::Results),
            0x10 => ("DELAYED_INSERT", Answer::Results),
            0x11 => ("CHANGE_USER", Answer::Login),
            0x12 => ("BINLOG_DUMP", Answer::Events),
            0x13 => ("TABLE_DUMP", Answer::Events),
            0x14 => ("CONNECT_OUT", Answer::Results),
            0x15 => ("REGISTER_SLAVE", Answer::Results),
            0x16 => ("STMT_PREPARE", Answer::Prepared),
            0x17 => ("STMT_EXECUTE", Answer::Results),
            0x18 => ("STMT_SEND_LONG_DATA", Answer::Nothing),
            0x19 => ("STMT_CLOSE", Answer::Nothing),
            0x1a => ("STMT_RESET", Answer::Results),
            0x1b => ("SET_OPTION", Answer::Results),
            0x1c => ("STMT_FETCH", Answer::Rows),
            0x1d => ("DAEMON", Answer::Results),
            0x1e => ("BINLOG_DUMP_GTID", Answer::Events),
            0x1f => ("RESET_CONNECTION", Answer::Results),
            0x20 => ("CLONE", Answer::Results),
            0xfa => ("STMT_BULK_EXECUTE", Answer::Results),
            _ => return None,
        })
    }

    /// Its name, without `COM_`.
    pub(super) fn name(self) -> &'static str {
        self.description().map_or("UNKNOWN", |(name, _)| name)
    }

    /// What is answered.
    pub(super) fn answer(self) -> Answer {
        self.description().map_or(Answer::Results, |(_, answer)| answer)
    }

    /// Whether there is such a command.
    pub(super) fn is_known(self) -> bool {
        self.description().is_some()
    }

    /// Whether Packetbeat makes documents of it.
    pub(super) fn is_documented(self) -> bool {
        matches!(self, Self::QUERY | Self::STMT_PREPARE | Self::STMT_EXECUTE | Self::STMT_BULK_EXECUTE)
    }

    /// Whether the packet is a number of a prepared statement and what is to be done with it.
    pub(super) fn is_execution(self) -> bool {
        matches!(self, Self::STMT_EXECUTE | Self::STMT_BULK_EXECUTE)
    }
}
