//! What the kernel programs counted, by program and processor.

use std::{fmt, io};

use aya::{
    Ebpf, Pod,
    maps::{Map, MapData, PerCpuArray},
};
use kcap_recorder_ebpf::{Counters, Program};

use crate::probe::Error;

/// The counters of one program on one processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramCounters {
    /// The program.
    pub program: Program,
    /// The processor.
    pub cpu: u32,
    /// What it counted since it was loaded.
    pub counters: Counters,
}

/// The map that the programs count in.
pub struct KernelCounters {
    map: PerCpuArray<MapData, Value>,
}

/// [`Counters`] as aya wants values of maps.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Value(Counters);

// SAFETY: integers only, and no padding between them.
unsafe impl Pod for Value {}

impl KernelCounters {
    pub(crate) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        let map =
            ebpf.take_map("COUNTERS").ok_or_else(|| failed("finding map COUNTERS", "not in the object"))?;
        let map = match map {
            map @ Map::PerCpuArray(_) => {
                PerCpuArray::try_from(map).map_err(|error| failed("opening COUNTERS", error))?
            }
            _ => return Err(failed("opening COUNTERS", "of another type")),
        };
        Ok(Self { map })
    }

    /// Reads the counters of all programs that have run, on each processor where they have.
    ///
    /// While programs run, a row may be read between the moment a run was counted as seen and that of its fate:
    /// [`Counters::undecided`] tells how many were. Runs for packets are counted when their fate is known, which is a moment
    /// after their record can be read.
    pub fn read(&self) -> Result<Vec<ProgramCounters>, Error> {
        let mut rows = Vec::new();
        for program in Program::ALL {
            let values =
                self.map.get(&(program as u32), 0).map_err(|error| failed("reading COUNTERS", error))?;
            for (cpu, Value(counters)) in (0..).zip(values.iter()) {
                let counters = counters.whole();
                if counters.seen != 0 {
                    rows.push(ProgramCounters { program, cpu, counters });
                }
            }
        }
        Ok(rows)
    }
}

impl fmt::Debug for KernelCounters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("KernelCounters").finish_non_exhaustive()
    }
}

fn failed(what: &'static str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Map { what, source: io::Error::other(error) }
}
