//! Shrinks an uploaded PNG image to a thumbnail.

use crate::exports::wasmill::function::handler::{Event, Failure, Guest, Output};
use crate::image::Image;
use crate::wasmill::function::log::{Level, log};

mod image;

wit_bindgen::generate!({ world: "function", path: "../../wit" });

/// No side of a thumbnail has more pixels than this.
const SIDE: u32 = 128;

struct Thumbnail;

impl Guest for Thumbnail {
    fn handle(event: Event) -> Result<Output, Failure> {
        let data = event.data.unwrap_or_default();
        let image = Image::decode(&data).map_err(Failure::Reject)?;
        let thumbnail = image.shrink_to(SIDE);

        // The values of log fields are JSON texts; these are arrays.
        let fields = [
            ("from".into(), format!("[{}, {}]", image.width, image.height)),
            ("to".into(), format!("[{}, {}]", thumbnail.width, thumbnail.height)),
        ];
        log(Level::Info, "thumbnail made", &fields);

        Ok(Output {
            content_type: Some("image/png".into()),
            data: thumbnail.encode(),
            emit: Vec::new(),
        })
    }
}

export!(Thumbnail);
