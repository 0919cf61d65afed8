//! Rows become requests.
//!
//! Promises that every request has an id of its own, which the server takes: what two rows
//! would share is named by its lines.

use std::collections::hash_map::{Entry, HashMap};

use sha2::Digest as _;

use super::retail::{Replay, Request};
use super::rows::{Event, Row};
use crate::cli::sheet::bad::{BadRows, Problem};
use crate::client::proto::{
    AdjustStockRequest, CreateOrderRequest, MovementKind, OrderLineRequest,
    adjust_stock_request::Change,
};
use crate::domain::{self, Adjustment, NewOrder, RequestId};

/// A file while its rows become requests.
#[derive(Debug, Default)]
pub(super) struct Invoices {
    replay: Replay,
    /// By their numbers.
    invoices: HashMap<String, Invoice>,
    /// The line that each request begins with, by its id.
    ids: HashMap<String, u64>,
    bad: BadRows,
}

/// An invoice met on the way through the file.
#[derive(Debug, Default)]
struct Invoice {
    /// Its rows so far, those without goods included.
    rows: usize,
    /// Of the first row that has one.
    customer: String,
    /// Lines of its orders so far.
    order_lines: usize,
    /// Where its orders stand among the requests.
    orders: Vec<usize>,
}

impl Invoices {
    pub(super) fn add(&mut self, row: Row) {
        let number = self.count(&row);
        self.add_goods(&row);
        match row.event {
            Event::NoGoods => {
                *self.replay.counts.skipped.entry(row.code).or_default() += 1;
            }
            Event::Sold(units) => self.add_order_line(row, units),
            Event::Returned(units) => {
                let line = row.line;
                let change = adjust(row, number, MovementKind::Returned, units);
                self.push(line, Request::Return(change));
            }
            Event::Corrected(units) => {
                let line = row.line;
                let change = adjust(row, number, MovementKind::Correction, -units);
                self.push(line, Request::Correction(change));
            }
        }
    }

    /// Everything that the file asks for.
    ///
    /// # Errors
    /// Rows do not go together.
    pub(super) fn finish(mut self) -> Result<Replay, BadRows> {
        self.bad.into_result()?;
        for invoice in self.invoices.into_values() {
            for place in invoice.orders {
                if let Request::Order(order) = &mut self.replay.requests[place] {
                    order.customer_ref.clone_from(&invoice.customer);
                }
            }
        }
        Ok(self.replay)
    }

    /// Counts a row, and tells which of its invoice it is, from 1.
    fn count(&mut self, row: &Row) -> usize {
        let replay = &mut self.replay;
        replay.counts.rows += 1;
        let of_row = format!("{}\n{}\n{:?}\n", row.invoice, row.code, row.event);
        replay.digest.update(of_row);
        let invoice = match self.invoices.entry(row.invoice.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                replay.counts.invoices += 1;
                replay.counts.return_invoices += usize::from(row.is_of_return());
                new.insert(Invoice::default())
            }
        };
        invoice.rows += 1;
        if invoice.customer.is_empty() {
            invoice.customer.clone_from(&row.customer);
        }
        invoice.rows
    }

    fn add_goods(&mut self, row: &Row) {
        let (sold, corrected) = match row.event {
            Event::Sold(units) => (units, 0),
            Event::Corrected(units) => (0, units),
            Event::Returned(_) => (0, 0),
            Event::NoGoods => return,
        };
        let goods = self.replay.goods.entry(row.code.clone()).or_default();
        goods.sold += sold;
        goods.corrected += corrected;
        // Corrections are described by what was wrong, not by what the goods are.
        if corrected == 0 && goods.display_name.is_empty() {
            goods.display_name =
                cut(&row.description, domain::Product::DISPLAY_NAME_BYTES_MAX).to_owned();
        }
    }

    fn add_order_line(&mut self, row: Row, units: i64) {
        let line = OrderLineRequest {
            sku: row.code,
            location: String::new(),
            quantity: units,
        };
        let invoice = self.invoices.entry(row.invoice.clone()).or_default();
        let earlier_lines = invoice.order_lines;
        invoice.order_lines += 1;
        // An order takes no more; what an invoice has beyond is another order.
        if earlier_lines.is_multiple_of(NewOrder::LINES_MAX) {
            invoice.orders.push(self.replay.requests.len());
            let request_id = match earlier_lines / NewOrder::LINES_MAX {
                0 => row.invoice,
                earlier => format!("{}/{}", row.invoice, earlier + 1),
            };
            let order = CreateOrderRequest {
                request_id,
                lines: vec![line],
                ..CreateOrderRequest::default()
            };
            self.push(row.line, Request::Order(order));
        } else if let Some(place) = invoice.orders.last()
            && let Request::Order(order) = &mut self.replay.requests[*place]
        {
            order.lines.push(line);
        }
    }

    fn push(&mut self, line: u64, request: Request) {
        let id = request.id();
        if let Err(why) = RequestId::new(id) {
            let why = format!("its request id {id:?} {why}");
            self.bad.add(Problem::of_row(line, why));
        }
        if let Some(first) = self.ids.insert(id.to_owned(), line) {
            let why = format!("its request id {id:?} is that of line {first} already");
            self.bad.add(Problem::of_row(line, why));
        }
        self.replay.requests.push(request);
    }
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
