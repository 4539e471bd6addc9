//! Files of vectors: NumPy's `.npy` (format 1 to 3, little endian, C order, two dimensions, float16, float32 or
//! int32) and `.fvecs`/`.ivecs` (each vector after its length as an int32; <http://corpus-texmex.irisa.fr/>).

use anyhow::{Context, bail, ensure};
use std::path::Path;

/// Rows of equal length.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table<T> {
    pub(super) width: usize,
    items: Vec<T>,
}

impl<T> Table<T> {
    pub(super) fn rows(&self) -> std::slice::ChunksExact<'_, T> {
        self.items.chunks_exact(self.width)
    }
}

/// Reads floats.
pub(super) fn floats(path: &Path) -> anyhow::Result<Table<f32>> {
    let bytes = std::fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
    let read = if is_npy(&bytes) { npy_floats(&bytes) } else { texmex(&bytes, f32::from_le_bytes) };
    read.with_context(|| format!("{} is no file of float vectors", path.display()))
}

/// Reads integers.
pub(super) fn integers(path: &Path) -> anyhow::Result<Table<i32>> {
    let bytes = std::fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
    let read = if is_npy(&bytes) { npy_integers(&bytes) } else { texmex(&bytes, i32::from_le_bytes) };
    read.with_context(|| format!("{} is no file of integer vectors", path.display()))
}

fn is_npy(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x93NUMPY")
}

fn npy_floats(bytes: &[u8]) -> anyhow::Result<Table<f32>> {
    let (kind, width, body) = npy(bytes)?;
    let items = match kind {
        "<f4" => body.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        "<f2" => body.as_chunks().0.iter().map(|bytes| half(u16::from_le_bytes(*bytes))).collect(),
        other => bail!("its type is {other}; wanted is <f4 or <f2"),
    };
    Ok(Table { width, items })
}

fn npy_integers(bytes: &[u8]) -> anyhow::Result<Table<i32>> {
    let (kind, width, body) = npy(bytes)?;
    ensure!(kind == "<i4", "its type is {kind}; wanted is <i4");
    Ok(Table { width, items: body.as_chunks().0.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect() })
}

/// Type, length of a row, and the numbers. The header is a Python literal:
/// `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
fn npy(bytes: &[u8]) -> anyhow::Result<(&str, usize, &[u8])> {
    let (length, start) = match bytes.get(6) {
        Some(1) => (usize::from(u16::from_le_bytes(*bytes.get(8..).and_then(<[u8]>::first_chunk).context("it is cut off")?)), 10),
        Some(2 | 3) => (u32::from_le_bytes(*bytes.get(8..).and_then(<[u8]>::first_chunk).context("it is cut off")?) as usize, 12),
        _ => bail!("its format is unknown"),
    };
    let header = bytes.get(start..).and_then(|rest| rest.get(..length)).context("its header is cut off")?;
    let header = std::str::from_utf8(header).context("its header is no text")?;
    let after = |key: &str| header.split_once(key).map(|(_, rest)| rest.trim_start()).with_context(|| format!("its header has no {key}"));
    let kind = after("'descr':")?.split('\'').nth(1).context("its type is missing")?;
    ensure!(after("'fortran_order':")?.starts_with("False"), "it lies in columns");
    let shape = after("'shape':")?.trim_start_matches('(').split(')').next().unwrap_or_default();
    let shape: Vec<usize> = shape.split(',').filter_map(|number| number.trim().parse().ok()).collect();
    let &[rows, width] = &shape[..] else { bail!("it has {} dimensions, not two", shape.len()) };
    let size: usize = kind.get(2..).and_then(|size| size.parse().ok()).context("its type is unknown")?;
    let body = bytes.get(start + length..).unwrap_or_default();
    ensure!(
        width > 0 && rows.checked_mul(width).and_then(|count| count.checked_mul(size)) == Some(body.len()),
        "its length does not fit its shape"
    );
    Ok((kind, width, body))
}

fn texmex<T>(bytes: &[u8], number: fn([u8; 4]) -> T) -> anyhow::Result<Table<T>> {
    let width = bytes.first_chunk().map_or(0, |bytes| i32::from_le_bytes(*bytes));
    let width = usize::try_from(width).ok().filter(|width| (1..=1 << 20).contains(width)).context("it has no length in front")?;
    let mut rows = bytes.chunks_exact(4 * (width + 1));
    let mut items = Vec::with_capacity(bytes.len() / 4);
    for row in rows.by_ref() {
        let (head, body) = row.as_chunks().0.split_first().context("an empty row")?;
        ensure!(usize::try_from(i32::from_le_bytes(*head)).ok() == Some(width), "its rows differ in length");
        items.extend(body.iter().map(|bytes| number(*bytes)));
    }
    ensure!(rows.remainder().is_empty(), "it is cut off");
    Ok(Table { width, items })
}

/// IEEE 754 binary16.
fn half(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (u32::from(bits >> 15) << 31, u32::from(bits >> 10 & 31), u32::from(bits & 1023));
    let magnitude = match exponent {
        0 => fraction as f32 / 16_777_216.0,
        31 => f32::from_bits(0x7f80_0000 | fraction << 13),
        _ => f32::from_bits((exponent + 112) << 23 | fraction << 13),
    };
    f32::from_bits(magnitude.to_bits() | sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy_of(kind: &str, shape: &str, body: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
        [&b"\x93NUMPY\x01\x00"[..], &(header.len() as u16).to_le_bytes(), header.as_bytes(), body].concat()
    }

    #[test]
    fn both_formats_are_read() {
        let body: Vec<u8> = [1.0_f32, -2.5, 0.0, 3.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let expected = Table { width: 2, items: vec![1.0, -2.5, 0.0, 3.0] };
        assert_eq!(npy_floats(&npy_of("<f4", "(2, 2)", &body)).unwrap(), expected);
        let rows: Vec<u8> = body.chunks(8).flat_map(|row| [&2_i32.to_le_bytes()[..], row].concat()).collect();
        assert_eq!(texmex(&rows, f32::from_le_bytes).unwrap(), expected);
        assert_eq!(npy_integers(&npy_of("<i4", "(1, 1)", &7_i32.to_le_bytes())).unwrap().items, [7]);
        let halves: Vec<u8> = [0x3c00_u16, 0xc100, 0x0001, 0x7c00].iter().flat_map(|bits| bits.to_le_bytes()).collect();
        assert_eq!(npy_floats(&npy_of("<f2", "(1, 4)", &halves)).unwrap().items, [1.0, -2.5, 2.0_f32.powi(-24), f32::INFINITY]);
    }

    #[test]
    fn what_is_none_is_refused() {
        let body = [0; 16];
        for bad in
            [npy_of("<f4", "(2, 3)", &body), npy_of("<f8", "(1, 2)", &body), npy_of("<f4", "(4,)", &body), npy_of("<f4", "(4, 0)", &[])]
        {
            assert!(npy_floats(&bad).is_err());
            assert!((0..bad.len()).all(|length| npy(&bad[..length]).is_err() || length > 80));
        }
        for bad in [&[][..], &[2, 0, 0, 0, 1], &[0; 8], &[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]] {
            assert!(texmex(bad, f32::from_le_bytes).is_err(), "{bad:?}");
        }
    }
}
