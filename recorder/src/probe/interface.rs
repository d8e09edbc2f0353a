//! Attaching to interfaces: tcx links where the kernel has them, filters of the clsact queueing discipline before.

use aya::{
    maps::HashMap,
    programs::{
        LinkOrder, SchedClassifier, TcAttachType,
        tc::{self, NlOptions, TcAttachOptions},
    },
};
use kcap_recorder_ebpf::Program;

use super::{Error, Loaded, program::reason};
use crate::interface::Link;

const INTERFACE_PROGRAMS: [(Program, TcAttachType); 2] =
    [(Program::InterfaceIngress, TcAttachType::Ingress), (Program::InterfaceEgress, TcAttachType::Egress)];

/// First kernel with tcx.
const TCX_MIN: (u32, u32) = (6, 6);

/// How programs are attached to interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterfaceHook {
    /// Links that end with the process, beside those of others.
    Tcx,
    /// Filters of the queueing discipline clsact, which is made if there is none, and which stays.
    Clsact,
}

impl InterfaceHook {
    /// The best one that a kernel has.
    pub(super) fn of_kernel(version: (u32, u32)) -> Self {
        if version >= TCX_MIN { Self::Tcx } else { Self::Clsact }
    }

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }
}

impl Loaded {
    /// Records the frames of an interface from now on. The programs were loaded with
    /// [`LoadOptions::interfaces`](super::LoadOptions::interfaces).
    ///
    /// # Errors
    /// What the kernel says; also when all programs have been taken off.
    pub fn attach_interface(&mut self, link: &Link) -> Result<(), Error> {
        match self.attach_with(link, self.interface_hook) {
            Err(error) if self.interface_hook == InterfaceHook::Tcx => {
                tracing::debug!(%error, "tcx is refused");
                self.attach_with(link, InterfaceHook::Clsact)
            }
            result => result,
        }
    }

    /// The same with a hook that the caller chooses.
    ///
    /// # Errors
    /// As of [`Loaded::attach_interface`].
    pub fn attach_with(&mut self, link: &Link, hook: InterfaceHook) -> Result<(), Error> {
        let failed = |reason: String| Error::Interface { name: link.name.clone(), hook: hook.name(), reason };
        let Some(ebpf) = self.ebpf.as_mut() else { return Err(failed("the programs were taken off".into())) };
        let map = ebpf.map_mut("LINK_TYPES").ok_or_else(|| failed("map LINK_TYPES is missing".into()))?;
        let mut link_types: HashMap<_, u32, u32> =
            HashMap::try_from(map).map_err(|error| failed(error.to_string()))?;
        link_types
            .insert(link.index, u32::from(link.link_type), 0)
            .map_err(|error| failed(error.to_string()))?;
        if hook == InterfaceHook::Clsact {
            // It may be there already; if it isn't afterwards, attaching says so.
            let _ = tc::qdisc_add_clsact(&link.name);
        }
        let mut links = Vec::new();
        for (program, direction) in INTERFACE_PROGRAMS {
            let classifier: &mut SchedClassifier = ebpf
                .program_mut(program.name())
                .and_then(|program| program.try_into().ok())
                .ok_or_else(|| failed("the program is missing".into()))?;
            let options = match hook {
                InterfaceHook::Tcx => TcAttachOptions::TcxOrder(LinkOrder::default()),
                InterfaceHook::Clsact => TcAttachOptions::Netlink(NlOptions::default()),
            };
            let attached = classifier.attach_with_options(&link.name, direction, options);
            links.push((program, attached.map_err(|error| failed(reason(&error)))?));
            let direction = if direction == TcAttachType::Ingress { "ingress" } else { "egress" };
            self.hooks.insert(program.name().into(), format!("{}/{direction}", hook.name()));
        }
        self.interface_links.insert(link.index, links);
        Ok(())
    }

    /// Takes the programs off all interfaces.
    pub(crate) fn detach_interfaces(&mut self) {
        let indexes: Vec<u32> = self.interface_links.keys().copied().collect();
        indexes.into_iter().for_each(|index| self.detach_interface(index));
    }

    /// Takes the programs off an interface, or lets go of what it had if it is gone.
    pub(crate) fn detach_interface(&mut self, index: u32) {
        let Some(ebpf) = self.ebpf.as_mut() else { return };
        for (program, link) in self.interface_links.remove(&index).unwrap_or_default() {
            let classifier: Option<&mut SchedClassifier> =
                ebpf.program_mut(program.name()).and_then(|program| program.try_into().ok());
            // From one that is gone, the kernel has taken them.
            let _ = classifier.map(|classifier| classifier.detach(link));
        }
        let link_types =
            ebpf.map_mut("LINK_TYPES").and_then(|map| HashMap::<_, u32, u32>::try_from(map).ok());
        let _ = link_types.map(|mut link_types| link_types.remove(&index));
    }
}
