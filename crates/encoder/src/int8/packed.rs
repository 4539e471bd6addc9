//! The packed weights, and the file that keeps them beside the model: quantising takes longer than reading.
//!
//! The file is a cache: it may be deleted at any time, and one that is not whole, or belongs to other weights, is
//! made again. Format, little-endian: [`Header`], then every array behind the other, each filled up to whole
//! lines of 64 bytes. Their sizes follow from the shape, and where they lie from their order in
//! [`Parameters::arrays`]. The checksum (CRC-32C) covers everything behind the header.

use super::{Layer, Parameters, Table};
use crate::kernel::{Dense, Norm};
use crate::shape::Shape;
use crate::weights::{Weights, dense_names, norm_names};
use sha2::{Digest, Sha256};
use std::io::{self, Write};
use std::path::Path;

/// Goes up with every change of the layout or of how weights are quantised.
const VERSION: u32 = 3;
const MAGIC: [u8; 8] = *b"RAGSTQ8\0";
/// Arrays begin at multiples of it.
const ALIGNMENT: usize = 64;
/// Largest count of a component of the word table.
const WORD_MAX: f32 = 32_767.0;

/// Names of files that are being written: two threads may open the same model.
static PARTIAL: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

/// The first 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    version: u32,
    crc: u32,
    /// Of the weights' sha256 and of the shape.
    source: [u8; 32],
    /// Behind the header.
    bytes: u64,
    words: u64,
}

impl Parameters {
    /// Quantises the weights. The error says which tensor doesn't fit.
    pub(super) fn quantise(shape: &Shape, weights: &Weights) -> Result<Self, String> {
        let text = |error: candle_core::Error| error.to_string();
        let flat = |name: &str| -> Result<Vec<f32>, String> {
            let numbers = weights.matrix(name, shape.hidden).and_then(|tensor| tensor.flatten_all()?.to_vec1()).map_err(text)?;
            finite(name, numbers)
        };
        let norm = |name: &str| -> Result<Norm, String> {
            let (gain, shift) = weights.norm(name, shape.hidden).map_err(text)?;
            Ok(Norm { gain: finite(name, gain)?, shift: finite(name, shift)?, epsilon: shape.epsilon })
        };
        let segments = flat("embeddings.token_type_embeddings.weight")?;
        let mut positions = flat("embeddings.position_embeddings.weight")?;
        for row in positions.chunks_exact_mut(shape.hidden) {
            row.iter_mut().zip(&segments).for_each(|(x, segment)| *x += segment);
        }
        let second = segments.chunks_exact(shape.hidden).nth(1).unwrap_or(&segments);
        let segment_step = second.iter().zip(&segments).map(|(second, first)| second - first).collect();
        if positions.len() != shape.positions * shape.hidden {
            return Err(format!("embeddings.position_embeddings.weight doesn't have {} rows", shape.positions));
        }
        let (hidden, wide) = (shape.hidden, shape.intermediate);
        let sizes = [(hidden, 3 * hidden), (hidden, hidden), (hidden, wide), (wide, hidden)];
        let layer = |index| -> Result<Layer, String> {
            let mut sizes = sizes.into_iter();
            let [attention_in, attention_out, up, down] =
                dense_names(index).map(|names| quantise(weights, &names, sizes.next().unwrap_or_default()));
            let [attention_norm, last_norm] = norm_names(index).map(|name| norm(&name));
            Ok(Layer {
                attention_in: attention_in?,
                attention_out: attention_out?,
                attention_norm: attention_norm?,
                up: up?,
                down: down?,
                norm: last_norm?,
            })
        };
        Ok(Self {
            words: Table::quantise(&flat("embeddings.word_embeddings.weight")?, shape.hidden),
            positions,
            segment_step,
            norm: norm("embeddings.LayerNorm")?,
            layers: (0..shape.layers).map(layer).collect::<Result<_, _>>()?,
        })
    }

    /// Writes the file whole or not at all.
    pub(super) fn save(&self, path: &Path, source: [u8; 32]) -> io::Result<()> {
        let arrays = self.arrays();
        let padding = [0; ALIGNMENT];
        let fill = |array: &[u8]| array.len().next_multiple_of(ALIGNMENT) - array.len();
        let mut crc = 0;
        let mut bytes = 0;
        for array in &arrays {
            crc = crc32c::crc32c_append(crc32c::crc32c_append(crc, array), padding.split_at(fill(array)).0);
            bytes += (array.len() + fill(array)) as u64;
        }
        let header = Header { magic: MAGIC, version: VERSION, crc, source, bytes, words: self.words.steps.len() as u64 };
        let number = PARTIAL.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let partial = path.with_extension(format!("partial-{}-{number}", std::process::id()));
        let write = || {
            let mut file = io::BufWriter::new(std::fs::File::create(&partial)?);
            file.write_all(bytemuck::bytes_of(&header))?;
            for array in &arrays {
                file.write_all(array)?;
                file.write_all(padding.split_at(fill(array)).0)?;
            }
            file.into_inner()?.sync_all()?;
            std::fs::rename(&partial, path)
        };
        write().inspect_err(|_| {
            let _ = std::fs::remove_file(&partial);
        })
    }

    /// What `save` wrote for the same `source`; the error says why it is of no use.
    pub(super) fn load(path: &Path, shape: &Shape, source: [u8; 32]) -> io::Result<Self> {
        let wrong = |fault: &str| io::Error::new(io::ErrorKind::InvalidData, fault.to_owned());
        let content = std::fs::read(path)?;
        let (header, arrays) = content.split_at_checked(size_of::<Header>()).ok_or_else(|| wrong("too short"))?;
        let header: Header = bytemuck::pod_read_unaligned(header);
        if (header.magic, header.version, header.source) != (MAGIC, VERSION, source) {
            return Err(wrong("made from other weights or by another version"));
        }
        if header.bytes != arrays.len() as u64 || header.crc != crc32c::crc32c(arrays) {
            return Err(wrong("damaged"));
        }
        let words = usize::try_from(header.words).map_err(|_| wrong("damaged"))?;
        let mut reader = Reader(arrays);
        let parameters = Self::read(&mut reader, shape, words).filter(|_| reader.0.is_empty());
        parameters.ok_or_else(|| wrong("of another shape"))
    }

    /// All arrays in the order of the file.
    fn arrays(&self) -> Vec<&[u8]> {
        let mut arrays = vec![bytemuck::cast_slice(&self.words.rows), bytemuck::cast_slice(&self.words.steps)];
        arrays.extend([bytemuck::cast_slice(&self.positions), bytemuck::cast_slice(&self.segment_step)]);
        arrays.extend(of_norm(&self.norm));
        for layer in &self.layers {
            for dense in [&layer.attention_in, &layer.attention_out, &layer.up, &layer.down] {
                arrays.extend(dense.arrays());
            }
            arrays.extend(of_norm(&layer.attention_norm));
            arrays.extend(of_norm(&layer.norm));
        }
        arrays
    }

    /// In the order of [`Self::arrays`].
    fn read(reader: &mut Reader, shape: &Shape, words: usize) -> Option<Self> {
        let Shape { hidden, intermediate, epsilon, .. } = *shape;
        let norm = |reader: &mut Reader| Some(Norm { gain: reader.take(hidden)?, shift: reader.take(hidden)?, epsilon });
        Some(Self {
            words: Table { rows: reader.take(words.checked_mul(hidden)?)?, steps: reader.take(words)? },
            positions: reader.take(shape.positions * hidden)?,
            segment_step: reader.take(hidden)?,
            norm: norm(reader)?,
            layers: (0..shape.layers)
                .map(|_| {
                    let mut dense = |inputs, outputs| Dense::read(inputs, outputs, |bytes| reader.bytes(bytes));
                    Some(Layer {
                        attention_in: dense(hidden, 3 * hidden)?,
                        attention_out: dense(hidden, hidden)?,
                        up: dense(hidden, intermediate)?,
                        down: dense(intermediate, hidden)?,
                        attention_norm: norm(reader)?,
                        norm: norm(reader)?,
                    })
                })
                .collect::<Option<_>>()?,
        })
    }
}

fn of_norm(norm: &Norm) -> [&[u8]; 2] {
    [bytemuck::cast_slice(&norm.gain), bytemuck::cast_slice(&norm.shift)]
}

/// What a packed file belongs to.
pub(super) fn source(revision: &str, shape: &Shape) -> [u8; 32] {
    Sha256::digest(format!("{revision} {shape:?}")).into()
}

/// Integers would hide a number that is none; floats carry it to the vector, where it is found.
fn finite(name: &str, numbers: Vec<f32>) -> Result<Vec<f32>, String> {
    if numbers.iter().all(|x| x.is_finite()) {
        Ok(numbers)
    } else {
        Err(format!("{name}: a weight is not a finite number; the file is damaged"))
    }
}

/// One product of these layers, of so many inputs and outputs.
fn quantise(weights: &Weights, names: &[String], (inputs, outputs): (usize, usize)) -> Result<Dense, String> {
    let (weight, bias) = weights.dense(names).map_err(|error| error.to_string())?;
    if weight.dims() != [outputs, inputs] {
        return Err(format!("{}: {:?} instead of [{outputs}, {inputs}]", names.join(", "), weight.dims()));
    }
    let weight: Vec<f32> = weight.flatten_all().and_then(|flat| flat.to_vec1()).map_err(|error| error.to_string())?;
    let (weight, bias) = (finite(&names.join(", "), weight)?, finite(&names.join(", "), bias)?);
    Dense::new(&weight, bias).ok_or_else(|| format!("{}: sizes are not multiples of 64", names.join(", ")))
}

impl Table {
    fn quantise(rows: &[f32], width: usize) -> Self {
        let mut table = Self { rows: Vec::with_capacity(rows.len()), steps: Vec::with_capacity(rows.len() / width.max(1)) };
        for row in rows.chunks_exact(width) {
            let step = row.iter().fold(0.0_f32, |most, x| most.max(x.abs())) / WORD_MAX;
            let per_step = if step > 0.0 { 1.0 / step } else { 0.0 };
            #[expect(clippy::cast_possible_truncation, reason = "at most 32,767 either side")]
            table.rows.extend(row.iter().map(|x| (x * per_step).round() as i16));
            table.steps.push(step);
        }
        table
    }
}

/// What is still to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next array of `count` numbers.
    fn take<T: bytemuck::Pod>(&mut self, count: usize) -> Option<Vec<T>> {
        let bytes = self.bytes(count.checked_mul(size_of::<T>())?)?;
        Some(bytemuck::allocation::pod_collect_to_vec(bytes))
    }

    /// The next array, which has `length` bytes.
    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (array, rest) = self.0.split_at_checked(length)?;
        (_, self.0) = rest.split_at_checked(length.next_multiple_of(ALIGNMENT) - length)?;
        Some(array)
    }
}
