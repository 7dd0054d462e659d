//! What every target does with its bytes: files in one directory of the process, then a preparation
//! that must end in an error or a valid directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use e2p_data::{DataError, MAX_PROBLEMS, Overwrite, PrepareOptions, Source, prepare};

/// One directory for the process, rewritten by every input.
pub fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("e2p-fuzz-data-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("the temporary directory is writable");
        folder
    })
}

/// Puts `bytes` into a file of that name.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory().join(name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).expect("the temporary directory is writable");
    }
    fs::write(&path, bytes).expect("the temporary directory is writable");
    path
}

/// Splits an input at its first zero byte, so that one input can be two files.
pub fn two(bytes: &[u8]) -> (&[u8], &[u8]) {
    let split = bytes.iter().position(|byte| *byte == 0);
    let (first, rest) = bytes.split_at(split.unwrap_or(bytes.len()));
    (first, rest.get(1..).unwrap_or_default())
}

/// Prepares: an error says something and lists no more problems than promised; a directory that was
/// written is valid.
pub fn check(source: Result<impl Source, DataError>) {
    let options = PrepareOptions {
        overwrite: Overwrite::Replace,
        ..PrepareOptions::default()
    };
    let out = directory().join("data");
    match source.and_then(|source| prepare(&source, &out, &options, &mut ())) {
        Ok(data) => data.validate().expect("what was written is valid"),
        Err(error) => {
            if let DataError::BadInput { problems, .. } = &error {
                assert!((1..=MAX_PROBLEMS).contains(&problems.len()));
            }
            assert!(!error.to_string().is_empty());
        }
    }
}

/// The fuzzer ends at any panic; those of the Parquet reader become errors and are let pass.
pub fn let_caught_panics_pass() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !e2p_data::is_catching_panics() {
            hook(info);
        }
    }));
}
