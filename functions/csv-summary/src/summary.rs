//! The summary itself, which knows nothing of events.

use std::collections::BTreeSet;

use csv::{ErrorKind, Reader};
use serde::Serialize;
use serde_json::{Value, json};

/// A CSV file in a few words.
#[derive(Debug, PartialEq, Serialize)]
pub struct Summary {
    /// How many records there are, the header not counted.
    pub rows: u64,
    /// The columns from left to right.
    pub columns: Vec<Column>,
}

/// One column of a CSV file.
#[derive(Debug, PartialEq, Serialize)]
pub struct Column {
    /// The name in the header.
    pub name: String,
    /// What all of the values look like.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// How many records have nothing here.
    pub nulls: u64,
    /// How many different values there are, nulls not counted.
    pub distinct: usize,
    /// The smallest value: by number in a column of numbers, else by text.
    pub min: Value,
    /// The largest value.
    pub max: Value,
    /// The arithmetic mean of a column of numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
}

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// There is no value to look at.
    Empty,
    /// `true` or `false`.
    Boolean,
    /// A whole number of at most 64 bits.
    Integer,
    /// Any other finite number.
    Number,
    /// A day such as `2026-11-22`.
    Date,
    /// Anything else.
    Text,
}

impl Kind {
    fn of(value: &str) -> Self {
        if value.parse::<bool>().is_ok() {
            Self::Boolean
        } else if value.parse::<i64>().is_ok() {
            Self::Integer
        } else if value.parse::<f64>().is_ok_and(f64::is_finite) {
            Self::Number
        } else if is_date(value) {
            Self::Date
        } else {
            Self::Text
        }
    }

    /// The narrowest kind that covers both.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (kind, Self::Empty) | (Self::Empty, kind) => kind,
            (Self::Integer, Self::Number) | (Self::Number, Self::Integer) => Self::Number,
            (kind, other) if kind == other => kind,
            _ => Self::Text,
        }
    }
}

/// Whether a value is written `YYYY-MM-DD`. Whether that month has so many days is not looked at.
fn is_date(value: &str) -> bool {
    let in_range = |part: &str, range: std::ops::RangeInclusive<u8>| {
        part.len() == 2 && part.parse().is_ok_and(|number| range.contains(&number))
    };
    match value.split('-').collect::<Vec<_>>()[..] {
        [year, month, day] => {
            year.len() == 4
                && year.bytes().all(|digit| digit.is_ascii_digit())
                && in_range(month, 1..=12)
                && in_range(day, 1..=31)
        }
        _ => false,
    }
}

/// What is known of a column while the records go by.
#[derive(Default)]
struct Tally {
    nulls: u64,
    values: u64,
    sum: f64,
    distinct: BTreeSet<String>,
}

impl Tally {
    fn add(&mut self, value: &str) {
        if value.is_empty() {
            self.nulls += 1;
            return;
        }
        self.values += 1;
        self.sum += value.parse().unwrap_or(0.0);
        if !self.distinct.contains(value) {
            self.distinct.insert(value.into());
        }
    }

    fn finish(self, name: &str) -> Column {
        let values = || self.distinct.iter();
        let kind = values().map(|value| Kind::of(value)).fold(Kind::Empty, Kind::or);
        let (min, max) = match kind {
            Kind::Integer => {
                let numbers = || values().filter_map(|value| value.parse::<i64>().ok());
                (json!(numbers().min()), json!(numbers().max()))
            }
            Kind::Number => {
                let numbers = || values().filter_map(|value| value.parse::<f64>().ok());
                (json!(numbers().min_by(f64::total_cmp)), json!(numbers().max_by(f64::total_cmp)))
            }
            _ => (json!(self.distinct.first()), json!(self.distinct.last())),
        };
        let is_number = matches!(kind, Kind::Integer | Kind::Number);
        Column {
            name: name.into(),
            kind,
            nulls: self.nulls,
            distinct: self.distinct.len(),
            min,
            max,
            mean: is_number.then(|| self.sum / self.values as f64),
        }
    }
}

/// Summarizes a CSV file with a header. An error says in which line of the file the trouble is.
pub fn summarize(data: &[u8]) -> Result<Summary, String> {
    let mut reader = Reader::from_reader(data);
    let header = reader.headers().map_err(|error| explain(&error))?.clone();
    if header.is_empty() {
        return Err("line 1: there is no header".into());
    }
    let mut tallies: Vec<Tally> = header.iter().map(|_| Tally::default()).collect();
    let mut rows = 0;
    for record in reader.records() {
        let record = record.map_err(|error| explain(&error))?;
        rows += 1;
        for (tally, value) in tallies.iter_mut().zip(&record) {
            tally.add(value.trim());
        }
    }
    let columns =
        tallies.into_iter().zip(&header).map(|(tally, name)| tally.finish(name)).collect();
    Ok(Summary { rows, columns })
}

/// What is wrong with the file, for whoever made it.
fn explain(error: &csv::Error) -> String {
    let line = error.position().map_or(1, csv::Position::line);
    match error.kind() {
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("line {line}: the header has {expected_len} fields and this record {len}")
        }
        ErrorKind::Utf8 { err, .. } => {
            format!("line {line}: field {} is not UTF-8", err.field() + 1)
        }
        _ => format!("line {line}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: &[&str]) -> Column {
        let file = format!(
            "it,n\n{}",
            values.iter().map(|value| format!("{value},1\n")).collect::<String>()
        );
        summarize(file.as_bytes()).unwrap().columns.swap_remove(0)
    }

    #[test]
    fn numbers_are_measured() {
        let column = column(&["7", "", "10", "-2", "7"]);
        assert_eq!(column.kind, Kind::Integer);
        assert_eq!((column.nulls, column.distinct), (1, 3));
        assert_eq!((column.min, column.max, column.mean), (json!(-2), json!(10), Some(5.5)));
    }

    #[test]
    fn a_fraction_makes_numbers_of_integers() {
        let column = column(&["9", "10", "0.5"]);
        assert_eq!(column.kind, Kind::Number);
        assert_eq!((column.min, column.max, column.mean), (json!(0.5), json!(10.0), Some(6.5)));
    }

    #[test]
    fn kinds_are_told_apart() {
        assert_eq!(column(&["true", "false"]).kind, Kind::Boolean);
        assert_eq!(column(&["2026-11-22", "1999-01-01"]).kind, Kind::Date);
        assert_eq!(column(&["2026-13-01"]).kind, Kind::Text);
        assert_eq!(column(&["1", "2026-01-01"]).kind, Kind::Text);
        assert_eq!(column(&["NaN", "inf"]).kind, Kind::Text);
        assert_eq!(column(&["", ""]).kind, Kind::Empty);
    }

    #[test]
    fn text_is_ordered() {
        let column = column(&["pear", "apple", "pear"]);
        assert_eq!((column.kind, column.distinct, column.mean), (Kind::Text, 2, None));
        assert_eq!((column.min, column.max), (json!("apple"), json!("pear")));
    }

    #[test]
    fn a_header_alone_is_no_error() {
        let summary = summarize(b"a,b\n").unwrap();
        assert_eq!(summary.rows, 0);
        assert_eq!(summary.columns[1].kind, Kind::Empty);
        assert_eq!(summary.columns[1].min, Value::Null);
    }

    #[test]
    fn trouble_is_located() {
        let error = |file: &[u8]| summarize(file).unwrap_err();
        assert_eq!(error(b""), "line 1: there is no header");
        assert_eq!(
            error(b"a,b\n1,2\n\"x\ny\",2\n3\n"),
            "line 5: the header has 2 fields and this record 1"
        );
        assert_eq!(error(b"a,b\n1,2\n3,\xff\n"), "line 3: field 2 is not UTF-8");
    }
}
