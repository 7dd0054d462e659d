//! `report.html` in a real browser: where headless Chromium is installed, and said aloud where it
//! is not.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::process::Command;

use common::evaluation::{evaluated, quick};
use common::{Small, open};
use e2p_train::{EvalOptions, Silent, Start, train};

const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// What the page says about itself once it is laid out: its title carries the figures.
const PROBE: &str = "<script>addEventListener('load', () => {
  const root = document.documentElement;
  const wide = [...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll') && e.getBoundingClientRect().right > innerWidth + 1);
  const fetched = performance.getEntriesByType('resource').length;
  root.textContent = 'PRO' + 'BE' + JSON.stringify([innerWidth, root.scrollWidth, wide.map(e => e.outerHTML.slice(0, 80)), fetched]) + 'E' + 'ND';
});</script>";

fn browser() -> Option<&'static str> {
    BROWSERS.into_iter().find(|name| {
        Command::new(name)
            .arg("--version")
            .output()
            .is_ok_and(|out| out.status.success())
    })
}

/// The document after it was loaded in a window of `width`, and the browser's log.
fn load(browser: &str, page: &Path, width: usize, dir: &Path) -> (String, String) {
    let out = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
        ])
        .args([
            "--enable-logging=stderr",
            "--virtual-time-budget=2000",
            "--dump-dom",
        ])
        .arg(format!("--window-size={width},900"))
        .arg(format!(
            "--user-data-dir={}",
            dir.join(format!("profile-{width}")).display()
        ))
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    (
        String::from_utf8_lossy(&out.stdout).into_owned(),
        String::from_utf8_lossy(&out.stderr).into_owned(),
    )
}

#[test]
fn the_page_fits_a_phone_fetches_nothing_and_has_no_error() {
    let Some(browser) = browser() else {
        #[allow(clippy::print_stderr, reason = "a skipped test says so")]
        {
            eprintln!("skipped: no Chromium is installed");
        }
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let recipe = Small::tiny().write(
        dir.path(),
        &["train.max_steps=4", "train.eval_every=2", "optim.lr=0.1"],
    );
    let inputs = open(&recipe);
    let run = dir.path().join("run");
    train(&recipe, &inputs, &run, Start::Fresh, &mut Silent).unwrap();
    let options = EvalOptions {
        embedding_noise: vec![0.0, 1.0, 4.0],
        generate: 6,
        ..quick()
    };
    evaluated(&run, &inputs, &options).write(&run).unwrap();
    let page = std::fs::read_to_string(run.join("report.html")).unwrap();
    for part in [
        "Conditions",
        "Gain over the bare backbone",
        "Comparisons",
        "Who is helped",
        "Training",
        "Drift",
        "different users",
        "What it costs",
        "Where this comes from",
    ] {
        assert!(page.contains(part), "{part}");
    }
    // A frame of its own width, because a headless window has a least one.
    let probed = run.join("probed.html");
    std::fs::write(&probed, page.replace("</body>", &format!("{PROBE}</body>"))).unwrap();
    for width in [390, 1200] {
        let frame = run.join("frame.html");
        let inner = "const t = setInterval(() => { const d = document.querySelector('iframe').contentDocument.documentElement; \
                     if (d.textContent.startsWith('PRO' + 'BE[')) { clearInterval(t); document.title = 'x'; document.body.textContent = d.textContent; } }, 20)";
        let text = format!(
            "<title>f</title><link rel=icon href=data:,><body style='margin:0'><iframe width={width} height=900 style='border:0' srcdoc=\"{}\"></iframe><script>{inner}</script>",
            std::fs::read_to_string(&probed)
                .unwrap()
                .replace('&', "&amp;")
                .replace('"', "&quot;")
        );
        std::fs::write(&frame, text).unwrap();
        let (dom, log) = load(browser, &frame, 1300, dir.path());
        let found = dom
            .split_once("PROBE")
            .and_then(|(_, rest)| rest.split_once("END"))
            .unwrap_or_else(|| panic!("{dom}\n{log}"))
            .0;
        let found: serde_json::Value = serde_json::from_str(
            &found
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&amp;", "&"),
        )
        .unwrap();
        assert_eq!(found[0], width);
        assert!(
            found[1].as_u64().unwrap() <= width as u64,
            "wider than the window: {found}"
        );
        assert_eq!(
            found[2].as_array().unwrap().len(),
            0,
            "wider than the window: {found}"
        );
        assert_eq!(found[3], 0, "nothing is fetched: {found}");
        assert!(!log.contains("CONSOLE"), "{log}");
    }
}
