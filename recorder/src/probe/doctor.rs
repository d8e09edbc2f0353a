//! `kcap-record doctor`: what this kernel allows, and what would be used.

use std::{fmt, path::PathBuf};

use super::{
    Btf, Error, LoadOptions,
    hooks::{HOOKS, Need, Place},
    interface::InterfaceHook,
    leftover::{LeftFilter, left_filters},
    load::Kernel,
    system,
};
use crate::{interface, packet_socket::PacketSocket};

/// One hook, as this kernel has it.
#[derive(Clone, Debug)]
pub struct HookState {
    /// What it tells.
    pub purpose: &'static str,
    /// Its name.
    pub hook: String,
    /// The kernel took the program.
    pub available: bool,
    /// It would be used.
    pub chosen: bool,
    /// Why not.
    pub reason: Option<String>,
}

/// What was found.
#[derive(Debug)]
#[non_exhaustive]
pub struct Report {
    /// Release of the kernel.
    pub kernel: Result<String, String>,
    /// The kernel describes its types, with all fields that are read.
    pub types: Result<(), String>,
    /// Where cgroup2 is mounted.
    pub cgroup2: Result<PathBuf, String>,
    /// Capabilities that are missing.
    pub missing_capabilities: Vec<String>,
    /// Frames could be recorded through a packet socket.
    pub packet_socket: Result<(), String>,
    /// All hooks; empty when programs can't be loaded at all.
    pub hooks: Vec<HookState>,
    /// What recorders that were killed left at interfaces.
    pub left_filters: Vec<LeftFilter>,
    /// Why nothing could be recorded; `None` when it can.
    pub obstacle: Option<Error>,
}

/// Rings for trying: small, since nothing will fill them.
const TRIAL_RING_LEN: u32 = 1 << 18;

/// Tries everything but attaching.
pub fn doctor() -> Report {
    let kernel = system::check_kernel().and_then(|_| system::kernel_version());
    let types = Btf::of_kernel().and_then(|btf| super::offsets::find(&btf));
    let mut report = Report {
        kernel: kernel.map(|(release, _)| release).map_err(|error| error.to_string()),
        types: types.map(drop).map_err(|error| error.to_string()),
        cgroup2: system::cgroup2_mount().map_err(|error| error.to_string()),
        missing_capabilities: system::missing_capabilities(),
        packet_socket: PacketSocket::check().map_err(|error| error.to_string()),
        hooks: Vec::new(),
        left_filters: interface::supported_links().and_then(|links| left_filters(&links)).unwrap_or_default(),
        obstacle: None,
    };
    let options = LoadOptions {
        packet_ring_bytes: TRIAL_RING_LEN,
        event_ring_bytes: TRIAL_RING_LEN,
        ..LoadOptions::default()
    };
    let interface_hook = system::kernel_version().map(|(_, version)| InterfaceHook::of_kernel(version));
    match Kernel::examine().and_then(|kernel| kernel.try_all(&options)) {
        Ok(failures) => {
            let taken = |program| failures.iter().all(|(failed, _)| *failed != program);
            report.hooks = HOOKS
                .iter()
                .map(|hook| {
                    let available = taken(hook.program);
                    let reason = match hook.need {
                        Need::InsteadOf(better) if available && taken(better) => {
                            Some(format!("not needed beside {}", better.name()))
                        }
                        Need::Asked if available => Some("only with --interface".to_owned()),
                        Need::OnRequest if available => Some("only with --executable-mappings".to_owned()),
                        _ => failures
                            .iter()
                            .find(|(failed, _)| *failed == hook.program)
                            .map(|(_, why)| why.clone()),
                    };
                    let chosen = available && reason.is_none();
                    let name = match (hook.place, &interface_hook) {
                        (Place::Interface, Ok(other)) => hook.name.replace("tcx", other.name()),
                        _ => hook.name.to_owned(),
                    };
                    HookState { purpose: hook.purpose, hook: name, available, chosen, reason }
                })
                .collect();
            let refused = HOOKS
                .iter()
                .zip(&report.hooks)
                .find(|(hook, state)| hook.need == Need::Mandatory && !state.available);
            report.obstacle = refused.map(|(hook, state)| Error::Program {
                program: hook.program.name(),
                hook: hook.name,
                reason: state.reason.clone().unwrap_or_default(),
            });
        }
        Err(error) => report.obstacle = Some(error),
    }
    report
}

impl Report {
    /// Whether recording is possible.
    pub fn is_fit(&self) -> bool {
        self.obstacle.is_none()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |formatter: &mut fmt::Formatter<'_>, what: &str, found: &str| {
            writeln!(formatter, "{what:<14}{found}")
        };
        let text = |result: &Result<String, String>| match result {
            Ok(text) => text.clone(),
            Err(error) => format!("NO: {error}"),
        };
        line(formatter, "kernel", &text(&self.kernel))?;
        line(formatter, "types (BTF)", &text(&self.types.clone().map(|()| "all fields found".into())))?;
        line(formatter, "cgroup2", &text(&self.cgroup2.clone().map(|path| path.display().to_string())))?;
        let capabilities = match self.missing_capabilities.as_slice() {
            [] => "sufficient".into(),
            missing => format!("NO: {} missing", missing.join(", ")),
        };
        line(formatter, "capabilities", &capabilities)?;
        let instead = "can record frames (--interface) where programs can't be loaded";
        line(formatter, "AF_PACKET", &text(&self.packet_socket.clone().map(|()| instead.into())))?;
        if !self.hooks.is_empty() {
            writeln!(formatter, "\n{:<36}{:<28}{:<11}chosen", "what", "hook", "available")?;
            for hook in &self.hooks {
                let yes = |value: bool| if value { "yes" } else { "no" };
                let reason = hook.reason.as_deref().map(|why| format!("  {why}")).unwrap_or_default();
                let (purpose, name) = (hook.purpose, &hook.hook);
                let (available, chosen) = (yes(hook.available), yes(hook.chosen));
                writeln!(formatter, "{purpose:<36}{name:<28}{available:<11}{chosen}{reason}")?;
            }
        }
        if !self.left_filters.is_empty() {
            writeln!(
                formatter,
                "\nRecorders that were killed left filters, which cost each packet; recording the interface removes them, or:"
            )?;
            for filter in &self.left_filters {
                writeln!(formatter, "  {}", filter.command())?;
            }
        }
        match &self.obstacle {
            None => writeln!(formatter, "\nkcap-record can record on this host."),
            Some(error) if self.packet_socket.is_ok() && error.is_of_programs() => {
                writeln!(
                    formatter,
                    "\nkcap-record can't record here, but for frames with --interface: {error}"
                )
            }
            Some(error) => writeln!(formatter, "\nkcap-record can't record here: {error}"),
        }
    }
}
