//! The comparison page in a real browser: what moves, what links, what stays text, and that nothing leaves it.
//!
//! Without Chromium on the path these tests say so and pass. `SUBPEL_PAGE=FOLDER` writes the page, pictures of it in
//! both themes and widths, and its print there.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

mod browser;
mod sample;
#[path = "../support/mod.rs"]
mod support;

use browser::Browser;
use std::path::{Path, PathBuf};
use subpel::report::{Comparison, PAGE_LIMIT, page, page_size};
use support::{Scratch, skipped};

/// The file of a comparison, in `scratch`.
fn written(scratch: &Scratch, comparison: &Comparison) -> PathBuf {
    let mut bytes = Vec::new();
    page(comparison, &mut bytes).expect("the page is written");
    scratch.write("page.html", bytes);
    scratch.path("page.html")
}

/// Runs `check` on the page of what `comparison` makes, where there is a browser; afterwards nothing may have been asked for, and nothing gone wrong.
#[track_caller]
fn in_browser(comparison: impl FnOnce() -> Comparison, check: impl FnOnce(&mut Browser)) {
    let scratch = Scratch::new();
    if browser::installed().is_none() {
        skipped("no Chromium on the path");
        return;
    }
    let file = written(&scratch, &comparison());
    let mut browser = Browser::open(&file).expect("a browser");
    check(&mut browser);
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let own = format!("file://{}", file.display());
    let requests = browser.requests();
    assert!(requests.contains(&own), "{requests:?}");
    let foreign: Vec<&String> =
        requests.iter().filter(|url| !(url.starts_with(&own) || url.starts_with("data:"))).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}

const STAGE: &str = "#view-0 .stage";
const DIVIDER: &str = "#view-0 .divider";

fn split(browser: &mut Browser) -> f64 {
    let clip = browser.text("getComputedStyle(document.querySelector('#view-0 .pane.b')).clipPath");
    let percent = clip.rsplit(' ').next().and_then(|t| t.trim_end_matches(')').trim_end_matches('%').parse().ok());
    percent.unwrap_or_else(|| panic!("{clip}"))
}

/// How both pictures lie: as matrices, which must be equal.
#[track_caller]
fn views(browser: &mut Browser) -> String {
    let of = |side: &str| format!("getComputedStyle(document.querySelector('#view-0 .pane.{side} img')).transform");
    let (a, b) = (browser.text(&of("a")), browser.text(&of("b")));
    assert_eq!(a, b, "both halves lie alike");
    a
}

/// The first number of a matrix: dots a pixel.
fn scale(view: &str) -> f64 {
    view.trim_start_matches("matrix(").split(',').next().and_then(|t| t.parse().ok()).expect("a matrix")
}

#[test]
fn the_slider_moves_by_mouse_and_by_keys() {
    in_browser(sample::comparison, |browser| {
        assert_eq!(split(browser), 50.0);
        let [x, y, width, height] = browser.place(STAGE);
        let middle = (x + width / 2.0, y + height / 2.0);
        browser.drag(middle, (x + width * 0.2, middle.1));
        assert!((split(browser) - 20.0).abs() < 1.0, "{}", split(browser));
        assert_eq!(browser.text(&format!("document.querySelector('{DIVIDER}').getAttribute('aria-valuenow')")), "20");
        browser.focus(DIVIDER);
        let before = split(browser);
        for _ in 0..3 {
            browser.key("ArrowRight");
        }
        assert!((split(browser) - before - 6.0).abs() < 0.01);
        browser.key("End");
        assert_eq!(split(browser), 100.0);
        browser.mouse("mousePressed", x + width * 0.7, y + 30.0);
        browser.mouse("mouseReleased", x + width * 0.7, y + 30.0);
        assert!((split(browser) - 70.0).abs() < 1.0, "a click sets the border: {}", split(browser));
    });
}

#[test]
fn zoom_and_place_stay_in_step_in_both_halves() {
    in_browser(sample::comparison, |browser| {
        let whole = views(browser);
        let [x, y, width, height] = browser.place(STAGE);
        let (x, y) = (x + width * 0.3, y + height * 0.4);
        browser.wheel(x, y, -240.0);
        let wheeled = views(browser);
        assert!(scale(&wheeled) > 1.5 * scale(&whole), "{whole} {wheeled}");
        browser.drag((x, y), (x + 40.0, y + 25.0));
        let dragged = views(browser);
        assert!(dragged != wheeled && scale(&dragged) == scale(&wheeled), "{wheeled} {dragged}");
        browser.focus(STAGE);
        browser.key("ArrowRight");
        let keyed = views(browser);
        assert_ne!(keyed, dragged);
        browser.key("+");
        assert!(scale(&views(browser)) > scale(&keyed));
        for _ in 0..12 {
            browser.key("+");
        }
        assert_eq!(scale(&views(browser)), 32.0, "the largest zoom");
        let rendering = "getComputedStyle(document.querySelector('#view-0 .pane.a img')).imageRendering";
        assert_eq!(browser.text(rendering), "pixelated");
        browser.key("0");
        assert_eq!(views(browser), whole);
        browser.key("p");
        browser.key("+");
        assert!(scale(&views(browser)) < scale(&keyed), "side by side each has half the room");
        browser.key("s");
        browser.key("0");
        browser.touch("touchStart", &[(x - 20.0, y), (x + 20.0, y)]);
        browser.touch("touchMove", &[(x - 60.0, y), (x + 60.0, y)]);
        browser.touch("touchEnd", &[]);
        browser.settle();
        let pinched = scale(&views(browser)) / scale(&whole);
        assert!((2.0..4.0).contains(&pinched), "{pinched}");
    });
}

#[test]
fn plots_link_to_their_frames() {
    in_browser(sample::comparison, |browser| {
        browser.media(&[("prefers-reduced-motion", "reduce")], "");
        let frame = "Number(document.querySelector('#view-0 [data-choose=frame]').selectedOptions[0].text)";
        let message = "document.querySelector('#view-0 .message').textContent";
        let area = browser.text("document.querySelector('#test-0 .plot').dataset.area");
        let area: Vec<f64> = area.split(',').map(|t| t.parse().expect("a number")).collect();
        let frames = browser.text("document.querySelector('#test-0 .plot').dataset.frames");
        let last: f64 = frames.rsplit(',').next().and_then(|t| t.parse().ok()).expect("a frame");
        for (asked, shown) in [(20.0, 20.0), (26.0, 27.0)] {
            let [x, y, width, height] = browser.place("#test-0 .plot .canvas");
            let at = (x + width * (area[0] + (area[2] - area[0]) * asked / last), y + height / 2.0);
            browser.mouse("mouseMoved", at.0, at.1);
            browser.settle();
            let readout = browser.text("document.querySelector('#test-0 .plot .readout').innerText");
            assert!(readout.contains(&format!("Frame {asked}")) && readout.contains("map+builtin"), "{readout}");
            browser.mouse("mousePressed", at.0, at.1);
            browser.mouse("mouseReleased", at.0, at.1);
            browser.settle();
            assert_eq!(browser.number(frame), shown);
            assert!(browser.text(message).contains(&format!("rame {shown}")));
        }
        assert!(browser.text(message).contains("No pictures of frame 26"));
        browser.focus("#test-0 .plot .canvas");
        browser.key("Home");
        for _ in 0..12 {
            browser.key("ArrowRight");
        }
        browser.key("Enter");
        assert_eq!(browser.number(frame), 12.0);
        browser.click("#test-0 td .frame");
        assert_eq!(browser.number(frame), 20.0, "the worst frame, 19, has its nearest pictures at 20");
    });
}

#[test]
fn crops_open_their_place() {
    in_browser(sample::comparison, |browser| {
        let whole = views(browser);
        browser.click("#test-0 .crops .tile[data-name='lanczos']");
        assert_eq!(browser.text("document.querySelector('#view-0 .tag.b').textContent"), "lanczos");
        assert_eq!(browser.text("document.querySelector('#view-0 [data-choose=frame]').selectedOptions[0].text"), "12");
        assert!(scale(&views(browser)) > 1.5 * scale(&whole));
        browser.click(".example .tile");
        assert_eq!(browser.text("document.querySelector('#view-0 .tag.b').textContent"), "bicubic");
    });
}

#[test]
fn tables_sort_by_click_and_by_keys() {
    in_browser(sample::comparison, |browser| {
        let names = "[...document.querySelectorAll('#test-0 tbody th')].map(th => th.querySelector('.named').textContent).join()";
        assert_eq!(browser.text(names), sample::METHODS.join(","));
        browser.click("#test-0 thead th:nth-child(2) button");
        assert_eq!(browser.text(names), "map+builtin,map,none+builtin,lanczos,bicubic");
        assert_eq!(
            browser.text("document.querySelector('#test-0 thead th:nth-child(2)').getAttribute('aria-sort')"),
            "descending"
        );
        browser.focus("#test-0 thead th:nth-child(2) button");
        browser.key("Enter");
        assert_eq!(browser.text(names), "bicubic,lanczos,none+builtin,map,map+builtin");
        let best = "document.querySelectorAll('#test-0 tbody td.best').length";
        assert_eq!(browser.number(best), 11.0, "one in each of ten columns, and two methods share the least memory");
    });
}

#[test]
fn keys_choose_frames_pictures_ways_and_themes() {
    in_browser(sample::comparison, |browser| {
        let tag = |side: &str| format!("document.querySelector('#view-0 .tag.{side}').textContent");
        assert_eq!((browser.text(&tag("a")), browser.text(&tag("b"))), ("bicubic".into(), "map+builtin".into()));
        browser.key("6");
        browser.key_with("3", true);
        assert_eq!((browser.text(&tag("a")), browser.text(&tag("b"))), ("map".into(), "truth".into()));
        browser.key("x");
        assert_eq!((browser.text(&tag("a")), browser.text(&tag("b"))), ("truth".into(), "map".into()));
        browser.key(".");
        assert_eq!(browser.text("document.querySelector('#view-0 [data-choose=frame]').selectedOptions[0].text"), "12");
        let shown = "document.querySelector('#view-0 .stage').dataset.shown";
        browser.media(&[("prefers-color-scheme", "light"), ("prefers-reduced-motion", "reduce")], "");
        browser.key("b");
        assert_eq!(browser.text(shown), "a");
        browser.value("new Promise(done => setTimeout(done, 900))");
        assert_eq!(browser.text(shown), "a", "nothing moves by itself");
        browser.key(" ");
        assert_eq!(browser.text(shown), "b");
        browser.media(&[("prefers-color-scheme", "light")], "");
        browser.key("s");
        browser.key("b");
        browser.value("new Promise(done => setTimeout(done, 900))");
        assert_eq!(browser.text(shown), "b", "it blinks by itself");
        let ground = "getComputedStyle(document.body).backgroundColor";
        let light = browser.text(ground);
        browser.click("#theme");
        let dark = browser.text(ground);
        assert_ne!(light, dark);
        browser.key("t");
        assert_eq!(browser.text(ground), light);
        browser.key("?");
        assert_eq!(browser.value("document.getElementById('keys').open"), true);
        browser.key("Escape");
        assert_eq!(browser.value("document.getElementById('keys').open"), false);
        browser.click("#tab-2");
        assert_eq!(browser.value("document.getElementById('test-0').hidden"), true);
        browser.key("2");
        assert_eq!(browser.text("document.querySelector('#view-2 .tag.b').textContent"), "lanczos");
    });
}

const HOSTILE: [&str; 3] =
    ["</script><script>window.hit=1</script>", "<img src=x onerror=window.hit=2>", "\"'`&amp;{{ 7*7 }}🎞\u{202e}"];

/// The sample with names that would be markup or code if they were not text.
fn hostile() -> Comparison {
    let mut comparison = sample::comparison();
    for test in &mut comparison.tests {
        let rename = |name: &mut String| {
            if let Some(n) = sample::METHODS.iter().position(|m| m == name).filter(|n| *n < HOSTILE.len()) {
                HOSTILE[n].clone_into(name);
            }
        };
        test.methods.iter_mut().for_each(|m| rename(&mut m.name));
        let shown =
            test.shots.iter_mut().map(|s| &mut s.pictures).chain(test.crops.iter_mut().map(|c| &mut c.pictures));
        shown.flatten().for_each(|(name, _)| rename(name));
        test.methods[3].failed = Some("</td><script>window.hit=3</script>".to_owned());
        test.title.push_str("<b>");
    }
    comparison.advice.method = HOSTILE[0].to_owned();
    comparison.advice.reasons.push("<svg onload=window.hit=4>".to_owned());
    comparison.input.name = "</title><script>window.hit=5</script>".to_owned();
    comparison
}

#[test]
fn hostile_names_stay_text() {
    in_browser(hostile, |browser| {
        assert!(browser.value("window.hit").is_null());
        let row = |n: usize| {
            format!("document.querySelectorAll('#test-0 tbody th')[{n}].querySelector('.named').textContent")
        };
        for (n, name) in HOSTILE.iter().enumerate() {
            assert_eq!(browser.text(&row(n)), *name);
        }
        assert_eq!(browser.text("document.querySelector('#advice-method').textContent"), HOSTILE[0]);
        assert_eq!(browser.text("document.querySelector('#view-0 .tag.b').textContent"), HOSTILE[0]);
        browser.focus("#test-0 .plot .canvas");
        browser.key("ArrowRight");
        browser.key("Enter");
        assert!(browser.value("window.hit").is_null());
        assert_eq!(
            browser.text("document.querySelector('#test-0 .failed .why').textContent"),
            "No result: </td><script>window.hit=3</script>"
        );
    });
}

#[test]
fn without_pictures_and_with_one_method_the_page_is_whole() {
    in_browser(
        || sample::figures_only(1, 1),
        |browser| {
            assert_eq!(browser.number("document.querySelectorAll('.viewer, .crops, .tabs, .advice').length"), 0.0);
            assert_eq!(browser.number("document.querySelectorAll('tbody tr').length"), 1.0);
            browser.click(".plot .canvas");
            browser.key("b");
            browser.key("3");
        },
    );
}

#[test]
fn the_page_fits_phones_and_desks() {
    in_browser(sample::comparison, |browser| {
        for width in [360, 390, 768, 1280, 1900] {
            browser.size(width, 800);
            for tab in 0..3 {
                browser.click(&format!("#tab-{tab}"));
                let over =
                    browser.number("document.documentElement.scrollWidth - document.documentElement.clientWidth");
                assert_eq!(over, 0.0, "{width} wide, test {tab}");
            }
        }
    });
}

#[test]
fn on_paper_everything_is_there_but_what_moves() {
    in_browser(sample::comparison, |browser| {
        browser.click("#theme");
        browser.media(&[], "print");
        let shown = |selector: &str| {
            format!("[...document.querySelectorAll('{selector}')].filter(e => e.getClientRects().length > 0).length")
        };
        for (selector, count) in
            [(".test", 3.0), ("table", 3.0), (".crops .tile", 60.0), (".viewer, .copy, .tabs, .tools", 0.0)]
        {
            assert_eq!(browser.number(&shown(selector)), count, "{selector}");
        }
        assert_eq!(browser.text("getComputedStyle(document.body).backgroundColor"), "rgb(255, 255, 255)");
        assert!(browser.pdf().starts_with(b"%PDF"));
    });
}

#[test]
fn the_policy_refuses_every_request() {
    let scratch = Scratch::new();
    if browser::installed().is_none() {
        return skipped("no Chromium on the path");
    }
    let mut browser = Browser::open(&written(&scratch, &sample::figures_only(2, 30))).expect("a browser");
    let refused = "(async () => { try { await fetch('http://127.0.0.1:9/'); return 'sent'; } catch (e) { return 'refused'; } })()";
    assert_eq!(browser.text(refused), "refused");
    let outside = "new Promise(done => { const image = new Image(); image.onerror = () => done('refused'); image.onload = () => done('sent'); image.src = 'http://127.0.0.1:9/x.png'; })";
    assert_eq!(browser.text(outside), "refused");
    let complaints = browser.complaints();
    assert!(complaints.iter().filter(|c| c.contains("Content Security Policy")).count() >= 2, "{complaints:?}");
}

#[test]
fn five_thousand_frames_of_ten_methods_stay_small() {
    let comparison = sample::figures_only(10, 5000);
    let size = page_size(&comparison).expect("a size");
    let mut bytes = Vec::new();
    page(&comparison, &mut bytes).expect("the page is written");
    assert_eq!(bytes.len() as u64, size);
    assert!(size < PAGE_LIMIT / 10, "{size} bytes");
    in_browser(
        || comparison,
        |browser| {
            browser.click(".plot .canvas");
            assert!(browser.text("document.querySelector('.plot .readout').innerText").contains("method-9"));
        },
    );
}

#[test]
fn pictures_of_the_page_for_looking_at() {
    let Some(folder) = std::env::var_os("SUBPEL_PAGE") else { return };
    let folder = Path::new(&folder);
    let scratch = Scratch::new();
    let file = written(&scratch, &sample::comparison());
    std::fs::copy(&file, folder.join("page.html")).expect("copied");
    let Some(mut browser) = Browser::open(&file) else { return skipped("no Chromium on the path") };
    for (width, height) in [(1280, 800), (390, 844)] {
        browser.size(width, height);
        for theme in ["light", "dark"] {
            browser.media(&[("prefers-color-scheme", theme)], "");
            browser.value("scrollTo(0, 0)");
            browser.settle();
            let write = |name: String, bytes: Vec<u8>| std::fs::write(folder.join(name), bytes).expect("written");
            write(format!("{width}-{theme}-first.png"), browser.screenshot(false));
            write(format!("{width}-{theme}-all.png"), browser.screenshot(true));
        }
    }
    std::fs::write(folder.join("page.pdf"), browser.pdf()).expect("written");
}
