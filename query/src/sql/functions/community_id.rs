//! `community_id(src_ip, src_port, dst_ip, dst_port, ip_proto)`: a name for a flow that other tools compute too.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, StringArray};
use arrow::datatypes::{DataType, UInt8Type, UInt16Type};
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use kcap_dissect::flow::{COMMUNITY_ID_SEED, community_id};

use super::arguments::{array_of, columnar};
use crate::table::types::ADDRESS_TYPE;

/// Community ID, version 1, with seed 0. For ICMP, type and code take the place of the ports. Null when an address or the
/// protocol is; ports that are null count as 0.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct CommunityId {
    signature: Signature,
}

impl Default for CommunityId {
    fn default() -> Self {
        let types = vec![ADDRESS_TYPE, DataType::UInt16, ADDRESS_TYPE, DataType::UInt16, DataType::UInt8];
        Self { signature: Signature::exact(types, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for CommunityId {
    fn name(&self) -> &'static str {
        "community_id"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.args.iter().find_map(|argument| match argument {
            ColumnarValue::Array(array) => Some(array.len()),
            ColumnarValue::Scalar(_) => None,
        });
        let column = |place: usize, data_type: &DataType| -> Result<ArrayRef> {
            let array = args.args[place].to_array(rows.unwrap_or(1))?;
            Ok(array_of(&ColumnarValue::Array(array), data_type)?.0)
        };
        let (sources, destinations) = (column(0, &ADDRESS_TYPE)?, column(2, &ADDRESS_TYPE)?);
        let (sources, destinations) = (addresses(&sources)?, addresses(&destinations)?);
        let (source_ports, destination_ports) =
            (column(1, &DataType::UInt16)?, column(3, &DataType::UInt16)?);
        let port = |array: &ArrayRef, row: usize| {
            let ports = array.as_primitive::<UInt16Type>();
            if ports.is_null(row) { 0 } else { ports.value(row) }
        };
        let protocols = column(4, &DataType::UInt8)?;
        let protocols = protocols.as_primitive::<UInt8Type>();
        let id = |row: usize| {
            if sources.is_null(row) || destinations.is_null(row) || protocols.is_null(row) {
                return None;
            }
            let source = sources.value(row).try_into().ok()?;
            let destination = destinations.value(row).try_into().ok()?;
            Some(community_id(
                COMMUNITY_ID_SEED,
                (source, port(&source_ports, row)),
                (destination, port(&destination_ports, row)),
                protocols.value(row),
            ))
        };
        let ids: StringArray = (0..rows.unwrap_or(1)).map(id).collect();
        columnar(Arc::new(ids), rows.is_none())
    }
}

fn addresses(array: &ArrayRef) -> Result<&FixedSizeBinaryArray> {
    array.as_any().downcast_ref::<FixedSizeBinaryArray>().ok_or_else(|| {
        exec_datafusion_err!("community_id: an address was expected, not {}", array.data_type())
    })
}
