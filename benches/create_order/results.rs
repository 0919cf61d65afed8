//! From single measurements to medians, and what of several counts.

use crate::bench::Measured;
use crate::setup::{Setup, Target};
use crate::support::numbers::median;
use crate::variants;

/// All measurements, by what was measured.
#[derive(Debug, Default)]
pub(crate) struct Results(Vec<(Setup, Vec<Measured>)>);

impl Results {
    /// Takes down one measurement.
    pub(crate) fn add(&mut self, setup: Setup, measured: Measured) {
        match self.0.iter_mut().find(|(known, _)| *known == setup) {
            Some((_, repeats)) => repeats.push(measured),
            None => self.0.push((setup, vec![measured])),
        }
    }

    /// Everything, in the order in which it was first measured.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Setup, &[Measured])> {
        self.0
            .iter()
            .map(|(setup, repeats)| (*setup, repeats.as_slice()))
    }

    /// Orders a second, the median of the repeats.
    pub(crate) fn accepted(&self, setup: Setup) -> Option<f64> {
        let repeats = self.repeats(setup)?;
        Some(median(repeats.iter().map(|m| m.load.accepted_per_s)))
    }

    /// Orders that shared a commit, the median of the repeats.
    pub(crate) fn orders_per_commit(&self, setup: Setup) -> Option<f64> {
        let audits = self.repeats(setup)?.iter().filter_map(|m| m.audit.as_ref());
        Some(median(audits.map(|audit| audit.orders_per_commit)))
    }

    /// The variant of `setup` that counts, and how many orders a second it makes.
    pub(crate) fn best(&self, setup: Setup) -> Option<(Setup, f64)> {
        let variants = self
            .all()
            .filter(|(known, _)| known.family() == setup.family());
        variants::best(variants.map(|(known, repeats)| {
            let accepted = repeats.iter().map(|m| m.load.accepted_per_s);
            (known, accepted.collect())
        }))
    }

    /// What does not balance or was not sent, and in which measurement.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (setup, repeats) in self.all() {
            for measured in repeats {
                let audit = measured.audit.iter().flat_map(|audit| &audit.problems);
                let found = audit.cloned().chain(measured.load.problem());
                problems.extend(found.map(|problem| format!("{setup}: {problem}")));
            }
        }
        problems
    }

    fn repeats(&self, setup: Setup) -> Option<&[Measured]> {
        let mut all = self.all();
        all.find(|(known, _)| *known == setup)
            .map(|(_, repeats)| repeats)
    }

    /// Orders a second of the echo with the same messages.
    pub(crate) fn echo(&self, of: Setup) -> Option<f64> {
        self.accepted(Setup::echo(of.shape))
    }

    /// Orders a second of the best that does without what the batched `of` does.
    pub(crate) fn unbatched(&self, of: Setup) -> Option<f64> {
        let Target::Store(served) = of.target else {
            return None;
        };
        let without = Setup::unbatched(of.shape, served.store, served.guard, 0, 0);
        let batched = served.batching && served.instances == 1;
        self.best(without).filter(|_| batched).map(|(_, best)| best)
    }

    /// Orders a second of PostgreSQL alone, told to do the same.
    pub(crate) fn bare(&self, of: Setup) -> Option<f64> {
        let Target::Store(served) = of.target else {
            return None;
        };
        if served.store != crate::support::stores::StoreKind::Postgres || served.instances > 1 {
            return None;
        }
        if served.batching {
            self.accepted(Setup::bare(of.shape, served.guard))
        } else {
            let bare = Setup::bare_unbatched(of.shape, served.guard, 0);
            self.best(bare).map(|(_, best)| best)
        }
    }
}
