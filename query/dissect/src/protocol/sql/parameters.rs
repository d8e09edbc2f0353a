//! Parameters of an execution as text.

use super::Held;

/// Bytes of the parameters of one message, as text: twenty times what is kept of the message itself. NULL is a single bit in
/// MySQL's messages, and a number of 10 bytes has up to 2,000 digits in PostgreSQL's.
const PARAMETER_BYTES_MAX: usize = 2 << 20;

/// Said of an execution that has more.
pub(crate) const PARAMETERS_CUT_NOTE: &str = "The parameters are longer than what is kept of them";

/// The first parameters of an execution, up to a limit.
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    values: Vec<String>,
    bytes: usize,
    is_cut: bool,
}

impl Parameters {
    /// Adds one, unless it is too much: then, and for all that follow, the answer is false.
    pub(crate) fn push(&mut self, value: String) -> bool {
        let bytes = self.bytes + value.len() + size_of::<String>();
        self.is_cut |= bytes > PARAMETER_BYTES_MAX;
        if !self.is_cut {
            self.bytes = bytes;
            self.values.push(value);
        }
        !self.is_cut
    }

    /// Those that are kept.
    pub(crate) fn into_values(self) -> Vec<String> {
        self.values
    }

    /// Those that are kept.
    pub(crate) fn values(&self) -> &[String] {
        &self.values
    }

    /// Whether there were more.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }
}

impl Held for Parameters {
    fn held(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_ones_count_too() {
        let mut parameters = Parameters::default();
        let count = (0..1_000_000).take_while(|_| parameters.push(String::new())).count();
        assert_eq!(count, PARAMETER_BYTES_MAX / size_of::<String>());
        assert!(parameters.is_cut() && !parameters.push(String::new()));
        assert!(parameters.held() <= PARAMETER_BYTES_MAX);
        assert_eq!(parameters.values().len(), count);
    }
}
