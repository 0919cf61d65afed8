//! Reading the Online Retail format.
//!
//! One row is one line of an invoice: `invoice_no, stock_code, description,
//! quantity, invoice_date, unit_price, customer_id, country` (the names of the
//! original data set are understood too). An invoice whose number begins with
//! `C` is a return; a negative quantity on any other is a correction of the
//! books. Some codes are postage, fees and the like.
//!
//! Promises that every row is understood or named: a file with one bad row
//! gives no rows at all.

use std::io;
use std::num::IntErrorKind::{NegOverflow, PosOverflow};

use crate::cli::sheet::bad::{BadRows, Problem};
use crate::cli::sheet::check_text;
use crate::cli::sheet::rows::Rows;
use crate::domain::{Adjustment, NewOrder, Quantity, RequestId, Sku};

/// Codes of the data set that are no goods, in capitals.
const NO_GOODS: [&str; 15] = [
    "ADJUST",
    "ADJUST2",
    "AMAZONFEE",
    "B",
    "BANK CHARGES",
    "C2",
    "CRUK",
    "D",
    "DOT",
    "M",
    "PADS",
    "POST",
    "S",
    "TEST001",
    "TEST002",
];

/// The columns that matter, each with the names it goes by.
const COLUMNS: [&[&str]; 5] = [
    &["invoice_no", "InvoiceNo", "Invoice"],
    &["stock_code", "StockCode"],
    &["description", "Description"],
    &["quantity", "Quantity"],
    &["customer_id", "CustomerID", "Customer ID"],
];

/// One line of an invoice.
#[derive(Debug)]
pub(super) struct Row {
    /// The line that it begins on, from 1.
    pub(super) line: u64,
    /// The invoice's number; fit to be a `request_id`.
    pub(super) invoice: String,
    /// What it is about; fit to be a SKU unless it is no goods.
    pub(super) code: String,
    /// What goods they are, or what was wrong with them.
    pub(super) description: String,
    /// May be empty.
    pub(super) customer: String,
    /// What happened to them.
    pub(super) event: Event,
}

/// What a row says; units are above 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Event {
    /// Goods were sold.
    Sold(i64),
    /// A customer sent goods back.
    Returned(i64),
    /// Goods turned out not to be there.
    Corrected(i64),
    /// Postage, fees and the like.
    NoGoods,
}

impl Row {
    /// Whether its invoice is one of returns.
    pub(super) fn is_of_return(&self) -> bool {
        is_return(&self.invoice)
    }

    fn parse(
        line: u64,
        [invoice, code, description, quantity, customer]: [String; 5],
    ) -> Result<Self, String> {
        let customer = whole(&customer).to_owned();
        RequestId::new(invoice.as_str()).map_err(|why| format!("invoice {invoice:?} {why}"))?;
        check_text(&customer, NewOrder::CUSTOMER_REF_BYTES_MAX)
            .map_err(|why| format!("the customer {why}"))?;
        // As much of it is sent as fits.
        check_text(&description, usize::MAX).map_err(|why| format!("the description {why}"))?;
        let event = if NO_GOODS.contains(&code.to_ascii_uppercase().as_str()) {
            Event::NoGoods
        } else {
            Sku::new(code.as_str()).map_err(|why| format!("stock code {code:?} {why}"))?;
            match units(&quantity)? {
                units if units > 0 && is_return(&invoice) => {
                    return Err(format!("a return of {units} units takes stock away"));
                }
                units if units > 0 => {
                    Quantity::new(units).map_err(|why| format!("the quantity {why}"))?;
                    Event::Sold(units)
                }
                units if is_return(&invoice) => Event::Returned(-units),
                units => Event::Corrected(-units),
            }
        };
        Ok(Self {
            line,
            invoice,
            code,
            description,
            customer,
            event,
        })
    }
}

fn is_return(invoice: &str) -> bool {
    invoice.starts_with('C')
}

/// A number without the `.0` that a table with gaps in the column has left behind it.
fn whole(number: &str) -> &str {
    let digits = number.strip_suffix(".0").unwrap_or(number);
    match digits.parse::<i64>() {
        Ok(_) => digits,
        Err(_) => number,
    }
}

fn units(quantity: &str) -> Result<i64, String> {
    let max = Adjustment::DELTA_MAX;
    match whole(quantity).parse::<i64>() {
        Ok(0) => Err("the quantity is 0".to_owned()),
        Ok(units) if (-max..=max).contains(&units) => Ok(units),
        Err(why) if !matches!(why.kind(), PosOverflow | NegOverflow) => {
            Err(format!("the quantity {quantity:?} is no whole number"))
        }
        _ => Err(format!("the quantity {quantity} is beyond {max}")),
    }
}

/// Reads all rows of a file.
///
/// # Errors
/// A column is missing, or [`BadRows`] with every row that cannot be understood.
pub(super) fn read(file: impl io::Read) -> anyhow::Result<Vec<Row>> {
    let (mut file, columns) = Rows::open(file, Columns::find)?;
    let (mut rows, mut bad) = (Vec::new(), BadRows::default());
    let mut record = csv::ByteRecord::new();
    loop {
        let line = match file.next(&mut record) {
            Ok(None) => break,
            Ok(Some(line)) => line,
            Err(problem) => {
                bad.add(problem);
                bad.cut_short("the rest of the file could not be read");
                break;
            }
        };
        match columns
            .of(&record)
            .and_then(|cells| Row::parse(line, cells))
        {
            Ok(row) => rows.push(row),
            Err(why) => bad.add(Problem::of_row(line, why)),
        }
    }
    bad.into_result()?;
    Ok(rows)
}

/// Where the columns are, and how many the file has.
struct Columns {
    places: [usize; 5],
    count: usize,
}

impl Columns {
    fn find(header: &csv::ByteRecord) -> anyhow::Result<Self> {
        let (mut found, mut missing) = ([0; 5], Vec::new());
        for (place, names) in found.iter_mut().zip(COLUMNS) {
            let is_column = |field: &[u8]| names.contains(&String::from_utf8_lossy(field).trim());
            match header.iter().position(is_column) {
                Some(column) => *place = column,
                None => missing.push(names.join(" or ")),
            }
        }
        anyhow::ensure!(
            missing.is_empty(),
            "there is no column {} in the header; commas separate columns",
            missing.join(", and no ")
        );
        Ok(Self {
            places: found,
            count: header.len(),
        })
    }

    /// The fields of a row, trimmed. Copies of the data set are often in Latin-1, so
    /// foreign bytes are replaced.
    fn of(&self, record: &csv::ByteRecord) -> Result<[String; 5], String> {
        let (cells, columns) = (record.len(), self.count);
        // One more is a comma without quotes, one less is half a row.
        if cells != columns {
            return Err(format!("must have {columns} cells, has {cells}"));
        }
        Ok(self.places.map(|place| {
            let bytes = record.get(place).unwrap_or_default();
            String::from_utf8_lossy(bytes).trim().to_owned()
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_rows_are_all_named_by_their_line() {
        let file = "invoice_no,stock_code,description,quantity,customer_id\n\
            1,A,,two,\n\
            1,A,,1,\n\
            1,\"A\nB\",,1,\n\
            ,A,,1,\n\
            1,A,,0,\n\
            C1,A,,5,\n\
            1,A\n\
            1,A,,1000001,\n\
            1,BANK CHARGES,,,\n";
        // As spreadsheets write it, too.
        for file in [file.to_owned(), file.replace('\n', "\r\n")] {
            let error = read(file.as_bytes())
                .expect_err("seven bad rows")
                .to_string();
            let lines = error
                .lines()
                .skip(1)
                .filter_map(|line| line.split(':').next());
            let expected = [2, 4, 6, 7, 8, 9, 10].map(|line| format!("  line {line}"));
            assert_eq!(lines.collect::<Vec<_>>(), expected, "{error}");
        }
    }

    /// What is said of the rows beneath a header of eight columns.
    fn told(rows: &str) -> Vec<String> {
        let file = format!("invoice_no,stock_code,description,quantity,d,p,customer_id,c\n{rows}");
        let error = read(file.as_bytes()).expect_err(rows).to_string();
        error.lines().skip(1).map(str::to_owned).collect()
    }

    #[test]
    fn a_row_of_another_length_is_bad() {
        let rows = "1,A,WHITE, 3,600,d,1,7,UK\n1,A,x,5,d,1,7,UK\n1,A,x,6\n";
        let expected = [
            "  line 2: must have 8 cells, has 9",
            "  line 4: must have 8 cells, has 4",
        ];
        assert_eq!(told(rows), expected);
    }

    #[test]
    fn a_quote_that_is_left_open_swallows_no_rows() {
        let open = "\n\n1,A,x,2,d,1,7,\"UK\n1,A,x,2,d,1,7,UK\n";
        let expected = [
            "  line 4: a quote is left open",
            "  the rest of the file could not be read",
        ];
        assert_eq!(told(open), expected);
    }

    #[test]
    fn what_the_server_would_not_take_is_bad() {
        let long = "x".repeat(NewOrder::CUSTOMER_REF_BYTES_MAX + 1);
        let rows = format!(
            "1,A,x,1,d,1,{long},UK\n1,A,x,1,d,1,a\0b,UK\n1,A,a\0b,1,d,1,7,UK\n\
             1,A,x,99999999999999999999,d,1,7,UK\n"
        );
        let expected = [
            "  line 2: the customer must have at most 128 bytes, has 129",
            "  line 3: the customer must not contain the character U+0000",
            "  line 4: the description must not contain the character U+0000",
            "  line 5: the quantity 99999999999999999999 is beyond 1000000000",
        ];
        assert_eq!(told(&rows), expected);
    }

    #[test]
    fn a_file_with_other_columns_is_refused() {
        let error = read(&b"InvoiceNo;StockCode\n1;2\n"[..]).expect_err("no columns");
        let error = format!("{error:#}");
        assert!(error.starts_with("line 1: there is no column"), "{error}");
        assert!(error.contains("invoice_no or InvoiceNo"), "{error}");
        assert!(error.contains("quantity or Quantity"), "{error}");
        assert!(read(&b"a,b\n1,2\n"[..]).is_err());
        assert!(read(&b""[..]).is_err());
    }

    #[test]
    fn whole_numbers_are_understood_with_a_point_behind_them() {
        let file =
            b"Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country\n\
            1,A,,6.0,,1.0,13085.0,\n";
        let rows = read(&file[..]).expect("a good row");
        assert_eq!(rows[0].customer, "13085");
        assert_eq!(rows[0].event, Event::Sold(6));
        let other = b"Invoice,StockCode,Description,Quantity,Customer ID\n1,A,,6.5,v1.0\n";
        let error = read(&other[..]).expect_err("half a unit").to_string();
        assert!(error.contains("6.5"), "{error}");
        assert_eq!(whole("v1.0"), "v1.0");
    }

    #[test]
    fn the_names_and_bytes_of_the_original_data_set_are_understood() {
        let file = b"InvoiceNo, StockCode,Description,Quantity ,InvoiceDate,UnitPrice,CustomerID,Country\r\n\
            1,47503J ,\xa3 SIGN,6,,,7,\r\n";
        let rows = read(&file[..]).expect("a good row");
        let [row] = rows.as_slice() else {
            panic!("{rows:?}")
        };
        assert_eq!((row.code.as_str(), row.customer.as_str()), ("47503J", "7"));
        assert_eq!(row.event, Event::Sold(6));
    }
}
