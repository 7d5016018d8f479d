//! Reading the program's tables by their headings, as a person does.

/// One row: headings with cells.
pub type Row = Vec<(String, String)>;

/// The rows of a table whose columns begin where their headings do.
#[must_use]
pub fn rows(table: &str) -> Vec<Row> {
    let mut lines = table.lines();
    let Some(heading) = lines.next() else {
        return Vec::new();
    };
    let columns = columns(heading);
    let cell = |line: &str, from: usize, to: Option<usize>| -> String {
        let characters = line.chars().skip(from);
        let text: String = match to {
            Some(to) => characters.take(to - from).collect(),
            None => characters.collect(),
        };
        text.trim().to_owned()
    };
    lines
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let ends = columns.iter().skip(1).map(|(at, _)| Some(*at));
            columns
                .iter()
                .zip(ends.chain([None]))
                .map(|((at, name), end)| (name.clone(), cell(line, *at, end)))
                .collect()
        })
        .collect()
}

/// The cell of `row` under `heading`; empty when there is no such column.
#[must_use]
pub fn cell<'a>(row: &'a Row, heading: &str) -> &'a str {
    row.iter()
        .find(|(name, _)| name == heading)
        .map_or("", |(_, text)| text)
}

/// Where each heading begins. Headings are told apart by two blanks or more.
fn columns(heading: &str) -> Vec<(usize, String)> {
    let letters: Vec<char> = heading.chars().collect();
    let mut found: Vec<(usize, String)> = Vec::new();
    for (at, letter) in letters.iter().enumerate() {
        let blanks = letters[..at]
            .iter()
            .rev()
            .take_while(|c| **c == ' ')
            .count();
        if *letter != ' ' && (at == blanks || blanks > 1) {
            found.push((at, String::new()));
        }
        if let Some((_, name)) = found.last_mut() {
            name.push(*letter);
        }
    }
    for (_, name) in &mut found {
        *name = name.trim_end().to_owned();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_under_their_headings() {
        let table = "ID     NAME    DESIRED STATE   ERROR\nab *   x y             \nc      z       Running         \"no such file\"\n";
        let rows = rows(table);
        assert_eq!(rows.len(), 2);
        assert_eq!(cell(&rows[0], "ID"), "ab *");
        assert_eq!(cell(&rows[0], "NAME"), "x y");
        assert_eq!(cell(&rows[0], "DESIRED STATE"), "");
        assert_eq!(cell(&rows[1], "ERROR"), "\"no such file\"");
        assert_eq!(cell(&rows[1], "PORTS"), "");
    }
}
