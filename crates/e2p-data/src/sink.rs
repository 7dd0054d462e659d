//! Where a source puts what it reads: splits, drops duplicates, counts, and reports progress.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;

use crate::error::{DataError, Result};
use crate::example::{Example, ItemRecord, Prompt, Split, UserRecord};
use crate::hash::{hash_bytes, hash_parts, mix};
use crate::lines::{Encoding, LineReader};
use crate::observe::Observer;
use crate::options::PrepareOptions;
use crate::pseudo::PseudoUsers;
use crate::seen::Seen;
use crate::split::{Placement, SplitOptions, SplitRule};
use crate::unpack::Unpacked;
use crate::writer::DataDirWriter;

/// Takes what a source reads.
pub struct Sink<'a> {
    writer: DataDirWriter,
    options: &'a PrepareOptions,
    progress: Rc<RefCell<Progress<'a>>>,
    /// Flags: one bit for each split the user has examples in, and [`WRITTEN`].
    users: Seen,
    examples: Seen,
    pseudo: Option<PseudoUsers>,
    notes: Notes,
    used: Used,
}

/// Which options of the split have decided anything.
#[derive(Debug, Default)]
struct Used {
    shares: bool,
    from_train: bool,
}

const WRITTEN: u64 = 0b1000;

impl<'a> Sink<'a> {
    pub(crate) fn new(
        writer: DataDirWriter,
        options: &'a PrepareOptions,
        observer: &'a mut dyn Observer,
        total: u64,
    ) -> Self {
        let progress = Progress {
            done: 0,
            reported: 0,
            total,
            observer,
        };
        Self {
            writer,
            options,
            progress: Rc::new(RefCell::new(progress)),
            users: Seen::new(),
            examples: Seen::new(),
            pseudo: (options.pseudo_users > 0).then(PseudoUsers::default),
            notes: BTreeMap::new(),
            used: Used::default(),
        }
    }

    /// Opens an input as lines, unpacked, with progress.
    pub fn lines(&self, path: &Path, encoding: Encoding) -> Result<LineReader<Watched<'a>>> {
        let (file, max_bytes) = (self.watched(path)?, self.options.max_line_bytes);
        Ok(LineReader::new(path, file, encoding, max_bytes))
    }

    /// Opens an input as bytes, unpacked, with progress.
    pub fn open(&self, path: &Path) -> Result<Unpacked<Watched<'a>>> {
        self.watched(path).map(Unpacked::new)
    }

    fn watched(&self, path: &Path) -> Result<Watched<'a>> {
        let file = File::open(path).map_err(|source| DataError::io(path, "open", source))?;
        self.begin(path);
        Ok(Watched {
            file,
            progress: Rc::clone(&self.progress),
        })
    }

    /// Tells the observer that an input is read, by other means than [`open`](Self::open).
    pub fn begin(&self, path: &Path) {
        self.progress.borrow_mut().observer.input(path);
    }

    /// Longest line, quoted record or JSON element that is read.
    pub fn max_line_bytes(&self) -> usize {
        self.options.max_line_bytes
    }

    /// How the preparation splits, for sources that split their events themselves and say so with
    /// [`shares_decide`](Self::shares_decide).
    pub fn split_options(&self) -> &SplitOptions {
        &self.options.split
    }

    /// Says that the shares of validation and test have decided something.
    pub fn shares_decide(&mut self) {
        self.used.shares = true;
    }

    /// Tells the observer that something other than reading begins.
    pub fn stage(&self, name: &str) {
        self.progress.borrow_mut().observer.stage(name);
    }

    /// Writes an example into its split.
    pub fn example(&mut self, placement: Placement, example: &Example) -> Result<()> {
        let options = &self.options.split;
        match options.rule {
            SplitRule::User => self.used.shares = true,
            SplitRule::Source if placement.split.is_none() => self.used.shares = true,
            SplitRule::Source => self.used.from_train |= placement.split == Some(Split::Train),
            SplitRule::Time { .. } => {}
        }
        let Some(split) = options.assign(&example.user, placement) else {
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

    /// Says that no later example can repeat an earlier one, so that those are not remembered:
    /// sources that give users one by one save memory.
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

    /// The end of reading: pseudo-users, notes, and what was asked for and had no effect.
    pub(crate) fn finish(mut self, task: &'static str) -> Result<(DataDirWriter, Notes)> {
        let read = Split::ALL.map(|split| self.writer.counts().examples(split));
        if read == [0; 3] {
            return Err(DataError::NothingLeft {
                task,
                what: "example",
            });
        }
        self.check_use()?;
        self.add_pseudo_users(task)?;
        self.count_shared_users();
        Ok((self.writer, self.notes))
    }

    /// An option that differs from its default and has decided nothing is an error.
    fn check_use(&self) -> Result<()> {
        let (given, default) = (&self.options.split, SplitOptions::default());
        let unused = |option, found: f64, expected| {
            Err(DataError::InvalidOption {
                option,
                found: format!("{found}, which decides nothing here"),
                expected,
            })
        };
        let shares = "a share only where users decide (`--split-by-user`, or files that are not of \
                      one split) or where the latest events are held out";
        if !self.used.shares && given.valid != default.valid {
            return unused("valid", given.valid, shares);
        }
        if !self.used.shares && given.test != default.test {
            return unused("test", given.test, shares);
        }
        if !self.used.from_train && given.valid_from_train != default.valid_from_train {
            let expected = "a share only where a file is the training split";
            return unused("valid-from-train", given.valid_from_train, expected);
        }
        Ok(())
    }

    /// Writes the pseudo-users and their examples, into training whatever the rule of the split.
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
                what: "example for a pseudo-user (`pseudo-users` needs users with profile texts, and answers that state something and do not name an item)",
            });
        }
        self.note_many("examples of pseudo-users", made);
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

/// What was counted, by what it was.
pub(crate) type Notes = BTreeMap<String, u64>;

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
