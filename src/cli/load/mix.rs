//! What the orders of a load look like.

use anyhow::{Context, ensure};
use prost_types::Duration;
use rand::seq::index;
use rand::{Rng, RngExt};

use crate::client::proto::{CreateOrderRequest, OrderLineRequest};
use crate::domain::NewOrder;

/// How many lines orders have; each order draws one of them.
#[derive(Debug, Clone)]
pub(super) struct LineCounts(Vec<usize>);

impl LineCounts {
    /// Of numbers from 1 to the API's bound, at least one of them.
    pub(super) fn of(counts: Vec<usize>) -> Self {
        Self(counts)
    }

    /// Reads one number a line.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let mut counts = Vec::new();
        for (place, line) in text.lines().enumerate() {
            let count = line.trim().parse().ok();
            let count = count.filter(|count| (1..=NewOrder::LINES_MAX).contains(count));
            let max = NewOrder::LINES_MAX;
            counts.push(count.with_context(|| {
                format!("line {}: {line:?} is no number from 1 to {max}", place + 1)
            })?);
        }
        ensure!(!counts.is_empty(), "there is no number");
        Ok(Self(counts))
    }

    /// The most lines that an order has.
    pub(super) fn max(&self) -> usize {
        self.0.iter().copied().max().unwrap_or(0)
    }
}

/// Makes orders.
#[derive(Debug)]
pub(super) struct Mix {
    skus: Vec<String>,
    counts: LineCounts,
    hot: f64,
    hold: Option<Duration>,
}

impl Mix {
    /// Orders over `skus` products, a part `hot` of which name the first one, as do those that
    /// name all products. They reserve for `hold` seconds, or take at once.
    pub(super) fn new(skus: usize, counts: LineCounts, hot: f64, hold: Option<u32>) -> Self {
        Self {
            skus: (0..skus).map(|n| format!("load-{n:05}")).collect(),
            counts,
            hot,
            hold: hold.map(|seconds| Duration {
                seconds: seconds.into(),
                nanos: 0,
            }),
        }
    }

    /// The products to order from.
    pub(super) fn skus(&self) -> &[String] {
        &self.skus
    }

    /// One order; its lines take one unit each, all of different products.
    pub(super) fn order(&self, request_id: String, random: &mut impl Rng) -> CreateOrderRequest {
        let count = match self.counts.0.as_slice() {
            [count] => *count,
            counts => counts[random.random_range(0..counts.len())],
        };
        let skus = self.skus.len();
        let is_hot = self.hot > 0.0 && random.random_bool(self.hot);
        // Nobody else draws the first product, where there are enough without it.
        let first = usize::from(self.hot > 0.0 && count < skus);
        let lines = if is_hot {
            // The first product, and the rest from the others.
            let rest = index::sample(random, skus - 1, count - 1);
            let rest = rest.into_iter().map(|other| self.line(other + 1));
            std::iter::once(self.line(0)).chain(rest).collect()
        } else if count == 1 {
            vec![self.line(random.random_range(first..skus))]
        } else {
            let chosen = index::sample(random, skus - first, count);
            chosen
                .into_iter()
                .map(|sku| self.line(sku + first))
                .collect()
        };
        CreateOrderRequest {
            request_id,
            lines,
            hold: self.hold,
            ..CreateOrderRequest::default()
        }
    }

    fn line(&self, sku: usize) -> OrderLineRequest {
        OrderLineRequest {
            sku: self.skus[sku].clone(),
            location: String::new(),
            quantity: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    fn orders(mix: &Mix) -> Vec<CreateOrderRequest> {
        let mut random = SmallRng::seed_from_u64(7);
        (0..1_000)
            .map(|n| mix.order(n.to_string(), &mut random))
            .collect()
    }

    #[test]
    fn the_lines_of_an_order_are_of_different_products() {
        let mix = Mix::new(10, LineCounts::of(vec![1, 10, 4]), 0.5, None);
        for order in orders(&mix) {
            let skus: HashSet<_> = order.lines.iter().map(|line| &line.sku).collect();
            assert_eq!(skus.len(), order.lines.len());
            assert!([1, 4, 10].contains(&skus.len()));
        }
    }

    #[test]
    fn hot_is_the_part_of_orders_with_the_first_product() {
        for (skus, lines, hot, expected) in [
            (1_000_000, 3, 1.0, 1_000..=1_000),
            (1_000_000, 3, 0.2, 150..=250),
            // Half of those that draw from all products would name it by chance.
            (10, 5, 0.2, 150..=250),
            (2, 1, 0.2, 150..=250),
            (1, 1, 0.2, 1_000..=1_000),
            (10, 5, 0.0, 400..=600),
        ] {
            let mix = Mix::new(skus, LineCounts::of(vec![lines]), hot, None);
            let has_first = |order: &CreateOrderRequest| {
                order.lines.iter().any(|line| line.sku == "load-00000")
            };
            let count = orders(&mix).iter().filter(|order| has_first(order)).count();
            assert!(expected.contains(&count), "{count} of {skus} for {hot}");
        }
    }

    #[test]
    fn a_file_of_line_counts_is_checked() {
        assert_eq!(
            LineCounts::parse("3\n 593\n").expect("two numbers").max(),
            593
        );
        for bad in ["", "0\n", "3\n\n4\n", "1001\n", "x\n"] {
            assert!(LineCounts::parse(bad).is_err(), "{bad:?} was taken");
        }
    }
}
