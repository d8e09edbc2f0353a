//! nginx of the test's own, and OpenSSL's server: on free ports of 127.0.0.1, with their files in a temporary folder. Stopped
//! when dropped.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::command::{Running, run, wait_until};
use crate::traffic::free_port;

/// nginx in one process, so that none outlives the test. It logs each request:
/// `method|path|status|bytes of the request|bytes of the response`.
#[derive(Debug)]
pub struct Nginx {
    /// Its port on 127.0.0.1.
    pub port: u16,
    // Dropped first: it still writes into the folder.
    running: Running,
    folder: TempDir,
}

impl Nginx {
    /// Starts it with these files, and these directives for its server.
    pub fn start(files: &[(&str, &[u8])], server: &str) -> Self {
        let (folder, port) = (tempfile::tempdir().expect("a scratch folder"), free_port());
        let path = folder.path();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("the worker may read it");
        for (name, bytes) in files {
            fs::write(path.join(name), bytes).expect("a file to serve");
        }
        let root = path.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {root}/{kind};\n"))
            .concat();
        let configuration = format!(
            "daemon off;\nmaster_process off;\npid {root}/nginx.pid;\nevents {{ worker_connections 64; }}\nhttp {{\n\
             log_format exact '$request_method|$uri|$status|$request_length|$bytes_sent';\n\
             access_log {root}/access.log exact;\nkeepalive_requests 1000000;\n{temporary}\
             server {{ listen 127.0.0.1:{port}; root {root};\n{server}\n}}\n}}\n"
        );
        fs::write(path.join("nginx.conf"), configuration).expect("a configuration");
        let mut command = Command::new("nginx");
        command.arg("-c").arg(path.join("nginx.conf")).arg("-e").arg(path.join("error.log"));
        let running = wait_for_port(Running::start(&mut command), port);
        Self { port, running, folder }
    }

    /// The lines of its log, once there are so many.
    #[track_caller]
    pub fn log(&self, lines: usize) -> Vec<String> {
        wait_until("nginx to log the requests", || {
            let text = fs::read_to_string(self.folder.path().join("access.log")).ok()?;
            let found: Vec<_> = text.lines().map(str::to_owned).collect();
            (found.len() >= lines).then_some(found)
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }
}

/// `openssl s_server`, with a certificate for `server.example` that a root of the test's own signed.
#[derive(Debug)]
pub struct TlsServer {
    /// Its port on 127.0.0.1.
    pub port: u16,
    _running: Running,
}

/// The files of two roots, and of a certificate that one of them signed.
#[derive(Debug)]
pub struct Certificates(TempDir);

impl Certificates {
    /// Makes them.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let openssl = |arguments: &str| {
            let mut command = Command::new("openssl");
            run(command.args(arguments.split(' ')).current_dir(folder.path())).success();
        };
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        for name in ["root", "other"] {
            let subject = format!("/O=Example/CN={name}");
            openssl(&format!("req -x509 {key} -keyout {name}.key -out {name}.pem -days 30 -subj {subject}"));
        }
        openssl(&format!(
            "req -new {key} -keyout server.key -out server.csr -subj /O=Example/CN=server.example"
        ));
        openssl(
            "x509 -req -in server.csr -out server.pem -CA root.pem -CAkey root.key -CAcreateserial -days 30",
        );
        Self(folder)
    }

    /// Their folder: `root.pem`, `other.pem`, `server.pem`, `server.key`.
    pub fn folder(&self) -> &Path {
        self.0.path()
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}

impl TlsServer {
    /// Starts it with these options.
    pub fn start(certificates: &Certificates, options: &[&str]) -> Self {
        let port = free_port();
        let mut command = Command::new("openssl");
        command.args(["s_server", "-accept", &format!("127.0.0.1:{port}"), "-quiet", "-www"]);
        command.args(["-cert", "server.pem", "-key", "server.key"]).args(options);
        let running = Running::start(command.current_dir(certificates.folder()));
        Self { port, _running: wait_for_port(running, port) }
    }
}

fn wait_for_port(mut running: Running, port: u16) -> Running {
    wait_until("the server to take connections", || {
        assert!(running.ended().is_none(), "the server ended before it took a connection");
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
    running
}
