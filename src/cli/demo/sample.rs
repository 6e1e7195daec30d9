//! The sample files of the demo: text, a picture, a large file, unicode names, nested folders.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

const LARGE: usize = 64 * 1024 * 1024;

const README: &str = "\
These files are on an emulated file host and are read through lockerfs.

Copy something in, edit this text, rename a folder, delete a file: each change goes to the
service in the background. `lockerfs status` shows what is still on its way.
";

/// Writes the tree below `root`, which is made. Only some services hold empty files.
pub(super) fn write(root: &Path, holds_empty: bool) -> io::Result<()> {
    let texts = [
        ("README.txt", README),
        (
            "Documents/Notes/first.md",
            "# First note\n\nNothing here is real, but all of it can be changed.\n",
        ),
        (
            "Documents/Notes/Ideas/later.md",
            "- a file manager on this mount\n- `rsync -a` into it, twice\n",
        ),
        ("Documents/empty.txt", ""),
        (
            "Documents/with spaces & signs (1).txt",
            "Names may hold what your language needs.\n",
        ),
        ("Übersicht/naïve café.txt", "Ein Text mit Umlauten: äöüß.\n"),
        ("Übersicht/日本語のファイル.txt", "こんにちは\n"),
        ("Übersicht/emoji 🎈.txt", "🎈\n"),
    ];
    for (path, text) in texts {
        if text.is_empty() && !holds_empty {
            continue;
        }
        let path = root.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, text)?;
    }
    fs::create_dir_all(root.join("Pictures"))?;
    fs::write(root.join("Pictures/sunset.png"), sunset(480, 270))?;
    noise(&root.join("Pictures/raw scan.bin"), LARGE)
}

/// The same bytes each time, of a kind that does not compress.
fn noise(path: &Path, length: usize) -> io::Result<()> {
    let mut random = fastrand::Rng::with_seed(2024);
    let mut file = BufWriter::new(File::create(path)?);
    let mut block = vec![0; 64 * 1024];
    for _ in 0..length / block.len() {
        random.fill(&mut block);
        file.write_all(&block)?;
    }
    file.flush()
}

/// A picture of a sun over the sea, as PNG without compression.
fn sunset(width: u32, height: u32) -> Vec<u8> {
    let mut rows = Vec::new();
    for y in 0..height {
        rows.push(0); // This row is not filtered.
        for x in 0..width {
            rows.extend_from_slice(&colour(x, y, width, height));
        }
    }
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut head = Vec::new();
    head.extend_from_slice(&width.to_be_bytes());
    head.extend_from_slice(&height.to_be_bytes());
    head.extend_from_slice(&[8, 2, 0, 0, 0]); // 8 bits each of red, green and blue.
    chunk(&mut png, b"IHDR", &head);
    chunk(&mut png, b"IDAT", &zlib_stored(&rows));
    chunk(&mut png, b"IEND", &[]);
    png
}

fn colour(x: u32, y: u32, width: u32, height: u32) -> [u8; 3] {
    let (x, y) = (f64::from(x) / f64::from(width), f64::from(y) / f64::from(height));
    let horizon = 0.62;
    let from_sun = ((x - 0.5) * 16.0 / 9.0).hypot(y - 0.5);
    let glow = (1.0 - from_sun * 1.6).max(0.0);
    let (red, green, blue) = if from_sun < 0.11 && y < horizon {
        (255.0, 224.0, 140.0)
    } else if y < horizon {
        (
            90.0 + 165.0 * (y / horizon),
            60.0 + 90.0 * glow,
            120.0 - 60.0 * glow,
        )
    } else {
        let wave = ((y - horizon) * 260.0).sin() * 14.0 * (1.0 - (x - 0.5).abs());
        (60.0 + 130.0 * glow + wave, 45.0 + 60.0 * glow + wave, 85.0 + wave)
    };
    [red, green, blue].map(|part: f64| part.clamp(0.0, 255.0) as u8)
}

fn chunk(png: &mut Vec<u8>, name: &[u8; 4], data: &[u8]) {
    png.extend_from_slice(&(data.len() as u32).to_be_bytes());
    let start = png.len();
    png.extend_from_slice(name);
    png.extend_from_slice(data);
    let sum = crc32(png.get(start..).unwrap_or_default());
    png.extend_from_slice(&sum.to_be_bytes());
}

/// The zlib format with blocks that are stored as they are.
fn zlib_stored(data: &[u8]) -> Vec<u8> {
    let mut zlib = vec![0x78, 0x01];
    let blocks = data.chunks(0xffff);
    let last = blocks.len().saturating_sub(1);
    for (number, block) in blocks.enumerate() {
        let length = block.len() as u16;
        zlib.push(u8::from(number == last));
        zlib.extend_from_slice(&length.to_le_bytes());
        zlib.extend_from_slice(&(!length).to_le_bytes());
        zlib.extend_from_slice(block);
    }
    zlib.extend_from_slice(&adler32(data).to_be_bytes());
    zlib
}

fn crc32(data: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg())
        })
    };
    !data.iter().fold(!0, step)
}

fn adler32(data: &[u8]) -> u32 {
    let (low, high) = data.iter().fold((1_u32, 0_u32), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % 65521;
        (low, (high + low) % 65521)
    });
    (high << 16) | low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_standards() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
    }

    #[test]
    fn the_picture_is_a_png_of_its_size() {
        let png = sunset(4, 3);
        assert!(png.starts_with(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x04\0\0\0\x03\x08\x02"));
        assert!(png.ends_with(b"IEND\xae\x42\x60\x82"));
    }
}
