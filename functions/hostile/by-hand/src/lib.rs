//! A function that is written by hand, without the guest crate, and asks the standard library for
//! what a function does not have. It is of two kinds: it takes events, and answers HTTP requests.
//! The event's data, or the request's path, says what to try:
//!
//! - `thread` starts a thread, and takes for granted that it can;
//! - `careful thread` starts one, and says what became of it;
//! - `print TEXT` prints a text without the end of a line;
//! - `recurse` calls itself without end;
//! - anything else, and every request, reads the function's files, tries to change them, and says
//!   what came of that.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Write as _};
use std::thread;

use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

use crate::exports::wasmill::function::handler::{Event, Failure, Guest, Output};

#[cfg(target_arch = "wasm32")]
mod no_threads;

wit_bindgen::generate!({ world: "function", path: "../../../wit" });

struct ByHand;

export!(ByHand);
wasip2::http::proxy::export!(ByHand);

/// The file that it is deployed with.
const NOTE: &str = "/data/note.txt";

impl Guest for ByHand {
    fn handle(event: Event) -> Result<Output, Failure> {
        let asked = String::from_utf8(event.data.unwrap_or_default())
            .map_err(|error| Failure::Reject(error.to_string()))?;
        let said = match asked.trim_matches('"') {
            "thread" => format!("{:?}", thread::spawn(|| 7).join()),
            "careful thread" => match thread::Builder::new().spawn(|| 7) {
                Ok(thread) => format!("{:?}", thread.join()),
                Err(error) => format!("no thread: {:?}", error.kind()),
            },
            "recurse" => dive(0).to_string(),
            asked => match asked.strip_prefix("print ") {
                Some(text) => {
                    print!("{text}");
                    "printed".into()
                }
                None => files(),
            },
        };
        Ok(Output {
            content_type: Some("text/plain".into()),
            data: said.into_bytes(),
            emit: Vec::new(),
        })
    }
}

impl wasip2::exports::http::incoming_handler::Guest for ByHand {
    fn handle(_: IncomingRequest, outparam: ResponseOutparam) {
        let said = files();
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("the first body");
        ResponseOutparam::set(outparam, Ok(response));
        let mut out = body.write().expect("the first stream");
        out.write_all(said.as_bytes()).expect("a body that is read");
        drop(out);
        OutgoingBody::finish(body, None).expect("a whole body");
    }
}

/// Calls itself until the stack is used up.
#[inline(never)]
fn dive(depth: u64) -> u64 {
    if black_box(depth) == u64::MAX {
        return depth;
    }
    black_box(dive(depth + 1))
}

/// What became of each try, a line each, and at the end what the file holds.
fn files() -> String {
    let beside = "/data/new.txt";
    let tries: [(&str, io::Result<()>); 8] = [
        ("write", fs::write(NOTE, "changed")),
        ("append", File::options().append(true).open(NOTE).and_then(|mut f| f.write_all(b"more"))),
        ("create", fs::write(beside, "new")),
        ("make a folder", fs::create_dir("/data/folder")),
        ("rename", fs::rename(NOTE, beside)),
        ("delete", fs::remove_file(NOTE)),
        ("read another's", fs::read("/data/none.txt").map(drop)),
        ("read what is above", fs::read("/../etc/hostname").map(drop)),
    ];
    let mut said = String::new();
    for (what, result) in tries {
        said += &match result {
            Ok(()) => format!("{what}: done\n"),
            Err(error) => format!("{what}: {:?}\n", error.kind()),
        };
    }
    said + &match fs::read_to_string(NOTE) {
        Ok(text) => format!("note: {text}\n"),
        Err(error) => format!("note: {:?}\n", error.kind()),
    }
}
