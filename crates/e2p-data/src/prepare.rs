//! From a source to a data directory: splits, drops duplicates, counts, and fingerprints the inputs, all while streaming.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread::{self, JoinHandle};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::data_dir::{DataDir, DatasetInfo, InputFile};
use crate::error::{DataError, Result};
use crate::example::{Example, ItemRecord, Prompt, Split, UserRecord};
use crate::hash::{hash_bytes, hash_parts, mix};
use crate::lines::{Encoding, LineReader, MAX_LINE_BYTES};
use crate::observe::Observer;
use crate::pseudo::PseudoUsers;
use crate::seen::Seen;
use crate::source::{Source, recorded};
use crate::split::{Placement, SplitOptions};
use crate::writer::{DataDirWriter, Overwrite};

/// How any source is prepared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PrepareOptions {
    /// How examples are split.
    pub split: SplitOptions,
    /// Whether an example that repeats user, prompt and target of an earlier one of the same split is dropped.
    pub deduplicate: bool,
    /// Longest line or quoted record.
    pub max_line_bytes: usize,
    /// Made-up users for each training example: one text of their profile is a statement of the answer, the others are from elsewhere in the
    /// training split. They and their examples are added to it, as `pseudo-ROUND-EXAMPLE`.
    pub pseudo_users: u32,
    /// What the owner of the files says of them.
    #[serde(skip)]
    pub about: About,
    /// What to do when the output exists.
    #[serde(skip)]
    pub overwrite: Overwrite,
}

/// What the owner of the files says of them; it stands in `dataset.json` in place of what the source says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// Name of the data set.
    pub name: Option<String>,
    /// Its licence, in words.
    pub licence: Option<String>,
    /// What a publication should cite.
    pub citation: Option<String>,
    /// What the owners ask beyond that.
    pub use_limits: Option<String>,
}

impl Default for PrepareOptions {
    fn default() -> Self {
        Self {
            split: SplitOptions::default(),
            deduplicate: true,
            max_line_bytes: MAX_LINE_BYTES,
            pseudo_users: 0,
            about: About::default(),
            overwrite: Overwrite::Refuse,
        }
    }
}

/// Reads `source` and writes the data directory `out`, whole or not at all.
pub fn prepare(
    source: &dyn Source,
    out: impl AsRef<Path>,
    options: &PrepareOptions,
    observer: &mut dyn Observer,
) -> Result<DataDir> {
    options.split.validate()?;
    let inputs = source.inputs();
    let mut total = 0;
    for path in &inputs {
        total += path
            .metadata()
            .map_err(|error| DataError::io(path, "open", error))?
            .len();
    }
    let fingerprints = fingerprint_all(inputs);
    let mut sink = Sink {
        writer: DataDirWriter::create(out, options.overwrite)?,
        options,
        progress: Rc::new(RefCell::new(Progress {
            done: 0,
            reported: 0,
            total,
            observer,
        })),
        users: Seen::new(),
        examples: Seen::new(),
        pseudo: (options.pseudo_users > 0).then(PseudoUsers::default),
        notes: BTreeMap::new(),
    };
    source.read(&mut sink)?;
    let inputs = fingerprints
        .join()
        .expect("fingerprinting returns its errors")?;
    let about = source.info();
    if Split::ALL
        .iter()
        .all(|split| sink.writer.counts().examples(*split) == 0)
    {
        return Err(DataError::NothingLeft {
            task: about.task,
            what: "example",
        });
    }
    sink.add_pseudo_users(about.task)?;
    sink.count_shared_users();
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
        notes: sink.notes,
        ..DatasetInfo::default()
    };
    sink.writer.finish(info)
}

/// Takes what a source reads.
pub struct Sink<'a> {
    writer: DataDirWriter,
    options: &'a PrepareOptions,
    progress: Rc<RefCell<Progress<'a>>>,
    /// Flags: one bit for each split the user has examples in, and [`WRITTEN`].
    users: Seen,
    examples: Seen,
    pseudo: Option<PseudoUsers>,
    notes: BTreeMap<String, u64>,
}

const WRITTEN: u64 = 0b1000;

impl<'a> Sink<'a> {
    /// Opens an input as lines, with progress.
    pub fn lines(&self, path: &Path, encoding: Encoding) -> Result<LineReader<Watched<'a>>> {
        Ok(LineReader::new(
            path,
            self.open(path)?,
            encoding,
            self.options.max_line_bytes,
        ))
    }

    /// Opens an input as bytes, with progress.
    pub fn open(&self, path: &Path) -> Result<Watched<'a>> {
        let file = File::open(path).map_err(|source| DataError::io(path, "open", source))?;
        self.progress.borrow_mut().observer.input(path);
        Ok(Watched {
            file,
            progress: Rc::clone(&self.progress),
        })
    }

    /// Longest line, quoted record or JSON element that is read.
    pub fn max_line_bytes(&self) -> usize {
        self.options.max_line_bytes
    }

    /// How the preparation splits, for sources that split their events themselves.
    pub fn split_options(&self) -> &SplitOptions {
        &self.options.split
    }

    /// Tells the observer that something other than reading begins.
    pub fn stage(&self, name: &str) {
        self.progress.borrow_mut().observer.stage(name);
    }

    /// Writes an example into its split.
    pub fn example(&mut self, placement: Placement, example: &Example) -> Result<()> {
        let Some(split) = self.options.split.assign(&example.user, placement) else {
            return self.note("examples without a time left out");
        };
        if self.options.deduplicate {
            let parts = [example.user.as_str(), &example.target];
            let prompt = match &example.prompt {
                Prompt::Text(text) => hash_bytes(text.as_bytes()),
                Prompt::Chat(turns) => hash_parts(
                    turns
                        .iter()
                        .flat_map(|turn| [turn.role.as_str(), &turn.content]),
                ),
            };
            if !self
                .examples
                .insert(mix(hash_parts(parts) ^ prompt).wrapping_add(mix(split as u64)))
            {
                return self.note("duplicate examples dropped");
            }
        }
        self.users
            .flag(hash_bytes(example.user.as_bytes()), 1 << split.index());
        if split == Split::Train
            && let Some(pseudo) = &mut self.pseudo
        {
            pseudo.example(example);
        }
        self.writer.example(split, example)
    }

    /// Writes a user, unless they were written before; whether it was new.
    pub fn user(&mut self, user: &UserRecord) -> Result<bool> {
        let is_new = self.users.flag(hash_bytes(user.user.as_bytes()), WRITTEN) & WRITTEN == 0;
        if is_new {
            if let Some(pseudo) = &mut self.pseudo {
                pseudo.user(user);
            }
            self.writer.user(user)?;
        }
        Ok(is_new)
    }

    /// Writes an item. Sources give every item once.
    pub fn item(&mut self, item: &ItemRecord) -> Result<()> {
        self.writer.item(item)
    }

    /// Says that no later example can repeat an earlier one, so that those are not remembered: sources that give users one by one save memory.
    pub fn forget_examples(&mut self) {
        self.examples.clear();
    }

    /// Counts something that a reader of the directory should know.
    pub fn note(&mut self, what: &str) -> Result<()> {
        self.note_many(what, 1);
        Ok(())
    }

    /// Counts something `times`.
    pub fn note_many(&mut self, what: &str, times: u64) {
        if times > 0 {
            *self.notes.entry(what.to_owned()).or_default() += times;
        }
    }

    /// Writes the made-up users and their examples, into training whatever the rule of the split.
    fn add_pseudo_users(&mut self, task: &'static str) -> Result<()> {
        let Some(pseudo) = self.pseudo.take() else {
            return Ok(());
        };
        let mut made = 0;
        for (user, example) in pseudo.make(self.options.pseudo_users, self.options.split.seed) {
            made += 1;
            self.writer.user(&user)?;
            self.writer.example(Split::Train, &example)?;
        }
        if made == 0 {
            return Err(DataError::NothingLeft {
                task,
                what: "example to make users from (`pseudo-users` needs users with profile texts, and answers that state something and do not name an item)",
            });
        }
        self.note_many("examples of made-up users", made);
        Ok(())
    }

    fn count_shared_users(&mut self) {
        let shared = self
            .users
            .flags()
            .filter(|flags| (flags & !WRITTEN).count_ones() > 1)
            .count();
        self.note_many("users in more than one split", shared as u64);
    }
}

struct Progress<'a> {
    done: u64,
    reported: u64,
    total: u64,
    observer: &'a mut dyn Observer,
}

/// An input whose reading is reported to the observer.
pub struct Watched<'a> {
    file: File,
    progress: Rc<RefCell<Progress<'a>>>,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        const STEP: u64 = 1 << 20;
        let read = self.file.read(buffer)?;
        let progress = &mut *self.progress.borrow_mut();
        progress.done += read as u64;
        if progress.done >= progress.reported + STEP
            || (read == 0 && progress.done > progress.reported)
        {
            progress.reported = progress.done;
            progress.observer.progress(progress.done, progress.total);
        }
        Ok(read)
    }
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
