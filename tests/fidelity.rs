//! Nothing is lost but the old size: frames, times, other streams, tags, colour and every bit of the samples.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Scratch, assert_times, list, number, skipped};

/// Fast, and exact in times: Matroska counts milliseconds, hence the tolerance of comparisons with it.
const QUICK: &str = "--method bilinear --progress none";
const MILLISECOND: f64 = 0.00101;

/// Enlarges `input` to `output` and asserts that every frame is there at its time.
#[track_caller]
fn assert_same_times(scratch: &Scratch, input: &str, output: &str, tolerance: f64) {
    scratch.subpel(&format!("upscale {input} {output} {QUICK}")).ends(0);
    assert_times(&scratch.times(output), &scratch.times(input), tolerance, &format!("{input} to {output}"));
}

/// Asserts that the times are the same but for one shift of all.
#[track_caller]
fn assert_same_distances(got: &[f64], wanted: &[f64], tolerance: f64, what: &str) {
    let shift = got[0] - wanted[0];
    let moved: Vec<f64> = wanted.iter().map(|t| t + shift).collect();
    assert_times(got, &moved, tolerance, what);
}

#[test]
fn every_frame_comes_out_once_whatever_the_reordering() {
    let scratch = Scratch::new();
    for frames in [1, 2, 3, 17] {
        for options in ["-bf 3 -g 250", "-bf 0 -g 1", "-tune zerolatency", "-bf 16 -b_strategy 2 -refs 8"] {
            let source = "-f lavfi -i testsrc2=s=64x48:r=25";
            scratch.ffmpeg(&format!("{source} -frames:v {frames} -c:v libx264 {options} in.mp4"));
            scratch.subpel(&format!("upscale in.mp4 out.mp4 --overwrite {QUICK}")).ends(0);
            assert_times(&scratch.times("out.mp4"), &scratch.times("in.mp4"), 1e-6, options);
            assert_eq!(scratch.times("out.mp4").len(), frames, "{options}: frames");
        }
    }
}

#[test]
fn the_multi_frame_method_keeps_every_frame_too() {
    let scratch = Scratch::new();
    for frames in [1, 2, 5, 9] {
        scratch.clip("in.mkv", "testsrc2=s=64x48:r=25", frames);
        for window in ["--window 0", "--window 1", "--window 30", "--preset best"] {
            scratch.subpel(&format!("upscale in.mkv out.mkv --overwrite --progress none {window}")).ends(0);
            assert_times(&scratch.times("out.mkv"), &scratch.times("in.mkv"), 0.0, window);
        }
    }
}

#[test]
fn variable_frame_rate_is_kept() {
    let scratch = Scratch::new();
    let uneven = "-f lavfi -i testsrc2=s=64x48:r=25 -vf settb=1/1000,setpts=N*40+N*N*3+mod(N\\,3)*11 \
                  -fps_mode passthrough -enc_time_base 1:1000 -frames:v 20";
    scratch.ffmpeg(&format!("{uneven} -c:v ffv1 in.mkv"));
    scratch.ffmpeg(&format!("{uneven} -c:v libx264 -bf 2 -video_track_timescale 90000 in.mp4"));
    let gaps = scratch.times("in.mkv");
    assert!(gaps[19] - gaps[18] > 2.0 * (gaps[2] - gaps[1]), "the input is uneven: {gaps:?}");
    assert_same_times(&scratch, "in.mkv", "mkv-mkv.mkv", 0.0);
    assert_same_times(&scratch, "in.mkv", "mkv-mp4.mp4", 1e-6);
    assert_same_times(&scratch, "in.mp4", "mp4-mp4.mp4", 1e-6);
    assert_same_times(&scratch, "in.mp4", "mp4-mkv.mkv", MILLISECOND);
    // NUT holds no negative decoding times: all streams begin later by the same.
    scratch.subpel(&format!("upscale in.mp4 out.nut {QUICK}")).ends(0);
    assert_same_distances(&scratch.times("out.nut"), &scratch.times("in.mp4"), 1e-4, "in.mp4 to out.nut");
}

#[test]
fn fractional_rates_stay_exact() {
    let scratch = Scratch::new();
    for rate in ["30000/1001", "24000/1001", "60000/1001", "12.5", "1000"] {
        scratch.ffmpeg(&format!("-f lavfi -i testsrc2=s=64x48:r={rate} -frames:v 31 -c:v libx264 in.mp4"));
        scratch.subpel(&format!("upscale in.mp4 out.mp4 --overwrite {QUICK}")).ends(0);
        assert_times(&scratch.times("out.mp4"), &scratch.times("in.mp4"), 1e-6, rate);
        let (old, new) = (scratch.stream("in.mp4", "video"), scratch.stream("out.mp4", "video"));
        for key in ["r_frame_rate", "avg_frame_rate", "nb_frames", "duration"] {
            assert_eq!(new[key], old[key], "{rate}: {key}");
        }
    }
}

/// First video time minus last audio time, in seconds: how both lie to each other, whatever comes before.
fn sync(scratch: &Scratch, name: &str) -> f64 {
    let text = scratch.ffmpeg(&format!("-i {name} -map 0:a:0 -c copy -copyts -f framecrc -"));
    let base = text.lines().find_map(|l| l.strip_prefix("#tb 0: ")).expect("a time base");
    let (num, den) = base.split_once('/').expect("a ratio");
    let seconds = |t: &str| t.trim().parse::<f64>().expect("a time") * num.parse::<f64>().expect("number");
    let last = text.lines().rfind(|l| !l.starts_with('#')).and_then(|l| l.split(',').nth(2)).map_or(0.0, seconds);
    scratch.times(name)[0] - last / den.parse::<f64>().expect("number")
}

#[test]
fn the_offset_against_the_sound_is_kept() {
    let scratch = Scratch::new();
    for (late_video, late_audio) in [("0.48", "0"), ("0", "0.32")] {
        let inputs = format!(
            "-itsoffset {late_video} -f lavfi -i testsrc2=s=64x48:r=25:d=1 -itsoffset {late_audio} -f lavfi -i sine=d=1.6 \
             -fps_mode vfr -c:v libx264 -bf 2"
        );
        for (input, sound) in [("in.mkv", "ac3"), ("in.mp4", "aac"), ("in.ts", "mp2")] {
            scratch.ffmpeg(&format!("{inputs} -c:a {sound} {input}"));
            for output in ["out.mkv", "out.mp4", "out.mov"] {
                scratch.subpel(&format!("upscale {input} {output} --overwrite {QUICK}")).ends(0);
                let (old, new) = (sync(&scratch, input), sync(&scratch, output));
                assert!(
                    (old - new).abs() < 0.0015,
                    "{late_video} {late_audio} {input} to {output}: {old} s, now {new} s"
                );
            }
        }
    }
}

#[test]
fn transport_streams_take_common_sounds() {
    let scratch = Scratch::new();
    for sound in ["mp2", "aac", "ac3"] {
        let inputs = "-f lavfi -i testsrc2=s=64x48:r=25:d=1 -f lavfi -i sine=d=1 -c:v libx264";
        scratch.ffmpeg(&format!("{inputs} -c:a {sound} in.mkv"));
        let done = scratch.subpel("upscale in.mkv out.ts --overwrite --codec libx264 --method bilinear").ends(0);
        assert_eq!(scratch.stream("out.ts", "audio")["codec_name"], sound, "{}", done.err);
        let (old, new) = (sync(&scratch, "in.mkv"), sync(&scratch, "out.ts"));
        assert!((old - new).abs() < 0.0015, "{sound}: {old} s, now {new} s");
    }
}

#[test]
fn edit_lists_are_followed() {
    let scratch = Scratch::new();
    let make = "-f lavfi -i testsrc2=s=64x48:r=25:d=2 -f lavfi -i sine=d=2 -c:v libx264 -bf 2 -g 20 -c:a aac";
    scratch.ffmpeg(&format!("{make} long.mp4"));
    scratch.ffmpeg("-ss 1.24 -i long.mp4 -c copy cut.mp4");
    scratch.ffmpeg("-itsoffset 0.6 -i long.mp4 -i long.mp4 -map 0:v -map 1:a -c copy late.mp4");
    for input in ["cut.mp4", "late.mp4"] {
        for (output, tolerance) in [("out.mp4", 1e-4), ("out.mkv", MILLISECOND)] {
            scratch.subpel(&format!("upscale {input} {output} --overwrite {QUICK}")).ends(0);
            let (got, wanted) = (scratch.times(output), scratch.times(input));
            assert_same_distances(&got, &wanted, tolerance, input);
            let (old, new) = (sync(&scratch, input), sync(&scratch, output));
            assert!((old - new).abs() < 0.0015, "{input} to {output}: {old} s, now {new} s");
        }
    }
}

/// First video time minus first audio time, in seconds.
fn offset(scratch: &Scratch, name: &str) -> f64 {
    let start = |kind| number(&scratch.stream(name, kind)["start_time"]);
    start("video") - start("audio")
}

#[test]
fn sound_hidden_by_an_edit_list_stays_hidden() {
    let scratch = Scratch::new();
    let make = "-f lavfi -i testsrc2=s=64x48:r=25:d=2 -f lavfi -i sine=d=2 -c:v libx264 -bf 2 -g 20 -c:a aac";
    scratch.ffmpeg(&format!("{make} long.mp4"));
    scratch.ffmpeg("-ss 1.24 -i long.mp4 -c copy cut.mp4");
    for output in ["out.mp4", "out.mkv"] {
        scratch.subpel(&format!("upscale cut.mp4 {output} {QUICK}")).ends(0);
        let (old, new) = (offset(&scratch, "cut.mp4"), offset(&scratch, output));
        assert!((old - new).abs() < 0.03, "{output}: pictures begin {old} s after the sound, now {new} s");
    }
}

#[test]
fn flac_goes_into_mp4() {
    let scratch = Scratch::new();
    scratch.ffmpeg("-f lavfi -i testsrc2=s=64x48:r=25:d=1 -f lavfi -i sine=d=1 -c:v libx264 -c:a flac in.mkv");
    scratch.subpel(&format!("upscale in.mkv out.mp4 {QUICK}")).ends(0);
    assert_eq!(scratch.packets("out.mp4", "0:a"), scratch.packets("in.mkv", "0:a"), "packets");
}

#[test]
fn the_running_clock_of_a_broadcast_is_taken_off() {
    let scratch = Scratch::new();
    let make = "-f lavfi -i testsrc2=s=64x48:r=25:d=1 -f lavfi -i sine=d=1 -c:v libx264 -bf 2 -c:a mp2";
    for start in ["0", "3000", "95440"] {
        // 95443.7 s is where the 33-bit clock wraps.
        scratch.ffmpeg(&format!("{make} -output_ts_offset {start} in.ts"));
        scratch.subpel(&format!("upscale in.ts out.mkv --overwrite {QUICK}")).ends(0);
        let got = scratch.times("out.mkv");
        assert_same_distances(&got, &scratch.times("in.ts"), MILLISECOND, start);
        assert!((0.0..0.5).contains(&got[0]), "{start}: begins at {}", got[0]);
    }
}

#[test]
fn raw_streams_without_times_follow_their_rate() {
    let scratch = Scratch::new();
    for (encoder, name) in [("libx264", "in.h264"), ("libx265", "in.hevc"), ("mpeg2video", "in.m2v")] {
        let quiet = if encoder == "libx265" { "-x265-params log-level=none" } else { "" };
        scratch.ffmpeg(&format!("-f lavfi -i testsrc2=s=64x48:r=25 -frames:v 20 -c:v {encoder} {quiet} -bf 2 {name}"));
        scratch.subpel(&format!("upscale {name} {name}.mkv --progress none --method bilinear")).ends(0);
        let wanted: Vec<f64> = (0..20).map(|n| f64::from(n) / 25.0).collect();
        assert_same_distances(&scratch.times(&format!("{name}.mkv")), &wanted, MILLISECOND, name);
    }
}

/// A film with two sounds, subtitles, an attachment, chapters and tags, as `rich.mkv`.
fn rich() -> Scratch {
    let scratch = Scratch::new();
    let lines = "1\n00:00:00,100 --> 00:00:00,700\nOne <i>slanted</i> line\n\n\
                 2\n00:00:00,900 --> 00:00:01,600\nZwei Zeilen:\nÄpfel & Öl\n\n";
    scratch.write("lines.srt", lines);
    let chapter = |start, end, title| format!("[CHAPTER]\nTIMEBASE=1/1000\nSTART={start}\nEND={end}\ntitle={title}\n");
    let tags = ";FFMETADATA1\ntitle=A film\nartist=Somebody\ncomment=two words\n";
    scratch.write("tags.txt", format!("{tags}{}{}", chapter(0, 800, "First"), chapter(800, 2000, "Zweites ä")));
    scratch.write("font.ttf", (0..=255).collect::<Vec<u8>>());
    scratch.ffmpeg(
        "-f lavfi -i testsrc2=s=64x48:r=25:d=2 -f lavfi -i sine=d=2 -f lavfi -i sine=f=880:d=2 -i lines.srt -i tags.txt \
         -map 0:v -map 1:a -map 2:a -map 3:s -map_metadata 4 -map_chapters 4 -c:v libx264 -bf 2 -c:a:0 aac -c:a:1 ac3 \
         -c:s subrip -metadata:s:v title=Main -metadata:s:v language=jpn -metadata:s:a:0 language=eng \
         -metadata:s:a:1 language=fra -metadata:s:a:1 title=Notes -metadata:s:s language=deu -disposition:a:1 comment \
         -disposition:s:0 forced -attach font.ttf -metadata:s:t mimetype=application/x-truetype-font rich.mkv",
    );
    scratch
}

/// What should be the same of a stream that is copied.
fn character(stream: &Value) -> Value {
    let tag = |key: &str| stream["tags"][key].clone();
    serde_json::json!([
        stream["codec_type"],
        stream["codec_name"],
        stream["sample_rate"],
        stream["channels"],
        stream["disposition"],
        tag("language"),
        tag("title"),
        tag("filename"),
        tag("mimetype"),
    ])
}

/// Start, end and title of every chapter.
fn chapters(scratch: &Scratch, name: &str) -> Vec<(f64, f64, Value)> {
    let probe = scratch.probe(name);
    let one = |c: &Value| (number(&c["start_time"]), number(&c["end_time"]), c["tags"]["title"].clone());
    list(&probe["chapters"]).iter().map(one).collect()
}

/// Seconds of the packets that `select` takes.
fn packet_times(scratch: &Scratch, name: &str, select: &str) -> Vec<String> {
    let text = scratch.ffmpeg(&format!("-i {name} -map 0:{select} -c copy -copyts -f framemd5 -"));
    let times = text.lines().filter(|l| !l.starts_with('#')).map(|l| l.split(',').nth(2).unwrap_or_default());
    times.map(|t| t.trim().to_owned()).collect()
}

#[test]
fn matroska_to_matroska_keeps_everything() {
    let scratch = rich();
    scratch.subpel(&format!("upscale rich.mkv out.mkv --strict {QUICK}")).ends(0);
    let (old, new) = (scratch.probe("rich.mkv"), scratch.probe("out.mkv"));
    let kinds = |probe: &Value| list(&probe["streams"]).iter().map(character).collect::<Vec<_>>();
    assert_eq!(kinds(&new), kinds(&old), "streams");
    for key in ["title", "ARTIST", "COMMENT"] {
        assert!(old["format"]["tags"][key].is_string(), "{key} is in the input: {}", old["format"]);
        assert_eq!(new["format"]["tags"][key], old["format"]["tags"][key], "{key}");
    }
    assert_eq!(chapters(&scratch, "out.mkv"), chapters(&scratch, "rich.mkv"), "chapters");
    assert_eq!(chapters(&scratch, "out.mkv").len(), 2, "number of chapters");
    for select in ["a:0", "a:1", "s:0"] {
        let map = format!("0:{select}");
        assert_eq!(scratch.packets("out.mkv", &map), scratch.packets("rich.mkv", &map), "{select}: packets");
        let times = packet_times(&scratch, "rich.mkv", select);
        assert!(!times.is_empty(), "{select} has packets");
        assert_eq!(packet_times(&scratch, "out.mkv", select), times, "{select}: times");
    }
    scratch.ffmpeg("-dump_attachment:t:0 copy.ttf -i out.mkv -map 0:a:0 -c copy -t 0.1 -f null -");
    assert_eq!(scratch.read("copy.ttf"), scratch.read("font.ttf"), "attachment");
}

/// The subtitles of a file as SubRip text.
fn subtitles(scratch: &Scratch, name: &str) -> String {
    scratch.ffmpeg(&format!("-i {name} -map 0:s:0 -f srt -"))
}

#[test]
fn mp4_gets_text_subtitles_and_is_told_what_it_lacks() {
    let scratch = rich();
    let done = scratch.subpel("upscale rich.mkv out.mp4 --method bilinear").ends(0);
    done.mentions(&["NOT kept", "attachment"]);
    let audio = |name: &str| {
        let probe = scratch.probe(name);
        let sounds = list(&probe["streams"]).iter().filter(|s| s["codec_type"] == "audio");
        sounds.map(|s| (s["codec_name"].clone(), s["tags"]["language"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(audio("out.mp4"), audio("rich.mkv"), "sounds");
    let lines = scratch.stream("out.mp4", "subtitle");
    assert_eq!((&lines["codec_name"], &lines["tags"]["language"]), (&"mov_text".into(), &"deu".into()), "subtitles");
    assert_eq!(subtitles(&scratch, "out.mp4"), subtitles(&scratch, "rich.mkv"), "text");
    assert_eq!(scratch.probe("out.mp4")["format"]["tags"]["title"], "A film", "title");
    assert_eq!(chapters(&scratch, "out.mp4"), chapters(&scratch, "rich.mkv"), "chapters");
    for map in ["0:a:0", "0:a:1"] {
        assert_eq!(scratch.packets("out.mp4", map), scratch.packets("rich.mkv", map), "{map}: packets");
    }
    scratch.subpel(&format!("upscale out.mp4 back.mkv {QUICK}")).ends(0);
    assert_eq!(scratch.stream("back.mkv", "subtitle")["codec_name"], "subrip", "back in Matroska");
    assert_eq!(subtitles(&scratch, "back.mkv"), subtitles(&scratch, "rich.mkv"), "text after both ways");
    assert_eq!(chapters(&scratch, "back.mkv"), chapters(&scratch, "rich.mkv"), "chapters after both ways");
}

#[test]
fn strict_refuses_what_would_be_lost() {
    let scratch = rich();
    let before = scratch.names();
    let refused = scratch.subpel("upscale rich.mkv out.mp4 --strict").ends(73);
    refused.says(&["out.mp4", "attachment", "--strict"]);
    assert_eq!(scratch.names(), before, "the folder afterwards");
    scratch.ffmpeg("-i rich.mkv -map 0:v -map 0:a -c copy plain.mkv");
    scratch.subpel(&format!("upscale plain.mkv out.mp4 --strict {QUICK}")).ends(0);
    assert_eq!(list(&scratch.probe("out.mp4")["streams"]).iter().filter(|s| s["codec_type"] == "audio").count(), 2);
}

#[test]
fn streams_that_a_container_of_pictures_lacks_are_named() {
    let scratch = rich();
    let done = scratch.subpel("upscale rich.mkv out.y4m --method bilinear").ends(0);
    done.mentions(&["NOT kept", "aac", "ac3", "subrip"]);
    assert_eq!(scratch.times("out.y4m").len(), 50, "frames");
}

#[test]
fn webm_takes_what_it_can() {
    let scratch = rich();
    let options = "--method bilinear --frames 5 --encoder-option cpu-used=8";
    let done = scratch.subpel(&format!("upscale rich.mkv out.webm {options}")).ends(0);
    done.mentions(&["NOT kept", "aac"]);
    assert_eq!(scratch.stream("out.webm", "video")["codec_name"], "vp9", "encoder");
    assert_eq!(scratch.times("out.webm").len(), 5, "frames");
}

#[test]
fn excerpts_take_the_other_streams_along() {
    let scratch = rich();
    scratch.subpel(&format!("upscale rich.mkv out.mkv --start 0.8 --frames 10 {QUICK}")).ends(0);
    let wanted: Vec<f64> = (0..10).map(|n| f64::from(n) / 25.0).collect();
    assert_same_distances(&scratch.times("out.mkv"), &wanted, MILLISECOND, "times");
    assert!(scratch.times("out.mkv")[0] < 0.03, "begins at {}", scratch.times("out.mkv")[0]);
    let sound = packet_times(&scratch, "out.mkv", "a:1").len() as f64 * 1536.0 / 44100.0;
    assert!((0.2..0.7).contains(&sound), "{sound} s of sound beside 0.4 s of pictures");
    let first = scratch.pictures("rich.mkv", Some("yuv420p"));
    scratch.subpel("upscale rich.mkv same.mkv --start 0.8 --frames 3 --method none --codec ffv1").ends(0);
    assert_eq!(scratch.pictures("same.mkv", None), first[20..23], "the pictures from 0.8 s on");
}

#[test]
fn pixel_aspect_is_kept() {
    let scratch = Scratch::new();
    scratch.ffmpeg("-f lavfi -i testsrc2=s=64x48:r=25 -vf setsar=128/117:max=1000 -frames:v 3 -c:v libx264 in.mp4");
    for output in ["out.mp4", "out.mkv", "out.mov"] {
        scratch.subpel(&format!("upscale in.mp4 {output} {QUICK}")).ends(0);
        let stream = scratch.stream(output, "video");
        assert_eq!(stream["sample_aspect_ratio"], "128:117", "{output}");
        assert_eq!((&stream["width"], &stream["height"]), (&128.into(), &96.into()), "{output}");
    }
}

/// Writes a display matrix into the first track of an MP4 file; no FFmpeg option does in every version.
fn set_matrix(scratch: &Scratch, name: &str, [a, b, c, d]: [i32; 4], [x, y]: [i32; 2]) {
    let mut bytes = scratch.read(name);
    let header = bytes.windows(4).position(|w| w == b"tkhd").expect("a track header");
    let one = 0x1_0000;
    let matrix = [a * one, b * one, 0, c * one, d * one, 0, x * one, y * one, 0x4000_0000];
    for (i, value) in matrix.iter().enumerate() {
        let at = header + 44 + 4 * i;
        bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }
    scratch.write(name, bytes);
}

/// The rotation ffprobe sees, if any.
fn rotation(scratch: &Scratch, name: &str) -> Option<i64> {
    let stream = scratch.stream(name, "video");
    list(&stream["side_data_list"]).iter().find_map(|d| d["rotation"].as_i64())
}

#[test]
fn rotation_is_kept_or_done() {
    let scratch = Scratch::new();
    let turns =
        [([0, 1, -1, 0], [48, 0]), ([-1, 0, 0, -1], [64, 48]), ([0, -1, 1, 0], [0, 64]), ([-1, 0, 0, 1], [64, 0])];
    for (matrix, shift) in turns {
        scratch.ffmpeg("-f lavfi -i testsrc2=s=64x48:r=25 -frames:v 3 -c:v libx264 -qp 0 in.mp4");
        set_matrix(&scratch, "in.mp4", matrix, shift);
        let upright = scratch.ffmpeg("-i in.mp4 -f framemd5 -");
        let sideways = matrix[0] == 0;
        scratch.subpel(&format!("upscale in.mp4 out.mp4 --overwrite {QUICK}")).ends(0);
        assert_eq!(rotation(&scratch, "out.mp4"), rotation(&scratch, "in.mp4"), "{matrix:?} in MP4");
        assert_eq!(scratch.stream("out.mp4", "video")["width"], 128, "{matrix:?}: stored as it was");
        scratch.subpel("upscale in.mp4 out.mkv --overwrite --method none --codec ffv1 --progress none").ends(0);
        let stream = scratch.stream("out.mkv", "video");
        assert_eq!(stream["width"], if sideways { 48 } else { 64 }, "{matrix:?}: width in Matroska");
        let baked = scratch.ffmpeg("-i out.mkv -f framemd5 -");
        let pictures = |text: &str| support::checksums(text);
        assert_eq!(pictures(&baked), pictures(&upright), "{matrix:?}: pictures as they are shown");
        assert_eq!(pictures(&baked).len(), 3, "{matrix:?}: frames");
    }
}

/// `yuvj420p` is an old name of `yuv420p` with full range.
fn plain(value: &Value) -> String {
    value.to_string().replace("yuvj", "yuv")
}

#[test]
fn colour_tags_and_range_are_kept() {
    let scratch = Scratch::new();
    let rows = [
        ("bt709", "bt709", "bt709", "tv", "yuv420p"),
        ("bt2020", "smpte2084", "bt2020nc", "tv", "yuv420p10le"),
        ("bt2020", "arib-std-b67", "bt2020nc", "tv", "yuv420p10le"),
        ("smpte170m", "smpte170m", "smpte170m", "tv", "yuv422p"),
        ("bt470bg", "gamma28", "bt470bg", "pc", "yuv420p"),
        ("bt709", "iec61966-2-1", "bt709", "pc", "yuv444p"),
    ];
    let keys = ["color_primaries", "color_transfer", "color_space", "color_range", "chroma_location", "pix_fmt"];
    for (primaries, transfer, matrix, range, format) in rows {
        scratch.ffmpeg(&format!(
            "-f lavfi -i testsrc2=s=64x48:r=25 -frames:v 3 -pix_fmt {format} -c:v libx264 -color_primaries {primaries} \
             -color_trc {transfer} -colorspace {matrix} -color_range {range} in.mp4"
        ));
        let old = scratch.stream("in.mp4", "video");
        for output in ["out.mp4", "out.mkv", "out.mkv --codec ffv1", "out.mov"] {
            scratch.subpel(&format!("upscale in.mp4 {output} --overwrite {QUICK}")).ends(0);
            let new = scratch.stream(output.split(' ').next().unwrap_or_default(), "video");
            for key in keys {
                assert_eq!(
                    plain(&new[key]),
                    plain(&old[key]),
                    "{primaries} {transfer} {matrix} {range} {format} to {output}: {key}"
                );
            }
        }
    }
}

#[test]
fn what_is_not_tagged_stays_untagged_and_full_range_stays_full() {
    let scratch = Scratch::new();
    scratch.ffmpeg("-f lavfi -i testsrc2=s=64x48:r=25 -frames:v 2 -pix_fmt yuv420p -c:v mpeg4 in.avi");
    scratch.subpel(&format!("upscale in.avi out.mp4 {QUICK}")).ends(0);
    let stream = scratch.stream("out.mp4", "video");
    for key in ["color_primaries", "color_transfer", "color_space"] {
        assert!(stream[key].is_null() || stream[key] == "unknown", "{key}: {}", stream[key]);
    }
    scratch.ffmpeg("-f lavfi -i testsrc2=s=64x48:r=25 -frames:v 2 -pix_fmt yuvj420p -c:v mjpeg in.mkv");
    scratch.subpel(&format!("upscale in.mkv full.mkv {QUICK}")).ends(0);
    assert_eq!(scratch.stream("full.mkv", "video")["color_range"], "pc", "full range");
    scratch.subpel("upscale in.mkv same.mkv --method none --codec ffv1 --progress none").ends(0);
    assert_eq!(scratch.pictures("same.mkv", Some("yuv420p")).len(), 2, "frames");
    assert_eq!(scratch.raw_pictures("same.mkv", "yuv420p"), scratch.raw_pictures("in.mkv", "yuvj420p"), "samples");
}

/// The HDR side data of the stream or, failing that, of its first frame, in order.
fn hdr(scratch: &Scratch, name: &str) -> Vec<Value> {
    let found = hdr_of(&scratch.stream(name, "video"));
    if found.is_empty() { hdr_of(&scratch.first_frame(name)) } else { found }
}

fn hdr_of(stream: &Value) -> Vec<Value> {
    let kinds = ["Mastering display metadata", "Content light level metadata"];
    let found = list(&stream["side_data_list"]).iter();
    let found = found.filter(|d| kinds.iter().any(|k| d["side_data_type"] == *k));
    let mut found: Vec<Value> = found.map(in_decimals).collect();
    found.sort_by_key(|d| d["side_data_type"].to_string());
    found
}

/// Ratios as numbers: `7500/50000` and `3/20` are the same.
fn in_decimals(data: &Value) -> Value {
    let ratio = |v: &Value| {
        let (a, b) = v.as_str()?.split_once('/')?;
        Some(a.parse::<f64>().ok()? / b.parse::<f64>().ok()?)
    };
    let entries = data.as_object().expect("side data is an object").iter();
    entries.map(|(key, v)| (key.clone(), ratio(v).map_or(v.clone(), |r| format!("{r:.5}").into()))).collect()
}

#[test]
fn hdr_side_data_is_kept() {
    let scratch = Scratch::new();
    let display =
        "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):max-cll=1000,400";
    scratch.ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=64x64:r=25 -frames:v 3 -pix_fmt yuv420p10le -c:v libx265 -strict 1 -color_primaries bt2020 \
         -color_trc smpte2084 -colorspace bt2020nc -x265-params log-level=none:hdr10=1:{display} in.mkv"
    ));
    scratch.ffmpeg("-i in.mkv -c copy -tag:v hvc1 in.mp4");
    assert_eq!(hdr(&scratch, "in.mp4").len(), 2, "the input has both");
    for options in ["out.mkv --codec libx265", "out.mkv --codec ffv1", "out.mp4 --codec libx265", "out.mp4"] {
        scratch.subpel(&format!("upscale in.mp4 {options} --overwrite {QUICK}")).ends(0);
        let output = options.split(' ').next().unwrap_or_default();
        assert_eq!(hdr(&scratch, output), hdr(&scratch, "in.mp4"), "{options}");
        let stream = scratch.stream(output, "video");
        assert_eq!(
            (&stream["pix_fmt"], &stream["color_transfer"]),
            (&"yuv420p10le".into(), &"smpte2084".into()),
            "{options}"
        );
    }
}

#[test]
fn cover_art_is_kept_and_is_not_the_film() {
    let scratch = Scratch::new();
    scratch.ffmpeg("-f lavfi -i testsrc2=s=200x200 -frames:v 1 cover.png");
    scratch.ffmpeg("-f lavfi -i testsrc2=s=64x48:r=25 -frames:v 5 -c:v libx264 film.mp4");
    let cover = "-c copy -disposition:v:1 attached_pic";
    scratch.ffmpeg(&format!("-i film.mp4 -i cover.png -map 0 -map 1 {cover} in.mp4"));
    for output in ["out.mp4", "out.mkv"] {
        scratch.subpel(&format!("upscale in.mp4 {output} {QUICK}")).ends(0);
        let probe = scratch.probe(output);
        let attached = |s: &&Value| s["disposition"]["attached_pic"] == 1 || s["codec_type"] == "attachment";
        let covers: Vec<&Value> = list(&probe["streams"]).iter().filter(attached).collect();
        assert_eq!(covers.len(), 1, "{output}: covers");
        let film = list(&probe["streams"]).iter().find(|s| !attached(s)).cloned().unwrap_or_default();
        assert_eq!((&film["width"], &film["codec_name"]), (&128.into(), &"h264".into()), "{output}: the film");
        assert_eq!(scratch.times(output).len(), 5, "{output}: frames");
    }
    scratch.subpel(&format!("upscale out.mkv again.mkv {QUICK}")).ends(0);
    assert_eq!(scratch.stream("again.mkv", "video")["width"], 256, "the film again, not its cover");
}

#[test]
fn a_cover_that_the_container_drops_is_reported() {
    let scratch = Scratch::new();
    scratch.ffmpeg("-f lavfi -i testsrc2=s=200x200 -frames:v 1 cover.png");
    scratch.ffmpeg("-f lavfi -i testsrc2=s=64x48:r=25 -frames:v 5 -c:v libx264 film.mp4");
    scratch.ffmpeg("-i film.mp4 -i cover.png -map 0 -map 1 -c copy -disposition:v:1 attached_pic in.mp4");
    let done = scratch.subpel("upscale in.mp4 out.mov --method bilinear").ends(0);
    let kept = list(&scratch.probe("out.mov")["streams"]).len() == 2;
    assert!(kept || done.err.contains("NOT kept"), "no cover in out.mov, and no word of it:\n{}", done.err);
}

#[test]
fn interlaced_video_is_warned_of() {
    let scratch = Scratch::new();
    let flags = "-vf tinterlace=interleave_top,setfield=tff -flags +ildct+ilme";
    scratch.ffmpeg(&format!("-f lavfi -i testsrc2=s=64x48:r=50 {flags} -frames:v 5 -c:v mpeg2video in.mpg"));
    scratch.subpel(&format!("upscale in.mpg out.mkv {QUICK}")).ends(0).mentions(&["in.mpg", "interlaced"]);
    assert_eq!(scratch.times("out.mkv").len(), 5, "frames");
    let text = scratch.subpel("inspect in.mpg --json").ends(0).text();
    assert!(text.contains("\"interlaced\":true"), "{text}");
}

/// Formats as inputs, and whether the output is to be the same format.
const FORMATS: &[&str] = &[
    "yuv420p",
    "yuv422p",
    "yuv444p",
    "yuv410p",
    "yuv411p",
    "yuv440p",
    "yuvj420p",
    "yuvj422p",
    "yuvj444p",
    "nv12",
    "nv21",
    "yuyv422",
    "uyvy422",
    "yvyu422",
    "yuv420p9le",
    "yuv420p10le",
    "yuv422p10le",
    "yuv444p10le",
    "yuv420p12le",
    "yuv422p12le",
    "yuv444p12le",
    "yuv420p14le",
    "yuv444p14le",
    "yuv420p16le",
    "yuv422p16le",
    "yuv444p16le",
    "yuv420p10be",
    "yuv444p16be",
    "yuv440p10le",
    "yuv440p12le",
    "p010le",
    "p016le",
    "p210le",
    "yuva420p",
    "yuva422p",
    "yuva444p",
    "yuva420p9le",
    "yuva420p10le",
    "yuva422p10le",
    "yuva444p10le",
    "yuva444p12le",
    "yuva420p16le",
    "yuva444p16le",
    "gray",
    "gray9le",
    "gray10le",
    "gray12le",
    "gray16le",
    "gray16be",
    "ya8",
    "ya16le",
    "ya16be",
    "monow",
    "monob",
    "pal8",
    "rgb24",
    "bgr24",
    "rgba",
    "bgra",
    "argb",
    "abgr",
    "rgb0",
    "bgr0",
    "0rgb",
    "0bgr",
    "rgb565le",
    "rgb555le",
    "rgb444le",
    "rgb48le",
    "rgb48be",
    "bgr48le",
    "rgba64le",
    "rgba64be",
    "bgra64le",
    "gbrp",
    "gbrp9le",
    "gbrp10le",
    "gbrp12le",
    "gbrp14le",
    "gbrp16le",
    "gbrap",
    "gbrap10le",
    "gbrap12le",
    "gbrap16le",
];

/// A format in which two decoded files can be compared sample by sample: no padding bytes.
fn comparable(format: &str) -> &str {
    match format {
        "bgr0" | "0rgb" | "rgb0" | "0bgr" => "rgb24",
        other => other,
    }
}

/// The greatest distance of two lists of samples, of one or two bytes each.
fn greatest_distance(a: &[u8], b: &[u8], deep: bool) -> u16 {
    let distance = |x: &[u8], y: &[u8]| {
        let value = |s: &[u8]| if deep { u16::from_le_bytes([s[0], s[1]]) } else { u16::from(s[0]) };
        value(x).abs_diff(value(y))
    };
    let size = if deep { 2 } else { 1 };
    a.chunks_exact(size).zip(b.chunks_exact(size)).map(|(x, y)| distance(x, y)).max().unwrap_or(u16::MAX)
}

/// Whether samples of a format take two bytes, by what `ffmpeg -pix_fmts` says of it.
fn is_deep(format: &str) -> bool {
    ["9le", "10le", "12le", "14le", "16le", "48le", "64le"].iter().any(|end| format.ends_with(end))
}

/// Bits of a sample, by the end of the format's name.
fn depth(format: &str) -> u32 {
    let name = format.trim_end_matches("le").trim_end_matches("be");
    let deep = [("48", 16), ("64", 16), ("16", 16), ("14", 14), ("12", 12), ("10", 10), ("p9", 9), ("gray9", 9)];
    deep.iter().find(|(end, _)| name.ends_with(end)).map_or(8, |(_, bits)| *bits)
}

/// What is wrong with the copy of two pictures in `format`, if anything.
fn copy_fault(scratch: &Scratch, format: &str, size: &str) -> Option<String> {
    let from = format!("{format}-{size}.nut");
    let to = format!("{format}-{size}.mkv");
    let source = format!("-f lavfi -i testsrc2=s={size}:r=25 -frames:v 2 -c:v rawvideo -pix_fmt {format}");
    if !scratch.try_ffmpeg(&format!("{source} {from}")) {
        skipped(&format!("this FFmpeg makes no {format}"));
        return None;
    }
    if scratch.stream(&from, "video")["pix_fmt"] != format {
        skipped(&format!("the container does not hold {format}"));
        return None;
    }
    let done = scratch.subpel(&format!("upscale {from} {to} --scale 1 --method none --codec ffv1"));
    if done.code != Some(0) {
        return Some(format!("{format} {size}: {:?} {}", done.code, done.err));
    }
    if done.err.contains("NOT kept") {
        return Some(format!("{format} {size}: {}", done.err));
    }
    let written = scratch.stream(&to, "video")["pix_fmt"].as_str().unwrap_or_default().to_owned();
    let format_of_both = comparable(&written);
    let (old, new) = (scratch.raw_pictures(&from, format_of_both), scratch.raw_pictures(&to, format_of_both));
    if old.is_empty() || old.len() != new.len() {
        return Some(format!("{format} {size} as {written}: {} bytes became {}", old.len(), new.len()));
    }
    let apart = greatest_distance(&old, &new, is_deep(format_of_both));
    // One step of the input, in steps of the output.
    let allowed = if written == format { 0 } else { 1 << depth(&written).saturating_sub(depth(format)) };
    (apart > allowed).then(|| format!("{format} {size} as {written}: samples are up to {apart} apart"))
}

/// Asserts that the formats that `take` selects survive; an odd size shows the borders of subsampled planes.
fn assert_copies(take: fn(&str) -> bool) {
    let scratch = Scratch::new();
    let formats: Vec<&str> = FORMATS.iter().copied().filter(|f| take(f)).collect();
    let faults: Vec<String> = formats.iter().filter_map(|format| copy_fault(&scratch, format, "33x17")).collect();
    assert!(formats.len() > 30, "only {} formats", formats.len());
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_luma_and_chroma_format_survives_a_copy() {
    assert_copies(|format| format.contains('y') && !format.starts_with("gr"));
}

#[test]
fn every_other_pixel_format_survives_a_copy() {
    assert_copies(|format| !format.contains('y') || format.starts_with("gr"));
}

#[test]
fn even_sizes_survive_a_copy() {
    let scratch = Scratch::new();
    let formats = ["yuv420p", "yuv411p", "nv12", "yuyv422", "yuva420p10le", "monow", "rgb24", "gbrp10le"];
    let faults: Vec<String> = formats.iter().filter_map(|format| copy_fault(&scratch, format, "32x18")).collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn depth_and_sampling_are_kept_by_lossy_encoders_too() {
    let scratch = Scratch::new();
    let rows = [
        ("yuv420p", "libx264", "yuv420p"),
        ("yuv422p10le", "libx264", "yuv422p10le"),
        ("yuv444p", "libx264", "yuv444p"),
        ("nv12", "libx265", "yuv420p"),
        ("yuv420p12le", "libx265", "yuv420p12le"),
        ("yuv444p10le", "libx265", "yuv444p10le"),
        ("yuva420p", "libvpx-vp9", "yuva420p"),
        ("rgb24", "libx264rgb", "gbrp"),
    ];
    for (format, encoder, wanted) in rows {
        let source = format!("-f lavfi -i testsrc2=s=64x64:r=25 -frames:v 2 -c:v rawvideo -pix_fmt {format}");
        scratch.ffmpeg(&format!("{source} in.nut"));
        let done = scratch.subpel(&format!("upscale in.nut out.mkv --overwrite --method bilinear --codec {encoder}"));
        let text = done.ends(0).err;
        assert!(text.contains(&format!("{encoder} {wanted},")) || wanted == "gbrp", "{format}, {encoder}: {text}");
        if wanted != "yuva420p" {
            assert_eq!(scratch.stream("out.mkv", "video")["pix_fmt"], wanted, "{format}, {encoder}");
        }
    }
}

/// Clips for workshops that have them: `shared/data/video` beside or above the project.
fn clips() -> Option<PathBuf> {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().skip(1);
    above.map(|folder| folder.join("shared/data/video")).find(|folder| folder.is_dir())
}

#[test]
fn collected_clips_keep_frames_and_times() {
    let Some(folder) = clips() else { return skipped("no folder shared/data/video beside the project") };
    let mut names = support::names_in(&folder);
    names.retain(|name| !name.starts_with('.') && !name.ends_with(".md"));
    let faults: Vec<String> = names.iter().filter_map(|name| clip_fault(&folder, name)).collect();
    assert!(!names.is_empty(), "the folder of clips is empty");
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), names.len(), faults.join("\n"));
}

/// Large clips are enlarged in part, to keep the test short.
fn clip_fault(folder: &Path, name: &str) -> Option<String> {
    let scratch = Scratch::new();
    let input = folder.join(name);
    let input = input.to_str().expect("the clips have plain names");
    let large = fs::metadata(input).is_ok_and(|m| m.len() > 110_000);
    let (interval, limit, part) = if large { (Some(40), "--frames 6", 6) } else { (None, "", usize::MAX) };
    let wanted = scratch.told_times_of(input, interval);
    let part = part.min(wanted.len());
    let done = scratch.subpel(&format!("upscale {input} out.mkv --method bicubic --scale 2 --codec ffv1 {limit}"));
    if !matches!(done.code, Some(0 | 3)) {
        return Some(format!("{name}: {:?} {}", done.code, done.err));
    }
    let got = scratch.times("out.mkv");
    if got.len() != part {
        return Some(format!("{name}: {} frames instead of {part}", got.len()));
    }
    // Frames without a time of their own, as in raw streams, are not compared.
    let distances = || got.iter().zip(&wanted).filter_map(|(g, w)| w.map(|w| g - w));
    let shift = distances().next().unwrap_or(0.0);
    let apart = distances().map(|d| (d - shift).abs()).fold(0.0, f64::max);
    (apart > 0.0021).then(|| format!("{name}: times are {apart} s apart"))
}
