use serde::Serialize;
use siskin::machine::{Cpu, Machine, Tree};
use std::collections::BTreeSet;

/// The CPUs, and how much of them the process may use. The numbers are 0 where Linux does not tell them.
#[derive(Debug, Serialize)]
pub(super) struct Cores {
    /// Hardware threads that are online.
    pub(super) logical: usize,
    pub(super) physical: usize,
    /// Physical cores that are as fast as the fastest, or nearly so.
    pub(super) big: usize,
    pub(super) little: usize,
    /// Linux's numbers of the CPUs that the process may use.
    pub(super) allowed: Vec<usize>,
    /// CPU time per time that the cgroup grants.
    pub(super) quota: Option<f64>,
    /// Threads of a session that is not told how many.
    pub(super) default_threads: usize,
    /// Tasks that ran or wanted to, on average over the last minute.
    pub(super) load: Option<f64>,
}

impl Cores {
    pub(super) fn new(tree: &Tree, machine: &Machine) -> Self {
        let cores = |which: &dyn Fn(&&Cpu) -> bool| {
            machine.cpus().iter().filter(which).map(|cpu| cpu.core).collect::<BTreeSet<_>>().len()
        };
        Self {
            logical: machine.cpus().len(),
            physical: cores(&|_| true),
            big: cores(&|cpu| machine.is_big(cpu)),
            little: cores(&|cpu| !machine.is_big(cpu)),
            allowed: machine.cpus().iter().filter(|cpu| cpu.allowed).map(|cpu| cpu.id).collect(),
            quota: machine.limits().cpus,
            default_threads: machine.default_threads(),
            load: load(tree),
        }
    }
}

fn load(tree: &Tree) -> Option<f64> {
    tree.text("proc/loadavg")?.split(' ').next()?.parse().ok()
}
