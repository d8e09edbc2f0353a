//! Text of which a packet can ask for far more than it has bytes: of prepared statements, which one message brings and many
//! executions tell, and of compressed packets.

/// Bytes of text that the transactions of one packet may have together: as much as may wait for answers. An execution has 5
/// bytes, and its statement's text may have 300,000.
const REPEATED_BYTES_MAX: usize = 8 << 20;

/// What is still told of a statement's text when there is more: enough for the verb and the first table.
const REPEATED_KEPT_MAX: usize = 256;

/// Said of a statement whose text is cut.
pub(crate) const REPEATED_NOTE: &str = "Texts are cut: too much of them in one packet";

/// How much text of earlier messages may still be told of what is in this packet.
#[derive(Debug)]
pub(crate) struct Repeated {
    left: usize,
}

impl Default for Repeated {
    fn default() -> Self {
        Self { left: REPEATED_BYTES_MAX }
    }
}

impl Repeated {
    /// Another packet.
    pub(crate) fn renew(&mut self) {
        self.left = REPEATED_BYTES_MAX;
    }

    /// Whether so many bytes may be told, too. If so, there are fewer left.
    pub(crate) fn allows(&mut self, bytes: usize) -> bool {
        let left = self.left.checked_sub(bytes);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }
}

/// The beginning of a text that is repeated too often.
pub(crate) fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(REPEATED_KEPT_MAX)]
}
