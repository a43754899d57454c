//! NumPy's file format, version 1.0 (NEP 1), for matrices of float32.

use std::io::{self, Write};

/// Writes the header of a matrix of little-endian float32 in C order. Its rows are to follow, see [`write_row`].
pub(crate) fn write_header(out: &mut impl Write, rows: usize, columns: usize) -> io::Result<()> {
    const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
    const ALIGNMENT: usize = 64;
    let dictionary = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let before = MAGIC.len() + size_of::<u16>();
    // Spaces and a newline fill the header up, so that the numbers are aligned.
    let len = (before + dictionary.len() + 1).next_multiple_of(ALIGNMENT) - before;
    out.write_all(MAGIC)?;
    out.write_all(&(len as u16).to_le_bytes())?;
    writeln!(out, "{dictionary:<0$}", len - 1)
}

/// Writes one row.
pub(crate) fn write_row(out: &mut impl Write, row: &[f32]) -> io::Result<()> {
    row.iter().try_for_each(|number| out.write_all(&number.to_le_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_that_numpy_writes() {
        // np.save(file, np.array([[1, -2.5, 0.1]], "<f4"))
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }";
        let mut expected = b"\x93NUMPY\x01\x00v\x00".to_vec();
        expected.extend(format!("{header:<117}\n").bytes());
        expected.extend(b"\x00\x00\x80\x3f\x00\x00\x20\xc0\xcd\xcc\xcc\x3d");
        let mut bytes = Vec::new();
        write_header(&mut bytes, 1, 3).unwrap();
        write_row(&mut bytes, &[1.0, -2.5, 0.1]).unwrap();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn the_numbers_are_aligned_whatever_the_shape() {
        for rows in [1, 12, 123, 123_456, 1_234_567_890, usize::MAX] {
            let mut bytes = Vec::new();
            write_header(&mut bytes, rows, rows).unwrap();
            assert_eq!((bytes.len() % 64, bytes.last()), (0, Some(&b'\n')));
        }
    }
}
