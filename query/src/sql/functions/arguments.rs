//! Taking arguments apart, which every function does the same way.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, Signature, TypeSignature, Volatility};

/// Takes a value of one type and a text, in either form that the engine has of texts.
pub(super) fn value_and_text(value: &DataType) -> Signature {
    let with = |text| TypeSignature::Exact(vec![value.clone(), text]);
    Signature::one_of(vec![with(DataType::Utf8), with(DataType::Utf8View)], Volatility::Immutable)
}

/// The value of an argument that must be the same text in every row.
pub(super) fn constant_text(function: &str, position: usize, args: &ScalarFunctionArgs) -> Result<String> {
    match args.args.get(position) {
        Some(ColumnarValue::Scalar(value)) => value
            .try_as_str()
            .flatten()
            .map(str::to_owned)
            .ok_or_else(|| exec_datafusion_err!("{function}: argument {} must be a text", position + 1)),
        _ => plan_err!("{function}: argument {} must be a constant", position + 1),
    }
}

/// An argument as an array of one type; whether it stood for one value (then the array has one).
pub(super) fn array_of(argument: &ColumnarValue, data_type: &DataType) -> Result<(ArrayRef, bool)> {
    let (array, is_scalar) = match argument {
        ColumnarValue::Array(array) => (Arc::clone(array), false),
        ColumnarValue::Scalar(value) => (value.to_array_of_size(1)?, true),
    };
    let array = if array.data_type() == data_type { array } else { cast(&array, data_type)? };
    Ok((array, is_scalar))
}

/// A result as long as the arguments were.
pub(super) fn columnar(array: ArrayRef, is_scalar: bool) -> Result<ColumnarValue> {
    if is_scalar {
        return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?));
    }
    Ok(ColumnarValue::Array(array))
}

/// The texts of an argument.
pub(super) fn texts(argument: &ColumnarValue) -> Result<(StringArray, bool)> {
    let (array, is_scalar) = array_of(argument, &DataType::Utf8)?;
    let texts = array
        .as_any()
        .downcast_ref::<StringArray>()
        .ok_or_else(|| exec_datafusion_err!("a text was expected, not {}", array.data_type()))?;
    Ok((texts.clone(), is_scalar))
}
