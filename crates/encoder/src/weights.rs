//! The learnt tensors of a safetensors file, by name, in f32.
//!
//! Source of the names: the published checkpoints, with or without the architecture's prefix.

use candle_core::{DType, Device, Result, Tensor};
use serde::Deserialize;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// What a checkpoint with a head puts before the names of its encoder.
const PREFIXES: [&str; 3] = ["bert.", "roberta.", ""];

/// See the module.
pub(crate) struct Weights {
    tensors: HashMap<String, Tensor>,
    prefix: &'static str,
}

impl Weights {
    /// Reads the file; the error names it.
    pub(crate) fn read(path: &Path) -> std::result::Result<Self, String> {
        let tensors = candle_core::safetensors::load(path, &Device::Cpu).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self::new(tensors))
    }

    /// Reads only the tensors of these `names`; the error names the file.
    pub(crate) fn read_some(path: &Path, names: &[String]) -> std::result::Result<Self, String> {
        let read = || -> Result<_> {
            let mut file = File::open(path)?;
            let mut length = [0; 8];
            file.read_exact(&mut length)?;
            let length = u64::from_le_bytes(length);
            let header = read_bytes(&mut file, 8, length)?;
            let header: HashMap<String, serde_json::Value> = serde_json::from_slice(&header).map_err(candle_core::Error::wrap)?;
            let named = names.iter().filter_map(|name| Some((name, header.get(name)?)));
            named.map(|(name, place)| Ok((name.clone(), read_tensor(&mut file, 8 + length, place)?))).collect()
        };
        read().map(Self::new).map_err(|error| format!("{}: {error}", path.display()))
    }

    pub(crate) fn new(tensors: HashMap<String, Tensor>) -> Self {
        let is_there = |prefix: &&str| tensors.contains_key(&format!("{prefix}embeddings.word_embeddings.weight"));
        let prefix = PREFIXES.into_iter().find(is_there).unwrap_or_default();
        Self { tensors, prefix }
    }

    /// A tensor of the encoder.
    pub(crate) fn get(&self, name: &str) -> Result<Tensor> {
        self.exact(&format!("{}{name}", self.prefix))
    }

    /// A tensor by its whole name.
    pub(crate) fn exact(&self, name: &str) -> Result<Tensor> {
        match self.tensors.get(name) {
            Some(tensor) => tensor.to_dtype(DType::F32),
            None => candle_core::bail!("there is no tensor {name}"),
        }
    }

    /// [rows, width]
    pub(crate) fn matrix(&self, name: &str, width: usize) -> Result<Tensor> {
        let tensor = self.get(name)?;
        match tensor.dims2()? {
            (_, found) if found == width => Ok(tensor),
            (_, found) => candle_core::bail!("{name} has {found} columns instead of {width}"),
        }
    }

    /// Weight [outputs, inputs] and bias of dense layers with the same input, their outputs one behind the other.
    pub(crate) fn dense(&self, names: &[String]) -> Result<(Tensor, Vec<f32>)> {
        let weights = names.iter().map(|name| self.get(&format!("{name}.weight"))).collect::<Result<Vec<_>>>()?;
        let biases = names.iter().map(|name| self.get(&format!("{name}.bias"))).collect::<Result<Vec<_>>>()?;
        let (weight, bias) = (Tensor::cat(&weights, 0)?, Tensor::cat(&biases, 0)?);
        if weight.dims2()?.0 != bias.dims1()? {
            candle_core::bail!("weight and bias of {} don't fit together", names.join(", "));
        }
        Ok((weight, bias.to_vec1()?))
    }

    /// Gain and shift of a layer normalisation over `width` components.
    pub(crate) fn norm(&self, name: &str, width: usize) -> Result<(Vec<f32>, Vec<f32>)> {
        let vector = |part: &str| self.get(&format!("{name}.{part}"))?.to_vec1::<f32>();
        let (gain, shift) = (vector("weight")?, vector("bias")?);
        if gain.len() != width || shift.len() != width {
            candle_core::bail!("{name} doesn't have {width} components");
        }
        Ok((gain, shift))
    }
}

/// What the header of a safetensors file says about a tensor.
#[derive(Deserialize)]
struct Place {
    dtype: String,
    shape: Vec<usize>,
    /// Begin and end behind the header.
    data_offsets: (u64, u64),
}

fn read_tensor(file: &mut File, data: u64, place: &serde_json::Value) -> Result<Tensor> {
    let Place { dtype, shape, data_offsets: (begin, end) } = Place::deserialize(place).map_err(candle_core::Error::wrap)?;
    let dtype: DType = dtype.to_lowercase().parse().map_err(candle_core::Error::wrap)?;
    let bytes = read_bytes(file, data + begin, end.saturating_sub(begin))?;
    if bytes.len() != shape.iter().product::<usize>() * dtype.size_in_bytes() {
        candle_core::bail!("the file is cut off");
    }
    Tensor::from_raw_buffer(&bytes, dtype, &shape, &Device::Cpu)
}

/// At most `length` bytes from `begin` on.
fn read_bytes(file: &mut File, begin: u64, length: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(begin))?;
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The names of layer `index`, one list for each product, in the order in which a pass needs them: query, key
/// and value; what follows attention; up; down.
pub(crate) fn dense_names(index: usize) -> [Vec<String>; 4] {
    let name = |part: &str| format!("encoder.layer.{index}.{part}");
    [
        ["query", "key", "value"].map(|part| name(&format!("attention.self.{part}"))).to_vec(),
        vec![name("attention.output.dense")],
        vec![name("intermediate.dense")],
        vec![name("output.dense")],
    ]
}

/// The names of its normalisations.
pub(crate) fn norm_names(index: usize) -> [String; 2] {
    ["attention.output.LayerNorm", "output.LayerNorm"].map(|part| format!("encoder.layer.{index}.{part}"))
}
