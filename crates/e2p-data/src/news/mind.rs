//! MIND: which article a reader clicks next.
//!
//! Wu et al. 2020, <https://aclanthology.org/2020.acl-main.331>. A directory has `behaviors.tsv`
//! (impressions) and `news.tsv` (articles), tab-separated without a header; `MINDsmall_train` and
//! `MINDsmall_dev` are the usual two.
//!
//! # Examples
//! Every click of an impression is an example: the clicked article's title is the target, and the
//! candidates are the titles of the impression in its order without its other clicks. Profile and
//! history are the last 50 clicks before it. Impressions of the official test have no labels and
//! are left out, as are those of readers without a history.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::catalog::Catalog;
use super::words::first_words;
use crate::delimited::{Delimited, Quoting, Record};
use crate::error::{DataError, Result, excerpt};
use crate::example::{Example, Prompt, Split, UserRecord};
use crate::hash::hash_bytes;
use crate::lines::{Encoding, Problems};
use crate::seen::Seen;
use crate::sink::Sink;
use crate::source::{Abilities, Input, Source, SourceInfo, recorded};
use crate::split::Placement;
use crate::time;

/// Where MIND comes from.
pub const MIND: SourceInfo = SourceInfo {
    name: "MIND",
    task: "mind",
    citation: "Wu, Qiao, Chen, Wu, Qi, Lian, Liu, Xie, Gao, Wu, Zhou: MIND: A Large-scale Dataset for News Recommendation. ACL 2020.",
    licence: "Microsoft Research License Terms",
    use_limits: "Non-commercial research only; the files may not be redistributed.",
};

/// How MIND is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MindOptions {
    /// Words of a title in a profile at most; zero keeps all. Targets and candidates are never cut.
    pub title_words: usize,
    /// How many clicks the history and the profile keep at most, the latest.
    pub clicks: usize,
    /// How many clicks of one impression become examples at most, the first.
    pub targets: usize,
    /// Whether the other articles of an impression become candidates.
    pub candidates: bool,
    /// The prompt of every example.
    pub prompt: String,
}

impl Default for MindOptions {
    fn default() -> Self {
        Self {
            title_words: 0,
            clicks: 50,
            targets: 10,
            candidates: true,
            prompt: "Recommend a news article:".to_owned(),
        }
    }
}

/// The loader.
#[derive(Debug, Clone)]
pub struct Mind {
    /// News and behaviors of each directory, with its split.
    directories: Vec<(Input, PathBuf)>,
    options: MindOptions,
}

const NEWS: &str = "news.tsv";
const BEHAVIORS: &str = "behaviors.tsv";
const NEWS_COLUMNS: [&str; 8] = [
    "NewsID",
    "Category",
    "SubCategory",
    "Title",
    "Abstract",
    "URL",
    "TitleEntities",
    "AbstractEntities",
];
const BEHAVIOR_COLUMNS: [&str; 5] = ["ImpressionID", "UserID", "Time", "History", "Impressions"];

impl Mind {
    /// Takes directories whose names say their split, or are given it.
    pub fn new(inputs: Vec<Input>, options: MindOptions) -> Result<Self> {
        let mut directories = Vec::new();
        for input in inputs {
            let (news, behaviors) = (input.path.join(NEWS), input.path.join(BEHAVIORS));
            if !news.is_file() || !behaviors.is_file() {
                return Err(DataError::UnknownInput {
                    path: input.path,
                    task: MIND.task,
                    expected: "a directory with `news.tsv` and `behaviors.tsv`",
                });
            }
            let split = input.split;
            directories.push((
                Input {
                    path: behaviors,
                    split,
                },
                news,
            ));
        }
        Ok(Self {
            directories,
            options,
        })
    }
}

impl Source for Mind {
    fn info(&self) -> SourceInfo {
        MIND
    }

    fn inputs(&self) -> Vec<PathBuf> {
        let pairs = self.directories.iter();
        pairs
            .flat_map(|(behaviors, news)| [news.clone(), behaviors.path.clone()])
            .collect()
    }

    fn options(&self) -> serde_json::Map<String, serde_json::Value> {
        recorded(&self.options)
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            pseudo_users: false,
            ..Abilities::default()
        }
    }

    fn read(&self, sink: &mut Sink<'_>) -> Result<()> {
        let mut catalog = Catalog::new()?;
        for (_, news) in &self.directories {
            read_news(news, &mut catalog, sink)?;
        }
        catalog.write_items(sink)?;
        for (behaviors, _) in &self.directories {
            self.read_behaviors(behaviors, &catalog, sink)?;
        }
        Ok(())
    }
}

/// The directories overlap: an article may come again in another one, but not in the same.
fn read_news(path: &Path, catalog: &mut Catalog, sink: &mut Sink<'_>) -> Result<()> {
    let mut problems = Problems::new(path);
    let lines = sink.lines(path, Encoding::Utf8)?;
    let mut table = Delimited::without_header(lines, b'\t', Quoting::None, &NEWS_COLUMNS);
    let mut here = Seen::new();
    while let Some(record) = table.next(&mut problems)? {
        let (id, title) = (record[0].trim(), record[3].trim());
        let bad = if id.is_empty() {
            Some((0, "nothing".to_owned(), "an id"))
        } else if title.is_empty() {
            Some((3, "nothing".to_owned(), "a title"))
        } else if !here.insert(hash_bytes(id.as_bytes())) {
            Some((0, format!("article {} again", excerpt(id)), "every id once"))
        } else {
            None
        };
        match bad {
            Some((cell, found, expected)) => {
                let problem = table.problem(cell, found, expected);
                problems.push(problem)?;
            }
            None if catalog.add(id, title, "")? => sink.note("articles read")?,
            None => {}
        }
    }
    problems.finish()
}

/// The cell, what was found, what was expected.
type BadCell = (usize, String, &'static str);

impl Mind {
    fn read_behaviors(&self, input: &Input, catalog: &Catalog, sink: &mut Sink<'_>) -> Result<()> {
        let mut problems = Problems::new(&input.path);
        let lines = sink.lines(&input.path, Encoding::Utf8)?;
        let mut table = Delimited::without_header(lines, b'\t', Quoting::None, &BEHAVIOR_COLUMNS);
        while let Some(record) = table.next(&mut problems)? {
            sink.note("impressions read")?;
            if let Err((cell, found, expected)) = self.row(record, input.split, catalog, sink)? {
                let problem = table.problem(cell, found, expected);
                problems.push(problem)?;
            }
        }
        problems.finish()
    }

    fn row(
        &self,
        record: &Record,
        split: Option<Split>,
        catalog: &Catalog,
        sink: &mut Sink<'_>,
    ) -> Result<std::result::Result<(), BadCell>> {
        let user = record[1].trim();
        if user.is_empty() {
            return Ok(Err((1, "nothing".into(), "a user id")));
        }
        let Some(time) = time::parse(&record[2]) else {
            let found = excerpt(&record[2]);
            return Ok(Err((2, found, "a time such as 11/11/2019 9:05:58 AM")));
        };
        let find = |cell: usize, id: &str| match catalog.find(id) {
            Some(article) => Ok(article),
            None => Err((
                cell,
                format!("article {}", excerpt(id)),
                "ids of `news.tsv`",
            )),
        };
        let history = record[3].split_whitespace().map(|id| find(3, id));
        let history = match history.collect::<std::result::Result<Vec<u32>, BadCell>>() {
            Ok(history) => history,
            Err(bad) => return Ok(Err(bad)),
        };
        let mut shown = Vec::new();
        for impression in record[4].split_whitespace() {
            let (id, label) = match impression.rsplit_once('-') {
                Some((id, "0")) => (id, Some(false)),
                Some((id, "1")) => (id, Some(true)),
                // Unlabelled, as in the official test.
                None => (impression, None),
                Some(_) => {
                    return Ok(Err((
                        4,
                        excerpt(impression),
                        "ids that end in `-0` or `-1`",
                    )));
                }
            };
            match find(4, id) {
                Ok(article) => shown.push((article, label)),
                Err(bad) => return Ok(Err(bad)),
            }
        }
        if shown.is_empty() {
            return Ok(Err((4, "no articles".into(), "at least one")));
        }
        if shown.iter().any(|(_, label)| label.is_none()) {
            sink.note("impressions without labels left out")?;
            return Ok(Ok(()));
        }
        if history.is_empty() {
            sink.note("impressions of readers without a history left out")?;
            return Ok(Ok(()));
        }
        self.write(
            user,
            &history,
            &shown,
            Placement {
                split,
                time: Some(time),
            },
            catalog,
            sink,
        )?;
        Ok(Ok(()))
    }

    fn write(
        &self,
        user: &str,
        history: &[u32],
        shown: &[(u32, Option<bool>)],
        placement: Placement,
        catalog: &Catalog,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        let latest = &history[history.len().saturating_sub(self.options.clicks)..];
        let title = |article: &u32| {
            first_words(catalog.title(*article), self.options.title_words).to_owned()
        };
        sink.user(&UserRecord {
            user: user.to_owned(),
            profile: latest.iter().rev().map(title).collect(),
            history: latest
                .iter()
                .map(|article| catalog.id(*article).to_owned())
                .collect(),
            ..UserRecord::default()
        })?;
        let clicks = shown.iter().filter(|(_, label)| *label == Some(true));
        for (clicked, _) in clicks.take(self.options.targets) {
            if history.contains(clicked) {
                sink.note("clicks on articles of the history left out")?;
                continue;
            }
            let candidates = shown
                .iter()
                .filter(|(article, label)| article == clicked || *label == Some(false))
                .map(|(article, _)| catalog.title(*article).to_owned());
            let example = Example {
                user: user.to_owned(),
                prompt: Prompt::Text(self.options.prompt.clone()),
                target: catalog.title(*clicked).to_owned(),
                candidates: if self.options.candidates {
                    candidates.collect()
                } else {
                    Vec::new()
                },
                item: Some(catalog.id(*clicked).to_owned()),
            };
            sink.example(placement, &example)?;
        }
        Ok(())
    }
}
