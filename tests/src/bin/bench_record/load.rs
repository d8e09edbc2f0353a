//! The loads: real programs over loopback, each of which says itself how much it got done.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use kcap_tests::command::{COMMAND_TIME_MAX, Running, run, wait_until};
use kcap_tests::traffic::free_port;
use nix::sys::signal::Signal;
use serde_json::Value;

/// Bytes of a datagram's payload.
pub(crate) const DATAGRAM_BYTES: &str = "64";
/// Connections that wrk keeps open at once.
const CONNECTIONS: &str = "16";

/// A load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Load {
    /// One TCP connection of iperf3, as fast as it goes.
    TcpStream,
    /// 64-byte datagrams of iperf3, as fast as they go.
    UdpFlood,
    /// wrk against nginx, a new connection for each request.
    ShortConnections,
}

impl Load {
    pub(crate) const ALL: [Load; 3] = [Load::TcpStream, Load::UdpFlood, Load::ShortConnections];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Load::TcpStream => "iperf3 TCP",
            Load::UdpFlood => "iperf3 UDP 64 bytes",
            Load::ShortConnections => "wrk short connections",
        }
    }

    /// What its throughput is counted in.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Load::TcpStream => "Gbit/s",
            Load::UdpFlood => "packets/s sent",
            Load::ShortConnections => "requests/s",
        }
    }

    /// Runs it, and gives its throughput in [`Load::unit`].
    pub(crate) fn run(self, time: Duration, web_server: &WebServer) -> Result<f64> {
        let seconds = time.as_secs().to_string();
        match self {
            Load::TcpStream => Ok(iperf3(&["-t", &seconds], "/end/sum_received/bits_per_second")? / 1e9),
            Load::UdpFlood => {
                let arguments = ["-u", "-b", "0", "-l", DATAGRAM_BYTES, "-t", &seconds];
                Ok(iperf3(&arguments, "/end/sum/packets")? / time.as_secs_f64())
            }
            Load::ShortConnections => {
                let mut wrk = Command::new("wrk");
                wrk.args([
                    "-t",
                    "1",
                    "-c",
                    CONNECTIONS,
                    "-H",
                    "Connection: close",
                    "-d",
                    &format!("{seconds}s"),
                ]);
                let said = run(wrk.arg(web_server.url())).success().text();
                let rate = said.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
                rate.and_then(|rate| rate.trim().parse().ok()).with_context(|| format!("wrk said: {said}"))
            }
        }
    }
}

/// Runs an iperf3 server for one test and a client, and gives one number of the client's report.
fn iperf3(arguments: &[&str], pointer: &str) -> Result<f64> {
    let port = free_port().to_string();
    let mut server = Running::start(Command::new("iperf3").args(["-s", "-1", "-p", &port, "--forceflush"]));
    server.wait_for_line("Server listening on ");
    let mut client = Command::new("iperf3");
    let report =
        run(client.args(["-c", "127.0.0.1", "-p", &port, "--json"]).args(arguments)).success().text();
    server.wait(COMMAND_TIME_MAX).success();
    let report: Value = serde_json::from_str(&report).context("iperf3's report")?;
    report
        .pointer(pointer)
        .and_then(Value::as_f64)
        .with_context(|| format!("iperf3's report has no {pointer}"))
}

/// An nginx of the bench's own, with one small page. Stopped when dropped.
#[derive(Debug)]
pub(crate) struct WebServer {
    port: u16,
    running: Running,
    _folder: tempfile::TempDir,
}

impl WebServer {
    pub(crate) fn start() -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a scratch folder")?;
        let root = folder.path().display();
        let port = free_port();
        fs::write(folder.path().join("index.html"), "<h1>kcap</h1>\n")?;
        let configuration = folder.path().join("nginx.conf");
        fs::write(
            &configuration,
            format!(
                "daemon off; user root; pid {root}/pid; worker_processes 1; error_log {root}/log;
                 events {{ worker_connections 1024; }}
                 http {{
                     access_log off;
                     client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; scgi_temp_path {root}/scgi;
                     fastcgi_temp_path {root}/fastcgi; uwsgi_temp_path {root}/uwsgi;
                     server {{ listen 127.0.0.1:{port} backlog=4096; root {root}; }}
                 }}"
            ),
        )?;
        let running = Running::start(
            Command::new("nginx").arg("-c").arg(configuration).arg("-e").arg(folder.path().join("log")),
        );
        wait_until("nginx", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        Ok(Self { port, running, _folder: folder })
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        // A killed master would leave its worker behind; it ends its worker first when asked.
        self.running.signal(Signal::SIGTERM);
        wait_until("nginx to end", || self.running.ended());
    }
}
