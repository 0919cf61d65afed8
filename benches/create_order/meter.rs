//! What processor time an order takes of everybody.

use std::time::Duration;

use serde::Serialize;

use crate::support::cpu;
use crate::support::load::Load;
use crate::support::trial::Trial;

/// Processor time of one order, in microseconds; of several loads at a time, on average.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Cpu {
    /// All servers together.
    #[serde(rename = "cpu_server_us")]
    pub(crate) server_us: f64,
    /// All of PostgreSQL's processes.
    #[serde(rename = "cpu_database_us")]
    pub(crate) database_us: f64,
    /// The load generators, or the bare client.
    #[serde(rename = "cpu_generator_us")]
    pub(crate) generator_us: f64,
}

/// Reads processor time before and after a load.
pub(crate) struct Meter {
    servers: Vec<u32>,
    postmaster: Option<u32>,
    before: (Duration, Duration),
}

impl Meter {
    /// Begins to count what the servers of `trial` and its database use.
    ///
    /// # Errors
    /// One of them is gone.
    pub(crate) fn of(trial: &Trial) -> anyhow::Result<Self> {
        Self::start(trial.pids(), trial.database().postmaster()?)
    }

    /// Begins to count what these processes use.
    ///
    /// # Errors
    /// One of them is gone.
    pub(crate) fn start(servers: Vec<u32>, postmaster: Option<u32>) -> anyhow::Result<Self> {
        let mut meter = Self {
            servers,
            postmaster,
            before: Default::default(),
        };
        meter.before = meter.now()?;
        Ok(meter)
    }

    /// What each order of `loads` took, warm-up included: of all that ran meanwhile, since
    /// what was used was used for all of them.
    ///
    /// # Errors
    /// One of the processes is gone.
    pub(crate) fn read<'a>(
        &self,
        loads: impl IntoIterator<Item = &'a Load>,
    ) -> anyhow::Result<Cpu> {
        let (servers, database) = self.now()?;
        let (mut orders, mut generators) = (0, Duration::ZERO);
        for load in loads {
            orders += load.accepted_total;
            generators += load.cpu;
        }
        let orders = orders.max(1) as f64;
        let each = |used: Duration| used.as_secs_f64() * 1e6 / orders;
        Ok(Cpu {
            server_us: each(servers.saturating_sub(self.before.0)),
            database_us: each(database.saturating_sub(self.before.1)),
            generator_us: each(generators),
        })
    }

    fn now(&self) -> anyhow::Result<(Duration, Duration)> {
        let mut servers = Duration::ZERO;
        for pid in &self.servers {
            servers += cpu::used(*pid)?;
        }
        let database = self.postmaster.map(cpu::used_by_family).transpose()?;
        Ok((servers, database.unwrap_or_default()))
    }
}
