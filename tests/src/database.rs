//! Database servers of the test's own: on a free port of 127.0.0.1, with their data in a temporary folder, as a user without
//! rights, which some of them insist on. Stopped when dropped.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::command::{Running, run, wait_until};
use crate::traffic::free_port;

/// The user and group of nobody.
const NOBODY: u32 = 65_534;

/// A server that takes connections.
#[derive(Debug)]
pub struct Server {
    /// Its port on 127.0.0.1.
    pub port: u16,
    // Dropped first: it still writes into the folder.
    running: Running,
    folder: TempDir,
}

/// A command that runs as nobody, with this folder as its home.
fn as_nobody(program: impl AsRef<Path>, home: &Path) -> Command {
    let mut command = Command::new("setpriv");
    let ids = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
    command.args(ids).arg("--clear-groups").arg(program.as_ref()).env("HOME", home).current_dir(home);
    command
}

fn folder_of_nobody() -> TempDir {
    let folder = tempfile::tempdir().expect("a scratch folder");
    chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("root gives folders away");
    folder
}

/// A program of PostgreSQL: Debian keeps them in a folder for each version.
pub fn postgresql_program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL: run .ci/setup test");
    let newest =
        versions.map(|entry| entry.expect("its name").path()).max().expect("a version of PostgreSQL");
    newest.join("bin").join(name)
}

impl Server {
    fn start(folder: TempDir, port: u16, command: &mut Command, is_ready: impl Fn() -> Command) -> Self {
        let mut running = Running::start(command);
        wait_until("the server to take connections", || {
            assert!(running.ended().is_none(), "the server ended before it took a connection");
            let status = is_ready().stdout(Stdio::null()).stderr(Stdio::null()).status();
            status.is_ok_and(|status| status.success()).then_some(())
        });
        Self { port, running, folder }
    }

    /// Redis.
    pub fn redis() -> Self {
        let (folder, port) = (folder_of_nobody(), free_port());
        let mut command = as_nobody("redis-server", folder.path());
        command
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(folder.path());
        Self::start(folder, port, &mut command, || {
            let mut ping = Command::new("redis-cli");
            ping.args(["-p", &port.to_string(), "ping"]);
            ping
        })
    }

    /// PostgreSQL, with the superuser kcap, who needs no password.
    pub fn postgresql() -> Self {
        let (folder, port) = (folder_of_nobody(), free_port());
        let data = folder.path().join("data");
        let mut initdb = as_nobody(postgresql_program("initdb"), folder.path());
        run(initdb.args(["-U", "kcap", "-A", "trust", "-N", "-D"]).arg(&data)).success();
        let mut command = as_nobody(postgresql_program("postgres"), folder.path());
        command.args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]);
        command.arg("-k").arg(folder.path()).arg("-D").arg(data);
        Self::start(folder, port, &mut command, || {
            let mut ready = Command::new(postgresql_program("pg_isready"));
            ready.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]);
            ready
        })
    }

    /// MariaDB, with the user root, who needs no password.
    pub fn mariadb() -> Self {
        let (folder, port) = (folder_of_nobody(), free_port());
        let data = format!("--datadir={}", folder.path().join("data").display());
        let socket = format!("--socket={}", folder.path().join("socket").display());
        let mut install = as_nobody("mariadb-install-db", folder.path());
        install.args(["--no-defaults", &data, "--auth-root-authentication-method=normal", "--skip-test-db"]);
        run(&mut install).success();
        let mut command = as_nobody("mariadbd", folder.path());
        let pid_file = format!("--pid-file={}", folder.path().join("pid").display());
        command.args(["--no-defaults", &data, &socket, &pid_file, "--bind-address=127.0.0.1"]);
        command.arg(format!("--port={port}"));
        Self::start(folder, port, &mut command, || {
            let mut ping = mariadb_client(port);
            ping.args(["-e", "select 1"]);
            ping
        })
    }

    /// A folder that the server may read.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }
}

/// MariaDB's client, connecting to this port as root.
pub fn mariadb_client(port: u16) -> Command {
    let mut command = Command::new("mariadb");
    command.args(["--no-defaults", "--skip-ssl", "-h", "127.0.0.1", "-u", "root", "-P", &port.to_string()]);
    command
}

/// A client of PostgreSQL, connecting to this port as kcap, without TLS.
pub fn postgresql_client(program: &str, port: u16) -> Command {
    let mut command = Command::new(postgresql_program(program));
    command.env("PGHOST", "127.0.0.1").env("PGPORT", port.to_string()).env("PGUSER", "kcap");
    command.env("PGDATABASE", "postgres").env("PGSSLMODE", "disable");
    command
}
