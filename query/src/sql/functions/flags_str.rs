//! `flags_str(tcp_flags)`: the names of the flags that are set.

use std::sync::Arc;

use arrow::array::{AsArray, StringArray};
use arrow::datatypes::{DataType, UInt16Type};
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::arguments::{array_of, columnar};
use super::tcp_flags::names;

/// Writes TCP flags as `SYN,ACK`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct FlagsStr {
    signature: Signature,
}

impl Default for FlagsStr {
    fn default() -> Self {
        Self { signature: Signature::exact(vec![DataType::UInt16], Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for FlagsStr {
    fn name(&self) -> &'static str {
        "flags_str"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (array, is_scalar) = array_of(&args.args[0], &DataType::UInt16)?;
        let flags = array.as_primitive::<UInt16Type>();
        let texts: StringArray = flags.iter().map(|flags| flags.map(names)).collect();
        columnar(Arc::new(texts), is_scalar)
    }
}
