//! `ip_text(src_ip)`: an address as text, for results that leave kcap.

use std::sync::Arc;

use arrow::array::{Array, FixedSizeBinaryArray, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::arguments::{array_of, columnar};
use crate::table::types::{ADDRESS_TYPE, address_text};

/// Dotted for IPv4, with colons for IPv6 (RFC 5952).
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct IpText {
    signature: Signature,
}

impl Default for IpText {
    fn default() -> Self {
        Self { signature: Signature::exact(vec![ADDRESS_TYPE], Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for IpText {
    fn name(&self) -> &'static str {
        "ip_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (array, is_scalar) = array_of(&args.args[0], &ADDRESS_TYPE)?;
        let addresses = array.as_any().downcast_ref::<FixedSizeBinaryArray>().ok_or_else(|| {
            exec_datafusion_err!("ip_text: an address was expected, not {}", array.data_type())
        })?;
        let texts: StringArray = addresses.iter().map(|address| address.and_then(address_text)).collect();
        columnar(Arc::new(texts), is_scalar)
    }
}
