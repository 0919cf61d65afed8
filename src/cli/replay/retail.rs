//! What a file of invoices asks of Stockroom.
//!
//! An invoice is an order, or several if it has more lines than one takes; each line of a return and each correction is an
//! adjustment. Every request gets an id that follows from the file alone, so
//! that a second replay of it changes nothing. Knows nothing of how the
//! requests are sent.

use std::collections::BTreeMap;
use std::io;

use anyhow::Context;
use sha2::{Digest as _, Sha256};

use super::factor::Factor;
use super::invoices::Invoices;
use super::rows;
use crate::client::proto::{
    AdjustStockRequest, CreateOrderRequest, MovementKind, Product, adjust_stock_request::Change,
};
use crate::domain::{self, Adjustment};

/// A product counts as low with this part of all that the file sells of it left.
const LOW_STOCK_DIVISOR: i64 = 10;

/// Everything that a file asks for.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// Every product of the file, by SKU.
    pub(crate) goods: BTreeMap<String, Goods>,
    /// Orders, returns and corrections in the order of the file.
    pub(crate) requests: Vec<Request>,
    /// What the file has.
    pub(crate) counts: Counts,
    /// Of its rows: tells a file from others.
    pub(super) digest: Sha256,
}

/// One product of the file.
#[derive(Debug, Default)]
pub(crate) struct Goods {
    /// Its description on the first row that has one.
    pub(crate) display_name: String,
    /// Units that orders ask for.
    pub(crate) sold: i64,
    /// Units that corrections take away.
    pub(crate) corrected: i64,
}

/// One request to send.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Request {
    /// Stock to begin with.
    Opening(AdjustStockRequest),
    /// The goods of one invoice.
    Order(CreateOrderRequest),
    /// One line of a return.
    Return(AdjustStockRequest),
    /// One line that corrects the books.
    Correction(AdjustStockRequest),
}

impl Request {
    /// Its `request_id`.
    pub(crate) fn id(&self) -> &str {
        match self {
            Self::Order(order) => &order.request_id,
            Self::Opening(change) | Self::Return(change) | Self::Correction(change) => {
                &change.request_id
            }
        }
    }
}

/// What a file has.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Rows beneath the header.
    pub(crate) rows: usize,
    /// Different invoice numbers.
    pub(crate) invoices: usize,
    /// Invoices that return something.
    pub(crate) return_invoices: usize,
    /// Rows of codes that are no goods.
    pub(crate) skipped: BTreeMap<String, usize>,
}

impl Replay {
    /// Reads a file.
    ///
    /// # Errors
    /// A column is missing, or rows cannot be understood; all of them are named.
    pub(crate) fn from_csv(file: impl io::Read) -> anyhow::Result<Self> {
        let mut invoices = Invoices::default();
        for row in rows::read(file)? {
            invoices.add(row);
        }
        Ok(invoices.finish()?)
    }

    /// The products, ready to be put.
    pub(crate) fn products(&self) -> Vec<Product> {
        self.goods
            .iter()
            .map(|(sku, goods)| Product {
                sku: sku.clone(),
                display_name: goods.display_name.clone(),
                low_stock_threshold: (goods.sold / LOW_STOCK_DIVISOR)
                    .min(domain::Product::THRESHOLD_UNITS_MAX),
                ..Product::default()
            })
            .collect()
    }

    /// The stock to begin with: what the file sells and corrects away, times
    /// `factor`, rounded up. Goods that only come back begin with none. Each file brings
    /// its own.
    ///
    /// # Errors
    /// One receipt has not room for all of a product.
    pub(crate) fn opening_stock(&self, factor: Factor) -> anyhow::Result<Vec<Request>> {
        let digest = self.digest.clone().finalize();
        let file: String = digest[..8].iter().map(|b| format!("{b:02x}")).collect();
        let receipt = |(sku, goods): (&String, &Goods)| {
            let (units, max) = (
                factor.of(goods.sold + goods.corrected),
                Adjustment::DELTA_MAX,
            );
            let fits = i64::try_from(units).ok().filter(|units| *units <= max);
            let units = fits.with_context(|| {
                format!("the opening stock of {sku} must be at most {max} units, is {units}")
            })?;
            anyhow::Ok((units > 0).then(|| {
                Request::Opening(AdjustStockRequest {
                    request_id: format!("opening:{file}:{sku}"),
                    sku: sku.clone(),
                    change: Some(Change::Delta(units)),
                    kind: MovementKind::Received.into(),
                    note: "opening stock".to_owned(),
                    ..AdjustStockRequest::default()
                })
            }))
        };
        self.goods
            .iter()
            .map(receipt)
            .filter_map(Result::transpose)
            .collect()
    }

    /// The SKUs that orders ask for, most units first.
    pub(crate) fn best_sellers(&self) -> Vec<&str> {
        let mut skus: Vec<_> = self.goods.iter().collect();
        skus.sort_by_key(|(_, goods)| std::cmp::Reverse(goods.sold));
        skus.into_iter().map(|(sku, _)| sku.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::NewOrder;

    const SAMPLE: &[u8] = include_bytes!("../../../data/online_retail_10k.csv");
    const HEADER: &str =
        "invoice_no,stock_code,description,quantity,invoice_date,unit_price,customer_id,country\n";

    fn read(rows: &str) -> anyhow::Result<Replay> {
        Replay::from_csv(format!("{HEADER}{rows}").as_bytes())
    }

    fn opening(replay: &Replay, factor: &str) -> Vec<Request> {
        let factor = factor.parse().expect("a factor");
        replay.opening_stock(factor).expect("stock that fits")
    }

    /// What is said of these rows, from line 2 of a file on.
    fn told(rows: &str) -> Vec<String> {
        let error = read(rows).expect_err(rows).to_string();
        error.lines().skip(1).map(str::to_owned).collect()
    }

    fn count(replay: &Replay, is_kind: impl Fn(&Request) -> bool) -> usize {
        replay
            .requests
            .iter()
            .filter(|request| is_kind(request))
            .count()
    }

    #[test]
    fn the_sample_has_438_orders_43_returns_and_30_corrections() {
        let replay = Replay::from_csv(SAMPLE).expect("the sample is good");
        assert_eq!(replay.counts.rows, 10_000);
        assert_eq!(replay.counts.invoices, 512);
        assert_eq!(replay.counts.return_invoices, 43);
        assert_eq!(count(&replay, |r| matches!(r, Request::Order(_))), 438);
        assert_eq!(count(&replay, |r| matches!(r, Request::Return(_))), 98);
        assert_eq!(count(&replay, |r| matches!(r, Request::Correction(_))), 30);
        assert_eq!(replay.goods.len(), 2_009);
        assert_eq!(replay.best_sellers()[0], "84077");
        assert_eq!(replay.goods["84077"].sold, 3_409);
        let skipped: Vec<_> = replay.counts.skipped.into_iter().collect();
        let expected = [
            ("BANK CHARGES", 1),
            ("C2", 1),
            ("D", 2),
            ("DOT", 6),
            ("M", 10),
            ("POST", 18),
        ];
        assert_eq!(
            skipped,
            expected.map(|(code, rows)| (code.to_owned(), rows))
        );
    }

    #[test]
    fn request_ids_are_unique_so_that_a_second_replay_changes_nothing() {
        let replay = Replay::from_csv(SAMPLE).expect("the sample is good");
        let opening = opening(&replay, "1");
        let mut ids: Vec<_> = opening
            .iter()
            .chain(&replay.requests)
            .map(Request::id)
            .collect();
        let sent = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), sent);
    }

    #[test]
    fn each_file_brings_its_own_opening_stock() {
        let ids = |rows: &str| -> Vec<String> {
            let opening = opening(&read(rows).expect("good rows"), "1");
            let ids = opening.iter().map(|request| request.id().to_owned());
            ids.collect()
        };
        let first = ids("1,A,Apple,2,,,77,\n");
        assert_eq!(ids("1,A,Apple,2,,,77,\n"), first);
        assert_ne!(ids("2,A,Apple,2,,,77,\n"), first);
    }

    #[test]
    fn an_invoice_with_more_lines_than_an_order_takes_becomes_several() {
        let rows = "1,A,Apple,2,,,77,\n".repeat(2 * NewOrder::LINES_MAX + 1);
        let replay = read(&rows).expect("good rows");
        let orders = replay.requests.iter().map(|request| match request {
            Request::Order(order) => (order.request_id.as_str(), order.lines.len()),
            other => panic!("{other:?}"),
        });
        let orders: Vec<_> = orders.collect();
        let full = NewOrder::LINES_MAX;
        assert_eq!(orders, [("1", full), ("1/2", full), ("1/3", 1)]);
    }

    #[test]
    fn two_rows_that_would_share_a_request_id_are_named() {
        let rows = "1,A,,-2,,,,\n1:1,A,,3,,,,\n";
        let expected = "  line 3: its request id \"1:1\" is that of line 2 already";
        assert_eq!(told(rows), [expected]);
        let many = "1,A,,2,,,,\n".repeat(NewOrder::LINES_MAX + 1);
        let expected = "  line 1003: its request id \"1/2\" is that of line 1002 already";
        assert_eq!(told(&format!("{many}1/2,A,,3,,,,\n")), [expected]);
    }

    #[test]
    fn an_invoice_whose_requests_would_have_too_long_an_id_is_bad() {
        let (order, back) = ("1".repeat(128), format!("C{}", "1".repeat(127)));
        let told = told(&format!("{order},A,,5,,,,\n{back},A,,-5,,,,\n"));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].starts_with("  line 3: its request id \"C1"),
            "{told:?}"
        );
        assert!(
            told[0].ends_with("must have 1 to 128 characters, has 130"),
            "{told:?}"
        );
    }

    #[test]
    fn an_order_is_of_the_customer_that_its_invoice_names_first() {
        let many = "1,A,,2,,,,\n".repeat(NewOrder::LINES_MAX);
        let replay = read(&format!("{many}1,A,,1,,,77,\n1,A,,1,,,78,\n")).expect("good rows");
        let customers = replay.requests.iter().map(|request| match request {
            Request::Order(order) => order.customer_ref.as_str(),
            other => panic!("{other:?}"),
        });
        assert_eq!(customers.collect::<Vec<_>>(), ["77", "77"]);
    }

    #[test]
    fn what_is_derived_stays_within_the_bounds_of_the_server() {
        let mut replay = read("1,A,,1,,,,\n").expect("a good row");
        let sold = |units| Goods {
            sold: units,
            ..Goods::default()
        };
        replay.goods = BTreeMap::from([("A".to_owned(), sold(20 * Adjustment::DELTA_MAX))]);
        let threshold = replay.products()[0].low_stock_threshold;
        assert_eq!(threshold, domain::Product::THRESHOLD_UNITS_MAX);
        let factor = "0.050001".parse().expect("a factor");
        let why = replay
            .opening_stock(factor)
            .expect_err("more than fits")
            .to_string();
        let expected = "the opening stock of A must be at most 1000000000 units, is 1000020000";
        assert_eq!(why, expected);
        assert_eq!(opening(&replay, "0.05").len(), 1);
    }

    #[test]
    fn rows_become_an_order_returns_and_corrections() {
        let replay = read(
            "1,A,Apple,2,,,77,\nC2,A,Apple,-1,,,,\n1,POST,,1,,,,\n1,B1,,3,,,,\n3,a,damaged,-4,,,,\n1,m,,1,,,,\n",
        )
        .expect("good rows");
        let [
            Request::Order(order),
            Request::Return(back),
            Request::Correction(wrong),
        ] = &replay.requests[..]
        else {
            panic!("{:?}", replay.requests)
        };
        assert_eq!(
            (order.request_id.as_str(), order.customer_ref.as_str()),
            ("1", "77")
        );
        let lines: Vec<_> = order
            .lines
            .iter()
            .map(|l| (l.sku.as_str(), l.quantity))
            .collect();
        assert_eq!(lines, [("A", 2), ("B1", 3)]);
        assert_eq!(
            (back.request_id.as_str(), back.change),
            ("C2:1", Some(Change::Delta(1)))
        );
        assert_eq!(
            (wrong.request_id.as_str(), wrong.change),
            ("3:1", Some(Change::Delta(-4)))
        );
        assert_eq!(wrong.note, "damaged");
        let opening: Vec<_> = opening(&replay, "0.5")
            .into_iter()
            .map(|request| match request {
                Request::Opening(AdjustStockRequest { sku, change, .. }) => (sku, change),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected = [("A", 1), ("B1", 2), ("a", 2)];
        assert_eq!(
            opening,
            expected.map(|(sku, units)| (sku.into(), Some(Change::Delta(units))))
        );
        assert_eq!(replay.counts.skipped.len(), 2);
    }
}
