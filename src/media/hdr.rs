//! Static HDR metadata as encoders want it in words: mastering display (SMPTE ST 2086) and content light level.

use ffmpeg_next::ffi;

use super::side_data::hdr_packet_kind;

/// Mastering display colour volume: chromaticities and luminances.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Mastering {
    /// Red, green, blue, white as (x, y).
    points: [(f64, f64); 4],
    /// Darkest and brightest, cd/m2.
    luminance: (f64, f64),
}

/// The option that tells encoder `name` about `hdr`, which is (frame side data type, bytes).
pub(super) fn encoder_option(name: &str, hdr: &[(i32, Vec<u8>)]) -> Option<(&'static str, String)> {
    let of = |kind: i32| hdr.iter().find(|(k, _)| hdr_packet_kind(*k) == Some(kind)).map(|(_, b)| b.as_slice());
    let mastering = of(ffi::AVPacketSideDataType::AV_PKT_DATA_MASTERING_DISPLAY_METADATA as i32).and_then(mastering);
    let light = of(ffi::AVPacketSideDataType::AV_PKT_DATA_CONTENT_LIGHT_LEVEL as i32).and_then(light_level);
    let mut parts = Vec::new();
    match name {
        "libx265" => {
            parts.extend(mastering.map(|m| format!("hdr10=1:master-display={}", x265_text(&m))));
            parts.extend(light.map(|(max, average)| format!("max-cll={max},{average}")));
            (!parts.is_empty()).then(|| ("x265-params", parts.join(":")))
        }
        "libsvtav1" => {
            parts.extend(mastering.map(|m| format!("mastering-display={}", svt_text(&m))));
            parts.extend(light.map(|(max, average)| format!("content-light={max},{average}")));
            (!parts.is_empty()).then(|| ("svtav1-params", parts.join(":")))
        }
        _ => None,
    }
}

/// Reads FFmpeg's `AVMasteringDisplayMetadata`: ten rationals and two flags.
fn mastering(bytes: &[u8]) -> Option<Mastering> {
    let int = |i: usize| bytes.get(4 * i..4 * i + 4)?.try_into().ok().map(i32::from_ne_bytes);
    let ratio = |i: usize| Some(f64::from(int(2 * i)?) / f64::from(int(2 * i + 1)?.max(1)));
    let point = |i: usize| Some((ratio(i)?, ratio(i + 1)?));
    let complete = int(20)? != 0 && int(21)? != 0;
    complete.then_some(Mastering {
        points: [point(0)?, point(2)?, point(4)?, point(6)?],
        luminance: (ratio(8)?, ratio(9)?),
    })
}

/// Reads FFmpeg's `AVContentLightMetadata`: brightest pixel and brightest frame average, cd/m2.
fn light_level(bytes: &[u8]) -> Option<(u32, u32)> {
    let int = |i: usize| bytes.get(4 * i..4 * i + 4)?.try_into().ok().map(u32::from_ne_bytes);
    Some((int(0)?, int(1)?))
}

/// x265: G, B, R, white in units of 0.00002, luminance in 0.0001 cd/m2, brightest first.
fn x265_text(m: &Mastering) -> String {
    let [r, g, b, w] = m.points.map(|(x, y)| format!("({},{})", (x * 50_000.0).round(), (y * 50_000.0).round()));
    format!("G{g}B{b}R{r}WP{w}L({},{})", (m.luminance.1 * 10_000.0).round(), (m.luminance.0 * 10_000.0).round())
}

/// SVT-AV1: the same order in plain numbers.
fn svt_text(m: &Mastering) -> String {
    let [r, g, b, w] = m.points.map(|(x, y)| format!("({x:.5},{y:.5})"));
    format!("G{g}B{b}R{r}WP{w}L({:.4},{:.4})", m.luminance.1, m.luminance.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bt2020_display_reads_as_x265_documents_it() {
        let numbers = [
            35400, 50000, 14600, 50000, 8500, 50000, 39850, 50000, 6550, 50000, 2300, 50000, 15635, 50000, 16450,
            50000, 50, 10000, 10_000_000, 10000, 1, 1,
        ];
        let bytes: Vec<u8> = numbers.iter().flat_map(|n: &i32| n.to_ne_bytes()).collect();
        let text = x265_text(&mastering(&bytes).expect("complete"));
        assert_eq!(text, "G(8500,39850)B(6550,2300)R(35400,14600)WP(15635,16450)L(10000000,50)", "master-display");
        assert!(mastering(&bytes[..60]).is_none(), "truncated data is no metadata");
    }
}
