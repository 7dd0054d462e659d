//! Articles by id: titles in memory, bodies in an unnamed temporary file.
//!
//! The bodies of PENS are hundreds of megabytes and are asked for in any order, so they are written
//! once as they will be used and read back one by one.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::error::{DataError, Result};
use crate::example::ItemRecord;
use crate::interner::Interner;
use crate::sink::Sink;

/// The articles read so far.
pub(super) struct Catalog {
    ids: Interner,
    titles: Interner,
    /// For every article: the number of its title, and where its body ends in `bodies`.
    articles: Vec<(u32, u64)>,
    bodies: Bodies,
}

enum Bodies {
    Writing(BufWriter<File>, u64),
    Reading(File),
}

impl Catalog {
    pub(super) fn new() -> Result<Self> {
        let file = tempfile::tempfile().map_err(temporary)?;
        Ok(Self {
            ids: Interner::default(),
            titles: Interner::default(),
            articles: Vec::new(),
            bodies: Bodies::Writing(BufWriter::new(file), 0),
        })
    }

    /// Adds an article unless its id is known; whether it was new. All articles are added before
    /// the first body is read.
    pub(super) fn add(&mut self, id: &str, title: &str, body: &str) -> Result<bool> {
        if self.ids.lookup(id).is_some() {
            return Ok(false);
        }
        let Bodies::Writing(file, end) = &mut self.bodies else {
            unreachable!("`body` is called after the last `add`");
        };
        file.write_all(body.as_bytes()).map_err(temporary)?;
        *end += body.len() as u64;
        self.ids.number(id);
        self.articles.push((self.titles.number(title), *end));
        Ok(true)
    }

    /// The number of an article.
    pub(super) fn find(&self, id: &str) -> Option<u32> {
        self.ids.lookup(id)
    }

    pub(super) fn id(&self, article: u32) -> &str {
        self.ids.get(article)
    }

    pub(super) fn title(&self, article: u32) -> &str {
        self.titles.get(self.articles[article as usize].0)
    }

    /// The body that the article was added with.
    pub(super) fn body(&mut self, article: u32) -> Result<String> {
        if let Bodies::Writing(writer, _) = &mut self.bodies {
            writer.flush().map_err(temporary)?;
            let file = writer.get_ref().try_clone().map_err(temporary)?;
            self.bodies = Bodies::Reading(file);
        }
        let Bodies::Reading(file) = &mut self.bodies else {
            unreachable!("it was made one above");
        };
        let article = article as usize;
        let start = match article {
            0 => 0,
            _ => self.articles[article - 1].1,
        };
        file.seek(SeekFrom::Start(start)).map_err(temporary)?;
        let length = self.articles[article].1 - start;
        let mut body = String::with_capacity(length as usize);
        file.take(length)
            .read_to_string(&mut body)
            .map_err(temporary)?;
        Ok(body)
    }

    /// Gives every article that has a title to `sink` as an item.
    pub(super) fn write_items(&self, sink: &mut Sink<'_>) -> Result<()> {
        for article in 0..self.articles.len() as u32 {
            let (item, text) = (self.id(article).to_owned(), self.title(article).to_owned());
            if !text.is_empty() {
                sink.item(&ItemRecord { item, text })?;
            }
        }
        Ok(())
    }
}

fn temporary(source: std::io::Error) -> DataError {
    DataError::io(Path::new("a temporary file"), "use", source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_come_back_in_any_order() {
        let mut catalog = Catalog::new().unwrap();
        let articles = [
            ("N1", "One", "first é"),
            ("N2", "Two", ""),
            ("N3", "One", "third"),
        ];
        for (id, title, body) in articles {
            assert!(catalog.add(id, title, body).unwrap());
        }
        assert!(!catalog.add("N2", "Other", "other").unwrap());
        for (id, title, body) in articles.iter().rev() {
            let article = catalog.find(id).unwrap();
            assert_eq!((catalog.id(article), catalog.title(article)), (*id, *title));
            assert_eq!(catalog.body(article).unwrap(), *body);
        }
        assert_eq!(catalog.find("N4"), None);
    }
}
