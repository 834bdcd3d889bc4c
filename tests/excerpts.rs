//! Parts of a video, and containers that keep time in their own way: what a reviewer found wrong stays right.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use support::{Scratch, assert_times, list, number};

const QUICK: &str = "--method nearest --progress none";
const PICTURE: &str = "-f lavfi -i testsrc2=s=64x48:r=25:d=4";
const SOUND: &str = "-f lavfi -i sine=d=4";

#[test]
fn a_part_of_an_unindexed_file_has_all_its_frames() {
    let scratch = Scratch::new();
    scratch.ffmpeg(&format!("{PICTURE} {SOUND} -c:v libx264 -g 50 -bf 0 -c:a aac in.ts"));
    scratch.ffmpeg(&format!("{PICTURE} -c:v libx264 -g 50 in.h264"));
    for (input, frames) in [("in.ts", 75), ("in.h264", 75)] {
        scratch.subpel(&format!("upscale {input} out.mkv --start 1 --overwrite {QUICK}")).ends(0);
        assert_eq!(scratch.times("out.mkv").len(), frames, "frames of {input} from 1 s on");
    }
}

#[test]
fn the_sound_of_a_part_is_as_long_as_its_pictures() {
    let scratch = Scratch::new();
    scratch.ffmpeg(&format!("{PICTURE} {SOUND} -c:v libx264 -bf 3 -c:a pcm_s16le in.mkv"));
    scratch.subpel(&format!("upscale in.mkv out.mkv --start 1 --frames 50 {QUICK}")).ends(0);
    let seconds = scratch.sound_seconds("out.mkv");
    assert!((seconds - 2.0).abs() < 0.06, "{seconds} s of sound beside 2 s of pictures");
}

#[test]
fn chapters_of_a_part_move_with_it() {
    let scratch = Scratch::new();
    let chapter = |start, end, title| format!("[CHAPTER]\nTIMEBASE=1/1000\nSTART={start}\nEND={end}\ntitle={title}\n");
    let text = [
        ";FFMETADATA1\n".to_owned(),
        chapter(0, 1500, "one"),
        chapter(1500, 2500, "two"),
        chapter(3500, 4000, "three"),
    ];
    scratch.write("chapters.txt", text.concat());
    scratch.ffmpeg(&format!("{PICTURE} -i chapters.txt -map 0 -map_metadata 1 -c:v libx264 in.mkv"));
    scratch.subpel(&format!("upscale in.mkv out.mkv --start 1 --frames 50 {QUICK}")).ends(0);
    let probe = scratch.probe("out.mkv");
    let found = list(&probe["chapters"]);
    let starts: Vec<f64> = found.iter().map(|c| number(&c["start_time"])).collect();
    assert_times(&starts, &[0.0, 0.5], 0.002, "chapters of 1 s to 3 s");
    assert_eq!(found[1]["tags"]["title"], "two", "title");
}

#[test]
fn a_cover_goes_with_a_part() {
    let scratch = Scratch::new();
    scratch.ffmpeg("-f lavfi -i color=red:s=32x32 -frames:v 1 cover.png");
    scratch.ffmpeg(&format!(
        "{PICTURE} -i cover.png -map 0 -map 1 -c:v:0 libx264 -c:v:1 png -disposition:v:1 attached_pic in.mp4"
    ));
    scratch.subpel(&format!("upscale in.mp4 out.mp4 --start 1 {QUICK}")).ends(0);
    assert_eq!(list(&scratch.probe("out.mp4")["streams"]).len(), 2, "picture and cover");
}

#[test]
fn containers_with_one_rate_get_the_rate() {
    let scratch = Scratch::new();
    scratch.ffmpeg(&format!("{PICTURE} -c:v libx264 in.mkv"));
    for output in ["out.y4m", "out.avi"] {
        let codec = if output == "out.y4m" { "wrapped_avframe" } else { "libx264" };
        scratch.subpel(&format!("upscale in.mkv {output} --codec {codec} {QUICK}")).ends(0);
        assert_eq!(scratch.stream(output, "video")["r_frame_rate"], "25/1", "{output}");
        assert_eq!(scratch.told_times(output).len(), 100, "{output}");
    }
}

#[test]
fn a_variable_rate_that_a_container_cannot_keep_is_reported() {
    let scratch = Scratch::new();
    let uneven = "-vf setpts='if(gte(N,3),N+7,N)/25/TB' -fps_mode vfr";
    scratch.ffmpeg(&format!("{PICTURE} -frames:v 6 {uneven} -c:v libx264 in.mkv"));
    scratch.subpel(&format!("upscale in.mkv out.y4m --codec wrapped_avframe {QUICK}")).ends(0);
    let strict = format!("upscale in.mkv strict.y4m --codec wrapped_avframe --strict {QUICK}");
    scratch.subpel(&strict).ends(73).says(&["strict.y4m", "variable frame rate"]);
    assert!(!scratch.names().contains(&"strict.y4m".to_owned()), "nothing is left of it");
}

#[test]
fn turned_pictures_keep_the_shape_of_their_pixels() {
    let scratch = Scratch::new();
    scratch.ffmpeg(&format!("{PICTURE} -frames:v 5 -vf setsar=4/3 -c:v libx264 flat.mp4"));
    scratch.ffmpeg("-i flat.mp4 -metadata:s:v rotate=90 -c copy in.mp4");
    scratch.subpel(&format!("upscale in.mp4 out.mkv {QUICK}")).ends(0);
    let stream = scratch.stream("out.mkv", "video");
    assert_eq!((number(&stream["width"]), number(&stream["height"])), (96.0, 128.0), "turned");
    assert_eq!(stream["sample_aspect_ratio"], "3:4", "pixels turned too");
}

#[test]
fn outputs_of_several_files_are_refused() {
    let scratch = Scratch::new();
    scratch.clip("in.mkv", "testsrc2=s=64x48:r=25", 3);
    let before = scratch.names();
    for output in ["out.m3u8", "out.mpd"] {
        scratch.subpel(&format!("upscale in.mkv {output} {QUICK}")).ends(2).says(&[output, "several files"]);
    }
    assert_eq!(scratch.names(), before, "no segments are left");
}

#[test]
fn impossible_numbers_are_refused_in_words() {
    let scratch = Scratch::new();
    scratch.clip("in.mkv", "testsrc2=s=64x48:r=25", 3);
    for arguments in [
        "upscale in.mkv out.mkv --start 1e30",
        "upscale in.mkv out.mkv --threads 5000000000",
        "upscale in.mkv out.mkv --max-pixels 4000000000",
        "metrics in.mkv in.mkv --crop 9223372036854775808",
    ] {
        scratch.subpel(arguments).ends(2);
    }
}
