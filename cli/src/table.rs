//! Lists: as a table, as JSON, as ids alone, or by a template.

use crate::error::usage;
use crate::output::{raw, say};
use crate::style::{Style, Tone};
use crate::template::{Missing, Template};
use anyhow::Result;
use serde_json::{Map, Value};

/// Flags of a list command that decide about its form.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct FormatArgs {
    /// `table`, `json`, or a template such as `{{.ID}} {{.Name}}`
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Print ids alone
    #[arg(short, long)]
    pub quiet: bool,
}

/// A column: its heading, and the field it shows.
pub type Column = (&'static str, &'static str);

/// The colour that a text has in a column.
pub type Toned = fn(&str) -> Option<Tone>;

/// Rows with named fields.
#[derive(Debug, Clone)]
pub struct Table {
    columns: &'static [Column],
    quiet_field: &'static str,
    toned: &'static [(&'static str, Toned)],
    rows: Vec<Value>,
}

impl Table {
    /// A table with these columns; with `--quiet`, only the field `quiet_field`.
    pub fn new(columns: &'static [Column], quiet_field: &'static str) -> Self {
        Table {
            columns,
            quiet_field,
            toned: &[],
            rows: Vec::new(),
        }
    }

    /// With colours for these fields, on terminals that have them.
    #[must_use]
    pub fn toned(self, toned: &'static [(&'static str, Toned)]) -> Self {
        Table { toned, ..self }
    }

    /// Adds a row: each field with its text.
    pub fn row(&mut self, fields: impl IntoIterator<Item = (&'static str, String)>) {
        let row: Map<String, Value> = fields
            .into_iter()
            .map(|(name, text)| (name.to_owned(), Value::String(text)))
            .collect();
        self.rows.push(Value::Object(row));
    }

    /// Prints the table in the form asked for.
    ///
    /// # Errors
    /// For a template that does not fit; when the output is closed.
    pub fn print(&self, args: &FormatArgs) -> Result<()> {
        Ok(raw(self.render(args, Style::stdout())?.as_bytes())?)
    }

    /// The text of that; only the table itself has colours.
    ///
    /// # Errors
    /// For a template that does not fit.
    pub fn render(&self, args: &FormatArgs, style: Style) -> Result<String> {
        let format = args.format.as_deref().unwrap_or("table").trim();
        let mut text = String::new();
        if args.quiet && !format.contains("{{") {
            for row in &self.rows {
                text.push_str(field(row, self.quiet_field));
                text.push('\n');
            }
            return Ok(text);
        }
        match format {
            "" | "table" => {
                let head = self.columns.iter().map(|(title, _)| (*title).to_owned());
                let mut lines = vec![head.collect()];
                for row in &self.rows {
                    let cells = self.columns.iter();
                    let cells = cells.map(|(_, name)| field(row, name).to_owned());
                    lines.push(cells.collect());
                }
                text = align(&lines, |line, column, cell| {
                    match (line, self.tone(column)) {
                        (1.., Some(tone)) => tone(cell).map(|tone| style.paint(tone, cell)),
                        _ => None,
                    }
                });
            }
            "json" => {
                for row in &self.rows {
                    text.push_str(&row.to_string());
                    text.push('\n');
                }
            }
            template => match template.strip_prefix("table ") {
                Some(template) => {
                    let template = parse(template)?;
                    let mut lines =
                        vec![cells(&template.render(&self.titles(), Missing::Refused)?)];
                    for row in &self.rows {
                        lines.push(cells(&template.render(row, Missing::Refused)?));
                    }
                    text = align(&lines, |_, _, _| None);
                }
                None if !template.contains("{{") => {
                    return Err(usage(format!(
                        "invalid format {template:?}: write table, json, or a template such as \
                         '{{{{.{}}}}}'",
                        self.columns.first().map_or("ID", |(_, name)| name)
                    )));
                }
                None => {
                    let template = parse(template)?;
                    for row in &self.rows {
                        text.push_str(&template.render(row, Missing::Refused)?);
                        text.push('\n');
                    }
                }
            },
        }
        Ok(text)
    }

    fn tone(&self, column: usize) -> Option<Toned> {
        let (_, name) = self.columns.get(column)?;
        let mut toned = self.toned.iter();
        toned
            .find(|(field, _)| field == name)
            .map(|(_, tone)| *tone)
    }

    /// The heading of each field, those that are in no column included.
    fn titles(&self) -> Value {
        let mut titles: Map<String, Value> = self
            .columns
            .iter()
            .map(|(title, name)| ((*name).to_owned(), (*title).into()))
            .collect();
        if let Some(Value::Object(row)) = self.rows.first() {
            for name in row.keys() {
                if !titles.contains_key(name) {
                    titles.insert(name.clone(), name.to_uppercase().into());
                }
            }
        }
        Value::Object(titles)
    }
}

fn parse(template: &str) -> Result<Template> {
    Template::parse(template).map_err(|error| usage(error.to_string()))
}

fn field<'a>(row: &'a Value, name: &str) -> &'a str {
    row.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn cells(line: &str) -> Vec<String> {
    line.split('\t').map(str::to_owned).collect()
}

/// Least width of a column, and the space after its widest cell: Docker's.
const LEAST_WIDTH: usize = 10;
const PADDING: usize = 3;

/// Cells below one another. `painted` gives a cell another look of the same width, by its
/// line and column.
fn align(lines: &[Vec<String>], painted: impl Fn(usize, usize, &str) -> Option<String>) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = lines.iter().filter_map(|line| line.get(column));
            let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
            (widest + PADDING).max(LEAST_WIDTH)
        })
        .collect();
    let mut out = String::new();
    for (number, line) in lines.iter().enumerate() {
        for (column, cell) in line.iter().enumerate() {
            match painted(number, column, cell) {
                Some(painted) => out.push_str(&painted),
                None => out.push_str(cell),
            }
            if column + 1 < line.len() {
                let used = cell.chars().count();
                out.extend(std::iter::repeat_n(' ', widths[column] - used));
            }
        }
        out.push('\n');
    }
    out
}

/// Prints objects as `inspect` does: a JSON array, or each by a template.
///
/// # Errors
/// For a template that cannot be read; when the output is closed.
pub fn print_objects(objects: Vec<Value>, format: Option<&str>) -> Result<()> {
    match format.map(str::trim) {
        None | Some("") => {
            let text = serde_json::to_string_pretty(&Value::Array(objects))?;
            // Docker's JSON is indented by four.
            let indented = text.lines().map(|line| {
                let body = line.trim_start_matches(' ');
                format!("{}{body}", " ".repeat((line.len() - body.len()) * 2))
            });
            say!("{}", indented.collect::<Vec<_>>().join("\n"))?;
        }
        Some("json") => say!("{}", Value::Array(objects))?,
        Some(template) => {
            let template = parse(template)?;
            for object in &objects {
                say!("{}", template.render(object, Missing::NoValue)?)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(format: Option<&str>, quiet: bool, expected: Expect) {
        let mut table = Table::new(&[("ID", "ID"), ("NAME", "Name"), ("PORTS", "Ports")], "ID");
        for (id, name) in [("abc", "web"), ("defghijklmno", "a-long-service-name")] {
            table.row([
                ("ID", id.to_owned()),
                ("Name", name.to_owned()),
                ("Ports", "*:80->80/tcp".to_owned()),
                ("Labels", String::new()),
            ]);
        }
        let args = FormatArgs {
            format: format.map(str::to_owned),
            quiet,
        };
        let text = table
            .render(&args, Style::default())
            .unwrap_or_else(|error| format!("{error:#}"));
        expected.assert_eq(&text);
    }

    #[test]
    fn a_table_has_dockers_widths() {
        check(
            None,
            false,
            expect![[r#"
                ID             NAME                  PORTS
                abc            web                   *:80->80/tcp
                defghijklmno   a-long-service-name   *:80->80/tcp
            "#]],
        );
    }

    #[test]
    fn colours_are_for_tables_alone_and_move_nothing() -> Result<()> {
        let columns = &[("NAME", "Name"), ("STATUS", "Status"), ("AGE", "Age")];
        let mut table = Table::new(columns, "Name").toned(&[("Status", |status| match status {
            "Down" => Some(Tone::Bad),
            _ => None,
        })]);
        for (name, status) in [("n1", "Down"), ("n2", "Ready")] {
            table.row([
                ("Name", name.to_owned()),
                ("Status", status.to_owned()),
                ("Age", "1s".to_owned()),
            ]);
        }
        let plain = table.render(&FormatArgs::default(), Style::default())?;
        let toned = table.render(&FormatArgs::default(), Style::COLOURED)?;
        assert_eq!(toned, plain.replace("Down", "\x1b[31mDown\x1b[0m"));
        for format in ["json", "{{.Status}}", "table {{.Status}}"] {
            let args = FormatArgs {
                format: Some(format.to_owned()),
                quiet: false,
            };
            let text = table.render(&args, Style::COLOURED)?;
            assert!(!text.contains('\x1b'), "{text}");
        }
        Ok(())
    }

    #[test]
    fn quiet_prints_ids() {
        check(
            None,
            true,
            expect![[r#"
                abc
                defghijklmno
            "#]],
        );
    }

    #[test]
    fn json_is_one_object_a_line() {
        check(
            Some("json"),
            false,
            expect![[r#"
                {"ID":"abc","Name":"web","Ports":"*:80->80/tcp","Labels":""}
                {"ID":"defghijklmno","Name":"a-long-service-name","Ports":"*:80->80/tcp","Labels":""}
            "#]],
        );
    }

    #[test]
    fn templates_make_lines_or_tables() {
        check(
            Some("{{.Name}}={{.ID}}"),
            false,
            expect![[r#"
                web=abc
                a-long-service-name=defghijklmno
            "#]],
        );
        check(
            Some("table {{.Name}}\\t{{.ID}}"),
            false,
            expect![[r#"
                NAME                  ID
                web                   abc
                a-long-service-name   defghijklmno
            "#]],
        );
        check(
            Some("{{.Nope}}"),
            false,
            expect!["template: there is no field .Nope; there are .ID .Name .Ports .Labels"],
        );
        check(
            Some("wide"),
            false,
            expect!["invalid format \"wide\": write table, json, or a template such as '{{.ID}}'"],
        );
    }
}
