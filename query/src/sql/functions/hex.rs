//! `hex(payload)`: bytes as hexadecimal digits.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, AsArray, StringBuilder};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use super::arguments::{array_of, columnar};

/// Writes bytes as lower-case hexadecimal digits.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Hex {
    signature: Signature,
}

impl Default for Hex {
    fn default() -> Self {
        Self { signature: Signature::one_of(vec![TypeSignature::Any(1)], Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Hex {
    fn name(&self) -> &'static str {
        "hex"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        use DataType::{Binary, BinaryView, FixedSizeBinary, LargeBinary, Null, Utf8, Utf8View};
        match arguments.first() {
            Some(Binary | BinaryView | LargeBinary | FixedSizeBinary(_) | Utf8 | Utf8View | Null) => Ok(Utf8),
            other => datafusion::common::plan_err!("hex takes bytes or text, not {other:?}"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (array, is_scalar) = array_of(&args.args[0], &DataType::Binary)?;
        let values = array.as_binary::<i32>();
        let mut builder = StringBuilder::with_capacity(values.len(), values.value_data().len() * 2);
        for value in values {
            match value {
                Some(bytes) => {
                    for byte in bytes {
                        write!(builder, "{byte:02x}").expect("a builder in memory takes every write");
                    }
                    builder.append_value("");
                }
                None => builder.append_null(),
            }
        }
        columnar(Arc::new(builder.finish()), is_scalar)
    }
}
