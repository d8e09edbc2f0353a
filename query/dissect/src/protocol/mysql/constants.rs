//! Numbers of the protocol (MySQL Internals Manual, chapter 14, "MySQL Client/Server Protocol"; MariaDB Knowledge Base,
//! "MariaDB Client/Server Protocol").

/// Capability flags that change how packets look.
pub(super) mod capability {
    /// A database is named at login.
    pub(in super::super) const CONNECT_WITH_DB: u64 = 1 << 3;
    /// Packets are wrapped and compressed with zlib after the login.
    pub(in super::super) const COMPRESS: u64 = 1 << 5;
    /// The protocol since version 4.1.
    pub(in super::super) const PROTOCOL_41: u64 = 1 << 9;
    /// TLS begins after the first packet of the client.
    pub(in super::super) const SSL: u64 = 1 << 11;
    /// The answer to the challenge has a length byte.
    pub(in super::super) const SECURE_CONNECTION: u64 = 1 << 15;
    /// The method of authentication is named.
    pub(in super::super) const PLUGIN_AUTH: u64 = 1 << 19;
    /// Names and values that describe the client follow.
    pub(in super::super) const CONNECT_ATTRS: u64 = 1 << 20;
    /// The answer to the challenge has a length of any size.
    pub(in super::super) const PLUGIN_AUTH_LENENC: u64 = 1 << 21;
    /// The client does without the EOF packets after definitions and rows.
    pub(in super::super) const DEPRECATE_EOF: u64 = 1 << 24;
    /// Packets are wrapped and compressed with zstd after the login.
    pub(in super::super) const ZSTD_COMPRESSION: u64 = 1 << 26;
    /// Queries carry attributes before their text.
    pub(in super::super) const QUERY_ATTRIBUTES: u64 = 1 << 27;
}

/// Flags of the server's state in OK and EOF packets.
pub(super) mod server_status {
    /// Another result follows.
    pub(in super::super) const MORE_RESULTS_EXISTS: u16 = 1 << 3;
    /// The rows are fetched by later commands.
    pub(in super::super) const CURSOR_EXISTS: u16 = 1 << 6;
}

/// Types of columns and parameters.
pub(super) mod field_type {
    #![allow(missing_docs, reason = "they are the manual's names")]
    pub(in super::super) const TINY: u8 = 0x01;
    pub(in super::super) const SHORT: u8 = 0x02;
    pub(in super::super) const LONG: u8 = 0x03;
    pub(in super::super) const FLOAT: u8 = 0x04;
    pub(in super::super) const DOUBLE: u8 = 0x05;
    pub(in super::super) const NULL: u8 = 0x06;
    pub(in super::super) const TIMESTAMP: u8 = 0x07;
    pub(in super::super) const LONGLONG: u8 = 0x08;
    pub(in super::super) const INT24: u8 = 0x09;
    pub(in super::super) const DATE: u8 = 0x0a;
    pub(in super::super) const TIME: u8 = 0x0b;
    pub(in super::super) const DATETIME: u8 = 0x0c;
    pub(in super::super) const YEAR: u8 = 0x0d;
}

/// The length in a packet's header that says that the next packet goes on with the same payload.
pub(super) const PAYLOAD_LENGTH_MAX: u64 = 0xff_ffff;

/// First bytes of a response.
pub(super) mod marker {
    /// It was done.
    pub(in super::super) const OK: u8 = 0x00;
    /// The server wants a file of the client.
    pub(in super::super) const LOCAL_INFILE: u8 = 0xfb;
    /// End of columns or rows; while logging in: use another method.
    pub(in super::super) const EOF: u8 = 0xfe;
    /// It failed.
    pub(in super::super) const ERR: u8 = 0xff;
}
