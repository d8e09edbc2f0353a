//! Real database servers with their own clients: what SQL says about a recording is what the clients report themselves.

use std::process::Command;

use kcap_tests::command::run;
use kcap_tests::database::{Server, mariadb_client, postgresql_client};
use kcap_tests::kcap::sql;
use kcap_tests::kernel;
use kcap_tests::recorder::Recorder;
use serde_json::{Value, json};

/// Records what an action does to a server, and gives the rows of a query; `PORT` in it is the server's port.
fn recorded(server: &Server, action: impl FnOnce(), query: &str) -> Vec<Value> {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let recorder = Recorder::start(&folder.path().join("capture"), &[]);
    action();
    let capture = recorder.folder().to_owned();
    recorder.stop();
    sql(&capture, &query.replace("PORT", &server.port.to_string()))
}

/// The number after a text, in a line that a client printed.
fn number_after(text: &str, before: &str) -> u64 {
    let rest = text.split_once(before).unwrap_or_else(|| panic!("{before:?} is not in {text}")).1;
    let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no number after {before:?} in {text}"))
}

const MARIADB_SCRIPT: &str = "\
create database shop; use shop;
create table fruit (id int auto_increment primary key, name varchar(40), price decimal(8,2));
insert into fruit (name, price) values ('apple', 1.25), ('pear', 2.50), ('plum', 0.75);
select * from fruit where price > 1;
select * from nowhere;
update fruit set price = price * 2 where id < 3;
selct;
delete from fruit where id = 1;
";

/// What MariaDB's client reports of each statement, with `-vv`: rows in the answer, rows changed, errors.
fn mariadb_report(stdout: &str, stderr: &str) -> (Vec<u64>, Vec<u64>, Vec<u64>) {
    let first = |line: &str| line.split(' ').next().and_then(|word| word.parse().ok());
    let rows = stdout.lines().filter(|line| line.contains(" in set")).filter_map(first).collect();
    let changed =
        stdout.lines().filter_map(|line| line.strip_prefix("Query OK, ")).filter_map(first).collect();
    let errors =
        stderr.lines().filter(|line| line.starts_with("ERROR ")).map(|line| number_after(line, "ERROR "));
    (rows, changed, errors.collect())
}

#[test]
fn mariadb_says_what_its_client_says() {
    if !kernel::available() {
        return;
    }
    let server = Server::mariadb();
    let script = server.folder().join("script.sql");
    std::fs::write(&script, MARIADB_SCRIPT).expect("a script");
    let mut report = Default::default();
    let client = || {
        let source = format!("source {}", script.display());
        let finished = run(mariadb_client(server.port).args(["-vv", "--force", "-e", &source]));
        report = mariadb_report(&finished.text(), &finished.stderr);
    };
    let rows = recorded(
        &server,
        client,
        "SELECT method, mysql.num_rows AS num_rows, mysql.affected_rows AS affected, mysql.error_code AS error, \
         complete, client_process_name AS client, server_process_name AS server \
         FROM mysql WHERE server_port = PORT AND mysql.command = 'QUERY' ORDER BY ts",
    );
    // The client asks by itself which database it has.
    let statements: Vec<_> = rows
        .iter()
        .filter(|row| row["method"] != "SELECT" || row["error"] != Value::Null || row["num_rows"] != json!(1))
        .collect();
    let numbers = |key: &str, keep: &dyn Fn(&&&Value) -> bool| -> Vec<u64> {
        statements.iter().filter(keep).filter_map(|row| row[key].as_u64()).collect()
    };
    let (in_sets, changed, errors) = report;
    assert_eq!((in_sets.len(), changed.len(), errors.len()), (1, 5, 2), "the client ran the script");
    assert_eq!(numbers("error", &|_| true), errors);
    assert_eq!(numbers("num_rows", &|row| row["method"] == "SELECT" && row["error"].is_null()), in_sets);
    assert_eq!(numbers("affected", &|row| row["method"] != "SELECT" && row["error"].is_null()), changed);
    for row in &rows {
        assert_eq!(row["complete"], true, "{row}");
        assert_eq!((&row["client"], &row["server"]), (&json!("mariadb"), &json!("mariadbd")), "{row}");
    }
}

const PERL_PREPARED: &str = r#"
my $db = DBI->connect("DBI:MariaDB:database=mysql;host=127.0.0.1;port=$ARGV[0]", "root", "", { mariadb_server_prepare => 1 });
my $select = $db->prepare("select seq from seq_1_to_1000 where seq between ? and ?");
for my $to (5, 50, 500) { $select->execute(1, $to); my $rows = $select->fetchall_arrayref; print scalar(@$rows), "\n" }
"#;

#[test]
fn prepared_statements_of_mariadb_have_their_parameters() {
    if !kernel::available() {
        return;
    }
    let server = Server::mariadb();
    let mut reported = String::new();
    let client = || {
        let mut perl = Command::new("perl");
        reported = run(perl.args(["-MDBI", "-e", PERL_PREPARED, &server.port.to_string()])).success().text();
    };
    let rows = recorded(
        &server,
        client,
        "SELECT params, mysql.num_rows AS num_rows, query FROM mysql \
         WHERE server_port = PORT AND mysql.command = 'STMT_EXECUTE' ORDER BY ts",
    );
    assert_eq!(reported, "5\n50\n500\n");
    let expected: Vec<_> = [5, 50, 500]
        .map(|to| {
            json!({
                "params": ["1", to.to_string()],
                "num_rows": to,
                "query": "select seq from seq_1_to_1000 where seq between ? and ?",
            })
        })
        .into();
    assert_eq!(rows, expected);
}

#[test]
fn pgbench_counts_the_same_in_all_modes() {
    if !kernel::available() {
        return;
    }
    const TRANSACTIONS: u64 = 200;
    let server = Server::postgresql();
    let script = server.folder().join("bench.sql");
    std::fs::write(&script, "\\set to random(1, 20)\nselect generate_series(1, :to);\n").expect("a script");
    for mode in ["simple", "extended", "prepared"] {
        let mut processed = 0;
        let client = || {
            let mut pgbench = postgresql_client("pgbench", server.port);
            pgbench
                .args(["-n", "-M", mode, "-c", "2", "-t", &(TRANSACTIONS / 2).to_string(), "-f"])
                .arg(&script);
            let report = run(&mut pgbench).success().text();
            processed = number_after(&report, "number of transactions actually processed:");
        };
        let rows = recorded(
            &server,
            client,
            "SELECT count(*) AS statements, sum(CASE WHEN complete THEN 1 ELSE 0 END) AS whole, \
             sum(CASE WHEN pgsql.num_rows = pgsql.affected_rows THEN 1 ELSE 0 END) AS agreeing, \
             count(params) AS with_parameters \
             FROM pgsql WHERE server_port = PORT AND method = 'SELECT' AND pgsql.protocol IN ('simple', 'extended')",
        );
        assert_eq!(processed, TRANSACTIONS, "{mode}");
        let with_parameters = if mode == "simple" { 0 } else { TRANSACTIONS };
        let expected = json!({
            "statements": TRANSACTIONS, "whole": TRANSACTIONS, "agreeing": TRANSACTIONS, "with_parameters": with_parameters,
        });
        assert_eq!(rows, [expected], "{mode}");
    }
}

#[test]
fn psql_says_what_it_is_told() {
    if !kernel::available() {
        return;
    }
    let server = Server::postgresql();
    let script = server.folder().join("script.sql");
    let text = "create table t (i int);\ninsert into t select generate_series(1, 7);\nselect i from t where i > 2;\n\
                selct;\ncopy t to stdout;\nupdate t set i = i + 1 where i < 4;\nselect * from nowhere;\n";
    std::fs::write(&script, text).expect("a script");
    let (mut tags, mut codes) = (Vec::new(), Vec::new());
    let client = || {
        let mut psql = postgresql_client("psql", server.port);
        let finished = run(psql.args(["-X", "-v", "VERBOSITY=sqlstate", "-f"]).arg(&script));
        let report = finished.text();
        let is_tag = |line: &&str| ["CREATE", "INSERT", "UPDATE"].iter().any(|word| line.starts_with(word));
        tags = report.lines().filter(is_tag).map(str::to_owned).collect();
        tags.push(format!("SELECT {}", number_after(&report, "\n(")));
        codes = finished
            .stderr
            .lines()
            .filter_map(|line| line.rsplit_once("ERROR:  "))
            .map(|(_, code)| code.to_owned())
            .collect();
    };
    let rows = recorded(
        &server,
        client,
        "SELECT method, pgsql.command_tag AS tag, pgsql.error_code AS code FROM pgsql \
         WHERE server_port = PORT AND pgsql.protocol = 'simple' ORDER BY ts",
    );
    let texts = |key: &str| -> Vec<String> {
        rows.iter().filter_map(|row| row[key].as_str()).map(str::to_owned).collect()
    };
    assert_eq!(texts("code"), codes);
    assert_eq!(codes, ["42601", "42P01"]);
    let mut found = texts("tag");
    // psql prints what COPY gives, and no tag.
    found.retain(|tag| tag != "COPY 7");
    found.sort();
    tags.sort();
    assert_eq!(found, tags);
    assert_eq!(rows.len(), 7);
}

#[test]
fn redis_benchmark_counts_the_same() {
    if !kernel::available() {
        return;
    }
    const REQUESTS: u64 = 400;
    let server = Server::redis();
    let client = || {
        let requests = REQUESTS.to_string();
        let mut benchmark = Command::new("redis-benchmark");
        benchmark.args([
            "-p",
            &server.port.to_string(),
            "-n",
            &requests,
            "-c",
            "4",
            "-t",
            "set,get,lpush",
            "-q",
        ]);
        run(&mut benchmark).success();
        let mut info = Command::new("redis-cli");
        info.args(["-p", &server.port.to_string(), "info", "commandstats"]);
        let stats = run(&mut info).success().text();
        for method in ["set", "get", "lpush"] {
            assert_eq!(
                number_after(&stats, &format!("cmdstat_{method}:calls=")),
                REQUESTS,
                "the server's own count"
            );
        }
    };
    let rows = recorded(
        &server,
        client,
        "SELECT method, count(*) AS requests, sum(CASE WHEN status = 'OK' AND complete THEN 1 ELSE 0 END) AS good \
         FROM redis WHERE server_port = PORT AND method IN ('SET', 'GET', 'LPUSH') GROUP BY method ORDER BY method",
    );
    let expected = ["GET", "LPUSH", "SET"]
        .map(|method| json!({"method": method, "requests": REQUESTS, "good": REQUESTS}));
    assert_eq!(rows, expected);
}
