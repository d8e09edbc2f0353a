//! `payload_text(payload)`: bytes as text that a terminal can take.

use std::sync::Arc;

use arrow::array::{AsArray, StringBuilder};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::arguments::{array_of, columnar};

/// Shows UTF-8 as it is, and writes control characters and bytes that are no text as `\n`, `\t` or `\xNN`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct PayloadText {
    signature: Signature,
}

impl Default for PayloadText {
    fn default() -> Self {
        let types = vec![DataType::BinaryView, DataType::Binary];
        Self { signature: Signature::uniform(1, types, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for PayloadText {
    fn name(&self) -> &'static str {
        "payload_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (array, is_scalar) = array_of(&args.args[0], &DataType::BinaryView)?;
        let values = array.as_binary_view();
        let mut builder = StringBuilder::new();
        for value in values {
            builder.append_option(value.map(escape));
        }
        columnar(Arc::new(builder.finish()), is_scalar)
    }
}

fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                '\\' => text.push_str("\\\\"),
                control if control.is_control() => {
                    let mut buffer = [0; 4];
                    control.encode_utf8(&mut buffer).bytes().for_each(|byte| push_byte(&mut text, byte));
                }
                plain => text.push(plain),
            }
        }
        chunk.invalid().iter().for_each(|byte| push_byte(&mut text, *byte));
    }
    text
}

fn push_byte(text: &mut String, byte: u8) {
    text.push_str(&format!("\\x{byte:02x}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_raw() {
        assert_eq!(escape(b"GET / HTTP/1.1\r\n"), "GET / HTTP/1.1\\r\\n");
        assert_eq!(escape(b"\x1b[2J\xff\x00"), "\\x1b[2J\\xff\\x00");
        assert_eq!(escape("caf\u{e9}".as_bytes()), "caf\u{e9}");
    }
}
