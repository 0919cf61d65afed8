//! What a file has, by the names of its columns.

use anyhow::bail;

/// What a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Products,
    Levels,
    Adjustments,
}

impl What {
    /// Its name for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Products => "products",
            Self::Levels => "levels",
            Self::Adjustments => "adjustments",
        }
    }

    /// Whether the products must be there already.
    pub(super) fn needs_products(self) -> bool {
        self != Self::Products
    }

    /// Columns that must be there.
    fn required(self) -> &'static [&'static str] {
        match self {
            Self::Products => &["sku"],
            Self::Levels => &["sku", "on_hand"],
            Self::Adjustments => &["sku", "delta", "kind"],
        }
    }

    /// Columns that may be there. Of levels the last four are what an export has and
    /// nobody can set.
    fn optional(self) -> &'static [&'static str] {
        match self {
            Self::Products => &["display_name", "low_stock_threshold", "backorder_limit"],
            Self::Levels => &[
                "location",
                "note",
                "reserved",
                "available",
                "version",
                "update_time",
            ],
            Self::Adjustments => &["location", "note"],
        }
    }

    /// By the column that the others lack.
    fn of(header: &[&str]) -> Option<Self> {
        let has = |name| header.contains(&name);
        match () {
            () if has("delta") => Some(Self::Adjustments),
            () if has("on_hand") => Some(Self::Levels),
            () if has("sku") => Some(Self::Products),
            () => None,
        }
    }
}

/// Where the columns are.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) what: What,
    /// In the order of the file.
    names: Vec<&'static str>,
}

impl Columns {
    /// Understands a header.
    ///
    /// # Errors
    /// Names every column that is missing, unknown or there twice.
    pub(super) fn of(header: &csv::ByteRecord) -> anyhow::Result<Self> {
        let header: Vec<_> = header.iter().map(String::from_utf8_lossy).collect();
        let header: Vec<&str> = header.iter().map(|name| name.trim()).collect();
        if header.contains(&"on_hand_delta") {
            bail!(
                "this is an exported ledger, and what happened is never rewritten; \
                 to change stock, write rows of sku, location, delta, kind, note"
            );
        }
        let Some(what) = What::of(&header) else {
            bail!(
                "the first line must name the columns: sku, display_name, \
                 low_stock_threshold, backorder_limit of products; sku, location, on_hand, note \
                 of levels; or sku, location, delta, kind, note of adjustments"
            );
        };
        let mut wrong = Vec::new();
        let mut names = Vec::new();
        for name in &header {
            let mut known = what.required().iter().chain(what.optional());
            match known.find(|known| *known == name) {
                Some(known) if names.contains(known) => wrong.push(format!("{name} comes twice")),
                Some(known) => names.push(*known),
                None => wrong.push(format!("{name:?} is unknown")),
            }
        }
        let missing = what.required().iter().filter(|name| !names.contains(name));
        wrong.extend(missing.map(|name| format!("{name} is missing")));
        if !wrong.is_empty() {
            let name = what.name();
            let known = [what.required(), what.optional()].concat().join(", ");
            bail!(
                "of the columns of {name}, {}; {name} have {known}",
                wrong.join(", ")
            );
        }
        Ok(Self { what, names })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.names.len()
    }

    /// The name of the column in this place.
    pub(super) fn name(&self, place: usize) -> &'static str {
        self.names[place]
    }

    /// A row's cell; none if the file lacks the column.
    pub(super) fn cell<'r>(&self, row: &'r csv::ByteRecord, name: &str) -> Option<&'r [u8]> {
        let place = self.names.iter().position(|known| *known == name)?;
        row.get(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(header: &str) -> anyhow::Result<Columns> {
        Columns::of(&header.split(',').collect::<Vec<_>>().into())
    }

    #[test]
    fn a_file_is_known_by_its_columns_in_any_order() {
        let what = |header| columns(header).expect("a good header").what;
        assert_eq!(what("sku"), What::Products);
        assert_eq!(what("low_stock_threshold,sku,display_name"), What::Products);
        assert_eq!(what("on_hand,location,sku"), What::Levels);
        let exported = crate::cli::sheet::LEVELS.join(",");
        assert_eq!(what(&exported), What::Levels);
        let exported = crate::cli::sheet::PRODUCTS.join(",");
        assert_eq!(what(&exported), What::Products);
        assert_eq!(what("kind,sku,delta"), What::Adjustments);
    }

    #[test]
    fn every_wrong_column_is_named() {
        for (header, said) in [
            (
                "sku,colour,Sku",
                "\"colour\" is unknown, \"Sku\" is unknown",
            ),
            ("on_hand,on_hand", "on_hand comes twice, sku is missing"),
            ("sku,delta", "kind is missing"),
            ("a,b", "must name the columns"),
            ("", "must name the columns"),
        ] {
            let error = columns(header).expect_err(header).to_string();
            assert!(error.contains(said), "{header}: {error}");
        }
        // Whoever follows what it says leaves nothing out, which would be set to its default.
        let unknown = columns("a,b").expect_err("no columns").to_string();
        let products = crate::cli::sheet::PRODUCTS.join(", ");
        assert!(
            unknown.contains(&format!("{products} of products")),
            "{unknown}"
        );
        let ledger = crate::cli::sheet::LEDGER.join(",");
        let error = columns(&ledger).expect_err("a ledger").to_string();
        assert!(error.contains("never rewritten"), "{error}");
    }
}
