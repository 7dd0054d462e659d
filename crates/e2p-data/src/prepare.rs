//! From a source to a data directory, and the fingerprints of the inputs, all while streaming.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use sha2::{Digest, Sha256};

use crate::data_dir::{DataDir, DatasetInfo, InputFile};
use crate::error::{DataError, Result};
use crate::observe::Observer;
use crate::options::PrepareOptions;
use crate::sink::Sink;
use crate::source::{Source, recorded};
use crate::split::SplitRule;
use crate::writer::DataDirWriter;

/// Reads `source` and writes the data directory `out`, whole or not at all.
pub fn prepare(
    source: &dyn Source,
    out: impl AsRef<Path>,
    options: &PrepareOptions,
    observer: &mut dyn Observer,
) -> Result<DataDir> {
    options.split.validate()?;
    check(source, options)?;
    let inputs = source.inputs();
    let mut total = 0;
    for path in &inputs {
        total += path
            .metadata()
            .map_err(|error| DataError::io(path, "open", error))?
            .len();
    }
    let fingerprints = fingerprint_all(inputs);
    let writer = DataDirWriter::create(out, options.overwrite)?;
    let mut sink = Sink::new(writer, options, observer, total);
    source.read(&mut sink)?;
    let inputs = fingerprints
        .join()
        .expect("fingerprinting returns its errors")?;
    let about = source.info();
    let (writer, notes) = sink.finish(about.task)?;
    let mut recorded_options = recorded(options);
    recorded_options.extend(source.options());
    let said = |own: &Option<String>, source: &str| own.as_deref().unwrap_or(source).to_owned();
    let info = DatasetInfo {
        name: said(&options.about.name, about.name),
        task: about.task.to_owned(),
        licence: said(&options.about.licence, about.licence),
        citation: said(&options.about.citation, about.citation),
        use_limits: said(&options.about.use_limits, about.use_limits),
        inputs,
        options: recorded_options,
        notes,
        ..DatasetInfo::default()
    };
    writer.finish(info)
}

/// Refuses what the source cannot follow.
fn check(source: &dyn Source, options: &PrepareOptions) -> Result<()> {
    let (task, can) = (source.info().task, source.abilities());
    let refuse = |option, found: String, expected| {
        Err(DataError::InvalidOption {
            option,
            found: format!("{found} for `{task}`"),
            expected,
        })
    };
    if options.pseudo_users > 0 && !can.pseudo_users {
        let expected = "0: its answers name items, and say nothing of their user";
        return refuse("pseudo-users", options.pseudo_users.to_string(), expected);
    }
    if matches!(options.split.rule, SplitRule::Time { .. }) && !can.times {
        return refuse("test-from", "given".to_owned(), "nothing: it has no times");
    }
    if options.split.valid_from_train > 0.0 && !can.files_of_splits {
        let found = options.split.valid_from_train.to_string();
        return refuse("valid-from-train", found, "0: its files are of no split");
    }
    Ok(())
}

/// Hashes the inputs beside the reading, which leaves them in the page cache for each other.
fn fingerprint_all(paths: Vec<PathBuf>) -> JoinHandle<Result<Vec<InputFile>>> {
    thread::spawn(move || paths.iter().map(|path| fingerprint(path)).collect())
}

/// Size and SHA-256 of a file.
pub fn fingerprint(path: &Path) -> Result<InputFile> {
    use std::fmt::Write as _;
    let io_error = |source| DataError::io(path, "read", source);
    let mut file = File::open(path).map_err(io_error)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer).map_err(io_error)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        bytes += read as u64;
    }
    let mut sha256 = String::with_capacity(64);
    for byte in hash.finalize() {
        write!(sha256, "{byte:02x}").expect("writing to a string");
    }
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    Ok(InputFile {
        name,
        bytes,
        sha256,
    })
}
