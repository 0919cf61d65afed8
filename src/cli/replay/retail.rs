//! What a file of invoices asks of Stockroom.
//!
//! An invoice is an order, or several if it has more lines than one takes; each line of a return and each correction is an
//! adjustment. Every request gets an id that follows from the file alone, so
//! that a second replay of it changes nothing. Knows nothing of how the
//! requests are sent.

use std::collections::BTreeMap;
use std::collections::hash_map::{Entry, HashMap};
use std::io;

use sha2::{Digest as _, Sha256};

use super::rows::{self, Event, Row};
use crate::client::proto::{
    AdjustStockRequest, CreateOrderRequest, MovementKind, OrderLineRequest, Product,
    adjust_stock_request::Change,
};
use crate::domain::{self, Adjustment, NewOrder};

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
    digest: Sha256,
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
        let mut replay = Self::default();
        let mut invoices = HashMap::new();
        for row in rows::read(file)? {
            replay.add(row, &mut invoices);
        }
        Ok(replay)
    }

    fn add(&mut self, row: Row, invoices: &mut HashMap<String, Invoice>) {
        self.counts.rows += 1;
        let of_row = format!("{}\n{}\n{:?}\n", row.invoice, row.code, row.event);
        self.digest.update(of_row);
        let invoice = match invoices.entry(row.invoice.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                self.counts.invoices += 1;
                self.counts.return_invoices += usize::from(row.is_of_return());
                new.insert(Invoice::default())
            }
        };
        invoice.rows += 1;
        self.add_goods(&row);
        match row.event {
            Event::NoGoods => *self.counts.skipped.entry(row.code).or_default() += 1,
            Event::Sold(units) => self.add_order_line(row, units, invoice),
            Event::Returned(units) => {
                let change = adjust(row, invoice.rows, MovementKind::Returned, units);
                self.requests.push(Request::Return(change));
            }
            Event::Corrected(units) => {
                let change = adjust(row, invoice.rows, MovementKind::Correction, -units);
                self.requests.push(Request::Correction(change));
            }
        }
    }

    fn add_goods(&mut self, row: &Row) {
        let (sold, corrected) = match row.event {
            Event::Sold(units) => (units, 0),
            Event::Corrected(units) => (0, units),
            Event::Returned(_) => (0, 0),
            Event::NoGoods => return,
        };
        let goods = self.goods.entry(row.code.clone()).or_default();
        goods.sold += sold;
        goods.corrected += corrected;
        // Corrections are described by what was wrong, not by what the goods are.
        if corrected == 0 && goods.display_name.is_empty() {
            goods.display_name =
                cut(&row.description, domain::Product::DISPLAY_NAME_BYTES_MAX).to_owned();
        }
    }

    fn add_order_line(&mut self, row: Row, units: i64, invoice: &mut Invoice) {
        // An order takes no more; what an invoice has beyond is another order.
        if invoice.order_lines.is_multiple_of(NewOrder::LINES_MAX) {
            let request_id = match invoice.order_lines / NewOrder::LINES_MAX {
                0 => row.invoice,
                earlier => format!("{}/{}", row.invoice, earlier + 1),
            };
            self.requests.push(Request::Order(CreateOrderRequest {
                request_id,
                customer_ref: row.customer,
                ..CreateOrderRequest::default()
            }));
            invoice.order = self.requests.len() - 1;
        }
        invoice.order_lines += 1;
        if let Request::Order(order) = &mut self.requests[invoice.order] {
            order.lines.push(OrderLineRequest {
                sku: row.code,
                location: String::new(),
                quantity: units,
            });
        }
    }

    /// The products, ready to be put.
    pub(crate) fn products(&self) -> Vec<Product> {
        self.goods
            .iter()
            .map(|(sku, goods)| Product {
                sku: sku.clone(),
                display_name: goods.display_name.clone(),
                low_stock_threshold: goods.sold / LOW_STOCK_DIVISOR,
                ..Product::default()
            })
            .collect()
    }

    /// The stock to begin with: what the file sells and corrects away, times
    /// `factor`, rounded up. Goods that only come back begin with none. Each file brings
    /// its own.
    pub(crate) fn opening_stock(&self, factor: f64) -> Vec<Request> {
        let digest = self.digest.clone().finalize();
        let file: String = digest[..8].iter().map(|b| format!("{b:02x}")).collect();
        let receipt = |(sku, goods): (&String, &Goods)| {
            // Exact for every count of units below 2^53.
            let units = ((goods.sold + goods.corrected) as f64 * factor).ceil() as i64;
            let request = || AdjustStockRequest {
                request_id: format!("opening:{file}:{sku}"),
                sku: sku.clone(),
                change: Some(Change::Delta(units)),
                kind: MovementKind::Received.into(),
                note: "opening stock".to_owned(),
                ..AdjustStockRequest::default()
            };
            (units > 0).then(|| Request::Opening(request()))
        };
        self.goods.iter().filter_map(receipt).collect()
    }

    /// The SKUs that orders ask for, most units first.
    pub(crate) fn best_sellers(&self) -> Vec<&str> {
        let mut skus: Vec<_> = self.goods.iter().collect();
        skus.sort_by_key(|(_, goods)| std::cmp::Reverse(goods.sold));
        skus.into_iter().map(|(sku, _)| sku.as_str()).collect()
    }
}

/// An invoice met on the way through the file.
#[derive(Default)]
struct Invoice {
    /// Its rows so far, those without goods included.
    rows: usize,
    /// Lines of its orders so far.
    order_lines: usize,
    /// Where its last order stands among the requests, once it has one.
    order: usize,
}

/// The adjustment that the `number`-th row of an invoice makes.
fn adjust(row: Row, number: usize, kind: MovementKind, delta: i64) -> AdjustStockRequest {
    AdjustStockRequest {
        request_id: format!("{}:{number}", row.invoice),
        sku: row.code,
        change: Some(Change::Delta(delta)),
        kind: kind.into(),
        note: cut(&row.description, Adjustment::NOTE_BYTES_MAX).to_owned(),
        ..AdjustStockRequest::default()
    }
}

/// The beginning of `text` that fits into `bytes_max`.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &[u8] = include_bytes!("../../../data/online_retail_10k.csv");
    const HEADER: &str =
        "invoice_no,stock_code,description,quantity,invoice_date,unit_price,customer_id,country\n";

    fn read(rows: &str) -> anyhow::Result<Replay> {
        Replay::from_csv(format!("{HEADER}{rows}").as_bytes())
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
        let opening = replay.opening_stock(1.0);
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
            let opening = read(rows).expect("good rows").opening_stock(1.0);
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
        let opening: Vec<_> = replay
            .opening_stock(0.5)
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
