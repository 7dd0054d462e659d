//! Writes a data directory so that it is there whole or not at all.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tempfile::TempDir;

use crate::data_dir::{
    Counts, DATASET_FILE, DataDir, DatasetInfo, FORMAT_VERSION, ITEMS_FILE, USERS_FILE,
};
use crate::error::{DataError, Result};
use crate::example::{Example, ItemRecord, Split, UserRecord};

/// What to do when the output exists and is not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overwrite {
    /// Refuse.
    #[default]
    Refuse,
    /// Replace it once the new one is complete.
    Replace,
}

/// Writes a data directory into a temporary neighbour and renames it at the end.
///
/// Dropping the writer without [`finish`](Self::finish) removes what was written.
pub struct DataDirWriter {
    target: PathBuf,
    temporary: TempDir,
    examples: [JsonFile; 3],
    users: JsonFile,
    items: JsonFile,
}

impl DataDirWriter {
    /// Prepares to write `target`.
    pub fn create(target: impl AsRef<Path>, overwrite: Overwrite) -> Result<Self> {
        let target = target.as_ref().to_owned();
        if overwrite == Overwrite::Refuse && is_occupied(&target) {
            return Err(DataError::OutputExists { path: target });
        }
        let parent = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        fs::create_dir_all(&parent).map_err(|source| DataError::io(&parent, "create", source))?;
        let temporary = tempfile::Builder::new()
            .prefix(".e2p-data-")
            .tempdir_in(&parent)
            .map_err(|source| DataError::io(&parent, "write into", source))?;
        let [train, valid, test] =
            Split::ALL.map(|split| JsonFile::create(temporary.path(), split.file_name()));
        let users = JsonFile::create(temporary.path(), USERS_FILE)?;
        let items = JsonFile::create(temporary.path(), ITEMS_FILE)?;
        Ok(Self {
            target,
            examples: [train?, valid?, test?],
            users,
            items,
            temporary,
        })
    }

    /// Appends an example.
    pub fn example(&mut self, split: Split, example: &Example) -> Result<()> {
        self.examples[split.index()].write(example)
    }

    /// Appends a user.
    pub fn user(&mut self, user: &UserRecord) -> Result<()> {
        self.users.write(user)
    }

    /// Appends an item.
    pub fn item(&mut self, item: &ItemRecord) -> Result<()> {
        self.items.write(item)
    }

    /// Lines written so far.
    pub fn counts(&self) -> Counts {
        let [train, valid, test] = &self.examples;
        Counts {
            train: train.lines,
            valid: valid.lines,
            test: test.lines,
            users: self.users.lines,
            items: self.items.lines,
        }
    }

    /// Writes `dataset.json` with the true counts and format version, and puts the directory in its
    /// place.
    pub fn finish(self, mut info: DatasetInfo) -> Result<DataDir> {
        info.counts = self.counts();
        info.format_version = FORMAT_VERSION;
        let Self {
            target,
            temporary,
            examples,
            users,
            items,
        } = self;
        let keep_items = items.lines > 0;
        for file in examples.into_iter().chain([users, items]) {
            file.close()?;
        }
        if !keep_items {
            let path = temporary.path().join(ITEMS_FILE);
            fs::remove_file(&path).map_err(|source| DataError::io(&path, "remove", source))?;
        }
        let path = temporary.path().join(DATASET_FILE);
        let json =
            serde_json::to_string_pretty(&info).expect("the description has string keys only");
        fs::write(&path, json + "\n").map_err(|source| DataError::io(&path, "write", source))?;
        put_in_place(temporary, &target)?;
        DataDir::open(target)
    }
}

fn is_occupied(path: &Path) -> bool {
    match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => path.exists(),
    }
}

fn put_in_place(temporary: TempDir, target: &Path) -> Result<()> {
    let parent = temporary
        .path()
        .parent()
        .expect("it was made inside a directory")
        .to_owned();
    // The old directory steps aside first: if the rename then fails, it can step back.
    let aside = tempfile::Builder::new()
        .prefix(".e2p-old-")
        .tempdir_in(&parent)
        .map_err(|source| DataError::io(&parent, "write into", source))?;
    let old = aside.path().join("old");
    let had_old = target.exists();
    if had_old {
        fs::rename(target, &old).map_err(|source| DataError::io(target, "replace", source))?;
    }
    make_readable(temporary.path());
    if let Err(source) = fs::rename(temporary.path(), target) {
        if had_old {
            fs::rename(&old, target).map_err(|source| DataError::io(target, "restore", source))?;
        }
        return Err(DataError::io(target, "create", source));
    }
    // Its directory has a new name now, so there is nothing left to remove.
    let _ = temporary.keep();
    Ok(())
}

/// Temporary directories are private to their owner; the result should have the usual permissions.
#[cfg(unix)]
fn make_readable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    // Failing here leaves a private directory, which is no reason to lose the work.
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o755));
}

#[cfg(not(unix))]
fn make_readable(_path: &Path) {}

struct JsonFile {
    path: PathBuf,
    out: BufWriter<File>,
    lines: u64,
}

impl JsonFile {
    fn create(directory: &Path, name: &str) -> Result<Self> {
        let path = directory.join(name);
        let file = File::create(&path).map_err(|source| DataError::io(&path, "create", source))?;
        Ok(Self {
            path,
            out: BufWriter::with_capacity(1 << 18, file),
            lines: 0,
        })
    }

    fn write(&mut self, record: &impl Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.out, record)
            .map_err(|error| DataError::io(&self.path, "write", error.into()))?;
        self.out
            .write_all(b"\n")
            .map_err(|source| DataError::io(&self.path, "write", source))?;
        self.lines += 1;
        Ok(())
    }

    fn close(self) -> Result<()> {
        let Self { path, out, .. } = self;
        let file = out
            .into_inner()
            .map_err(|error| DataError::io(&path, "write", error.into_error()))?;
        file.sync_all()
            .map_err(|source| DataError::io(&path, "write", source))
    }
}
