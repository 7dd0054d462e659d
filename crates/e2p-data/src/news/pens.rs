//! PENS: headlines in a reader's taste.
//!
//! Ao, Wang, Luo, Qiao, He, Xie 2021, <https://aclanthology.org/2021.acl-long.7>. The files are
//! `news.tsv` (articles), `train.tsv` and `valid.tsv` (clicks of readers) and
//! `personalized_test.tsv` (103 readers who wrote headlines of their own), tab-separated with a
//! header.
//!
//! # Examples
//! The prompt is the article's body, cut at 500 words as the official preprocessing counts them.
//! For training and validation the target is the publisher's headline of an article that the reader
//! clicked; for the test it is the headline that the reader wrote. Profile and history are the last
//! 50 clicks, which never hold an article of the same row's examples.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::catalog::Catalog;
use super::words::first_words;
use crate::delimited::{Delimited, Quoting, Record};
use crate::error::{DataError, Result, excerpt};
use crate::example::{Example, Prompt, Split, UserRecord};
use crate::lines::{Encoding, LineReader, Problems};
use crate::sink::{Sink, Watched};
use crate::source::{Input, Source, SourceInfo, recorded};
use crate::split::Placement;
use crate::template::fill;
use crate::time;

/// Where PENS comes from.
pub const PENS: SourceInfo = SourceInfo {
    name: "PENS",
    task: "pens",
    citation: "Ao, Wang, Luo, Qiao, He, Xie: PENS: A Dataset and Generic Framework for Personalized News Headline Generation. ACL 2021.",
    licence: "Microsoft Research License Terms",
    use_limits: "Non-commercial research only; the files may not be redistributed.",
};

/// How PENS is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PensOptions {
    /// Words of a body at most; zero keeps all. The official preprocessing keeps 500.
    pub body_words: usize,
    /// Words of a title in a profile at most; zero keeps all. The official preprocessing keeps 16.
    /// Targets are never cut.
    pub title_words: usize,
    /// How many clicks the history and the profile keep at most, the latest. The official
    /// preprocessing keeps 50.
    pub clicks: usize,
    /// How many clicked articles of one row become examples at most, the first (ten, ours).
    pub targets: usize,
    /// The prompt: `{body}` is filled in.
    pub prompt: String,
}

impl Default for PensOptions {
    fn default() -> Self {
        Self {
            body_words: 500,
            title_words: 16,
            clicks: 50,
            targets: 10,
            prompt: "{body}\n\nHeadline:".to_owned(),
        }
    }
}

/// The loader.
#[derive(Debug, Clone)]
pub struct Pens {
    news: Vec<PathBuf>,
    readers: Vec<Input>,
    options: PensOptions,
}

/// The official names; the order is that of reading.
const FILES: [&str; 4] = [
    "news.tsv",
    "train.tsv",
    "valid.tsv",
    "personalized_test.tsv",
];

impl Pens {
    /// Takes a directory with the official names, or files, of which those whose name begins with
    /// `news` are articles.
    pub fn new(inputs: Vec<Input>, options: PensOptions) -> Result<Self> {
        let (mut news, mut readers) = (Vec::new(), Vec::new());
        for input in inputs {
            let files = if input.path.is_dir() {
                let files = FILES.map(|name| Input::new(input.path.join(name)));
                files
                    .into_iter()
                    .filter(|file| file.path.is_file())
                    .collect()
            } else {
                vec![input]
            };
            for file in files {
                let name = file.path.file_name().unwrap_or_default().to_string_lossy();
                if name.starts_with("news") {
                    news.push(file.path);
                } else {
                    readers.push(file);
                }
            }
        }
        if news.is_empty() || readers.is_empty() {
            let path = news.first().or(readers.first().map(|input| &input.path));
            return Err(DataError::UnknownInput {
                path: path.cloned().unwrap_or_default(),
                task: PENS.task,
                expected: "`news.tsv` and at least one of `train.tsv`, `valid.tsv` and `personalized_test.tsv`, or their directory",
            });
        }
        Ok(Self {
            news,
            readers,
            options,
        })
    }
}

impl Source for Pens {
    fn info(&self) -> SourceInfo {
        PENS
    }

    fn inputs(&self) -> Vec<PathBuf> {
        let readers = self.readers.iter().map(|input| &input.path);
        self.news.iter().chain(readers).cloned().collect()
    }

    fn options(&self) -> serde_json::Map<String, serde_json::Value> {
        recorded(&self.options)
    }

    fn read(&self, sink: &mut Sink<'_>) -> Result<()> {
        let mut catalog = Catalog::new()?;
        for path in &self.news {
            self.read_news(path, &mut catalog, sink)?;
        }
        catalog.write_items(sink)?;
        for input in &self.readers {
            let mut problems = Problems::new(&input.path);
            let mut table = open(&input.path, &mut problems, sink)?;
            let mut reading = Reading {
                options: &self.options,
                catalog: &mut catalog,
                split: input.split,
            };
            if table.find("rewrite_titles").is_some() {
                reading.written(&mut table, &mut problems, sink)?;
            } else {
                reading.clicked(&mut table, &mut problems, sink)?;
            }
            problems.finish()?;
        }
        Ok(())
    }
}

type Table<'a> = Delimited<Watched<'a>>;

fn open<'a>(path: &Path, problems: &mut Problems, sink: &Sink<'a>) -> Result<Table<'a>> {
    let lines: LineReader<Watched<'a>> = sink.lines(path, Encoding::Utf8)?;
    Delimited::with_header(lines, b'\t', Quoting::WholeCell, problems)
}

impl Pens {
    fn read_news(&self, path: &Path, catalog: &mut Catalog, sink: &mut Sink<'_>) -> Result<()> {
        let mut problems = Problems::new(path);
        let mut table = open(path, &mut problems, sink)?;
        let [id, title, body] =
            columns(&table, ["News ID", "Headline", "News body"], &mut problems)?;
        while let Some(record) = table.next(&mut problems)? {
            sink.note("articles read")?;
            let body = first_words(&record[body], self.options.body_words);
            if record[id].trim().is_empty() {
                let problem = table.problem(id, "nothing", "an id");
                problems.push(problem)?;
            } else if !catalog.add(record[id].trim(), record[title].trim(), body)? {
                let found = format!("article {} again", excerpt(&record[id]));
                let problem = table.problem(id, found, "every id once");
                problems.push(problem)?;
            }
        }
        problems.finish()
    }
}

fn columns<const N: usize>(
    table: &Table<'_>,
    names: [&str; N],
    problems: &mut Problems,
) -> Result<[usize; N]> {
    let mut at = [0; N];
    for (at, name) in at.iter_mut().zip(names) {
        *at = table.column(name, problems)?;
    }
    Ok(at)
}

/// The cell, what was found, what was expected.
type BadCell = (usize, String, &'static str);

struct Reading<'c> {
    options: &'c PensOptions,
    catalog: &'c mut Catalog,
    split: Option<Split>,
}

impl Reading<'_> {
    /// `train.tsv` and `valid.tsv`: lists of ids are separated by spaces.
    fn clicked(
        &mut self,
        table: &mut Table<'_>,
        problems: &mut Problems,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        let at = columns(table, ["UserID", "ClicknewsID", "pos"], problems)?;
        let start = table.find("start");
        while let Some(record) = table.next(problems)? {
            if let Err((cell, found, expected)) = self.clicked_row(record, at, start, sink)? {
                let problem = table.problem(cell, found, expected);
                problems.push(problem)?;
            }
        }
        Ok(())
    }

    fn clicked_row(
        &mut self,
        record: &Record,
        [user, clicks, pos]: [usize; 3],
        start: Option<usize>,
        sink: &mut Sink<'_>,
    ) -> Result<std::result::Result<(), BadCell>> {
        let time = match start.map(|cell| (cell, record[cell].trim())) {
            None | Some((_, "")) => None,
            Some((cell, text)) => match time::parse(text) {
                Some(time) => Some(time),
                None => {
                    return Ok(Err((
                        cell,
                        excerpt(text),
                        "a time such as 6/19/2019 5:10:01 AM",
                    )));
                }
            },
        };
        let articles = match self.articles(record, pos, ' ') {
            Ok(articles) => articles,
            Err(bad) => return Ok(Err(bad)),
        };
        let user = match self.user(record, user, clicks, ' ', &articles, sink)? {
            Ok(user) => user,
            Err(bad) => return Ok(Err(bad)),
        };
        for article in articles.into_iter().take(self.options.targets) {
            let headline = self.catalog.title(article).to_owned();
            self.example(&user, article, headline, time, sink)?;
        }
        Ok(Ok(()))
    }

    /// `personalized_test.tsv`: lists of ids are separated by commas, headlines by two semicolons.
    fn written(
        &mut self,
        table: &mut Table<'_>,
        problems: &mut Problems,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        let names = ["userid", "clicknewsID", "posnewID", "rewrite_titles"];
        let [user, clicks, pos, titles] = columns(table, names, problems)?;
        while let Some(record) = table.next(problems)? {
            let outcome = self.written_row(record, [user, clicks, pos, titles], sink)?;
            if let Err((cell, found, expected)) = outcome {
                let problem = table.problem(cell, found, expected);
                problems.push(problem)?;
            }
        }
        Ok(())
    }

    fn written_row(
        &mut self,
        record: &Record,
        [user, clicks, pos, titles]: [usize; 4],
        sink: &mut Sink<'_>,
    ) -> Result<std::result::Result<(), BadCell>> {
        let articles = match self.articles(record, pos, ',') {
            Ok(articles) => articles,
            Err(bad) => return Ok(Err(bad)),
        };
        let headlines: Vec<&str> = record[titles].split(";;").map(str::trim).collect();
        if headlines.len() != articles.len() {
            let found = format!(
                "{} headlines for {} articles",
                headlines.len(),
                articles.len()
            );
            return Ok(Err((titles, found, "one for every article of `posnewID`")));
        }
        let user = match self.user(record, user, clicks, ',', &articles, sink)? {
            Ok(user) => user,
            Err(bad) => return Ok(Err(bad)),
        };
        for (article, headline) in articles.into_iter().zip(headlines) {
            self.example(&user, article, headline.to_owned(), None, sink)?;
        }
        Ok(Ok(()))
    }

    fn articles(
        &self,
        record: &Record,
        cell: usize,
        separator: char,
    ) -> std::result::Result<Vec<u32>, BadCell> {
        let ids = record[cell].split(separator).map(str::trim);
        let articles = ids.filter(|id| !id.is_empty()).map(|id| {
            let unknown = || {
                (
                    cell,
                    format!("article {}", excerpt(id)),
                    "ids of `news.tsv`",
                )
            };
            self.catalog.find(id).ok_or_else(unknown)
        });
        let articles: Vec<u32> = articles.collect::<std::result::Result<_, BadCell>>()?;
        if articles.is_empty() {
            return Err((cell, "no articles".into(), "at least one id"));
        }
        Ok(articles)
    }

    /// Writes the reader with the clicks that are not among `examples`.
    fn user(
        &self,
        record: &Record,
        user: usize,
        clicks: usize,
        separator: char,
        examples: &[u32],
        sink: &mut Sink<'_>,
    ) -> Result<std::result::Result<String, BadCell>> {
        let id = record[user].trim();
        if id.is_empty() {
            return Ok(Err((user, "nothing".into(), "an id")));
        }
        let mut clicked = match self.articles(record, clicks, separator) {
            Ok(clicked) => clicked,
            Err(bad) => return Ok(Err(bad)),
        };
        let all = clicked.len();
        clicked.retain(|article| !examples.contains(article));
        sink.note_many(
            "clicks on articles of the same row left out",
            (all - clicked.len()) as u64,
        );
        let latest = &clicked[clicked.len().saturating_sub(self.options.clicks)..];
        let title = |article: &u32| {
            first_words(self.catalog.title(*article), self.options.title_words).to_owned()
        };
        sink.user(&UserRecord {
            user: id.to_owned(),
            profile: latest.iter().rev().map(title).collect(),
            history: latest
                .iter()
                .map(|article| self.catalog.id(*article).to_owned())
                .collect(),
            ..UserRecord::default()
        })?;
        Ok(Ok(id.to_owned()))
    }

    fn example(
        &mut self,
        user: &str,
        article: u32,
        headline: String,
        time: Option<i64>,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        // The published files have one blank headline, and a few articles without a body.
        if headline.is_empty() {
            return sink.note("blank headlines left out");
        }
        let body = self.catalog.body(article)?;
        if body.is_empty() {
            return sink.note("articles without a body left out");
        }
        let example = Example {
            user: user.to_owned(),
            prompt: Prompt::Text(fill(&self.options.prompt, &[("{body}", &body)])),
            target: headline,
            candidates: Vec::new(),
            item: None,
        };
        let split = self.split;
        sink.example(Placement { split, time }, &example)
    }
}
