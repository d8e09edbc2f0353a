//! `cidr(src_ip, '10.0.0.0/8')`: whether an address lies in a network. It becomes a range, which can prune.

use std::net::IpAddr;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, FixedSizeBinaryArray};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, plan_datafusion_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature};

use super::arguments::{array_of, columnar, constant_text, value_and_text};
use crate::table::types::{ADDRESS_LEN, ADDRESS_TYPE, address_bytes};

/// Tells whether an address is in a network in CIDR notation (RFC 4632).
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Cidr {
    signature: Signature,
}

impl Default for Cidr {
    fn default() -> Self {
        Self { signature: value_and_text(&ADDRESS_TYPE) }
    }
}

impl ScalarUDFImpl for Cidr {
    fn name(&self) -> &'static str {
        "cidr"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let text = constant_text(self.name(), 1, &args)?;
        let (first, last) = network(&text).map_err(|what| exec_datafusion_err!("cidr: {what}"))?;
        let (array, is_scalar) = array_of(&args.args[0], &ADDRESS_TYPE)?;
        let addresses = array.as_any().downcast_ref::<FixedSizeBinaryArray>().ok_or_else(|| {
            exec_datafusion_err!("cidr: an address was expected, not {}", array.data_type())
        })?;
        let inside = |address: &[u8]| first.as_slice() <= address && address <= last.as_slice();
        let result: BooleanArray = addresses.iter().map(|address| address.map(inside)).collect();
        columnar(Arc::new(result), is_scalar)
    }

    fn simplify(&self, args: Vec<Expr>, _info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let [address, Expr::Literal(text, _)] = args.as_slice() else {
            return Ok(ExprSimplifyResult::Original(args));
        };
        let Some(Some(text)) = text.try_as_str() else { return Ok(ExprSimplifyResult::Original(args)) };
        let (first, last) = network(text).map_err(|what| plan_datafusion_err!("cidr: {what}"))?;
        let width = i32::try_from(ADDRESS_LEN).expect("an address has 16 bytes");
        let literal = |bytes: [u8; ADDRESS_LEN]| {
            Expr::Literal(ScalarValue::FixedSizeBinary(width, Some(bytes.to_vec())), None)
        };
        Ok(ExprSimplifyResult::Simplified(address.clone().between(literal(first), literal(last))))
    }
}

/// The first and last address of a network like `10.0.0.0/8` or `2001:db8::/32`; a lone address is itself.
fn network(text: &str) -> std::result::Result<([u8; ADDRESS_LEN], [u8; ADDRESS_LEN]), String> {
    let (address, prefix_len) =
        text.split_once('/').map_or((text, None), |(address, len)| (address, Some(len)));
    let wrong = || format!("'{text}' is not a network like 10.0.0.0/8 or 2001:db8::/32");
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let bits_max = if address.is_ipv4() { 32 } else { 128 };
    let prefix_len: u32 = prefix_len.map_or(Ok(bits_max), |len| len.parse().map_err(|_| wrong()))?;
    if prefix_len > bits_max {
        return Err(wrong());
    }
    let host_bits = bits_max - prefix_len;
    let mask = if host_bits == 128 { u128::MAX } else { (1 << host_bits) - 1 };
    let number = u128::from_be_bytes(address_bytes(address));
    Ok(((number & !mask).to_be_bytes(), (number | mask).to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(text: &str) -> (String, String) {
        let (first, last) = network(text).unwrap();
        let show = |bytes: [u8; ADDRESS_LEN]| crate::table::types::address_text(&bytes).unwrap();
        (show(first), show(last))
    }

    #[test]
    fn networks_are_ranges() {
        assert_eq!(bounds("10.1.2.3/8"), ("10.0.0.0".into(), "10.255.255.255".into()));
        assert_eq!(bounds("10.1.2.3"), ("10.1.2.3".into(), "10.1.2.3".into()));
        assert_eq!(bounds("0.0.0.0/0"), ("0.0.0.0".into(), "255.255.255.255".into()));
        assert_eq!(bounds("2001:db8::/127"), ("2001:db8::".into(), "2001:db8::1".into()));
        assert_eq!(network("::/0").unwrap(), ([0; 16], [0xff; 16]));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0.0/-1", "::/129", "ten/8", "10.0.0.0/"] {
            assert!(network(text).is_err(), "{text}");
        }
    }
}
