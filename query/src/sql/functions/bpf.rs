//! `bpf('tcp port 443')`: a filter in tcpdump's language.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::datatypes::{DataType, UInt16Type, UInt32Type};
use datafusion::common::{Result, exec_datafusion_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use kcap_dissect::filter::{Filter, Packet};

use super::arguments::{array_of, columnar, constant_text};

/// Name of the function.
pub(in crate::sql) const NAME: &str = "bpf";
/// The columns of `packets` that it looks at, which a rule adds behind the expression.
pub(in crate::sql) const COLUMNS: [&str; 4] = ["link_type", "len", "header", "payload"];

/// Tells whether a packet matches.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Bpf {
    signature: Signature,
}

impl Default for Bpf {
    fn default() -> Self {
        Self { signature: Signature::variadic_any(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Bpf {
    fn name(&self) -> &'static str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if args.args.len() != 1 + COLUMNS.len() {
            return plan_err!("bpf takes one expression, and works where the columns of packets are at hand");
        }
        let expression = constant_text(NAME, 0, &args)?;
        let rows = args.number_rows;
        let column = |place: usize, data_type: &DataType| -> Result<_> {
            let array = args.args[place].to_array(rows)?;
            Ok(array_of(&ColumnarValue::Array(array), data_type)?.0)
        };
        let link_types = column(1, &DataType::UInt16)?;
        let link_types = link_types.as_primitive::<UInt16Type>();
        let lens = column(2, &DataType::UInt32)?;
        let lens = lens.as_primitive::<UInt32Type>();
        let (headers, payloads) = (column(3, &DataType::BinaryView)?, column(4, &DataType::BinaryView)?);
        let (headers, payloads) = (headers.as_binary_view(), payloads.as_binary_view());
        let mut filters: Vec<(u16, Filter)> = Vec::new();
        let mut verdicts = Vec::with_capacity(rows);
        for row in 0..rows {
            let link_type = link_types.value(row);
            let known = filters.iter().position(|(known, _)| *known == link_type);
            let place = match known {
                Some(place) => place,
                None => {
                    filters.push((link_type, parse(&expression, link_type)?));
                    filters.len() - 1
                }
            };
            let header = if headers.is_valid(row) { headers.value(row) } else { &[] };
            let payload = if payloads.is_valid(row) { payloads.value(row) } else { &[] };
            let packet = Packet { header, payload, wire_len: lens.value(row) };
            verdicts.push(filters[place].1.matches(&packet));
        }
        columnar(Arc::new(BooleanArray::from(verdicts)), false)
    }
}

/// Understands an expression; the error shows where it is wrong.
pub(in crate::sql) fn parse(expression: &str, link_type: u16) -> Result<Filter> {
    Filter::parse(expression, link_type).map_err(|error| exec_datafusion_err!("bpf('{expression}'): {error}"))
}
