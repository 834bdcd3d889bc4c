//! What of a comparison is worth looking at: whole pictures of a few frames, and parts of them where methods differ most.
//!
//! A part's score is the standard deviation between methods, over that of the picture itself plus a few code values:
//! differences count where they are large for what is there, not wherever an edge is strong. The next best part is
//! taken from another frame and another place, as far as there are any.
//!
//! All pictures of a comparison share a number of bytes, so that the page they go into stays below 30 MB: parts are PNG;
//! whole pictures are PNG where they are small, else JPEG of the best quality that fits, and fewer of them if none does.

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

use super::looks::{INPUT, Looks, TRUTH};
use super::picture::Rgb;
use crate::error::{Error, Kind, Result};
use crate::report::{Crop, Shot, Test, Truth};

/// Bytes of all pictures of a comparison; a page writes each three as four characters.
const BYTES: usize = 17_000_000;
/// Bytes of all parts among them.
const CROP_BYTES: usize = 6_000_000;
/// Parts of each test, and whole pictures: more where there is one test only, and of the enlargement.
const FEW: (usize, usize) = (3, 2);
const MANY: (usize, usize) = (6, 4);
/// Columns of a part.
const COLUMNS: std::ops::RangeInclusive<usize> = 64..=208;
/// Code values added to the deviation that differences are compared with.
const FLAT: f64 = 6.0;
/// Qualities of JPEG, best first.
const QUALITIES: [u8; 4] = [93, 88, 80, 68];

/// Puts pictures into `tests`, which `looks` belong to one by one.
///
/// # Errors
/// [`Kind::Bug`] if a picture cannot be encoded.
pub(super) fn show(tests: &mut [Test], looks: &[Looks]) -> Result<()> {
    let alone = tests.len() == 1;
    let wanted = |test: &Test| if alone || test.truth == Truth::Nothing { MANY } else { FEW };
    let mut left = CROP_BYTES;
    for (test, looks) in tests.iter_mut().zip(looks) {
        test.crops = crops(test, looks, wanted(test).0, &mut left)?;
    }
    left += BYTES - CROP_BYTES;
    // Those with most to show first: a huge picture leaves nothing for the others.
    let mut order: Vec<usize> = (0..tests.len()).collect();
    order.sort_by_key(|i| std::cmp::Reverse(wanted(&tests[*i])));
    let mut open: usize = order.iter().map(|i| wanted(&tests[*i]).1).sum();
    for i in order {
        let (test, looks) = (&mut tests[i], &looks[i]);
        for frame in spread(&looks.frames, wanted(test).1) {
            let allowed = left / open.max(1);
            open = open.saturating_sub(1);
            if let Some(shot) = shot(test, looks, frame, allowed, left)? {
                left -= shot.pictures.iter().map(|(_, bytes)| bytes.len()).sum::<usize>().min(left);
                test.shots.push(shot);
            }
        }
        test.shots.sort_by_key(|shot| shot.frame);
    }
    Ok(())
}

/// `count` of the frames, evenly spread.
fn spread(frames: &[u64], count: usize) -> Vec<u64> {
    let count = count.min(frames.len());
    (0..count).filter_map(|i| frames.get(frames.len() * (2 * i + 1) / (2 * count)).copied()).collect()
}

/// Everybody's picture of a frame at the size of the results: methods, then the truth and the input.
fn pictures(test: &Test, looks: &Looks, frame: u64) -> Vec<(String, Rgb)> {
    let methods = test.methods.iter().filter(|method| method.failed.is_none()).map(|method| method.name.as_str());
    let mut all: Vec<(String, Rgb)> = methods
        .chain([TRUTH])
        .filter_map(|name| Some((name.to_owned(), looks.picture(name, frame, test.size)?)))
        .collect();
    if let Some(input) = looks.picture(INPUT, frame, looks.from) {
        all.push((INPUT.to_owned(), input.enlarged(test.size)));
    }
    all
}

/// A whole frame, all pictures of it within `allowed` bytes; if that is impossible, and there is no other, within `left`.
fn shot(test: &Test, looks: &Looks, frame: u64, allowed: usize, left: usize) -> Result<Option<Shot>> {
    let pictures = pictures(test, looks, frame);
    if pictures.is_empty() {
        return Ok(None);
    }
    let encoded = |encode: &dyn Fn(&Rgb) -> Result<Vec<u8>>| -> Result<Vec<(String, Vec<u8>)>> {
        pictures.iter().map(|(name, picture)| Ok((name.clone(), encode(picture)?))).collect()
    };
    let size = |pictures: &[(String, Vec<u8>)]| pictures.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
    let raw: usize = pictures.iter().map(|(_, picture)| picture.samples.len()).sum();
    // PNG rarely halves a picture; trying it on large ones is time lost.
    if raw / 3 < allowed {
        let exact = encoded(&png)?;
        if size(&exact) <= allowed {
            return Ok(Some(Shot { frame, pictures: exact }));
        }
    }
    let mut smallest = None;
    for quality in QUALITIES {
        let coded = encoded(&|picture| jpeg(picture, quality))?;
        if size(&coded) <= allowed {
            return Ok(Some(Shot { frame, pictures: coded }));
        }
        smallest = Some(coded);
    }
    let fits = smallest.filter(|coded| test.shots.is_empty() && size(coded) <= left);
    Ok(fits.map(|pictures| Shot { frame, pictures }))
}

/// A place that might be shown.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Place {
    frame: u64,
    area: (usize, usize, usize, usize),
    score: f64,
}

impl Place {
    fn overlaps(&self, other: &Self) -> bool {
        let ((x, y, w, h), (u, v, s, t)) = (self.area, other.area);
        x < u + s && u < x + w && y < v + t && v < y + h
    }
}

/// The parts where methods differ most, best first.
fn crops(test: &Test, looks: &Looks, count: usize, left: &mut usize) -> Result<Vec<Crop>> {
    let mut places = Vec::new();
    for frame in &looks.frames {
        let all = pictures(test, looks, *frame);
        let methods: Vec<&Rgb> =
            all.iter().filter(|(name, _)| name != TRUTH && name != INPUT).map(|(_, p)| p).collect();
        places.extend(scored(&methods, *frame));
    }
    places.sort_by(|a: &Place, b| b.score.total_cmp(&a.score));
    let mut crops = Vec::new();
    for place in choose(&places, count) {
        let (x, y, width, height) = place.area;
        let parts = pictures(test, looks, place.frame)
            .into_iter()
            .map(|(name, picture)| Ok((name, png(&picture.part((x, y), (width, height)))?)));
        let parts = parts.collect::<Result<Vec<_>>>()?;
        let bytes: usize = parts.iter().map(|(_, bytes)| bytes.len()).sum();
        if bytes <= *left {
            *left -= bytes;
            crops.push(Crop { frame: place.frame, area: place.area, pictures: parts });
        }
    }
    Ok(crops)
}

/// The best places: each from another frame and another part of the picture, as far as that goes.
fn choose(places: &[Place], count: usize) -> Vec<Place> {
    let mut chosen: Vec<Place> = Vec::new();
    let mut most = 1;
    while chosen.len() < count && most <= count {
        for place in places {
            let of_frame = chosen.iter().filter(|c| c.frame == place.frame).count();
            let overlaps = chosen.iter().any(|c| c.overlaps(place) && (most == 1 || c.frame == place.frame));
            if chosen.len() < count && of_frame < most && !overlaps {
                chosen.push(*place);
            }
        }
        most += 1;
    }
    chosen.sort_by(|a, b| b.score.total_cmp(&a.score));
    chosen
}

/// Sums over a cell of half a part's size.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    /// Of the variance between methods, of their mean, and of its square.
    between: f64,
    mean: f64,
    square: f64,
    pixels: f64,
}

/// All places of a frame with their scores; those where methods agree exactly are none.
fn scored(methods: &[&Rgb], frame: u64) -> Vec<Place> {
    let Some(first) = methods.first().filter(|_| methods.len() > 1) else { return Vec::new() };
    let (columns, rows) = first.size;
    let width = (columns / 6).clamp(*COLUMNS.start(), *COLUMNS.end()).min(columns);
    let height = (width * 3 / 4).min(rows);
    let (step_x, step_y) = ((width / 2).max(1), (height / 2).max(1));
    let across = columns / step_x;
    let mut cells = vec![Cell::default(); across * (rows / step_y)];
    for y in 0..rows / step_y * step_y {
        for x in 0..across * step_x {
            let luma = |picture: &&Rgb| picture.luma(x, y);
            let mean = methods.iter().map(luma).sum::<f64>() / methods.len() as f64;
            let between = methods.iter().map(|m| (luma(m) - mean).powi(2)).sum::<f64>() / methods.len() as f64;
            let cell = &mut cells[y / step_y * across + x / step_x];
            cell.between += between;
            cell.mean += mean;
            cell.square += mean * mean;
            cell.pixels += 1.0;
        }
    }
    let mut places = Vec::new();
    for top in 0..(rows / step_y).saturating_sub(1).max(1) {
        for left in 0..across.saturating_sub(1).max(1) {
            let mut sum = Cell::default();
            for (down, right) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                if left + right < across && top + down < rows / step_y {
                    let cell = cells[(top + down) * across + left + right];
                    sum.between += cell.between;
                    sum.mean += cell.mean;
                    sum.square += cell.square;
                    sum.pixels += cell.pixels;
                }
            }
            let mean = sum.mean / sum.pixels;
            let contrast = (sum.square / sum.pixels - mean * mean).max(0.0).sqrt();
            let score = (sum.between / sum.pixels).sqrt() / (contrast + FLAT);
            let (x, y) = ((left * step_x).min(columns - width), (top * step_y).min(rows - height));
            if score > 0.0 {
                places.push(Place { frame, area: (x, y, width, height), score });
            }
        }
    }
    places
}

fn encoding_failed(error: image::ImageError) -> Error {
    Error::new(Kind::Bug, "a picture for the page cannot be encoded").caused_by(error)
}

fn png(picture: &Rgb) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let (width, height) = picture.size;
    let encoder = PngEncoder::new_with_quality(&mut bytes, CompressionType::Default, FilterType::Adaptive);
    encoder
        .write_image(&picture.samples, width as u32, height as u32, ExtendedColorType::Rgb8)
        .map_err(encoding_failed)?;
    Ok(bytes)
}

fn jpeg(picture: &Rgb, quality: u8) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let (width, height) = picture.size;
    JpegEncoder::new_with_quality(&mut bytes, quality)
        .write_image(&picture.samples, width as u32, height as u32, ExtendedColorType::Rgb8)
        .map_err(encoding_failed)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Grey, with a square of 20 pixels of another value.
    fn picture(at: (usize, usize), value: u8) -> Rgb {
        let size = (480, 360);
        let inside = |x: usize, y: usize| (at.0..at.0 + 20).contains(&x) && (at.1..at.1 + 20).contains(&y);
        let samples =
            (0..size.0 * size.1).flat_map(|i| [if inside(i % size.0, i / size.0) { value } else { 90 }; 3]).collect();
        Rgb { size, samples }
    }

    #[test]
    fn the_place_where_methods_differ_is_found() {
        let (a, b) = (picture((300, 200), 90), picture((300, 200), 140));
        let mut places = scored(&[&a, &b], 7);
        places.sort_by(|p, q| q.score.total_cmp(&p.score));
        let (x, y, w, h) = places[0].area;
        assert!(x <= 300 && 320 <= x + w && y <= 200 && 220 <= y + h, "{:?}", places[0]);
        assert!(scored(&[&a, &a], 7).is_empty(), "no difference, no place");
        assert!(scored(&[&a], 7).is_empty(), "one method alone");
    }

    #[test]
    fn chosen_places_come_from_all_frames_and_never_overlap_in_one() {
        let place = |frame, x, score| Place { frame, area: (x, 0, 100, 75), score };
        let places = [place(1, 0, 9.0), place(1, 50, 8.0), place(2, 20, 7.0), place(1, 200, 6.0), place(2, 300, 5.0)];
        let chosen = choose(&places, 3);
        // One of each frame in places of their own; then the best of what is left, though another frame shows that place.
        assert_eq!(chosen, [places[0], places[2], places[4]], "best first");
    }

    #[test]
    fn small_pictures_have_places_too() {
        let size = (40, 8);
        let flat = |v: u8| Rgb { size, samples: vec![v; 3 * size.0 * size.1] };
        let places = scored(&[&flat(10), &flat(20)], 0);
        assert!(places.iter().all(|p| p.area.0 + p.area.2 <= 40 && p.area.1 + p.area.3 <= 8), "{places:?}");
        assert!(!places.is_empty(), "one at least");
    }
}
