//! `spec/tables.md` says what the tables are.

/// `KCAP_BLESS=1 cargo test -p kcap-query tables_md` writes the page anew.
#[test]
fn tables_md_is_what_the_providers_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../spec/tables.md");
    let expected = kcap_query::table::documentation_markdown();
    if std::env::var_os("KCAP_BLESS").is_some() {
        std::fs::write(path, &expected).expect("the page can be written");
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == expected,
        "spec/tables.md differs from the providers: KCAP_BLESS=1 cargo test -p kcap-query tables_md"
    );
}

/// The columns of the documentation are those that the engine sees.
#[test]
fn documentation_names_every_table_and_column() {
    let library = std::sync::Arc::new(kcap_query::source::Library::default());
    let documented = kcap_query::table::documentation();
    let providers = kcap_query::table::providers(&library, &kcap_dissect::protocol::Protocols::default());
    assert_eq!(documented.len(), providers.len());
    for (table, (name, provider)) in documented.iter().zip(&providers) {
        assert_eq!(table.name, *name);
        let columns: Vec<_> = table.columns.iter().map(|(field, _)| field.clone()).collect();
        let seen: Vec<_> = provider.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
        assert_eq!(columns, seen, "{name}");
        assert!(table.columns.iter().all(|(_, description)| !description.is_empty()));
    }
}
