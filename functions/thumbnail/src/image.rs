//! Pictures: PNG in, a box filter, PNG out. Knows nothing of events.
//!
//! The png crate would make the component twice as large; the tests hold the small ones used here
//! against it.

use miniz_oxide::deflate::compress_to_vec_zlib;

/// An image may take this many bytes decoded: 8 million pixels of a byte for each channel.
const MAX_BYTES: usize = 32 << 20;

/// An image of 8 bits for each of red, green, blue and alpha.
#[derive(Debug, PartialEq)]
pub struct Image {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// The pixels, row by row from the top.
    pub pixels: Vec<[u8; 4]>,
}

impl Image {
    /// Decodes a PNG image of any colour type and depth, unless it is interlaced.
    pub fn decode(png: &[u8]) -> Result<Self, String> {
        let header = minipng::decode_png_header(png).map_err(|error| error.to_string())?;
        let (width, height) = (header.width(), header.height());
        let bytes = header.required_bytes_rgba8bpc();
        if bytes > MAX_BYTES {
            return Err(format!("{width} by {height} pixels are too many"));
        }
        let mut buffer = vec![0; bytes];
        let mut image = minipng::decode_png(png, &mut buffer).map_err(|error| error.to_string())?;
        image.convert_to_rgba8bpc().map_err(|error| error.to_string())?;
        Ok(Self { width, height, pixels: image.pixels().as_chunks().0.to_vec() })
    }

    /// Encodes the image as PNG.
    pub fn encode(&self) -> Vec<u8> {
        let mut header = [self.width.to_be_bytes(), self.height.to_be_bytes()].concat();
        header.extend([8, 6, 0, 0, 0]); // 8 bits for each of red, green, blue and alpha; not interlaced
        let mut rows = Vec::with_capacity(self.pixels.len() * 4 + self.height as usize);
        for row in self.pixels.chunks(self.width as usize) {
            rows.push(1); // a pixel is written as its difference to the one on its left, which compresses better
            let mut left = [0; 4];
            for &pixel in row {
                rows.extend(
                    pixel.iter().zip(left).map(|(channel, left)| channel.wrapping_sub(left)),
                );
                left = pixel;
            }
        }
        let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
        push_chunk(&mut png, *b"IHDR", &header);
        push_chunk(&mut png, *b"IDAT", &compress_to_vec_zlib(&rows, 6));
        push_chunk(&mut png, *b"IEND", &[]);
        png
    }

    /// The same picture with no side longer than `side`, its proportions kept. A small picture
    /// stays as it is.
    pub fn shrink_to(&self, side: u32) -> Self {
        let longest = self.width.max(self.height);
        if longest <= side {
            return self.resize(self.width, self.height);
        }
        let scale = |length: u32| {
            let scaled = u64::from(length) * u64::from(side) / u64::from(longest);
            u32::try_from(scaled).unwrap_or(side).max(1)
        };
        self.resize(scale(self.width), scale(self.height))
    }

    /// A box filter: each new pixel is the mean of the old pixels that it covers. Neither side may
    /// grow.
    fn resize(&self, width: u32, height: u32) -> Self {
        let mut pixels = Vec::with_capacity(width as usize * height as usize);
        for y in 0..height {
            for x in 0..width {
                pixels.push(self.mean(span(x, width, self.width), span(y, height, self.height)));
            }
        }
        Self { width, height, pixels }
    }

    /// The mean colour of a rectangle. What cannot be seen does not colour it: alpha is a pixel's
    /// weight.
    fn mean(&self, columns: Span, rows: Span) -> [u8; 4] {
        let count = (columns.len() * rows.len()) as u64;
        let mut sums = [0_u64; 3];
        let mut weight = 0;
        for row in rows {
            let start = row * self.width as usize;
            for &[red, green, blue, alpha] in &self.pixels[start..][columns.clone()] {
                let alpha = u64::from(alpha);
                weight += alpha;
                for (sum, channel) in sums.iter_mut().zip([red, green, blue]) {
                    *sum += u64::from(channel) * alpha;
                }
            }
        }
        let [red, green, blue] = sums.map(|sum| rounded(sum, weight));
        [red, green, blue, rounded(weight, count)]
    }
}

/// Appends one chunk of a PNG file: length, kind, data, checksum.
fn push_chunk(png: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) {
    png.extend((data.len() as u32).to_be_bytes());
    let start = png.len();
    png.extend(kind);
    png.extend(data);
    png.extend(crc32fast::hash(&png[start..]).to_be_bytes());
}

/// Some neighbouring rows or columns.
type Span = std::ops::Range<usize>;

/// The old pixels that the new pixel at `index` covers along one axis.
fn span(index: u32, new: u32, old: u32) -> Span {
    let edge = |index: u32| (u64::from(index) * u64::from(old) / u64::from(new)) as usize;
    edge(index)..edge(index + 1)
}

/// A mean of bytes, rounded. Nothing at all is black.
fn rounded(sum: u64, count: u64) -> u8 {
    let mean = (sum + count / 2).checked_div(count).unwrap_or(0);
    u8::try_from(mean).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use png::{BitDepth, ColorType, Decoder, Encoder};

    use super::*;

    const BLACK: [u8; 4] = [0, 0, 0, 255];
    const WHITE: [u8; 4] = [255, 255, 255, 255];
    const CLEAR: [u8; 4] = [255, 0, 0, 0];

    fn image(width: u32, pixels: &[[u8; 4]]) -> Image {
        Image { width, height: pixels.len() as u32 / width, pixels: pixels.to_vec() }
    }

    fn png(width: u32, height: u32, color: ColorType, depth: BitDepth, data: &[u8]) -> Vec<u8> {
        let mut png = Vec::new();
        let mut encoder = Encoder::new(&mut png, width, height);
        encoder.set_color(color);
        encoder.set_depth(depth);
        encoder.write_header().unwrap().write_image_data(data).unwrap();
        png
    }

    #[test]
    fn a_pixel_is_the_mean_of_what_it_covers() {
        let checked = image(4, &[BLACK, WHITE, BLACK, BLACK, WHITE, BLACK, BLACK, BLACK]);
        assert_eq!(checked.resize(2, 1).pixels, [[128, 128, 128, 255], BLACK]);
    }

    #[test]
    fn clear_pixels_have_no_colour() {
        assert_eq!(image(2, &[CLEAR, WHITE]).resize(1, 1).pixels, [[255, 255, 255, 128]]);
        assert_eq!(image(2, &[CLEAR, CLEAR]).resize(1, 1).pixels, [[0, 0, 0, 0]]);
    }

    #[test]
    fn proportions_are_kept() {
        let side = |width, height| {
            let thumbnail = image(width, &vec![WHITE; (width * height) as usize]).shrink_to(128);
            (thumbnail.width, thumbnail.height)
        };
        assert_eq!(side(320, 240), (128, 96));
        assert_eq!(side(100, 200), (64, 128));
        assert_eq!(side(1000, 1), (128, 1));
        assert_eq!(side(30, 20), (30, 20));
    }

    #[test]
    fn every_colour_type_is_read() {
        let decode = |png: Vec<u8>| Image::decode(&png).unwrap().pixels;
        assert_eq!(
            decode(png(2, 1, ColorType::Grayscale, BitDepth::One, &[0b0100_0000])),
            [BLACK, WHITE]
        );
        assert_eq!(
            decode(png(2, 1, ColorType::Grayscale, BitDepth::Sixteen, &[0, 0, 255, 255])),
            [BLACK, WHITE]
        );
        assert_eq!(
            decode(png(1, 1, ColorType::GrayscaleAlpha, BitDepth::Eight, &[7, 9])),
            [[7, 7, 7, 9]]
        );
        assert_eq!(
            decode(png(1, 1, ColorType::Rgb, BitDepth::Eight, &[1, 2, 3])),
            [[1, 2, 3, 255]]
        );
        assert_eq!(
            decode(png(1, 2, ColorType::Rgba, BitDepth::Eight, &[1, 2, 3, 4, 255, 0, 0, 0]))[1],
            CLEAR
        );
    }

    #[test]
    fn what_is_written_can_be_read() {
        let original = image(2, &[BLACK, WHITE, CLEAR, [1, 2, 3, 4]]);
        let png = original.encode();
        assert_eq!(Image::decode(&png).unwrap(), original);

        let mut reader = Decoder::new(std::io::Cursor::new(&png)).read_info().unwrap();
        let mut pixels = [0; 16];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height, info.color_type), (2, 2, ColorType::Rgba));
        assert_eq!(pixels, original.pixels.as_flattened());
    }

    #[test]
    fn bad_images_are_errors() {
        assert_eq!(Image::decode(b"GIF89a"), Err("not a png file".into()));
        let png = image(2, &[BLACK, WHITE]).encode();
        assert!(Image::decode(&png[..png.len() / 2]).is_err());
    }

    #[test]
    fn huge_images_are_refused_before_they_are_decoded() {
        let mut png = Vec::new();
        drop(Encoder::new(&mut png, 5_000, 7_000).write_header().unwrap());
        png.resize(1 << 20, 0);
        assert_eq!(Image::decode(&png), Err("5000 by 7000 pixels are too many".into()));
    }
}
