//! Prepared statements and portals of one connection.

use std::collections::VecDeque;

use super::view::Column;

/// Statements, and portals, that are remembered for a connection; the one that wasn't used for longest makes room.
pub(super) const OBJECTS_MAX: usize = 4096;

/// Bytes of texts that are remembered for a connection.
pub(super) const OBJECT_BYTES_MAX: usize = 4 << 20;

/// Things with names, in the order of last use.
#[derive(Debug)]
pub(super) struct Named<T> {
    known: VecDeque<(Vec<u8>, usize, T)>,
    bytes: usize,
}

/// A prepared statement.
#[derive(Clone, Debug, Default)]
pub(super) struct Statement {
    pub(super) query: String,
    /// Object ids of its parameters' types.
    pub(super) types: Vec<u32>,
    /// What its results look like, once it was described.
    pub(super) columns: Option<(u16, Vec<Column>)>,
}

/// A statement with its parameters.
#[derive(Clone, Debug, Default)]
pub(super) struct Portal {
    pub(super) statement: Vec<u8>,
    /// `None` when the statement isn't known.
    pub(super) query: Option<String>,
    pub(super) parameters: Vec<String>,
    pub(super) binary_results: Vec<bool>,
    pub(super) columns: Option<(u16, Vec<Column>)>,
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self { known: VecDeque::new(), bytes: 0 }
    }
}

impl<T> Named<T> {
    /// Remembers something of so many bytes; what had this name is replaced.
    pub(super) fn insert(&mut self, name: &[u8], bytes: usize, value: T) {
        self.remove(name);
        self.bytes += bytes;
        self.known.push_back((name.to_vec(), bytes, value));
        while self.known.len() > 1 && (self.known.len() > OBJECTS_MAX || self.bytes > OBJECT_BYTES_MAX) {
            self.remove_at(0);
        }
    }

    /// What has this name, which is used now.
    pub(super) fn used(&mut self, name: &[u8]) -> Option<&mut T> {
        let at = self.position(name)?;
        let newest = self.known.len() - 1;
        if at != newest {
            let used = self.known.remove(at)?;
            self.known.push_back(used);
        }
        self.known.back_mut().map(|(_, _, value)| value)
    }

    /// Forgets what has this name.
    pub(super) fn remove(&mut self, name: &[u8]) {
        if let Some(at) = self.position(name) {
            self.remove_at(at);
        }
    }

    fn position(&self, name: &[u8]) -> Option<usize> {
        // The last used one is the likeliest.
        self.known.iter().rposition(|(known, _, _)| known == name)
    }

    fn remove_at(&mut self, at: usize) {
        if let Some((_, bytes, _)) = self.known.remove(at) {
            self.bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let mut named = Named::default();
        for index in 0..OBJECTS_MAX {
            named.insert(index.to_string().as_bytes(), 1, index);
        }
        assert_eq!(named.used(b"0"), Some(&mut 0));
        named.insert(b"one more", 1, 7);
        assert_eq!(named.used(b"1"), None);
        assert_eq!(named.used(b"0"), Some(&mut 0));
        assert_eq!(named.bytes, OBJECTS_MAX);
        named.insert(b"0", OBJECT_BYTES_MAX, 8);
        assert_eq!(named.known.len(), 1);
        named.remove(b"0");
        assert_eq!((named.bytes, named.used(b"0")), (0, None));
    }
}
