//! What a command would be answered with, had it been sent in earnest.
//!
//! Plans it on levels that are read now, by the readers' connections, and throws the
//! writes away: it takes no place in the queue and no lock, and stands in no order's way.
//! Another caller may be faster, so an answer promises nothing.

use std::sync::Arc;

use super::command::ascending;
use super::plan::{Events, Plan, Planner};
use super::products::{ProductsPut, require_limits};
use super::reclaim::RECLAIMED_ORDERS_MAX;
use super::{Command, Done, Engine, Prepared};
use crate::clock;
use crate::domain::{OrderChange, OrderId, Product, RequestId, Transition};
use crate::error::Error;
use crate::storage::HeldLevels;

impl Engine {
    /// What [`Engine::submit`] would answer now; writes nothing. A request that has been
    /// answered is answered as its repeat.
    ///
    /// # Errors
    /// Whatever speaks against the command, [`Error::StoreUnavailable`], and
    /// [`Error::Overloaded`] where more holds are to end first than in one transaction.
    pub async fn validate(&self, mut command: Command) -> Result<Done, Error> {
        if let Some(hold) = command.hold() {
            hold.begin(self.clock.now(&self.context.store).await?);
        }
        let prepared = Prepared::from(command);
        let lines_max = self.context.config.batch_lines_max;
        let lines = |over: &[Prepared]| over.iter().map(|end| end.command.lines()).sum::<usize>();
        let mut over: Vec<Prepared> = Vec::new();
        loop {
            // On the heap, as the look for holds: both are large, and rarely asked for.
            let plan = Box::pin(self.plan_after(&over, &prepared)).await?;
            if !plan.held.is_empty() {
                let but_for = over.iter().filter_map(|end| end.command.order());
                let asked = HeldLevels {
                    keys: plan.held.iter().cloned().collect(),
                    but_for: but_for.map(|order| order.order_id).collect(),
                };
                // Such holds would be in nobody's way.
                let found = Box::pin(self.context.store.expired_holds(&asked)).await?;
                if !found.is_empty() {
                    // In earnest they would end in commits of their own before anybody knew what
                    // comes of it. The sweeper is at them.
                    if over.len() >= RECLAIMED_ORDERS_MAX || lines(&over) >= lines_max {
                        return Err(Error::Overloaded(
                            "too many holds are over and not yet ended",
                        ));
                    }
                    over.extend(found.into_iter().map(|hold| Command::from(hold).into()));
                    continue;
                }
            }
            let mut outcomes = plan.outcomes;
            return outcomes.pop().expect("a plan answers each of its commands");
        }
    }

    /// What [`Engine::change_order`] would answer now; writes nothing.
    ///
    /// # Errors
    /// [`Error::OrderNotFound`], and those of [`Engine::validate`].
    pub async fn validate_change(
        &self,
        order_id: OrderId,
        request_id: RequestId,
        transition: Transition,
    ) -> Result<Done, Error> {
        let change = OrderChange {
            order: self.find_order(order_id).await?,
            request_id: Some(request_id),
            transition,
        };
        Box::pin(self.validate(Command::ChangeOrder(change))).await
    }

    /// A plan of these holds' ends, and then of the command.
    async fn plan_after(&self, over: &[Prepared], prepared: &Prepared) -> Result<Plan, Error> {
        let store = &self.context.store;
        let all = || over.iter().chain([prepared]);
        let keys = ascending(all().flat_map(|it| it.command.keys()));
        let mut planner = Planner::new(clock::now(), Arc::default(), Events::Off);
        for level in store.read_levels(&keys).await? {
            planner.know(level);
        }
        for order in all().filter_map(|it| it.command.order()) {
            planner.know_order(Arc::clone(order));
        }
        // After the levels: what was committed between the reads is found here, and is a
        // repeat, whatever it has left of them.
        if let Some(request_id) = prepared.command.request_id() {
            planner.know_requests(store.read_requests(&[request_id]).await?);
        }
        let outcomes = all().map(|it| planner.command(it)).collect();
        Ok(planner.finish(outcomes).0)
    }

    /// What [`Engine::put_products`] would answer now; writes nothing.
    ///
    /// # Errors
    /// [`Error::BackordersRemain`], [`Error::StoreUnavailable`].
    pub async fn validate_products(&self, products: &[Product]) -> Result<ProductsPut, Error> {
        let asked: Vec<_> = products.iter().map(|product| &product.sku).collect();
        let stored = self.context.store.find_products(&asked).await?;
        let (put, changed) = ProductsPut::of(products, &stored);
        let changed_skus: Vec<_> = changed.iter().map(|product| &product.sku).collect();
        let levels = self.context.store.levels_on_backorder(&changed_skus);
        require_limits(&levels.await?, &changed)?;
        Ok(put)
    }
}
