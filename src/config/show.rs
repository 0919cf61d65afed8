//! The configuration for people: as a file and as a table.

use super::load::Loaded;
use super::table::{self, Kind, SECTIONS};

impl Loaded {
    /// The configuration as a TOML file that says where each value comes from.
    /// Passwords are hidden.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        for section in SECTIONS {
            text += &format!("[{}]\n", section.name);
            let lines: Vec<(String, &str)> = self
                .settings
                .iter()
                .filter(|setting| setting.row.section == section.name)
                .map(|setting| {
                    let shown = setting.row.kind.show(&setting.value);
                    let line = format!("{} = {shown}", setting.row.name);
                    (line, setting.origin.as_str())
                })
                .collect();
            let width = lines.iter().map(|(line, _)| line.len()).max().unwrap_or(0);
            for (line, origin) in lines {
                text += &format!("{line:width$}  # {origin}\n");
            }
            text.push('\n');
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    }
}

/// Every key as a Markdown table, which the README holds word for word.
pub fn markdown_table() -> String {
    let mut text =
        String::from("| key | default | unit | range | meaning |\n|---|---|---|---|---|\n");
    for row in table::rows() {
        let (unit, range) = match &row.kind {
            Kind::Int { min, max, unit, .. } => (*unit, format!("{min} to {max}")),
            Kind::Text { .. } | Kind::Choice { .. } | Kind::List { .. } => ("", row.kind.bound()),
        };
        let default = row.kind.show(&row.kind.default_value());
        text += &format!(
            "| `{}` | `{default}` | {unit} | {range} | {} |\n",
            row.path(),
            row.summary()
        );
    }
    text
}
