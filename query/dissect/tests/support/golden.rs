//! Beside each capture of `testdata` lies what it must give, a transaction a line; `KCAP_UPDATE_GOLDEN=1` writes that anew, to be
//! read before it is believed.

use std::fmt::Write as _;
use std::net::Ipv6Addr;
use std::path::Path;

use kcap_dissect::protocol::{Fields, Protocols, Transaction, Value};

use super::transactions;

fn render(value: &Value) -> String {
    match value {
        Value::List(values) => format!("[{}]", values.iter().map(render).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => render_fields(fields),
        Value::Text(text) => format!("{text:?}"),
        Value::Uint(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Ip(address) => Ipv6Addr::from(*address).to_canonical().to_string(),
        other => format!("{other:?}"),
    }
}

fn render_fields(fields: &Fields) -> String {
    let all: Vec<_> = fields.iter().map(|(name, value)| format!("{name}: {}", render(value))).collect();
    format!("{{{}}}", all.join(", "))
}

fn line(one: &Transaction) -> String {
    let mut line = String::new();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            write!(line, "{name}={value} ").unwrap();
        }
    };
    let quoted = |text: Option<&str>| text.map(|text| format!("{text:?}"));
    let bytes =
        [one.request, one.response].map(|place| place.map_or("-".to_owned(), |at| at.bytes.to_string()));
    add("method", quoted(one.method.as_deref()));
    add("query", quoted(one.query.as_deref()));
    add("resource", quoted(one.resource.as_deref()));
    add("status", Some(one.status.name().to_owned()));
    add("bytes", Some(bytes.join("/")));
    add("incomplete", one.incomplete.map(|reason| reason.name().to_owned()));
    add("errors", (!one.errors.is_empty()).then(|| format!("{:?}", one.errors)));
    add("table_only", one.table_only.then(|| "true".to_owned()));
    add("response", quoted(one.response_text.as_deref()));
    line + &render_fields(&one.fields)
}

/// Where nobody wants fields, all else must be the same.
fn without_fields(capture: &Path, options: &str, all: &[Transaction]) {
    let protocols = Protocols::read(options.parse().unwrap()).unwrap().with_fields_of(|_| false);
    let found = transactions::with(capture, protocols);
    assert_eq!(found.len(), all.len(), "without fields");
    for (found, expected) in found.iter().zip(all) {
        let expected = Transaction { fields: found.fields.clone(), ..expected.clone() };
        assert_eq!(found, &expected, "without fields");
    }
}

/// Compares the transactions of a capture of this protocol with the golden file; gives them.
pub fn check(folder: &str, name: &str, ports: &str) -> Vec<Transaction> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(folder);
    let options = format!("[{name}]\nsend_response = true");
    // By their bytes alone, and with the port given, the same must come out.
    let all = transactions::of_capture(&folder.join(format!("{name}.pcap")), &options);
    let on_port = format!("{options}\nports = [{ports}]");
    let all_on_port = transactions::of_capture(&folder.join(format!("{name}.pcap")), &on_port);
    let (one, other): (Vec<_>, Vec<_>) =
        (all.iter().map(line).collect(), all_on_port.iter().map(line).collect());
    assert_eq!(one, other, "otherwise than by its bytes alone");
    assert!(all.iter().all(|one| one.protocol == name), "{name}");
    without_fields(&folder.join(format!("{name}.pcap")), &options, &all);
    let found: String = all.iter().map(|one| line(one) + "\n").collect();
    let golden = folder.join(format!("{name}.golden"));
    if std::env::var_os("KCAP_UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap();
    for (number, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "line {} of {}", number + 1, golden.display());
    }
    assert_eq!(found.lines().count(), expected.lines().count(), "{}", golden.display());
    all
}
