//! Against captures that this project recorded: of real servers and their own clients (`testdata/README.md`).

use kcap_dissect::protocol::Transaction;

use crate::support::golden;

fn check(name: &str) -> Vec<Transaction> {
    golden::check("databases", name, "21306, 21379, 21432")
}

#[test]
fn mariadb_with_its_client_and_prepared_statements() {
    let all = check("mysql");
    assert!(all.iter().all(|one| one.incomplete.is_none()));
}

#[test]
fn postgresql_with_psql_and_pgbench() {
    let all = check("pgsql");
    let batch = ["select 'two;' as t", "selct", "select 4", "select 3"];
    for one in all.iter().filter(|one| one.incomplete.is_some()) {
        assert!(batch.contains(&one.query.as_deref().unwrap()), "{one:?}");
    }
}

#[test]
fn redis_with_redis_cli_and_redis_benchmark() {
    let all = check("redis");
    assert!(all.iter().all(|one| one.incomplete.is_none()));
    let benchmark = |method: &str| {
        let is_benchmark = |one: &&Transaction| one.resource.as_deref() == Some("key:__rand_int__");
        all.iter().filter(is_benchmark).filter(|one| one.method.as_deref() == Some(method)).count()
    };
    assert_eq!((benchmark("SET"), benchmark("GET")), (20, 20));
}
