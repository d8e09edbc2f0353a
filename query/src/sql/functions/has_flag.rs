//! `has_flag(tcp_flags, 'SYN')`: whether flags are set.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray};
use arrow::datatypes::{DataType, UInt16Type};
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature};

use super::arguments::{array_of, columnar, constant_text, value_and_text};
use super::tcp_flags::bits;

/// Tells whether all named flags are set.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct HasFlag {
    signature: Signature,
}

impl Default for HasFlag {
    fn default() -> Self {
        Self { signature: value_and_text(&DataType::UInt16) }
    }
}

impl ScalarUDFImpl for HasFlag {
    fn name(&self) -> &'static str {
        "has_flag"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let text = constant_text(self.name(), 1, &args)?;
        let wanted = bits(&text).map_err(|name| {
            exec_datafusion_err!(
                "has_flag: '{name}' is no TCP flag; they are FIN SYN RST PSH ACK URG ECE CWR AE"
            )
        })?;
        let (array, is_scalar) = array_of(&args.args[0], &DataType::UInt16)?;
        let flags = array.as_primitive::<UInt16Type>();
        let result: BooleanArray =
            flags.iter().map(|flags| flags.map(|flags| flags & wanted == wanted)).collect();
        columnar(Arc::new(result), is_scalar)
    }
}
