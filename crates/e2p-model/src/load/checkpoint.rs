//! The weight files of a directory: one `model.safetensors`, or shards with an index.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::tensor::{Metadata, SafeTensors, TensorInfo};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::error::{ModelError, Result};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// peft's; transformers applies the adapter that lies beside it.
const ADAPTER: &str = "adapter_config.json";

/// Memory-mapped weight files.
#[derive(Debug)]
pub struct Checkpoint {
    dir: PathBuf,
    shards: Vec<Shard>,
}

#[derive(Debug)]
struct Shard {
    map: Mmap,
    metadata: Metadata,
    /// Where tensor data begins: after the length and the header.
    data_start: usize,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Maps the weight files of `dir` and checks their headers against their sizes.
    ///
    /// # Errors
    /// No weights, an unreadable file, an invalid index, a truncated or malformed safetensors file,
    /// an adapter that is not merged.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(ADAPTER);
        if path.is_file() {
            return Err(ModelError::UnmergedAdapter { path });
        }
        let mut files = Vec::new();
        if dir.join(SINGLE).is_file() {
            files.push(dir.join(SINGLE));
        } else if dir.join(INDEX).is_file() {
            let path = dir.join(INDEX);
            let bytes = super::read_file(&path)?;
            let index: Index =
                serde_json::from_slice(&bytes).map_err(|source| ModelError::Json {
                    path: path.clone(),
                    source,
                })?;
            let mut names: Vec<String> = index.weight_map.into_values().collect();
            names.sort();
            names.dedup();
            for shard in names {
                if Path::new(&shard).file_name() != Some(shard.as_ref()) {
                    return Err(ModelError::ShardName { path, shard });
                }
                files.push(dir.join(shard));
            }
        } else {
            return Err(ModelError::NoWeights {
                dir: dir.into(),
                found: other_formats(dir)?,
            });
        }
        let shards = files
            .iter()
            .map(|path| Shard::open(path))
            .collect::<Result<_>>()?;
        Ok(Self {
            dir: dir.into(),
            shards,
        })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Bytes of all weight files.
    pub fn bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.map.len() as u64).sum()
    }

    /// Every tensor's name with its data type and shape.
    pub fn tensors(&self) -> impl Iterator<Item = (String, &TensorInfo)> {
        self.shards
            .iter()
            .flat_map(|shard| shard.metadata.tensors())
    }

    /// The tensor called `name`: what it is and its bytes.
    pub(super) fn tensor(&self, name: &str) -> Option<(&TensorInfo, &[u8])> {
        self.shards.iter().find_map(|shard| {
            let info = shard.metadata.info(name)?;
            let (start, end) = info.data_offsets;
            Some((
                info,
                &shard.map[shard.data_start + start..shard.data_start + end],
            ))
        })
    }

    /// Whether two tensors are there and the same to the bit.
    pub(crate) fn are_equal(&self, a: &str, b: &str) -> bool {
        let same = |((a, x), (b, y)): ((&TensorInfo, &[u8]), (&TensorInfo, &[u8]))| {
            let same = a.dtype == b.dtype && a.shape == b.shape && x == y;
            self.release(x);
            self.release(y);
            same
        };
        self.tensor(a).zip(self.tensor(b)).is_some_and(same)
    }

    /// Tells the system that the pages of `bytes`, a slice of one of the maps, are not needed for
    /// now.
    pub(super) fn release(&self, bytes: &[u8]) {
        #[cfg(unix)]
        for shard in &self.shards {
            let base = shard.map.as_ptr() as usize;
            let at = bytes.as_ptr() as usize;
            if (base..base + shard.map.len()).contains(&at) {
                // Whole pages inside the slice only: its borders may share a page with a neighbour.
                let page = 4096;
                let start = (at - base).next_multiple_of(page);
                let end = (at - base + bytes.len()) / page * page;
                if end > start {
                    // SAFETY: the map is read-only and backed by a file, so a dropped page is read
                    // again on the next access. That this gives back memory is a wish; a failure
                    // changes nothing.
                    let _ = unsafe {
                        shard.map.unchecked_advise_range(
                            memmap2::UncheckedAdvice::DontNeed,
                            start,
                            end - start,
                        )
                    };
                }
            }
        }
        #[cfg(not(unix))]
        let _ = bytes;
    }

    /// SHA-256 over every tensor's name, data type, shape and bytes, in the order of names: the
    /// same weights in other shards have the same fingerprint.
    pub fn fingerprint(&self) -> String {
        let mut names: Vec<String> = self.tensors().map(|(name, _)| name).collect();
        names.sort();
        let mut hash = Sha256::new();
        for name in names {
            if let Some((info, bytes)) = self.tensor(&name) {
                hash.update(format!("{name}\0{:?}\0{:?}\0", info.dtype, info.shape));
                hash.update(bytes);
                self.release(bytes);
            }
        }
        format!("{:x}", hash.finalize())
    }
}

impl Shard {
    fn open(path: &Path) -> Result<Self> {
        let read = |source| ModelError::Read {
            path: path.into(),
            source,
        };
        let file = File::open(path).map_err(read)?;
        // SAFETY: a map of a file that another process truncates would fault. Like every reader of
        // mapped weights we rely on the checkpoint not being changed while it is loaded; the map is
        // never written.
        let map = unsafe { Mmap::map(&file) }.map_err(read)?;
        let invalid = |source| ModelError::Safetensors {
            path: path.into(),
            bytes: map.len() as u64,
            source,
        };
        // The first call checks that the tensors cover the file exactly; the second keeps the
        // parsed header.
        SafeTensors::deserialize(&map).map_err(invalid)?;
        let (header, metadata) = SafeTensors::read_metadata(&map).map_err(invalid)?;
        Ok(Self {
            map,
            metadata,
            data_start: header + size_of::<u64>(),
        })
    }
}

/// Names weights of other formats lying in `dir`, so that the error can say what was found instead.
fn other_formats(dir: &Path) -> Result<String> {
    let entries = std::fs::read_dir(dir).map_err(|source| ModelError::Read {
        path: dir.into(),
        source,
    })?;
    let found: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| {
            [".bin", ".pt", ".pth", ".gguf", ".safetensors"]
                .iter()
                .any(|ending| name.ends_with(ending))
        })
        .collect();
    Ok(if found.is_empty() {
        String::new()
    } else {
        format!("; found {}", found.join(", "))
    })
}
