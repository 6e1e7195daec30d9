//! What programs do with files beside writing them: names that change while a download grows, placeholders, marks,
//! archives, edits in the middle. Each ends with the right content under the right name on the service, and no other
//! name ever gets there.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use super::harness::{Call, MEDIA, World, assert_same, content, run, sha256_of, snapshot, wait_for};

/// Longer than a closed file rests in these tests.
const A_WHILE: Duration = Duration::from_millis(400);

fn world() -> World {
    World::with(|setup| setup.option("upload_delay", "\"150ms\""))
}

/// Writes in pieces, with pauses in which a closed file would be taken up.
fn download(file: &mut File, body: &[u8]) {
    for piece in body.chunks(body.len().div_ceil(3)) {
        file.write_all(piece).expect("write");
        std::thread::sleep(A_WHILE);
    }
}

#[track_caller]
fn assert_stored(world: &World, files: &[(&str, &[u8])]) {
    let stored: Vec<_> = world.stored().into_iter().collect();
    let hashes: Vec<_> = stored
        .iter()
        .map(|(path, file)| (path.as_str(), file.sha256.clone()))
        .collect();
    let mut wanted: Vec<_> = files
        .iter()
        .map(|(path, body)| (*path, sha256_of(body)))
        .collect();
    wanted.sort();
    assert_eq!(hashes, wanted);
}

#[test]
fn a_download_that_changes_its_name_twice_is_uploaded_once() {
    let world = world();
    let mount = world.mount();
    let body = content(21, 700_000);
    let calls = world.counted(|| {
        // Chrome: a name of its own, then the wanted one with a mark, then the wanted one.
        let mut file = File::create_new(mount.path("Unconfirmed 471829.crdownload")).expect("create");
        download(&mut file, &body[..300_000]);
        fs::rename(
            mount.path("Unconfirmed 471829.crdownload"),
            mount.path("setup.zip.crdownload"),
        )
        .expect("rename an open file");
        download(&mut file, &body[300_000..]);
        drop(file);
        fs::rename(mount.path("setup.zip.crdownload"), mount.path("setup.zip")).expect("rename");
        world.drain();
    });
    assert_eq!(calls.of(Call::Upload), 1, "{calls:?}");
    assert_eq!(calls.of(Call::Rename), 0, "{calls:?}");
    assert_stored(&world, &[("setup.zip", &body)]);
    assert!(mount.read("setup.zip") == body);
}

#[test]
fn a_download_that_takes_the_place_of_its_placeholder_is_one_file() {
    let world = world();
    let mount = world.mount();
    let body = content(22, 700_000);
    // Firefox: an empty file keeps the name while the content grows beside it.
    drop(File::create_new(mount.path("paper.pdf")).expect("a placeholder"));
    let mut file = File::create_new(mount.path("paper.xYz1.pdf.part")).expect("create");
    download(&mut file, &body);
    drop(file);
    fs::rename(mount.path("paper.xYz1.pdf.part"), mount.path("paper.pdf")).expect("rename");
    assert_eq!(mount.list(""), ["paper.pdf"]);
    world.drain();
    assert_stored(&world, &[("paper.pdf", &body)]);
    assert!(mount.read("paper.pdf") == body);
}

#[test]
fn an_office_that_marks_a_document_as_open_leaves_the_document_alone() {
    let world = world();
    world.put("report.odt", b"first draft");
    let mount = world.mount();
    assert_eq!(mount.read("report.odt"), b"first draft");
    let before = world.stored()["report.odt"].clone();
    fs::write(mount.path(".~lock.report.odt#"), ",ann,desk,now;").expect("a mark");
    // It saves into another file, which takes the place of the document.
    std::thread::sleep(A_WHILE);
    fs::write(mount.path("lu31415.tmp"), b"second draft").expect("write beside");
    fs::rename(mount.path("lu31415.tmp"), mount.path("report.odt")).expect("rename over");
    std::thread::sleep(A_WHILE);
    assert!(mount.list("").contains(&".~lock.report.odt#".to_owned()));
    fs::remove_file(mount.path(".~lock.report.odt#")).expect("remove the mark");
    world.drain();
    assert_stored(&world, &[("report.odt", b"second draft")]);
    world.stored()["report.odt"].replaces(&before);
}

#[test]
fn an_archive_is_unpacked_into_the_mount_and_packed_out_of_it() {
    let world = world();
    let source = world.folder().join("tree");
    let folders = ["", "docs", "docs/deep", "empty"];
    for folder in folders {
        fs::create_dir_all(source.join(folder)).expect("a folder");
    }
    for (number, name) in ["a.txt", "docs/b.bin", "docs/deep/ü (1).dat", "docs/c"]
        .iter()
        .enumerate()
    {
        let size = 10 + number * 40_000;
        fs::write(source.join(name), content(30 + number as u64, size)).expect("a file");
    }
    let archive = world.folder().join("tree.tar");
    run("tar", &[&"-cf", &archive, &"-C", &world.folder(), &"tree"]).succeeded();
    let mount = world.mount();
    run("tar", &[&"-xf", &archive, &"-C", &mount.path("")]).succeeded();
    world.drain();
    assert_eq!(world.stored().len(), 4);
    let wanted = snapshot(&source);
    assert_same(&snapshot(&mount.path("tree")), &wanted, "unpacked");

    // In a mount that knows nothing of it, back into an archive.
    mount.unmount(&world.config());
    world.forget();
    let mount = world.mount();
    let again = world.folder().join("again.tar");
    // A host that tells no dates in its listings tells them a moment later, and tar notices a file that changes.
    wait_for("an archive of files that stay as they are", || {
        let packed = run("tar", &[&"-cf", &again, &"-C", &mount.path(""), &"tree"]);
        packed.status.success()
    });
    let unpacked = world.folder().join("unpacked");
    fs::create_dir(&unpacked).expect("a folder");
    run("tar", &[&"-xf", &again, &"-C", &unpacked]).succeeded();
    assert_same(&snapshot(&unpacked.join("tree")), &wanted, "packed and unpacked");
}

#[test]
fn bytes_in_the_middle_are_changed_in_a_waiting_file_and_in_a_stored_one() {
    let world = world();
    let mount = world.mount();
    let mut body = content(23, 300_000);
    let patch = world.folder().join("patch");
    fs::write(&patch, content(24, 5000)).expect("a patch");
    let into_middle = |at: usize, body: &mut Vec<u8>| {
        let arguments = [
            format!("if={}", patch.display()),
            format!("of={}", mount.path("disk.img").display()),
            "bs=1000".to_owned(),
            format!("seek={}", at / 1000),
            "conv=notrunc".to_owned(),
        ];
        let [input, output, size, seek, keep] = &arguments;
        run("dd", &[input, output, size, seek, keep]).succeeded();
        body[at..at + 5000].copy_from_slice(&content(24, 5000));
    };
    fs::write(mount.path("disk.img"), &body).expect("write");
    into_middle(100_000, &mut body);
    assert!(mount.read("disk.img") == body, "while it waits");
    world.drain();
    assert_stored(&world, &[("disk.img", &body)]);
    into_middle(250_000, &mut body);
    into_middle(0, &mut body);
    assert!(mount.read("disk.img") == body, "over the stored one");
    world.drain();
    assert_stored(&world, &[("disk.img", &body)]);
}

#[test]
fn a_copy_that_skips_zeros_has_them_on_the_service() {
    let world = world();
    let source = world.folder().join("image");
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&source)
        .expect("create");
    file.set_len(2_000_000).expect("a hole");
    file.write_all_at(b"in the middle", 1_000_000).expect("write");
    drop(file);
    let mount = world.mount();
    run("cp", &[&"--sparse=always", &source, &mount.path("image")]).succeeded();
    world.drain();
    let body = fs::read(&source).expect("read");
    assert_stored(&world, &[("image", &body)]);
    assert!(fs::read(world.service.files_dir(MEDIA).join("image")).expect("stored") == body);
}
