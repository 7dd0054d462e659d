//! The files of Last.fm HetRec 2011, as they are: tags are ISO-8859-1, line ends differ, and some
//! tag assignments name artists that do not exist.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::events::Events;
use crate::delimited::{Delimited, Quoting};
use crate::error::{Result, excerpt};
use crate::lines::{Encoding, Problems};
use crate::sink::Sink;

pub(super) const EVENTS: &str = "user_artists.dat";
const ARTISTS: &str = "artists.dat";
const TAGS: &str = "tags.dat";
const TAGGED: &str = "user_taggedartists.dat";

/// How many tags of an artist are remembered, the most assigned first.
const MAX_TAGS: usize = 10;

pub(super) fn files(directory: &Path) -> Vec<PathBuf> {
    [ARTISTS, EVENTS, TAGS, TAGGED]
        .map(|name| directory.join(name))
        .to_vec()
}

pub(super) fn read(directory: &Path, events: &mut Events, sink: &mut Sink<'_>) -> Result<()> {
    columns(
        &directory.join(ARTISTS),
        Encoding::Utf8,
        &["id", "name"],
        sink,
        &mut |cells, _| {
            cells[1]
                .trim()
                .clone_into(&mut events.text_mut(cells[0]).text);
            Ok(None)
        },
    )?;
    columns(
        &directory.join(EVENTS),
        Encoding::Utf8,
        &["userID", "artistID", "weight"],
        sink,
        &mut |cells, sink| match cells[2].parse::<f32>() {
            Ok(weight) if weight.is_finite() && weight >= 0.0 => {
                sink.note("interactions read")?;
                events.push(cells[0], cells[1], Some(weight), None);
                Ok(None)
            }
            _ => Ok(Some((2, "a number of plays"))),
        },
    )?;
    let mut tags: HashMap<String, String> = HashMap::new();
    columns(
        &directory.join(TAGS),
        Encoding::Latin1,
        &["tagID", "tagValue"],
        sink,
        &mut |cells, _| {
            tags.insert(cells[0].to_owned(), cells[1].trim().to_owned());
            Ok(None)
        },
    )?;
    let mut assigned: HashMap<(u32, String), u32> = HashMap::new();
    columns(
        &directory.join(TAGGED),
        Encoding::Utf8,
        &["artistID", "tagID"],
        sink,
        &mut |cells, sink| {
            match events
                .items
                .lookup(cells[0])
                .filter(|item| events.text(*item).is_some())
            {
                Some(item) => *assigned.entry((item, cells[1].to_owned())).or_default() += 1,
                None => sink.note("tag assignments of unknown artists")?,
            }
            Ok(None)
        },
    )?;
    // Ties are broken by tag id, so that the order does not depend on the map's.
    let mut assigned: Vec<_> = assigned
        .into_iter()
        .map(|((item, tag), times)| (item, u32::MAX - times, tag))
        .collect();
    assigned.sort_unstable();
    for (item, _, tag) in assigned {
        let known = &mut events.texts[item as usize].tags;
        match tags.get(&tag) {
            Some(name) if known.len() < MAX_TAGS => known.push(name.clone()),
            Some(_) => {}
            None => sink.note("assignments of unknown tags")?,
        }
    }
    Ok(())
}

/// The number of the bad cell and what was expected there.
type BadCell = Option<(usize, &'static str)>;

/// Gives the named columns of every row to `take`.
fn columns(
    path: &Path,
    encoding: Encoding,
    names: &[&str],
    sink: &mut Sink<'_>,
    take: &mut dyn FnMut(&[&str], &mut Sink<'_>) -> Result<BadCell>,
) -> Result<()> {
    let mut problems = Problems::new(path);
    let lines = sink.lines(path, encoding)?;
    let mut table = Delimited::with_header(lines, b'\t', Quoting::None, &mut problems)?;
    let at = names
        .iter()
        .map(|name| table.column(name, &mut problems))
        .collect::<Result<Vec<_>>>()?;
    while let Some(record) = table.next(&mut problems)? {
        let cells: Vec<&str> = at.iter().map(|&at| &record[at]).collect();
        if let Some((cell, expected)) = take(&cells, sink)? {
            let found = excerpt(cells[cell]);
            let problem = table.problem(at[cell], found, expected);
            problems.push(problem)?;
        }
    }
    problems.finish()
}
