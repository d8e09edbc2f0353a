//! Rows of an answer as text: a line of column names, then a line a row (RFC 4180), as Packetbeat's field `response` has it.

/// Rows being gathered, up to limits.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    text: String,
    rows: usize,
    rows_max: usize,
    row_length_max: usize,
    row_length: usize,
    in_row: bool,
    row_is_full: bool,
}

impl Rows {
    /// Rows of which `rows_max` are kept, each up to `row_length_max` bytes of values.
    pub(crate) fn new(rows_max: usize, row_length_max: usize) -> Self {
        Self { rows_max, row_length_max, ..Self::default() }
    }

    /// Sets the names of the columns: the first line.
    pub(crate) fn columns<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        for (index, name) in names.into_iter().enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            push_field(&mut self.text, name);
        }
        self.text.push('\n');
    }

    /// Whether another row would be kept.
    pub(crate) fn has_room(&self) -> bool {
        self.rows < self.rows_max
    }

    /// Adds a value to the row. What is over the length of a row is left out, as are further values then.
    pub(crate) fn value(&mut self, value: &str) {
        if self.row_is_full {
            return;
        }
        if self.in_row {
            self.text.push(',');
        }
        self.in_row = true;
        let kept = shortened(value, self.row_length_max - self.row_length);
        self.row_length += kept.len();
        self.row_is_full = kept.len() < value.len();
        push_field(&mut self.text, kept);
    }

    /// Ends the row.
    pub(crate) fn end_row(&mut self) {
        self.text.push('\n');
        self.rows += 1;
        self.row_length = 0;
        self.in_row = false;
        self.row_is_full = false;
    }

    /// All of it.
    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

/// The beginning of a text, at most so many bytes, cut between characters.
fn shortened(text: &str, length_max: usize) -> &str {
    &text[..text.floor_char_boundary(length_max)]
}

fn push_field(text: &mut String, field: &str) {
    let needs_quotes = field.contains([',', '"', '\n', '\r']) || field.starts_with([' ', '\t']);
    if !needs_quotes {
        text.push_str(field);
        return;
    }
    // A line break would break the one-line-a-row shape: Packetbeat writes it as two characters.
    let quoted = field.contains([',', '"']) || field.starts_with([' ', '\t']);
    if quoted {
        text.push('"');
    }
    for character in field.chars() {
        match character {
            '"' => text.push_str("\"\""),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            other => text.push(other),
        }
    }
    if quoted {
        text.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_only_what_needs_it() {
        let mut rows = Rows::new(10, 1024);
        rows.columns(["id", "a,b"]);
        rows.value("1");
        rows.value("say \"hi\"");
        rows.end_row();
        rows.value("two\nlines");
        rows.value("");
        rows.end_row();
        assert_eq!(rows.into_text(), "id,\"a,b\"\n1,\"say \"\"hi\"\"\"\ntwo\\nlines,\n");
    }

    #[test]
    fn a_row_is_cut_at_its_length() {
        let mut rows = Rows::new(1, 5);
        for value in ["abc", "défg", "more"] {
            rows.value(value);
        }
        rows.end_row();
        assert!(!rows.has_room());
        assert_eq!(rows.into_text(), "abc,d\n", "é would not fit as a whole");
    }

    #[test]
    fn no_length_at_all() {
        let mut rows = Rows::new(1, 0);
        rows.value("abc");
        rows.end_row();
        assert_eq!(rows.into_text(), "\n");
    }
}
