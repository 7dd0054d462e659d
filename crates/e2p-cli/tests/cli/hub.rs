//! `--backbone org/name` against a server on this machine that speaks the hub's protocol, also
//! badly.
//!
//! The server is written by hand because it has to misbehave: cut a connection, damage a file,
//! vanish.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use sha2::{Digest, Sha256};

use crate::support::{e2p, golden, shown, stdout};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const WEIGHTS: &str = "model.safetensors";

/// What the server does wrong, once.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Closes the connection in the middle of the weights.
    Cut,
    /// Sends weights with one bit changed.
    Damage,
}

/// One request as the server saw it: target, `Range`, `Authorization`.
type Seen = (String, String, String);

/// A hub with the one repository `org/name`, a copy of a golden checkpoint; stops answering when
/// dropped.
struct Hub {
    endpoint: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    is_open: Arc<Mutex<bool>>,
}

impl Hub {
    fn start(fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let is_open = Arc::new(Mutex::new(true));
        let (log, open) = (Arc::clone(&seen), Arc::clone(&is_open));
        let fault = Arc::new(Mutex::new(fault));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if !*open.lock().unwrap() {
                    return;
                }
                let (log, fault) = (Arc::clone(&log), Arc::clone(&fault));
                // A client that goes away in the middle is no concern of the server.
                thread::spawn(move || drop(answer(stream.unwrap(), &log, &fault)));
            }
        });
        Self {
            endpoint,
            seen,
            is_open,
        }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        *self.is_open.lock().unwrap() = false;
        // Wakes the thread, which closes the listener.
        drop(TcpStream::connect(
            self.endpoint.trim_start_matches("http://"),
        ));
    }
}

/// Answers the requests of one connection.
fn answer(
    mut stream: TcpStream,
    log: &Mutex<Vec<Seen>>,
    fault: &Mutex<Fault>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let target = request.split(' ').nth(1).unwrap().to_owned();
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
        let (range, token) = (header("range"), header("authorization"));
        log.lock()
            .unwrap()
            .push((target.clone(), range.clone(), token.clone()));
        if token != "Bearer secret" {
            write!(
                stream,
                "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"
            )?;
        } else if target == "/api/models/org/name/revision/main" {
            let files: Vec<_> = fs::read_dir(golden("llama"))?
                .map(|entry| serde_json::json!({"rfilename": entry.unwrap().file_name().to_str()}))
                .collect();
            let body = serde_json::json!({"sha": COMMIT, "siblings": files}).to_string();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )?;
        } else if let Some(file) = target.strip_prefix("/org/name/resolve/main/") {
            let mut bytes = fs::read(golden("llama").join(file))?;
            // The hub names large files by SHA-256 and small ones by git's hash.
            let etag = if file == WEIGHTS {
                format!("{:x}", Sha256::digest(&bytes))
            } else {
                format!("{:0>40x}", bytes.len())
            };
            let (first, last) = range
                .strip_prefix("bytes=")
                .unwrap()
                .split_once('-')
                .unwrap();
            let first: usize = first.parse().unwrap();
            let end = last.parse::<usize>().map_or(bytes.len(), |last| last + 1);
            write!(
                stream,
                "HTTP/1.1 206 Partial Content\r\nx-repo-commit: {COMMIT}\r\netag: \"{etag}\"\r\n\
                 content-range: bytes {first}-{}/{}\r\ncontent-length: {}\r\n\r\n",
                end - 1,
                bytes.len(),
                end - first
            )?;
            let is_whole = file == WEIGHTS && last.is_empty();
            let now = if is_whole {
                std::mem::replace(&mut *fault.lock().unwrap(), Fault::None)
            } else {
                Fault::None
            };
            if now == Fault::Cut {
                stream.write_all(&bytes[first..bytes.len() / 2])?;
                return Ok(());
            }
            if now == Fault::Damage {
                let at = bytes.len() - 1;
                bytes[at] ^= 1;
            }
            stream.write_all(&bytes[first..end])?;
        } else {
            write!(
                stream,
                "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
            )?;
        }
        stream.flush()?;
    }
}

fn generate(endpoint: &str, cache: &Path, id: &str) -> Command {
    let mut command = e2p([
        "generate",
        "--quiet",
        "--prompt",
        "the user",
        "--max-new-tokens",
        "4",
        "--backbone",
        id,
    ]);
    command
        .env("HF_ENDPOINT", endpoint)
        .env("HF_TOKEN", "secret")
        .env("HF_HUB_CACHE", cache);
    command
}

#[test]
fn a_download_goes_on_where_it_was_cut_and_serves_later_runs_without_the_hub() {
    let cache = tempfile::tempdir().unwrap();
    let here = golden("llama");
    let local = stdout(&mut generate("", cache.path(), here.to_str().unwrap()));
    let hub = Hub::start(Fault::Cut);
    assert_eq!(
        stdout(&mut generate(&hub.endpoint, cache.path(), "org/name")),
        local
    );
    let half = fs::read(here.join(WEIGHTS)).unwrap().len() / 2;
    let ranges: Vec<String> = hub
        .seen()
        .into_iter()
        .filter(|(target, ..)| target.ends_with(WEIGHTS))
        .map(|(_, range, _)| range)
        .collect();
    assert_eq!(ranges, ["bytes=0-0", "bytes=0-", &format!("bytes={half}-")]);
    let files = hub.seen().len();
    assert_eq!(
        stdout(&mut generate(&hub.endpoint, cache.path(), "org/name")),
        local
    );
    assert_eq!(
        hub.seen().len(),
        files + 1,
        "the second run asks for the state only"
    );
    let endpoint = hub.endpoint.clone();
    drop(hub);
    assert_eq!(
        stdout(&mut generate(&endpoint, cache.path(), "org/name")),
        local
    );
    let mut offline = generate("http://127.0.0.1:9", cache.path(), "org/name");
    assert_eq!(stdout(offline.env("HF_HUB_OFFLINE", "1")), local);
}

#[test]
fn a_damaged_file_is_refused_and_does_not_stay() {
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub::start(Fault::Damage);
    let text = shown(&mut generate(&hub.endpoint, cache.path(), "org/name"), &[]);
    assert!(
        text.starts_with("exit: 2") && text.contains("SHA-256") && text.contains("`org/name`"),
        "{text}"
    );
    stdout(&mut generate(&hub.endpoint, cache.path(), "org/name"));
}

#[test]
fn what_the_hub_refuses_and_what_cannot_be_reached_are_told_apart() {
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub::start(Fault::None);
    let unknown = shown(&mut generate(&hub.endpoint, cache.path(), "org/other"), &[]);
    assert!(
        unknown.starts_with("exit: 2") && unknown.contains("the hub refuses `org/other`"),
        "{unknown}"
    );
    let mut without_token = generate(&hub.endpoint, cache.path(), "org/name");
    let without_token = shown(
        without_token
            .env_remove("HF_TOKEN")
            .env("HF_HOME", cache.path()),
        &[],
    );
    assert!(
        without_token.contains("the hub refuses `org/name`") && without_token.contains("HF_TOKEN"),
        "{without_token}"
    );
    let endpoint = hub.endpoint.clone();
    drop(hub);
    let gone = shown(&mut generate(&endpoint, cache.path(), "org/name"), &[]);
    assert!(
        gone.starts_with("exit: 2") && gone.contains("cannot be reached"),
        "{gone}"
    );
    let mut offline = generate(&endpoint, cache.path(), "org/name");
    let offline = shown(offline.env("HF_HUB_OFFLINE", "1"), &[]);
    assert!(offline.contains("not in the cache"), "{offline}");
}
