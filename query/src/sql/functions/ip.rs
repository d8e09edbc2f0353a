//! `ip('10.0.0.1')`: an address from text.

use std::net::IpAddr;
use std::sync::Arc;

use arrow::array::{Array, FixedSizeBinaryBuilder};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::arguments::{columnar, texts};
use crate::table::types::{ADDRESS_LEN, ADDRESS_TYPE, address_bytes, address_field};

/// Turns text into an address; anything else is an error.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Ip {
    signature: Signature,
}

impl Default for Ip {
    fn default() -> Self {
        Self { signature: Signature::string(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Ip {
    fn name(&self) -> &'static str {
        "ip"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(ADDRESS_TYPE)
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(address_field(self.name())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (texts, is_scalar) = texts(&args.args[0])?;
        let width = i32::try_from(ADDRESS_LEN).expect("an address has 16 bytes");
        let mut builder = FixedSizeBinaryBuilder::with_capacity(texts.len(), width);
        for text in &texts {
            match text {
                Some(text) => {
                    let address: IpAddr = text
                        .parse()
                        .map_err(|_| exec_datafusion_err!("ip: '{text}' is not an IPv4 or IPv6 address"))?;
                    builder.append_value(address_bytes(address))?;
                }
                None => builder.append_null(),
            }
        }
        columnar(Arc::new(builder.finish()), is_scalar)
    }
}
