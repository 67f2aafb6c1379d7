//! Describes an uploaded CSV file: what its columns hold, how many values are missing, how the
//! numbers are spread.

use crate::exports::wasmill::function::handler::{Event, Failure, Guest, Output};
use crate::wasmill::function::log::{Level, log};

mod summary;

wit_bindgen::generate!({ world: "function", path: "../../wit" });

struct CsvSummary;

impl Guest for CsvSummary {
    fn handle(event: Event) -> Result<Output, Failure> {
        let content_type = event.datacontenttype.unwrap_or_default();
        if !content_type.starts_with("text/csv") {
            return Err(Failure::Reject(format!("the data is {content_type:?} and not text/csv")));
        }
        let data = event.data.unwrap_or_default();
        let summary = summary::summarize(&data).map_err(Failure::Reject)?;

        let fields = [
            ("rows".into(), summary.rows.to_string()),
            ("columns".into(), summary.columns.len().to_string()),
        ];
        log(Level::Info, "summarized", &fields);

        let data =
            serde_json::to_vec(&summary).map_err(|error| Failure::Reject(error.to_string()))?;
        Ok(Output { content_type: None, data, emit: Vec::new() })
    }
}

export!(CsvSummary);
