//! Errors of the engine as one line for a person.

use datafusion::error::DataFusionError;

/// One line: where in the query, what is wrong, and what could be meant. No names of internals.
#[must_use]
pub fn error_line(error: &DataFusionError) -> String {
    let position = error
        .diagnostic()
        .and_then(|diagnostic| diagnostic.span)
        .map(|span| format!("line {}, column {}: ", span.start.line, span.start.column))
        .unwrap_or_default();
    let text = message(error);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.contains("Line: ") { text } else { format!("{position}{text}") }
}

/// The message without the engine's prefixes and without lists of every column there is.
fn message(error: &DataFusionError) -> String {
    match error {
        DataFusionError::SQL(error, _) => {
            let text = error.to_string();
            text.strip_prefix("sql parser error: ").unwrap_or(&text).to_owned()
        }
        DataFusionError::SchemaError(error, _) => {
            let text = error.to_string();
            let end = text.find("Valid fields are").unwrap_or(text.len());
            format!(
                "{} (columns are listed by: DESCRIBE table)",
                text[..end].trim_end().trim_end_matches('.')
            )
        }
        DataFusionError::Plan(text)
        | DataFusionError::Execution(text)
        | DataFusionError::NotImplemented(text)
        | DataFusionError::Configuration(text) => plain(text),
        DataFusionError::ResourcesExhausted(text) => {
            // Behind it comes a list of everybody who has some.
            let cause = text.split(" with top memory consumers").next().unwrap_or(text);
            format!("not enough memory, raise --memory-limit: {}", plain(cause))
        }
        DataFusionError::Diagnostic(_, inner) | DataFusionError::Context(_, inner) => message(inner),
        DataFusionError::Shared(inner) => message(inner),
        DataFusionError::Collection(errors) => errors.first().map_or_else(|| error.to_string(), message),
        DataFusionError::External(inner) => {
            inner.downcast_ref::<DataFusionError>().map_or_else(|| inner.to_string(), message)
        }
        DataFusionError::ArrowError(error, _) => error.to_string(),
        other => plain(&other.to_string()),
    }
}

fn plain(text: &str) -> String {
    let text = text.strip_prefix("Error during planning: ").unwrap_or(text);
    without_bug_report(text).replace("datafusion.public.", "").replace("FixedSizeBinary(16)", "address")
}

/// How the engine begins what it takes for a bug of its own, and how it goes on to ask for a report.
const BUG: (&str, &str) = ("Internal error: ", "This issue was likely caused by a bug");
/// What says the same plainly, where the engine has it.
const NO_FUNCTION: &str = "No function matches";

/// Mostly a query is at fault and not the engine: a function was given values that it does not take.
fn without_bug_report(text: &str) -> String {
    let Some((cause, after)) = text.strip_prefix(BUG.0).and_then(|text| text.split_once(BUG.1)) else {
        return text.to_owned();
    };
    match after.find(NO_FUNCTION) {
        Some(at) => after[at..].to_owned(),
        None => format!("the engine cannot do this, ask in another way: {}", cause.trim()),
    }
}
