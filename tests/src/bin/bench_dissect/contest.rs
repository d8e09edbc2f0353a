//! The same question to both programs.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use kcap_tests::binary;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// A protocol, and how tshark is asked for what the protocol's table has.
pub(crate) struct ProtocolContest {
    /// Its table.
    pub(crate) name: &'static str,
    /// The capture in `testdata/`.
    pub(crate) capture: &'static str,
    /// tshark's filter for it.
    filter: &'static str,
    /// tshark's fields for method, query and status.
    fields: &'static [&'static str],
    /// Ports that tshark must be told of.
    decode_as: &'static [&'static str],
}

/// All protocols.
pub(crate) const PROTOCOLS: &[ProtocolContest] = &[
    ProtocolContest {
        name: "icmp",
        capture: "names/icmp.pcap",
        filter: "icmp or icmpv6",
        fields: &["icmp.type", "icmp.code", "icmp.seq", "icmpv6.type"],
        decode_as: &[],
    },
    ProtocolContest {
        name: "dhcpv4",
        capture: "names/dhcpv4.pcap",
        filter: "dhcp",
        fields: &["dhcp.option.dhcp", "dhcp.id", "dhcp.ip.your"],
        decode_as: &[],
    },
    ProtocolContest {
        name: "dns",
        capture: "names/dns.pcap",
        filter: "dns",
        fields: &["dns.id", "dns.qry.name", "dns.flags.rcode"],
        decode_as: &[],
    },
    ProtocolContest {
        name: "http",
        capture: "web/http.pcap",
        filter: "http",
        fields: &["http.request.method", "http.request.uri", "http.response.code"],
        decode_as: &["tcp.port==8081,http"],
    },
    ProtocolContest {
        name: "tls",
        capture: "web/tls.pcap",
        filter: "tls.handshake",
        fields: &["tls.handshake.type", "tls.handshake.extensions_server_name", "tls.handshake.ciphersuite"],
        decode_as: &["tcp.port==4431-4435,tls"],
    },
    ProtocolContest {
        name: "mysql",
        capture: "databases/mysql.pcap",
        filter: "mysql",
        fields: &["mysql.command", "mysql.query", "mysql.error_code"],
        decode_as: &["tcp.port==21306,mysql"],
    },
    ProtocolContest {
        name: "pgsql",
        capture: "databases/pgsql.pcap",
        filter: "pgsql",
        fields: &["pgsql.type", "pgsql.query", "pgsql.code"],
        decode_as: &["tcp.port==21432,pgsql"],
    },
    ProtocolContest {
        name: "redis",
        capture: "databases/redis.pcap",
        filter: "resp",
        fields: &["resp.bulk_string.value", "resp.error"],
        decode_as: &["tcp.port==21379,resp"],
    },
];

/// A capture with a question for both.
pub(crate) struct Contest {
    pub(crate) name: &'static str,
    /// Of the capture.
    pub(crate) bytes: u64,
    path: PathBuf,
    query: String,
    tshark: Vec<String>,
}

/// Time that a run took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Time {
    pub(crate) wall_seconds: f64,
    /// On all processors.
    pub(crate) cpu_seconds: f64,
}

/// Medians over the rounds.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) kcap: Time,
    pub(crate) tshark: Time,
    /// Transactions.
    pub(crate) kcap_lines: usize,
    /// Packets with messages of the protocol.
    pub(crate) tshark_lines: usize,
}

impl Contest {
    /// The requests of one protocol.
    pub(crate) fn of_protocol(own: &'static ProtocolContest, path: PathBuf) -> Result<Self> {
        let query = format!("SELECT ts, client_ip, server_ip, method, query, status FROM {}", own.name);
        Self::new(own.name, path, query, own.filter, own.fields, own.decode_as)
    }

    /// The requests of all protocols.
    pub(crate) fn of_all(path: PathBuf) -> Result<Self> {
        let query =
            "SELECT ts, protocol, client_ip, server_ip, method, query, status FROM transactions".to_owned();
        let filter: Vec<_> = PROTOCOLS.iter().map(|own| format!("({})", own.filter)).collect();
        let fields: Vec<_> = PROTOCOLS.iter().flat_map(|own| own.fields).copied().collect();
        let ports: Vec<_> = PROTOCOLS.iter().flat_map(|own| own.decode_as).copied().collect();
        Self::new("blend", path, query, &filter.join(" or "), &fields, &ports)
    }

    fn new(
        name: &'static str,
        path: PathBuf,
        query: String,
        filter: &str,
        fields: &[&str],
        decode_as: &[&str],
    ) -> Result<Self> {
        let bytes = path.metadata().with_context(|| format!("cannot read {}", path.display()))?.len();
        let mut tshark: Vec<String> = ["-n", "-Y", filter, "-T", "fields"].map(str::to_owned).into();
        for port in decode_as {
            tshark.extend(["-d".to_owned(), (*port).to_owned()]);
        }
        for field in ["frame.time_epoch", "ip.src", "ip.dst"].iter().chain(fields) {
            tshark.extend(["-e".to_owned(), (*field).to_owned()]);
        }
        Ok(Self { name, bytes, path, query, tshark })
    }

    /// Asks both so often.
    pub(crate) fn run(&self, rounds: u32) -> Result<Figures> {
        let mut kcap = Command::new(binary::kcap());
        kcap.args(["sql", "--format", "csv", "-c", &self.query]).arg(&self.path);
        let mut tshark = Command::new("tshark");
        tshark.args(&self.tshark).arg("-r").arg(&self.path);
        // Both answer before they are measured: the file is in memory then, and the number of lines is known.
        let kcap_lines = lines(&mut kcap)?.saturating_sub(1);
        let tshark_lines = lines(&mut tshark)?;
        ensure!(kcap_lines > 0 && tshark_lines > 0, "{}: {kcap_lines} and {tshark_lines} lines", self.name);
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            times[0].push(time(&mut kcap)?);
            times[1].push(time(&mut tshark)?);
        }
        let [kcap, tshark] = times.map(median);
        Ok(Figures { kcap, tshark, kcap_lines, tshark_lines })
    }
}

fn lines(command: &mut Command) -> Result<usize> {
    let output =
        command.stderr(Stdio::piped()).output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout.iter().filter(|byte| **byte == b'\n').count())
}

fn time(command: &mut Command) -> Result<Time> {
    let (cpu_before, begun) = (children_cpu_seconds()?, Instant::now());
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    let wall_seconds = begun.elapsed().as_secs_f64();
    ensure!(status.success(), "{command:?}: {status}");
    Ok(Time { wall_seconds, cpu_seconds: children_cpu_seconds()? - cpu_before })
}

fn children_cpu_seconds() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    Ok((usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6)
}

fn median(mut times: Vec<Time>) -> Time {
    times.sort_by(|one, other| one.wall_seconds.total_cmp(&other.wall_seconds));
    times.get(times.len() / 2).copied().unwrap_or_default()
}
