//! Files of a test, and what a source makes of them.
#![allow(unreachable_pub, clippy::unwrap_used, dead_code)]

use std::fs;
use std::path::{Path, PathBuf};

use e2p_data::{
    DataDir, Example, Input, PrepareOptions, Result, Source, Split, UserRecord, prepare,
};
use tempfile::TempDir;

/// A directory with these files, which may lie in folders of it.
pub fn files(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    directory
}

/// A committed fixture.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

pub fn input(directory: &TempDir, name: &str) -> Input {
    Input::new(directory.path().join(name))
}

/// What the source writes, in a directory that lives as long as the first value.
pub fn prepared(source: &dyn Source, options: &PrepareOptions) -> Result<(TempDir, DataDir)> {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("data");
    match prepare(source, &out, options, &mut ()) {
        Ok(data) => {
            data.validate()?;
            Ok((directory, data))
        }
        Err(error) => {
            let left = fs::read_dir(directory.path()).unwrap().count();
            assert_eq!(left, 0, "something half-written is left: {error}");
            Err(error)
        }
    }
}

pub fn examples(data: &DataDir, split: Split) -> Vec<Example> {
    data.examples(split).unwrap().map(Result::unwrap).collect()
}

pub fn users(data: &DataDir) -> Vec<UserRecord> {
    data.users().unwrap().map(Result::unwrap).collect()
}

/// The message of a source that must fail, with nothing half-written.
#[track_caller]
pub fn refusal(source: &dyn Source) -> String {
    prepared(source, &PrepareOptions::default())
        .map(|(_, data)| data.info().counts)
        .unwrap_err()
        .to_string()
}
