//! A real browser without a window, driven through its own protocol (Chrome DevTools) over a web socket.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tungstenite::{Message, WebSocket};

const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
/// Longest wait for an answer, on a machine that is busy with other tests.
const LONGEST: Duration = Duration::from_secs(90);

/// A browser with one page.
pub(crate) struct Browser {
    program: Child,
    socket: WebSocket<TcpStream>,
    session: Option<String>,
    calls: u64,
    events: Vec<Value>,
    _profile: TempDir,
}

impl Browser {
    /// A browser with `file` open in a window of 1280 x 800, or nothing where no browser is installed.
    pub(crate) fn open(file: &Path) -> Option<Self> {
        let profile = tempfile::tempdir().expect("temporary folder");
        let program = start(profile.path())?;
        let mut browser = Self {
            socket: connect(profile.path()),
            program,
            session: None,
            calls: 0,
            events: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attached =
            browser.call("Target.attachToTarget", json!({ "targetId": target["targetId"], "flatten": true }));
        browser.session = Some(attached["sessionId"].as_str().expect("a session").to_owned());
        for domain in ["Page", "Runtime", "Network", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.size(1280, 800);
        browser.media(&[("prefers-color-scheme", "light")], "");
        browser.visit(file);
        Some(browser)
    }

    /// Opens a file and waits until it is loaded.
    pub(crate) fn visit(&mut self, file: &Path) {
        let loaded = self.count("Page.loadEventFired");
        self.call("Page.navigate", json!({ "url": format!("file://{}", file.display()) }));
        let start = Instant::now();
        while self.count("Page.loadEventFired") == loaded {
            assert!(start.elapsed() < LONGEST, "{} is not loaded", file.display());
            self.settle();
        }
    }

    fn count(&self, event: &str) -> usize {
        self.events.iter().filter(|e| e["method"] == event).count()
    }

    /// Sends a command and waits for its answer; events that come meanwhile are kept.
    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.calls += 1;
        let mut message = json!({ "id": self.calls, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.socket.send(Message::text(message.to_string())).expect("the browser listens");
        loop {
            let text = self.read();
            let Ok(answer) = serde_json::from_str::<Value>(text.to_text().unwrap_or("")) else { continue };
            if answer["id"] == self.calls {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
            self.events.push(answer);
        }
    }

    /// The next message. Signals of the test's other children may interrupt the wait.
    fn read(&mut self) -> Message {
        loop {
            match self.socket.read() {
                Err(tungstenite::Error::Io(cause)) if cause.kind() == std::io::ErrorKind::Interrupted => {}
                answer => return answer.expect("the browser answers"),
            }
        }
    }

    /// The value of an expression in the page; promises are waited for.
    #[track_caller]
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let result = self.call("Runtime.evaluate", parameters);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {}", result["exceptionDetails"]);
        result["result"]["value"].clone()
    }

    #[track_caller]
    pub(crate) fn text(&mut self, expression: &str) -> String {
        let value = self.value(expression);
        value.as_str().unwrap_or_else(|| panic!("{expression} is {value}, no text")).to_owned()
    }

    #[track_caller]
    pub(crate) fn number(&mut self, expression: &str) -> f64 {
        let value = self.value(expression);
        value.as_f64().unwrap_or_else(|| panic!("{expression} is {value}, no number"))
    }

    /// Waits until two pictures of the screen were made, so that what was asked for has happened.
    pub(crate) fn settle(&mut self) {
        let frames = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))";
        self.value(frames);
    }

    /// Width and height of the window.
    pub(crate) fn size(&mut self, width: u32, height: u32) {
        let parameters = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", parameters);
    }

    /// What media queries find: features by name, and `print` or nothing.
    pub(crate) fn media(&mut self, features: &[(&str, &str)], media: &str) {
        let features: Vec<Value> =
            features.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        self.call("Emulation.setEmulatedMedia", json!({ "media": media, "features": features }));
    }

    /// Left, top, width and height in the window of what a selector finds first, scrolled into sight.
    #[track_caller]
    pub(crate) fn place(&mut self, selector: &str) -> [f64; 4] {
        let find = format!(
            "(() => {{ const found = document.querySelector({selector:?}); \
             found.scrollIntoView({{ block: 'center', behavior: 'instant' }}); \
             const box = found.getBoundingClientRect(); return [box.left, box.top, box.width, box.height]; }})()"
        );
        let found = self.value(&find);
        [0, 1, 2, 3].map(|n| found[n].as_f64().expect("a place"))
    }

    /// A mouse event at a place of the window: `mouseMoved`, `mousePressed`, `mouseReleased`.
    pub(crate) fn mouse(&mut self, kind: &str, x: f64, y: f64) {
        let (button, held) = match kind {
            "mousePressed" => ("left", 1),
            "mouseReleased" => ("left", 0),
            _ => ("none", 0),
        };
        let parameters = json!({ "type": kind, "x": x, "y": y, "button": button, "buttons": held, "clickCount": 1 });
        self.call("Input.dispatchMouseEvent", parameters);
    }

    /// Presses the mouse, moves it in steps and lets go.
    pub(crate) fn drag(&mut self, from: (f64, f64), to: (f64, f64)) {
        self.mouse("mouseMoved", from.0, from.1);
        self.mouse("mousePressed", from.0, from.1);
        for step in 1..=5 {
            let part = f64::from(step) / 5.0;
            let at = |from: f64, to: f64| from + part * (to - from);
            let parameters = json!({ "type": "mouseMoved", "x": at(from.0, to.0), "y": at(from.1, to.1), "button": "left", "buttons": 1 });
            self.call("Input.dispatchMouseEvent", parameters);
        }
        self.mouse("mouseReleased", to.0, to.1);
        self.settle();
    }

    pub(crate) fn wheel(&mut self, x: f64, y: f64, down: f64) {
        self.mouse("mouseMoved", x - 4.0, y);
        self.mouse("mouseMoved", x, y);
        let parameters = json!({ "type": "mouseWheel", "x": x, "y": y, "deltaX": 0, "deltaY": down });
        self.call("Input.dispatchMouseEvent", parameters);
        self.settle();
    }

    /// Fingers on the screen: `touchStart`, `touchMove`, `touchEnd`.
    pub(crate) fn touch(&mut self, kind: &str, fingers: &[(f64, f64)]) {
        let points: Vec<Value> =
            fingers.iter().enumerate().map(|(id, (x, y))| json!({ "x": x, "y": y, "id": id })).collect();
        self.call("Input.dispatchTouchEvent", json!({ "type": kind, "touchPoints": points }));
    }

    #[track_caller]
    pub(crate) fn click(&mut self, selector: &str) {
        let [x, y, width, height] = self.place(selector);
        let (x, y) = (x + width / 2.0, y + height / 2.0);
        self.mouse("mouseMoved", x, y);
        self.mouse("mousePressed", x, y);
        self.mouse("mouseReleased", x, y);
        self.settle();
    }

    #[track_caller]
    pub(crate) fn focus(&mut self, selector: &str) {
        self.value(&format!("document.querySelector({selector:?}).focus()"));
    }

    /// Presses a key by its name (`ArrowLeft`) or letter; upper case and `?` with Shift.
    pub(crate) fn key(&mut self, key: &str) {
        self.key_with(key, key == "?");
    }

    pub(crate) fn key_with(&mut self, key: &str, shift: bool) {
        let code = match key {
            _ if key.len() == 1 && key.as_bytes()[0].is_ascii_digit() => format!("Digit{key}"),
            _ => key.to_owned(),
        };
        let number = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            _ => 0,
        };
        let modifiers = if shift { 8 } else { 0 };
        let text = if key == "Enter" {
            "\r"
        } else if key.len() == 1 {
            key
        } else {
            ""
        };
        let down = json!({ "type": "keyDown", "key": key, "code": code, "text": text, "modifiers": modifiers, "windowsVirtualKeyCode": number });
        self.call("Input.dispatchKeyEvent", down);
        self.call("Input.dispatchKeyEvent", json!({ "type": "keyUp", "key": key, "code": code }));
        self.settle();
    }

    /// Everything the page asked the browser for, as addresses.
    pub(crate) fn requests(&mut self) -> Vec<String> {
        self.settle();
        let sent = self.events.iter().filter(|e| e["method"] == "Network.requestWillBeSent");
        sent.filter_map(|e| e["params"]["request"]["url"].as_str().map(str::to_owned)).collect()
    }

    /// Errors and warnings of the page: exceptions, messages of scripts and of the browser.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        self.settle();
        let complaint = |event: &Value| {
            let parameters = &event["params"];
            let bad = match event["method"].as_str()? {
                "Runtime.exceptionThrown" => true,
                "Runtime.consoleAPICalled" => ["error", "warning", "assert"].contains(&parameters["type"].as_str()?),
                "Log.entryAdded" => ["error", "warning"].contains(&parameters["entry"]["level"].as_str()?),
                _ => false,
            };
            bad.then(|| parameters.to_string())
        };
        self.events.iter().filter_map(complaint).collect()
    }

    /// A PNG of the window, or of the whole page.
    pub(crate) fn screenshot(&mut self, whole: bool) -> Vec<u8> {
        let parameters = json!({ "format": "png", "captureBeyondViewport": whole, "optimizeForSpeed": true });
        let mut parameters = parameters;
        if whole {
            let metrics = self.call("Page.getLayoutMetrics", json!({}));
            let size = &metrics["cssContentSize"];
            parameters["clip"] =
                json!({ "x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1 });
        }
        let picture = self.call("Page.captureScreenshot", parameters);
        STANDARD.decode(picture["data"].as_str().expect("a picture")).expect("base64")
    }

    /// The page on paper, as a PDF.
    pub(crate) fn pdf(&mut self) -> Vec<u8> {
        let parameters =
            json!({ "preferCSSPageSize": true, "paperWidth": 8.27, "paperHeight": 11.69, "printBackground": false });
        let printed = self.call("Page.printToPDF", parameters);
        STANDARD.decode(printed["data"].as_str().expect("a document")).expect("base64")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

fn start(profile: &Path) -> Option<Child> {
    let program = installed()?;
    let mut command = Command::new(program);
    command.arg(format!("--user-data-dir={}", profile.display()));
    // Without its sandbox, because that needs rights that containers withhold; it opens our own page only.
    command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
    command.args(["--disable-background-networking", "--remote-debugging-port=0", "--hide-scrollbars", "about:blank"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Some(command.spawn().expect("the browser starts"))
}

/// The browser's program, if there is one on the path.
pub(crate) fn installed() -> Option<PathBuf> {
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    NAMES.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|path| path.is_file())
}

/// The socket whose port and path the browser writes into its profile once it listens.
fn connect(profile: &Path) -> WebSocket<TcpStream> {
    let told = profile.join("DevToolsActivePort");
    let start = Instant::now();
    let (port, path) = loop {
        assert!(start.elapsed() < LONGEST, "the browser does not say where it listens");
        let text = fs::read_to_string(&told).unwrap_or_default();
        if let Some((port, path)) = text.split_once('\n').filter(|(_, path)| path.starts_with('/'))
            && let Ok(port) = port.parse::<u16>()
        {
            break (port, path.to_owned());
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the browser listens");
    stream.set_read_timeout(Some(LONGEST)).expect("a limit");
    let limits = tungstenite::protocol::WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    let address = format!("ws://127.0.0.1:{port}{path}");
    tungstenite::client::client_with_config(address, stream, Some(limits)).expect("the browser speaks").0
}
